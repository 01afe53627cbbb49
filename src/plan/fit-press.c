/* SPDX-License-Identifier: MIT */
/*
 * Fewer hosts by pressing: a host's items are spread over the others, which may then be too full, and items are swapped
 * and moved until none is.
 *
 * Theory of operation. What is too much, over all hosts and moments, is the excess, and each step takes the exchange
 * that lessens it most: of one item of a host that is too full, with any item of some other hosts, or with none. An
 * item that has moved stays for some steps (tabu search; Glover, 1989), so that the search leaves places where no
 * exchange helps.
 *
 * A thousand exchanges are looked at in a step. That is possible because few moments ever matter: those at which some
 * host has been too full. They are the columns. Loads and items are kept at the columns alone, in blocks of 64, beside
 * the whole series in the state. The state's summaries tell, after each exchange, whether a host is too full at a
 * moment that is no column yet; then it becomes one. At the end the summaries have the last word: sums at the columns
 * are modulo 2^16, which a load of more than twice a host's capacity can exceed.
 *
 * Arithmetic is in integers and each bin is searched by itself, so the result is the same with any number of threads.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/fit-impl.h"

#define BLOCKS_MAX 64 /* of columns */
#define TENURE 20     /* steps that an item stays, and up to as many more */
#define LOOKED 20     /* bins that are looked at in a step: with more of them a step is better, but dearer than two */

struct exchange {
	int64_t change;	  /* of the excess */
	unsigned partner; /* or FIT_NONE: the item moves */
};

struct press {
	struct fit_state *state;
	size_t columns, blocks;
	size_t at[BLOCKS_MAX * FIT_BLOCK]; /* of each column, in the load of a bin: resource * stride + sample */
	uint64_t *is_column;		   /* a bit for each moment of each resource */
	uint16_t *demand[BLOCKS_MAX];	   /* [item][FIT_BLOCK] */
	uint16_t *load[BLOCKS_MAX];	   /* [bin][FIT_BLOCK] */
	uint16_t *capacity[BLOCKS_MAX];	   /* [class][FIT_BLOCK]; above the last column no load is too much */
	unsigned bins_room;
	uint64_t *excess;	   /* by bin */
	unsigned *until;	   /* by item: the step from which it may move again */
	struct exchange *exchange; /* by bin */
	unsigned step;
	/* What is looked at now: an item, the bin it is in, that bin's load without it, and the first of the bins. */
	unsigned item, from, first;
	uint16_t *without; /* [block][FIT_BLOCK] */
};

static uint16_t *demand_at(const struct press *press, size_t block, unsigned item)
{
	return press->demand[block] + (size_t)item * FIT_BLOCK;
}

static uint16_t *load_at(const struct press *press, size_t block, unsigned bin)
{
	return press->load[block] + (size_t)bin * FIT_BLOCK;
}

static const uint16_t *capacity_at(const struct press *press, size_t block, unsigned bin)
{
	return press->capacity[block] + (size_t)press->state->bin[bin].host_class * FIT_BLOCK;
}

static uint64_t over(unsigned load, unsigned capacity)
{
	return load > capacity ? load - capacity : 0;
}

static bool block_add(struct press *press)
{
	const struct fit_space *space = press->state->space;
	size_t block = press->blocks;
	if (block == BLOCKS_MAX)
		return false;
	press->demand[block] = calloc((size_t)space->items * FIT_BLOCK + 1, sizeof(uint16_t));
	press->load[block] = calloc((size_t)press->bins_room * FIT_BLOCK + 1, sizeof(uint16_t));
	press->capacity[block] = malloc(space->task->classes * FIT_BLOCK * sizeof(uint16_t));
	press->blocks++;
	if (press->demand[block] == NULL || press->load[block] == NULL || press->capacity[block] == NULL)
		return false;
	memset(press->capacity[block], 0xff, space->task->classes * FIT_BLOCK * sizeof(uint16_t));
	return true;
}

