/* SPDX-License-Identifier: MIT */
/*
 * The task in quanta: the largest capacity of a resource is FIT_FULL quanta. Demand is rounded up and capacity down, so
 * that what fits in quanta fits. Rounding costs a guest at most one part in 30,000 of a host.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "plan/fit-impl.h"

#define NAME_FORMAT "%.80s"
/* Far above the rounding of doubles and far below a quantum: a demand of exactly a third stays a third. */
#define SLACK 1e-9

static bool no_memory(struct error *error)
{
	return error_set(error, ERROR_HOST, "out of memory: plan fewer guests at a time, or with a longer interval");
}

static bool classes_read(struct fit_space *space, struct error *error)
{
	const struct fit_task *task = space->task;
	double most[RESOURCE_COUNT] = {0};
	if (task->classes == 0 || task->classes > FIT_CLASSES_MAX)
		return error_set(error, ERROR_INPUT, "between 1 and %d kinds of host can be planned with, not %u",
				 FIT_CLASSES_MAX, task->classes);
	for (unsigned c = 0; c < task->classes; c++)
		for (unsigned r = 0; r < RESOURCE_COUNT; r++)
			if (task->host_class[c].capacity[r] > most[r])
				most[r] = task->host_class[c].capacity[r];
	for (unsigned r = 0; r < RESOURCE_COUNT; r++) {
		if (!(most[r] > 0))
			continue;
		space->resource[space->resources] = (enum resource)r;
		space->quantum[space->resources] = most[r] / FIT_FULL;
		for (unsigned c = 0; c < task->classes; c++) {
			double quanta = task->host_class[c].capacity[r] / most[r] * FIT_FULL;
			if (!(quanta >= 1))
				return error_set(error, ERROR_INPUT,
						 "hosts of kind '" NAME_FORMAT "' have no %s for guests: state it for "
						 "every kind or for none",
						 task->host_class[c].name, resource_key[r]);
			space->capacity[c][space->resources] = (uint16_t)(quanta + SLACK * quanta);
		}
		space->resources++;
	}
	return space->resources != 0 || error_set(error, ERROR_INPUT, "the hosts have no capacity at all");
}

static unsigned root_of(unsigned *parent, unsigned guest)
{
	while (parent[guest] != guest) {
		parent[guest] = parent[parent[guest]];
		guest = parent[guest];
	}
	return guest;
}

static bool groups_check(const struct fit_task *task, struct error *error)
{
	for (unsigned g = 0; g < task->groups; g++)
		for (unsigned i = 0; i < task->group[g].count; i++)
			if (task->group[g].guest[i] >= task->demand->guests)
				return error_set(error, ERROR_INPUT,
						 "group '" NAME_FORMAT "' names a guest that is not there",
						 task->group[g].name);
	return true;
}

/* Guests of one affinity group have one root: the lowest. */
static unsigned *roots_find(const struct fit_task *task)
{
	unsigned *parent = malloc((task->demand->guests + 1) * sizeof *parent);
	if (parent == NULL)
		return NULL;
	for (unsigned i = 0; i < task->demand->guests; i++)
		parent[i] = i;
	for (unsigned g = 0; g < task->groups; g++) {
		const struct fit_group *group = &task->group[g];
		for (unsigned i = 1; !group->apart && i < group->count; i++) {
			unsigned a = root_of(parent, group->guest[0]), b = root_of(parent, group->guest[i]);
			parent[a > b ? a : b] = a > b ? b : a;
		}
	}
	return parent;
}

static bool item_add_guest(struct fit_space *space, struct fit_item *item, unsigned guest, struct error *error)
{
	const struct fit_task *task = space->task;
	item->guest[item->guests++] = guest;
	if (task->classes_barred != NULL)
		item->barred |= task->classes_barred[guest];
	if (task->now != NULL && item->now == FIT_NONE)
		item->now = task->now[guest];
	if (task->pin == NULL || task->pin[guest] == FIT_NONE)
		return true;
	if (item->pin != FIT_NONE && item->pin != task->pin[guest])
		return error_set(error, ERROR_INPUT,
				 "guests '" NAME_FORMAT "' and '" NAME_FORMAT
				 "' must share a host, but are pinned to two",
				 task->demand->name[item->guest[0]], task->demand->name[guest]);
	item->pin = task->pin[guest];
	return true;
}

