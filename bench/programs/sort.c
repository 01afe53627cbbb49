/* SPDX-License-Identifier: MIT */
/* Sorting: a quicksort with its comparison inline, then the C library's qsort, which calls it through a pointer. */

#include "bench.h"

#define COUNT 600000
#define SMALL 12

static uint32_t numbers[COUNT];

static void sort_insertion(uint32_t *a, long count)
{
	for (long i = 1; i < count; i++) {
		uint32_t value = a[i];
		long j = i;

		for (; j > 0 && a[j - 1] > value; j--)
			a[j] = a[j - 1];
		a[j] = value;
	}
}

static void sort_quick(uint32_t *a, long count)
{
	while (count > SMALL) {
		uint32_t pivot = a[count / 2];
		long low = 0, high = count - 1;

		while (low <= high) {
			while (a[low] < pivot)
				low++;
			while (a[high] > pivot)
				high--;
			if (low <= high) {
				uint32_t swapped = a[low];

				a[low++] = a[high];
				a[high--] = swapped;
			}
		}
		sort_quick(a, high + 1);
		a += low;
		count -= low;
	}
	sort_insertion(a, count);
}

static int compare(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

static void fill(uint64_t *state)
{
	for (long i = 0; i < COUNT; i++)
		numbers[i] = (uint32_t)(random_next(state) >> 20);
}

static uint64_t sum_up(void)
{
	uint64_t sum = 0;

	for (long i = 0; i < COUNT; i++)
		sum = sum * 31 + numbers[i];
	return sum;
}

int main(void)
{
	uint64_t state = 7, answer = 0;

	for (int i = 0; i < 3; i++) {
		fill(&state);
		sort_quick(numbers, COUNT);
		answer = answer * 17 + sum_up();
	}
	fill(&state);
	qsort(numbers, COUNT, sizeof(numbers[0]), compare);
	print_answer(answer * 17 + sum_up());
	return 0;
}
