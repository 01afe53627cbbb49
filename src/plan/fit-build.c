/* SPDX-License-Identifier: MIT */
/*
 * The first placement, one host at a time: of the items that still fit, the host takes the one with the highest score,
 * until none fits. An item that did not fit a host will not fit it when there is more on it, so each is tried once.
 *
 * Tests run ahead on several threads. The winner is the first in the order of scores, so the result is the same with
 * any number of them.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/fit-impl.h"

#define AHEAD 16 /* tests that run together */

struct candidate {
	int64_t score;
	unsigned item;
	bool fits;
};

struct filling {
	struct fit_state *state;
	unsigned bin;
	struct candidate *candidate;
	unsigned candidates;
	unsigned first; /* of the tests that run now */
};

static void score_some(void *context, size_t first, size_t last)
{
	struct filling *filling = context;
	const int16_t *rest = filling->state->bin[filling->bin].rest;
	for (size_t i = first; i < last; i++)
		filling->candidate[i].score = fit_score(filling->state, rest, filling->candidate[i].item);
}

static void test_some(void *context, size_t first, size_t last)
{
	struct filling *filling = context;
	for (size_t i = first; i < last; i++) {
		struct candidate *candidate = &filling->candidate[filling->first + i];
		candidate->fits = fit_fits(filling->state, filling->bin, candidate->item);
	}
}

static bool is_better(const struct candidate *a, const struct candidate *b)
{
	return a->score != b->score ? a->score > b->score : a->item < b->item;
}

static int candidate_compare(const void *a, const void *b)
{
	return is_better(a, b) ? -1 : 1;
}

static void candidate_swap(struct candidate *a, struct candidate *b)
{
	struct candidate copy = *a;
	*a = *b;
	*b = copy;
}

/* Most of the time the best one fits: it is looked for without sorting. */
static bool best_fits(struct filling *filling)
{
	unsigned best = 0;
	for (unsigned i = 1; i < filling->candidates; i++)
		if (is_better(&filling->candidate[i], &filling->candidate[best]))
			best = i;
	candidate_swap(&filling->candidate[0], &filling->candidate[best]);
	return fit_fits(filling->state, filling->bin, filling->candidate[0].item);
}

/* Removes the candidates that were found not to fit, and the winner. The order need not be kept. */
static void candidates_drop(struct filling *filling, unsigned first, unsigned last)
{
	memmove(&filling->candidate[first], &filling->candidate[last],
		(filling->candidates - last) * sizeof filling->candidate[0]);
	filling->candidates -= last - first;
}

/* The item that goes in next, out of the candidates; FIT_NONE if none fits. */
static unsigned next_item(struct filling *filling)
{
	if (filling->candidates == 0)
		return FIT_NONE;
	pool_run(filling->state->space->pool, filling->candidates, 256, score_some, filling);
	if (best_fits(filling)) {
		unsigned item = filling->candidate[0].item;
		filling->candidate[0] = filling->candidate[--filling->candidates];
		return item;
	}
	qsort(filling->candidate, filling->candidates, sizeof filling->candidate[0], candidate_compare);
	for (filling->first = 1; filling->first < filling->candidates;) {
		unsigned count = filling->candidates - filling->first;
		count = count < AHEAD ? count : AHEAD;
		pool_run(filling->state->space->pool, count, 4, test_some, filling);
		for (unsigned i = 0; i < count; i++) {
			unsigned at = filling->first + i;
			if (!filling->candidate[at].fits)
				continue;
			unsigned item = filling->candidate[at].item;
			candidates_drop(filling, 0, at + 1);
			return item;
		}
		filling->first += count;
	}
	filling->candidates = 0;
	return FIT_NONE;
}

/* Fills a bin with items of none; returns the worth of what went in, or -1 without memory. */
static int64_t bin_fill(struct fit_state *state, unsigned bin, struct candidate *candidate)
{
	struct filling filling = {.state = state, .bin = bin, .candidate = candidate};
	for (unsigned i = 0; i < state->space->items; i++)
		if (state->bin_of[i] == FIT_NONE && state->space->item[i].pin == FIT_NONE)
			candidate[filling.candidates++] = (struct candidate){.item = i};
	int64_t worth = 0;
	for (unsigned item; (item = next_item(&filling)) != FIT_NONE;) {
		if (!fit_state_put(state, bin, item))
			return -1;
		worth += state->space->worth[item];
	}
	return worth;
}

static void bin_empty(struct fit_state *state, unsigned bin)
{
	while (state->bin[bin].items != 0)
		fit_state_take(state, state->bin[bin].item[state->bin[bin].items - 1]);
	fit_state_close(state, bin);
}

