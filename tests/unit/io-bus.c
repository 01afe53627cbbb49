/* SPDX-License-Identifier: MIT */
/* Port and MMIO maps: claiming, splitting, neighbours, maps behind maps. */
#include "rig.h"

#define LOG_MAX 16

/* A range that answers each byte with its offset and remembers its accesses. */
struct recorder {
	unsigned count;
	uint64_t offset[LOG_MAX];
	unsigned size[LOG_MAX];
	uint64_t value[LOG_MAX];
};

static void recorder_note(struct recorder *recorder, uint64_t offset, unsigned size, uint64_t value)
{
	assert_true(recorder->count < LOG_MAX);
	recorder->offset[recorder->count] = offset;
	recorder->size[recorder->count] = size;
	recorder->value[recorder->count++] = value;
}

static uint64_t recorder_read(void *opaque, uint64_t offset, unsigned size)
{
	recorder_note(opaque, offset, size, 0);
	uint64_t value = 0;
	for (unsigned i = 0; i < size; i++)
		value |= (offset + i) << (8 * i);
	return value;
}

static void recorder_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	recorder_note(opaque, offset, size, value);
}

static const struct io_ops ops8 = {recorder_read, recorder_write, 1};
static const struct io_ops ops32 = {recorder_read, recorder_write, 4};
static const struct io_ops ops64 = {recorder_read, recorder_write, 8};

static void unclaimed_addresses_read_ones(void **state)
{
	struct rig rig;
	(void)state;
	rig_init(&rig);
	assert_int_equal(io_read(&rig.ports, 0x123, 1), 0xff);
	assert_int_equal(io_read(&rig.ports, 0x123, 4), 0xffffffff);
	assert_true(io_read(&rig.mmio, UINT64_MAX - 3, 8) == UINT64_MAX);
	io_write(&rig.ports, 0x123, 2, 0);
	assert_int_equal(rig.ports.unclaimed_reads, 2);
	assert_int_equal(rig.ports.unclaimed_writes, 1);
}

static void large_accesses_are_split_lowest_first(void **state)
{
	struct rig rig;
	struct recorder recorder = {0};
	(void)state;
	rig_init(&rig);
	assert_true(io_map_add(&rig.ports, 0x40, 8, &ops8, &recorder, "r", NULL));
	assert_int_equal(io_read(&rig.ports, 0x41, 4), 0x04030201);
	assert_int_equal(recorder.count, 4);
	io_write(&rig.ports, 0x46, 2, 0xbbaa);
	assert_int_equal(recorder.offset[4], 6);
	assert_int_equal(recorder.value[4], 0xaa);
	assert_int_equal(recorder.value[5], 0xbb);
}

static void access_over_an_end_is_split_between_neighbours(void **state)
{
	struct rig rig;
	struct recorder first = {0}, second = {0};
	(void)state;
	rig_init(&rig);
	assert_true(io_map_add(&rig.mmio, 0x1000, 6, &ops32, &first, "a", NULL));
	assert_true(io_map_add(&rig.mmio, 0x1007, 8, &ops64, &second, "b", NULL));
	/* Two bytes of the first, one that nobody claims, one of the second. */
	assert_int_equal(io_read(&rig.mmio, 0x1004, 4), 0x00ff0504);
	assert_int_equal(first.size[0], 2);
	assert_int_equal(second.size[0], 1);
	/* Three bytes are an access of two and one of one. */
	first.count = 0;
	assert_int_equal(io_read(&rig.mmio, 0x1003, 4) & 0xffffff, 0x050403);
	assert_int_equal(first.size[0], 2);
	assert_int_equal(first.size[1], 1);
	assert_true(io_read(&rig.mmio, 0x1007, 8) == UINT64_C(0x0706050403020100));
}

