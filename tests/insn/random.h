/* SPDX-License-Identifier: MIT */
/* A reproducible source of random bits (SplitMix64). */
#ifndef NFOLD_INSN_RANDOM_H
#define NFOLD_INSN_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random {
	uint64_t state;
};

static inline uint64_t random_mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
	return value ^ (value >> 31);
}

static inline uint64_t random_next(struct random *random)
{
	random->state += UINT64_C(0x9e3779b97f4a7c15);
	return random_mix(random->state);
}

/* 0 .. count - 1; count is not 0. */
static inline uint32_t random_below(struct random *random, uint32_t count)
{
	return (uint32_t)(((random_next(random) >> 32) * count) >> 32);
}

static inline bool random_percent(struct random *random, unsigned percent)
{
	return random_below(random, 100) < percent;
}

static inline void random_bytes(struct random *random, void *to, size_t count)
{
	uint8_t *byte = to;
	for (size_t i = 0; i < count; i++)
		byte[i] = (uint8_t)random_next(random);
}

#endif
