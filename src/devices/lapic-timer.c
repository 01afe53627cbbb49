/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's timer (SDM 3A, "APIC Timer").
 *
 * One-shot and periodic: the count is a function of the time since the initial count was written, so a masked timer
 * counts without being armed. TSC-deadline: the deadline is kept as the guest wrote it; the virtual clock's timer
 * stands where the vCPU's TSC reaches it.
 */
#include "devices/lapic-impl.h"

_Static_assert(LAPIC_TIMER_HZ == CLOCK_SECOND, "a tick of the undivided timer is a nanosecond");

static unsigned timer_shift(const struct lapic *lapic)
{
	uint32_t divide = lapic->reg[LAPIC_DIVIDE];
	return (((divide & 3) | (divide >> 1 & 4)) + 1) & 7; /* 7 means divide by one */
}

static uint32_t timer_mode(const struct lapic *lapic)
{
	return lapic->reg[LAPIC_LVT_TIMER] & LVT_TIMER_MODE;
}

/* From the start to the count of zero, in nanoseconds. */
static uint64_t timer_period(const struct lapic *lapic)
{
	uint64_t period = (uint64_t)lapic->reg[LAPIC_INITIAL_COUNT] << timer_shift(lapic);
	if (timer_mode(lapic) == LVT_TIMER_PERIODIC && period < LAPIC_MINIMUM_PERIOD_NS)
		return LAPIC_MINIMUM_PERIOD_NS;
	return period;
}

uint32_t lapic_timer_current(const struct lapic *lapic)
{
	if (lapic->reg[LAPIC_INITIAL_COUNT] == 0 || (timer_mode(lapic) & LVT_TIMER_DEADLINE))
		return 0;
	uint64_t period = timer_period(lapic);
	uint64_t elapsed = clock_now(lapic->config.clock) - lapic->timer_start;
	if (timer_mode(lapic) == LVT_TIMER_PERIODIC)
		elapsed %= period;
	if (elapsed >= period)
		return 0;
	uint64_t left = (period - elapsed) >> timer_shift(lapic);
	return left < lapic->reg[LAPIC_INITIAL_COUNT] ? (uint32_t)left : lapic->reg[LAPIC_INITIAL_COUNT];
}

static uint64_t timer_vcpu_tsc(const struct lapic *lapic)
{
	const struct lapic_config *config = &lapic->config;
	return config->tsc != NULL ? config->tsc(config->tsc_opaque) : clock_tsc(config->clock);
}

/* The virtual time of the deadline. The vCPU's TSC is read first, so that it is never early. */
static uint64_t timer_deadline_ns(const struct lapic *lapic)
{
	if (lapic->tsc_deadline == 0)
		return CLOCK_NEVER;
	uint64_t vcpu_tsc = timer_vcpu_tsc(lapic);
	uint64_t tsc = clock_tsc(lapic->config.clock);
	if (lapic->tsc_deadline <= vcpu_tsc)
		return 0;
	uint64_t left = lapic->tsc_deadline - vcpu_tsc;
	return left > UINT64_MAX - tsc ? CLOCK_NEVER : clock_tsc_to_ns(lapic->config.clock, tsc + left);
}

static uint64_t timer_count_ns(const struct lapic *lapic)
{
	if (lapic->reg[LAPIC_INITIAL_COUNT] == 0 || (lapic->reg[LAPIC_LVT_TIMER] & LVT_MASKED))
		return CLOCK_NEVER;
	uint64_t period = timer_period(lapic);
	uint64_t elapsed = clock_now(lapic->config.clock) - lapic->timer_start;
	if (timer_mode(lapic) == LVT_TIMER_PERIODIC)
		return lapic->timer_start + (elapsed / period + 1) * period;
	return elapsed < period ? lapic->timer_start + period : CLOCK_NEVER;
}

void lapic_timer_arm(struct lapic *lapic)
{
	bool deadline = (timer_mode(lapic) & LVT_TIMER_DEADLINE) != 0;
	clock_timer_set(&lapic->timer, deadline ? timer_deadline_ns(lapic) : timer_count_ns(lapic));
}

/* The timer was due at `deadline`. Periods that have ended since then are merged with this one. */
static void count_ticks(struct lapic *lapic, uint64_t deadline)
{
	if (timer_mode(lapic) != LVT_TIMER_PERIODIC || !lapic_software_enabled(lapic) ||
	    (lapic->reg[LAPIC_LVT_TIMER] & LVT_MASKED))
		return;
	uint64_t period = timer_period(lapic);
	uint64_t more = (clock_now(lapic->config.clock) - deadline) / period;
	ticks_due(&lapic->ticks, 1 + more, period);
	ticks_lost(&lapic->ticks, more);
	ticks_raise(&lapic->ticks);
	lapic->tick_vector = lapic->reg[LAPIC_LVT_TIMER] & LVT_VECTOR;
}

void lapic_timer_fire(void *opaque)
{
	struct lapic *lapic = opaque;
	count_ticks(lapic, lapic->timer.deadline);
	lapic->tsc_deadline = 0;
	lapic_timer_arm(lapic);
	lapic_lvt_fire(lapic, LAPIC_LVT_TIMER);
}

void lapic_timer_set_initial(struct lapic *lapic, uint32_t count)
{
	if (timer_mode(lapic) & LVT_TIMER_DEADLINE)
		return;
	lapic->reg[LAPIC_INITIAL_COUNT] = count;
	lapic->timer_start = clock_now(lapic->config.clock);
	lapic_timer_arm(lapic);
}

/* A running count goes on at the new rate. */
void lapic_timer_set_divide(struct lapic *lapic, uint32_t divide)
{
	uint32_t counted = lapic->reg[LAPIC_INITIAL_COUNT] - lapic_timer_current(lapic);
	lapic->reg[LAPIC_DIVIDE] = divide;
	lapic->timer_start = clock_now(lapic->config.clock) - ((uint64_t)counted << timer_shift(lapic));
	lapic_timer_arm(lapic);
}

/* Changing between TSC-deadline and the other modes disarms. */
void lapic_timer_set_lvt(struct lapic *lapic, uint32_t lvt)
{
	uint32_t changed = lapic->reg[LAPIC_LVT_TIMER] ^ lvt;
	lapic->reg[LAPIC_LVT_TIMER] = lvt;
	if (changed & LVT_TIMER_DEADLINE) {
		lapic->tsc_deadline = 0;
		lapic->reg[LAPIC_INITIAL_COUNT] = 0;
	}
	lapic_timer_arm(lapic);
}

/* A deadline that has passed fires at once; zero disarms. */
void lapic_timer_set_deadline(struct lapic *lapic, uint64_t deadline)
{
	if (timer_mode(lapic) != LVT_TIMER_DEADLINE)
		return;
	lapic->tsc_deadline = deadline;
	if (deadline != 0 && timer_deadline_ns(lapic) == 0)
		lapic_timer_fire(lapic);
	else
		lapic_timer_arm(lapic);
}

/* The deadline is a value of the vCPU's TSC: when that jumps, the time of the deadline does. */
void lapic_tsc_changed(void *opaque)
{
	struct lapic *lapic = opaque;
	device_lock_take(&lapic->config.lock);
	lapic_timer_set_deadline(lapic, lapic->tsc_deadline);
	device_lock_drop(&lapic->config.lock);
}
