/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "plan/fit-impl.h"

#define VARIANTS_ITEMS_MAX 2000 /* with more items the first placement is made once, not in several ways */

const char *const resource_key[RESOURCE_COUNT] = {
#define X(name, key, unit) key,
    RESOURCES(X)
#undef X
};

const char *const resource_unit[RESOURCE_COUNT] = {
#define X(name, key, unit) unit,
    RESOURCES(X)
#undef X
};

static bool no_memory(struct error *error)
{
	return error_set(error, ERROR_HOST, "out of memory");
}

static double state_cost(const struct fit_state *state)
{
	double cost = 0;
	for (unsigned c = 0; c < state->space->task->classes; c++)
		cost += state->used[c] * state->space->task->host_class[c].cost;
	return cost;
}

static struct fit_state *build_one(const struct fit_space *space, unsigned greed, struct error *error)
{
	struct fit_state *state = fit_state_create(space, error);
	if (state == NULL)
		return NULL;
	state->greed = greed;
	if (!fit_build_sites(state, error) || !fit_build(state, error)) {
		fit_state_free(state);
		return NULL;
	}
	return state;
}

/* How much an item's own size counts against it decides between big items first and whatever fits best. */
static struct fit_state *build_best(const struct fit_space *space, struct error *error)
{
	static const unsigned greed[] = {4, 2, 3, 6, 0};
	unsigned variants = space->items <= VARIANTS_ITEMS_MAX ? sizeof greed / sizeof greed[0] : 1;
	struct fit_state *best = NULL;
	for (unsigned i = 0; i < variants; i++) {
		struct fit_state *state = build_one(space, greed[i], best != NULL ? NULL : error);
		if (state == NULL)
			continue;
		if (best == NULL || state_cost(state) < state_cost(best)) {
			fit_state_free(best);
			best = state;
		} else {
			fit_state_free(state);
		}
	}
	return best;
}

static int guest_compare(const void *a, const void *b)
{
	unsigned one = *(const unsigned *)a, two = *(const unsigned *)b;
	return one < two ? -1 : one > two;
}

static bool host_fill(const struct fit_state *state, unsigned number, struct fit_plan *plan)
{
	const struct fit_space *space = state->space;
	const struct fit_bin *bin = &state->bin[number];
	struct fit_host *host = &plan->host[plan->hosts];
	unsigned guests = 0;
	for (unsigned i = 0; i < bin->items; i++)
		guests += space->item[bin->item[i]].guests;
	host->guest = malloc((guests + 1) * sizeof *host->guest);
	if (host->guest == NULL)
		return false;
	host->host_class = bin->host_class;
	host->name = bin->site != FIT_NONE ? space->task->site[bin->site].name : NULL;
	for (unsigned i = 0; i < bin->items; i++)
		for (unsigned k = 0; k < space->item[bin->item[i]].guests; k++)
			host->guest[host->guests++] = space->item[bin->item[i]].guest[k];
	qsort(host->guest, host->guests, sizeof *host->guest, guest_compare);
	for (unsigned i = 0; i < host->guests; i++) {
		unsigned guest = host->guest[i];
		plan->host_of[guest] = plan->hosts;
		if (space->task->now != NULL && space->task->now[guest] != FIT_NONE &&
		    space->task->now[guest] != bin->site)
			plan->moved++;
	}
	plan->hosts++;
	return true;
}

/* A kind that can stand in for every host in use, by capacity and by what its guests may run on. */
static bool may_replace(const struct fit_state *state, unsigned spare)
{
	const struct fit_space *space = state->space;
	for (unsigned b = 0; b < state->bins; b++) {
		for (unsigned r = 0; r < space->resources; r++)
			if (space->capacity[spare][r] < space->capacity[state->bin[b].host_class][r])
				return false;
		for (unsigned i = 0; i < state->bin[b].items; i++)
			if (space->item[state->bin[b].item[i]].barred & (UINT32_C(1) << spare))
				return false;
	}
	return true;
}

static bool spares_add(const struct fit_state *state, struct fit_plan *plan, struct error *error)
{
	const struct fit_task *task = state->space->task;
	unsigned used[FIT_CLASSES_MAX];
	memcpy(used, state->used, sizeof used);
	for (unsigned s = 0; s < task->spares; s++) {
		unsigned best = FIT_NONE;
		for (unsigned c = 0; c < task->classes; c++)
			if (may_replace(state, c) &&
			    (task->host_class[c].limit == 0 || used[c] < task->host_class[c].limit) &&
			    (best == FIT_NONE || task->host_class[c].cost < task->host_class[best].cost))
				best = c;
		if (best == FIT_NONE)
			return error_set(
			    error, ERROR_INPUT,
			    "no fit: there is no host left that could take over the guests of any host that "
			    "fails; allow more of the largest kind or fewer spares");
		used[best]++;
		plan->cost += task->host_class[best].cost;
		plan->host[plan->hosts++] = (struct fit_host){.host_class = best, .spare = true};
	}
	return true;
}

