/* SPDX-License-Identifier: MIT */
/* Products of matrices of doubles, the inner loop along the rows. */

#include <string.h>

#include "bench.h"

#define SIDE 256
#define ROUNDS 25

static double left[SIDE][SIDE], right[SIDE][SIDE], product[SIDE][SIDE];

static void multiply(void)
{
	memset(product, 0, sizeof(product));
	for (int i = 0; i < SIDE; i++)
		for (int k = 0; k < SIDE; k++)
			for (int j = 0; j < SIDE; j++)
				product[i][j] += left[i][k] * right[k][j];
}

int main(void)
{
	uint64_t state = 3, answer = 0, bits;

	for (int i = 0; i < SIDE; i++)
		for (int j = 0; j < SIDE; j++) {
			left[i][j] = (double)(random_next(&state) % 100);
			right[i][j] = (double)(random_next(&state) % 100) / 100.0;
		}
	for (int round = 0; round < ROUNDS; round++) {
		multiply();
		memcpy(&bits, &product[round][2 * round], sizeof(bits));
		answer = answer * 31 + bits;
		left[round][0] += 1.0;
	}
	print_answer(answer);
	return 0;
}
