/* SPDX-License-Identifier: MIT */
#include "io/clock.h"

#include <assert.h>
#include <cpuid.h>
#include <string.h>
#include <time.h>

#include "base/tsc.h"

static uint64_t host_tsc(void)
{
	return __builtin_ia32_rdtsc();
}

/* CPUID 15h gives the ratio of the TSC to a crystal whose frequency it may name (SDM 3B, 19.7.3); else 0. */
static uint64_t cpuid_tsc_hz(void)
{
	unsigned denominator, numerator, crystal_hz, unused;
	if (!__get_cpuid(0x15, &denominator, &numerator, &crystal_hz, &unused) || denominator == 0)
		return 0;
	return clock_scale(crystal_hz, numerator, denominator);
}

/* What CPUID says is exact, but a hypervisor may pass it on and scale the TSC: it must agree with the measurement. */
static uint64_t host_tsc_hz(void)
{
	uint64_t measured = tsc_measure_hz(CLOCK_MONOTONIC_RAW);
	uint64_t promised = cpuid_tsc_hz();
	uint64_t difference = promised > measured ? promised - measured : measured - promised;
	return difference < measured / 1000 ? promised : measured;
}

void clock_init(struct clock *clock, enum clock_mode mode)
{
	memset(clock, 0, sizeof *clock);
	clock->mode = mode;
	clock->tsc_hz = CLOCK_SECOND;
	if (mode != CLOCK_REAL)
		return;
	clock->tsc_hz = host_tsc_hz();
	clock->tsc_host_origin = host_tsc();
}

uint64_t clock_tsc(struct clock *clock)
{
	if (clock->mode != CLOCK_REAL)
		return clock_scale(clock_now(clock), clock->tsc_hz, CLOCK_SECOND);
	return clock->paused ? clock->tsc_paused : host_tsc() - clock->tsc_host_origin;
}

uint64_t clock_now(struct clock *clock)
{
	if (clock->mode != CLOCK_REAL)
		return clock->count == NULL ? clock->now : clock->now + clock->count(clock->count_opaque);
	return clock_scale(clock_tsc(clock), CLOCK_SECOND, clock->tsc_hz);
}

uint64_t clock_tsc_offset(struct clock *clock)
{
	return UINT64_C(0) - clock->tsc_host_origin;
}

uint64_t clock_tsc_to_ns(const struct clock *clock, uint64_t tsc)
{
	return clock_scale_up(tsc, CLOCK_SECOND, clock->tsc_hz);
}

bool clock_skip(struct clock *clock)
{
	assert(clock->mode == CLOCK_COUNTED);
	if (clock->timers == NULL)
		return false;
	uint64_t now = clock_now(clock);
	if (clock->timers->deadline > now)
		clock->now += clock->timers->deadline - now;
	return true;
}

void clock_charge(struct clock *clock, uint64_t nanoseconds)
{
	assert(clock->mode == CLOCK_COUNTED);
	clock->now += nanoseconds;
}

uint64_t clock_count_at(const struct clock *clock, uint64_t time)
{
	if (time == CLOCK_NEVER)
		return CLOCK_NEVER;
	return time > clock->now ? time - clock->now : 0;
}

void clock_pause(struct clock *clock)
{
	if (clock->paused)
		return;
	if (clock->mode == CLOCK_REAL)
		clock->tsc_paused = clock_tsc(clock);
	clock->paused = true;
}

void clock_resume(struct clock *clock)
{
	if (!clock->paused)
		return;
	clock->paused = false;
	if (clock->mode == CLOCK_REAL)
		clock->tsc_host_origin = host_tsc() - clock->tsc_paused;
}

/* ---- timers ---- */

static uint64_t clock_deadline(const struct clock *clock)
{
	return clock->timers != NULL ? clock->timers->deadline : CLOCK_NEVER;
}

static void clock_tell_deadline(struct clock *clock, uint64_t before)
{
	uint64_t deadline = clock_deadline(clock);
	if (deadline != before && clock->rearm != NULL)
		clock->rearm(clock->rearm_opaque, deadline);
}

static void clock_unlink(struct clock_timer *timer)
{
	if (!timer->armed)
		return;
	struct clock_timer **link = &timer->clock->timers;
	while (*link != timer)
		link = &(*link)->next;
	*link = timer->next;
	timer->next = NULL;
	timer->armed = false;
}

void clock_timer_init(struct clock_timer *timer, struct clock *clock, void (*fire)(void *opaque), void *opaque)
{
	*timer = (struct clock_timer){.clock = clock, .fire = fire, .opaque = opaque};
}

void clock_timer_set(struct clock_timer *timer, uint64_t deadline)
{
	struct clock *clock = timer->clock;
	uint64_t before = clock_deadline(clock);
	clock_unlink(timer);
	if (deadline != CLOCK_NEVER) {
		struct clock_timer **link = &clock->timers;
		while (*link != NULL && (*link)->deadline <= deadline)
			link = &(*link)->next;
		timer->deadline = deadline;
		timer->armed = true;
		timer->next = *link;
		*link = timer;
	}
	clock_tell_deadline(clock, before);
}

void clock_timer_cancel(struct clock_timer *timer)
{
	uint64_t before = clock_deadline(timer->clock);
	clock_unlink(timer);
	clock_tell_deadline(timer->clock, before);
}

/* Takes the earliest timer off the list and fires it. */
static void clock_fire_first(struct clock *clock)
{
	struct clock_timer *timer = clock->timers;
	clock_unlink(timer);
	timer->fire(timer->opaque);
}

uint64_t clock_run(struct clock *clock)
{
	uint64_t before = clock_deadline(clock);
	uint64_t now = clock_now(clock);
	__atomic_store_n(&clock->firing, true, __ATOMIC_RELAXED);
	while (clock->timers != NULL && !clock->paused && clock_deadline(clock) <= now)
		clock_fire_first(clock);
	__atomic_store_n(&clock->firing, false, __ATOMIC_RELAXED);
	clock_tell_deadline(clock, before);
	return clock_deadline(clock);
}

void clock_advance(struct clock *clock, uint64_t nanoseconds)
{
	assert(clock->mode == CLOCK_MANUAL);
	if (clock->paused)
		return;
	uint64_t before = clock_deadline(clock);
	uint64_t target = clock->now + nanoseconds;
	while (clock->timers != NULL && clock_deadline(clock) <= target) {
		if (clock->timers->deadline > clock->now)
			clock->now = clock->timers->deadline;
		clock_fire_first(clock);
	}
	clock->now = target;
	clock_tell_deadline(clock, before);
}
