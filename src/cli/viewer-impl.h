/* SPDX-License-Identifier: MIT */
/* What the parts of the viewer share: the drawing and the keys. */
#ifndef NFOLD_CLI_VIEWER_IMPL_H
#define NFOLD_CLI_VIEWER_IMPL_H

#include <jansson.h>
#include <stdbool.h>
#include <wchar.h>

#define CHORD_SIZE 32

/* ---- drawing ---- */

struct drawing {
	const char *guest;
	bool unicode;	    /* the locale's character set is UTF-8 */
	unsigned top, left; /* the first row and column of the screen that are shown */
	char message[160];  /* in the terminal's last line; "": none */
};

void drawing_init(struct drawing *drawing, const char *guest);
/* Draws the screen as screen.text gave it; NULL: nothing is known of it yet. */
void drawing_update(struct drawing *drawing, const json_t *screen);

/* ---- keys ---- */

/* What a key of the terminal means for the guest: a character to type, or a chord. Neither: nothing. */
struct pressed {
	char character; /* 0: none */
	char chord[CHORD_SIZE];
};

/* `function`: the code is one of ncurses' KEY_ codes, not a character. `alt`: the key came with Alt. */
struct pressed key_translate(wint_t code, bool function, bool alt);

#endif
