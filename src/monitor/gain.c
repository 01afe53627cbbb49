/* SPDX-License-Identifier: MIT */
#include <stddef.h>

#include "monitor/monitor.h"

static uint64_t grown(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

static void words_grown(uint64_t *gain, const uint64_t *now, const uint64_t *before, size_t count)
{
	for (size_t i = 0; i < count; i++)
		gain[i] = grown(now[i], before[i]);
}

/* A clock that was read unsettled may have run ahead of what it was settled to (docs/ledger.md): its gain is then 0,
 * and what it was ahead by is taken from the largest, so that the sum stays the wall time's. */
static void clocks_grown(struct ledger_reading *gain, const struct ledger_reading *now,
			 const struct ledger_reading *before)
{
	uint64_t sum = 0;
	unsigned largest = 0;
	gain->wall_ns = grown(now->wall_ns, before->wall_ns);
	words_grown(gain->state_ns, now->state_ns, before->state_ns, LEDGER_STATE_COUNT);
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++) {
		sum += gain->state_ns[i];
		largest = gain->state_ns[i] > gain->state_ns[largest] ? i : largest;
	}
	uint64_t *of = &gain->state_ns[largest];
	*of = sum > gain->wall_ns ? grown(*of, sum - gain->wall_ns) : *of + (gain->wall_ns - sum);
}

static void reading_grown(struct ledger_reading *gain, const struct ledger_reading *now,
			  const struct ledger_reading *before)
{
	clocks_grown(gain, now, before);
	gain->unsettled_ns = now->unsettled_ns;
	gain->state = now->state;
	words_grown(gain->count, now->count, before->count, LEDGER_COUNTER_COUNT);
	for (unsigned i = 0; i < LEDGER_KIND_COUNT; i++) {
		gain->kind[i].count = grown(now->kind[i].count, before->kind[i].count);
		gain->kind[i].samples = grown(now->kind[i].samples, before->kind[i].samples);
		gain->kind[i].ns = grown(now->kind[i].ns, before->kind[i].ns);
	}
	for (unsigned i = 0; i < LEDGER_DELAY_COUNT; i++) {
		gain->delay[i].count = grown(now->delay[i].count, before->delay[i].count);
		gain->delay[i].ns = grown(now->delay[i].ns, before->delay[i].ns);
		words_grown(gain->delay[i].bucket, now->delay[i].bucket, before->delay[i].bucket, LEDGER_DELAY_BUCKETS);
	}
}

void monitor_subtract(const struct monitor_totals *now, const struct monitor_totals *before,
		      struct monitor_totals *gain)
{
	_Static_assert(sizeof now->disk[0] % sizeof(uint64_t) == 0, "disk lines are words");
	gain->system_ns = grown(now->system_ns, before->system_ns);
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++)
		reading_grown(&gain->vcpu[i], &now->vcpu[i], &before->vcpu[i]);
	words_grown(&gain->network[0][0], &now->network[0][0], &before->network[0][0],
		    sizeof now->network / sizeof(uint64_t));
	for (unsigned i = 0; i < LEDGER_TIMER_COUNT; i++)
		words_grown(gain->ticks[i].count, now->ticks[i].count, before->ticks[i].count,
			    LEDGER_TICK_COUNTER_COUNT);
	for (unsigned i = 0; i < LEDGER_MAX_DISKS; i++)
		words_grown((uint64_t *)&gain->disk[i], (const uint64_t *)&now->disk[i],
			    (const uint64_t *)&before->disk[i], sizeof now->disk[i] / sizeof(uint64_t));
}
