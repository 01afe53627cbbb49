/* SPDX-License-Identifier: MIT */
/* The Linux loader: what a kernel finds when it is entered, and what becomes of damaged files. */
#include "boot-images.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "machine/bios-data.h"

#define ZERO_PAGE 0x10000u

struct fixture {
	struct memory memory;
	struct image kernel, initrd;
	struct boot_request request;
	struct boot_state state;
	struct error error;
	uint8_t kernel_bytes[TEST_BZIMAGE_SIZE];
	uint8_t initrd_bytes[5000];
	char path[8];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	assert_true(make_memory(&f->memory, TEST_MEMORY));
	make_bzimage(f->kernel_bytes);
	memset(f->initrd_bytes, 0xda, sizeof f->initrd_bytes);
	strcpy(f->path, "kernel");
	f->kernel = (struct image){.path = f->path, .fd = -1, .size = TEST_BZIMAGE_SIZE, .bytes = f->kernel_bytes};
	f->initrd = (struct image){.path = f->path, .fd = -1, .size = sizeof f->initrd_bytes, .bytes = f->initrd_bytes};
	f->request = (struct boot_request){.memory = &f->memory,
					   .memory_size = TEST_MEMORY,
					   .kernel = &f->kernel,
					   .command_line = "console=ttyS0",
					   .rsdp = 0xe0000};
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	memory_destroy(&f->memory);
	free(f);
	return 0;
}

static uint64_t guest(struct fixture *f, uint64_t gpa, unsigned bytes)
{
	uint8_t buffer[8] = {0};
	assert_true(memory_read(&f->memory, gpa, buffer, bytes));
	return load_le(buffer, bytes);
}

static void load(struct fixture *f)
{
	if (!boot_load(&f->request, &f->state, &f->error))
		fail_msg("%s", f->error.text);
}

