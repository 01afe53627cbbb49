/* SPDX-License-Identifier: MIT */
/* What the VGA shows: text with fonts, cursor and blink, planar, packed and CGA graphics, split and panned. */
#include "vga-rig.h"

#define TEXT UINT64_C(0xb8000)
#define FRAME_03 UINT64_C(14268060) /* ns of a frame in mode 3 */

/* The palette of mode 3, entry by entry, as indices of the DAC; AR14 is 0. */
static uint32_t text_colour(unsigned entry)
{
	return mode_colour(mode_03.attribute[entry]);
}

/* Row `row` of character `c` in the test's font `font`: another pattern for each. */
static unsigned font_pattern(unsigned font, unsigned c, unsigned row)
{
	return (c * 7 + row * 29 + font * 101 + 1) & 0xff;
}

/* As the BIOS loads fonts: plane 2, sequential. */
static void load_font(struct vga_rig *f, unsigned font)
{
	uint64_t base = 0xa0000 + (font & 3) * 0x4000 + (font >> 2) * 0x2000;
	put_sequencer(f, 2, 4);
	put_sequencer(f, 4, 7);
	put_graphics(f, 5, 0);
	put_graphics(f, 6, 4);
	for (unsigned c = 0; c < 256; c++)
		for (unsigned row = 0; row < 16; row++)
			put_memory(f, base + c * 32 + row, 1, font_pattern(font, c, row));
	put_sequencer(f, 2, 3);
	put_sequencer(f, 4, 2);
	put_graphics(f, 5, 0x10);
	put_graphics(f, 6, 0x0e);
}

static void start_text(struct vga_rig *f)
{
	set_mode(f, &mode_03);
	load_font(f, 0);
	put_crtc(f, 0x0a, 0x20); /* no cursor */
	for (unsigned i = 0; i < 80 * 25; i++)
		put_memory(f, TEXT + 2 * i, 2, 0x0720);
}

static void put_cell(struct vga_rig *f, unsigned column, unsigned row, unsigned character, unsigned attribute)
{
	put_memory(f, TEXT + 2 * (row * 80 + column), 2, character | attribute << 8);
}

static void check_cell(struct vga_rig *f, unsigned column, unsigned row, unsigned font, unsigned character,
		       uint32_t foreground, uint32_t background)
{
	for (unsigned y = 0; y < 16; y++) {
		unsigned bits = font_pattern(font, character, y);
		for (unsigned x = 0; x < 8; x++)
			assert_int_equal(pixel(f, column * 9 + x, row * 16 + y),
					 (bits & 0x80 >> x) ? foreground : background);
		bool line = character >= 0xc0 && character < 0xe0 && (bits & 1);
		assert_int_equal(pixel(f, column * 9 + 8, row * 16 + y), line ? foreground : background);
	}
}

static void text_shows_the_font(void **state)
{
	struct vga_rig *f = *state;
	start_text(f);
	for (unsigned i = 0; i < 256; i++) /* each character, with colours that differ */
		put_cell(f, i % 80, i / 80, i, (i * 3 & 0x7f) | (i & 1));
	take_frame(f);
	assert_int_equal(f->size.width, 720);
	assert_int_equal(f->size.height, 400);
	for (unsigned i = 0; i < 256; i++) {
		unsigned attribute = (i * 3 & 0x7f) | (i & 1);
		check_cell(f, i % 80, i / 80, 0, i, text_colour(attribute & 15), text_colour(attribute >> 4));
	}
	check_cell(f, 79, 24, 0, ' ', text_colour(7), text_colour(0));
	/* Eight dots: no ninth column. */
	put_sequencer(f, 1, 1);
	put_attribute(f, 0x13, 0);
	take_frame(f);
	assert_int_equal(f->size.width, 640);
	assert_int_equal(pixel(f, 8, 0), (font_pattern(0, 1, 0) & 0x80) ? text_colour(3) : text_colour(0));
}

