/* SPDX-License-Identifier: MIT */
/* The same work shared among threads: numbers of a range that Collatz's rule takes longest, a chunk at a time, counted
 * into a table that all share. */

#include <pthread.h>
#include <stdatomic.h>

#include "bench.h"

#define CHUNKS 400
#define CHUNK 5000
#define BUCKETS 512
#define THREADS_MAX 8

static atomic_uint next_chunk;
static _Atomic uint64_t bucket[BUCKETS];

static unsigned steps(uint64_t number)
{
	unsigned count = 0;

	while (number != 1) {
		number = (number & 1) != 0 ? 3 * number + 1 : number / 2;
		count++;
	}
	return count;
}

static void *work(void *unused)
{
	unsigned chunk;

	(void)unused;
	while ((chunk = atomic_fetch_add(&next_chunk, 1)) < CHUNKS) {
		uint64_t local[BUCKETS] = {0};

		for (uint64_t i = 0; i < CHUNK; i++)
			local[steps((uint64_t)chunk * CHUNK + i + 1) % BUCKETS]++;
		for (unsigned i = 0; i < BUCKETS; i++)
			atomic_fetch_add_explicit(&bucket[i], local[i], memory_order_relaxed);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread[THREADS_MAX];
	int threads = argc == 2 ? atoi(argv[1]) : 1;
	uint64_t answer = 0;

	if (threads < 1 || threads > THREADS_MAX)
		return 2;
	for (int i = 0; i < threads; i++)
		need(pthread_create(&thread[i], NULL, work, NULL) == 0, "pthread_create");
	for (int i = 0; i < threads; i++)
		need(pthread_join(thread[i], NULL) == 0, "pthread_join");
	for (unsigned i = 0; i < BUCKETS; i++)
		answer = (answer * 31) + bucket[i];
	print_answer(answer);
	return 0;
}
