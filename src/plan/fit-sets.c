/* SPDX-License-Identifier: MIT */
/*
 * A lower bound from whole months: which of the largest guests can share a host at all.
 *
 * Give each guest a weight such that no set of guests that fits one host weighs more than 1. Then a host carries at
 * most 1, and there are at least as many hosts as all guests weigh together. The best weights are the dual solution of
 * the configuration program (Gilmore and Gomory, "A linear programming approach to the cutting-stock problem", 1961):
 * the fewest hosts, in fractions, that carry each guest once, each host with a set that fits.
 *
 * Here the sets are written down, all of them: up to 64 of the largest guests, so that a set is a word, and every
 * moment at which they could exceed a host together. Guests of a third of a host go by twos and threes, so there are
 * few sets; should there be too many, the smallest guests are left out, since fewer guests need no more hosts.
 *
 * The simplex method runs in floating point and only proposes weights. They are rounded to integers and weighed against
 * every set, and what follows is true of any weights.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/fit-impl.h"

#define ITEMS_MAX 64
#define LEAST (FIT_FULL / 8) /* guests below are not looked at */
#define MOMENTS_MAX 65536
#define SETS_MAX 200000
#define WORK_MAX 2000000000 /* demands that are added up in the search for sets */
#define CHUNK 512	    /* moments tested at a time, the fullest first: most sets that do not fit fail at once */
#define WEIGHT_ONE (1 << 24)
#define PIVOTS_MAX 2000
#define TINY 1e-9

struct moment {
	uint32_t total;
	uint32_t at; /* resource * samples + sample */
};

struct sets {
	const struct fit_space *space;
	unsigned item[ITEMS_MAX]; /* the largest first */
	unsigned items;
	uint64_t apart[ITEMS_MAX]; /* by item, those it may not share a host with */
	struct moment *moment;
	size_t moments;	  /* a multiple of FIT_BLOCK: the rest is 0 */
	uint16_t *demand; /* [item][moment]: less than what it needs, so that rounding never forbids a set */
	uint16_t *load;	  /* [depth][moment] */
	uint64_t *set;
	size_t count;
	uint64_t work;
};

static unsigned demand_floor(const struct fit_space *space, unsigned item, uint32_t at)
{
	size_t samples = space->samples;
	uint16_t quanta = item_series(space, item, (unsigned)(at / samples))[at % samples];
	return quanta != 0 ? quanta - 1U : 0;
}

static int moment_compare(const void *a, const void *b)
{
	const struct moment *one = a, *two = b;
	if (one->total != two->total)
		return one->total > two->total ? -1 : 1;
	return one->at < two->at ? -1 : one->at > two->at;
}

static int item_compare(const void *a, const void *b, void *context)
{
	const struct fit_space *space = context;
	unsigned one = *(const unsigned *)a, two = *(const unsigned *)b;
	if (space->item[one].size != space->item[two].size)
		return space->item[one].size > space->item[two].size ? -1 : 1;
	return one < two ? -1 : one > two;
}

static bool items_choose(struct sets *sets)
{
	const struct fit_space *space = sets->space;
	unsigned *order = malloc((space->items + 1) * sizeof *order), count = 0;
	if (order == NULL)
		return false;
	for (unsigned i = 0; i < space->items; i++)
		if (space->item[i].size > LEAST || space->item[i].aparts != 0)
			order[count++] = i;
	qsort_r(order, count, sizeof *order, item_compare, (void *)space);
	sets->items = count < ITEMS_MAX ? count : ITEMS_MAX;
	memcpy(sets->item, order, sets->items * sizeof *order);
	for (unsigned i = 0; i < sets->items; i++)
		for (unsigned k = 0; k < sets->items; k++)
			if (i != k && fit_must_part(space, sets->item[i], sets->item[k]))
				sets->apart[i] |= UINT64_C(1) << k;
	free(order);
	return true;
}