static void text_has_two_fonts(void **state)
{
	struct vga_rig *f = *state;
	start_text(f);
	load_font(f, 3);
	load_font(f, 6);
	put_cell(f, 0, 0, 'A', 0x07);
	put_cell(f, 1, 0, 'A', 0x0f);
	put_sequencer(f, 3, 0x03 | 2 << 2 | 1 << 5); /* B is 3, A is 6 */
	take_frame(f);
	check_cell(f, 0, 0, 3, 'A', text_colour(7), text_colour(0));
	check_cell(f, 1, 0, 6, 'A', text_colour(15), text_colour(0));
}

static void text_is_offered_as_cells(void **state)
{
	struct vga_rig *f = *state;
	start_text(f);
	put_cell(f, 3, 2, 'X', 0x1e);
	put_cell(f, 79, 24, 'Y', 0x4f);
	put_crtc(f, 0x0a, 13);
	put_crtc(f, 0x0e, (24 * 80 + 5) >> 8);
	put_crtc(f, 0x0f, (24 * 80 + 5) & 255);
	assert_true(display_text(&f->display, &f->text));
	assert_int_equal(f->text.columns, 80);
	assert_int_equal(f->text.rows, 25);
	assert_int_equal(f->text.cell[2][3].character, 'X');
	assert_int_equal(f->text.cell[2][3].attribute, 0x1e);
	assert_int_equal(f->text.cell[24][79].character, 'Y');
	assert_int_equal(f->text.cell[0][0].character, ' ');
	assert_true(f->text.blink && f->text.cursor);
	assert_int_equal(f->text.cursor_column, 5);
	assert_int_equal(f->text.cursor_row, 24);
	assert_int_equal(f->text.cursor_first, 13);
	assert_int_equal(f->text.cursor_last, 14);
	assert_int_equal(f->text.cell_height, 16);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(f->text.colour[i], text_colour(i));
	/* The second page: other cells, and the cursor is not on it. */
	put_memory(f, TEXT + 0x1000, 2, 0x0732);
	put_crtc(f, 0x0c, 0x08);
	assert_true(display_text(&f->display, &f->text));
	assert_int_equal(f->text.cell[0][0].character, '2');
	assert_false(f->text.cursor);
	put_sequencer(f, 1, 0x20); /* the screen is off */
	assert_true(display_text(&f->display, &f->text));
	assert_int_equal(f->text.cell[0][0].character, ' ');
	set_mode(f, &mode_12);
	assert_false(display_text(&f->display, &f->text));
}

static void cursor_and_characters_blink(void **state)
{
	struct vga_rig *f = *state;
	start_text(f);
	put_cell(f, 1, 0, 'B', 0x87);
	put_cell(f, 2, 0, 'B', 0x07);
	put_crtc(f, 0x0a, 13);
	put_crtc(f, 0x0f, 2);
	for (unsigned frame = 0; frame < 64; frame += 4) {
		take_frame(f);
		bool cursor = frame % 16 < 8, blink = frame % 32 < 16;
		check_cell(f, 1, 0, 0, 'B', blink ? text_colour(7) : text_colour(0), text_colour(0));
		for (unsigned x = 18; x < 27; x++) {
			unsigned bit = x < 26 ? font_pattern(0, 'B', 14) >> (25 - x) & 1 : 0;
			assert_int_equal(pixel(f, x, 14), cursor || bit ? text_colour(7) : text_colour(0));
			bit = x < 26 ? font_pattern(0, 'B', 15) >> (25 - x) & 1 : 0;
			assert_int_equal(pixel(f, x, 15), bit ? text_colour(7) : text_colour(0));
		}
		clock_advance(&f->rig.clock, 4 * FRAME_03 + 10);
	}
	put_attribute(f, 0x10, 0x04); /* no blinking: bright backgrounds */
	put_crtc(f, 0x0a, 0x20);
	take_frame(f);
	check_cell(f, 1, 0, 0, 'B', text_colour(7), text_colour(8));
}

