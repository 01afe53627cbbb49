/* SPDX-License-Identifier: MIT */
/*
 * Local search: one host is emptied into a pool, and the pool into the other hosts.
 *
 * An item of the pool goes where it fits. If it fits nowhere it goes to a host that has room once one or two others are
 * thrown out, and those go into the pool. Which are thrown out is learned: an item costs as much as it has failed to be
 * placed before (Nagata and Braysy, "A powerful route minimization heuristic", 2009). Between steps a few items
 * that fit elsewhere too are moved at random, so that the search does not go in circles.
 *
 * The budget is counted in tests of an item on a host, never in seconds: the same task gives the same result.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/fit-impl.h"

#define VIOLATIONS_MAX 2048 /* samples over capacity that are kept to test ejections by; with more, none is tried */
#define PAIR_ITEMS_MAX 64
#define SHAKES 4

struct violation {
	size_t at; /* in the load of a bin: resource * stride + sample */
	unsigned excess;
};

struct way {
	uint64_t cost; /* UINT64_MAX: none */
	int64_t score; /* with nothing thrown out, how well it fits */
	unsigned out[2], outs;
};

struct search {
	struct fit_state *state;
	unsigned *pool, pooled;
	unsigned *penalty; /* by item */
	struct way *way;   /* by bin */
	unsigned item;	   /* what is being placed */
};

static size_t violations_find(const struct fit_state *state, const struct fit_bin *bin, unsigned item,
			      struct violation *violation)
{
	const struct fit_space *space = state->space;
	size_t count = 0;
	for (unsigned r = 0; r < space->resources; r++) {
		uint16_t capacity = space->capacity[bin->host_class][r];
		const uint16_t *high = space->high + item_summary(space, item, r),
			       *series = item_series(space, item, r);
		for (size_t b = 0; b < space->blocks; b++) {
			if (high[b] + bin->high[r * space->blocks + b] <= capacity)
				continue;
			for (size_t i = b * FIT_BLOCK; i < (b + 1) * FIT_BLOCK; i++) {
				unsigned sum = (unsigned)bin->load[r * space->stride + i] + series[i];
				if (sum <= capacity)
					continue;
				if (count == VIOLATIONS_MAX)
					return SIZE_MAX;
				violation[count++] = (struct violation){r * space->stride + i, sum - capacity};
			}
		}
	}
	return count;
}

/* Whether one or two items cover every excess. What fails moves to the front: it will fail the next ones too. */
static bool covers(struct violation *violation, size_t count, const uint16_t *one, const uint16_t *two)
{
	for (size_t i = 0; i < count; i++) {
		unsigned less = one[violation[i].at] + (two != NULL ? (unsigned)two[violation[i].at] : 0U);
		if (less >= violation[i].excess)
			continue;
		struct violation moved = violation[i];
		violation[i] = violation[i / 2];
		violation[i / 2] = violation[0];
		violation[0] = moved;
		return false;
	}
	return true;
}

static bool is_movable(const struct fit_state *state, unsigned item)
{
	return state->space->item[item].pin == FIT_NONE;
}

static void way_offer(struct way *way, uint64_t cost, unsigned a, unsigned b)
{
	if (cost < way->cost)
		*way = (struct way){.cost = cost, .out = {a, b}, .outs = a == b ? 1 : 2};
}

static void ways_of_one(const struct search *search, unsigned number, struct violation *violation, size_t count,
			struct way *way)
{
	const struct fit_state *state = search->state;
	const struct fit_bin *bin = &state->bin[number];
	for (unsigned i = 0; i < bin->items; i++) {
		unsigned out = bin->item[i];
		if (is_movable(state, out) && search->penalty[out] < way->cost &&
		    covers(violation, count, item_series(state->space, out, 0), NULL) &&
		    fit_may_without(state, number, search->item, out, out))
			way_offer(way, search->penalty[out], out, out);
	}
}

static void ways_of_two(const struct search *search, unsigned number, struct violation *violation, size_t count,
			struct way *way)
{
	const struct fit_state *state = search->state;
	const struct fit_bin *bin = &state->bin[number];
	if (bin->items > PAIR_ITEMS_MAX)
		return;
	for (unsigned i = 0; i < bin->items; i++)
		for (unsigned k = i + 1; k < bin->items; k++) {
			unsigned a = bin->item[i], b = bin->item[k];
			uint64_t cost = (uint64_t)search->penalty[a] + search->penalty[b];
			if (cost < way->cost && is_movable(state, a) && is_movable(state, b) &&
			    covers(violation, count, item_series(state->space, a, 0),
				   item_series(state->space, b, 0)) &&
			    fit_may_without(state, number, search->item, a, b))
				way_offer(way, cost, a, b);
		}
}