/* Loads are added up anew: those of the state end at FIT_TOP. */
static bool column_add(struct press *press, size_t at)
{
	const struct fit_state *state = press->state;
	const struct fit_space *space = state->space;
	if (press->columns == press->blocks * FIT_BLOCK && !block_add(press))
		return false;
	size_t block = press->columns / FIT_BLOCK, in = press->columns % FIT_BLOCK;
	press->at[press->columns++] = at;
	press->is_column[at / 64] |= UINT64_C(1) << at % 64;
	for (unsigned c = 0; c < space->task->classes; c++)
		press->capacity[block][c * FIT_BLOCK + in] = space->capacity[c][at / space->stride];
	for (unsigned i = 0; i < space->items; i++)
		demand_at(press, block, i)[in] = item_series(space, i, 0)[at];
	for (unsigned b = 0; b < state->bins; b++) {
		unsigned load = 0;
		for (unsigned i = 0; i < state->bin[b].items; i++)
			load += demand_at(press, block, state->bin[b].item[i])[in];
		load_at(press, block, b)[in] = (uint16_t)(load < UINT16_MAX ? load : UINT16_MAX);
		press->excess[b] += over(load, capacity_at(press, block, b)[in]);
	}
	return true;
}

/* The worst moment of each block of the series at which the bin is too full becomes a column. False: no room. */
static bool columns_find(struct press *press, unsigned number)
{
	const struct fit_space *space = press->state->space;
	const struct fit_bin *bin = &press->state->bin[number];
	for (unsigned r = 0; r < space->resources; r++)
		for (size_t b = 0; b < space->blocks; b++) {
			uint16_t capacity = space->capacity[bin->host_class][r],
				 most = bin->high[r * space->blocks + b];
			if (most <= capacity)
				continue;
			size_t at = r * space->stride + b * FIT_BLOCK;
			while (bin->load[at] != most)
				at++;
			if ((press->is_column[at / 64] >> at % 64 & 1) == 0 && !column_add(press, at))
				return false;
		}
	return true;
}

static bool is_too_full(const struct press *press, unsigned number)
{
	const struct fit_space *space = press->state->space;
	const struct fit_bin *bin = &press->state->bin[number];
	for (unsigned r = 0; r < space->resources; r++)
		for (size_t b = 0; b < space->blocks; b++)
			if (bin->high[r * space->blocks + b] > space->capacity[bin->host_class][r])
				return true;
	return false;
}

static void load_change(struct press *press, unsigned bin, unsigned in, unsigned out)
{
	uint64_t excess = 0;
	for (size_t block = 0; block < press->blocks; block++) {
		uint16_t *load = load_at(press, block, bin);
		for (unsigned i = 0; i < FIT_BLOCK; i++) {
			unsigned more = in != FIT_NONE ? demand_at(press, block, in)[i] : 0U;
			unsigned less = out != FIT_NONE ? demand_at(press, block, out)[i] : 0U;
			load[i] = (uint16_t)(load[i] + more - less);
			excess += over(load[i], capacity_at(press, block, bin)[i]);
		}
	}
	press->excess[bin] = excess;
}

/* ---- one step ---- */

/* The excess of a bin that takes the item for the partner, and of the item's own that takes the partner. Gives up when
 * the change is not below `best`. */
static int64_t exchange_change(const struct press *press, unsigned bin, unsigned partner, int64_t best)
{
	const struct fit_kernel *kernel = press->state->space->kernel;
	int64_t change = -(int64_t)(press->excess[bin] + press->excess[press->from]);
	static const uint16_t nothing[FIT_BLOCK];
	for (size_t block = 0; block < press->blocks && change < best; block++) {
		const uint16_t *item = demand_at(press, block, press->item);
		const uint16_t *other = partner != FIT_NONE ? demand_at(press, block, partner) : nothing;
		change += kernel->excess(load_at(press, block, bin), item, other, capacity_at(press, block, bin));
		change += kernel->excess(press->without + block * FIT_BLOCK, other, nothing,
					 capacity_at(press, block, press->from));
	}
	return change;
}

static bool may_exchange(const struct press *press, unsigned bin, unsigned partner)
{
	const struct fit_state *state = press->state;
	return fit_may_without(state, bin, press->item, partner, partner) &&
	       fit_may_without(state, press->from, partner, press->item, press->item);
}

