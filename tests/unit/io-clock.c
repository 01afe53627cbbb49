/* SPDX-License-Identifier: MIT */
/* The virtual clock: order of timers, pauses, conversions without loss, and the real mode against the host's clock. */
#include "rig.h"

#include <time.h>

struct log {
	struct clock *clock;
	char order[32];
	uint64_t at[32];
	unsigned count;
};

struct tagged {
	struct clock_timer timer;
	struct log *log;
	char tag;
	uint64_t period;
};

static void tagged_fire(void *opaque)
{
	struct tagged *tagged = opaque;
	struct log *log = tagged->log;
	assert_true(log->count < 31);
	log->at[log->count] = clock_now(log->clock);
	log->order[log->count++] = tagged->tag;
	if (tagged->period != 0)
		clock_timer_set(&tagged->timer, tagged->timer.deadline + tagged->period);
}

static void tagged_init(struct tagged *tagged, struct log *log, char tag)
{
	*tagged = (struct tagged){.log = log, .tag = tag};
	clock_timer_init(&tagged->timer, log->clock, tagged_fire, tagged);
}

static void timers_fire_in_order_at_their_time(void **state)
{
	struct clock clock;
	struct tagged a, b, c;
	(void)state;
	clock_init(&clock, CLOCK_MANUAL);
	struct log log = {.clock = &clock};
	tagged_init(&a, &log, 'a');
	tagged_init(&b, &log, 'b');
	tagged_init(&c, &log, 'c');
	clock_timer_set(&c.timer, 300);
	clock_timer_set(&a.timer, 100);
	clock_timer_set(&b.timer, 100); /* equal deadlines: first come, first served */
	clock_advance(&clock, 99);
	assert_int_equal(log.count, 0);
	clock_advance(&clock, 1000);
	assert_string_equal(log.order, "abc");
	assert_int_equal(log.at[0], 100);
	assert_int_equal(log.at[2], 300);
	assert_int_equal(clock_now(&clock), 1099);
	assert_true(clock_run(&clock) == CLOCK_NEVER);
}

static void a_timer_may_arm_itself_and_move(void **state)
{
	struct clock clock;
	struct tagged a, b;
	(void)state;
	clock_init(&clock, CLOCK_MANUAL);
	struct log log = {.clock = &clock};
	tagged_init(&a, &log, 'a');
	tagged_init(&b, &log, 'b');
	a.period = 10;
	clock_timer_set(&a.timer, 10);
	clock_timer_set(&b.timer, 5);
	clock_timer_set(&b.timer, 25); /* moved */
	clock_advance(&clock, 35);
	assert_string_equal(log.order, "aaba");
	clock_timer_cancel(&a.timer);
	clock_timer_cancel(&a.timer);
	clock_advance(&clock, 100);
	assert_int_equal(log.count, 4);
	clock_timer_set(&b.timer, CLOCK_NEVER);
	assert_false(b.timer.armed);
}

static void deadline_seen(void *opaque, uint64_t deadline)
{
	uint64_t *seen = opaque;
	seen[0] = deadline;
	seen[1]++;
}

static void rearm_tells_of_each_new_earliest_deadline(void **state)
{
	struct clock clock;
	struct tagged a, b;
	uint64_t seen[2] = {0};
	(void)state;
	clock_init(&clock, CLOCK_MANUAL);
	clock.rearm = deadline_seen;
	clock.rearm_opaque = seen;
	struct log log = {.clock = &clock};
	tagged_init(&a, &log, 'a');
	tagged_init(&b, &log, 'b');
	clock_timer_set(&a.timer, 50);
	assert_int_equal(seen[0], 50);
	clock_timer_set(&b.timer, 60);
	assert_int_equal(seen[1], 1); /* the earliest is the same */
	clock_timer_cancel(&a.timer);
	assert_int_equal(seen[0], 60);
	clock_advance(&clock, 60);
	assert_true(seen[0] == CLOCK_NEVER);
}

static void pause_stops_time_and_timers(void **state)
{
	struct clock clock;
	struct tagged a;
	(void)state;
	clock_init(&clock, CLOCK_MANUAL);
	struct log log = {.clock = &clock};
	tagged_init(&a, &log, 'a');
	clock_timer_set(&a.timer, 10);
	clock_pause(&clock);
	clock_advance(&clock, 100);
	assert_int_equal(clock_now(&clock), 0);
	assert_int_equal(log.count, 0);
	clock_resume(&clock);
	clock_advance(&clock, 10);
	assert_int_equal(log.count, 1);
}