static void changes_are_counted(void **state)
{
	struct vga_rig *f = *state;
	start_text(f);
	uint64_t before = display_changes(&f->display);
	assert_true(display_changes(&f->display) == before);
	put_cell(f, 0, 0, 'A', 7);
	uint64_t after = display_changes(&f->display);
	assert_true(after != before);
	(void)get_memory(f, TEXT, 4);
	(void)in8(&f->rig, 0x3da);
	assert_true(display_changes(&f->display) == after);
	clock_advance(&f->rig.clock, 8 * FRAME_03); /* the cursor blinks */
	assert_true(display_changes(&f->display) != after);
	set_mode(f, &mode_12);
	after = display_changes(&f->display);
	clock_advance(&f->rig.clock, 80 * FRAME_03);
	assert_true(display_changes(&f->display) == after);
	put_memory(f, FRAMEBUFFER, 1, 1);
	assert_true(display_changes(&f->display) != after);
	after = display_changes(&f->display);
	put_crtc(f, 0x0c, 1);
	assert_true(display_changes(&f->display) != after);
	after = display_changes(&f->display);
	set_vbe_mode(f, 320, 200, 8, 0);
	assert_true(display_changes(&f->display) != after);
	/* A frame of another size than the screen's is refused. */
	uint32_t one = 0;
	assert_false(display_render(&f->display, &one, (struct display_size){1, 1}));
}

static void underline_and_blank(void **state)
{
	struct vga_rig *f = *state;
	start_text(f);
	put_crtc(f, 0x14, 12);
	put_cell(f, 0, 0, 'U', 0x01);
	put_cell(f, 1, 0, 'U', 0x02);
	take_frame(f);
	for (unsigned x = 0; x < 9; x++)
		assert_int_equal(pixel(f, x, 12), text_colour(1));
	assert_int_equal(pixel(f, 17, 12), text_colour(0));
	(void)in8(&f->rig, 0x3da);
	out8(&f->rig, 0x3c0, 0x00); /* the palette is the processor's */
	take_frame(f);
	assert_int_equal(pixel(f, 0, 12), 0);
}

static void planar_shows_sixteen_colours(void **state)
{
	struct vga_rig *f = *state;
	set_mode(f, &mode_12);
	for (unsigned plane = 0; plane < 4; plane++) {
		put_sequencer(f, 2, 1u << plane);
		for (unsigned i = 0; i < 80 * 480; i += 40)
			put_memory(f, 0xa0000 + i, 1, (i / 40 * 37 + plane * 91) & 0xff);
	}
	put_attribute(f, 0x12, 0x0b);
	take_frame(f);
	assert_int_equal(f->size.width, 640);
	assert_int_equal(f->size.height, 480);
	for (unsigned y = 0; y < 480; y++)
		for (unsigned x = 0; x < 640; x++) {
			unsigned entry = 0, i = y * 80 + x / 8;
			for (unsigned plane = 0; plane < 4; plane++)
				if (i % 40 == 0 && plane != 2)
					entry |= ((i / 40 * 37 + plane * 91) >> (7 - x % 8) & 1) << plane;
			assert_int_equal(pixel(f, x, y), mode_colour(mode_12.attribute[entry]));
		}
	/* Colour select: bits 7:6 from AR14, bits 5:4 with P54S. */
	put_attribute(f, 0x14, 0x0e);
	put_attribute(f, 0x10, 0x81);
	take_frame(f);
	assert_int_equal(pixel(f, 639, 0), mode_colour(0xe0));
	out8(&f->rig, 0x3c6, 0x0f); /* the DAC's mask */
	take_frame(f);
	assert_int_equal(pixel(f, 639, 0), mode_colour(0));
}

static void packed_shows_256_colours(void **state)
{
	struct vga_rig *f = *state;
	set_mode(f, &mode_13);
	for (unsigned i = 0; i < 320 * 200; i++)
		put_memory(f, 0xa0000 + i, 1, (i * 7 + i / 320) & 0xff);
	take_frame(f);
	assert_int_equal(f->size.width, 640);
	assert_int_equal(f->size.height, 400);
	for (unsigned y = 0; y < 400; y++)
		for (unsigned x = 0; x < 640; x++) {
			unsigned i = y / 2 * 320 + x / 2;
			assert_int_equal(pixel(f, x, y), mode_colour((i * 7 + i / 320) & 0xff));
		}
}

