/* SPDX-License-Identifier: MIT */
#include "backend/frame-ring.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define ALIGNMENT 16u
#define WRAP UINT32_MAX /* in place of a length: the next record is at the start */

struct record {
	uint32_t length;
	struct network_offload offload;
};

static uint32_t record_size(uint32_t length)
{
	return (uint32_t)align_up(sizeof(struct record) + length, ALIGNMENT);
}

bool ring_init(struct frame_ring *ring, uint32_t size)
{
	*ring = (struct frame_ring){.bytes = malloc(size), .size = size};
	return ring->bytes != NULL;
}

void ring_free(struct frame_ring *ring)
{
	free(ring->bytes);
	*ring = (struct frame_ring){0};
}

bool ring_is_empty(const struct frame_ring *ring)
{
	return ring->head == ring->tail;
}

uint32_t ring_room(const struct frame_ring *ring)
{
	uint32_t used = ring->head >= ring->tail ? ring->head - ring->tail : ring->size - ring->tail + ring->head;
	return ring->size - used;
}

/* Where a record of this size fits; the head never comes to the tail from behind. */
static bool find_place(struct frame_ring *ring, uint32_t size)
{
	if (ring->head < ring->tail)
		return ring->tail - ring->head > size;
	if (ring->size - ring->head >= size + ALIGNMENT) /* and a mark behind it */
		return true;
	if (ring->tail <= size)
		return false;
	((struct record *)(void *)&ring->bytes[ring->head])->length = WRAP;
	ring->head = 0;
	return true;
}

bool ring_put(struct frame_ring *ring, const struct network_frame *frame)
{
	uint32_t size = record_size(frame->length);
	if (!find_place(ring, size))
		return false;
	struct record *record = (void *)&ring->bytes[ring->head];
	*record = (struct record){.length = frame->length, .offload = frame->offload};
	memcpy(record + 1, frame->bytes, frame->length);
	ring->head += size;
	return true;
}

bool ring_peek(struct frame_ring *ring, struct network_frame *frame)
{
	if (ring_is_empty(ring))
		return false;
	struct record *record = (void *)&ring->bytes[ring->tail];
	if (record->length == WRAP) {
		ring->tail = 0;
		record = (void *)ring->bytes;
	}
	*frame = (struct network_frame){
	    .bytes = (const uint8_t *)(record + 1), .length = record->length, .offload = record->offload};
	return true;
}

void ring_take(struct frame_ring *ring)
{
	const struct record *record = (void *)&ring->bytes[ring->tail];
	ring->tail += record_size(record->length);
}