static void bad_ranges_are_refused(void **state)
{
	struct rig rig;
	struct recorder recorder = {0};
	struct error error;
	(void)state;
	rig_init(&rig);
	assert_true(io_map_add(&rig.ports, 0x100, 16, &ops8, &recorder, "first", NULL));
	assert_false(io_map_add(&rig.ports, 0x10f, 1, &ops8, &recorder, "overlap", &error));
	assert_non_null(strstr(error.text, "first"));
	assert_false(io_map_add(&rig.ports, 0xf0, 0x100, &ops8, &recorder, "around", &error));
	assert_false(io_map_add(&rig.ports, 0x200, 0, &ops8, &recorder, "empty", &error));
	assert_false(io_map_add(&rig.ports, 0xfff0, 0x11, &ops8, &recorder, "beyond", &error));
	assert_false(io_map_add(&rig.mmio, UINT64_MAX, 2, &ops8, &recorder, "wraps", &error));
	assert_true(io_map_add(&rig.ports, 0xfff0, 0x10, &ops8, &recorder, "last", &error));
	assert_true(io_map_add(&rig.mmio, UINT64_MAX, 1, &ops8, &recorder, "last", &error));
	assert_int_equal(io_read(&rig.mmio, UINT64_MAX, 1), 0);
}

static void full_table_refuses_and_removal_frees(void **state)
{
	struct rig rig;
	struct recorder recorder = {0};
	struct error error;
	(void)state;
	rig_init(&rig);
	for (unsigned i = 0; i < IO_MAP_MAX; i++)
		assert_true(io_map_add(&rig.ports, 0x1000 - 2 * i, 1, &ops8, &recorder, "r", NULL));
	assert_false(io_map_add(&rig.ports, 0x2000, 1, &ops8, &recorder, "one more", &error));
	io_map_remove(&rig.ports, 0x0fff); /* nobody starts here */
	assert_int_equal(rig.ports.count, IO_MAP_MAX);
	io_map_remove(&rig.ports, 0x1000 - 2 * 7);
	assert_int_equal(in8(&rig, 0x1000 - 2 * 7), 0xff);
	assert_int_equal(in8(&rig, 0x1000 - 2 * 8), 0);
	assert_true(io_map_add(&rig.ports, 0x2000, 1, &ops8, &recorder, "one more", &error));
	for (unsigned i = 1; i < rig.ports.count; i++)
		assert_true(rig.ports.range[i - 1].base < rig.ports.range[i].base);
}

static void map_behind_answers_the_rest(void **state)
{
	struct rig rig;
	struct io_map own;
	struct recorder front = {0}, back = {0};
	(void)state;
	rig_init(&rig);
	io_map_init(&own, 0);
	io_map_set_behind(&own, &rig.mmio);
	assert_true(io_map_add(&rig.mmio, 0x1000, 0x1000, &ops32, &back, "back", NULL));
	assert_true(io_map_add(&own, 0x1800, 4, &ops32, &front, "front", NULL));
	assert_int_equal(io_read(&own, 0x1800, 4), 0x03020100);
	assert_int_equal(back.count, 0);
	assert_int_equal(io_read(&own, 0x17fe, 4), 0x0100fffe);
	io_write(&own, 0x1804, 4, 0x12345678);
	assert_int_equal(back.value[back.count - 1], 0x12345678);
	assert_int_equal(io_read(&own, 0x3000, 2), 0xffff);
	assert_int_equal(rig.mmio.unclaimed_reads, 1);
}

struct vanishing {
	struct io_map *map;
	unsigned writes;
};

static void vanishing_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct vanishing *vanishing = opaque;
	(void)offset;
	(void)size;
	(void)value;
	vanishing->writes++;
	io_map_remove(vanishing->map, 0x300);
}

static void range_may_go_in_the_middle_of_an_access(void **state)
{
	static const struct io_ops ops = {recorder_read, vanishing_write, 1};
	struct rig rig;
	(void)state;
	rig_init(&rig);
	struct vanishing vanishing = {.map = &rig.ports};
	assert_true(io_map_add(&rig.ports, 0x300, 4, &ops, &vanishing, "v", NULL));
	io_write(&rig.ports, 0x300, 4, 0);
	assert_int_equal(vanishing.writes, 1);
	assert_int_equal(rig.ports.unclaimed_writes, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(unclaimed_addresses_read_ones),
	    cmocka_unit_test(large_accesses_are_split_lowest_first),
	    cmocka_unit_test(access_over_an_end_is_split_between_neighbours),
	    cmocka_unit_test(bad_ranges_are_refused),
	    cmocka_unit_test(full_table_refuses_and_removal_frees),
	    cmocka_unit_test(map_behind_answers_the_rest),
	    cmocka_unit_test(range_may_go_in_the_middle_of_an_access),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