/* Those at which all chosen guests together exceed a host: no other can forbid a set. */
static bool moments_choose(struct sets *sets)
{
	const struct fit_space *space = sets->space;
	size_t samples = space->samples, count = 0;
	sets->moment = malloc((space->resources * samples + 1) * sizeof *sets->moment);
	if (sets->moment == NULL)
		return false;
	for (uint32_t at = 0; at < space->resources * samples; at++) {
		uint32_t total = 0;
		for (unsigned i = 0; i < sets->items; i++)
			total += demand_floor(space, sets->item[i], at);
		if (total >= FIT_FULL)
			sets->moment[count++] = (struct moment){total, at};
	}
	qsort(sets->moment, count, sizeof *sets->moment, moment_compare);
	count = count < MOMENTS_MAX ? count : MOMENTS_MAX;
	sets->moments = (count + FIT_BLOCK - 1) / FIT_BLOCK * FIT_BLOCK;
	sets->demand = calloc(sets->items * sets->moments + 1, sizeof *sets->demand);
	sets->load = calloc((sets->items + 1) * sets->moments + 1, sizeof *sets->load);
	sets->set = malloc(SETS_MAX * sizeof *sets->set);
	if (sets->demand == NULL || sets->load == NULL || sets->set == NULL)
		return false;
	for (unsigned i = 0; i < sets->items; i++)
		for (size_t m = 0; m < count; m++)
			sets->demand[i * sets->moments + m] =
			    (uint16_t)demand_floor(space, sets->item[i], sets->moment[m].at);
	return true;
}

/* Sums that reach FIT_FULL do not fit: the true ones exceed it. */
static bool goes_with(struct sets *sets, const uint16_t *load, unsigned item)
{
	const uint16_t *demand = sets->demand + item * sets->moments;
	for (size_t m = 0; m < sets->moments; m += CHUNK) {
		size_t count = sets->moments - m < CHUNK ? sets->moments - m : CHUNK;
		sets->work += count;
		if (sets->space->kernel->count_over(load + m, demand + m, FIT_FULL - 1, count) != 0)
			return false;
	}
	return true;
}

/* Writes down the sets that begin with `set`, `open` being who may join it. False when there are too many. */
static bool sets_grow(struct sets *sets, uint64_t set, unsigned depth, uint64_t open)
{
	const uint16_t *load = sets->load + depth * sets->moments;
	uint16_t *next = sets->load + (depth + 1) * sets->moments;
	uint64_t fits = 0;
	for (uint64_t left = open; left != 0; left &= left - 1) {
		unsigned item = (unsigned)__builtin_ctzll(left);
		fits |= (uint64_t)goes_with(sets, load, item) << item;
	}
	if (fits == 0) {
		if (sets->count == SETS_MAX || sets->work > WORK_MAX)
			return false;
		sets->set[sets->count++] = set;
	}
	for (; fits != 0; fits &= fits - 1) {
		unsigned item = (unsigned)__builtin_ctzll(fits);
		memcpy(next, load, sets->moments * sizeof *next);
		sets->space->kernel->add(next, sets->demand + item * sets->moments, sets->moments);
		sets->work += sets->moments;
		if (!sets_grow(sets, set | UINT64_C(1) << item, depth + 1, fits & (fits - 1) & ~sets->apart[item]))
			return false;
	}
	return true;
}

/* All sets, of as many guests as there can be. */
static void sets_find(struct sets *sets, unsigned least)
{
	for (; sets->items > least; sets->items -= sets->items / 8 + 1) {
		sets->count = 0;
		sets->work = 0;
		if (sets_grow(sets, 0, 0, UINT64_MAX >> (64 - sets->items)))
			return;
	}
	sets->items = 0;
}

/*
 * The revised simplex method with the basis' inverse in full: a row for each guest, a column for each set. It begins
 * with each guest on a host of its own. A guest may be carried twice.
 */
struct simplex {
	unsigned rows;
	double inverse[ITEMS_MAX][ITEMS_MAX];
	double value[ITEMS_MAX];  /* of the column that is in each row */
	double cost[ITEMS_MAX];	  /* 1 for a set, 0 for carrying a guest twice */
	double weight[ITEMS_MAX]; /* the dual solution */
};

static void simplex_start(struct simplex *simplex, unsigned rows)
{
	*simplex = (struct simplex){.rows = rows};
	for (unsigned i = 0; i < rows; i++) {
		simplex->inverse[i][i] = 1;
		simplex->cost[i] = 1;
		/* Uneven, so that the method does not stand still where many columns are as good. */
		simplex->value[i] = 1 + 1e-5 * (i * 37 % 64);
	}
}