/* Opens the kind of host that holds most for its cost. FIT_NONE if no kind takes anything. */
static unsigned bin_open_best(struct fit_state *state, struct candidate *candidate)
{
	const struct fit_task *task = state->space->task;
	unsigned best = FIT_NONE;
	double best_worth = 0;
	for (unsigned c = 0; c < task->classes; c++) {
		unsigned bin = fit_state_open(state, c, FIT_NONE);
		if (bin == FIT_NONE)
			continue;
		double worth = (double)bin_fill(state, bin, candidate) / task->host_class[c].cost;
		bin_empty(state, bin);
		if (worth > best_worth) {
			best_worth = worth;
			best = c;
		}
	}
	if (best == FIT_NONE)
		return FIT_NONE;
	unsigned bin = fit_state_open(state, best, FIT_NONE);
	return bin != FIT_NONE && bin_fill(state, bin, candidate) >= 0 ? bin : FIT_NONE;
}

static unsigned first_unplaced(const struct fit_state *state)
{
	for (unsigned i = 0; i < state->space->items; i++)
		if (state->bin_of[i] == FIT_NONE)
			return i;
	return FIT_NONE;
}

static bool no_host_left(const struct fit_state *state, struct error *error)
{
	unsigned item = first_unplaced(state);
	unsigned left = 0;
	for (unsigned i = 0; i < state->space->items; i++)
		left += state->bin_of[i] == FIT_NONE;
	return error_set(error, ERROR_INPUT,
			 "no fit found: all %u hosts that there may be are full, and guest '%.80s' and %u more have no "
			 "place; allow more hosts or a larger kind",
			 state->bins, state->space->task->demand->name[state->space->item[item].guest[0]], left - 1);
}

bool fit_build(struct fit_state *state, struct error *error)
{
	const struct fit_task *task = state->space->task;
	struct candidate *candidate = malloc((state->space->items + 1) * sizeof *candidate);
	bool good = candidate != NULL;
	for (unsigned bin = 0; good && bin < state->bins; bin++)
		good = bin_fill(state, bin, candidate) >= 0;
	while (good && first_unplaced(state) != FIT_NONE) {
		unsigned bin;
		if (task->classes == 1) {
			bin = fit_state_open(state, 0, FIT_NONE);
			good = bin == FIT_NONE || bin_fill(state, bin, candidate) >= 0;
		} else {
			bin = bin_open_best(state, candidate);
		}
		if (bin == FIT_NONE || state->bin[bin].items == 0) {
			free(candidate);
			return no_host_left(state, error);
		}
	}
	free(candidate);
	return good || error_set(error, ERROR_HOST, "out of memory");
}

static unsigned site_bin(struct fit_state *state, unsigned site)
{
	for (unsigned i = 0; i < state->bins; i++)
		if (state->bin[i].site == site)
			return i;
	return fit_state_open(state, state->space->task->site[site].host_class, site);
}

static bool site_put(struct fit_state *state, unsigned site, unsigned item, struct error *error)
{
	const struct fit_task *task = state->space->task;
	unsigned bin = site_bin(state, site);
	if (bin == FIT_NONE)
		return error_set(error, ERROR_INPUT,
				 "there are more named hosts of kind '%.80s' than hosts of that kind",
				 task->host_class[task->site[site].host_class].name);
	if (!fit_fits(state, bin, item))
		return error_set(error, ERROR_INPUT,
				 "no fit: guest '%.80s' is pinned to host '%.80s', where it has no room or may not be",
				 task->demand->name[state->space->item[item].guest[0]], task->site[site].name);
	return fit_state_put(state, bin, item) || error_set(error, ERROR_HOST, "out of memory");
}

/* The largest first: of an overfull host the small ones move. */
static bool sites_keep(struct fit_state *state, struct error *error)
{
	const struct fit_space *space = state->space;
	struct candidate *order = malloc((space->items + 1) * sizeof *order);
	if (order == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	bool good = true;
	for (unsigned i = 0; i < space->items; i++)
		order[i] = (struct candidate){.item = i, .score = space->item[i].size};
	qsort(order, space->items, sizeof *order, candidate_compare);
	for (unsigned i = 0; good && i < space->items; i++) {
		unsigned item = order[i].item, site = space->item[item].now;
		if (state->bin_of[item] != FIT_NONE || site == FIT_NONE)
			continue;
		unsigned bin = site_bin(state, site);
		if (bin != FIT_NONE && fit_fits(state, bin, item))
			good = fit_state_put(state, bin, item);
	}
	free(order);
	return good || error_set(error, ERROR_HOST, "out of memory");
}

bool fit_build_sites(struct fit_state *state, struct error *error)
{
	const struct fit_space *space = state->space;
	for (unsigned i = 0; i < space->items; i++)
		if (space->item[i].pin != FIT_NONE && !site_put(state, space->item[i].pin, i, error))
			return false;
	return !space->task->keep || sites_keep(state, error);
}
