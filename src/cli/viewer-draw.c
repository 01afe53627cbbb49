/* SPDX-License-Identifier: MIT */
/*
 * The guest's screen, drawn by ncurses. Its process is not trusted: what it says is text is shown as text, whatever it
 * is, and counts are those of the strings that really came.
 */
#include <curses.h>
#include <langinfo.h>
#include <locale.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/viewer-impl.h"

#define PC_COLOURS 16

/* One screen's colours, as pairs and attributes of ncurses. */
struct palette {
	int terminal[PC_COLOURS]; /* the terminal's colour for each of the PC's */
	bool blink;
};

/* ---- colours ---- */

static unsigned distance(uint32_t a, uint32_t b)
{
	unsigned sum = 0;
	for (unsigned shift = 0; shift < 24; shift += 8)
		sum += (unsigned)abs((int)(a >> shift & 0xff) - (int)(b >> shift & 0xff));
	return sum;
}

/* A terminal's first 16 colours are the PC's with red and blue exchanged. Colours that a guest mixed itself are taken
 * from the cube of 6 x 6 x 6 that terminals with 256 colours have, or from the nearest of the 16. */
static int terminal_colour(uint32_t rgb)
{
	static const uint32_t standard[PC_COLOURS] = {0x000000, 0xaa0000, 0x00aa00, 0xaa5500, 0x0000aa, 0xaa00aa,
						      0x00aaaa, 0xaaaaaa, 0x555555, 0xff5555, 0x55ff55, 0xffff55,
						      0x5555ff, 0xff55ff, 0x55ffff, 0xffffff};
	int best = 0;
	for (int i = 1; i < PC_COLOURS; i++)
		if (distance(rgb, standard[i]) < distance(rgb, standard[best]))
			best = i;
	if (COLORS < 256 || distance(rgb, standard[best]) < 24)
		return best;
	return 16 + (int)((rgb >> 16 & 0xff) / 43 * 36 + (rgb >> 8 & 0xff) / 43 * 6 + (rgb & 0xff) / 43);
}

static void palette_read(struct palette *palette, const json_t *screen)
{
	const json_t *colours = json_object_get(screen, "colours");
	for (unsigned i = 0; i < PC_COLOURS; i++)
		palette->terminal[i] = terminal_colour((uint32_t)json_integer_value(json_array_get(colours, i)));
	palette->blink = json_is_true(json_object_get(screen, "blink"));
}

/* Without colours, dark on light is reversed. With eight, bright ones are bold. */
static attr_t attribute_read(const struct palette *palette, unsigned attribute, int *pair)
{
	bool blinks = palette->blink && (attribute & 0x80) != 0;
	int foreground = palette->terminal[attribute & 0xf];
	int background = palette->terminal[attribute >> 4 & (palette->blink ? 7 : 0xf)];
	attr_t result = blinks ? A_BLINK : A_NORMAL;
	*pair = 0;
	if (!has_colors())
		return result | ((background & 7) == 7 && background != foreground ? A_REVERSE : 0) |
		       (foreground > 7 ? A_BOLD : 0);
	if (COLORS < 16) {
		result |= foreground > 7 ? A_BOLD : 0;
		foreground &= 7;
		background &= 7;
	}
	*pair = alloc_pair(foreground, background);
	if (*pair < 0)
		*pair = 0;
	return result;
}

/* ---- characters ---- */

/* What stands for a character in a terminal that has only ASCII. */
static wchar_t plain_character(wchar_t character)
{
	static const wchar_t box[] = L"\u2500\u2502\u2550\u2551\u2588\u2593\u2592\u2591\u2584\u2580\u258c\u2590\u25a0"
				     L"\u25ba\u25c4\u25b2\u25bc\u2192\u2190\u2191\u2193\u2022\u00b7\u2219\u00a0";
	static const char plain[] = "-|=|###:##||#><^v><^v*.. ";
	const wchar_t *found = wcschr(box, character);
	if (character < 0x7f)
		return character;
	if (found != NULL)
		return (wchar_t)plain[found - box];
	return character >= 0x2500 && character < 0x2580 ? L'+' : L'?';
}

/* The next character of UTF-8; nothing of it controls the terminal. */
static wchar_t next_character(const struct drawing *drawing, const char **text)
{
	const uint8_t *at = (const uint8_t *)*text;
	unsigned more = at[0] >= 0xf0 ? 3 : at[0] >= 0xe0 ? 2 : at[0] >= 0xc0 ? 1 : 0;
	uint32_t character = more == 0 ? at[0] : at[0] & (0x3fu >> more);
	for (unsigned i = 1; i <= more; i++)
		character = character << 6 | (at[i] & 0x3fu);
	*text += more + 1;
	if (character < 0x20 || (character >= 0x7f && character < 0xa0) || wcwidth((wchar_t)character) != 1)
		return drawing->unicode || character < 0x80 ? L'?' : plain_character((wchar_t)character);
	return drawing->unicode ? (wchar_t)character : plain_character((wchar_t)character);
}

