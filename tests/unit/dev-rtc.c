/* SPDX-License-Identifier: MIT */
/* The MC146818: calendar, formats, updates, the three interrupts; on virtual time only. */
#include "devices/rtc.h"
#include "rig.h"

#define A 0x0a
#define B 0x0b
#define C 0x0c
#define D 0x0d
#define B_24 0x02u
#define START 951782399 /* 2000-02-28 23:59:59 UTC, a Monday; 2000 is a leap year */

struct fixture {
	struct rig rig;
	struct rtc *rtc;
	struct probe irq;
};

static unsigned get(struct fixture *f, unsigned index)
{
	out8(&f->rig, 0x70, index);
	return in8(&f->rig, 0x71);
}

static void put(struct fixture *f, unsigned index, unsigned value)
{
	out8(&f->rig, 0x70, index);
	out8(&f->rig, 0x71, value);
}

static int setup_at(void **state, int64_t seconds, uint32_t nanoseconds)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	const struct rtc_config config = {
	    .clock = &f->rig.clock, .irq = probe_line(&f->irq, 0), .unix_seconds = seconds, .nanoseconds = nanoseconds};
	f->rtc = rtc_create(&config, NULL);
	assert_true(rtc_map(f->rtc, &f->rig.ports, NULL));
	put(f, A, 0x20); /* no periodic events */
	put(f, 1, 0x99); /* no alarm */
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_at(state, START, 0);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	rtc_destroy(f->rtc);
	assert_null(f->rig.clock.timers);
	test_free(f);
	return 0;
}

static void seconds_pass(struct fixture *f, uint64_t seconds)
{
	clock_advance(&f->rig.clock, seconds * CLOCK_SECOND);
}

/* Century, year, month, day, hour, minute, second as they read, in one comparison. */
static void assert_reads(struct fixture *f, uint64_t expected)
{
	static const uint8_t indexes[7] = {0x32, 9, 8, 7, 4, 2, 0};
	uint64_t value = 0;
	for (unsigned i = 0; i < 7; i++)
		value = value << 8 | get(f, indexes[i]);
	assert_true(value == expected);
}

static void calendar_knows_leap_days(void **state)
{
	struct fixture *f = *state;
	assert_reads(f, UINT64_C(0x20000228235959));
	assert_int_equal(get(f, 6), 2);
	seconds_pass(f, 1);
	assert_reads(f, UINT64_C(0x20000229000000));
	assert_int_equal(get(f, 6), 3);
	seconds_pass(f, 86400);
	assert_reads(f, UINT64_C(0x20000301000000));
	put(f, 8, 0x12);
	put(f, 7, 0x31);
	seconds_pass(f, 86399);
	assert_reads(f, UINT64_C(0x20001231235959));
	seconds_pass(f, 1);
	assert_reads(f, UINT64_C(0x20010101000000));
	put(f, 8, 0x02);
	put(f, 7, 0x28);
	seconds_pass(f, 86400);
	assert_reads(f, UINT64_C(0x20010301000000));
	put(f, 0x32, 0x19); /* 1900 was no leap year */
	put(f, 9, 0x00);
	put(f, 8, 0x02);
	put(f, 7, 0x28);
	seconds_pass(f, 86400);
	assert_reads(f, UINT64_C(0x19000301000000));
}

static void time_is_the_virtual_clock(void **state)
{
	struct fixture *f = *state;
	clock_pause(&f->rig.clock);
	clock_advance(&f->rig.clock, 100 * CLOCK_SECOND);
	assert_reads(f, UINT64_C(0x20000228235959));
	clock_resume(&f->rig.clock);
	clock_advance(&f->rig.clock, CLOCK_SECOND - 1);
	assert_reads(f, UINT64_C(0x20000228235959));
	clock_advance(&f->rig.clock, 1);
	assert_reads(f, UINT64_C(0x20000229000000));
}