/* Unchained: each plane has every fourth pixel at consecutive addresses; two pages, and panning by pixels. */
static void unchained_shows_256_colours(void **state)
{
	struct vga_rig *f = *state;
	set_mode(f, &mode_13);
	put_sequencer(f, 4, 0x06);
	put_crtc(f, 0x14, 0x00);
	put_crtc(f, 0x17, 0xe3);
	for (unsigned plane = 0; plane < 4; plane++) {
		put_sequencer(f, 2, 1u << plane);
		for (unsigned i = 0; i < 80 * 200; i++)
			put_memory(f, 0xa0000 + 0x4000 + i, 1, (i * 4 + plane + i / 80) & 0xff);
	}
	put_crtc(f, 0x0c, 0x40);
	for (unsigned pan = 0; pan < 4; pan++) {
		put_attribute(f, 0x13, 2 * pan);
		take_frame(f);
		for (unsigned y = 0; y < 398; y++)
			for (unsigned x = 0; x < 640; x++) {
				unsigned i = y / 2 * 320 + x / 2 + pan;
				assert_int_equal(pixel(f, x, y), mode_colour((i + i / 320) & 0xff));
			}
	}
}

static void cga_shows_four_colours(void **state)
{
	struct vga_rig *f = *state;
	set_mode(f, &mode_04);
	for (unsigned bank = 0; bank < 2; bank++)
		for (unsigned i = 0; i < 80 * 100; i++)
			put_memory(f, TEXT + bank * 0x2000 + i, 1, (i * 11 + bank * 77) & 0xff);
	take_frame(f);
	assert_int_equal(f->size.width, 640);
	assert_int_equal(f->size.height, 400);
	for (unsigned y = 0; y < 400; y++)
		for (unsigned x = 0; x < 640; x++) {
			unsigned i = y / 4 * 80 + x / 8, bank = y / 2 % 2;
			unsigned entry = ((i * 11 + bank * 77) & 0xff) >> (6 - x / 2 % 4 * 2) & 3;
			assert_int_equal(pixel(f, x, y), mode_colour(mode_04.attribute[entry]));
		}
}

/* Below the line compare the screen shows address 0, and is not panned when the attribute controller says so. */
static void line_compare_splits_the_screen(void **state)
{
	struct vga_rig *f = *state;
	set_mode(f, &mode_12);
	for (unsigned i = 0; i < 80; i++) {
		put_memory(f, 0xa0000 + i, 1, i);
		put_memory(f, 0xa8000 + i, 1, 0x80 + i);
	}
	const unsigned split = 299;
	put_crtc(f, 0x0c, 0x80);
	put_crtc(f, 0x18, split & 255);
	put_crtc(f, 0x07, 0x2e | (split >> 8 & 1) << 4);
	put_crtc(f, 0x09, 0x00 | (split >> 9 & 1) << 6);
	put_crtc(f, 0x08, 1 << 5); /* one byte to the left */
	put_attribute(f, 0x13, 3);
	put_attribute(f, 0x10, 0x21);
	take_frame(f);
	for (unsigned x = 0; x < 600; x++) {
		unsigned panned = x + 3 + 8;
		bool above = (0x80 + panned / 8) >> (7 - panned % 8) & 1, below = x / 8 >> (7 - x % 8) & 1;
		assert_int_equal(pixel(f, x, 0), mode_colour(above ? 0x3f : 0));
		assert_int_equal(pixel(f, x, split), mode_colour(0));
		assert_int_equal(pixel(f, x, split + 1), mode_colour(below ? 0x3f : 0));
	}
	put_attribute(f, 0x10, 0x01); /* panned like the rest */
	take_frame(f);
	for (unsigned x = 0; x < 600; x++)
		assert_int_equal(pixel(f, x, split + 1),
				 mode_colour((x + 11) / 8 >> (7 - (x + 11) % 8) & 1 ? 0x3f : 0));
}