static bool items_make(struct fit_space *space, const unsigned *root, unsigned *item_of, struct error *error)
{
	unsigned guests = space->task->demand->guests;
	for (unsigned i = 0; i < guests; i++)
		if (root[i] == i)
			item_of[i] = space->items++;
	unsigned next = 0;
	for (unsigned i = 0; i < guests; i++)
		item_of[i] = item_of[root[i]];
	/* Counting sort of the guests by item. */
	for (unsigned i = 0; i < guests; i++)
		space->item[item_of[i]].guests++;
	for (unsigned i = 0; i < space->items; i++) {
		struct fit_item *item = &space->item[i];
		item->guest = space->member + next;
		next += item->guests;
		item->guests = 0;
		item->pin = item->now = FIT_NONE;
	}
	for (unsigned i = 0; i < guests; i++)
		if (!item_add_guest(space, &space->item[item_of[i]], i, error))
			return false;
	return true;
}

/* Two passes over the anti-affinity groups: count, then fill. */
static bool aparts_make(struct fit_space *space, const unsigned *item_of, struct error *error)
{
	const struct fit_task *task = space->task;
	size_t total = 0;
	for (unsigned g = 0; g < task->groups; g++)
		total += task->group[g].apart ? task->group[g].count : 0;
	space->apart = malloc((total + 1) * sizeof *space->apart);
	unsigned *last = malloc((space->items + 1) * sizeof *last);
	if (space->apart == NULL || last == NULL) {
		free(last);
		return no_memory(error);
	}
	for (unsigned i = 0; i < space->items; i++)
		last[i] = FIT_NONE;
	bool good = true;
	for (unsigned g = 0; g < task->groups && good; g++)
		for (unsigned i = 0; task->group[g].apart && i < task->group[g].count && good; i++) {
			unsigned item = item_of[task->group[g].guest[i]];
			if (last[item] == g)
				good = error_set(error, ERROR_INPUT,
						 "guest '" NAME_FORMAT
						 "' must be apart from one it must share a host with "
						 "(group '" NAME_FORMAT "')",
						 task->demand->name[task->group[g].guest[i]], task->group[g].name);
			last[item] = g;
			space->item[item].aparts++;
		}
	free(last);
	size_t next = 0;
	for (unsigned i = 0; i < space->items; i++) {
		space->item[i].apart = space->apart + next;
		next += space->item[i].aparts;
		space->item[i].aparts = 0;
	}
	for (unsigned g = 0; g < task->groups && good; g++)
		for (unsigned i = 0; task->group[g].apart && i < task->group[g].count; i++) {
			struct fit_item *item = &space->item[item_of[task->group[g].guest[i]]];
			space->apart[(size_t)(item->apart - space->apart) + item->aparts++] = g;
		}
	return good;
}

static bool items_read(struct fit_space *space, struct error *error)
{
	unsigned guests = space->task->demand->guests;
	unsigned *root = roots_find(space->task), *item_of = malloc((guests + 1) * sizeof *item_of);
	space->item = calloc(guests + 1, sizeof *space->item);
	space->member = malloc((guests + 1) * sizeof *space->member);
	bool good = root != NULL && item_of != NULL && space->item != NULL && space->member != NULL;
	if (!good)
		(void)no_memory(error);
	for (unsigned i = 0; good && i < guests; i++)
		root[i] = root_of(root, i);
	good = good && items_make(space, root, item_of, error) && aparts_make(space, item_of, error);
	free(root);
	free(item_of);
	return good;
}

struct reading {
	struct fit_space *space;
	pthread_mutex_t lock;
	unsigned
	    failed; /* the lowest item that failed, or FIT_NONE: the message is the same with any number of threads */
	struct error error;
};

static void reading_fail(struct reading *reading, unsigned item, const struct error *error)
{
	(void)pthread_mutex_lock(&reading->lock);
	if (item < reading->failed) {
		reading->failed = item;
		reading->error = *error;
	}
	(void)pthread_mutex_unlock(&reading->lock);
}

static bool series_add(const struct fit_space *space, unsigned guest, enum resource resource, float *samples,
		       double *sum, struct error *error)
{
	const struct demand *demand = space->task->demand;
	if (!demand->read(demand, guest, resource, samples, error))
		return false;
	for (size_t i = 0; i < space->samples; i++) {
		if (!(samples[i] >= 0) || !isfinite(samples[i]))
			return error_set(error, ERROR_INPUT,
					 "guest '" NAME_FORMAT "': sample %zu of %s is not a number >= 0",
					 demand->name[guest], i, resource_key[resource]);
		sum[i] += (double)samples[i];
	}
	return true;
}

static uint16_t quanta_of(double value, double quantum)
{
	double quanta = value / quantum;
	quanta = ceil(quanta - SLACK * quanta);
	return quanta < FIT_TOP ? (uint16_t)quanta : FIT_TOP;
}

/* Rounded down, for lower bounds. A demand that no host has is refused later; it must not overflow here. */
static int64_t parts_of(double value, double quantum)
{
	double parts = value / quantum * SUM_PARTS;
	return (int64_t)fmin(parts - SLACK * parts, 1e12);
}

