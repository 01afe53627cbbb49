/* SPDX-License-Identifier: MIT */
/* The 8254: six modes, latches, gates, counts written while counting; port 61h. */
#include "devices/i8254.h"
#include "rig.h"

#define CONTROL 0x43
#define GATE2 0x01u
#define OUT2 0x20u

struct fixture {
	struct rig rig;
	struct i8254 *pit;
	struct probe irq;
	uint64_t tick; /* the CLK we are at */
};

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	struct irq_line line = probe_line(&f->irq, 0);
	f->pit = i8254_create(&f->rig.clock, &line, NULL);
	assert_true(i8254_map(f->pit, &f->rig.ports, NULL));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	i8254_destroy(f->pit);
	assert_null(f->rig.clock.timers);
	test_free(f);
	return 0;
}

/* Advances to the first nanosecond of the CLK `ticks` later. */
static void run(struct fixture *f, uint64_t ticks)
{
	f->tick += ticks;
	uint64_t target = clock_scale_up(f->tick, CLOCK_SECOND, I8254_HZ);
	clock_advance(&f->rig.clock, target - clock_now(&f->rig.clock));
}

static void program(struct fixture *f, unsigned channel, unsigned mode, unsigned count)
{
	out8(&f->rig, CONTROL, channel << 6 | 0x30 | mode << 1);
	out8(&f->rig, (uint16_t)(0x40 + channel), count & 0xff);
	out8(&f->rig, (uint16_t)(0x40 + channel), count >> 8 & 0xff);
}

static unsigned read_both(struct fixture *f, unsigned channel)
{
	unsigned low = in8(&f->rig, (uint16_t)(0x40 + channel));
	return low | in8(&f->rig, (uint16_t)(0x40 + channel)) << 8;
}

static unsigned latched(struct fixture *f, unsigned channel)
{
	out8(&f->rig, CONTROL, channel << 6);
	return read_both(f, channel);
}

static bool out2(struct fixture *f)
{
	return (in8(&f->rig, 0x61) & OUT2) != 0;
}

static unsigned status(struct fixture *f, unsigned channel)
{
	out8(&f->rig, CONTROL, 0xe0 | 2u << channel);
	return in8(&f->rig, (uint16_t)(0x40 + channel));
}

static void mode0_interrupts_once_on_terminal_count(void **state)
{
	struct fixture *f = *state;
	program(f, 0, 0, 1000);
	assert_false(f->irq.level);
	unsigned rises = f->irq.rises;
	run(f, 1);
	assert_int_equal(latched(f, 0), 1000); /* loaded by the first CLK */
	run(f, 999);
	assert_int_equal(latched(f, 0), 1);
	assert_false(f->irq.level);
	run(f, 1);
	assert_true(f->irq.level);
	assert_int_equal(latched(f, 0), 0);
	run(f, 1);
	assert_int_equal(latched(f, 0), 0xffff); /* goes on counting */
	run(f, 200000);
	assert_int_equal(f->irq.rises, rises + 1);
	/* A new count starts anew; its first byte already takes OUT down. */
	out8(&f->rig, 0x40, 10);
	assert_false(f->irq.level);
	run(f, 100);
	assert_false(f->irq.level);
	out8(&f->rig, 0x40, 0);
	run(f, 11);
	assert_true(f->irq.level);
}

static void mode2_interrupts_every_period(void **state)
{
	struct fixture *f = *state;
	program(f, 0, 2, 1193);
	unsigned rises = f->irq.rises;
	run(f, 1 + 1193ull * 500);
	assert_int_equal(f->irq.rises - rises, 500);
	assert_int_equal(latched(f, 0), 1193);
	run(f, 1192);
	assert_int_equal(latched(f, 0), 1);   /* never 0 */
	assert_int_equal(status(f, 0), 0x34); /* OUT is low for the last CLK */
	run(f, 1);
	assert_int_equal(status(f, 0), 0xb4);
	assert_int_equal(f->irq.rises - rises, 501);
}

