/* SPDX-License-Identifier: MIT */
/*
 * Split virtqueues (2.7), from the device's side.
 *
 * Theory of operation. The guest writes the heads of descriptor chains into the available ring and then its index; we
 * write heads and lengths into the used ring and then its index. Both indices run freely over 16 bits. Each side says
 * when it wants to be told: by a flag, or with EVENT_IDX by the index at which it does. Whoever runs out of work first
 * writes that wish, and then looks again, with a full barrier in between: else the other side's news and our wish
 * may miss each other. The order of all other accesses is x86's own, which keeps stores and loads in order.
 *
 * All of it is in memory that the guest writes at any time. So each value is read once, and each is checked.
 */
#include <assert.h>

#include "base/bits.h"
#include "devices/virtio-impl.h"

/* A descriptor (2.7.5). */
#define DESCRIPTOR_SIZE 16u
#define DESCRIPTOR_NEXT 1u
#define DESCRIPTOR_WRITE 2u
#define DESCRIPTOR_INDIRECT 4u

/* The rings (2.7.6, 2.7.8): flags, index, entries, and the other side's event index. */
#define RING_INDEX 2u
#define RING_ENTRIES 4u
#define AVAILABLE_ENTRY 2u
#define USED_ENTRY 8u
#define AVAILABLE_NO_INTERRUPT 1u

struct descriptor {
	uint64_t address;
	uint32_t size;
	uint16_t flags, next;
};

/* Where descriptors come from: the queue's table in guest memory, or the copy of an indirect one. */
struct table {
	const struct virtio *virtio;
	uint64_t address;
	const uint8_t *copy; /* or NULL */
	unsigned count;
};

static bool read_number(const struct virtio *virtio, uint64_t address, unsigned size, uint64_t *value)
{
	uint8_t bytes[8];
	if (!memory_read(virtio->memory, address, bytes, size))
		return false;
	*value = load_le(bytes, size);
	return true;
}

static bool write_number(const struct virtio *virtio, uint64_t address, unsigned size, uint64_t value)
{
	uint8_t bytes[8];
	store_le(bytes, value, size);
	return memory_write(virtio->memory, address, bytes, size);
}

/* ---- setting up ---- */

void virtio_queue_reset(struct virtio_queue *queue)
{
	*queue =
	    (struct virtio_queue){.size = queue->size_max, .size_max = queue->size_max, .vector = VIRTIO_NO_VECTOR};
}

static bool fits(uint64_t address, uint64_t size, uint64_t alignment)
{
	return address % alignment == 0 && address <= UINT64_MAX - size;
}

/* 2.7: the size is a power of two, and each part has its alignment. */
void virtio_queue_enable(struct virtio *virtio, struct virtio_queue *queue)
{
	uint64_t size = queue->size;
	bool good = size != 0 && size <= queue->size_max && (size & (size - 1)) == 0 &&
		    fits(queue->descriptors, size * DESCRIPTOR_SIZE, DESCRIPTOR_SIZE) &&
		    fits(queue->driver, RING_ENTRIES + size * AVAILABLE_ENTRY + 2, 2) &&
		    fits(queue->device, RING_ENTRIES + size * USED_ENTRY + 2, 4);
	if (good)
		queue->enabled = true;
	else
		virtio_fail(virtio);
}

/* ---- descriptors ---- */

static bool table_read(const struct table *table, unsigned index, struct descriptor *descriptor)
{
	uint8_t bytes[DESCRIPTOR_SIZE];
	const uint8_t *at = bytes;
	if (index >= table->count)
		return false;
	if (table->copy != NULL)
		at = table->copy + (size_t)index * DESCRIPTOR_SIZE;
	else if (!memory_read(table->virtio->memory, table->address + (uint64_t)index * DESCRIPTOR_SIZE, bytes,
			      sizeof bytes))
		return false;
	*descriptor = (struct descriptor){.address = load_le(at, 8),
					  .size = (uint32_t)load_le(at + 8, 4),
					  .flags = (uint16_t)load_le(at + 12, 2),
					  .next = (uint16_t)load_le(at + 14, 2)};
	return true;
}

