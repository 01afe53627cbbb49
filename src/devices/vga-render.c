/* SPDX-License-Identifier: MIT */
/*
 * From video memory to pixels.
 *
 * A scan walks down the screen as the CRT controller does: the scan line within the character row counts up to its
 * maximum, then the row's address grows by the offset; at the line compare both start anew from address 0. For each
 * character clock of a line the address is formed (vga_scan_fetch) and four planes are read at once. A line becomes
 * dots, which are indices of the DAC; panning drops dots at its start, and the half dot clock doubles each.
 */
#include <string.h>

#include "devices/vga-impl.h"

/* ---- the scan ---- */

static bool scan_pans(const struct vga *vga, const struct vga_scan *scan)
{
	return !(scan->split && (vga->attribute[ATT_MODE] & ATT_MODE_SPLIT_PANNING));
}

void vga_scan_start(const struct vga *vga, struct vga_scan *scan)
{
	*scan = (struct vga_scan){
	    .address = (uint32_t)vga->crtc[CRTC_START_HIGH] << 8 | vga->crtc[CRTC_START_LOW],
	    .row = vga->crtc[CRTC_PRESET_ROW] & 0x1fu,
	};
}

static unsigned line_compare(const struct vga *vga)
{
	unsigned bit_9 = vga->crtc[CRTC_MAX_ROW] >> 6 & 1u;
	unsigned line = vga_vertical(vga, CRTC_LINE_COMPARE, 4, 4) & 0x1ff;
	line |= bit_9 << 9;
	return (vga->crtc[CRTC_MODE] & CRTC_MODE_LINES_BY_2) ? 2 * line + 1 : line;
}

/* Every row twice as high: nothing advances after the first of two lines. */
static bool scan_repeats(const struct vga *vga, struct vga_scan *scan)
{
	bool repeats = (vga->crtc[CRTC_MAX_ROW] & CRTC_MAX_ROW_DOUBLE) && !scan->repeated;
	scan->repeated = repeats;
	return repeats;
}

void vga_scan_next(const struct vga *vga, struct vga_scan *scan)
{
	if (scan->line++ == line_compare(vga)) {
		scan->address = 0;
		scan->row = 0;
		scan->repeated = false;
		scan->split = true;
		return;
	}
	if (scan_repeats(vga, scan))
		return;
	if (scan->row == (vga->crtc[CRTC_MAX_ROW] & 0x1fu)) {
		scan->row = 0;
		scan->address += vga->crtc[CRTC_OFFSET] * 2u;
	} else {
		scan->row = (scan->row + 1) & 0x1f;
	}
}

/* The counter's bits as they reach the memory: shifted in word and double word mode, with high bits coming in below,
 * and with bits of the row in place of bits 13 and 14. */
static uint32_t memory_address(const struct vga *vga, uint32_t counter, unsigned row)
{
	uint8_t mode = vga->crtc[CRTC_MODE];
	uint32_t address = counter;
	if (vga->crtc[CRTC_UNDERLINE] & CRTC_UNDERLINE_DWORD)
		address = counter << 2 | (counter >> 14 & 3);
	else if (!(mode & CRTC_MODE_BYTE))
		address = counter << 1 | (counter >> ((mode & CRTC_MODE_WRAP_64K) ? 15 : 13) & 1);
	if (!(mode & CRTC_MODE_NOT_CGA))
		address = (address & ~BIT32(13)) | (row & 1u) << 13;
	if (!(mode & CRTC_MODE_NOT_HERCULES))
		address = (address & ~BIT32(14)) | (row >> 1 & 1u) << 14;
	return address & VGA_PLANE_MASK;
}

