/* SPDX-License-Identifier: MIT */
/* Scalar floating point: bodies under gravity (square roots, divisions), and the Mandelbrot set (multiplications,
 * comparisons). */

#include <math.h>
#include <string.h>

#include "bench.h"

#define BODIES 5
#define STEPS 800000
#define SIDE 400
#define DEPTH 200

struct body {
	double at[3];
	double speed[3];
	double mass;
};

static void attract(struct body *a, struct body *b, double time)
{
	double way[3], square = 1e-3, pull;

	for (int i = 0; i < 3; i++) {
		way[i] = b->at[i] - a->at[i];
		square += way[i] * way[i];
	}
	pull = time / (square * sqrt(square));
	for (int i = 0; i < 3; i++) {
		a->speed[i] += way[i] * b->mass * pull;
		b->speed[i] -= way[i] * a->mass * pull;
	}
}

static uint64_t gravity(void)
{
	struct body bodies[BODIES];
	uint64_t bits;

	for (int i = 0; i < BODIES; i++)
		bodies[i] =
		    (struct body){.at = {i, 0.5 * i * i, 1.0 - i}, .speed = {0, 0.1 * i, -0.05}, .mass = 1.0 / (1 + i)};
	for (int step = 0; step < STEPS; step++) {
		for (int i = 0; i < BODIES; i++)
			for (int j = i + 1; j < BODIES; j++)
				attract(&bodies[i], &bodies[j], 1e-4);
		for (int i = 0; i < BODIES; i++)
			for (int k = 0; k < 3; k++)
				bodies[i].at[k] += 1e-4 * bodies[i].speed[k];
	}
	memcpy(&bits, &bodies[0].at[0], sizeof(bits));
	return bits;
}

static int escape(double re, double im)
{
	double x = 0, y = 0;
	int depth = 0;

	while (depth < DEPTH && x * x + y * y < 4.0) {
		double next = x * x - y * y + re;

		y = 2 * x * y + im;
		x = next;
		depth++;
	}
	return depth;
}

int main(void)
{
	uint64_t answer = gravity();

	for (int row = 0; row < SIDE; row++)
		for (int column = 0; column < SIDE; column++)
			answer = answer * 31 + (uint64_t)escape(3.0 * column / SIDE - 2.2, 3.0 * row / SIDE - 1.5);
	print_answer(answer);
	return 0;
}
