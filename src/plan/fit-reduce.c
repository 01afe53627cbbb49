/* SPDX-License-Identifier: MIT */
/* Fewer hosts, then level ones. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "plan/fit-impl.h"

#define PRESSED 4 /* all but one in so many of the steps are for pressing, the rest for ejections */
#define TRIES 6	  /* hosts that are emptied in turn, each with a share of the steps */

static double state_cost(const struct fit_state *state)
{
	double cost = 0;
	for (unsigned c = 0; c < state->space->task->classes; c++)
		cost += state->used[c] * state->space->task->host_class[c].cost;
	return cost;
}

static bool is_free_of_pins(const struct fit_state *state, unsigned bin)
{
	for (unsigned i = 0; i < state->bin[bin].items; i++)
		if (state->space->item[state->bin[bin].item[i]].pin != FIT_NONE)
			return false;
	return true;
}

static double bin_worth(const struct fit_state *state, unsigned bin)
{
	double worth = 0;
	for (unsigned i = 0; i < state->bin[bin].items; i++)
		worth += (double)state->space->worth[state->bin[bin].item[i]];
	return worth / state->space->task->host_class[state->bin[bin].host_class].cost;
}

/* The bin that holds least for its cost, after `rank` others; FIT_NONE if there are not so many. */
static unsigned bin_of_rank(const struct fit_state *state, unsigned rank)
{
	unsigned *taken = calloc(state->bins + 1, sizeof *taken), best = FIT_NONE;
	for (unsigned k = 0; taken != NULL && k <= rank; k++) {
		double least = 0;
		best = FIT_NONE;
		for (unsigned i = 0; i < state->bins; i++) {
			if (taken[i] || !is_free_of_pins(state, i))
				continue;
			double worth = bin_worth(state, i);
			if (best == FIT_NONE || worth < least) {
				best = i;
				least = worth;
			}
		}
		if (best == FIT_NONE)
			break;
		taken[best] = 1;
	}
	free(taken);
	return best;
}

static bool bin_dissolve(struct fit_state *state, unsigned bin, unsigned *pool, unsigned steps)
{
	unsigned pooled = state->bin[bin].items;
	memcpy(pool, state->bin[bin].item, pooled * sizeof *pool);
	for (unsigned i = 0; i < pooled; i++)
		fit_state_take(state, pool[i]);
	fit_state_close(state, bin);
	return fit_eject(state, pool, &pooled, steps);
}

/* Gives a host's items to a host of a cheaper kind, where they fit one. */
static bool bin_cheapen(struct fit_state *state, unsigned number)
{
	const struct fit_task *task = state->space->task;
	unsigned items = state->bin[number].items, from = state->bin[number].host_class;
	for (unsigned c = 0; c < task->classes && state->bin[number].site == FIT_NONE; c++) {
		if (!(task->host_class[c].cost < task->host_class[from].cost))
			continue;
		unsigned bin = fit_state_open(state, c, FIT_NONE);
		if (bin == FIT_NONE)
			continue;
		unsigned *item = malloc((items + 1) * sizeof *item);
		if (item == NULL)
			return false;
		memcpy(item, state->bin[number].item, items * sizeof *item);
		unsigned moved = 0;
		bool good = true;
		while (good && moved < items && fit_fits(state, bin, item[moved])) {
			fit_state_take(state, item[moved]);
			good = fit_state_put(state, bin, item[moved++]);
		}
		bool all = moved == items;
		for (unsigned i = 0; good && !all && i < moved; i++) {
			fit_state_take(state, item[i]);
			good = fit_state_put(state, number, item[i]);
		}
		free(item);
		if (!good)
			return false;
		fit_state_close(state, all ? number : bin);
		if (all)
			return true;
	}
	return true;
}

/* The bound is reached, or there is nothing to empty. FIT_NONE then; else the bin to empty. */
static unsigned bin_next(const struct fit_state *state, const struct fit_bound *bound, unsigned rank)
{
	bool done = state->bins <= 1 || state_cost(state) <= bound->cost * (1 + 1e-9);
	return done ? FIT_NONE : bin_of_rank(state, rank);
}