static struct fit_plan *plan_make(const struct fit_state *state, struct error *error)
{
	const struct fit_task *task = state->space->task;
	struct fit_plan *plan = calloc(1, sizeof *plan);
	bool good = plan != NULL;
	if (good) {
		plan->host = calloc(state->bins + task->spares + 1, sizeof *plan->host);
		plan->host_of = malloc((task->demand->guests + 1) * sizeof *plan->host_of);
		plan->cost = state_cost(state);
		good = plan->host != NULL && plan->host_of != NULL;
	}
	for (unsigned i = 0; good && i < state->bins; i++)
		good = host_fill(state, i, plan);
	if (!good)
		(void)no_memory(error);
	if (!good || !spares_add(state, plan, error)) {
		fit_plan_free(plan);
		return NULL;
	}
	return plan;
}

void fit_plan_free(struct fit_plan *plan)
{
	if (plan == NULL)
		return;
	for (unsigned i = 0; plan->host != NULL && i < plan->hosts; i++)
		free(plan->host[i].guest);
	free(plan->host);
	free(plan->host_of);
	free(plan);
}

static struct fit_plan *fit_space_solve(const struct fit_space *space, struct error *error)
{
	const struct fit_task *task = space->task;
	struct fit_bound bound;
	if (!fit_bound_find(space, &bound, error))
		return NULL;
	struct fit_state *state = build_best(space, error);
	if (state == NULL)
		return NULL;
	struct fit_plan *plan = NULL;
	state->steps = task->steps;
	if (!fit_reduce(state, &bound)) {
		(void)no_memory(error);
	} else {
		unsigned left = state->steps;
		state->steps = task->steps;
		if (task->balance && !task->keep)
			fit_balance(state);
		plan = plan_make(state, error);
		if (plan != NULL)
			plan->steps = task->steps - left;
	}
	if (plan != NULL) {
		double cheapest = task->host_class[0].cost;
		for (unsigned c = 1; c < task->classes; c++)
			cheapest = task->host_class[c].cost < cheapest ? task->host_class[c].cost : cheapest;
		bound.hosts += task->spares;
		bound.cost += task->spares * cheapest;
		plan->bound = bound;
	}
	fit_state_free(state);
	return plan;
}

struct peaks {
	const struct demand *demand;
	float *peak; /* [guest][resource] */
};

static bool peaks_read(const struct demand *demand, unsigned guest, enum resource resource, float *to,
		       struct error *error)
{
	const struct peaks *peaks = demand->owner;
	(void)error;
	*to = peaks->peak[(size_t)guest * RESOURCE_COUNT + resource];
	return true;
}

static bool peaks_fill(const struct fit_task *task, const struct fit_space *space, float *peak)
{
	const struct demand *demand = task->demand;
	float *samples = malloc(demand->samples * sizeof *samples);
	bool good = samples != NULL;
	for (unsigned guest = 0; good && guest < demand->guests; guest++)
		for (unsigned r = 0; good && r < space->resources; r++) {
			float *to = &peak[(size_t)guest * RESOURCE_COUNT + space->resource[r]];
			good = demand->read(demand, guest, space->resource[r], samples, NULL);
			for (unsigned i = 0; good && i < demand->samples; i++)
				*to = samples[i] > *to ? samples[i] : *to;
		}
	free(samples);
	return good;
}

/* What planning by peaks would say, with the same means: one sample, in which every guest is at its peaks. 0: no fit.
 */
static unsigned peaks_hosts(const struct fit_space *space)
{
	struct fit_task task = *space->task;
	struct demand demand = *task.demand;
	struct peaks peaks = {task.demand, calloc((size_t)demand.guests * RESOURCE_COUNT, sizeof *peaks.peak)};
	unsigned hosts = 0;
	if (peaks.peak != NULL && peaks_fill(&task, space, peaks.peak)) {
		demand.samples = 1;
		demand.read = peaks_read;
		demand.owner = &peaks;
		task.demand = &demand;
		task.percentile = 100;
		task.balance = task.keep = false;
		struct fit_space *flat = fit_space_create(&task, space->pool, NULL);
		struct fit_plan *plan = flat != NULL ? fit_space_solve(flat, NULL) : NULL;
		hosts = plan != NULL ? plan->hosts : 0;
		fit_plan_free(plan);
		fit_space_free(flat);
	}
	free(peaks.peak);
	return hosts;
}

struct fit_plan *fit_make(const struct fit_task *task, struct error *error)
{
	struct pool *pool = pool_create(task->threads, error);
	if (pool == NULL)
		return NULL;
	struct fit_space *space = fit_space_create(task, pool, error);
	struct fit_plan *plan = space != NULL ? fit_space_solve(space, error) : NULL;
	if (plan != NULL)
		plan->by_peaks = peaks_hosts(space);
	fit_space_free(space);
	pool_destroy(pool);
	return plan;
}
