/* SPDX-License-Identifier: MIT */
/*
 * A queue of frames in a ring of bytes: one producer, one consumer, bounded, without an allocation for each frame.
 *
 * A frame lies in one piece, so that the consumer can use it where it is: ring_peek(), then ring_take(). The caller
 * serializes calls with a lock of its own; the bytes that ring_peek() gave stay as they are without it.
 */
#ifndef NFOLD_BACKEND_FRAME_RING_H
#define NFOLD_BACKEND_FRAME_RING_H

#include "backend/network.h"

struct frame_ring {
	uint8_t *bytes;
	uint32_t size;
	uint32_t head, tail; /* where the next record is put, and taken; equal: empty */
};

bool ring_init(struct frame_ring *ring, uint32_t size); /* false: out of memory */
void ring_free(struct frame_ring *ring);

bool ring_put(struct frame_ring *ring, const struct network_frame *frame); /* false: no room */
bool ring_peek(struct frame_ring *ring, struct network_frame *frame);	   /* false: empty */
void ring_take(struct frame_ring *ring);				   /* what ring_peek() gave */
bool ring_is_empty(const struct frame_ring *ring);
uint32_t ring_room(const struct frame_ring *ring); /* bytes, about */

#endif
