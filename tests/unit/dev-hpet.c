/* SPDX-License-Identifier: MIT */
/* The HPET: its counter, one-shot and periodic timers of both widths, edge and level, legacy replacement, late hosts.
 */
#include "devices/hpet.h"
#include "rig.h"

#define BASE UINT64_C(0xfed00000)
#define ENABLE 1u
#define LEGACY 2u
#define LEVEL (1u << 1)
#define INTERRUPT (1u << 2)
#define PERIODIC (1u << 3)
#define SET_VALUE (1u << 6)
#define BITS_32 (1u << 8)
#define ROUTE(input) ((uint32_t)(input) << 9)

struct fixture {
	struct rig rig;
	struct probe route[HPET_ROUTES], legacy[HPET_LEGACY];
	struct hpet *hpet;
};

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	struct hpet_config config = {.clock = &f->rig.clock};
	for (int i = 0; i < (int)HPET_ROUTES; i++)
		config.route[i] = probe_line(f->route, i);
	for (int i = 0; i < (int)HPET_LEGACY; i++)
		config.legacy[i] = probe_line(f->legacy, i);
	f->hpet = hpet_create(&config, NULL);
	assert_non_null(f->hpet);
	assert_true(hpet_map(f->hpet, &f->rig.mmio, BASE, NULL));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	hpet_destroy(f->hpet);
	assert_null(f->rig.clock.timers);
	test_free(f);
	return 0;
}

static void out(struct fixture *f, uint64_t offset, unsigned size, uint64_t value)
{
	io_write(&f->rig.mmio, BASE + offset, size, value);
}

static uint64_t in(struct fixture *f, uint64_t offset, unsigned size)
{
	return io_read(&f->rig.mmio, BASE + offset, size);
}

static void pass(struct fixture *f, uint64_t ticks)
{
	clock_advance(&f->rig.clock, ticks * HPET_TICK_NS);
}

static void says_what_it_is(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(in(f, 0, 8), UINT64_C(0x989680) << 32 | 0x8086a201);
	assert_int_equal(in(f, 4, 4), 10000000);
	for (unsigned i = 0; i < HPET_TIMERS; i++) {
		assert_int_equal(in(f, 0x100 + 0x20 * i, 8), UINT64_C(0x00f00000) << 32 | 0x30);
		assert_int_equal(in(f, 0x108 + 0x20 * i, 8), UINT64_MAX);
	}
	out(f, 0x100, 8, UINT64_MAX);
	assert_int_equal(in(f, 0x100, 8), UINT64_C(0x00f00000) << 32 | 0x3f7e);
	assert_int_equal(in(f, 0x3f8, 8), 0);
}

static void counts_while_enabled(void **state)
{
	struct fixture *f = *state;
	pass(f, 100);
	assert_int_equal(in(f, 0xf0, 8), 0);
	out(f, 0xf0, 8, 0xffffffff0);
	out(f, 0x10, 4, ENABLE);
	pass(f, 0x20);
	assert_int_equal(in(f, 0xf0, 8), 0x1000000010);
	assert_int_equal(in(f, 0xf4, 4), 0x10);
	out(f, 0x10, 4, 0);
	pass(f, 50);
	assert_int_equal(in(f, 0xf0, 4), 0x10);
	out(f, 0xf4, 4, 7);
	assert_int_equal(in(f, 0xf0, 8), UINT64_C(7) << 32 | 0x10);
	out(f, 0xf0, 2, 0xffff);
	assert_int_equal(in(f, 0xf0, 4), 0x10);
}

static void one_shot(void **state)
{
	struct fixture *f = *state;
	out(f, 0x100, 8, INTERRUPT | ROUTE(21));
	out(f, 0x108, 8, 1000);
	out(f, 0x10, 8, ENABLE);
	pass(f, 999);
	assert_int_equal(f->route[1].rises, 0);
	pass(f, 1);
	assert_int_equal(f->route[1].rises, 1);
	assert_false(f->route[1].level);
	assert_int_equal(in(f, 0x20, 8), 0);
	pass(f, UINT64_C(1) << 33);
	assert_int_equal(f->route[1].rises, 1);
}

/* 32 bits of the counter: once around is 42.9 s. */
static void one_shot_of_32_bits_comes_round(void **state)
{
	struct fixture *f = *state;
	out(f, 0x120, 8, INTERRUPT | BITS_32 | ROUTE(20));
	out(f, 0x128, 8, 0xabcd00001000);
	assert_int_equal(in(f, 0x128, 8), 0x1000);
	out(f, 0x10, 8, ENABLE);
	pass(f, 0x1000);
	assert_int_equal(f->route[0].rises, 1);
	pass(f, UINT32_MAX);
	assert_int_equal(f->route[0].rises, 1);
	pass(f, 1);
	assert_int_equal(f->route[0].rises, 2);
}