static unsigned hex_digit(char digit)
{
	return (unsigned)(digit >= 'a' ? digit - 'a' + 10 : digit - '0') & 0xf;
}

/* ---- the screen ---- */

static void draw_row(const struct drawing *drawing, const struct palette *palette, int line, const char *text,
		     const char *attributes)
{
	unsigned column = 0;
	for (; *text != '\0' && attributes[0] != '\0' && attributes[1] != '\0'; column++, attributes += 2) {
		wchar_t character[2] = {next_character(drawing, &text), 0};
		cchar_t cell;
		int pair;
		if (column < drawing->left || column - drawing->left >= (unsigned)COLS)
			continue;
		attr_t attribute =
		    attribute_read(palette, hex_digit(attributes[0]) << 4 | hex_digit(attributes[1]), &pair);
		(void)setcchar(&cell, character, attribute, (short)pair, NULL);
		(void)mvadd_wch(line, (int)(column - drawing->left), &cell);
	}
}

/* Moves the window of `length` as little as needed for `position` to be in it. */
static unsigned scroll_to(unsigned start, unsigned length, unsigned size, unsigned position)
{
	if (size <= length)
		return 0;
	if (start > size - length)
		start = size - length;
	if (position < start)
		return position;
	return position >= start + length ? position - length + 1 : start;
}

static void follow_cursor(struct drawing *drawing, const json_t *cursor, unsigned columns, unsigned rows)
{
	bool known = json_is_object(cursor);
	unsigned column = known ? (unsigned)json_integer_value(json_object_get(cursor, "column")) : drawing->left;
	unsigned row = known ? (unsigned)json_integer_value(json_object_get(cursor, "row")) : drawing->top;
	drawing->left = scroll_to(drawing->left, (unsigned)COLS, columns, column < columns ? column : 0);
	drawing->top = scroll_to(drawing->top, (unsigned)LINES, rows, row < rows ? row : 0);
}

static void place_cursor(const struct drawing *drawing, const json_t *cursor)
{
	int row = (int)json_integer_value(json_object_get(cursor, "row")) - (int)drawing->top;
	int column = (int)json_integer_value(json_object_get(cursor, "column")) - (int)drawing->left;
	bool seen = json_is_object(cursor) && row >= 0 && row < LINES && column >= 0 && column < COLS;
	(void)curs_set(seen);
	if (seen)
		(void)move(row, column);
}

static void draw_text(struct drawing *drawing, const json_t *screen)
{
	const json_t *text = json_object_get(screen, "text"), *attributes = json_object_get(screen, "attributes");
	const json_t *cursor = json_object_get(screen, "cursor");
	struct palette palette;
	palette_read(&palette, screen);
	follow_cursor(drawing, cursor, (unsigned)json_integer_value(json_object_get(screen, "columns")),
		      (unsigned)json_array_size(text));
	for (int line = 0; line < LINES; line++) {
		const char *row = json_string_value(json_array_get(text, drawing->top + (unsigned)line));
		const char *colours = json_string_value(json_array_get(attributes, drawing->top + (unsigned)line));
		if (row != NULL && colours != NULL)
			draw_row(drawing, &palette, line, row, colours);
	}
	place_cursor(drawing, cursor);
}

/* Of a screen that has no text: what it is. */
static void draw_note(const struct drawing *drawing, const json_t *screen)
{
	char line[256];
	const char *mode = json_string_value(json_object_get(screen, "mode"));
	if (mode != NULL && strcmp(mode, "graphics") == 0)
		(void)snprintf(line, sizeof line,
			       "a graphics screen, %d x %d: 'nfold screen %s --png FILE' makes a picture",
			       (int)json_integer_value(json_object_get(screen, "width")),
			       (int)json_integer_value(json_object_get(screen, "height")), drawing->guest);
	else
		(void)snprintf(line, sizeof line, "the screen of guest '%s' is off", drawing->guest);
	(void)curs_set(0);
	(void)mvaddnstr(0, 0, line, COLS);
}

static void draw_message(const struct drawing *drawing)
{
	int y, x;
	getyx(stdscr, y, x);
	(void)attron(A_REVERSE);
	(void)mvaddnstr(LINES - 1, 0, drawing->message, COLS);
	(void)attroff(A_REVERSE);
	(void)move(y, x);
}

void drawing_init(struct drawing *drawing, const char *guest)
{
	*drawing = (struct drawing){.guest = guest, .unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0};
}

void drawing_update(struct drawing *drawing, const json_t *screen)
{
	const char *mode = json_string_value(json_object_get(screen, "mode"));
	(void)erase();
	if (mode != NULL && strcmp(mode, "text") == 0)
		draw_text(drawing, screen);
	else if (screen != NULL)
		draw_note(drawing, screen);
	if (drawing->message[0] != '\0')
		draw_message(drawing);
	(void)refresh();
}
