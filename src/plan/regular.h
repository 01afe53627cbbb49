/* SPDX-License-Identifier: MIT */
/*
 * One server's samples made regular: sorted, freed of duplicates, counters turned into rates, put on a grid.
 *
 * The interval of the grid is the median width of the samples, and its phase the one that puts most samples' middles
 * into the middle of a slot. A slot is the mean of the samples whose middle lies in it, weighted by their width; a slot
 * without one takes the sample that covers its middle, and is else a gap. So a regular series keeps its values as they
 * are.
 */
#ifndef NFOLD_PLAN_REGULAR_H
#define NFOLD_PLAN_REGULAR_H

#include <stddef.h>

#include "plan/collect.h"

/* Samples in the order they were read. Channels that have no value anywhere are NULL. */
struct samples {
	size_t count;
	int64_t *time_ms;
	uint32_t *width_ms;
	double *value[COLLECT_CHANNEL_COUNT];
};

bool samples_make(struct samples *samples, size_t count, uint32_t channels);
void samples_destroy(struct samples *samples);

struct regular {
	struct estate_grid grid;
	float *value[COLLECT_CHANNEL_COUNT]; /* grid.count of them, or NULL */
};

void regular_destroy(struct regular *regular);

/* Sorts by time; samples of one time become one, and parts of one time are put together. */
bool samples_sort(struct samples *samples, uint64_t note[ESTATE_NOTE_COUNT]);

/*
 * Running totals become rates. bits 32, 64, or 0: a total that fell is taken for a wrap at 2^32 if it was below that
 * and the implied rate is not more than twice the largest seen, else for a reset, which costs a sample.
 */
void samples_count(struct samples *samples, enum collect_channel channel, unsigned bits,
		   uint64_t note[ESTATE_NOTE_COUNT]);

/* Fills widths that are not known, from the distances of sorted samples. */
void samples_widths(struct samples *samples, uint64_t note[ESTATE_NOTE_COUNT]);

/* Sorted samples with widths. */
bool samples_regular(const struct samples *samples, struct regular *regular, uint64_t note[ESTATE_NOTE_COUNT],
		     struct error *error);

#endif