/* 2.7.4.2: what the device reads comes before what it writes. 2.7.5.2: at most 2^32 bytes in all. */
static bool chain_add(struct virtio_chain *chain, const struct descriptor *descriptor)
{
	unsigned count = chain->readable + chain->writable;
	bool write = (descriptor->flags & DESCRIPTOR_WRITE) != 0;
	if (count == VIRTIO_SEGMENTS_MAX || (!write && chain->writable > 0) ||
	    !fits(descriptor->address, descriptor->size, 1))
		return false;
	chain->segment[count] = (struct virtio_segment){.address = descriptor->address, .size = descriptor->size};
	if (write) {
		chain->writable++;
		chain->write_size += descriptor->size;
	} else {
		chain->readable++;
		chain->read_size += descriptor->size;
	}
	return chain->read_size + chain->write_size <= UINT64_C(1) << 32;
}

/* Follows a chain in one table, which has no more links than the table has entries: a longer one is a loop. */
static bool chain_follow(struct virtio_chain *chain, const struct table *table, struct descriptor descriptor)
{
	for (unsigned links = 1;; links++) {
		if ((descriptor.flags & DESCRIPTOR_INDIRECT) != 0 || !chain_add(chain, &descriptor))
			return false;
		if ((descriptor.flags & DESCRIPTOR_NEXT) == 0)
			return true;
		if (links == table->count || !table_read(table, descriptor.next, &descriptor))
			return false;
	}
}

/* 2.7.5.3: an indirect table is not empty, and its descriptor is the only one. */
static bool chain_follow_indirect(const struct virtio *virtio, struct virtio_chain *chain,
				  const struct descriptor *descriptor)
{
	uint8_t copy[VIRTIO_SEGMENTS_MAX * DESCRIPTOR_SIZE];
	struct table table = {.virtio = virtio, .copy = copy, .count = descriptor->size / DESCRIPTOR_SIZE};
	struct descriptor first;
	return virtio_has(virtio, VIRTIO_F_INDIRECT_DESC) && (descriptor->flags & DESCRIPTOR_NEXT) == 0 &&
	       descriptor->size % DESCRIPTOR_SIZE == 0 && table.count <= VIRTIO_SEGMENTS_MAX &&
	       fits(descriptor->address, descriptor->size, 1) &&
	       memory_read(virtio->memory, descriptor->address, copy, descriptor->size) &&
	       table_read(&table, 0, &first) && chain_follow(chain, &table, first);
}

static bool chain_read(const struct virtio *virtio, const struct virtio_queue *queue, struct virtio_chain *chain,
		       uint16_t head)
{
	const struct table table = {.virtio = virtio, .address = queue->descriptors, .count = queue->size};
	struct descriptor first;
	chain->head = head;
	chain->readable = chain->writable = 0;
	chain->read_size = chain->write_size = 0;
	if (!table_read(&table, head, &first))
		return false;
	if ((first.flags & DESCRIPTOR_INDIRECT) != 0)
		return chain_follow_indirect(virtio, chain, &first);
	return chain_follow(chain, &table, first);
}

/* ---- the available ring ---- */

/* Where we say at which index we want to be told (2.7.10). */
static uint64_t available_event(const struct virtio_queue *queue)
{
	return queue->device + RING_ENTRIES + (uint64_t)queue->size * USED_ENTRY;
}

/* How many chains wait: more than the ring has entries is a broken ring. */
static bool queue_waiting(const struct virtio *virtio, const struct virtio_queue *queue, uint16_t *waiting)
{
	uint64_t index;
	if (!read_number(virtio, queue->driver + RING_INDEX, 2, &index))
		return false;
	*waiting = (uint16_t)(index - queue->next);
	return *waiting <= queue->size;
}

/* As queue_waiting(), and when there are none, asks to be told of the next and looks again. */
static bool queue_look(const struct virtio *virtio, const struct virtio_queue *queue, uint16_t *waiting)
{
	if (!queue_waiting(virtio, queue, waiting))
		return false;
	if (*waiting > 0 || !virtio_has(virtio, VIRTIO_F_EVENT_IDX))
		return true;
	if (!write_number(virtio, available_event(queue), 2, queue->next))
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return queue_waiting(virtio, queue, waiting);
}

bool virtio_pop(struct virtio *virtio, unsigned index, struct virtio_chain *chain)
{
	assert(index < virtio->queues);
	struct virtio_queue *queue = &virtio->queue[index];
	uint16_t waiting;
	uint64_t head = 0;
	if (!virtio_running(virtio) || !queue->enabled)
		return false;
	bool good = queue_look(virtio, queue, &waiting);
	if (good && waiting == 0)
		return false;
	uint64_t entry = queue->driver + RING_ENTRIES + (uint64_t)(queue->next % queue->size) * AVAILABLE_ENTRY;
	if (!good || queue->in_flight == queue->size || !read_number(virtio, entry, 2, &head) ||
	    !chain_read(virtio, queue, chain, (uint16_t)head)) {
		virtio_fail(virtio);
		return false;
	}
	queue->next++;
	queue->in_flight++;
	return true;
}