static void mode2_takes_a_new_count_after_the_period(void **state)
{
	struct fixture *f = *state;
	program(f, 0, 2, 100);
	run(f, 1 + 50);
	unsigned rises = f->irq.rises;
	out8(&f->rig, 0x40, 30);
	out8(&f->rig, 0x40, 0);
	assert_int_equal(status(f, 0) & 0x40, 0x40); /* null count until it is loaded */
	assert_int_equal(latched(f, 0), 50);
	run(f, 49);
	assert_int_equal(f->irq.rises, rises);
	run(f, 1);
	assert_int_equal(f->irq.rises, rises + 1);
	assert_int_equal(latched(f, 0), 30);
	assert_int_equal(status(f, 0) & 0x40, 0);
	run(f, 300);
	assert_int_equal(f->irq.rises, rises + 11);
}

static void mode3_is_a_square_wave(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, 0x61, GATE2);
	for (unsigned count = 2; count <= 9; count++) {
		program(f, 2, 3, count);
		run(f, 1);
		for (unsigned tick = 0; tick < 3 * count; tick++) {
			assert_int_equal(out2(f), tick % count < (count + 1) / 2);
			assert_int_equal(latched(f, 2) % 2, 0); /* counts by two */
			run(f, 1);
		}
	}
	program(f, 2, 3, 8);
	run(f, 1);
	static const unsigned expected[9] = {8, 6, 4, 2, 8, 6, 4, 2, 8};
	for (unsigned i = 0; i < 9; i++, run(f, 1))
		assert_int_equal(latched(f, 2), expected[i]);
	/* As the timer interrupt. */
	program(f, 0, 3, 1001);
	unsigned rises = f->irq.rises;
	run(f, 1 + 1001 * 7);
	assert_int_equal(f->irq.rises - rises, 7);
}

static void mode3_takes_a_new_count_after_the_half(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, 0x61, GATE2);
	program(f, 2, 3, 100);
	run(f, 1 + 10);
	out8(&f->rig, 0x42, 20);
	out8(&f->rig, 0x42, 0);
	run(f, 39);
	assert_true(out2(f)); /* the high half of 50 was not cut */
	run(f, 1);
	assert_false(out2(f));
	run(f, 9);
	assert_false(out2(f));
	run(f, 1); /* the low half has the new length */
	assert_true(out2(f));
}

static void mode1_and_5_wait_for_the_gate(void **state)
{
	struct fixture *f = *state;
	program(f, 2, 1, 5);
	run(f, 100);
	assert_true(out2(f));
	out8(&f->rig, 0x61, GATE2);
	run(f, 1);
	for (int i = 0; i < 5; i++, run(f, 1))
		assert_false(out2(f));
	assert_true(out2(f));
	/* Triggered again in the middle it starts over; taking the gate away changes nothing. */
	out8(&f->rig, 0x61, 0);
	out8(&f->rig, 0x61, GATE2);
	run(f, 3);
	out8(&f->rig, 0x61, 0);
	out8(&f->rig, 0x61, GATE2);
	run(f, 5);
	assert_false(out2(f));
	run(f, 1);
	assert_true(out2(f));
	out8(&f->rig, 0x61, 0);
	program(f, 2, 5, 4);
	out8(&f->rig, 0x61, GATE2);
	run(f, 1 + 3);
	assert_true(out2(f));
	run(f, 1);
	assert_false(out2(f)); /* a strobe of one CLK */
	run(f, 1);
	assert_true(out2(f));
}

/* A running one-shot minds neither the gate's fall nor a new count; the next trigger takes both. */
static void mode1_new_count_waits_for_the_next_trigger(void **state)
{
	struct fixture *f = *state;
	program(f, 2, 1, 50);
	assert_int_equal(status(f, 2), 0xf2); /* null count: nothing was loaded */
	out8(&f->rig, 0x61, GATE2);
	run(f, 1 + 20);
	assert_int_equal(status(f, 2), 0x32);
	out8(&f->rig, 0x61, 0);
	out8(&f->rig, 0x42, 10);
	out8(&f->rig, 0x42, 0);
	assert_int_equal(status(f, 2), 0x72);
	run(f, 10);
	assert_int_equal(latched(f, 2), 20);
	run(f, 19);
	assert_false(out2(f));
	run(f, 1);
	assert_true(out2(f));
	out8(&f->rig, 0x61, GATE2);
	run(f, 1);
	assert_int_equal(status(f, 2), 0x32);
	assert_int_equal(latched(f, 2), 10);
}

