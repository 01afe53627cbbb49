/* SPDX-License-Identifier: MIT */
/* The port of processor times: snapshots, and who may trust one. */
#include "devices/cputimes.h"

#include "rig.h"

#define BASE 0x780
#define PROCESSORS 3

struct bench {
	struct rig rig;
	struct cputimes cputimes;
	unsigned asked;
};

/* Figures that differ by processor, and grow with each question. */
static void answer(void *opaque, uint32_t processor, struct cputimes_figures *figures)
{
	struct bench *bench = opaque;
	bench->asked++;
	if (processor >= PROCESSORS && processor != GUEST_TIMES_ALL)
		return;
	figures->processors = processor == GUEST_TIMES_ALL ? PROCESSORS : 1;
	figures->used_ns = UINT64_C(0x1122334455667788) + bench->asked;
	figures->ready_ns = UINT64_C(1) << 40 | processor;
	figures->costop_ns = 3;
	figures->wait_ns = UINT64_C(0xffffffff);
}

static int setup(void **state)
{
	static struct bench bench;
	struct error error;
	memset(&bench, 0, sizeof bench);
	rig_init(&bench.rig);
	cputimes_init(&bench.cputimes, answer, &bench);
	assert_true(cputimes_map(&bench.cputimes, &bench.rig.ports, BASE, &error));
	*state = &bench;
	return 0;
}

static uint32_t in32(struct bench *bench, unsigned offset)
{
	return (uint32_t)io_read(&bench->rig.ports, BASE + offset, 4);
}

static uint64_t in64(struct bench *bench, unsigned offset)
{
	return in32(bench, offset) | (uint64_t)in32(bench, offset + 4) << 32;
}

static void take(struct bench *bench, uint32_t processor)
{
	io_write(&bench->rig.ports, BASE, 4, processor);
}

static void test_nothing_before_the_first(void **state)
{
	for (unsigned offset = 0; offset < GUEST_TIMES_BYTES; offset += 4)
		assert_int_equal(in32(*state, offset), 0);
	assert_int_equal(((struct bench *)*state)->asked, 0);
}

static void test_one_and_all(void **state)
{
	struct bench *bench = *state;
	take(bench, 2);
	assert_int_equal(in32(bench, GUEST_TIMES_PROCESSORS), 1);
	assert_int_equal(in64(bench, GUEST_TIMES_USED), UINT64_C(0x1122334455667789));
	assert_int_equal(in64(bench, GUEST_TIMES_READY), UINT64_C(1) << 40 | 2);
	assert_int_equal(in64(bench, GUEST_TIMES_COSTOP), 3);
	assert_int_equal(in64(bench, GUEST_TIMES_WAIT), UINT64_C(0xffffffff));
	assert_int_equal(in64(bench, GUEST_TIMES_ELAPSED),
			 UINT64_C(0x1122334455667789) + (UINT64_C(1) << 40 | 2) + 3 + UINT64_C(0xffffffff));
	take(bench, GUEST_TIMES_ALL);
	assert_int_equal(in32(bench, GUEST_TIMES_PROCESSORS), PROCESSORS);
	assert_int_equal(in64(bench, GUEST_TIMES_USED), UINT64_C(0x112233445566778a));
}

/* Any read between two snapshots is of the first. */
static void test_stays_until_the_next(void **state)
{
	struct bench *bench = *state;
	take(bench, 0);
	uint64_t used = in64(bench, GUEST_TIMES_USED);
	assert_int_equal(in8(&bench->rig, BASE + GUEST_TIMES_USED + 7), 0x11);
	assert_int_equal(io_read(&bench->rig.ports, BASE + GUEST_TIMES_USED + 3, 2), 0x4455);
	assert_int_equal(io_read(&bench->rig.ports, BASE + GUEST_TIMES_USED, 8), used); /* two of 4 bytes */
	assert_int_equal(in64(bench, GUEST_TIMES_USED), used);
	assert_int_equal(bench->asked, 1);
}

/* What two that ask at once see of each other. */
static void test_counter(void **state)
{
	struct bench *bench = *state;
	uint32_t before = in32(bench, GUEST_TIMES_SNAPSHOT);
	take(bench, 0);
	assert_int_equal(in32(bench, GUEST_TIMES_SNAPSHOT), before + 1);
	take(bench, 1);
	assert_int_equal(in32(bench, GUEST_TIMES_SNAPSHOT), before + 2);
}

static void test_no_such_processor(void **state)
{
	struct bench *bench = *state;
	take(bench, 0);
	take(bench, PROCESSORS);
	assert_int_equal(in32(bench, GUEST_TIMES_SNAPSHOT), 2);
	for (unsigned offset = GUEST_TIMES_PROCESSORS; offset < GUEST_TIMES_BYTES; offset += 4)
		assert_int_equal(in32(bench, offset), 0);
}

static void test_other_writes(void **state)
{
	struct bench *bench = *state;
	io_write(&bench->rig.ports, BASE, 1, 0);
	io_write(&bench->rig.ports, BASE, 2, 0);
	for (unsigned offset = 1; offset < GUEST_TIMES_BYTES; offset++)
		io_write(&bench->rig.ports, BASE + offset, 4, 0);
	assert_int_equal(bench->asked, 0);
	assert_int_equal(in32(bench, GUEST_TIMES_SNAPSHOT), 0);
}

static void test_reset(void **state)
{
	struct bench *bench = *state;
	take(bench, GUEST_TIMES_ALL);
	cputimes_reset(&bench->cputimes);
	for (unsigned offset = 0; offset < GUEST_TIMES_BYTES; offset += 4)
		assert_int_equal(in32(bench, offset), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_nothing_before_the_first, setup),
	    cmocka_unit_test_setup(test_one_and_all, setup),
	    cmocka_unit_test_setup(test_stays_until_the_next, setup),
	    cmocka_unit_test_setup(test_counter, setup),
	    cmocka_unit_test_setup(test_no_such_processor, setup),
	    cmocka_unit_test_setup(test_other_writes, setup),
	    cmocka_unit_test_setup(test_reset, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