/* For any TSC value: its time is the first at which the TSC has got there. */
static void tsc_converts_without_loss(void **state)
{
	static const uint64_t rates[] = {999999999, 1000000000, 2419199999, 3700000001, 24000000};
	static const uint64_t values[] = {0, 1, 2, 999, UINT64_C(0x123456789abc), UINT64_C(1) << 58};
	struct clock clock;
	(void)state;
	clock_init(&clock, CLOCK_MANUAL);
	for (unsigned r = 0; r < sizeof rates / sizeof rates[0]; r++) {
		for (unsigned v = 0; v < sizeof values / sizeof values[0]; v++) {
			clock.tsc_hz = rates[r];
			uint64_t tsc = rates[r] < 999999999 ? values[v] >> 8 : values[v];
			clock.now = clock_tsc_to_ns(&clock, tsc);
			assert_true(clock_tsc(&clock) >= tsc);
			if (clock.now == 0)
				continue;
			clock.now--;
			assert_true(clock_tsc(&clock) < tsc);
		}
	}
	clock.tsc_hz = 1000;
	assert_true(clock_tsc_to_ns(&clock, UINT64_MAX) == UINT64_MAX); /* saturates */
	assert_int_equal(clock_scale(7, 3, 2), 10);
	assert_int_equal(clock_scale_up(7, 3, 2), 11);
}

static uint64_t host_ns(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC_RAW, &time);
	return (uint64_t)time.tv_sec * CLOCK_SECOND + (uint64_t)time.tv_nsec;
}

static void wait_ms(long milliseconds)
{
	struct timespec time = {.tv_nsec = milliseconds * 1000000};
	nanosleep(&time, NULL);
}

static void real_clock_follows_the_host(void **state)
{
	struct clock clock;
	(void)state;
	clock_init(&clock, CLOCK_REAL);
	uint64_t outer = host_ns(), start = clock_now(&clock), inner = host_ns();
	wait_ms(200);
	inner = host_ns() - inner;
	uint64_t elapsed = clock_now(&clock) - start;
	outer = host_ns() - outer;
	/* The calibration is good to 0.1 % at the very least, whatever else runs on this machine. */
	assert_in_range(elapsed, inner - inner / 1000, outer + outer / 1000);
	uint64_t before = __builtin_ia32_rdtsc() + clock_tsc_offset(&clock);
	uint64_t tsc = clock_tsc(&clock);
	uint64_t after = __builtin_ia32_rdtsc() + clock_tsc_offset(&clock);
	assert_in_range(tsc, before, after);
}

static void real_clock_stands_still_while_paused(void **state)
{
	struct clock clock;
	(void)state;
	clock_init(&clock, CLOCK_REAL);
	clock_pause(&clock);
	uint64_t now = clock_now(&clock), tsc = clock_tsc(&clock), offset = clock_tsc_offset(&clock);
	wait_ms(30);
	assert_true(clock_now(&clock) == now && clock_tsc(&clock) == tsc);
	clock_resume(&clock);
	assert_true(clock_tsc(&clock) >= tsc);
	/* The guest's TSC runs behind by what the pause took. */
	assert_true(offset - clock_tsc_offset(&clock) >= clock.tsc_hz / 1000 * 29);
}

static uint64_t read_count(void *opaque)
{
	return *(const uint64_t *)opaque;
}

static void counted_clock_is_the_count_and_what_was_added(void **state)
{
	struct clock clock;
	struct log log = {.clock = &clock};
	struct tagged a, b;
	uint64_t count = 0;
	(void)state;
	clock_init(&clock, CLOCK_COUNTED);
	assert_int_equal(clock_now(&clock), 0); /* before there is a count */
	clock.count = read_count;
	clock.count_opaque = &count;
	tagged_init(&a, &log, 'a');
	tagged_init(&b, &log, 'b');
	assert_false(clock_skip(&clock)); /* nothing to wait for */
	clock_timer_set(&a.timer, 100);
	clock_timer_set(&b.timer, 1000);
	assert_int_equal(clock_count_at(&clock, 100), 100);
	count = 99;
	assert_int_equal(clock_run(&clock), 100);
	assert_int_equal(log.count, 0);
	count = 100;
	assert_int_equal(clock_run(&clock), 1000);
	assert_int_equal(log.count, 1);
	clock_charge(&clock, 50);
	assert_int_equal(clock_now(&clock), 150);
	assert_int_equal(clock_tsc(&clock), 150);
	assert_int_equal(clock_count_at(&clock, 1000), 950);
	assert_true(clock_skip(&clock));
	assert_int_equal(clock_now(&clock), 1000);
	assert_int_equal(clock_run(&clock), CLOCK_NEVER);
	assert_int_equal(log.count, 2);
	assert_int_equal(log.at[1], 1000);
	assert_int_equal(clock_count_at(&clock, 10), 0); /* long past */
	assert_true(clock_count_at(&clock, CLOCK_NEVER) == CLOCK_NEVER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(timers_fire_in_order_at_their_time),
	    cmocka_unit_test(a_timer_may_arm_itself_and_move),
	    cmocka_unit_test(rearm_tells_of_each_new_earliest_deadline),
	    cmocka_unit_test(pause_stops_time_and_timers),
	    cmocka_unit_test(tsc_converts_without_loss),
	    cmocka_unit_test(counted_clock_is_the_count_and_what_was_added),
	    cmocka_unit_test(real_clock_follows_the_host),
	    cmocka_unit_test(real_clock_stands_still_while_paused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
