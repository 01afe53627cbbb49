/* SPDX-License-Identifier: MIT */
/* The sieve of Eratosthenes, a byte for each odd number. */

#include <string.h>

#include "bench.h"

#define HALF (1U << 20)
#define ROUNDS 40

static unsigned char composite[HALF];

static unsigned count_primes(void)
{
	unsigned count = 1;

	memset(composite, 0, sizeof(composite));
	for (unsigned i = 1; i < HALF; i++) {
		unsigned step = 2 * i + 1;

		if (composite[i])
			continue;
		count++;
		for (uint64_t at = (uint64_t)step * step / 2; at < HALF; at += step)
			composite[at] = 1;
	}
	return count;
}

int main(void)
{
	uint64_t answer = 0;

	for (int i = 0; i < ROUNDS; i++)
		answer = answer * 31 + count_primes();
	print_answer(answer);
	return 0;
}