static void the_second_in_progress_counts(void **state)
{
	struct fixture *f = *state;
	rtc_destroy(f->rtc);
	test_free(f);
	setup_at(state, 0, 999000000);
	f = *state;
	assert_reads(f, UINT64_C(0x19700101000000));
	assert_int_equal(get(f, 6), 5);
	clock_advance(&f->rig.clock, 1000000);
	assert_reads(f, UINT64_C(0x19700101000001));
}

static void formats_are_binary_or_bcd_and_12_or_24(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint8_t b, hour_in, hour_next;
	} cases[] = {
	    {0x02, 0x11, 0x12}, {0x02, 0x23, 0x00}, {0x06, 11, 12},	{0x06, 23, 0},
	    {0x00, 0x11, 0x92}, {0x00, 0x91, 0x12}, {0x00, 0x12, 0x01}, {0x00, 0x92, 0x81},
	    {0x04, 11, 0x8c},	{0x04, 0x8b, 12},   {0x04, 12, 1},	{0x04, 0x8c, 0x81},
	};
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		put(f, B, 0x80u | cases[i].b);
		put(f, 4, cases[i].hour_in);
		put(f, 2, (cases[i].b & 4) ? 59 : 0x59);
		put(f, 0, (cases[i].b & 4) ? 59 : 0x59);
		put(f, B, cases[i].b);
		seconds_pass(f, 1);
		assert_int_equal(get(f, 4), cases[i].hour_next);
		assert_int_equal(get(f, 2), 0);
	}
}

static void set_freezes_the_time(void **state)
{
	struct fixture *f = *state;
	put(f, B, 0x80 | B_24 | 0x10);
	assert_int_equal(get(f, B), 0x82); /* SET clears UIE */
	put(f, 0, 0x30);
	put(f, 9, 0x26);
	seconds_pass(f, 100);
	assert_int_equal(get(f, 0), 0x30);
	assert_int_equal(get(f, C), 0);
	put(f, B, B_24);
	seconds_pass(f, 1);
	assert_int_equal(get(f, 0), 0x31);
	assert_int_equal(get(f, 9), 0x26);
}

static void divider_reset_stops_and_restarts_half_a_second_early(void **state)
{
	struct fixture *f = *state;
	put(f, A, 0x66);
	seconds_pass(f, 10);
	assert_int_equal(get(f, 0), 0x59);
	assert_int_equal(get(f, A), 0x66);
	put(f, A, 0x26);
	clock_advance(&f->rig.clock, CLOCK_SECOND / 2 - 1);
	assert_int_equal(get(f, 0), 0x59);
	clock_advance(&f->rig.clock, 1);
	assert_int_equal(get(f, 0), 0);
}

static void update_in_progress_warns_244_us_before(void **state)
{
	struct fixture *f = *state;
	clock_advance(&f->rig.clock, CLOCK_SECOND - 244001);
	assert_int_equal(get(f, A) & 0x80, 0);
	clock_advance(&f->rig.clock, 1);
	assert_int_equal(get(f, A) & 0x80, 0x80);
	clock_advance(&f->rig.clock, 244000);
	assert_int_equal(get(f, A) & 0x80, 0);
	put(f, A, 0xa6); /* bit 7 is read-only */
	assert_int_equal(get(f, A), 0x26);
}

static void update_ended_interrupt(void **state)
{
	struct fixture *f = *state;
	seconds_pass(f, 1);
	assert_false(f->irq.level);
	assert_int_equal(get(f, C), 0x10); /* the flag, but no interrupt */
	put(f, B, B_24 | 0x10);
	seconds_pass(f, 1);
	assert_true(f->irq.level);
	seconds_pass(f, 5);
	assert_int_equal(f->irq.rises, 1); /* until C is read */
	assert_int_equal(get(f, C), 0x90);
	assert_false(f->irq.level);
	assert_int_equal(get(f, C), 0);
	/* Enabling while the flag is already set interrupts at once. */
	put(f, B, B_24);
	seconds_pass(f, 1);
	put(f, B, B_24 | 0x10);
	assert_true(f->irq.level);
}