/* The highest of each bucket, in profile units. */
static void profile_make(const struct fit_space *space, const uint16_t *series, int16_t *profile)
{
	bug_if(space->resources == 0);
	size_t buckets = space->buckets / space->resources;
	for (unsigned r = 0; r < space->resources; r++)
		for (size_t b = 0; b < buckets; b++) {
			const uint16_t *from = series + r * space->stride;
			uint16_t most = 0;
			for (size_t i = b * space->samples / buckets; i < (b + 1) * space->samples / buckets; i++)
				most = from[i] > most ? from[i] : most;
			profile[r * buckets + b] = (int16_t)(most >> PROFILE_SHIFT);
		}
}

struct scratch {
	float *samples;
	double *sum;	/* of an item's guests */
	int64_t *total; /* of the items of one piece of work: [resource][stride] */
};

static bool item_read(struct fit_space *space, unsigned number, const struct scratch *scratch, struct error *error)
{
	double *sum = scratch->sum;
	struct fit_item *item = &space->item[number];
	for (unsigned r = 0; r < space->resources; r++) {
		memset(sum, 0, space->samples * sizeof *sum);
		for (unsigned g = 0; g < item->guests; g++)
			if (!series_add(space, item->guest[g], space->resource[r], scratch->samples, sum, error))
				return false;
		size_t summary = item_summary(space, number, r);
		uint16_t *to = space->series + ((size_t)number * space->resources + r) * space->stride;
		for (size_t i = 0; i < space->samples; i++)
			to[i] = quanta_of(sum[i], space->quantum[r]);
		for (size_t i = 0; i < space->samples; i++)
			scratch->total[r * space->stride + i] += parts_of(sum[i], space->quantum[r]);
		space->kernel->summarize(to, space->high + summary, space->low + summary, space->blocks);
		for (size_t b = 0; b < space->blocks; b++)
			if (space->high[summary + b] > item->size)
				item->size = space->high[summary + b];
	}
	profile_make(space, item_series(space, number, 0), space->profile + (size_t)number * space->buckets);
	return true;
}

static bool scratch_allocate(struct scratch *scratch, const struct fit_space *space)
{
	scratch->samples = malloc(space->samples * sizeof *scratch->samples);
	scratch->sum = malloc(space->samples * sizeof *scratch->sum);
	scratch->total = calloc(space->resources * space->stride + 1, sizeof *scratch->total);
	return scratch->samples != NULL && scratch->sum != NULL && scratch->total != NULL;
}

static void items_read_some(void *context, size_t first, size_t last)
{
	struct reading *reading = context;
	struct fit_space *space = reading->space;
	struct error error = {0};
	struct scratch scratch = {0};
	bool good = scratch_allocate(&scratch, space) || no_memory(&error);
	size_t at = first;
	for (; good && at < last; at++)
		good = item_read(space, (unsigned)at, &scratch, &error);
	if (!good)
		reading_fail(reading, (unsigned)at, &error);
	(void)pthread_mutex_lock(&reading->lock);
	for (size_t i = 0; good && i < space->resources * space->stride; i++)
		space->sum[i] += scratch.total[i];
	(void)pthread_mutex_unlock(&reading->lock);
	free(scratch.samples);
	free(scratch.sum);
	free(scratch.total);
}

static void weights_make(struct fit_space *space)
{
	size_t buckets = space->buckets / space->resources;
	double most = 1;
	for (unsigned pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < space->buckets; i++) {
			const int64_t *sum = space->sum + i / buckets * space->stride;
			size_t b = i % buckets;
			double peak = 0;
			for (size_t s = b * space->samples / buckets; s < (b + 1) * space->samples / buckets; s++)
				peak = (double)sum[s] > peak ? (double)sum[s] : peak;
			if (pass == 0)
				most = peak > most ? peak : most;
			else
				space->weight[i] = (int16_t)(256 * peak / most);
		}
}

static void norms_make(struct fit_space *space)
{
	for (unsigned i = 0; i < space->items; i++) {
		const int16_t *profile = space->profile + i * space->buckets;
		int32_t norm = 0;
		for (size_t b = 0; b < space->buckets; b++)
			norm += profile[b] * (profile[b] * space->weight[b] >> 8);
		space->norm[i] = norm;
		for (size_t b = 0; b < space->buckets; b++)
			space->worth[i] += profile[b] * space->weight[b];
	}
}