uint32_t vga_scan_counter(const struct vga *vga, const struct vga_scan *scan, unsigned column)
{
	if (vga->crtc[CRTC_UNDERLINE] & CRTC_UNDERLINE_COUNT_BY_4)
		column /= 4;
	else if (vga->crtc[CRTC_MODE] & CRTC_MODE_COUNT_BY_2)
		column /= 2;
	uint32_t counter = scan->address + column;
	if (scan_pans(vga, scan))
		counter += vga->crtc[CRTC_PRESET_ROW] >> 5 & 3u;
	return counter & VGA_PLANE_MASK;
}

uint32_t vga_scan_fetch(const struct vga *vga, const struct vga_scan *scan, unsigned column)
{
	uint32_t counter = vga_scan_counter(vga, scan, column);
	return (uint32_t)load_le(vga_planes(vga, memory_address(vga, counter, scan->row)), 4);
}

/* ---- colours ---- */

static uint32_t dac_colour(const struct vga *vga, uint8_t index)
{
	const uint8_t *component = vga->dac.colour[index & vga->dac.mask];
	uint32_t colour = 0;
	for (unsigned i = 0; i < 3; i++) {
		uint8_t value = component[i];
		if (!(vga->vbe[VBE_ENABLE] & VBE_8_BIT_DAC))
			value = (uint8_t)((value & 0x3f) << 2 | (value & 0x3f) >> 4);
		colour = colour << 8 | value;
	}
	return colour;
}

/* A palette register with the colour select register's bits above it. */
static uint8_t palette_index(const struct vga *vga, unsigned entry)
{
	uint8_t select = vga->attribute[ATT_COLOUR_SELECT];
	unsigned index = vga->attribute[entry] | (select & 0x0cu) << 4;
	if (vga->attribute[ATT_MODE] & ATT_MODE_P54S)
		index = (index & ~0x30u) | (select & 0x03u) << 4;
	return (uint8_t)index;
}

void vga_frame_init(const struct vga *vga, struct vga_frame *frame)
{
	uint64_t number = vga_frame_number(vga);
	frame->columns = vga->crtc[CRTC_H_DISPLAY_END] + 1u;
	frame->char_dots = vga_shown_dots(vga);
	for (unsigned i = 0; i < 16; i++)
		frame->palette[i] = palette_index(vga, i);
	for (unsigned i = 0; i < 256; i++)
		frame->colour[i] = dac_colour(vga, (uint8_t)i);
	frame->cursor_visible = !(number >> 3 & 1);
	frame->blink_visible = !(number >> 4 & 1);
}

/* ---- graphics ---- */

uint8_t vga_planar_dot(uint32_t planes, unsigned bit)
{
	uint32_t bits = planes >> bit & 0x01010101;
	return (uint8_t)((bits | bits >> 7 | bits >> 14 | bits >> 21) & 0x0f);
}

/* Two bits from planes 0 and 2 for each of four dots, then from planes 1 and 3. */
static uint8_t cga_dot(uint32_t planes, unsigned dot)
{
	uint32_t pair = dot < 4 ? planes : planes >> 8;
	unsigned shift = 6 - 2 * (dot & 3);
	return (uint8_t)((pair >> shift & 3) | (pair >> (16 + shift) & 3) << 2);
}

/* Four bits for each dot, plane after plane, the high ones first. */
static uint8_t nibble_dot(uint32_t planes, unsigned dot)
{
	return planes >> (8 * (dot / 2) + ((dot & 1) ? 0 : 4)) & 0x0f;
}

static void graphics_character(const struct vga *vga, const struct vga_frame *frame, uint32_t planes, uint8_t *dots)
{
	uint8_t mode = vga->graphics[GFX_MODE];
	for (unsigned i = 0; i < 8; i++) {
		if ((mode & GFX_MODE_SHIFT_256) && (vga->attribute[ATT_MODE] & ATT_MODE_256)) {
			dots[i] = (uint8_t)(planes >> (8 * (i / 2)));
			continue;
		}
		uint8_t dot = (mode & GFX_MODE_SHIFT_256)   ? nibble_dot(planes, i)
			      : (mode & GFX_MODE_SHIFT_CGA) ? cga_dot(planes, i)
							    : vga_planar_dot(planes, 7 - i);
		dots[i] = frame->palette[dot & vga->attribute[ATT_PLANES] & 0x0f];
	}
}