static void mode4_strobes_once(void **state)
{
	struct fixture *f = *state;
	program(f, 0, 4, 50);
	unsigned rises = f->irq.rises;
	run(f, 1 + 50);
	assert_int_equal(status(f, 0) & 0x80, 0);
	assert_int_equal(f->irq.rises, rises);
	run(f, 1);
	assert_int_equal(status(f, 0) & 0x80, 0x80);
	assert_int_equal(f->irq.rises, rises + 1);
	run(f, 300000);
	assert_int_equal(f->irq.rises, rises + 1);
}

static void the_gate_holds_the_count(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, 0x61, GATE2);
	program(f, 2, 0, 100);
	run(f, 1 + 40);
	out8(&f->rig, 0x61, 0);
	run(f, 1000);
	assert_int_equal(latched(f, 2), 60);
	out8(&f->rig, 0x61, GATE2);
	run(f, 59);
	assert_false(out2(f));
	run(f, 1);
	assert_true(out2(f));
	/* In mode 2 the rising gate reloads. */
	program(f, 2, 2, 100);
	run(f, 1 + 40);
	out8(&f->rig, 0x61, 0);
	run(f, 10);
	assert_true(out2(f));
	out8(&f->rig, 0x61, GATE2);
	run(f, 1);
	assert_int_equal(latched(f, 2), 100);
	/* A count written while the gate is low is not counted, nor does it inherit what was. */
	program(f, 2, 0, 100);
	run(f, 1 + 40);
	out8(&f->rig, 0x61, 0);
	out8(&f->rig, 0x42, 90);
	out8(&f->rig, 0x42, 0);
	run(f, 1000);
	assert_int_equal(latched(f, 2), 90);
	/* The gate's edges start nothing that has no count. */
	out8(&f->rig, CONTROL, 0xb4);
	out8(&f->rig, 0x61, GATE2);
	run(f, 10);
	assert_int_equal(status(f, 2), 0xf4);
	out8(&f->rig, 0x61, 0);
	run(f, 10);
	assert_int_equal(status(f, 2), 0xf4);
}

/* Time passes without the event loop: one edge is shown for all that went by, and only once. */
static void a_late_host_merges_ticks(void **state)
{
	struct fixture *f = *state;
	program(f, 0, 2, 1193);
	run(f, 1);
	unsigned rises = f->irq.rises;
	f->rig.clock.now += CLOCK_SECOND / 100;
	(void)latched(f, 0);
	assert_int_equal(f->irq.rises, rises + 1);
	assert_true(f->irq.level);
	(void)latched(f, 0);
	clock_run(&f->rig.clock);
	assert_int_equal(f->irq.rises, rises + 1);
	clock_advance(&f->rig.clock, CLOCK_SECOND / 1000);
	assert_int_equal(f->irq.rises, rises + 2);
}

/* What pc.c does when the processor acknowledges IRQ 0. */
static void take(struct fixture *f)
{
	const struct irq_watcher watcher = i8254_watcher(f->pit);
	watcher.taken(watcher.opaque);
}

/* A guest that takes each tick a microsecond after it came. Returns how many it took. */
static unsigned take_ticks_for(struct fixture *f, uint64_t ns)
{
	unsigned taken = 0, seen = f->irq.rises;
	for (uint64_t i = 0; i < ns; i += 1000) {
		clock_advance(&f->rig.clock, 1000);
		if (f->irq.rises == seen)
			continue;
		seen = f->irq.rises;
		taken++;
		take(f);
	}
	return taken;
}

static void a_late_host_delivers_owed_ticks(void **state)
{
	struct fixture *f = *state;
	program(f, 0, 2, 1193); /* 1 ms */
	assert_in_range(take_ticks_for(f, 10000000), 9, 10);
	f->rig.clock.now += 20 * UINT64_C(1000000);
	clock_run(&f->rig.clock);
	take(f);
	/* 19 more are owed: never more than two in a period. */
	assert_in_range(take_ticks_for(f, 5000000), 9, 10);
	assert_in_range(take_ticks_for(f, 35000000), 48, 50);
	assert_in_range(take_ticks_for(f, 10000000), 10, 10);
}

