/* SPDX-License-Identifier: MIT */
/* What the virtio devices' tests share: a PCI bus with memory, and a driver that negotiates and fills queues. */
#ifndef NFOLD_TESTS_UNIT_VIRTIO_RIG_H
#define NFOLD_TESTS_UNIT_VIRTIO_RIG_H

#include "base/bits.h"
#include "devices/virtio.h"
#include "rig.h"

#define VIRTIO_RIG_RAM 0x200000u
#define VIRTIO_RIG_DEVICE 5u
#define VIRTIO_RIG_DEVFN PCI_DEVFN(VIRTIO_RIG_DEVICE, 0)
#define VIRTIO_RIG_BAR UINT64_C(0xc0000000)
/* Each queue has its table and rings in 64 KiB of its own; buffers lie above. */
#define VIRTIO_RIG_QUEUE(queue) (0x10000u * ((queue) + 1))
#define VIRTIO_RIG_BUFFERS 0x100000u

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

struct virtio_rig_queue {
	uint16_t size, available, used;
};

struct virtio_rig {
	struct rig rig;
	struct pci_bus *bus;
	struct memory memory;
	struct probe pirq[PCI_PINS];
	unsigned messages;
	uint64_t message_address;
	uint32_t message_data;
	struct virtio_rig_queue queue[8];
};

static inline void virtio_rig_message(void *opaque, uint64_t address, uint32_t data)
{
	struct virtio_rig *r = opaque;
	r->messages++;
	r->message_address = address;
	r->message_data = data;
}

static inline void virtio_rig_init(struct virtio_rig *r)
{
	memset(r, 0, sizeof *r);
	rig_init(&r->rig);
	assert_true(memory_init(&r->memory, VIRTIO_RIG_RAM, NULL));
	assert_true(memory_add_region(&r->memory, 0, VIRTIO_RIG_RAM, 0, false, NULL));
	struct pci_bus_config bus = {
	    .ports = &r->rig.ports, .mmio = &r->rig.mmio, .msi = {.send = virtio_rig_message, .opaque = r}};
	for (int i = 0; i < (int)PCI_PINS; i++)
		bus.pirq[i] = probe_line(r->pirq, i);
	r->bus = pci_bus_create(&bus, NULL);
	assert_non_null(r->bus);
}

static inline void virtio_rig_destroy(struct virtio_rig *r)
{
	pci_bus_destroy(r->bus);
	assert_int_equal(r->rig.mmio.count, 0);
	for (unsigned i = 0; i < PCI_PINS; i++)
		assert_false(r->pirq[i].level);
	memory_destroy(&r->memory);
}

/* Where INTA# of the device goes. */
static inline struct probe *virtio_rig_intx(struct virtio_rig *r)
{
	return &r->pirq[pci_pirq(VIRTIO_RIG_DEVICE, 1)];
}

