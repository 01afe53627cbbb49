/* SPDX-License-Identifier: MIT */
/*
 * A binary heap whose members know their place, so that any of them can leave or change its key in O(log n). Keys are
 * compared by their difference as a signed number: virtual times may wrap. Members with the same key leave in the order
 * of `order`.
 */
#ifndef NFOLD_SCHED_HEAP_H
#define NFOLD_SCHED_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
	uint64_t key, order;
	uint32_t place; /* from 1; 0: in no heap */
};

struct heap {
	struct heap_node **node; /* from 1 */
	uint32_t count, room;
};

/* Makes room for so many. False: out of memory. */
bool heap_reserve(struct heap *heap, uint32_t count);
void heap_free(struct heap *heap);
/* Puts it in, or to its new place. There is room. */
void heap_put(struct heap *heap, struct heap_node *node, uint64_t key);
void heap_remove(struct heap *heap, struct heap_node *node);

static inline struct heap_node *heap_head(const struct heap *heap)
{
	return heap->count == 0 ? NULL : heap->node[1];
}

static inline bool heap_before(const struct heap_node *one, const struct heap_node *other)
{
	int64_t difference = (int64_t)(one->key - other->key);
	return difference < 0 || (difference == 0 && one->order < other->order);
}

#endif
