/* SPDX-License-Identifier: MIT */
/*
 * Text modes: plane 0 has the characters, plane 1 their attributes, plane 2 the fonts, 32 bytes for each
 * character of which the row chooses one. Attribute bit 3 chooses between two of the eight fonts.
 */
#include <string.h>

#include "devices/vga-impl.h"

#define FONT_HEIGHT 32u
#define ATTRIBUTE_BLINK 0x80u
#define ATTRIBUTE_FONT_A 0x08u
#define ATTRIBUTE_UNDERLINED 0x01u
#define ATTRIBUTE_COLOURS 0x77u

/* A cell's colours are palette entries. */
struct cell {
	uint8_t character, attribute;
	uint8_t foreground, background;
};

static struct cell cell_decode(const struct vga *vga, const struct vga_frame *frame, uint32_t planes)
{
	struct cell cell = {.character = (uint8_t)planes, .attribute = (uint8_t)(planes >> 8)};
	cell.foreground = cell.attribute & 0x0f;
	cell.background = cell.attribute >> 4;
	if (vga->attribute[ATT_MODE] & ATT_MODE_BLINK) {
		cell.background &= 7;
		if ((cell.attribute & ATTRIBUTE_BLINK) && !frame->blink_visible)
			cell.foreground = cell.background;
	}
	return cell;
}

/* The even fonts lie at 0, 16, 32 and 48 KiB, the odd ones 8 KiB after them; a font's number has its bit 2 apart. */
static uint32_t font_base(const struct vga *vga, bool font_a)
{
	uint8_t fonts = vga->sequencer[SEQ_FONT];
	unsigned low = font_a ? fonts >> 2 & 3u : fonts & 3u;
	unsigned high = font_a ? fonts >> 5 & 1u : fonts >> 4 & 1u;
	return low * 0x4000 + high * 0x2000;
}

static uint8_t font_byte(const struct vga *vga, const struct cell *cell, unsigned row)
{
	uint32_t base = font_base(vga, (cell->attribute & ATTRIBUTE_FONT_A) != 0);
	return vga_planes(vga, (base + cell->character * FONT_HEIGHT + row) & VGA_PLANE_MASK)[2];
}

/* The ninth dot is the background's, but lines of the box characters go on. */
static bool ninth_dot(const struct vga *vga, const struct cell *cell, unsigned bits)
{
	bool line = cell->character >= 0xc0 && cell->character <= 0xdf;
	return line && (vga->attribute[ATT_MODE] & ATT_MODE_LINE_GRAPHICS) && (bits & 1);
}

static uint16_t cell_bits(const struct vga *vga, const struct cell *cell, unsigned row)
{
	unsigned bits = font_byte(vga, cell, row);
	bool underlined =
	    (cell->attribute & ATTRIBUTE_COLOURS) == ATTRIBUTE_UNDERLINED && row == (vga->crtc[CRTC_UNDERLINE] & 0x1fu);
	bits = bits << 1 | (ninth_dot(vga, cell, bits) ? 1 : 0);
	return underlined ? 0x1ff : (uint16_t)bits;
}

/* ---- the cursor ---- */

static unsigned cursor_address(const struct vga *vga)
{
	unsigned skew = vga->crtc[CRTC_CURSOR_END] >> 5 & 3u;
	return (((unsigned)vga->crtc[CRTC_CURSOR_HIGH] << 8 | vga->crtc[CRTC_CURSOR_LOW]) + skew) & VGA_PLANE_MASK;
}

/* No cursor when it ends before it starts. */
static bool cursor_on(const struct vga *vga)
{
	return !(vga->crtc[CRTC_CURSOR_START] & CRTC_CURSOR_OFF) &&
	       (vga->crtc[CRTC_CURSOR_START] & 0x1f) <= (vga->crtc[CRTC_CURSOR_END] & 0x1f);
}

static bool cursor_covers(const struct vga *vga, const struct vga_scan *scan, unsigned column)
{
	return cursor_on(vga) && scan->row >= (vga->crtc[CRTC_CURSOR_START] & 0x1fu) &&
	       scan->row <= (vga->crtc[CRTC_CURSOR_END] & 0x1fu) &&
	       vga_scan_counter(vga, scan, column) == cursor_address(vga);
}

/* ---- to dots ---- */

void vga_text_line(const struct vga *vga, const struct vga_frame *frame, const struct vga_scan *scan, unsigned columns,
		   uint8_t *dots)
{
	for (unsigned column = 0; column < columns; column++) {
		const struct cell cell = cell_decode(vga, frame, vga_scan_fetch(vga, scan, column));
		unsigned bits = cell_bits(vga, &cell, scan->row);
		if (frame->cursor_visible && cursor_covers(vga, scan, column))
			bits = 0x1ff;
		uint8_t planes = vga->attribute[ATT_PLANES] & 0x0f;
		uint8_t foreground = frame->palette[cell.foreground & planes];
		uint8_t background = frame->palette[cell.background & planes];
		for (unsigned dot = 0; dot < frame->char_dots; dot++)
			*dots++ = (bits >> (8 - dot) & 1) ? foreground : background;
	}
}

/* ---- to cells ---- */

static void text_row(const struct vga *vga, const struct vga_scan *scan, struct display_text *text)
{
	struct display_cell *cell = text->cell[text->rows];
	for (unsigned column = 0; column < text->columns; column++) {
		uint32_t planes = vga_is_blank(vga) ? ' ' : vga_scan_fetch(vga, scan, column);
		cell[column] = (struct display_cell){(uint8_t)planes, (uint8_t)(planes >> 8)};
	}
	unsigned column = (cursor_address(vga) - vga_scan_counter(vga, scan, 0)) & VGA_PLANE_MASK;
	if (cursor_on(vga) && !vga_is_blank(vga) && column < text->columns) {
		text->cursor = true;
		text->cursor_column = column;
		text->cursor_row = text->rows;
	}
	text->rows++;
}

static void text_rows(const struct vga *vga, struct display_text *text)
{
	unsigned lines = vga_timing(vga).display_lines;
	struct vga_scan scan;
	bool first = true; /* of a row, even where its upper part is scrolled away */
	text->rows = 0;
	vga_scan_start(vga, &scan);
	for (unsigned line = 0; line < lines && text->rows < DISPLAY_ROWS_MAX; line++) {
		if (first)
			text_row(vga, &scan, text);
		vga_scan_next(vga, &scan);
		first = scan.row == 0 && !scan.repeated;
	}
}

bool vga_text(void *opaque, struct display_text *text)
{
	const struct vga *vga = opaque;
	struct vga_frame frame;
	if (vga_is_graphics(vga))
		return false;
	vga_frame_init(vga, &frame);
	text->columns = frame.columns;
	text->blink = (vga->attribute[ATT_MODE] & ATT_MODE_BLINK) != 0;
	text->cursor = false;
	text->cursor_column = text->cursor_row = 0;
	text->cursor_first = vga->crtc[CRTC_CURSOR_START] & 0x1fu;
	text->cursor_last = vga->crtc[CRTC_CURSOR_END] & 0x1fu;
	text->cell_height = (vga->crtc[CRTC_MAX_ROW] & 0x1fu) + 1;
	for (unsigned i = 0; i < DISPLAY_COLOURS; i++)
		text->colour[i] = frame.colour[frame.palette[i]];
	text_rows(vga, text);
	return true;
}

_Static_assert(VGA_COLUMNS_MAX <= DISPLAY_COLUMNS_MAX, "a row of the display takes every row");