void virtio_unpop(struct virtio *virtio, unsigned index, unsigned count)
{
	struct virtio_queue *queue = &virtio->queue[index];
	if (!virtio_running(virtio))
		return;
	assert(count <= queue->in_flight);
	queue->next = (uint16_t)(queue->next - count);
	queue->in_flight = (uint16_t)(queue->in_flight - count);
}

/* ---- bytes ---- */

typedef bool copy_function(struct memory *memory, uint64_t address, uint8_t *bytes, uint64_t size);

static bool copy_in(struct memory *memory, uint64_t address, uint8_t *bytes, uint64_t size)
{
	return memory_read(memory, address, bytes, size);
}

static bool copy_out(struct memory *memory, uint64_t address, uint8_t *bytes, uint64_t size)
{
	return memory_write(memory, address, bytes, size);
}

/* A segment that is memory in part counts as far as the segments before it go. */
static size_t copy_segments(const struct virtio *virtio, const struct virtio_segment *segment, unsigned count,
			    uint64_t offset, uint8_t *bytes, size_t size, copy_function *copy)
{
	size_t done = 0;
	for (unsigned i = 0; i < count && done < size; i++) {
		if (offset >= segment[i].size) {
			offset -= segment[i].size;
			continue;
		}
		uint64_t here = segment[i].size - offset;
		if (here > size - done)
			here = size - done;
		if (!copy(virtio->memory, segment[i].address + offset, bytes + done, here))
			break;
		done += (size_t)here;
		offset = 0;
	}
	return done;
}

size_t virtio_read(const struct virtio *virtio, const struct virtio_chain *chain, uint64_t offset, void *to,
		   size_t size)
{
	return copy_segments(virtio, chain->segment, chain->readable, offset, to, size, copy_in);
}

size_t virtio_write(const struct virtio *virtio, const struct virtio_chain *chain, uint64_t offset, const void *from,
		    size_t size)
{
	/* copy_out() only reads the bytes. */
	return copy_segments(virtio, chain->segment + chain->readable, chain->writable, offset,
			     (uint8_t *)(uintptr_t)from, size, copy_out);
}

/* ---- the used ring ---- */

void virtio_stage(struct virtio *virtio, unsigned index, uint16_t head, uint32_t written)
{
	struct virtio_queue *queue = &virtio->queue[index];
	if (!virtio_running(virtio))
		return;
	assert(queue->in_flight > 0);
	uint64_t entry = queue->device + RING_ENTRIES + (uint64_t)(queue->used % queue->size) * USED_ENTRY;
	queue->in_flight--;
	queue->used++;
	if (!write_number(virtio, entry, 8, head | (uint64_t)written << 32))
		virtio_fail(virtio);
}

void virtio_publish(struct virtio *virtio, unsigned index)
{
	const struct virtio_queue *queue = &virtio->queue[index];
	if (!virtio_running(virtio))
		return;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	if (!write_number(virtio, queue->device + RING_INDEX, 2, queue->used))
		virtio_fail(virtio);
}

/* 2.7.7.2, 2.7.10: the guest wants an interrupt when the index passes the one it named. */
static bool queue_wants_interrupt(const struct virtio *virtio, const struct virtio_queue *queue)
{
	uint64_t event, flags;
	if (virtio_has(virtio, VIRTIO_F_EVENT_IDX)) {
		uint64_t at = queue->driver + RING_ENTRIES + (uint64_t)queue->size * AVAILABLE_ENTRY;
		if (!read_number(virtio, at, 2, &event))
			return false;
		return (uint16_t)(queue->used - event - 1) < (uint16_t)(queue->used - queue->signalled);
	}
	return read_number(virtio, queue->driver, 2, &flags) && (flags & AVAILABLE_NO_INTERRUPT) == 0;
}

void virtio_signal(struct virtio *virtio, unsigned index)
{
	struct virtio_queue *queue = &virtio->queue[index];
	if (!virtio_running(virtio) || !queue->enabled || queue->used == queue->signalled)
		return;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	bool wanted = queue_wants_interrupt(virtio, queue);
	queue->signalled = queue->used;
	if (wanted)
		virtio_interrupt(virtio, VIRTIO_ISR_QUEUE, queue->vector);
}
