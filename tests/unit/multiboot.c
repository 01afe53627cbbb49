/* SPDX-License-Identifier: MIT */
/* The Multiboot loader: what a kernel finds when it is entered, and what becomes of damaged files. */
#include "boot-images.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
	struct memory memory;
	struct image kernel;
	struct boot_module module[2];
	struct boot_request request;
	struct boot_state state;
	struct error error;
	uint8_t bytes[TEST_MULTIBOOT_SIZE];
	uint8_t module_bytes[3000];
	char path[8];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	assert_true(make_memory(&f->memory, TEST_MEMORY));
	make_multiboot(f->bytes);
	memset(f->module_bytes, 0xee, sizeof f->module_bytes);
	strcpy(f->path, "kernel");
	f->kernel = (struct image){.path = f->path, .fd = -1, .size = TEST_MULTIBOOT_SIZE, .bytes = f->bytes};
	for (unsigned i = 0; i < 2; i++)
		f->module[i] = (struct boot_module){
		    .image = {.path = f->path, .fd = -1, .size = sizeof f->module_bytes, .bytes = f->module_bytes},
		    .text = i == 0 ? "first" : "second with arguments"};
	f->request = (struct boot_request){
	    .memory = &f->memory, .memory_size = TEST_MEMORY, .kernel = &f->kernel, .command_line = "a b"};
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

static void assert_guest_string(struct fixture *f, uint64_t gpa, const char *expected)
{
	char text[64];
	assert_true(memory_read(&f->memory, gpa, text, strlen(expected) + 1));
	assert_string_equal(text, expected);
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

static void header_addresses_place_the_image(void **state)
{
	struct fixture *f = *state;
	assert_true(memory_fill(&f->memory, 0x200000, 0x99, TEST_MULTIBOOT_SIZE + 0x2000));
	load(f);
	assert_int_equal(f->state.mode, BOOT_PROTECTED);
	assert_int_equal(f->state.rip, 0x200010);
	assert_int_equal(f->state.rax, 0x2badb002);
	for (unsigned i = 0; i < TEST_MULTIBOOT_SIZE; i++)
		assert_int_equal(guest(f, 0x200000 + i, 1), f->bytes[i]);
	assert_int_equal(guest(f, 0x200000 + TEST_MULTIBOOT_SIZE, 1), 0);
	assert_int_equal(guest(f, 0x200fff + TEST_MULTIBOOT_SIZE, 1), 0);
	assert_int_equal(guest(f, f->state.gdt + 0x10, 8), UINT64_C(0x00cf9b000000ffff));
}

static void elf_segments_are_placed_physically(void **state)
{
	struct fixture *f = *state;
	make_multiboot_elf(f->bytes);
	load(f);
	assert_int_equal(f->state.rip, 0x400123);
	assert_int_equal(guest(f, 0x400000, 4), 0x464c457f);
	assert_int_equal(guest(f, 0x400000 + TEST_MULTIBOOT_SIZE + 255, 1), 0);
}

static void information_describes_the_machine(void **state)
{
	struct fixture *f = *state;
	f->request.module = f->module;
	f->request.module_count = 2;
	load(f);
	uint64_t info = f->state.rbx;
	assert_int_equal(guest(f, info, 4), 0x24d);
	assert_int_equal(guest(f, info + 4, 4), 639);
	assert_int_equal(guest(f, info + 8, 4), (TEST_MEMORY >> 10) - 1024);
	assert_guest_string(f, guest(f, info + 16, 4), "kernel a b");
	assert_guest_string(f, guest(f, info + 64, 4), "nfold");

	assert_int_equal(guest(f, info + 20, 4), 2);
	uint64_t previous_end = 0x200000 + TEST_MULTIBOOT_SIZE + 0x1000;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t entry = guest(f, info + 24, 4) + i * 16;
		uint64_t start = guest(f, entry, 4), end = guest(f, entry + 4, 4);
		assert_int_equal(start & PAGE_MASK, 0);
		assert_int_equal(end - start, sizeof f->module_bytes);
		assert_true(start >= previous_end && end <= info);
		assert_int_equal(guest(f, end - 1, 1), 0xee);
		assert_guest_string(f, guest(f, entry + 8, 4), f->module[i].text);
		previous_end = end;
	}

	uint64_t map = guest(f, info + 48, 4), usable = 0;
	uint64_t map_end = map + guest(f, info + 44, 4);
	for (uint64_t at = map; at < map_end; at += guest(f, at, 4) + 4)
		usable += guest(f, at + 20, 4) == 1 ? guest(f, at + 12, 8) : 0;
	assert_int_equal(usable, TEST_MEMORY - 0x100000 + 0x9fc00);
}

