/* SPDX-License-Identifier: MIT */
#ifndef BENCH_H
#define BENCH_H

/*
 * What the benchmark programs share. Each does a fixed amount of work and prints one line that depends on all of it:
 * the driver compares the lines of native and guest runs, and the compiler cannot leave work out.
 */

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Marsaglia's xorshift64*: the same numbers everywhere. */
static inline uint64_t random_next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

static inline void print_answer(uint64_t answer)
{
	printf("%016" PRIx64 "\n", answer);
}

/* Ends the program where the system refuses what a benchmark needs. */
static inline void need(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

static inline void *need_memory(size_t size)
{
	void *memory = malloc(size);

	need(memory != NULL, "malloc");
	return memory;
}

#endif
