/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "plan/pool.h"

#define THREADS_MAX 64

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t wake, done;
	void (*work)(void *context, size_t first, size_t last);
	void *context;
	size_t count, grain;
	_Atomic size_t next;
	unsigned long round; /* under lock, as what follows */
	unsigned busy;
	bool ending;
	unsigned threads; /* beside the caller */
	pthread_t thread[THREADS_MAX];
};

static void pool_take_pieces(struct pool *pool)
{
	for (;;) {
		size_t first = atomic_fetch_add_explicit(&pool->next, pool->grain, memory_order_relaxed);
		if (first >= pool->count)
			return;
		size_t last = pool->count - first > pool->grain ? first + pool->grain : pool->count;
		pool->work(pool->context, first, last);
	}
}

static void *pool_thread(void *argument)
{
	struct pool *pool = argument;
	unsigned long seen = 0;
	(void)pthread_mutex_lock(&pool->lock);
	for (;;) {
		while (pool->round == seen && !pool->ending)
			(void)pthread_cond_wait(&pool->wake, &pool->lock);
		if (pool->ending)
			break;
		seen = pool->round;
		(void)pthread_mutex_unlock(&pool->lock);
		pool_take_pieces(pool);
		(void)pthread_mutex_lock(&pool->lock);
		if (--pool->busy == 0)
			(void)pthread_cond_signal(&pool->done);
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return NULL;
}

struct pool *pool_create(unsigned threads, struct error *error)
{
	struct pool *pool = calloc(1, sizeof *pool);
	if (pool == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	(void)pthread_mutex_init(&pool->lock, NULL);
	(void)pthread_cond_init(&pool->wake, NULL);
	(void)pthread_cond_init(&pool->done, NULL);
	while (pool->threads + 1 < threads && pool->threads < THREADS_MAX) {
		/* With fewer threads than asked for the result is the same, later. */
		if (pthread_create(&pool->thread[pool->threads], NULL, pool_thread, pool) != 0)
			break;
		pool->threads++;
	}
	return pool;
}

void pool_destroy(struct pool *pool)
{
	if (pool == NULL)
		return;
	(void)pthread_mutex_lock(&pool->lock);
	pool->ending = true;
	(void)pthread_cond_broadcast(&pool->wake);
	(void)pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->threads; i++)
		(void)pthread_join(pool->thread[i], NULL);
	(void)pthread_cond_destroy(&pool->wake);
	(void)pthread_cond_destroy(&pool->done);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void pool_run(struct pool *pool, size_t count, size_t grain, void (*work)(void *context, size_t first, size_t last),
	      void *context)
{
	if (pool->threads == 0 || count <= grain) {
		if (count != 0)
			work(context, 0, count);
		return;
	}
	(void)pthread_mutex_lock(&pool->lock);
	pool->work = work;
	pool->context = context;
	pool->count = count;
	pool->grain = grain;
	atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
	pool->busy = pool->threads;
	pool->round++;
	(void)pthread_cond_broadcast(&pool->wake);
	(void)pthread_mutex_unlock(&pool->lock);
	pool_take_pieces(pool);
	(void)pthread_mutex_lock(&pool->lock);
	while (pool->busy != 0)
		(void)pthread_cond_wait(&pool->done, &pool->lock);
	(void)pthread_mutex_unlock(&pool->lock);
}
