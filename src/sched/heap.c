/* SPDX-License-Identifier: MIT */
#include "sched/heap.h"

#include <stdlib.h>

#include "base/bits.h"

bool heap_reserve(struct heap *heap, uint32_t count)
{
	if (count < heap->room)
		return true;
	uint32_t room = count + count / 2 + 8;
	struct heap_node **node = realloc(heap->node, (size_t)room * sizeof(struct heap_node *));
	if (node == NULL)
		return false;
	heap->node = node;
	heap->room = room;
	return true;
}

void heap_free(struct heap *heap)
{
	free(heap->node);
	*heap = (struct heap){0};
}

static void set(struct heap *heap, uint32_t place, struct heap_node *node)
{
	heap->node[place] = node;
	node->place = place;
}

static void sift(struct heap *heap, uint32_t place, struct heap_node *node)
{
	while (place > 1 && heap_before(node, heap->node[place / 2])) {
		set(heap, place, heap->node[place / 2]);
		place /= 2;
	}
	for (;;) {
		uint32_t child = place * 2;
		if (child + 1 <= heap->count && heap_before(heap->node[child + 1], heap->node[child]))
			child++;
		if (child > heap->count || !heap_before(heap->node[child], node))
			break;
		set(heap, place, heap->node[child]);
		place = child;
	}
	set(heap, place, node);
}

void heap_put(struct heap *heap, struct heap_node *node, uint64_t key)
{
	node->key = key;
	if (node->place == 0) {
		bug_if(heap->count + 1 >= heap->room);
		node->place = ++heap->count;
	}
	sift(heap, node->place, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
	uint32_t place = node->place;
	if (place == 0)
		return;
	struct heap_node *last = heap->node[heap->count--];
	node->place = 0;
	if (last != node)
		sift(heap, place, last);
}