static void way_by_percentile(const struct search *search, unsigned number, struct way *way)
{
	const struct fit_state *state = search->state;
	const struct fit_bin *bin = &state->bin[number];
	for (unsigned i = 0; i < bin->items; i++)
		if (is_movable(state, bin->item[i]) && search->penalty[bin->item[i]] < way->cost &&
		    fit_swap_fits(state, number, bin->item[i], search->item))
			way_offer(way, search->penalty[bin->item[i]], bin->item[i], bin->item[i]);
}

/* How the item gets into one bin. */
static void way_find(const struct search *search, unsigned number, struct violation *violation)
{
	const struct fit_state *state = search->state;
	const struct fit_bin *bin = &state->bin[number];
	const struct fit_item *it = &state->space->item[search->item];
	struct way *way = &search->way[number];
	*way = (struct way){.cost = UINT64_MAX};
	if ((it->barred & (UINT32_C(1) << bin->host_class)) || (it->pin != FIT_NONE && it->pin != bin->site))
		return;
	if (fit_fits(state, number, search->item)) {
		*way = (struct way){.cost = 0, .score = fit_score(state, bin->rest, search->item)};
		return;
	}
	if (state->space->allowed != 0) {
		way_by_percentile(search, number, way);
		return;
	}
	size_t count = violations_find(state, bin, search->item, violation);
	if (count == SIZE_MAX)
		return;
	ways_of_one(search, number, violation, count, way);
	if (way->cost > search->penalty[search->item])
		ways_of_two(search, number, violation, count, way);
}

static void ways_some(void *context, size_t first, size_t last)
{
	const struct search *search = context;
	struct violation violation[VIOLATIONS_MAX];
	for (size_t i = first; i < last; i++)
		way_find(search, (unsigned)i, violation);
}

/* Of the ways without ejection the tightest: what is left after it is least. Of the others the cheapest. */
static unsigned way_choose(struct search *search)
{
	unsigned best = FIT_NONE, equals = 0;
	for (unsigned i = 0; i < search->state->bins; i++) {
		const struct way *way = &search->way[i], *than = best != FIT_NONE ? &search->way[best] : NULL;
		if (way->cost == UINT64_MAX)
			continue;
		if (than == NULL || way->cost < than->cost || (way->cost == 0 && way->score < than->score)) {
			best = i;
			equals = 1;
		} else if (way->cost == than->cost && way->cost != 0 &&
			   fit_state_random(search->state, ++equals) == 0) {
			best = i;
		}
	}
	return best;
}

static bool shake(struct search *search)
{
	struct fit_state *state = search->state;
	for (unsigned i = 0; i < SHAKES && state->bins > 1; i++) {
		unsigned item = fit_state_random(state, state->space->items);
		unsigned to = fit_state_random(state, state->bins);
		unsigned from = state->bin_of[item];
		if (from == FIT_NONE || from == to || !is_movable(state, item) || !fit_fits(state, to, item))
			continue;
		fit_state_take(state, item);
		if (!fit_state_put(state, to, item))
			return false;
	}
	return true;
}

/* One item of the pool; false without memory or when it can go nowhere. */
static bool step(struct search *search)
{
	struct fit_state *state = search->state;
	search->item = search->pool[search->pooled - 1];
	pool_run(state->space->pool, state->bins, 16, ways_some, search);
	unsigned bin = way_choose(search);
	if (bin == FIT_NONE)
		return false;
	struct way way = search->way[bin];
	search->pooled--;
	for (unsigned i = 0; i < way.outs; i++) {
		fit_state_take(state, way.out[i]);
		search->pool[search->pooled++] = way.out[i];
	}
	if (!fit_state_put(state, bin, search->item))
		return false;
	if (way.outs == 0)
		return true;
	search->penalty[search->item]++;
	return shake(search);
}

static int by_size(const void *a, const void *b, void *context)
{
	const struct fit_space *space = context;
	unsigned one = *(const unsigned *)a, two = *(const unsigned *)b;
	if (space->worth[one] != space->worth[two])
		return space->worth[one] < space->worth[two] ? -1 : 1;
	return one < two ? -1 : one > two;
}

bool fit_eject(struct fit_state *state, unsigned *pool, unsigned *pooled, unsigned steps)
{
	const struct fit_space *space = state->space;
	struct search search = {.state = state, .pool = pool, .pooled = *pooled};
	search.penalty = malloc((space->items + 1) * sizeof *search.penalty);
	search.way = malloc((state->bins + 1) * sizeof *search.way);
	bool good = search.penalty != NULL && search.way != NULL;
	for (unsigned i = 0; good && i < space->items; i++)
		search.penalty[i] = 1;
	qsort_r(pool, *pooled, sizeof *pool, by_size, (void *)space);
	steps = steps < state->steps ? steps : state->steps;
	unsigned used = 0;
	for (; good && search.pooled != 0 && used < steps; used += state->bins)
		good = step(&search);
	state->steps -= used < state->steps ? used : state->steps;
	*pooled = search.pooled;
	free(search.penalty);
	free(search.way);
	return good && search.pooled == 0;
}