static void ticks_not_taken_are_owed(void **state)
{
	struct fixture *f = *state;
	const struct irq_watcher watcher = i8254_watcher(f->pit);
	program(f, 0, 3, 11932); /* 10 ms */
	assert_int_equal(take_ticks_for(f, 20500000), 2);
	clock_advance(&f->rig.clock, 100000000); /* 10 come, one waits */
	take(f);
	assert_in_range(take_ticks_for(f, 200000000), 29, 30);
	clock_advance(&f->rig.clock, 100000000);
	watcher.unmasked(watcher.opaque); /* the guest did not want them */
	assert_in_range(take_ticks_for(f, 100000000), 10, 10);
	/* Two seconds' worth at most. */
	clock_advance(&f->rig.clock, 30 * CLOCK_SECOND);
	take(f);
	assert_in_range(take_ticks_for(f, 10 * CLOCK_SECOND), 1197, 1201);
	/* A new programme owes nothing of the old. */
	clock_advance(&f->rig.clock, CLOCK_SECOND);
	program(f, 0, 3, 11932);
	take(f);
	assert_in_range(take_ticks_for(f, 1000000000), 99, 100);
}

static void reset_stops_everything(void **state)
{
	struct fixture *f = *state;
	program(f, 0, 0, 100);
	out8(&f->rig, 0x61, 0x0f);
	i8254_reset(f->pit);
	assert_null(f->rig.clock.timers);
	assert_true(f->irq.level);
	assert_int_equal(in8(&f->rig, 0x61) & 0x0f, 0);
	assert_int_equal(status(f, 0), 0xf6);
	unsigned rises = f->irq.rises;
	run(f, 1000);
	assert_int_equal(f->irq.rises, rises);
}

static void access_modes_take_one_byte_or_two(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, CONTROL, 0x10 | 0 << 1); /* low byte only */
	out8(&f->rig, 0x40, 0x34);
	run(f, 1);
	assert_int_equal(in8(&f->rig, 0x40), 0x34);
	assert_int_equal(in8(&f->rig, 0x40), 0x34);
	out8(&f->rig, CONTROL, 0x20 | 0 << 1); /* high byte only */
	out8(&f->rig, 0x40, 0x12);
	run(f, 1);
	assert_int_equal(in8(&f->rig, 0x40), 0x12);
	out8(&f->rig, CONTROL, 0x00);
	assert_int_equal(in8(&f->rig, 0x40), 0x12);
	assert_int_equal(in8(&f->rig, CONTROL), 0xff);
}

/* Latched by the latch command and by read-back, in each mode: there is only one formula. */
static void latches_agree_and_hold(void **state)
{
	struct fixture *f = *state;
	for (unsigned mode = 0; mode < 6; mode++) {
		out8(&f->rig, 0x61, 0);
		program(f, 2, mode, 0x4321);
		out8(&f->rig, 0x61, GATE2);
		run(f, 1000 + 77 * mode);
		unsigned direct = read_both(f, 2);
		unsigned by_latch = latched(f, 2);
		out8(&f->rig, CONTROL, 0xd8); /* read back the count of channel 2 */
		run(f, 100);
		unsigned by_read_back = read_both(f, 2);
		assert_int_equal(by_latch, direct);
		assert_int_equal(by_read_back, direct);
		assert_int_not_equal(read_both(f, 2), direct);
	}
	/* A second latch does not disturb the first; status comes before count. */
	program(f, 1, 2, 0x8000);
	run(f, 10);
	out8(&f->rig, CONTROL, 1 << 6);
	run(f, 100);
	out8(&f->rig, CONTROL, 0xc4); /* both, channel 1 */
	assert_int_equal(in8(&f->rig, 0x41), 0xb4);
	assert_int_equal(read_both(f, 1), 0x8000 - 9);
}