static void exchanges_of_bin(struct press *press, unsigned bin)
{
	const struct fit_state *state = press->state;
	struct exchange best = {.change = INT64_MAX, .partner = FIT_NONE};
	if (bin != press->from && fit_may(state, bin, press->item))
		best.change = exchange_change(press, bin, FIT_NONE, INT64_MAX);
	for (unsigned i = 0; bin != press->from && i < state->bin[bin].items; i++) {
		unsigned partner = state->bin[bin].item[i];
		if (press->until[partner] > press->step || state->space->item[partner].pin != FIT_NONE ||
		    !may_exchange(press, bin, partner))
			continue;
		int64_t change = exchange_change(press, bin, partner, best.change);
		if (change < best.change)
			best = (struct exchange){change, partner};
	}
	press->exchange[bin] = best;
}

static unsigned looked_count(const struct press *press)
{
	return press->state->bins < LOOKED ? press->state->bins : LOOKED;
}

static unsigned looked_bin(const struct press *press, size_t index)
{
	return (unsigned)((press->first + index) % press->state->bins);
}

static void exchanges_some(void *context, size_t first, size_t last)
{
	for (size_t i = first; i < last; i++)
		exchanges_of_bin(context, looked_bin(context, i));
}

/* One of the bins that are too full, and of its items one that may move. FIT_NONE if there is none. */
static unsigned item_choose(const struct press *press)
{
	struct fit_state *state = press->state;
	unsigned full = 0, bin = FIT_NONE, count = 0, item = FIT_NONE;
	for (unsigned b = 0; b < state->bins; b++)
		if (press->excess[b] != 0 && fit_state_random(state, ++full) == 0)
			bin = b;
	for (unsigned i = 0; bin != FIT_NONE && i < state->bin[bin].items; i++) {
		unsigned candidate = state->bin[bin].item[i];
		if (press->until[candidate] <= press->step && state->space->item[candidate].pin == FIT_NONE &&
		    fit_state_random(state, ++count) == 0)
			item = candidate;
	}
	return item;
}

static void item_look(struct press *press, unsigned item)
{
	press->item = item;
	press->from = press->state->bin_of[item];
	for (size_t block = 0; block < press->blocks; block++)
		for (unsigned i = 0; i < FIT_BLOCK; i++)
			press->without[block * FIT_BLOCK + i] =
			    (uint16_t)(load_at(press, block, press->from)[i] - demand_at(press, block, item)[i]);
}

static bool exchange_make(struct press *press, unsigned bin)
{
	struct fit_state *state = press->state;
	unsigned partner = press->exchange[bin].partner, item = press->item, from = press->from;
	fit_state_take(state, item);
	if (partner != FIT_NONE)
		fit_state_take(state, partner);
	if (!fit_state_put(state, bin, item) || (partner != FIT_NONE && !fit_state_put(state, from, partner)))
		return false;
	load_change(press, bin, item, partner);
	load_change(press, from, partner, item);
	press->until[item] = press->step + TENURE + fit_state_random(state, TENURE);
	if (partner != FIT_NONE)
		press->until[partner] = press->step + TENURE + fit_state_random(state, TENURE);
	return columns_find(press, bin) && columns_find(press, from);
}

/* False: no more can be done. */
static bool press_step(struct press *press)
{
	struct fit_state *state = press->state;
	press->step++;
	unsigned item = item_choose(press), best = FIT_NONE;
	if (item == FIT_NONE)
		return true; /* all of that bin's have just moved */
	item_look(press, item);
	press->first = fit_state_random(state, state->bins);
	pool_run(state->space->pool, looked_count(press), 2, exchanges_some, press);
	for (unsigned i = 0; i < looked_count(press); i++) {
		unsigned b = looked_bin(press, i);
		if (press->exchange[b].change != INT64_MAX &&
		    (best == FIT_NONE || press->exchange[b].change < press->exchange[best].change))
			best = b;
	}
	return best == FIT_NONE || exchange_make(press, best);
}

/* ---- a host less ---- */

static bool any_excess(const struct press *press)
{
	for (unsigned b = 0; b < press->state->bins; b++)
		if (press->excess[b] != 0)
			return true;
	return false;
}

