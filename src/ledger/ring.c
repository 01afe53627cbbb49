/* SPDX-License-Identifier: MIT */
#include "ledger/ring.h"

#include <assert.h>

uint64_t ring_now(const uint64_t *ring)
{
	return __atomic_load_n(&ring[0], __ATOMIC_ACQUIRE);
}

enum slot_state { SLOT_GOOD, SLOT_UNFINISHED, SLOT_OVERWRITTEN };

static enum slot_state slot_read(const uint64_t *slot, unsigned words, uint64_t number, uint64_t *to)
{
	uint64_t word[RING_WORDS_MAX];
	uint64_t before = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
	if (before <= number || before == RING_BUSY)
		return SLOT_UNFINISHED;
	for (unsigned i = 0; i < words; i++)
		word[i] = __atomic_load_n(&slot[1 + i], __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (before != number + 1 || __atomic_load_n(slot, __ATOMIC_RELAXED) != before)
		return SLOT_OVERWRITTEN;
	for (unsigned i = 0; i < words; i++)
		to[i] = word[i];
	return SLOT_GOOD;
}

unsigned ring_read(const uint64_t *ring, struct ring_shape shape, uint64_t *next, uint64_t *to, unsigned max,
		   uint64_t *lost)
{
	uint64_t end = ring_now(ring);
	unsigned count = 0;
	assert(shape.words <= RING_WORDS_MAX);
	if (*next > end) /* not a number of this ring */
		*next = end;
	if (end - *next > shape.slots) {
		*lost += end - shape.slots - *next;
		*next = end - shape.slots;
	}
	for (; *next < end && count < max; (*next)++) {
		const uint64_t *slot = &ring[ring_slot(shape, *next)];
		enum slot_state state = slot_read(slot, shape.words, *next, to + (size_t)count * shape.words);
		if (state == SLOT_UNFINISHED)
			break;
		count += state == SLOT_GOOD;
		*lost += state == SLOT_OVERWRITTEN;
	}
	return count;
}
