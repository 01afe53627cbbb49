/* SPDX-License-Identifier: MIT */
/* Compiled and run inside the guest: integers, floating point, recursion and the C library, with published answers. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned primes_below(unsigned limit)
{
	char *composite = calloc(limit, 1);
	unsigned count = 0;
	for (unsigned i = 2; i < limit; i++) {
		if (composite[i])
			continue;
		count++;
		for (uint64_t j = (uint64_t)i * i; j < limit; j += i)
			composite[j] = 1;
	}
	free(composite);
	return count;
}

static unsigned queens(unsigned size, unsigned columns, unsigned left, unsigned right)
{
	unsigned all = (1u << size) - 1, count = 0;
	if (columns == all)
		return 1;
	for (unsigned free_columns = all & ~(columns | left | right); free_columns != 0;
	     free_columns &= free_columns - 1) {
		unsigned bit = free_columns & -free_columns;
		count += queens(size, columns | bit, (left | bit) << 1, (right | bit) >> 1);
	}
	return count;
}

static uint32_t crc32(const char *text)
{
	uint32_t crc = ~0u;
	for (; *text != 0; text++) {
		crc ^= (unsigned char)*text;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (0xedb88320 & -(crc & 1));
	}
	return ~crc;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(void)
{
	char *words[] = {"pear", "apple", "fig", "cherry"};
	long double zeta = 0;
	for (int n = 100000; n > 0; n--)
		zeta += 1.0L / ((long double)n * n);

	qsort(words, 4, sizeof(words[0]), compare);
	printf("primes %u\n", primes_below(1000000));
	printf("queens %u\n", queens(8, 0, 0, 0));
	printf("crc %08x\n", crc32("123456789"));
	printf("zeta %.4Lf\n", zeta);
	printf("pi %.15f\n", 4 * atan(1));
	printf("sort %s %s %s %s\n", words[0], words[1], words[2], words[3]);
	printf("int128 %llx\n", (unsigned long long)((__int128)0x123456789abcdefULL * 0xfedcba987654321ULL >> 64));
	return 42;
}
