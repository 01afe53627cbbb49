/* SPDX-License-Identifier: MIT */
/*
 * simd sse2|avx2: vector kernels by intrinsics: a polynomial over floats, a dot product of doubles, sums of absolute
 * differences of bytes. Multiplications and additions stay apart: where FMA is computed in software, nothing else would
 * be measured. Status 33 where CPUID does not promise the set.
 */

#include <immintrin.h>
#include <string.h>

#include "bench.h"

#define COUNT 8192
#define FLOATS 2048
#define ROUNDS 80000
#define NOT_THERE 33

static float floats[COUNT] __attribute__((aligned(32)));
static double doubles[COUNT] __attribute__((aligned(32)));
static uint8_t bytes[2][COUNT] __attribute__((aligned(32)));

static void fill(void)
{
	uint64_t state = 5;

	for (int i = 0; i < COUNT; i++) {
		floats[i] = (float)(random_next(&state) % 1000) / 1000.0f;
		doubles[i] = (double)(random_next(&state) % 1000) / 1000.0;
		bytes[0][i] = (uint8_t)random_next(&state);
		bytes[1][i] = (uint8_t)random_next(&state);
	}
}

static void round_sse2(int shift, double *dot, uint64_t *distance)
{
	__m128 half = _mm_set1_ps(0.5f), quarter = _mm_set1_ps(0.25f);
	__m128d sum = _mm_setzero_pd();
	__m128i differences = _mm_setzero_si128();
	double parts[2];
	uint64_t counts[2];

	for (int i = 0; i < FLOATS; i += 4) {
		__m128 x = _mm_load_ps(&floats[i]);

		x = _mm_add_ps(_mm_mul_ps(_mm_add_ps(_mm_mul_ps(x, quarter), half), x), quarter);
		_mm_store_ps(&floats[i], _mm_min_ps(x, half));
	}
	for (int i = 0; i < FLOATS; i += 2)
		sum = _mm_add_pd(sum, _mm_mul_pd(_mm_load_pd(&doubles[i]), _mm_load_pd(&doubles[COUNT / 2 + i])));
	for (int i = 0; i < COUNT - 64; i += 16) {
		__m128i a = _mm_load_si128((const __m128i *)&bytes[0][i]);
		__m128i b = _mm_loadu_si128((const __m128i *)&bytes[1][i + shift]);

		differences = _mm_add_epi64(differences, _mm_sad_epu8(a, b));
	}
	_mm_storeu_pd(parts, sum);
	_mm_storeu_si128((__m128i *)counts, differences);
	*dot += parts[0] + parts[1];
	*distance += counts[0] + counts[1];
}

__attribute__((target("avx2"))) static void round_avx2(int shift, double *dot, uint64_t *distance)
{
	__m256 half = _mm256_set1_ps(0.5f), quarter = _mm256_set1_ps(0.25f);
	__m256d sum = _mm256_setzero_pd();
	__m256i differences = _mm256_setzero_si256();
	double parts[4];
	uint64_t counts[4];

	for (int i = 0; i < FLOATS; i += 8) {
		__m256 x = _mm256_load_ps(&floats[i]);

		x = _mm256_add_ps(_mm256_mul_ps(_mm256_add_ps(_mm256_mul_ps(x, quarter), half), x), quarter);
		_mm256_store_ps(&floats[i], _mm256_min_ps(x, half));
	}
	for (int i = 0; i < FLOATS; i += 4)
		sum = _mm256_add_pd(
		    sum, _mm256_mul_pd(_mm256_load_pd(&doubles[i]), _mm256_load_pd(&doubles[COUNT / 2 + i])));
	for (int i = 0; i < COUNT - 64; i += 32) {
		__m256i a = _mm256_load_si256((const __m256i *)&bytes[0][i]);
		__m256i b = _mm256_loadu_si256((const __m256i *)&bytes[1][i + shift]);

		differences = _mm256_add_epi64(differences, _mm256_sad_epu8(a, b));
	}
	_mm256_storeu_pd(parts, sum);
	_mm256_storeu_si256((__m256i *)counts, differences);
	*dot += (parts[0] + parts[1]) + (parts[2] + parts[3]);
	*distance += counts[0] + counts[1] + counts[2] + counts[3];
}

int main(int count, char **words)
{
	int wide = count > 1 && strcmp(words[1], "avx2") == 0;
	uint64_t distance = 0, bits;
	double dot = 0;

	if (wide && !__builtin_cpu_supports("avx2"))
		return NOT_THERE;
	fill();
	for (int i = 0; i < ROUNDS; i++)
		(wide ? round_avx2 : round_sse2)(i % 64, &dot, &distance);
	memcpy(&bits, &dot, sizeof(bits));
	print_answer(bits * 31 + distance + (uint64_t)(1000.0f * floats[7]));
	return 0;
}
