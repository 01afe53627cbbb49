/* SPDX-License-Identifier: MIT */
/* Guest memory: regions, the gate's bounds, read-only regions, and the trace of writes to code. */
#include "memory/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define LOW_PAGES 4
#define HIGH_BASE UINT64_C(0x100000000)
#define ROM_BASE UINT64_C(0xffff0000)

struct notes {
	unsigned count;
	uint64_t gpa[16], size[16];
	uint8_t byte; /* what the first byte was when the notifier ran */
	const struct memory *memory;
};

static void note_code(void *opaque, uint64_t gpa, uint64_t size)
{
	struct notes *notes = opaque;
	assert_true(notes->count < 16);
	assert_true(memory_read(notes->memory, gpa, &notes->byte, 1));
	notes->gpa[notes->count] = gpa;
	notes->size[notes->count++] = size;
}

/* Four pages at 0, one page of ROM below 4 GiB, two pages at 4 GiB. */
static int set_up(void **state)
{
	static struct memory memory;
	struct error error;
	assert_true(memory_init(&memory, 7 * PAGE_SIZE, &error));
	assert_true(memory_add_region(&memory, 0, LOW_PAGES * PAGE_SIZE, 0, false, &error));
	assert_true(memory_add_region(&memory, ROM_BASE, PAGE_SIZE, 6 * PAGE_SIZE, true, &error));
	assert_true(memory_add_region(&memory, HIGH_BASE, 2 * PAGE_SIZE, 4 * PAGE_SIZE, false, &error));
	*state = &memory;
	return 0;
}

static int tear_down(void **state)
{
	memory_destroy(*state);
	return 0;
}

static void starts_zeroed_and_rounds_up(void **state)
{
	(void)state;
	struct memory memory;
	struct error error;
	assert_true(memory_init(&memory, 1, &error));
	assert_int_equal(memory.host_size, PAGE_SIZE);
	assert_int_equal(memory.host[PAGE_MASK], 0);
	assert_int_equal(memory.page_flags[0], 0);
	assert_int_equal((uintptr_t)memory.host & 0x1fffff, 0);
	memory_destroy(&memory);
	assert_int_equal(memory.fd, -1);
}

static void refuses_absurd_sizes(void **state)
{
	(void)state;
	static const uint64_t sizes[] = {0, UINT64_MAX, UINT64_MAX - PAGE_MASK, (uint64_t)INT64_MAX, UINT64_C(1) << 62};
	for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct memory memory;
		struct error error = {0};
		assert_false(memory_init(&memory, sizes[i], &error));
		assert_true(error.text[0] != 0 && strchr(error.text, '\n') == NULL);
	}
}

static void refuses_bad_regions(void **state)
{
	struct memory *memory = *state;
	struct error error;
	static const struct {
		uint64_t base, size, offset;
	} bad[] = {
	    {0x1000, 0x1000, 0},  /* within the first */
	    {0, 0x100000, 0},	  /* larger than the backing */
	    {0x10000, 0, 0},	  /* empty */
	    {0x10001, 0x1000, 0}, /* unaligned */
	    {0x10000, 0x1001, 0},
	    {0x10000, 0x1000, 1},
	    {0x10000, 0x1000, 7 * PAGE_SIZE},	   /* beyond the backing */
	    {0x10000, 0x1000, UINT64_MAX - 0xfff}, /* offset + size wraps */
	    {UINT64_MAX - 0xfff, 0x2000, 0},	   /* base + size wraps */
	    {HIGH_BASE - 0x1000, 0x2000, 0},	   /* runs into the high one */
	};
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(memory_add_region(memory, bad[i].base, bad[i].size, bad[i].offset, false, &error));
	assert_int_equal(memory->region_count, 3);

	while (memory->region_count < MEMORY_MAX_REGIONS)
		assert_true(memory_add_region(memory, UINT64_C(0x200000000) + memory->region_count * 0x1000, 0x1000, 0,
					      false, &error));
	assert_false(memory_add_region(memory, UINT64_C(0x300000000), 0x1000, 0, false, &error));
}