static void simplex_weigh(struct simplex *simplex)
{
	for (unsigned k = 0; k < simplex->rows; k++) {
		simplex->weight[k] = 0;
		for (unsigned i = 0; i < simplex->rows; i++)
			simplex->weight[k] += simplex->cost[i] * simplex->inverse[i][k];
	}
}

/* Brings a column in: `sign` for each guest of the set. False if nothing limits it, which only rounding can bring. */
static bool simplex_pivot(struct simplex *simplex, uint64_t set, double sign)
{
	double column[ITEMS_MAX] = {0};
	unsigned leaves = FIT_NONE, rows = simplex->rows;
	for (unsigned i = 0; i < rows; i++) {
		for (uint64_t left = set; left != 0; left &= left - 1)
			column[i] += sign * simplex->inverse[i][__builtin_ctzll(left)];
		if (column[i] > TINY &&
		    (leaves == FIT_NONE || simplex->value[i] * column[leaves] < simplex->value[leaves] * column[i]))
			leaves = i;
	}
	if (leaves == FIT_NONE)
		return false;
	double pivot = column[leaves];
	for (unsigned k = 0; k < rows; k++)
		simplex->inverse[leaves][k] /= pivot;
	simplex->value[leaves] /= pivot;
	simplex->cost[leaves] = sign > 0 ? 1 : 0;
	for (unsigned i = 0; i < rows; i++) {
		if (i == leaves)
			continue;
		for (unsigned k = 0; k < rows; k++)
			simplex->inverse[i][k] -= column[i] * simplex->inverse[leaves][k];
		simplex->value[i] -= column[i] * simplex->value[leaves];
	}
	return true;
}

/* The set that weighs most, and what. */
static uint64_t set_heaviest(const struct sets *sets, const double *weight, double *heaviest)
{
	uint64_t best = 0;
	*heaviest = 0;
	for (size_t s = 0; s < sets->count; s++) {
		double sum = 0;
		for (uint64_t left = sets->set[s]; left != 0; left &= left - 1)
			sum += weight[__builtin_ctzll(left)];
		if (sum > *heaviest) {
			*heaviest = sum;
			best = sets->set[s];
		}
	}
	return best;
}

/* One exchange of columns; false at the optimum. */
static bool simplex_step(struct simplex *simplex, const struct sets *sets)
{
	unsigned lightest = 0;
	double heaviest;
	simplex_weigh(simplex);
	for (unsigned i = 1; i < simplex->rows; i++)
		lightest = simplex->weight[i] < simplex->weight[lightest] ? i : lightest;
	if (simplex->weight[lightest] < -TINY)
		return simplex_pivot(simplex, UINT64_C(1) << lightest, -1);
	uint64_t set = set_heaviest(sets, simplex->weight, &heaviest);
	return heaviest > 1 + 1e-7 && simplex_pivot(simplex, set, 1);
}

/* What the weights prove, in integers. */
static unsigned weights_prove(const struct sets *sets, const double *proposed)
{
	uint64_t weight[ITEMS_MAX] = {0}, all = 0, heaviest = 1;
	for (unsigned i = 0; i < sets->items; i++) {
		weight[i] = (uint64_t)(fmin(fmax(proposed[i], 0), 1) * WEIGHT_ONE);
		all += weight[i];
	}
	for (size_t s = 0; s < sets->count; s++) {
		uint64_t sum = 0;
		for (uint64_t left = sets->set[s]; left != 0; left &= left - 1)
			sum += weight[__builtin_ctzll(left)];
		heaviest = sum > heaviest ? sum : heaviest;
	}
	return (unsigned)((all + heaviest - 1) / heaviest);
}

static unsigned sets_prove(const struct sets *sets)
{
	struct simplex simplex;
	simplex_start(&simplex, sets->items);
	for (unsigned i = 0; i < PIVOTS_MAX && simplex_step(&simplex, sets); i++)
		;
	simplex_weigh(&simplex);
	return weights_prove(sets, simplex.weight);
}

bool fit_bound_sets(const struct fit_space *space, unsigned than, unsigned *hosts)
{
	struct sets sets = {.space = space};
	bool good = items_choose(&sets);
	*hosts = 0;
	if (good && sets.items > than) {
		good = moments_choose(&sets);
		if (good)
			sets_find(&sets, than);
		if (good && sets.items != 0)
			*hosts = sets_prove(&sets);
	}
	free(sets.moment);
	free(sets.demand);
	free(sets.load);
	free(sets.set);
	return good;
}
