/* SPDX-License-Identifier: MIT */
/* Calls and returns: Fibonacci's numbers, Ackermann's function, the queens of a chess board. */

#include "bench.h"

static __attribute__((noinline)) unsigned fibonacci(unsigned n)
{
	return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static __attribute__((noinline)) unsigned ackermann(unsigned m, unsigned n)
{
	if (m == 0)
		return n + 1;
	return ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

static __attribute__((noinline)) unsigned queens(unsigned all, unsigned columns, unsigned left, unsigned right)
{
	unsigned free_columns = all & ~(columns | left | right), count = 0;

	if (columns == all)
		return 1;
	while (free_columns) {
		unsigned bit = free_columns & -free_columns;

		free_columns ^= bit;
		count += queens(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
	}
	return count;
}

int main(void)
{
	uint64_t answer = fibonacci(38);

	answer = answer * 31 + ackermann(3, 10);
	answer = answer * 31 + queens((1U << 10) - 1, 0, 0, 0);
	print_answer(answer * 31 + fibonacci(36));
	return 0;
}