static void alarm_matches_with_dont_care(void **state)
{
	struct fixture *f = *state;
	put(f, 1, 0x10);
	put(f, 3, 0x05);
	put(f, 5, 0x00);
	put(f, B, B_24 | 0x20);
	seconds_pass(f, 1 + 5 * 60 + 9);
	assert_false(f->irq.level);
	seconds_pass(f, 1);
	assert_true(f->irq.level);
	assert_int_equal(get(f, C), 0xb0);
	seconds_pass(f, 86399);
	assert_false(f->irq.level);
	seconds_pass(f, 1); /* every day */
	assert_int_equal(get(f, C), 0xb0);
	put(f, 3, 0xc0);
	put(f, 5, 0xff);
	seconds_pass(f, 3600); /* at second 10 of each minute */
	assert_int_equal(get(f, C) & 0x20, 0x20);
	seconds_pass(f, 59);
	assert_int_equal(get(f, C) & 0x20, 0);
	seconds_pass(f, 1);
	assert_int_equal(get(f, C) & 0x20, 0x20);
}

static void periodic_interrupt_at_all_rates(void **state)
{
	struct fixture *f = *state;
	for (unsigned rate = 0; rate < 16; rate++) {
		unsigned hz = rate == 0 ? 0 : 32768u >> ((rate <= 2 ? rate + 7 : rate) - 1);
		put(f, A, 0x70);
		put(f, A, 0x20 | rate); /* the divider starts here */
		put(f, B, B_24 | 0x40);
		(void)get(f, C);
		unsigned rises = f->irq.rises;
		for (unsigned i = 0; i < 8192; i++) {
			clock_advance(&f->rig.clock, i % 2048 == 0 ? 122072 : 122070);
			if (f->irq.level)
				(void)get(f, C);
		}
		assert_in_range(f->irq.rises - rises, hz == 0 ? 0 : hz - 1, hz);
	}
	/* Polled, without the interrupt. */
	put(f, A, 0x70);
	put(f, A, 0x26);
	put(f, B, B_24);
	(void)get(f, C);
	clock_advance(&f->rig.clock, 900000);
	assert_int_equal(get(f, C) & 0x40, 0);
	clock_advance(&f->rig.clock, 80000);
	assert_int_equal(get(f, C) & 0x40, 0x40);
}

/* A guest that reads register C a microsecond after the interrupt. Returns the interrupts. */
static unsigned take_interrupts_for(struct fixture *f, uint64_t ns)
{
	unsigned taken = 0;
	for (uint64_t i = 0; i < ns; i += 1000) {
		clock_advance(&f->rig.clock, 1000);
		if (f->irq.level) {
			taken++;
			(void)get(f, C);
		}
	}
	return taken;
}

static void owed_interrupts_come_later(void **state)
{
	struct fixture *f = *state;
	put(f, A, 0x26); /* 1,024 Hz */
	put(f, B, B_24 | 0x40);
	(void)get(f, C);
	assert_in_range(take_interrupts_for(f, 100000000), 102, 103);
	f->rig.clock.now += CLOCK_SECOND / 16; /* the host is late for 64 */
	clock_run(&f->rig.clock);
	/* Never more than two in a period. */
	assert_in_range(take_interrupts_for(f, 50000000), 100, 105);
	assert_in_range(take_interrupts_for(f, 950000000), 980, 986);
	assert_in_range(take_interrupts_for(f, 100000000), 102, 103);
	clock_advance(&f->rig.clock, 100 * CLOCK_SECOND); /* two seconds' worth at most */
	assert_in_range(take_interrupts_for(f, 4 * CLOCK_SECOND), 3 * 2048 - 3, 3 * 2048 + 3);
	clock_advance(&f->rig.clock, CLOCK_SECOND);
	put(f, B, B_24);
	put(f, B, B_24 | 0x40);
	(void)get(f, C);
	assert_in_range(take_interrupts_for(f, 100000000), 102, 103);
}