static void assert_refused(struct fixture *f, const char *word)
{
	f->error = (struct error){0};
	assert_false(boot_load(&f->request, &f->state, &f->error));
	assert_int_equal(f->error.kind, ERROR_INPUT);
	assert_null(strchr(f->error.text, '\n'));
	if (strstr(f->error.text, word) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", f->error.text, word);
}

static void zero_page_is_filled(void **state)
{
	struct fixture *f = *state;
	char text[16];
	f->request.initrd = &f->initrd;
	load(f);

	assert_int_equal(f->state.mode, BOOT_LONG);
	assert_int_equal(f->state.rip, 0x1000200);
	assert_int_equal(f->state.rsi, ZERO_PAGE);
	assert_int_equal(guest(f, ZERO_PAGE + 0x1ef, 1), 0); /* the sentinel */
	assert_int_equal(guest(f, ZERO_PAGE + 0x202, 4), 0x53726448);
	assert_int_equal(guest(f, ZERO_PAGE + 0x206, 2), 0x020f);
	assert_int_equal(guest(f, ZERO_PAGE + 0x210, 1), 0xff);
	assert_int_equal(guest(f, ZERO_PAGE + 0x214, 4), 0x1000000);
	assert_int_equal(guest(f, ZERO_PAGE + 0x250, 8), 0);
	assert_int_equal(guest(f, ZERO_PAGE + 0x070, 8), 0xe0000);
	for (unsigned i = 0; i < 0x40; i++) /* screen_info */
		assert_int_equal(guest(f, ZERO_PAGE + i, 1), 0);

	uint64_t command_line = guest(f, ZERO_PAGE + 0x228, 4);
	assert_true(memory_read(&f->memory, command_line, text, 14));
	assert_string_equal(text, "console=ttyS0");

	uint64_t initrd = guest(f, ZERO_PAGE + 0x218, 4);
	assert_int_equal(guest(f, ZERO_PAGE + 0x21c, 4), sizeof f->initrd_bytes);
	assert_int_equal(initrd & PAGE_MASK, 0);
	assert_true(initrd + sizeof f->initrd_bytes <= TEST_MEMORY && initrd >= 0x1100000);
	assert_int_equal(guest(f, initrd + sizeof f->initrd_bytes - 1, 1), 0xda);
	assert_int_equal(guest(f, 0x1000000 + 100, 1), (uint8_t)((TEST_BZIMAGE_KERNEL + 100) * 7));
}

static void text_screen_is_told(void **state)
{
	struct fixture *f = *state;
	f->request.text_screen = true;
	load(f);
	assert_int_equal(guest(f, ZERO_PAGE + 0x00, 2), 0);	      /* cursor */
	assert_int_equal(guest(f, ZERO_PAGE + 0x06, 2), 80 << 8 | 3); /* mode, columns */
	assert_int_equal(guest(f, ZERO_PAGE + 0x0a, 2), 3);
	assert_int_equal(guest(f, ZERO_PAGE + 0x0e, 2), 1 << 8 | 25); /* lines, VGA */
	assert_int_equal(guest(f, ZERO_PAGE + 0x10, 2), 16);
}

static void bios_data_area_describes_the_board(void **state)
{
	struct fixture *f = *state;
	struct bios_data_config config = {.floppies = 2, .disks = 3, .text_screen = true};
	assert_true(bios_data_load(&f->memory, &config));
	assert_int_equal(guest(f, 0x400, 8), 0x2f803f8);
	assert_int_equal(guest(f, 0x40e, 2), 0x9fc0);
	assert_int_equal(guest(f, 0x410, 2), 0x467);
	assert_int_equal(guest(f, 0x413, 2), 639);
	assert_int_equal(guest(f, 0x41a, 4), 0x1e001e);
	assert_int_equal(guest(f, 0x449, 3), 80 << 8 | 3);
	assert_int_equal(guest(f, 0x463, 2), 0x3d4);
	assert_int_equal(guest(f, 0x475, 1), 3);
	assert_int_equal(guest(f, 0x484, 3), 16 << 8 | 24);
	assert_int_equal(guest(f, 0x9fc00, 1), 1);

	config = (struct bios_data_config){.floppies = 0};
	assert_true(bios_data_load(&f->memory, &config));
	assert_int_equal(guest(f, 0x410, 2), 0x406);
	assert_int_equal(guest(f, 0x449, 8), 0);
}

static void memory_map_is_sorted_and_complete(void **state)
{
	struct fixture *f = *state;
	static const uint64_t sizes[] = {2 << 20, 512 << 20, UINT64_C(3) << 30, (UINT64_C(3) << 30) + 4096,
					 UINT64_C(64) << 30};
	(void)f;
	for (unsigned s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
		struct boot_range range[BOOT_MAX_RANGES];
		unsigned count = boot_memory_map(sizes[s], range);
		uint64_t end = 0, usable = 0;
		for (unsigned i = 0; i < count; i++) {
			assert_true(range[i].base >= end && range[i].size > 0);
			end = range[i].base + range[i].size;
			usable += range[i].type == BOOT_RANGE_USABLE ? range[i].size : 0;
		}
		assert_int_equal(usable, sizes[s] - 0x100000 + 0x9fc00);
		assert_int_equal(end, sizes[s] <= UINT64_C(3) << 30 ? sizes[s] : sizes[s] + (UINT64_C(1) << 30));
	}
	load(f);
	assert_int_equal(guest(f, ZERO_PAGE + 0x1e8, 1), 4);
	assert_int_equal(guest(f, ZERO_PAGE + 0x2d0 + 3 * 20, 8), 0x100000);
	assert_int_equal(guest(f, ZERO_PAGE + 0x2d0 + 3 * 20 + 8, 8), TEST_MEMORY - 0x100000);
	assert_int_equal(guest(f, ZERO_PAGE + 0x2d0 + 3 * 20 + 16, 4), 1);
}

/* Follows the tables as the processor does. */
static void page_tables_map_4_gib_to_itself(void **state)
{
	struct fixture *f = *state;
	load(f);
	static const uint64_t linear[] = {0, 0x1000200, 0x3fe00000, 0x40000000, 0xfee00000, 0xffffffff};
	for (unsigned i = 0; i < sizeof linear / sizeof linear[0]; i++) {
		uint64_t l4 = guest(f, f->state.cr3 + (linear[i] >> 39) * 8, 8);
		uint64_t l3 = guest(f, (l4 & ~UINT64_C(0xfff)) + (linear[i] >> 30 & 511) * 8, 8);
		uint64_t l2 = guest(f, (l3 & ~UINT64_C(0xfff)) + (linear[i] >> 21 & 511) * 8, 8);
		assert_int_equal(l4 & 3, 3);
		assert_int_equal(l3 & 3, 3);
		assert_int_equal(l2 & 0x83, 0x83);
		assert_int_equal(l2 & ~UINT64_C(0x1fffff), linear[i] & ~UINT64_C(0x1fffff));
	}
	assert_int_equal(guest(f, f->state.cr3 + 8, 8), 0);
	assert_int_equal(guest(f, f->state.cr3 + 0x1000 + 4 * 8, 8), 0);
	assert_int_equal(guest(f, f->state.gdt + 0x10, 8), UINT64_C(0x00af9b000000ffff));
	assert_int_equal(guest(f, f->state.gdt + 0x18, 8), UINT64_C(0x00cf93000000ffff));
}

static void old_kernels_are_entered_in_32_bit_mode(void **state)
{
	struct fixture *f = *state;
	store_le(f->kernel_bytes + 0x236, 0, 2);
	load(f);
	assert_int_equal(f->state.mode, BOOT_PROTECTED);
	assert_int_equal(f->state.rip, 0x1000000);
	assert_int_equal(guest(f, f->state.gdt + 0x10, 8), UINT64_C(0x00cf9b000000ffff));

	store_le(f->kernel_bytes + 0x206, 0x0206, 2); /* no preferred address, no xloadflags */
	store_le(f->kernel_bytes + 0x236, 1, 2);
	f->kernel_bytes[0x234] = 0;
	load(f);
	assert_int_equal(f->state.mode, BOOT_PROTECTED);
	assert_int_equal(f->state.rip, 0x100000);
	assert_int_equal(guest(f, ZERO_PAGE + 0x214, 4), 0x100000);
}

static void initrd_obeys_the_kernels_limit(void **state)
{
	struct fixture *f = *state;
	f->request.initrd = &f->initrd;
	store_le(f->kernel_bytes + 0x22c, 0x17fffff, 4);
	load(f);
	assert_int_equal(guest(f, ZERO_PAGE + 0x218, 4), 0x17fe000);
	store_le(f->kernel_bytes + 0x22c, 0x1100fff, 4); /* one page above the kernel */
	assert_refused(f, "initrd");
	store_le(f->kernel_bytes + 0x22c, 0, 4);
	assert_refused(f, "initrd");
}

static void bad_fields_are_named(void **state)
{
	struct fixture *f = *state;
	static const struct {
		unsigned offset, bytes;
		uint64_t value;
		const char *word;
	} bad[] = {
	    {0x206, 2, 0x0205, "2.06"},	      {0x211, 1, 0, "zImage"},
	    {0x1f4, 4, 161, "truncated"},     {0x1f4, 4, 0xffffffff, "truncated"},
	    {0x1f1, 1, 255, "truncated"},     {0x1f1, 1, 9, "truncated"},
	    {0x201, 1, 0x10, "damaged"},      {0x230, 4, 0x300000, "damaged"},
	    {0x258, 8, UINT64_MAX, "memory"}, {0x258, 8, TEST_MEMORY, "memory"},
	    {0x260, 4, 0xffffffff, "memory"}, {0x260, 4, TEST_MEMORY - 0x1000000 + 1, "memory"},
	    {0x230, 4, 0x80000000, "memory"}, {0x202, 4, 0, "no kernel"},
	    {0x1fe, 2, 0, "no kernel"},
	};
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		make_bzimage(f->kernel_bytes);
		store_le(f->kernel_bytes + bad[i].offset, bad[i].value, bad[i].bytes);
		assert_refused(f, bad[i].word);
	}
}