static void set_line_compare(struct vga_rig *f, const struct vga_mode *mode, unsigned line, unsigned max_row)
{
	put_crtc(f, 0x11, 0);
	put_crtc(f, 0x18, line & 0xff);
	put_crtc(f, 0x07, (mode->crtc[7] & 0xef) | (line >> 8 & 1) << 4);
	put_crtc(f, 0x09, max_row | (line >> 9 & 1) << 6);
}

/* Lines that each have their own colour in the first pixel; the row at address 0 has colour 200. */
static void mark_rows(struct vga_rig *f)
{
	set_mode(f, &mode_13);
	for (unsigned row = 0; row < 204; row++)
		put_memory(f, 0xa0000 + row * 320, 1, row == 0 ? 200 : row % 199);
	put_crtc(f, 0x0d, 80); /* from the second row on */
}

static void line_compare_meets_doubled_lines(void **state)
{
	struct vga_rig *f = *state;
	mark_rows(f);
	set_line_compare(f, &mode_13, 101, 0x80); /* between the two lines of a row */
	take_frame(f);
	for (unsigned y = 0; y < 202; y++) {
		unsigned row = y <= 101 ? 1 + y / 2 : (y - 102) / 2;
		assert_int_equal(pixel(f, 0, y), mode_colour(row == 0 ? 200 : row));
	}
	set_line_compare(f, &mode_13, 100, 0x80);
	take_frame(f);
	for (unsigned y = 0; y < 202; y++) {
		unsigned row = y <= 100 ? 1 + y / 2 : (y - 101) / 2;
		assert_int_equal(pixel(f, 0, y), mode_colour(row == 0 ? 200 : row));
	}
	set_line_compare(f, &mode_13, 0x200 | 44, 0x01); /* below the screen */
	take_frame(f);
	assert_int_equal(pixel(f, 0, 390), mode_colour(196));
}

/* The vertical counter at half the rate: twice the lines, and the split at twice the count. */
static void lines_count_by_two(void **state)
{
	struct vga_rig *f = *state;
	mark_rows(f);
	set_line_compare(f, &mode_13, 50, 0x03);
	put_crtc(f, 0x17, 0xa7);
	take_frame(f);
	assert_int_equal(f->size.height, 800);
	for (unsigned y = 0; y < 300; y++) {
		unsigned row = y <= 101 ? 1 + y / 4 : (y - 102) / 4;
		assert_int_equal(pixel(f, 0, y), mode_colour(row == 0 ? 200 : row));
	}
}

/* High bits of the counter come in below: the other halves of memory, which the window of 128 KiB reaches. */
static void counters_wrap_into_low_bits(void **state)
{
	struct vga_rig *f = *state;
	set_mode(f, &mode_13);
	put_graphics(f, 6, 0x01);
	put_memory(f, 0xb0000, 8, UINT64_C(0x1817161514131211));
	put_crtc(f, 0x0c, 0x40);
	take_frame(f);
	for (unsigned x = 0; x < 8; x++)
		assert_int_equal(pixel(f, 2 * x, 0), mode_colour(0x11 + x));
	start_text(f);
	put_graphics(f, 6, 0x02);
	put_memory(f, 0xb0000, 2, 0x0741);
	put_crtc(f, 0x0c, 0x80);
	assert_true(display_text(&f->display, &f->text));
	assert_int_equal(f->text.cell[0][0].character, 'A');
	put_crtc(f, 0x17, 0x83); /* bit 13 instead of bit 15 */
	put_memory(f, 0xb4000, 2, 0x0742);
	put_crtc(f, 0x0c, 0x20);
	assert_true(display_text(&f->display, &f->text));
	assert_int_equal(f->text.cell[0][0].character, 'B');
}

