/* SPDX-License-Identifier: MIT */
/*
 * The loops, written once and plainly. The build compiles this file for several processors, each time with -O3, its
 * -m options and the table's name; the compiler makes vectors of the loops.
 */
#include "plan/fit-kernel-impl.h"

#ifndef FIT_KERNEL_TABLE
#define FIT_KERNEL_TABLE fit_kernel_plain
#endif

#define static static inline __attribute__((always_inline))

static void add(uint16_t *to, const uint16_t *from, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint16_t sum = (uint16_t)(to[i] + from[i]);
		to[i] = sum < FIT_TOP ? sum : FIT_TOP;
	}
}

static void subtract(uint16_t *to, const uint16_t *from, size_t count)
{
	for (size_t i = 0; i < count; i++)
		to[i] = (uint16_t)(to[i] - from[i]);
}

static unsigned count_over(const uint16_t *a, const uint16_t *b, uint16_t capacity, size_t count)
{
	unsigned over = 0;
	for (size_t block = 0; block < count; block += FIT_BLOCK) {
		uint16_t part = 0;
		for (size_t i = 0; i < FIT_BLOCK; i++)
			part = (uint16_t)(part + ((uint16_t)(a[block + i] + b[block + i]) > capacity));
		over += part;
	}
	return over;
}

static unsigned count_over_without(const uint16_t *a, const uint16_t *b, const uint16_t *c, uint16_t capacity,
				   size_t count)
{
	unsigned over = 0;
	for (size_t block = 0; block < count; block += FIT_BLOCK) {
		uint16_t part = 0;
		for (size_t i = 0; i < FIT_BLOCK; i++)
			part = (uint16_t)(part + ((uint16_t)(a[block + i] + b[block + i] - c[block + i]) > capacity));
		over += part;
	}
	return over;
}

static uint32_t excess(const uint16_t *a, const uint16_t *b, const uint16_t *c, const uint16_t *capacity)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < FIT_BLOCK; i++) {
		uint16_t load = (uint16_t)(a[i] + b[i] - c[i]);
		sum += (uint16_t)((load > capacity[i] ? load : capacity[i]) - capacity[i]);
	}
	return sum;
}

static enum fit_glance glance(const uint16_t *high_a, const uint16_t *low_a, const uint16_t *high_b,
			      const uint16_t *low_b, uint16_t capacity, size_t blocks)
{
	uint16_t look = 0, over = 0;
	for (size_t i = 0; i < blocks; i++) {
		/* At the moment of a's peak b is at its low or above. */
		uint16_t one = (uint16_t)(high_a[i] + low_b[i]), other = (uint16_t)(low_a[i] + high_b[i]);
		look |= (uint16_t)(high_a[i] + high_b[i]) > capacity;
		over |= (one > other ? one : other) > capacity;
	}
	return over ? FIT_GLANCE_OVER : look ? FIT_GLANCE_LOOK : FIT_GLANCE_FITS;
}

static void summarize(const uint16_t *series, uint16_t *high, uint16_t *low, size_t blocks)
{
	for (size_t block = 0; block < blocks; block++) {
		const uint16_t *from = series + block * FIT_BLOCK;
		uint16_t most = 0, least = UINT16_MAX;
		for (size_t i = 0; i < FIT_BLOCK; i++) {
			most = from[i] > most ? from[i] : most;
			least = from[i] < least ? from[i] : least;
		}
		high[block] = most;
		low[block] = least;
	}
}

static int32_t dot(const int16_t *a, const int16_t *b, size_t count)
{
	int32_t sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += (int32_t)a[i] * b[i];
	return sum;
}

const struct fit_kernel FIT_KERNEL_TABLE = {
    .add = add,
    .subtract = subtract,
    .count_over = count_over,
    .count_over_without = count_over_without,
    .excess = excess,
    .glance = glance,
    .summarize = summarize,
    .dot = dot,
};