static void gate_crosses_pages_and_stops_at_holes(void **state)
{
	struct memory *memory = *state;
	uint8_t out[64], in[64];
	for (unsigned i = 0; i < sizeof out; i++)
		out[i] = (uint8_t)(i + 1);

	assert_true(memory_write(memory, PAGE_SIZE - 10, out, sizeof out));
	assert_true(memory_read(memory, PAGE_SIZE - 10, in, sizeof in));
	assert_memory_equal(in, out, sizeof in);

	memset(in, 0, sizeof in);
	assert_false(memory_write(memory, LOW_PAGES * PAGE_SIZE - 4, out, 8));
	assert_false(memory_read(memory, LOW_PAGES * PAGE_SIZE - 4, in, 8));
	assert_memory_equal(in, out, 4);
	assert_int_equal(in[4], 0);

	assert_false(memory_read(memory, UINT64_MAX - 1, in, 8)); /* wraps round to 0, where RAM is */
	assert_false(memory_read(memory, HIGH_BASE - 1, in, 1));
	assert_true(memory_read(memory, UINT64_C(0x5000000), in, 0));
}

static void gate_reaches_the_right_backing(void **state)
{
	struct memory *memory = *state;
	assert_true(memory_fill(memory, HIGH_BASE + PAGE_SIZE + 5, 0xab, 3));
	assert_int_equal(memory->host[5 * PAGE_SIZE + 4], 0);
	assert_int_equal(memory->host[5 * PAGE_SIZE + 5], 0xab);
	assert_int_equal(memory->host[5 * PAGE_SIZE + 7], 0xab);
	assert_int_equal(memory->host[5 * PAGE_SIZE + 8], 0);
	assert_false(memory_fill(memory, HIGH_BASE + PAGE_SIZE, 1, PAGE_SIZE + 1));
	assert_ptr_equal(memory_page(memory, HIGH_BASE + 0x123, NULL), memory->host + 4 * PAGE_SIZE);
	assert_ptr_equal(memory_page_flags(memory, HIGH_BASE + 0x1123), &memory->page_flags[5]);
	assert_null(memory_page(memory, HIGH_BASE + 2 * PAGE_SIZE, NULL));
	assert_null(memory_page_flags(memory, LOW_PAGES * PAGE_SIZE));
}

static void rom_is_written_by_loaders_only(void **state)
{
	struct memory *memory = *state;
	bool read_only = false;
	uint8_t byte = 0x5a, got;
	assert_non_null(memory_page(memory, ROM_BASE, &read_only));
	assert_true(read_only);
	assert_true(memory_write(memory, ROM_BASE + 7, &byte, 1));
	assert_true(memory_fill(memory, ROM_BASE + 7, 0x77, 1));
	assert_true(memory_read(memory, ROM_BASE + 7, &got, 1));
	assert_int_equal(got, 0);
	assert_true(memory_load(memory, ROM_BASE + 7, &byte, 1));
	assert_true(memory_read(memory, ROM_BASE + 7, &got, 1));
	assert_int_equal(got, 0x5a);
	assert_false(memory_load(memory, ROM_BASE + PAGE_MASK, "ab", 2));
}

static void writes_to_code_are_traced_once_they_are_done(void **state)
{
	struct memory *memory = *state;
	struct notes notes = {.memory = memory};
	uint8_t bytes[2 * PAGE_SIZE];
	memset(bytes, 0xcc, sizeof bytes);
	memory_set_code_notifier(memory, note_code, &notes);
	memory->page_flags[1] = PAGE_CODE;
	memory->page_flags[2] = PAGE_SELF_CHECK;

	assert_true(memory_write(memory, 0, bytes, PAGE_SIZE));
	assert_int_equal(notes.count, 0);
	assert_true(memory_write(memory, PAGE_SIZE - 2, bytes, 8));
	assert_int_equal(notes.count, 1);
	assert_int_equal(notes.gpa[0], PAGE_SIZE);
	assert_int_equal(notes.size[0], 6);
	assert_int_equal(notes.byte, 0xcc);
	assert_true(memory_fill(memory, PAGE_SIZE + 100, 1, sizeof bytes));
	assert_int_equal(notes.count, 2);
	assert_int_equal(notes.gpa[1], PAGE_SIZE + 100);
	assert_int_equal(notes.size[1], PAGE_SIZE - 100);
	assert_true(memory_load(memory, PAGE_SIZE, bytes, 1));
	assert_int_equal(notes.count, 3);
	assert_true(memory_read(memory, PAGE_SIZE, bytes, 1));
	assert_int_equal(notes.count, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(starts_zeroed_and_rounds_up),
	    cmocka_unit_test(refuses_absurd_sizes),
	    cmocka_unit_test_setup_teardown(refuses_bad_regions, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(gate_crosses_pages_and_stops_at_holes, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(gate_reaches_the_right_backing, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(rom_is_written_by_loaders_only, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(writes_to_code_are_traced_once_they_are_done, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
