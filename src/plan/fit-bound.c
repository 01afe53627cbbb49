/* SPDX-License-Identifier: MIT */
/*
 * Fewer hosts than this cannot do. Each argument looks at one moment and one resource, or at sets of guests, so each
 * is true whatever the placement:
 *
 * - The sum: at each moment the hosts together must carry all guests. With several kinds of host it is the cheapest
 *   fractional cover.
 * - Big guests: functions that enlarge big demands and drop small ones, such that what fits a host still sums to at
 *   most 1 (dual feasible functions; Fekete and Schepers, "New classes of lower bounds for bin packing problems",
 *   2001): u(k) counts how often a demand holds a (k+1)th of a host, f(l) takes what exceeds 1-l for a whole host and
 *   drops what is below l.
 * - Apart: guests of which no two can share a host, because at some moment they exceed some resource or because they
 *   must be apart. A set of them needs as many hosts. It is found greedily.
 * - Sets: which of the largest guests fit a host together, over the whole time (fit-sets.c).
 *
 * A demand is known as a number of quanta, rounded up: it is more than one quantum less. Everything here uses that, so
 * that no bound is too high by rounding. With a percentile only a weaker form of the sum holds.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/fit-impl.h"

#define BIG_WORK 8000000 /* demands that are looked at for one resource */
#define BIG_PARTS 24	 /* u(1) to u(this) */
#define APART_MAX 1500	 /* items that are compared with each other */

static void bound_offer(struct fit_bound *bound, unsigned hosts, enum fit_proof proof, enum resource resource,
			unsigned sample)
{
	if (hosts <= bound->hosts)
		return;
	bound->hosts = hosts;
	bound->proof = proof;
	bound->resource = resource;
	bound->sample = sample;
}

/* The least of hosts (or of cost) whose capacities sum to `quanta`, in fractions of hosts; INFINITY if there are too
 * few. */
static double cover(const struct fit_space *space, unsigned r, double quanta, bool by_cost)
{
	const struct fit_task *task = space->task;
	bool used[FIT_CLASSES_MAX] = {false};
	double total = 0;
	while (quanta > 0) {
		unsigned best = FIT_NONE;
		double best_rate = 0;
		for (unsigned c = 0; c < task->classes; c++) {
			double rate = (space->capacity[c][r] + 1) / (by_cost ? task->host_class[c].cost : 1);
			if (!used[c] && rate > best_rate) {
				best = c;
				best_rate = rate;
			}
		}
		if (best == FIT_NONE)
			return INFINITY;
		used[best] = true;
		/* A smaller kind's capacity was rounded down by less than a quantum. */
		double capacity = space->capacity[best][r] + (space->capacity[best][r] < FIT_FULL ? 1 : 0);
		double need = quanta / capacity;
		if (task->host_class[best].limit != 0 && need > task->host_class[best].limit)
			need = task->host_class[best].limit;
		total += need * (by_cost ? task->host_class[best].cost : 1);
		quanta -= need * capacity;
		if (quanta < 1e-6)
			quanta = 0;
	}
	return total;
}

static bool sum_bound(const struct fit_space *space, struct fit_bound *bound, struct error *error)
{
	for (unsigned r = 0; r < space->resources; r++) {
		const int64_t *sum = space->sum + r * space->stride;
		size_t peak = 0;
		for (size_t i = 1; i < space->samples; i++)
			peak = sum[i] > sum[peak] ? i : peak;
		double quanta = (double)sum[peak] / SUM_PARTS;
		double hosts = cover(space, r, quanta, false);
		if (isinf(hosts))
			return error_set(error, ERROR_INPUT,
					 "no fit: at sample %zu all guests together need %.6g %s of %s, more than all "
					 "hosts that there may be",
					 peak, quanta * space->quantum[r], resource_unit[space->resource[r]],
					 resource_key[space->resource[r]]);
		bound_offer(bound, (unsigned)ceil(hosts - 1e-6), FIT_PROOF_SUM, space->resource[r], (unsigned)peak);
		double cost = cover(space, r, quanta, true);
		bound->cost = cost > bound->cost ? cost : bound->cost;
	}
	return true;
}

static int sum_compare(const void *a, const void *b)
{
	int64_t one = *(const int64_t *)a, two = *(const int64_t *)b;
	return one > two ? -1 : one < two;
}

/*
 * N hosts may be over in N * allowed moments, one host each. In all others the sum must fit N hosts.
 */
