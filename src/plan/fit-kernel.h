/* SPDX-License-Identifier: MIT */
/*
 * The inner loops of fitting, over arrays of 16-bit quanta whose length is a multiple of FIT_BLOCK. No value is above
 * FIT_TOP, so that two of them add up without overflow. The arithmetic is in integers: every processor gets the same.
 */
#ifndef NFOLD_PLAN_FIT_KERNEL_H
#define NFOLD_PLAN_FIT_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FIT_BLOCK 64   /* samples that share one summary: two cache lines */
#define FIT_TOP 32767  /* where quanta saturate */
#define FIT_FULL 30000 /* the largest capacity, in quanta */

enum fit_glance { FIT_GLANCE_FITS, FIT_GLANCE_LOOK, FIT_GLANCE_OVER };

struct fit_kernel {
	/* to += from, saturating at FIT_TOP; to -= from. */
	void (*add)(uint16_t *to, const uint16_t *from, size_t count);
	void (*subtract)(uint16_t *to, const uint16_t *from, size_t count);
	/* How many of a + b are above the capacity; of a + b - c, where c is a part of a. */
	unsigned (*count_over)(const uint16_t *a, const uint16_t *b, uint16_t capacity, size_t count);
	unsigned (*count_over_without)(const uint16_t *a, const uint16_t *b, const uint16_t *c, uint16_t capacity,
				       size_t count);
	/* Of FIT_BLOCK values: how much a + b - c is above the capacities, all together. Sums must stay below 2^16. */
	uint32_t (*excess)(const uint16_t *a, const uint16_t *b, const uint16_t *c, const uint16_t *capacity);
	/* Whether two series fit by their summaries alone: the highest and lowest value of each block. */
	enum fit_glance (*glance)(const uint16_t *high_a, const uint16_t *low_a, const uint16_t *high_b,
				  const uint16_t *low_b, uint16_t capacity, size_t blocks);
	/* The highest and lowest of each block of FIT_BLOCK. */
	void (*summarize)(const uint16_t *series, uint16_t *high, uint16_t *low, size_t blocks);
	/* The products must sum to less than 2^31. */
	int32_t (*dot)(const int16_t *a, const int16_t *b, size_t count);
};

/* The fastest that this processor has. */
const struct fit_kernel *fit_kernel_find(void);
/* Every one that this processor has, by index; NULL ends. */
const struct fit_kernel *fit_kernel_at(unsigned index);

#endif