/* Places the BAR, decodes it and lets the device master the bus. */
static inline void virtio_rig_place(struct virtio_rig *r)
{
	pci_config_write(r->bus, VIRTIO_RIG_DEVFN, PCI_BAR0, 4, (uint32_t)VIRTIO_RIG_BAR);
	pci_config_write(r->bus, VIRTIO_RIG_DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static inline uint32_t bar_in(struct virtio_rig *r, uint32_t offset, unsigned size)
{
	return (uint32_t)io_read(&r->rig.mmio, VIRTIO_RIG_BAR + offset, size);
}

static inline void bar_out(struct virtio_rig *r, uint32_t offset, unsigned size, uint32_t value)
{
	io_write(&r->rig.mmio, VIRTIO_RIG_BAR + offset, size, value);
}

static inline uint64_t offered_features(struct virtio_rig *r)
{
	bar_out(r, 0, 4, 0);
	uint64_t low = bar_in(r, 4, 4);
	bar_out(r, 0, 4, 1);
	return low | (uint64_t)bar_in(r, 4, 4) << 32;
}

/* 3.1.1, steps 1 to 6. Returns the status register. */
static inline uint8_t accept_features(struct virtio_rig *r, uint64_t features)
{
	bar_out(r, 20, 1, 0);
	bar_out(r, 20, 1, 1);
	bar_out(r, 20, 1, 3);
	for (unsigned i = 0; i < 2; i++) {
		bar_out(r, 8, 4, i);
		bar_out(r, 12, 4, (uint32_t)(features >> 32 * i));
	}
	bar_out(r, 20, 1, 11);
	return (uint8_t)bar_in(r, 20, 1);
}

static inline void poke(struct virtio_rig *r, uint64_t address, unsigned size, uint64_t value)
{
	uint8_t bytes[8];
	store_le(bytes, value, size);
	assert_true(memory_write(&r->memory, address, bytes, size));
}

static inline uint64_t peek(struct virtio_rig *r, uint64_t address, unsigned size)
{
	uint8_t bytes[8];
	assert_true(memory_read(&r->memory, address, bytes, size));
	return load_le(bytes, size);
}

static inline uint64_t descriptor_table(unsigned queue)
{
	return VIRTIO_RIG_QUEUE(queue);
}

static inline uint64_t available_ring(unsigned queue)
{
	return VIRTIO_RIG_QUEUE(queue) + 0x4000;
}

static inline uint64_t used_ring(unsigned queue)
{
	return VIRTIO_RIG_QUEUE(queue) + 0x8000;
}

static inline void set_queue(struct virtio_rig *r, unsigned queue, uint16_t size)
{
	assert_true(memory_fill(&r->memory, VIRTIO_RIG_QUEUE(queue), 0, 0x10000));
	r->queue[queue] = (struct virtio_rig_queue){.size = size};
	bar_out(r, 22, 2, queue);
	bar_out(r, 24, 2, size);
	bar_out(r, 32, 4, (uint32_t)descriptor_table(queue));
	bar_out(r, 40, 4, (uint32_t)available_ring(queue));
	bar_out(r, 48, 4, (uint32_t)used_ring(queue));
	bar_out(r, 28, 2, 1);
}

/* The whole of 3.1.1 with `queues` queues of `size` entries. */
static inline void start_driver(struct virtio_rig *r, uint64_t features, unsigned queues, uint16_t size)
{
	virtio_rig_place(r);
	assert_int_equal(accept_features(r, features | VIRTIO_F_VERSION_1), 11);
	for (unsigned i = 0; i < queues; i++)
		set_queue(r, i, size);
	bar_out(r, 20, 1, 15);
	assert_int_equal(bar_in(r, 20, 1), 15);
}

static inline void put_descriptor(struct virtio_rig *r, uint64_t table, unsigned index, uint64_t address, uint32_t size,
				  unsigned flags, unsigned next)
{
	poke(r, table + 16 * index, 8, address);
	poke(r, table + 16 * index + 8, 4, size);
	poke(r, table + 16 * index + 12, 2, flags);
	poke(r, table + 16 * index + 14, 2, next);
}

static inline void descriptor(struct virtio_rig *r, unsigned queue, unsigned index, uint64_t address, uint32_t size,
			      unsigned flags, unsigned next)
{
	put_descriptor(r, descriptor_table(queue), index, address, size, flags, next);
}

static inline void make_available(struct virtio_rig *r, unsigned queue, uint16_t head)
{
	struct virtio_rig_queue *q = &r->queue[queue];
	poke(r, available_ring(queue) + 4 + 2 * (q->available % q->size), 2, head);
	poke(r, available_ring(queue) + 2, 2, ++q->available);
}

static inline void ring_queue(struct virtio_rig *r, unsigned queue)
{
	bar_out(r, 0x3000 + 4 * queue, 2, queue);
}

static inline void give(struct virtio_rig *r, unsigned queue, uint16_t head)
{
	make_available(r, queue, head);
	ring_queue(r, queue);
}

/* The next used element, which must be there and be of this head. Returns its length. */
static inline uint32_t take(struct virtio_rig *r, unsigned queue, uint16_t head)
{
	struct virtio_rig_queue *q = &r->queue[queue];
	uint64_t element = used_ring(queue) + 4 + 8 * (q->used % q->size);
	assert_int_not_equal((uint16_t)peek(r, used_ring(queue) + 2, 2), q->used);
	q->used++;
	assert_int_equal(peek(r, element, 4), head);
	return (uint32_t)peek(r, element + 4, 4);
}

static inline bool nothing_used(struct virtio_rig *r, unsigned queue)
{
	return (uint16_t)peek(r, used_ring(queue) + 2, 2) == r->queue[queue].used;
}

#endif