/* Where an item that is in no bin adds least excess. */
static unsigned bin_for(struct press *press, unsigned item)
{
	static const uint16_t nothing[FIT_BLOCK];
	const struct fit_state *state = press->state;
	unsigned best = FIT_NONE;
	int64_t least = INT64_MAX;
	for (unsigned b = 0; b < state->bins; b++) {
		if (!fit_may(state, b, item))
			continue;
		int64_t change = -(int64_t)press->excess[b];
		for (size_t block = 0; block < press->blocks; block++)
			change += state->space->kernel->excess(load_at(press, block, b), demand_at(press, block, item),
							       nothing, capacity_at(press, block, b));
		if (best == FIT_NONE || change < least) {
			best = b;
			least = change;
		}
	}
	return best;
}

static bool spread(struct press *press, const unsigned *pool, unsigned pooled)
{
	for (unsigned i = 0; i < pooled; i++) {
		unsigned bin = bin_for(press, pool[i]);
		if (bin == FIT_NONE || !fit_state_put(press->state, bin, pool[i]))
			return false;
		load_change(press, bin, pool[i], FIT_NONE);
		if (!columns_find(press, bin))
			return false;
	}
	return true;
}

static void bin_loads_move(struct press *press, unsigned from, unsigned to)
{
	for (size_t block = 0; block < press->blocks && from != to; block++)
		memcpy(load_at(press, block, to), load_at(press, block, from), FIT_BLOCK * sizeof(uint16_t));
	press->excess[to] = press->excess[from];
}

bool fit_press_out(struct press *press, unsigned bin, unsigned *pool, unsigned steps)
{
	struct fit_state *state = press->state;
	unsigned pooled = state->bin[bin].items, last = state->bins - 1;
	memcpy(pool, state->bin[bin].item, pooled * sizeof *pool);
	for (unsigned i = 0; i < pooled; i++)
		fit_state_take(state, pool[i]);
	fit_state_close(state, bin);
	bin_loads_move(press, last, bin);
	bool good = spread(press, pool, pooled);
	unsigned used = 0;
	steps = steps < state->steps ? steps : state->steps;
	for (; good && used < steps && any_excess(press); used += looked_count(press))
		good = press_step(press);
	state->steps -= used < state->steps ? used : state->steps;
	for (unsigned b = 0; good && b < state->bins; b++)
		good = !is_too_full(press, b);
	return good;
}

/* After the state was brought back to another placement. */
void fit_press_again(struct press *press)
{
	const struct fit_state *state = press->state;
	memset(press->excess, 0, press->bins_room * sizeof *press->excess);
	for (size_t block = 0; block < press->blocks; block++)
		memset(press->load[block], 0, (size_t)press->bins_room * FIT_BLOCK * sizeof(uint16_t));
	for (unsigned b = 0; b < state->bins; b++)
		for (unsigned i = 0; i < state->bin[b].items; i++)
			load_change(press, b, state->bin[b].item[i], FIT_NONE);
}

void fit_press_free(struct press *press)
{
	if (press == NULL)
		return;
	for (size_t block = 0; block < press->blocks; block++) {
		free(press->demand[block]);
		free(press->load[block]);
		free(press->capacity[block]);
	}
	free(press->is_column);
	free(press->excess);
	free(press->until);
	free(press->exchange);
	free(press->without);
	free(press);
}

struct press *fit_press_create(struct fit_state *state)
{
	const struct fit_space *space = state->space;
	struct press *press = calloc(1, sizeof *press);
	if (press == NULL)
		return NULL;
	press->state = state;
	press->bins_room = state->bins + 1;
	press->is_column = calloc(space->stride * space->resources / 64 + 1, sizeof *press->is_column);
	press->excess = calloc(press->bins_room, sizeof *press->excess);
	press->until = calloc(space->items + 1, sizeof *press->until);
	press->exchange = calloc(press->bins_room, sizeof *press->exchange);
	press->without = calloc(BLOCKS_MAX * FIT_BLOCK, sizeof *press->without);
	if (press->is_column != NULL && press->excess != NULL && press->until != NULL && press->exchange != NULL &&
	    press->without != NULL)
		return press;
	fit_press_free(press);
	return NULL;
}