static void command_line_may_be_as_long_as_the_kernel_says(void **state)
{
	struct fixture *f = *state;
	char line[2049];
	memset(line, 'x', sizeof line);
	line[2047] = 0;
	f->request.command_line = line;
	load(f);
	line[2047] = 'x';
	line[2048] = 0;
	assert_refused(f, "2047");
	store_le(f->kernel_bytes + 0x238, 0, 4);
	assert_refused(f, "255");
}

static void modules_are_not_for_linux(void **state)
{
	struct fixture *f = *state;
	struct boot_module module = {.image = f->initrd, .text = "m"};
	f->request.module = &module;
	f->request.module_count = 1;
	assert_refused(f, "--initrd");
}

/* Every truncation of a whole file is refused and names a reason. */
static void truncated_files_are_refused(void **state)
{
	struct fixture *f = *state;
	for (uint64_t size = 1; size < TEST_BZIMAGE_SIZE - 15; size++) {
		/* An exact copy, so that a sanitizer sees every byte read beyond it. */
		f->kernel.bytes = malloc(size);
		memcpy(f->kernel.bytes, f->kernel_bytes, size);
		f->kernel.size = size;
		assert_refused(f, "");
		free(f->kernel.bytes);
	}
	f->kernel.bytes = f->kernel_bytes;
}

/* Random headers: refused with a text, or loaded within guest memory. */
static void damaged_headers_never_reach_outside(void **state)
{
	struct fixture *f = *state;
	unsigned loaded = 0;
	srandom(1);
	f->request.initrd = &f->initrd;
	for (unsigned round = 0; round < 20000; round++) {
		make_bzimage(f->kernel_bytes);
		for (unsigned i = 0; i <= round % 4; i++)
			f->kernel_bytes[0x1f1 + random() % 0x9f] = (uint8_t)random();
		f->error = (struct error){0};
		if (boot_load(&f->request, &f->state, &f->error)) {
			loaded++;
			assert_non_null(memory_page(&f->memory, f->state.rip, NULL));
		} else {
			assert_true(f->error.text[0] != 0 && strchr(f->error.text, '\n') == NULL);
		}
	}
	assert_true(loaded > 1000 && loaded < 19000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(zero_page_is_filled, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(text_screen_is_told, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(bios_data_area_describes_the_board, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(memory_map_is_sorted_and_complete, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(page_tables_map_4_gib_to_itself, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(old_kernels_are_entered_in_32_bit_mode, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(initrd_obeys_the_kernels_limit, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(bad_fields_are_named, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(command_line_may_be_as_long_as_the_kernel_says, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(modules_are_not_for_linux, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(truncated_files_are_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(damaged_headers_never_reach_outside, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
