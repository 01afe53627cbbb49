/* SPDX-License-Identifier: MIT */
/*
 * The screen: what a graphics chip offers to those who look at it.
 *
 * A display joins one chip (the source) to any number of viewers: a terminal, a screenshot, a test. Viewers ask;
 * nothing is pushed. A viewer that follows the screen polls display_changes() and draws when the number is another one
 * than before: it changes with all that may show, blinking included, and sometimes with what does not.
 *
 * There are two views. Every screen can be rendered to pixels, just as a monitor would show it, without the border. A
 * screen in a text mode can also be had as text: characters with attributes, the cursor and the sixteen colours. A
 * display without a chip is a screen of 0 x 0 pixels.
 *
 * Threading: every call is made with the machine's device lock held.
 */
#ifndef NFOLD_BACKEND_DISPLAY_H
#define NFOLD_BACKEND_DISPLAY_H

#include <stdbool.h>
#include <stdint.h>

#define DISPLAY_COLUMNS_MAX 256u
#define DISPLAY_ROWS_MAX 128u /* a guest may have more rows, each lower than 8 lines; they are not offered as text */
#define DISPLAY_COLOURS 16u

/* The largest screen that a source may offer. */
#define DISPLAY_WIDTH_MAX 4608u
#define DISPLAY_HEIGHT_MAX 2048u

struct display_size {
	unsigned width, height; /* pixels */
};

/* One character as the guest stored it: its code in the guest's font, and the PC's attribute byte: bits 3:0 foreground,
 * bits 7:4 background; with `blink`, bit 7 is no colour but blinks the character. */
struct display_cell {
	uint8_t character, attribute;
};

struct display_text {
	unsigned columns, rows;
	bool blink;
	bool cursor; /* on the screen and switched on; its blinking is the viewer's */
	unsigned cursor_column, cursor_row;
	unsigned cursor_first, cursor_last, cell_height; /* lines of the cell */
	uint32_t colour[DISPLAY_COLOURS];		 /* 0x00RRGGBB */
	struct display_cell cell[DISPLAY_ROWS_MAX][DISPLAY_COLUMNS_MAX];
};

/* The chip's side. */
struct display_source {
	uint64_t (*changes)(void *opaque);
	struct display_size (*size)(void *opaque); /* at most DISPLAY_WIDTH_MAX x DISPLAY_HEIGHT_MAX */
	bool (*text)(void *opaque, struct display_text *text);
	void (*render)(void *opaque, uint32_t *pixels, struct display_size size);
};

struct display {
	const struct display_source *source;
	void *opaque;
};

/* A display shows nothing until a source is attached; NULL detaches it. Both outlive the attachment. */
void display_init(struct display *display);
void display_attach(struct display *display, const struct display_source *source, void *opaque);

uint64_t display_changes(const struct display *display);
struct display_size display_size(const struct display *display);

/* Fills *text; false when the screen is not in a text mode. The structure is large: keep it off small stacks. */
bool display_text(const struct display *display, struct display_text *text);

/* Fills size.width * size.height pixels, 0x00RRGGBB, rows from the top. False, with nothing written, when `size` is no
 * longer the screen's: the guest changed its mode; ask for the size anew. */
bool display_render(const struct display *display, uint32_t *pixels, struct display_size size);

/* The Unicode character that code page 437, the PC's own font, has at a code: with the signs below 20h, and a space
 * at 0. */
uint32_t display_unicode(uint8_t character);

#endif