static void panning_in_text(void **state)
{
	struct vga_rig *f = *state;
	start_text(f);
	put_cell(f, 0, 0, 'P', 7);
	put_cell(f, 3, 0, 'Q', 7);
	put_attribute(f, 0x13, 0); /* of nine dots, one is gone */
	take_frame(f);
	for (unsigned x = 0; x < 7; x++)
		assert_int_equal(pixel(f, x, 5), text_colour((font_pattern(0, 'P', 5) & 0x40 >> x) ? 7 : 0));
	put_attribute(f, 0x13, 8);
	put_crtc(f, 0x08, 3 << 5); /* three characters */
	take_frame(f);
	check_cell(f, 0, 0, 0, 'Q', text_colour(7), text_colour(0));
	assert_true(display_text(&f->display, &f->text));
	assert_int_equal(f->text.cell[0][0].character, 'Q');
	put_crtc(f, 0x0a, 0); /* the cursor moves along */
	put_crtc(f, 0x0f, 5);
	assert_true(display_text(&f->display, &f->text));
	assert_int_equal(f->text.cursor_column, 2);
	take_frame(f);
	for (unsigned x = 18; x < 27; x++)
		assert_int_equal(pixel(f, x, 7), text_colour(7));
}

static void cursor_skew_and_doubled_rows(void **state)
{
	struct vga_rig *f = *state;
	start_text(f);
	put_crtc(f, 0x0a, 13);
	put_crtc(f, 0x0b, 14 | 2 << 5);
	put_crtc(f, 0x0f, 10);
	put_crtc(f, 0x09, 0xc7); /* eight lines, each twice; line compare bit 9 as before */
	assert_true(display_text(&f->display, &f->text));
	assert_int_equal(f->text.rows, 25);
	assert_int_equal(f->text.cursor_column, 12);
	put_crtc(f, 0x0b, 12); /* ends before it starts */
	assert_true(display_text(&f->display, &f->text));
	assert_false(f->text.cursor);
}

/* A smooth scroll: the first text row begins at its third line; the cells are the same. */
static void preset_row_scrolls_text(void **state)
{
	struct vga_rig *f = *state;
	start_text(f);
	put_cell(f, 0, 0, 'S', 7);
	put_cell(f, 0, 1, 'T', 7);
	put_crtc(f, 0x08, 3);
	take_frame(f);
	for (unsigned y = 0; y < 29; y++) {
		unsigned line = y + 3, bits = font_pattern(0, line < 16 ? 'S' : 'T', line % 16);
		assert_int_equal(pixel(f, 0, y), text_colour((bits & 0x80) ? 7 : 0));
	}
	assert_true(display_text(&f->display, &f->text));
	assert_int_equal(f->text.rows, 26);
	assert_int_equal(f->text.cell[0][0].character, 'S');
	assert_int_equal(f->text.cell[1][0].character, 'T');
}

static void characters_have_unicode(void **state)
{
	(void)state;
	for (unsigned c = 0x20; c < 0x7f; c++)
		assert_int_equal(display_unicode((uint8_t)c), c);
	assert_int_equal(display_unicode(0), ' ');
	assert_int_equal(display_unicode(1), 0x263a);
	assert_int_equal(display_unicode(0x84), 0xe4);
	assert_int_equal(display_unicode(0xc4), 0x2500);
	assert_int_equal(display_unicode(0xdb), 0x2588);
	assert_int_equal(display_unicode(0xff), 0xa0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    VGA_TEST(text_shows_the_font),
	    VGA_TEST(text_has_two_fonts),
	    VGA_TEST(text_is_offered_as_cells),
	    VGA_TEST(cursor_and_characters_blink),
	    VGA_TEST(changes_are_counted),
	    VGA_TEST(underline_and_blank),
	    VGA_TEST(planar_shows_sixteen_colours),
	    VGA_TEST(packed_shows_256_colours),
	    VGA_TEST(unchained_shows_256_colours),
	    VGA_TEST(cga_shows_four_colours),
	    VGA_TEST(line_compare_splits_the_screen),
	    VGA_TEST(preset_row_scrolls_text),
	    VGA_TEST(line_compare_meets_doubled_lines),
	    VGA_TEST(lines_count_by_two),
	    VGA_TEST(counters_wrap_into_low_bits),
	    VGA_TEST(panning_in_text),
	    VGA_TEST(cursor_skew_and_doubled_rows),
	    cmocka_unit_test(characters_have_unicode),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