static void bad_headers_are_named(void **state)
{
	struct fixture *f = *state;
	static const struct {
		unsigned offset;
		uint32_t value;
		const char *word;
	} bad[] = {
	    {0x4c, 0x100000, "damaged"},   /* header below the load address */
	    {0x4c, 0x300000, "damaged"},   /* the image would begin before the file */
	    {0x54, 0x1fffff, "damaged"},   /* ends before it begins */
	    {0x54, 0x203000, "truncated"}, /* longer than the file */
	    {0x58, 0x200001, "damaged"},   /* bss ends within the data */
	    {0x58, 0xffffffff, "memory"},
	};
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		make_multiboot(f->bytes);
		store_le(f->bytes + bad[i].offset, bad[i].value, 4);
		assert_refused(f, bad[i].word);
	}
	make_multiboot(f->bytes);
	store_le(f->bytes + 0x44, 0x10008, 4);
	store_le(f->bytes + 0x48, 0u - (0x1badb002u + 0x10008u), 4);
	assert_refused(f, "requires");
	make_multiboot(f->bytes);
	f->bytes[0x48]++;
	assert_refused(f, "no kernel");
	f->request.initrd = &f->module[0].image;
	f->bytes[0x48]--;
	assert_refused(f, "--module");
}

static void bad_elf_files_are_named(void **state)
{
	struct fixture *f = *state;
	static const struct {
		unsigned offset, bytes;
		uint32_t value;
		const char *word;
	} bad[] = {
	    {0, 1, 0, "neither"},	 {4, 1, 2, "32-bit"},
	    {18, 2, 62, "32-bit"},	 {28, 4, 0xfffffff0, "damaged"},
	    {42, 2, 31, "damaged"},	 {44, 2, 0, "damaged"},
	    {44, 2, 0xffff, "damaged"},	 {56, 4, 1, "truncated"},
	    {64, 4, 0xa0000, "outside"}, {64, 4, 0xfffff000, "outside"},
	    {72, 4, 1, "damaged"},	 {72, 4, 0xffffffff, "outside"},
	    {24, 4, 0x100, "entry"},	 {68, 4, 0xffffffff, "damaged"},
	};
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		make_multiboot_elf(f->bytes);
		store_le(f->bytes + bad[i].offset, bad[i].value, bad[i].bytes);
		assert_refused(f, bad[i].word);
	}
}

static void modules_that_do_not_fit_are_refused(void **state)
{
	struct fixture *f = *state;
	f->request.module = f->module;
	f->request.module_count = 2;
	f->module[1].image.size = TEST_MEMORY;
	assert_refused(f, "module");
}

static void truncated_files_are_refused(void **state)
{
	struct fixture *f = *state;
	for (unsigned kind = 0; kind < 2; kind++) {
		if (kind == 0)
			make_multiboot(f->bytes);
		else
			make_multiboot_elf(f->bytes);
		for (uint64_t size = 1; size < TEST_MULTIBOOT_SIZE; size += size < 600 ? 1 : 97) {
			f->kernel.bytes = malloc(size);
			memcpy(f->kernel.bytes, f->bytes, size);
			f->kernel.size = size;
			assert_refused(f, "");
			free(f->kernel.bytes);
		}
	}
	f->kernel.bytes = f->bytes;
}

static void damaged_headers_never_reach_outside(void **state)
{
	struct fixture *f = *state;
	unsigned loaded = 0;
	srandom(2);
	f->request.module = f->module;
	f->request.module_count = 2;
	for (unsigned round = 0; round < 4000; round++) {
		bool elf = (round & 1) != 0;
		if (elf)
			make_multiboot_elf(f->bytes);
		else
			make_multiboot(f->bytes);
		for (unsigned i = 0; i <= round % 3; i++)
			f->bytes[elf ? random() % 84 : 0x4c + random() % 20] = (uint8_t)random();
		f->error = (struct error){0};
		if (boot_load(&f->request, &f->state, &f->error))
			loaded++;
		else
			assert_true(f->error.text[0] != 0 && strchr(f->error.text, '\n') == NULL);
	}
	assert_true(loaded > 100 && loaded < 3900);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(header_addresses_place_the_image, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(elf_segments_are_placed_physically, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(information_describes_the_machine, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(bad_headers_are_named, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(bad_elf_files_are_named, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(modules_that_do_not_fit_are_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(truncated_files_are_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(damaged_headers_never_reach_outside, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
