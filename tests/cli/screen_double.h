/* SPDX-License-Identifier: MIT */
/*
 * The double's screen and keyboard. The keyboard is the real one; what it sends is read by the double's processor, byte
 * by byte, and shown in hexadecimal in the screen's last row. The screen is what the script says:
 *
 *   screen     text, 80 x 25: the lines that follow the word; line N has the attribute (07h + N * 11h) & FFh
 *              the cursor is at row 1, column 3
 *   wide       the same, 132 x 60, the cursor at row 50, column 100
 *   graphics   320 x 200: red grows from left to right, green from top to bottom
 *   off        none
 *
 * F5 changes between text and graphics. All calls are made with the machine's lock held.
 */
#ifndef NFOLD_TESTS_SCREEN_DOUBLE_H
#define NFOLD_TESTS_SCREEN_DOUBLE_H

#include "backend/display.h"
#include "devices/ps2keyboard.h"

#define SCREEN_TEXT_MAX 8192

struct screen_double {
	struct clock clock;
	struct ps2keyboard *keyboard;
	struct display display;
	bool graphics;
	unsigned columns, rows; /* 0: off */
	uint64_t changes;
	char text[SCREEN_TEXT_MAX]; /* code page 437 */
	char typed[128];	    /* the last bytes of the keyboard */
};

bool screen_double_init(struct screen_double *screen, const char *script, const char *text, struct error *error);
void screen_double_free(struct screen_double *screen);

/* Takes a byte from the keyboard, if there is one. */
bool screen_double_read_key(struct screen_double *screen, uint8_t *byte);

#endif