static void start_periodic(struct fixture *f, uint32_t flags, uint32_t first, uint32_t period)
{
	out(f, 0x100, 4, INTERRUPT | PERIODIC | SET_VALUE | BITS_32 | flags);
	out(f, 0x108, 4, first);
	out(f, 0x108, 4, period);
}

static void periodic(void **state)
{
	struct fixture *f = *state;
	start_periodic(f, ROUTE(22), 5000, 100000);
	assert_int_equal(in(f, 0x100, 4) & SET_VALUE, 0);
	out(f, 0x10, 4, ENABLE);
	pass(f, 5000);
	assert_int_equal(f->route[2].rises, 1);
	for (unsigned i = 0; i < 10; i++)
		pass(f, 100000);
	assert_int_equal(f->route[2].rises, 11);
	assert_int_equal(in(f, 0x108, 4), 1105000);
	pass(f, 99999);
	assert_int_equal(f->route[2].rises, 11);
}

/* A period of 10 ns is not one interrupt each, and the comparator stays ahead of the counter. */
static void short_periods_are_merged(void **state)
{
	struct fixture *f = *state;
	start_periodic(f, ROUTE(20), 1, 1);
	out(f, 0x10, 4, ENABLE);
	pass(f, 1000000);
	assert_in_range(f->route[0].rises, 100, 501);
	assert_true(in(f, 0x108, 8) > in(f, 0xf0, 8) - HPET_MINIMUM_NS / HPET_TICK_NS);
}

static void level_stays_until_cleared(void **state)
{
	struct fixture *f = *state;
	out(f, 0x140, 4, INTERRUPT | LEVEL | ROUTE(23));
	out(f, 0x148, 8, 3000);
	out(f, 0x120, 4, INTERRUPT | LEVEL | ROUTE(23));
	out(f, 0x128, 8, 4000);
	out(f, 0x10, 4, ENABLE);
	pass(f, 4000);
	assert_true(f->route[3].level);
	assert_int_equal(in(f, 0x20, 4), 6);
	out(f, 0x20, 4, 4);
	assert_true(f->route[3].level);
	out(f, 0x140, 4, INTERRUPT | LEVEL | ROUTE(22));
	assert_true(f->route[3].level);
	out(f, 0x120, 4, INTERRUPT | LEVEL | ROUTE(21));
	assert_false(f->route[3].level);
	assert_true(f->route[1].level);
	out(f, 0x20, 4, 2);
	assert_false(f->route[1].level);
}

/* 2.3.5: the HPET takes IRQ 0 and 8, and gives them back. */
static void legacy_replacement(void **state)
{
	struct fixture *f = *state;
	const struct irq_line pit = hpet_input(f->hpet, HPET_TIMER_IRQ), rtc = hpet_input(f->hpet, HPET_RTC_IRQ);
	irq_set(&pit, true);
	assert_true(f->legacy[0].level);
	irq_set(&rtc, true);
	out(f, 0x10, 4, LEGACY);
	assert_false(f->legacy[0].level || f->legacy[1].level);
	irq_set(&pit, false);
	irq_set(&pit, true);
	assert_int_equal(f->legacy[0].rises, 1);
	start_periodic(f, ROUTE(20), 10000, 10000);
	out(f, 0x120, 4, INTERRUPT);
	out(f, 0x128, 4, 10000);
	out(f, 0x12c, 4, 0);
	out(f, 0x10, 4, ENABLE | LEGACY);
	pass(f, 10000);
	assert_int_equal(f->legacy[0].rises, 2);
	assert_int_equal(f->legacy[1].rises, 2);
	assert_int_equal(f->route[0].rises, 0);
	out(f, 0x10, 4, ENABLE);
	assert_true(f->legacy[0].level && f->legacy[1].level);
	hpet_reset(f->hpet);
	assert_int_equal(in(f, 0x10, 4), 0);
	assert_null(f->rig.clock.timers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(says_what_it_is, setup, teardown),
	    cmocka_unit_test_setup_teardown(counts_while_enabled, setup, teardown),
	    cmocka_unit_test_setup_teardown(one_shot, setup, teardown),
	    cmocka_unit_test_setup_teardown(one_shot_of_32_bits_comes_round, setup, teardown),
	    cmocka_unit_test_setup_teardown(periodic, setup, teardown),
	    cmocka_unit_test_setup_teardown(short_periods_are_merged, setup, teardown),
	    cmocka_unit_test_setup_teardown(level_stays_until_cleared, setup, teardown),
	    cmocka_unit_test_setup_teardown(legacy_replacement, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
