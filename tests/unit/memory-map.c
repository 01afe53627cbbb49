/* SPDX-License-Identifier: MIT */
/* The PC's memory map: ROM and shadow RAM in all four settings of a PAM segment, the PCI hole, video memory. */
#include "machine/memory-map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RAM (UINT64_C(4) << 20)
#define ROM 0x40000u
#define VIDEO 0x100000u

struct fixture {
	struct memory memory;
	struct memory_map map;
	struct image rom;
	unsigned changes;
	uint64_t left;
};

static void note_leaving(void *opaque, uint64_t gpa, uint64_t size)
{
	struct fixture *f = opaque;
	(void)gpa;
	f->left += size;
}

static void note_changed(void *opaque)
{
	((struct fixture *)opaque)->changes++;
}

/* Each byte of the ROM says in which 4 KiB of it it lies, but none is FFh. */
static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct error error;
	f->rom = (struct image){.fd = -1, .size = ROM, .bytes = malloc(ROM)};
	for (unsigned i = 0; i < ROM; i++)
		f->rom.bytes[i] = (uint8_t)(0x40 + (i >> 12));
	const struct memory_map_config config = {.memory_size = RAM, .rom = &f->rom, .video_size = VIDEO};
	assert_true(memory_map_create(&f->map, &f->memory, &config, &error));
	const struct memory_map_notifier notifier = {.leaving = note_leaving, .changed = note_changed, .opaque = f};
	memory_set_map_notifier(&f->memory, &notifier);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	memory_destroy(&f->memory);
	free(f->rom.bytes);
	free(f);
	return 0;
}

static int byte_at(struct fixture *f, uint64_t gpa)
{
	uint8_t byte;
	return memory_read(&f->memory, gpa, &byte, 1) ? byte : -1;
}

static void set_byte(struct fixture *f, uint64_t gpa, uint8_t byte)
{
	assert_true(memory_write(&f->memory, gpa, &byte, 1));
}

static void rom_ends_at_4_gib_and_cannot_be_written(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(byte_at(f, 0xffffffff), 0x7f);
	assert_int_equal(byte_at(f, 0xfffc0000), 0x40);
	assert_int_equal(byte_at(f, 0xfffbffff), -1);
	set_byte(f, 0xfffffff0, 1);
	assert_int_equal(byte_at(f, 0xfffffff0), 0x7f);
}

static void ram_has_holes_for_vga_and_pci(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(byte_at(f, 0x9ffff), 0);
	assert_int_equal(byte_at(f, 0xa0000), -1);
	assert_int_equal(byte_at(f, 0xbffff), -1);
	assert_int_equal(byte_at(f, 0xc0000), 0);
	assert_int_equal(byte_at(f, RAM - 1), 0);
	assert_int_equal(byte_at(f, RAM), -1);
}

static void segment_over_rom(void **state)
{
	struct fixture *f = *state;
	set_byte(f, 0xf0010, 0x11); /* RAM at first */
	assert_int_equal(byte_at(f, 0xf0010), 0x11);

	memory_map_shadow(&f->map, 0xf0000, 0x10000, false, false);
	assert_int_equal(byte_at(f, 0xf0010), 0x70);
	set_byte(f, 0xf0010, 0x22);
	assert_int_equal(byte_at(f, 0xf0010), 0x70);

	memory_map_shadow(&f->map, 0xf0000, 0x10000, false, true); /* as a BIOS copies itself */
	set_byte(f, 0xf0010, 0x33);
	assert_true(memory_fill(&f->memory, 0xf0011, 0x34, 1));
	assert_int_equal(byte_at(f, 0xf0010), 0x70);

	memory_map_shadow(&f->map, 0xf0000, 0x10000, true, false);
	assert_int_equal(byte_at(f, 0xf0010), 0x33);
	assert_int_equal(byte_at(f, 0xf0011), 0x34);
	set_byte(f, 0xf0010, 0x44);
	assert_int_equal(byte_at(f, 0xf0010), 0x33);

	memory_map_shadow(&f->map, 0xf0000, 0x10000, true, true);
	set_byte(f, 0xf0010, 0x55);
	assert_int_equal(byte_at(f, 0xf0010), 0x55);
}