static void graphics_line(const struct vga *vga, const struct vga_frame *frame, const struct vga_scan *scan,
			  unsigned columns, uint8_t *dots)
{
	for (unsigned column = 0; column < columns; column++, dots += 8)
		graphics_character(vga, frame, vga_scan_fetch(vga, scan, column), dots);
}

/* ---- lines and frames ---- */

/* Dots to leave out on the left. With nine dots, 8 means none and 0 means one. */
static unsigned panned_dots(const struct vga *vga, const struct vga_frame *frame, const struct vga_scan *scan)
{
	unsigned panning = vga->attribute[ATT_PANNING];
	if (!scan_pans(vga, scan))
		return 0;
	if (frame->char_dots == 9)
		return panning >= 8 ? 0 : panning + 1;
	return panning & 7;
}

static void render_line(const struct vga *vga, const struct vga_frame *frame, const struct vga_scan *scan,
			uint32_t *pixels, unsigned width)
{
	uint8_t dots[VGA_DOTS_MAX] = {0};
	const uint8_t *dot = dots + panned_dots(vga, frame, scan);
	unsigned doubled = (vga->sequencer[SEQ_CLOCKING] & SEQ_CLOCKING_HALF) ? 1 : 0;
	if (vga_is_graphics(vga))
		graphics_line(vga, frame, scan, frame->columns + 1, dots);
	else
		vga_text_line(vga, frame, scan, frame->columns + 1, dots);
	for (unsigned x = 0; x < width; x++)
		pixels[x] = frame->colour[dot[x >> doubled]];
}

static struct display_size vga_size(void *opaque)
{
	const struct vga *vga = opaque;
	if (vga_vbe_on(vga))
		return (struct display_size){vga->vbe[VBE_XRES], vga->vbe[VBE_YRES]};
	const struct vga_timing timing = vga_timing(vga);
	unsigned doubled = (vga->sequencer[SEQ_CLOCKING] & SEQ_CLOCKING_HALF) ? 1 : 0;
	return (struct display_size){timing.display_columns * vga_shown_dots(vga) << doubled, timing.display_lines};
}

_Static_assert(VGA_COLUMNS_MAX * 9 * 2 <= DISPLAY_WIDTH_MAX, "the display takes every width");
_Static_assert(0x400 * 2 <= DISPLAY_HEIGHT_MAX, "the display takes every height");

static void vga_render(void *opaque, uint32_t *pixels, struct display_size size)
{
	const struct vga *vga = opaque;
	struct vga_frame frame;
	struct vga_scan scan;
	if (vga_is_blank(vga)) {
		memset(pixels, 0, (uint64_t)size.width * size.height * sizeof *pixels);
		return;
	}
	if (vga_vbe_on(vga)) {
		vga_vbe_render(vga, pixels, size);
		return;
	}
	vga_frame_init(vga, &frame);
	vga_scan_start(vga, &scan);
	for (unsigned y = 0; y < size.height; y++, pixels += size.width) {
		render_line(vga, &frame, &scan, pixels, size.width);
		vga_scan_next(vga, &scan);
	}
}

/* ---- what viewers ask ---- */

/* Text blinks by itself: each phase of the cursor counts as a change once somebody looks. */
static uint64_t vga_changes(void *opaque)
{
	struct vga *vga = opaque;
	uint64_t phase = vga_is_graphics(vga) ? vga->blink_phase : vga_frame_number(vga) >> 3;
	bool unseen = vga->config.memory != NULL && vga_vbe_packed(vga);
	if (phase != vga->blink_phase || unseen) {
		vga->blink_phase = phase;
		vga->changes++;
	}
	return vga->changes;
}

const struct display_source vga_display_source = {
    .changes = vga_changes, .size = vga_size, .text = vga_text, .render = vga_render};
