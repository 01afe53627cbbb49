/* SPDX-License-Identifier: MIT */
/* What the VGA shows in DISPI modes: every depth, the 8-bit DAC, offsets. */
#include "vga-rig.h"

static uint32_t wide(unsigned value, unsigned bits)
{
	return value * 255 / ((1u << bits) - 1);
}

/* Full-scale fields are exact; those in between may be one step from the quotient. */
static void check_close(uint32_t pixel, unsigned red, unsigned green, unsigned blue)
{
	const uint32_t want[3] = {red, green, blue};
	for (unsigned i = 0; i < 3; i++) {
		int got = (int)(pixel >> (16 - 8 * i) & 0xff);
		assert_in_range(got + 1 - (int)want[i], 0, 2);
	}
}

static void dispi_depths(void **state)
{
	struct vga_rig *f = *state;
	set_mode(f, &mode_13);
	set_vbe_mode(f, 800, 600, 8, 0);
	put_memory(f, FRAMEBUFFER + 800 * 599 + 799, 1, 0x9c);
	take_frame(f);
	assert_int_equal(f->size.width, 800);
	assert_int_equal(f->size.height, 600);
	assert_int_equal(pixel(f, 799, 599), mode_colour(0x9c));
	set_vbe_mode(f, 800, 600, 15, 0);
	put_memory(f, FRAMEBUFFER + 2 * (800 * 10 + 20), 2, 5 << 10 | 17 << 5 | 31);
	take_frame(f);
	check_close(pixel(f, 20, 10), wide(5, 5), wide(17, 5), 255);
	set_vbe_mode(f, 800, 600, 16, 0);
	put_memory(f, FRAMEBUFFER + 2 * (800 * 10 + 20), 2, 31 << 11 | 33 << 5 | 4);
	take_frame(f);
	check_close(pixel(f, 20, 10), 255, wide(33, 6), wide(4, 5));
	set_vbe_mode(f, 800, 600, 24, 0);
	put_memory(f, FRAMEBUFFER + 3 * (800 * 10 + 20), 4, 0xff123456);
	take_frame(f);
	assert_int_equal(pixel(f, 20, 10), 0x123456);
	assert_int_equal(pixel(f, 21, 10), 0x0000ff);
	set_vbe_mode(f, 800, 600, 32, 0);
	put_memory(f, FRAMEBUFFER + 4 * (800 * 10 + 20), 4, 0xff123456);
	take_frame(f);
	assert_int_equal(pixel(f, 20, 10), 0x123456);
	put_vbe(f, 4, 0); /* back to mode 13h, whose registers are untouched */
	take_frame(f);
	assert_int_equal(f->size.width, 640);
}

static void dispi_8_bit_dac(void **state)
{
	struct vga_rig *f = *state;
	set_mode(f, &mode_13);
	set_vbe_mode(f, 640, 480, 8, 0x20);
	put_dac(f, 1, 0x81, 0x42, 0xff);
	put_memory(f, FRAMEBUFFER, 1, 1);
	take_frame(f);
	assert_int_equal(pixel(f, 0, 0), 0x8142ff);
}

static void dispi_planar(void **state)
{
	struct vga_rig *f = *state;
	set_mode(f, &mode_12);
	set_vbe_mode(f, 800, 600, 4, 0);
	put_sequencer(f, 2, 0x05);
	put_memory(f, 0xa0000 + 100 * 599 + 99, 1, 0x01);
	take_frame(f);
	assert_int_equal(pixel(f, 799, 599), mode_colour(mode_12.attribute[5]));
	assert_int_equal(pixel(f, 798, 599), mode_colour(0));
	put_vbe(f, 8, 13);
	put_vbe(f, 9, 9);
	take_frame(f);
	assert_int_equal(pixel(f, 786, 590), mode_colour(mode_12.attribute[5]));
}

/* Offsets may point anywhere: what is beyond the memory's end is its beginning. */
static void dispi_offsets_wrap(void **state)
{
	struct vga_rig *f = *state;
	set_mode(f, &mode_13);
	set_vbe_mode(f, 1024, 768, 32, 0);
	put_vbe(f, 9, 300);
	put_memory(f, FRAMEBUFFER + 4096 * 310 + 40, 4, 0x334455);
	take_frame(f);
	assert_int_equal(pixel(f, 10, 10), 0x334455);
	put_memory(f, FRAMEBUFFER + 8, 4, 0x665544);
	take_frame(f); /* memory of 1024 lines: line 1024 - 300 shows line 0 */
	assert_int_equal(pixel(f, 2, 724), 0x665544);
	put_vbe(f, 8, 0xffff);
	put_vbe(f, 9, 0xffff);
	take_frame(f);
	assert_int_equal(pixel(f, 0, 0),
			 (uint32_t)get_memory(f, FRAMEBUFFER + (0xffffu * 4096 + 0xffffu * 4) % MEMORY_SIZE, 4) &
			     0xffffff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    VGA_TEST(dispi_depths),
	    VGA_TEST(dispi_8_bit_dac),
	    VGA_TEST(dispi_planar),
	    VGA_TEST(dispi_offsets_wrap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