/* Behind 768 KiB to 896 KiB there is no ROM. */
static void segment_over_nothing(void **state)
{
	struct fixture *f = *state;
	memory_map_shadow(&f->map, 0xcc000, 0x4000, false, false);
	assert_int_equal(byte_at(f, 0xcbfff), 0);
	assert_int_equal(byte_at(f, 0xcc000), -1);
	assert_int_equal(byte_at(f, 0xcffff), -1);
	assert_int_equal(byte_at(f, 0xd0000), 0);

	memory_map_shadow(&f->map, 0xcc000, 0x4000, false, true);
	assert_int_equal(byte_at(f, 0xcc000), 0xff);
	set_byte(f, 0xcc000, 0x12);
	assert_int_equal(byte_at(f, 0xcc000), 0xff);
	memory_map_shadow(&f->map, 0xcc000, 0x4000, true, true);
	assert_int_equal(byte_at(f, 0xcc000), 0x12);
	memory_map_shadow(&f->map, 0xec000, 0x4000, false, false);
	assert_int_equal(byte_at(f, 0xec000), 0x6c);
}

static void those_who_keep_addresses_are_told(void **state)
{
	struct fixture *f = *state;
	memory_map_shadow(&f->map, 0xf0000, 0x10000, true, true); /* as it is */
	assert_int_equal(f->changes, 0);
	memory_map_shadow(&f->map, 0xf0000, 0x10000, true, false);
	assert_int_equal(f->changes, 1);
	assert_true(f->left >= 0x10000);
	memory_map_place_video(&f->map, true, 0xe0000000);
	memory_map_place_video(&f->map, true, 0xe0000000);
	assert_int_equal(f->changes, 2);
}

static void video_memory_moves(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(byte_at(f, 0xe0000000), -1);
	memory_map_place_video(&f->map, true, 0xe0000000);
	set_byte(f, 0xe0000000 + VIDEO - 1, 0x77);
	assert_int_equal(memory_map_video(&f->map)[VIDEO - 1], 0x77);
	assert_int_equal(byte_at(f, 0xe0000000 + VIDEO), -1);
	memory_map_place_video(&f->map, true, 0xd0000000);
	assert_int_equal(byte_at(f, 0xe0000000), -1);
	assert_int_equal(byte_at(f, 0xd0000000 + VIDEO - 1), 0x77);
	memory_map_place_video(&f->map, true, 0x200000); /* over RAM: RAM was there first */
	set_byte(f, 0x200000, 0x66);
	assert_int_equal(memory_map_video(&f->map)[0], 0);
	memory_map_place_video(&f->map, false, 0);
	assert_int_equal(byte_at(f, 0xd0000000), -1);
}

static void rom_sizes(void **state)
{
	(void)state;
	static const struct {
		uint64_t size;
		bool good;
	} cases[] = {{0x10000, true},	 {0x20000, true}, {0x40000, true},  {0x1000000, true},
		     {0x1010000, false}, {512, false},	  {0x10001, false}, {0xffff, false}};
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct error error = {0};
		const struct image rom = {.fd = -1, .size = cases[i].size, .path = (char *)"rom"};
		assert_int_equal(memory_map_check_rom(&rom, &error), cases[i].good);
		assert_int_equal(error.text[0] != '\0', !cases[i].good);
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(rom_ends_at_4_gib_and_cannot_be_written),
	    TEST(ram_has_holes_for_vga_and_pci),
	    TEST(segment_over_rom),
	    TEST(segment_over_nothing),
	    TEST(those_who_keep_addresses_are_told),
	    TEST(video_memory_moves),
	    cmocka_unit_test(rom_sizes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
