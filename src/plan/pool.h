/* SPDX-License-Identifier: MIT */
/* A few threads that share out the indices of a loop. Which thread takes which index never shows in a result. */
#ifndef NFOLD_PLAN_POOL_H
#define NFOLD_PLAN_POOL_H

#include <stddef.h>

#include "base/error.h"

struct pool;

/* `threads` counts the caller; 1 starts none. */
struct pool *pool_create(unsigned threads, struct error *error);
void pool_destroy(struct pool *pool);

/* Calls work(context, first, last) for pieces that together are [0, count), and returns when all are done. Pieces are
 * no smaller than `grain`. */
void pool_run(struct pool *pool, size_t count, size_t grain, void (*work)(void *context, size_t first, size_t last),
	      void *context);

#endif