static bool percentile_bound(const struct fit_space *space, struct fit_bound *bound, struct error *error)
{
	int64_t *sorted = malloc(space->samples * sizeof *sorted);
	if (sorted == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	for (unsigned r = 0; r < space->resources; r++) {
		memcpy(sorted, space->sum + r * space->stride, space->samples * sizeof *sorted);
		qsort(sorted, space->samples, sizeof *sorted, sum_compare);
		unsigned hosts = 1;
		while ((size_t)hosts * space->allowed < space->samples &&
		       (double)sorted[(size_t)hosts * space->allowed] > (double)hosts * FIT_FULL * SUM_PARTS)
			hosts++;
		bound_offer(bound, hosts, FIT_PROOF_SUM, space->resource[r], 0);
	}
	free(sorted);
	return true;
}

/* u(k): demands q hold floor((q - 1) * (k + 1) / FIT_FULL) parts, a host holds k. */
static unsigned parts_bound(const uint16_t *demand, unsigned count, unsigned k)
{
	uint64_t parts = 0;
	for (unsigned i = 0; i < count; i++)
		parts += (uint64_t)(demand[i] - 1) * (k + 1) / FIT_FULL;
	return (unsigned)((parts + k - 1) / k);
}

static int demand_compare(const void *a, const void *b)
{
	return (int)*(const uint16_t *)b - (int)*(const uint16_t *)a;
}

/* f(l) for every l that matters: each demand up to a half. Demands fall; above[i] is the sum of the first i. */
static unsigned threshold_bound(const uint16_t *demand, unsigned count, double *above)
{
	double best = 0;
	above[0] = 0;
	for (unsigned i = 0; i < count; i++)
		above[i + 1] = above[i] + demand[i] - 1;
	unsigned whole = 0;
	while (whole < count && 2 * (demand[whole] - 1) >= FIT_FULL)
		whole++;
	/* From l = 1/2 downwards: fewer count for a whole host, more are counted at all. */
	for (unsigned last = whole; last <= count; last++) {
		unsigned least = last < count ? demand[last] - 1U : 0;
		while (whole != 0 && demand[whole - 1] - 1U + least < FIT_FULL)
			whole--;
		unsigned end = last < count ? last + 1 : count;
		double hosts = whole + (above[end] - above[whole]) / FIT_FULL;
		best = hosts > best ? hosts : best;
	}
	return (unsigned)ceil(best - 1e-6);
}

struct big {
	const struct fit_space *space;
	unsigned resource;
	unsigned *sample; /* those that are looked at */
	unsigned *hosts;  /* by them */
};

static void big_some(void *context, size_t first, size_t last)
{
	struct big *big = context;
	const struct fit_space *space = big->space;
	uint16_t *demand = malloc((space->items + 1) * sizeof *demand);
	double *above = malloc((space->items + 1) * sizeof *above);
	for (size_t s = first; s < last && demand != NULL && above != NULL; s++) {
		unsigned count = 0, best = 0;
		for (unsigned i = 0; i < space->items; i++) {
			uint16_t quanta = item_series(space, i, big->resource)[big->sample[s]];
			if (quanta > 1)
				demand[count++] = quanta;
		}
		qsort(demand, count, sizeof *demand, demand_compare);
		for (unsigned k = 1; k <= BIG_PARTS; k++) {
			unsigned hosts = parts_bound(demand, count, k);
			best = hosts > best ? hosts : best;
		}
		unsigned hosts = threshold_bound(demand, count, above);
		big->hosts[s] = hosts > best ? hosts : best;
	}
	free(demand);
	free(above);
}

struct moment {
	int64_t sum;
	unsigned sample;
};

static int moment_compare(const void *a, const void *b)
{
	const struct moment *one = a, *two = b;
	if (one->sum != two->sum)
		return one->sum > two->sum ? -1 : 1;
	return one->sample < two->sample ? -1 : 1;
}

static bool big_bound(const struct fit_space *space, struct fit_bound *bound)
{
	size_t count = BIG_WORK / space->items + 1;
	count = count < space->samples ? count : space->samples;
	struct moment *moment = malloc(space->samples * sizeof *moment);
	struct big big = {.space = space};
	big.sample = malloc(count * sizeof *big.sample);
	big.hosts = calloc(count, sizeof *big.hosts);
	bool good = moment != NULL && big.sample != NULL && big.hosts != NULL;
	for (unsigned r = 0; good && r < space->resources; r++) {
		for (size_t i = 0; i < space->samples; i++)
			moment[i] = (struct moment){space->sum[r * space->stride + i], (unsigned)i};
		qsort(moment, space->samples, sizeof *moment, moment_compare);
		for (size_t i = 0; i < count; i++)
			big.sample[i] = moment[i].sample;
		big.resource = r;
		pool_run(space->pool, count, 8, big_some, &big);
		for (size_t i = 0; i < count; i++)
			bound_offer(bound, big.hosts[i], FIT_PROOF_BIG, space->resource[r], big.sample[i]);
	}
	free(moment);
	free(big.sample);
	free(big.hosts);
	return good;
}

struct apart {
	const struct fit_space *space;
	unsigned *item;
	unsigned items;
	uint8_t *edge; /* [items][items] */
	unsigned *degree;
};

/* In no host, however large: at some moment the two exceed the largest capacity of a resource. */
static bool exceed(const struct fit_space *space, unsigned a, unsigned b)
{
	for (unsigned r = 0; r < space->resources; r++) {
		const uint16_t *one = item_series(space, a, r), *two = item_series(space, b, r);
		const uint16_t *high_one = space->high + item_summary(space, a, r);
		const uint16_t *high_two = space->high + item_summary(space, b, r);
		for (size_t k = 0; k < space->blocks; k++)
			if (high_one[k] + high_two[k] > FIT_FULL + 1 &&
			    space->kernel->count_over(one + k * FIT_BLOCK, two + k * FIT_BLOCK, FIT_FULL + 1,
						      FIT_BLOCK) != 0)
				return true;
	}
	return false;
}

bool fit_must_part(const struct fit_space *space, unsigned a, unsigned b)
{
	const struct fit_item *one = &space->item[a], *two = &space->item[b];
	if (one->pin != FIT_NONE && two->pin != FIT_NONE && one->pin != two->pin)
		return true;
	for (unsigned i = 0; i < one->aparts; i++)
		for (unsigned k = 0; k < two->aparts; k++)
			if (one->apart[i] == two->apart[k])
				return true;
	return false;
}

static void edges_some(void *context, size_t first, size_t last)
{
	struct apart *apart = context;
	for (size_t i = first; i < last; i++)
		for (size_t k = 0; k < apart->items; k++) {
			bool edge =
			    k != i &&
			    (fit_must_part(apart->space, apart->item[i], apart->item[k]) ||
			     (apart->space->allowed == 0 && exceed(apart->space, apart->item[i], apart->item[k])));
			apart->edge[i * apart->items + k] = edge;
			apart->degree[i] += edge;
		}
}

/* From a first item on, always the one with most edges that is apart from all so far. */
static unsigned apart_grow(const struct apart *apart, unsigned first, uint8_t *open)
{
	unsigned size = 1;
	memcpy(open, apart->edge + (size_t)first * apart->items, apart->items);
	for (;;) {
		unsigned best = FIT_NONE;
		for (unsigned i = 0; i < apart->items; i++)
			if (open[i] && (best == FIT_NONE || apart->degree[i] > apart->degree[best]))
				best = i;
		if (best == FIT_NONE)
			return size;
		for (unsigned i = 0; i < apart->items; i++)
			open[i] &= apart->edge[(size_t)best * apart->items + i];
		size++;
	}
}

static bool apart_bound(const struct fit_space *space, struct fit_bound *bound)
{
	struct apart apart = {.space = space};
	apart.item = malloc((space->items + 1) * sizeof *apart.item);
	if (apart.item == NULL)
		return false;
	/* Of two that exceed a host together one is above half of it. */
	for (unsigned i = 0; i < space->items && apart.items < APART_MAX; i++)
		if (space->item[i].size > FIT_FULL / 5 || space->item[i].aparts != 0 || space->item[i].pin != FIT_NONE)
			apart.item[apart.items++] = i;
	size_t items = apart.items;
	apart.edge = calloc(items * items + 1, 1);
	apart.degree = calloc(items + 1, sizeof *apart.degree);
	uint8_t *open = malloc(items + 1);
	bool good = apart.edge != NULL && apart.degree != NULL && open != NULL;
	if (good)
		pool_run(space->pool, items, 8, edges_some, &apart);
	for (unsigned i = 0; good && i < items; i++)
		bound_offer(bound, apart_grow(&apart, i, open), FIT_PROOF_APART, space->resource[0], 0);
	free(apart.item);
	free(apart.edge);
	free(apart.degree);
	free(open);
	return good;
}

static bool sets_bound(const struct fit_space *space, struct fit_bound *bound)
{
	unsigned hosts;
	if (!fit_bound_sets(space, bound->hosts, &hosts))
		return false;
	bound_offer(bound, hosts, FIT_PROOF_SETS, space->resource[0], 0);
	return true;
}

bool fit_bound_find(const struct fit_space *space, struct fit_bound *bound, struct error *error)
{
	const struct fit_task *task = space->task;
	*bound = (struct fit_bound){.hosts = 0};
	if (!(space->allowed != 0 ? percentile_bound(space, bound, error) : sum_bound(space, bound, error)))
		return false;
	if ((space->allowed == 0 && !big_bound(space, bound)) || !apart_bound(space, bound) ||
	    (space->allowed == 0 && !sets_bound(space, bound)))
		return error_set(error, ERROR_HOST, "out of memory");
	double cheapest = task->host_class[0].cost;
	for (unsigned c = 1; c < task->classes; c++)
		cheapest = task->host_class[c].cost < cheapest ? task->host_class[c].cost : cheapest;
	if (bound->hosts * cheapest > bound->cost)
		bound->cost = bound->hosts * cheapest;
	return true;
}
