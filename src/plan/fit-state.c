/* SPDX-License-Identifier: MIT */
/* Bins and their loads, and whether an item fits. */
#include <stdlib.h>
#include <string.h>

#include "plan/fit-impl.h"

struct fit_saved {
	unsigned *bin_of;
	unsigned *host_class, *site;
	unsigned bins;
};

struct fit_state *fit_state_create(const struct fit_space *space, struct error *error)
{
	struct fit_state *state = calloc(1, sizeof *state);
	if (state != NULL) {
		state->space = space;
		state->random = 0x9e3779b97f4a7c15;
		state->bin = calloc(space->items + space->task->sites + 1, sizeof *state->bin);
		state->bin_of = malloc((space->items + 1) * sizeof *state->bin_of);
	}
	if (state == NULL || state->bin == NULL || state->bin_of == NULL) {
		fit_state_free(state);
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	for (unsigned i = 0; i < space->items; i++)
		state->bin_of[i] = FIT_NONE;
	return state;
}

static void bin_free(struct fit_bin *bin)
{
	free(bin->item);
	free(bin->load);
	free(bin->high);
	free(bin->groups);
	free(bin->rest);
	memset(bin, 0, sizeof *bin);
}

void fit_state_free(struct fit_state *state)
{
	if (state == NULL)
		return;
	for (unsigned i = 0; i < state->bins; i++)
		bin_free(&state->bin[i]);
	free(state->bin);
	free(state->bin_of);
	free(state);
}

/* The highest load of a part of the time; by the summaries where there are enough of them. */
static uint16_t bucket_high(const struct fit_space *space, const struct fit_bin *bin, unsigned r, size_t b)
{
	size_t per = space->buckets / space->resources;
	bool coarse = space->blocks >= 2 * per;
	size_t count = coarse ? space->blocks : space->samples;
	const uint16_t *from = coarse ? bin->high + r * space->blocks : bin->load + r * space->stride;
	uint16_t most = 0;
	for (size_t i = b * count / per; i < (b + 1) * count / per; i++)
		most = from[i] > most ? from[i] : most;
	return most;
}

static void rest_make(const struct fit_state *state, struct fit_bin *bin)
{
	const struct fit_space *space = state->space;
	size_t per = space->buckets / space->resources;
	for (size_t i = 0; i < space->buckets; i++) {
		unsigned r = (unsigned)(i / per);
		int capacity = space->capacity[bin->host_class][r], most = bucket_high(space, bin, r, i % per);
		int rest = most < capacity ? (capacity - most) >> PROFILE_SHIFT : 0;
		bin->rest[i] = (int16_t)(rest * space->weight[i] >> 8);
	}
}

/* Two maxima over the samples: for the scores, and by block. */
static void bin_refresh(const struct fit_state *state, struct fit_bin *bin)
{
	const struct fit_space *space = state->space;
	space->kernel->summarize(bin->load, bin->high, bin->low, space->blocks * space->resources);
	rest_make(state, bin);
}

unsigned fit_state_open(struct fit_state *state, unsigned host_class, unsigned site)
{
	const struct fit_space *space = state->space;
	unsigned limit = space->task->host_class[host_class].limit;
	if ((limit != 0 && state->used[host_class] >= limit) || state->bins >= space->items + space->task->sites)
		return FIT_NONE;
	struct fit_bin *bin = &state->bin[state->bins];
	size_t blocks = space->blocks * space->resources;
	*bin = (struct fit_bin){.host_class = host_class, .site = site};
	bin->load = calloc(space->stride * space->resources, sizeof *bin->load);
	bin->high = calloc(blocks * 2, sizeof *bin->high);
	bin->rest = calloc(space->buckets, sizeof *bin->rest);
	bin->groups = space->task->groups != 0 ? calloc(space->task->groups, sizeof *bin->groups) : NULL;
	if (bin->load == NULL || bin->high == NULL || bin->rest == NULL ||
	    (space->task->groups != 0 && bin->groups == NULL)) {
		bin_free(bin);
		return FIT_NONE;
	}
	bin->low = bin->high + blocks;
	bin_refresh(state, bin);
	state->used[host_class]++;
	return state->bins++;
}

void fit_state_close(struct fit_state *state, unsigned number)
{
	struct fit_bin *bin = &state->bin[number];
	state->used[bin->host_class]--;
	bin_free(bin);
	unsigned last = --state->bins;
	if (number == last)
		return;
	*bin = state->bin[last];
	memset(&state->bin[last], 0, sizeof *bin);
	for (unsigned i = 0; i < bin->items; i++)
		state->bin_of[bin->item[i]] = number;
}

static void bin_add(const struct fit_space *space, struct fit_bin *bin, unsigned item)
{
	space->kernel->add(bin->load, item_series(space, item, 0), space->stride * space->resources);
}

bool fit_state_put(struct fit_state *state, unsigned number, unsigned item)
{
	const struct fit_space *space = state->space;
	struct fit_bin *bin = &state->bin[number];
	if (bin->items == bin->room) {
		unsigned room = bin->room != 0 ? bin->room * 2 : 16;
		unsigned *grown = realloc(bin->item, room * sizeof *grown);
		if (grown == NULL)
			return false;
		bin->item = grown;
		bin->room = room;
	}
	bin->item[bin->items++] = item;
	state->bin_of[item] = number;
	for (unsigned i = 0; i < space->item[item].aparts; i++)
		bin->groups[space->item[item].apart[i]]++;
	bin_add(space, bin, item);
	bin_refresh(state, bin);
	for (size_t i = 0; i < space->blocks * space->resources && !bin->saturated; i++)
		bin->saturated = bin->high[i] == FIT_TOP;
	return true;
}

void fit_state_take(struct fit_state *state, unsigned item)
{
	const struct fit_space *space = state->space;
	struct fit_bin *bin = &state->bin[state->bin_of[item]];
	unsigned at = 0;
	while (bin->item[at] != item)
		at++;
	memmove(&bin->item[at], &bin->item[at + 1], (bin->items - at - 1) * sizeof *bin->item);
	bin->items--;
	state->bin_of[item] = FIT_NONE;
	for (unsigned i = 0; i < space->item[item].aparts; i++)
		bin->groups[space->item[item].apart[i]]--;
	if (bin->saturated) {
		memset(bin->load, 0, space->stride * space->resources * sizeof *bin->load);
		for (unsigned i = 0; i < bin->items; i++)
			bin_add(space, bin, bin->item[i]);
	} else {
		space->kernel->subtract(bin->load, item_series(space, item, 0), space->stride * space->resources);
	}
	bin_refresh(state, bin);
}

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016. */
unsigned fit_state_random(struct fit_state *state, unsigned limit)
{
	state->random ^= state->random >> 12;
	state->random ^= state->random << 25;
	state->random ^= state->random >> 27;
	return (unsigned)((state->random * UINT64_C(0x2545f4914f6cdd1d) >> 32) % limit);
}

struct fit_saved *fit_state_save(const struct fit_state *state)
{
	unsigned items = state->space->items;
	struct fit_saved *saved = calloc(1, sizeof *saved);
	if (saved == NULL)
		return NULL;
	saved->bins = state->bins;
	saved->bin_of = malloc((items + 1) * sizeof *saved->bin_of);
	saved->host_class = malloc((state->bins + 1) * sizeof *saved->host_class);
	saved->site = malloc((state->bins + 1) * sizeof *saved->site);
	if (saved->bin_of == NULL || saved->host_class == NULL || saved->site == NULL) {
		fit_saved_free(saved);
		return NULL;
	}
	memcpy(saved->bin_of, state->bin_of, items * sizeof *saved->bin_of);
	for (unsigned i = 0; i < state->bins; i++) {
		saved->host_class[i] = state->bin[i].host_class;
		saved->site[i] = state->bin[i].site;
	}
	return saved;
}

bool fit_state_restore(struct fit_state *state, const struct fit_saved *saved)
{
	unsigned items = state->space->items;
	while (state->bins != 0) {
		state->bins--;
		state->used[state->bin[state->bins].host_class]--;
		bin_free(&state->bin[state->bins]);
	}
	for (unsigned i = 0; i < items; i++)
		state->bin_of[i] = FIT_NONE;
	for (unsigned i = 0; i < saved->bins; i++)
		if (fit_state_open(state, saved->host_class[i], saved->site[i]) == FIT_NONE)
			return false;
	for (unsigned i = 0; i < items; i++)
		if (saved->bin_of[i] != FIT_NONE && !fit_state_put(state, saved->bin_of[i], i))
			return false;
	return true;
}

void fit_saved_free(struct fit_saved *saved)
{
	if (saved == NULL)
		return;
	free(saved->bin_of);
	free(saved->host_class);
	free(saved->site);
	free(saved);
}

bool fit_may(const struct fit_state *state, unsigned number, unsigned item)
{
	const struct fit_item *it = &state->space->item[item];
	const struct fit_bin *bin = &state->bin[number];
	if ((it->barred & (UINT32_C(1) << bin->host_class)) || (it->pin != FIT_NONE && it->pin != bin->site))
		return false;
	for (unsigned i = 0; i < it->aparts; i++)
		if (bin->groups[it->apart[i]] != 0)
			return false;
	return true;
}

bool fit_may_without(const struct fit_state *state, unsigned number, unsigned item, unsigned a, unsigned b)
{
	const struct fit_item *it = &state->space->item[item];
	const struct fit_bin *bin = &state->bin[number];
	if ((it->barred & (UINT32_C(1) << bin->host_class)) || (it->pin != FIT_NONE && it->pin != bin->site))
		return false;
	for (unsigned i = 0; i < it->aparts; i++) {
		unsigned count = bin->groups[it->apart[i]];
		for (unsigned k = 0; k < 2; k++) {
			const struct fit_item *out = &state->space->item[k == 0 ? a : b];
			for (unsigned j = 0; (k == 0 || a != b) && j < out->aparts; j++)
				count -= out->apart[j] == it->apart[i];
		}
		if (count != 0)
			return false;
	}
	return true;
}

static bool load_fits(const struct fit_space *space, const struct fit_bin *bin, unsigned item, unsigned r)
{
	const struct fit_kernel *kernel = space->kernel;
	const uint16_t *series = item_series(space, item, r), *load = bin->load + r * space->stride;
	const uint16_t *high = space->high + item_summary(space, item, r), *bin_high = bin->high + r * space->blocks;
	uint16_t capacity = space->capacity[bin->host_class][r];
	unsigned over = 0;
	for (size_t b = 0; b < space->blocks && over <= space->allowed; b++)
		if (high[b] + bin_high[b] > capacity)
			over += kernel->count_over(load + b * FIT_BLOCK, series + b * FIT_BLOCK, capacity, FIT_BLOCK);
	return over <= space->allowed;
}

bool fit_fits(const struct fit_state *state, unsigned number, unsigned item)
{
	const struct fit_space *space = state->space;
	const struct fit_bin *bin = &state->bin[number];
	unsigned look = 0;
	if (!fit_may(state, number, item))
		return false;
	for (unsigned r = 0; r < space->resources; r++) {
		size_t summary = item_summary(space, item, r), own = r * space->blocks;
		enum fit_glance glance =
		    space->kernel->glance(bin->high + own, bin->low + own, space->high + summary, space->low + summary,
					  space->capacity[bin->host_class][r], space->blocks);
		if (glance == FIT_GLANCE_OVER && space->allowed == 0)
			return false;
		look |= (unsigned)(glance != FIT_GLANCE_FITS) << r;
	}
	for (unsigned r = 0; r < space->resources; r++)
		if ((look >> r & 1) && !load_fits(space, bin, item, r))
			return false;
	return true;
}

bool fit_swap_fits(const struct fit_state *state, unsigned number, unsigned without, unsigned item)
{
	const struct fit_space *space = state->space;
	const struct fit_bin *bin = &state->bin[number];
	const struct fit_item *it = &space->item[item], *other = &space->item[without];
	if ((it->barred & (UINT32_C(1) << bin->host_class)) || (it->pin != FIT_NONE && it->pin != bin->site))
		return false;
	for (unsigned i = 0; i < it->aparts; i++) {
		unsigned count = bin->groups[it->apart[i]];
		for (unsigned k = 0; k < other->aparts; k++)
			count -= other->apart[k] == it->apart[i];
		if (count != 0)
			return false;
	}
	if (bin->saturated) /* taking one away from saturated loads would make them too low */
		return false;
	for (unsigned r = 0; r < space->resources; r++) {
		const uint16_t *series = item_series(space, item, r), *less = item_series(space, without, r);
		const uint16_t *load = bin->load + r * space->stride;
		uint16_t capacity = space->capacity[bin->host_class][r];
		unsigned over = 0;
		for (size_t b = 0; b < space->blocks && over <= space->allowed; b++)
			if (space->high[item_summary(space, item, r) + b] + bin->high[r * space->blocks + b] > capacity)
				over += space->kernel->count_over_without(load + b * FIT_BLOCK, series + b * FIT_BLOCK,
									  less + b * FIT_BLOCK, capacity, FIT_BLOCK);
		if (over > space->allowed)
			return false;
	}
	return true;
}

bool fit_alone(const struct fit_space *space, unsigned item, unsigned host_class, unsigned *resource)
{
	for (unsigned r = 0; r < space->resources; r++) {
		const uint16_t *series = item_series(space, item, r);
		unsigned over = 0;
		for (size_t i = 0; i < space->samples; i++)
			over += series[i] > space->capacity[host_class][r];
		if (over > space->allowed) {
			*resource = r;
			return false;
		}
	}
	return true;
}

int64_t fit_score(const struct fit_state *state, const int16_t *rest, unsigned item)
{
	const struct fit_space *space = state->space;
	int64_t dot = space->kernel->dot(rest, space->profile + item * space->buckets, space->buckets);
	return 8 * dot - (int64_t)state->greed * space->norm[item];
}

unsigned fit_peak(const struct fit_state *state, unsigned number)
{
	const struct fit_space *space = state->space;
	const struct fit_bin *bin = &state->bin[number];
	uint64_t peak = 0;
	for (unsigned r = 0; r < space->resources; r++)
		for (size_t b = 0; b < space->blocks; b++) {
			uint64_t share =
			    ((uint64_t)bin->high[r * space->blocks + b] << 16) / space->capacity[bin->host_class][r];
			peak = share > peak ? share : peak;
		}
	return (unsigned)peak;
}
