/* SPDX-License-Identifier: MIT */
/* The simulator's random numbers, queues and tallies. */
#include <math.h>
#include <stdlib.h>

#include "plan/sim-impl.h"

#define QUEUE_ROOM 16
#define QUEUE_ROOM_MAX (1u << 30)
#define DRAW_MAX 9e18 /* ns; fits 64 bits with a sign */

/* SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). */
uint64_t sim_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* In (0, 1]. */
static double draw_unit(uint64_t *state)
{
	return ((double)(sim_random(state) >> 11) + 1) * 0x1p-53;
}

static uint64_t whole_ns(double ns)
{
	if (!(ns > 1))
		return 1;
	return ns < DRAW_MAX ? (uint64_t)(ns + 0.5) : (uint64_t)DRAW_MAX;
}

uint64_t sim_draw(uint64_t *state, const struct sim_length *length)
{
	double cv = length->cv;
	if (!(cv > 0))
		return whole_ns(length->mean_ns);
	double unit = draw_unit(state);
	if (fabs(cv - 1) < 1e-9)
		return whole_ns(-log(unit) * length->mean_ns);
	/* Box and Muller, 1958. */
	double normal = sqrt(-2 * log(unit)) * cos(2 * M_PI * draw_unit(state));
	double variance = log(1 + cv * cv);
	return whole_ns(length->mean_ns * exp(sqrt(variance) * normal - variance / 2));
}

uint64_t sim_draw_gap(uint64_t *state, double rate_per_ns)
{
	return whole_ns(-log(draw_unit(state)) / rate_per_ns);
}

bool sim_queue_push(struct sim_queue *queue, struct sim_entry entry)
{
	if (queue->count == queue->room) {
		uint32_t room = queue->room == 0 ? QUEUE_ROOM : queue->room * 2;
		struct sim_entry *larger = room <= QUEUE_ROOM_MAX ? malloc(room * sizeof *larger) : NULL;
		if (larger == NULL)
			return false;
		for (uint32_t i = 0; i < queue->count; i++)
			larger[i] = queue->entry[(queue->first + i) & (queue->room - 1)];
		free(queue->entry);
		*queue = (struct sim_queue){.entry = larger, .count = queue->count, .room = room};
	}
	queue->entry[(queue->first + queue->count++) & (queue->room - 1)] = entry;
	return true;
}

struct sim_entry sim_queue_pop(struct sim_queue *queue)
{
	bug_if(queue->count == 0);
	struct sim_entry entry = queue->entry[queue->first];
	queue->first = (queue->first + 1) & (queue->room - 1);
	queue->count--;
	return entry;
}

void sim_queue_free(struct sim_queue *queue)
{
	free(queue->entry);
	*queue = (struct sim_queue){0};
}

/* Eight buckets for each power of two; up to 7 ns one for each. */
static unsigned bucket_of(uint64_t ns)
{
	if (ns < 8)
		return (unsigned)ns;
	unsigned top = 63 - (unsigned)__builtin_clzll(ns);
	return (top - 2) * 8 + (unsigned)(ns >> (top - 3) & 7);
}

static double bucket_end(unsigned bucket)
{
	if (bucket < 8)
		return bucket;
	return ldexp(8 + bucket % 8 + 1, (int)(bucket / 8) - 1);
}

void sim_tally_add(struct sim_tally *tally, uint64_t ns)
{
	tally->count++;
	tally->sum += (double)ns;
	tally->longest = ns > tally->longest ? ns : tally->longest;
	tally->bucket[bucket_of(ns)]++;
}

static double tally_point(const struct sim_tally *tally, double share)
{
	uint64_t seen = 0;
	for (unsigned i = 0; i < TALLY_BUCKETS; i++) {
		seen += tally->bucket[i];
		if ((double)seen >= share * (double)tally->count)
			return fmin(bucket_end(i), (double)tally->longest);
	}
	return (double)tally->longest;
}

struct sim_delay sim_tally_delay(const struct sim_tally *tally)
{
	if (tally->count == 0)
		return (struct sim_delay){0};
	return (struct sim_delay){.count = tally->count,
				  .mean_ns = tally->sum / (double)tally->count,
				  .p95_ns = tally_point(tally, 0.95),
				  .p99_ns = tally_point(tally, 0.99),
				  .longest_ns = (double)tally->longest};
}