/* Presses hosts out, the emptiest first, until that fails for some in turn. Without percentiles only. */
static bool press_all(struct fit_state *state, const struct fit_bound *bound, unsigned *pool)
{
	struct press *press = fit_press_create(state);
	bool good = press != NULL;
	unsigned share = state->steps / TRIES + 1, bin;
	for (unsigned rank = 0; good && state->steps != 0 && (bin = bin_next(state, bound, rank)) != FIT_NONE;) {
		struct fit_saved *saved = fit_state_save(state);
		good = saved != NULL;
		if (good && fit_press_out(press, bin, pool, share)) {
			rank = 0;
		} else if (good) {
			good = fit_state_restore(state, saved);
			fit_press_again(press);
			rank++;
		}
		fit_saved_free(saved);
	}
	fit_press_free(press);
	return good;
}

bool fit_reduce(struct fit_state *state, const struct fit_bound *bound)
{
	unsigned *pool = malloc((state->space->items + 1) * sizeof *pool);
	unsigned share = state->steps / TRIES / PRESSED + 1;
	bool good = pool != NULL;
	if (good && state->space->allowed == 0 && !state->space->task->keep) {
		unsigned left = state->steps / PRESSED;
		state->steps -= left;
		good = press_all(state, bound, pool);
		state->steps += left;
	}
	unsigned bin;
	for (unsigned rank = 0; good && state->steps != 0 && (bin = bin_next(state, bound, rank)) != FIT_NONE;) {
		struct fit_saved *saved = fit_state_save(state);
		good = saved != NULL;
		if (good && bin_dissolve(state, bin, pool, share)) {
			rank = 0;
		} else if (good) {
			good = fit_state_restore(state, saved);
			rank++;
		}
		fit_saved_free(saved);
	}
	for (unsigned i = state->bins; good && i-- > 0 && state->space->task->classes > 1;)
		good = bin_cheapen(state, i);
	free(pool);
	return good;
}

/* Whether moving an item to `to` leaves both hosts below the peak; if so it stays there. */
static bool balance_move(struct fit_state *state, unsigned from, unsigned to, unsigned item, unsigned peak)
{
	if (!fit_fits(state, to, item))
		return false;
	fit_state_take(state, item);
	if (!fit_state_put(state, to, item))
		return false;
	if (fit_peak(state, to) < peak && fit_peak(state, from) < peak)
		return true;
	fit_state_take(state, item);
	(void)fit_state_put(state, from, item);
	return false;
}

static unsigned bin_highest(const struct fit_state *state, const bool *given_up, unsigned *peak)
{
	unsigned best = FIT_NONE;
	*peak = 0;
	for (unsigned i = 0; i < state->bins; i++) {
		unsigned own = given_up[i] ? 0 : fit_peak(state, i);
		if (own > *peak) {
			*peak = own;
			best = i;
		}
	}
	return best;
}

/* One move off the bin, to the host with the lowest peak that takes something. */
static bool balance_bin(struct fit_state *state, unsigned bin, unsigned peak, unsigned *peaks)
{
	for (unsigned i = 0; i < state->bins; i++)
		peaks[i] = fit_peak(state, i);
	for (unsigned round = 0; round < state->bins && state->steps != 0; round++) {
		unsigned to = FIT_NONE;
		for (unsigned i = 0; i < state->bins; i++)
			if (i != bin && peaks[i] != UINT32_MAX && (to == FIT_NONE || peaks[i] < peaks[to]))
				to = i;
		if (to == FIT_NONE || peaks[to] >= peak)
			return false;
		peaks[to] = UINT32_MAX;
		for (unsigned i = 0; i < state->bin[bin].items && state->steps != 0; i++) {
			unsigned item = state->bin[bin].item[i];
			state->steps--;
			if (state->space->item[item].pin == FIT_NONE && balance_move(state, bin, to, item, peak))
				return true;
		}
	}
	return false;
}

void fit_balance(struct fit_state *state)
{
	bool *given_up = calloc(state->bins + 1, sizeof *given_up);
	unsigned *peaks = malloc((state->bins + 1) * sizeof *peaks);
	while (given_up != NULL && peaks != NULL && state->steps != 0) {
		unsigned peak, bin = bin_highest(state, given_up, &peak);
		if (bin == FIT_NONE)
			break;
		if (!balance_bin(state, bin, peak, peaks))
			given_up[bin] = true;
	}
	free(given_up);
	free(peaks);
}
