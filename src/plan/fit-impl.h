/* SPDX-License-Identifier: MIT */
/*
 * Inside the fit. A space is the task in quanta and never changes once made; a state is a placement that grows.
 *
 * Guests of one affinity group are one item: their series are added up. A bin is a host in use.
 */
#ifndef NFOLD_PLAN_FIT_IMPL_H
#define NFOLD_PLAN_FIT_IMPL_H

#include "plan/fit-kernel.h"
#include "plan/fit.h"
#include "plan/pool.h"

#define PROFILE_BUCKETS 32 /* of each resource in the short form of a series that scores use */
#define PROFILE_SHIFT 4	   /* quanta to profile units: 32 * 5 products of them stay below 2^31 */

/* Sums for bounds are rounded down, finely, and added up as integers: in any order they are the same. */
#define SUM_PARTS 256

struct fit_item {
	unsigned *guest;
	unsigned guests;
	unsigned pin; /* a site or FIT_NONE */
	unsigned now; /* the site most of it runs on, or FIT_NONE */
	uint32_t barred;
	const unsigned *apart; /* the anti-affinity groups it is in */
	unsigned aparts;
	unsigned size; /* its largest peak over all resources, in quanta of the largest class */
};

struct fit_space {
	const struct fit_task *task;
	const struct fit_kernel *kernel;
	struct pool *pool;
	struct fit_item *item;
	unsigned items;
	unsigned *member, *apart; /* what the items point into */
	unsigned resources;	  /* those that have a capacity */
	enum resource resource[RESOURCE_COUNT];
	double quantum[RESOURCE_COUNT]; /* by index in resource[], as everything below */
	uint16_t capacity[FIT_CLASSES_MAX][RESOURCE_COUNT];
	size_t samples, stride, blocks; /* stride is samples rounded up to a block; the rest is 0 */
	unsigned allowed;		/* samples in which a resource of a host may be over */
	uint16_t *series;		/* [item][resource][stride] */
	uint16_t *high, *low;		/* [item][resource][blocks] */
	size_t buckets;			/* of a profile, all resources together */
	int16_t *profile;		/* [item][buckets] */
	int16_t *weight;		/* [buckets]: how scarce, 256 is the scarcest */
	int32_t *norm;			/* by item: what its own profile is worth, weighted */
	int64_t *worth;			/* by item: its weighted volume */
	int64_t *sum;			/* [resource][stride]: of all items, in SUM_PARTS of a quantum, rounded down */
};

struct fit_bin {
	unsigned host_class, site;
	unsigned *item;
	unsigned items, room;
	uint16_t *load; /* [resource][stride] */
	uint16_t *high, *low;
	uint16_t *groups; /* by anti-affinity group, how many of its items are here; NULL without groups */
	int16_t *rest;	  /* [buckets]: what is left, weighted, in profile units */
	bool saturated;	  /* some load is at FIT_TOP: taking an item away must add up again */
};

struct fit_state {
	const struct fit_space *space;
	struct fit_bin *bin; /* room for one each item and site */
	unsigned bins;
	unsigned *bin_of; /* by item, or FIT_NONE */
	unsigned used[FIT_CLASSES_MAX];
	unsigned steps; /* left */
	unsigned greed; /* the share of an item's own norm in its score: 4 is the whole, less favours big items */
	uint64_t random;
};

struct fit_space *fit_space_create(const struct fit_task *task, struct pool *pool, struct error *error);
void fit_space_free(struct fit_space *space);

static inline const uint16_t *item_series(const struct fit_space *space, unsigned item, unsigned resource)
{
	return space->series + ((size_t)item * space->resources + resource) * space->stride;
}

static inline size_t item_summary(const struct fit_space *space, unsigned item, unsigned resource)
{
	return ((size_t)item * space->resources + resource) * space->blocks;
}

struct fit_state *fit_state_create(const struct fit_space *space, struct error *error);
void fit_state_free(struct fit_state *state);
/* Opens an empty bin; FIT_NONE when there is no memory or no host of the class left. */
unsigned fit_state_open(struct fit_state *state, unsigned host_class, unsigned site);
/* Closes an empty bin; the last bin takes its number. */
void fit_state_close(struct fit_state *state, unsigned number);
bool fit_state_put(struct fit_state *state, unsigned bin, unsigned item);
void fit_state_take(struct fit_state *state, unsigned item);
/* A pseudo-random number below limit, the same in every run. */
unsigned fit_state_random(struct fit_state *state, unsigned limit);
/* The placement alone; fit_state_restore brings bins and loads back to it. */
struct fit_saved *fit_state_save(const struct fit_state *state);
bool fit_state_restore(struct fit_state *state, const struct fit_saved *saved);
void fit_saved_free(struct fit_saved *saved);

/* The rules that are not about loads. */
bool fit_may(const struct fit_state *state, unsigned bin, unsigned item);
/* The same, but with one or two items gone from the bin: a and b may be the same. */
bool fit_may_without(const struct fit_state *state, unsigned bin, unsigned item, unsigned a, unsigned b);
bool fit_fits(const struct fit_state *state, unsigned bin, unsigned item);
bool fit_swap_fits(const struct fit_state *state, unsigned bin, unsigned without, unsigned item);
/* Whether an item fits an empty host of the class; if not, the resource by which it does not. */
bool fit_alone(const struct fit_space *space, unsigned item, unsigned host_class, unsigned *resource);
/* How well an item fills what is left: higher is better. The sum over time and resources, weighted by scarcity, of
 * rest^2 - (rest - item)^2 (the norm-based greedy of Panigrahy et al., "Heuristics for vector bin packing", 2011). */
int64_t fit_score(const struct fit_state *state, const int16_t *rest, unsigned item);
/* The highest load of a bin in 1/65536 of its capacity, over resources and samples. */
unsigned fit_peak(const struct fit_state *state, unsigned number);

/* Opens the sites that have pinned guests, and with keep those in use, with the guests that may stay there. */
bool fit_build_sites(struct fit_state *state, struct error *error);
/* Places every item that has no bin yet, opening hosts. */
bool fit_build(struct fit_state *state, struct error *error);
/* Tries to place the items of a pool into the open bins by moving others about; false if the steps ran out. The state
 * is then without those items that are still in the pool. */
bool fit_eject(struct fit_state *state, unsigned *pool, unsigned *pooled, unsigned steps);
/* Presses the items of a bin into the others by exchanges. False: it did not work out, the state may be too full. */
struct press *fit_press_create(struct fit_state *state);
void fit_press_free(struct press *press);
bool fit_press_out(struct press *press, unsigned bin, unsigned *pool, unsigned steps);
/* The state was brought back to another placement. */
void fit_press_again(struct press *press);
/* Empties hosts while there are steps; false when there is no memory. */
bool fit_reduce(struct fit_state *state, const struct fit_bound *bound);
/* Lowers the highest peaks by moves and swaps. */
void fit_balance(struct fit_state *state);
/* By a rule the two may not share a host. */
bool fit_must_part(const struct fit_space *space, unsigned a, unsigned b);
/* More hosts than `than`, or anything else if it proves no more; false without memory. */
bool fit_bound_sets(const struct fit_space *space, unsigned than, unsigned *hosts);
bool fit_bound_find(const struct fit_space *space, struct fit_bound *bound, struct error *error);

#endif