/* A control word for one channel leaves the two others alone. */
static void channels_are_independent(void **state)
{
	struct fixture *f = *state;
	program(f, 0, 2, 5000);
	program(f, 1, 2, 6000);
	out8(&f->rig, 0x61, GATE2);
	program(f, 2, 2, 7000);
	run(f, 1 + 10);
	unsigned rises = f->irq.rises;
	out8(&f->rig, CONTROL, 1 << 6 | 0x30);
	assert_int_equal(latched(f, 0), 4990);
	assert_int_equal(latched(f, 2), 6990);
	assert_int_equal(f->irq.rises, rises);
	out8(&f->rig, CONTROL, 0x30 | 2 << 1);
	assert_int_equal(latched(f, 2), 6990);
	assert_int_equal(status(f, 1), 0x70);
}

static void bcd_counts_in_decimal(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, CONTROL, 0x31); /* channel 0, mode 0, BCD */
	out8(&f->rig, 0x40, 0x00);
	out8(&f->rig, 0x40, 0x10); /* 1000 */
	run(f, 1 + 1);
	assert_int_equal(latched(f, 0), 0x0999);
	run(f, 998);
	assert_false(f->irq.level);
	run(f, 1);
	assert_true(f->irq.level);
	run(f, 1);
	assert_int_equal(latched(f, 0), 0x9999);
	out8(&f->rig, 0x40, 0x67);
	out8(&f->rig, 0x40, 0x45);
	assert_int_equal(status(f, 0), 0x71); /* null count until the next CLK */
	run(f, 1 + 10);
	assert_int_equal(status(f, 0), 0x31);
	assert_int_equal(latched(f, 0), 0x4557);
	/* Zero is 10000. */
	out8(&f->rig, 0x40, 0);
	out8(&f->rig, 0x40, 0);
	run(f, 1 + 9999);
	assert_false(f->irq.level);
	run(f, 1);
	assert_true(f->irq.level);
}

static void zero_is_the_largest_count(void **state)
{
	struct fixture *f = *state;
	program(f, 0, 2, 0);
	unsigned rises = f->irq.rises;
	run(f, 65536);
	assert_int_equal(f->irq.rises, rises);
	run(f, 1);
	assert_int_equal(f->irq.rises, rises + 1);
}

/* The forbidden count of 1 works as 2, and the host is not kept busy. */
static void short_periods_are_merged(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, 0x61, GATE2);
	program(f, 2, 2, 1);
	run(f, 1);
	for (unsigned i = 0; i < 10; i++, run(f, 1))
		assert_int_equal(out2(f), i % 2 == 0);
	program(f, 0, 3, 1);
	unsigned rises = f->irq.rises;
	clock_advance(&f->rig.clock, CLOCK_SECOND / 100);
	assert_in_range(f->irq.rises - rises, 490, 501);
}

static void port61_shows_gate_refresh_and_out2(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, 0x61, 0xff);
	assert_int_equal(in8(&f->rig, 0x61) & 0xcf, 0x0f);
	unsigned toggles = 0, last = in8(&f->rig, 0x61) & 0x10;
	for (unsigned i = 0; i < 1000; i++) {
		clock_advance(&f->rig.clock, 1000);
		unsigned now = in8(&f->rig, 0x61) & 0x10;
		toggles += now != last;
		last = now;
	}
	assert_in_range(toggles, 65, 67); /* 1 ms / 15.085 us */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(mode0_interrupts_once_on_terminal_count),
	    TEST(mode2_interrupts_every_period),
	    TEST(mode2_takes_a_new_count_after_the_period),
	    TEST(mode3_is_a_square_wave),
	    TEST(mode3_takes_a_new_count_after_the_half),
	    TEST(mode1_and_5_wait_for_the_gate),
	    TEST(mode1_new_count_waits_for_the_next_trigger),
	    TEST(mode4_strobes_once),
	    TEST(a_late_host_merges_ticks),
	    TEST(a_late_host_delivers_owed_ticks),
	    TEST(ticks_not_taken_are_owed),
	    TEST(reset_stops_everything),
	    TEST(the_gate_holds_the_count),
	    TEST(access_modes_take_one_byte_or_two),
	    TEST(latches_agree_and_hold),
	    TEST(channels_are_independent),
	    TEST(bcd_counts_in_decimal),
	    TEST(zero_is_the_largest_count),
	    TEST(short_periods_are_merged),
	    TEST(port61_shows_gate_refresh_and_out2),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