static bool space_allocate(struct fit_space *space)
{
	size_t series = (size_t)space->items * space->resources;
	size_t per = space->samples < PROFILE_BUCKETS ? space->samples : PROFILE_BUCKETS;
	space->buckets = per * space->resources;
	space->series = calloc(series * space->stride + 1, sizeof *space->series);
	space->high = calloc(series * space->blocks + 1, sizeof *space->high);
	space->low = calloc(series * space->blocks + 1, sizeof *space->low);
	space->profile = calloc(space->items * space->buckets + 1, sizeof *space->profile);
	space->weight = calloc(space->buckets + 1, sizeof *space->weight);
	space->norm = calloc(space->items + 1, sizeof *space->norm);
	space->worth = calloc(space->items + 1, sizeof *space->worth);
	space->sum = calloc(space->resources * space->stride + 1, sizeof *space->sum);
	return space->series != NULL && space->high != NULL && space->low != NULL && space->profile != NULL &&
	       space->weight != NULL && space->norm != NULL && space->worth != NULL && space->sum != NULL;
}

static bool items_alone(const struct fit_space *space, struct error *error)
{
	const struct fit_task *task = space->task;
	for (unsigned i = 0; i < space->items; i++) {
		const struct fit_item *item = &space->item[i];
		unsigned resource = 0, host_class = 0;
		bool may = false, fits = false;
		for (unsigned c = 0; c < task->classes && !fits; c++) {
			if (item->barred & (UINT32_C(1) << c))
				continue;
			may = true;
			host_class = c;
			fits = fit_alone(space, i, c, &resource);
		}
		if (!may)
			return error_set(error, ERROR_INPUT,
					 "no fit: guest '" NAME_FORMAT "' may run on no kind of host",
					 task->demand->name[item->guest[0]]);
		if (fits)
			continue;
		uint16_t peak = 0;
		for (size_t b = 0; b < space->blocks; b++)
			if (space->high[item_summary(space, i, resource) + b] > peak)
				peak = space->high[item_summary(space, i, resource) + b];
		enum resource which = space->resource[resource];
		return error_set(error, ERROR_INPUT,
				 "no fit: guest '" NAME_FORMAT "'%s needs %s%.6g %s of %s, a host of kind '" NAME_FORMAT
				 "' has %.6g for guests",
				 task->demand->name[item->guest[0]], item->guests > 1 ? " and those with it" : "",
				 peak == FIT_TOP ? "more than " : "", peak * space->quantum[resource],
				 resource_unit[which], resource_key[which], task->host_class[host_class].name,
				 task->host_class[host_class].capacity[which]);
	}
	return true;
}

static bool series_read(struct fit_space *space, struct error *error)
{
	struct reading reading = {.space = space, .failed = FIT_NONE};
	(void)pthread_mutex_init(&reading.lock, NULL);
	pool_run(space->pool, space->items, 64, items_read_some, &reading);
	(void)pthread_mutex_destroy(&reading.lock);
	if (reading.failed != FIT_NONE) {
		if (error != NULL)
			*error = reading.error;
		return false;
	}
	weights_make(space);
	norms_make(space);
	return true;
}

static bool demand_check(const struct fit_task *task, struct error *error)
{
	const struct demand *demand = task->demand;
	if (demand->guests == 0 || demand->samples == 0)
		return error_set(error, ERROR_INPUT, "there is nothing to fit: %u guests with %u samples",
				 demand->guests, demand->samples);
	if (demand->guests > DEMAND_GUESTS_MAX || demand->samples > DEMAND_SAMPLES_MAX)
		return error_set(error, ERROR_INPUT, "%u guests with %u samples are too many: at most %d and %d",
				 demand->guests, demand->samples, DEMAND_GUESTS_MAX, DEMAND_SAMPLES_MAX);
	if (!(task->percentile > 0 && task->percentile <= 100))
		return error_set(error, ERROR_INPUT, "a percentile lies above 0 and up to 100");
	return groups_check(task, error);
}

struct fit_space *fit_space_create(const struct fit_task *task, struct pool *pool, struct error *error)
{
	if (!demand_check(task, error))
		return NULL;
	struct fit_space *space = calloc(1, sizeof *space);
	if (space == NULL) {
		(void)no_memory(error);
		return NULL;
	}
	space->task = task;
	space->pool = pool;
	space->kernel = fit_kernel_find();
	space->samples = task->demand->samples;
	space->blocks = (space->samples + FIT_BLOCK - 1) / FIT_BLOCK;
	space->stride = space->blocks * FIT_BLOCK;
	space->allowed = (unsigned)((100 - task->percentile) / 100 * (double)space->samples * (1 + SLACK));
	bool good = classes_read(space, error) && items_read(space, error) &&
		    (space_allocate(space) || no_memory(error)) && series_read(space, error) &&
		    items_alone(space, error);
	if (!good) {
		fit_space_free(space);
		return NULL;
	}
	return space;
}

void fit_space_free(struct fit_space *space)
{
	if (space == NULL)
		return;
	free(space->item);
	free(space->member);
	free(space->apart);
	free(space->series);
	free(space->high);
	free(space->low);
	free(space->profile);
	free(space->weight);
	free(space->norm);
	free(space->worth);
	free(space->sum);
	free(space);
}
