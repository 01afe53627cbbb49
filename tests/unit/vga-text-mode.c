/* SPDX-License-Identifier: MIT */
/* Text mode without a VGA BIOS that runs: the screen as a viewer sees it, with the ROM's font. */
#include "machine/vga-text-mode.h"

#include "vga-rig.h"

#define FONT_OFFSET 1234u
#define FONT_SIZE 4096u
#define ROM_SIZE (FONT_OFFSET + FONT_SIZE)

/* A ROM of noise, with a font in it: the faces, and for each other character its code in every line. */
static uint8_t *make_rom(void)
{
	static const uint8_t faces[2][16] = {{0, 0, 0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e},
					     {0, 0, 0x7e, 0xff, 0xdb, 0xff, 0xff, 0xc3, 0xe7, 0xff, 0xff, 0x7e}};
	uint8_t *rom = malloc(ROM_SIZE);
	for (unsigned i = 0; i < FONT_OFFSET; i++)
		rom[i] = (uint8_t)(i * 7);
	for (unsigned i = 0; i < FONT_SIZE; i++)
		rom[FONT_OFFSET + i] = (uint8_t)(i / 16);
	memset(rom + FONT_OFFSET, 0, 16);
	memcpy(rom + FONT_OFFSET + 16, faces, sizeof faces);
	return rom;
}

static void font_is_found_whole_or_not_at_all(void **state)
{
	uint8_t *rom = make_rom();
	(void)state;
	assert_ptr_equal(vga_text_font(rom, ROM_SIZE), rom + FONT_OFFSET);
	for (size_t size = 0; size < ROM_SIZE; size += 61)
		assert_null(vga_text_font(rom, size));
	assert_null(vga_text_font(rom, ROM_SIZE - 1));
	assert_null(vga_text_font(NULL, 0));
	rom[FONT_OFFSET + 20] ^= 1;
	assert_null(vga_text_font(rom, ROM_SIZE));
	free(rom);
}

static void screen_is_blank_text_with_a_cursor(void **state)
{
	struct vga_rig *f = *state;
	uint8_t *rom = make_rom();
	for (unsigned i = 0; i < 0x8000; i++) /* what was there before */
		put_memory(f, 0xb8000 + i, 1, 0x55);
	assert_true(vga_text_mode(&f->rig.ports, &f->rig.mmio, rom, ROM_SIZE));
	assert_true(display_text(&f->display, &f->text));
	assert_int_equal(f->text.columns, VGA_TEXT_COLUMNS);
	assert_int_equal(f->text.rows, VGA_TEXT_ROWS);
	assert_int_equal(f->text.cell_height, VGA_TEXT_POINTS);
	assert_true(f->text.cursor && f->text.cursor_column == 0 && f->text.cursor_row == 0);
	for (unsigned row = 0; row < 25; row++)
		for (unsigned column = 0; column < 80; column++)
			assert_int_equal(f->text.cell[row][column].character << 8 | f->text.cell[row][column].attribute,
					 0x2007);
	assert_int_equal(f->text.colour[0], 0);
	assert_int_equal(f->text.colour[1], 0x0000aa);
	assert_int_equal(f->text.colour[6], 0xaa5500);
	assert_int_equal(f->text.colour[7], 0xaaaaaa);
	assert_int_equal(f->text.colour[12], 0xff5555);
	assert_int_equal(f->text.colour[15], 0xffffff);
	free(rom);
}

static void characters_look_as_in_the_rom(void **state)
{
	struct vga_rig *f = *state;
	uint8_t *rom = make_rom();
	assert_true(vga_text_mode(&f->rig.ports, &f->rig.mmio, rom, ROM_SIZE));
	for (unsigned character = 0; character < 256; character++)
		put_memory(f, 0xb8000 + 2 * character, 2, character | 0x0f00);
	take_frame(f);
	assert_int_equal(f->size.width, 720);
	assert_int_equal(f->size.height, 400);
	for (unsigned character = 3; character < 256; character++)
		for (unsigned line = 0; line < 16; line++)
			for (unsigned dot = 0; dot < 8; dot++) {
				unsigned x = character % 80 * 9 + dot, y = character / 80 * 16 + line;
				bool set = rom[FONT_OFFSET + character * 16 + line] >> (7 - dot) & 1;
				assert_int_equal(pixel(f, x, y), set ? 0xffffff : 0);
			}
	free(rom);
}

static void without_a_font_nothing_is_touched(void **state)
{
	struct vga_rig *f = *state;
	uint8_t *rom = make_rom();
	unsigned misc = in8(&f->rig, 0x3cc);
	assert_false(vga_text_mode(&f->rig.ports, &f->rig.mmio, rom, ROM_SIZE - 1));
	assert_int_equal(in8(&f->rig, 0x3cc), misc);
	free(rom);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(font_is_found_whole_or_not_at_all),
	    VGA_TEST(screen_is_blank_text_with_a_cursor),
	    VGA_TEST(characters_look_as_in_the_rom),
	    VGA_TEST(without_a_font_nothing_is_touched),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
