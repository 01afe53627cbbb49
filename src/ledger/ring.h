/* SPDX-License-Identifier: MIT */
/*
 * A ring of records that many write and many follow, without locks.
 *
 * Theory of operation. A ring is an array of 64-bit words: the number of the record to be written next, then slots of a
 * sequence and the record's words. A writer takes the next number by an atomic addition; that number modulo the
 * number of slots is its slot. It marks the slot's sequence as busy, fills the slot and then sets the sequence to the
 * number plus one. So a writer never waits and takes no lock, whatever it interrupted. If another writer is still in
 * the slot, since it lost its processor there for a whole round of the ring, the record is dropped.
 *
 * A reader keeps the number it will read next; a slot is good when its sequence is the expected one before and after it
 * was copied. What was overwritten before it was read is counted as lost. A reader stops at a slot that is not
 * finished, and takes it next time, or counts it as lost when the ring has gone past it. Any number of writers and
 * readers; they may be in different processes.
 */
#ifndef NFOLD_LEDGER_RING_H
#define NFOLD_LEDGER_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Both sides know it: what stands in the memory is not asked. */
struct ring_shape {
	unsigned slots, words; /* words: 64 bits each, of a record */
};

#define RING_WORDS_MAX 8u
#define RING_BUSY UINT64_MAX /* the sequence of a slot that is being written */
#define RING_BYTES(slots, words) (sizeof(uint64_t) * (1 + (size_t)(slots) * (1 + (size_t)(words))))

static inline size_t ring_slot(struct ring_shape shape, uint64_t number)
{
	return 1 + (size_t)(number % shape.slots) * (1 + (size_t)shape.words);
}

/* Free of libc and of vector registers: it is called in signal handlers, and with guest state live. */
static inline void ring_add(uint64_t *ring, struct ring_shape shape, const uint64_t *word)
{
	uint64_t number = __atomic_fetch_add(&ring[0], 1, __ATOMIC_RELAXED);
	uint64_t *slot = &ring[ring_slot(shape, number)];
	if (__atomic_exchange_n(slot, RING_BUSY, __ATOMIC_ACQUIRE) == RING_BUSY)
		return;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	for (unsigned i = 0; i < shape.words; i++)
		__atomic_store_n(&slot[1 + i], word[i], __ATOMIC_RELAXED);
	__atomic_store_n(slot, number + 1, __ATOMIC_RELEASE);
}

/* The number that the next record gets: where to read what comes from now on. */
uint64_t ring_now(const uint64_t *ring);

/* Copies up to `max` records from number *next on, and moves *next past them. Adds to *lost what had been overwritten.
 */
unsigned ring_read(const uint64_t *ring, struct ring_shape shape, uint64_t *next, uint64_t *to, unsigned max,
		   uint64_t *lost);

#endif