static void garbage_in_the_time_registers_is_survived(void **state)
{
	struct fixture *f = *state;
	put(f, B, 0x80 | B_24);
	for (unsigned i = 0; i < 10; i++)
		put(f, i, 0xff);
	put(f, 0x32, 0xff);
	assert_int_equal(get(f, 8), 0xff);
	assert_int_equal(get(f, 0), 0x7f); /* bit 7 of the seconds is read-only */
	put(f, B, B_24);
	seconds_pass(f, 3);
	assert_in_range(get(f, 8), 0x01, 0x12);
	assert_in_range(get(f, 7), 0x01, 0x31);
	/* One at a time, in binary, with midnight ahead. */
	static const struct {
		uint8_t index, value, after;
	} cases[] = {{6, 0, 2},	 {6, 1, 2}, {6, 7, 1}, {6, 8, 2},   {7, 0, 2},	{7, 31, 1},
		     {7, 32, 2}, {8, 0, 1}, {8, 1, 1}, {8, 12, 12}, {8, 13, 1}, {2, 60, 1}};
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		static const uint8_t good[10] = {59, 0, 59, 0, 23, 0, 1, 1, 1, 26};
		put(f, B, 0x86);
		for (unsigned reg = 0; reg < 10; reg += reg < 6 ? 2 : 1)
			put(f, reg, good[reg]);
		put(f, cases[i].index, cases[i].value);
		put(f, B, 0x06);
		seconds_pass(f, 1);
		assert_int_equal(get(f, cases[i].index), cases[i].after);
	}
}

static void flags_gather(void **state)
{
	struct fixture *f = *state;
	put(f, A, 0x2f); /* 2 Hz */
	put(f, 1, 0x00);
	put(f, 3, 0xc0);
	put(f, 5, 0xc0);
	seconds_pass(f, 2);
	seconds_pass(f, 1);
	assert_int_equal(get(f, C), 0x70);
}

static void times_before_the_epoch_start_there(void **state)
{
	struct fixture *f = *state;
	rtc_destroy(f->rtc);
	test_free(f);
	setup_at(state, -5, 0);
	assert_reads(*state, UINT64_C(0x19700101000000));
}

static void ram_keeps_and_read_only_registers_do_not(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0x0e; i < 0x80; i++)
		if (i != 0x32)
			put(f, i, i ^ 0x5a);
	put(f, C, 0xff);
	put(f, D, 0);
	rtc_reset(f->rtc);
	for (unsigned i = 0x0e; i < 0x80; i++)
		if (i != 0x32)
			assert_int_equal(get(f, 0x80 | i), i ^ 0x5a); /* bit 7 is the NMI mask */
	assert_int_equal(get(f, D), 0x80);
	rtc_set_ram(f->rtc, 0x34, 0x77);
	rtc_set_ram(f->rtc, 0x00, 0x77);
	rtc_set_ram(f->rtc, 0xff, 0x77);
	assert_int_equal(get(f, 0x34), 0x77);
	assert_int_equal(get(f, 0), 0x59);
	assert_int_equal(in8(&f->rig, 0x70), 0xff);
}

static void reset_disables_the_interrupts(void **state)
{
	struct fixture *f = *state;
	put(f, B, B_24 | 0x70);
	seconds_pass(f, 1);
	assert_true(f->irq.level);
	rtc_reset(f->rtc);
	assert_false(f->irq.level);
	assert_int_equal(get(f, B), B_24);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(calendar_knows_leap_days),
	    TEST(time_is_the_virtual_clock),
	    TEST(the_second_in_progress_counts),
	    TEST(formats_are_binary_or_bcd_and_12_or_24),
	    TEST(set_freezes_the_time),
	    TEST(divider_reset_stops_and_restarts_half_a_second_early),
	    TEST(update_in_progress_warns_244_us_before),
	    TEST(update_ended_interrupt),
	    TEST(alarm_matches_with_dont_care),
	    TEST(periodic_interrupt_at_all_rates),
	    TEST(owed_interrupts_come_later),
	    TEST(garbage_in_the_time_registers_is_survived),
	    TEST(flags_gather),
	    TEST(times_before_the_epoch_start_there),
	    TEST(ram_keeps_and_read_only_registers_do_not),
	    TEST(reset_disables_the_interrupts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
