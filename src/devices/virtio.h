/* SPDX-License-Identifier: MIT */
/*
 * Virtio 1.2 over PCI: what all virtio devices have in common.
 *
 *   BAR 0, 32 KiB of memory      0000h common configuration   3000h notifications, 4 bytes for each queue
 *                                1000h ISR status             4000h MSI-X table
 *                                2000h device configuration   5000h MSI-X pending bits
 *   virtqueues in guest memory <-> virtio_pop(), virtio_push(), through the checked gate
 *   INTA# or one MSI-X vector for each queue and one for the configuration
 *
 * This is the bus, not a chip: a disk, an adapter or a channel is a device on it, and this header is the contract
 * between them. A device embeds `struct virtio`, fills its configuration bytes and has a table of functions. When the
 * guest rings a queue, the device pops chains of buffers, copies bytes out of and into them, pushes each chain back
 * with the number of bytes written, and signals. It may keep chains for as long as it likes.
 *
 * Implemented: the modern interface; split virtqueues with indirect descriptors and event indices; feature negotiation;
 * MSI-X and INTx; the configuration access capability; reset that waits until the device has nothing under way.
 *
 * Not implemented: the legacy interface, packed virtqueues, notification data, queue reset, shared memory.
 *
 * The guest is hostile. Rings, tables and buffers may lie anywhere and change at any time: each descriptor is copied
 * before it is looked at, and once. Chains that loop, are too long, nest or mix directions, rings that run ahead of
 * their size or are not in memory make the device stop with DEVICE_NEEDS_RESET (2.1.2); so the chains of a queue that a
 * device has at a time are never more than the queue's size, and their buffers never more than VIRTIO_SEGMENTS_MAX.
 *
 * Threading: all calls in both directions are made with the machine's device lock held.
 *
 * Source: Virtual I/O Device (VIRTIO) Version 1.2, OASIS, chapters 2, 3 and 4.1. Section numbers in the code are its.
 */
#ifndef NFOLD_DEVICES_VIRTIO_H
#define NFOLD_DEVICES_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/pci.h"
#include "memory/memory.h"

#define VIRTIO_QUEUES_MAX (PCI_MSIX_VECTORS_MAX - 1)
#define VIRTIO_QUEUE_SIZE_MAX 256u
#define VIRTIO_SEGMENTS_MAX 256u
#define VIRTIO_CONFIG_MAX 256u
#define VIRTIO_NO_VECTOR 0xffffu

/* Device IDs (5). */
enum virtio_type { VIRTIO_NET = 1, VIRTIO_BLOCK = 2, VIRTIO_CONSOLE = 3, VIRTIO_ENTROPY = 4 };

/* Feature bits that this layer offers for every device (6). */
#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1 (UINT64_C(1) << 32)

/* Device status (2.1). */
#define VIRTIO_STATUS_ACKNOWLEDGE 0x01u
#define VIRTIO_STATUS_DRIVER 0x02u
#define VIRTIO_STATUS_DRIVER_OK 0x04u
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED 0x80u

struct virtio;

struct virtio_ops {
	/* The guest rang the queue, or everything was allowed to go on: pop what there is. */
	void (*notified)(struct virtio *virtio, unsigned queue);
	/*
	 * Forget all chains and the guest's settings. True: nothing is under way any more. False: there is, and
	 * virtio_reset_done() will be called once; until then the guest sees that the reset goes on.
	 */
	bool (*reset)(struct virtio *virtio);
	/* DRIVER_OK: virtio_has() is final. NULL: no matter. */
	void (*started)(struct virtio *virtio);
	/* The guest wrote `size` (1, 2, 4) bytes of the device configuration, within config_size. NULL: it is
	 * read-only. What is to be read back is stored into virtio->config by the device. */
	void (*config_written)(struct virtio *virtio, unsigned offset, unsigned size, uint32_t value);
};

/* A split virtqueue (2.7). */
struct virtio_queue {
	uint16_t size, size_max, vector;
	bool enabled;
	uint64_t descriptors, driver, device; /* guest-physical addresses of the table and of both rings */
	uint16_t next;			      /* of the available ring, free-running */
	uint16_t used;			      /* of the used ring, free-running */
	uint16_t signalled;		      /* `used` when the guest was last considered for an interrupt */
	uint16_t in_flight;		      /* chains that the device has */
};

struct virtio {
	const struct virtio_ops *ops;
	struct pci_function function;
	struct pci_msix msix;
	struct memory *memory;
	struct virtio_queue queue[VIRTIO_QUEUES_MAX];
	unsigned queues;
	uint8_t config[VIRTIO_CONFIG_MAX]; /* the device configuration, little-endian */
	unsigned config_size;
	uint64_t offered, accepted; /* features */
	uint8_t status, isr, generation;
	bool resetting;
	/* Registers of the common configuration. */
	uint32_t offered_select, accepted_select;
	uint16_t queue_select, config_vector;
};

struct virtio_config {
	const struct virtio_ops *ops;
	struct pci_bus *bus;
	unsigned device, number; /* PCI device and function number */
	struct memory *memory;
	enum virtio_type type;
	uint32_t class_code; /* as struct pci_identity has it */
	uint64_t features;   /* of the device; this layer's are added */
	unsigned queues;
	uint16_t queue_size; /* the largest; a power of two, at most VIRTIO_QUEUE_SIZE_MAX */
	unsigned config_size;
	const char *name; /* of the BAR, for traces */
};

/* A buffer of a chain: guest-physical. */
struct virtio_segment {
	uint64_t address;
	uint32_t size;
};

/* A chain of buffers: those that the device reads come first. */
struct virtio_chain {
	uint16_t head;
	uint16_t readable, writable; /* how many segments of each kind */
	uint64_t read_size, write_size;
	struct virtio_segment segment[VIRTIO_SEGMENTS_MAX];
};

/* The virtio's memory is the caller's. */
bool virtio_init(struct virtio *virtio, const struct virtio_config *config, struct error *error);
void virtio_exit(struct virtio *virtio); /* the device has nothing under way any more */

/* As after RST#. The device has nothing under way any more. */
void virtio_reset(struct virtio *virtio);
void virtio_reset_done(struct virtio *virtio);

/* Whether a feature was agreed upon, and whether the device may work: between DRIVER_OK and reset. */
static inline bool virtio_has(const struct virtio *virtio, uint64_t feature)
{
	return (virtio->accepted & feature) != 0;
}

bool virtio_running(const struct virtio *virtio);

/* The next chain that the guest made available. False: there is none; the guest will ring when there is. */
bool virtio_pop(struct virtio *virtio, unsigned queue, struct virtio_chain *chain);
/* Puts the last `count` chains back, as if they had not been popped; none popped after them was pushed. */
void virtio_unpop(struct virtio *virtio, unsigned index, unsigned count);

/*
 * Copy between a chain and the host, `offset` bytes into its readable or writable part. They return how many bytes were
 * copied: fewer than asked for where the part ends or is not memory.
 */
size_t virtio_read(const struct virtio *virtio, const struct virtio_chain *chain, uint64_t offset, void *to,
		   size_t size);
size_t virtio_write(const struct virtio *virtio, const struct virtio_chain *chain, uint64_t offset, const void *from,
		    size_t size);

/*
 * Gives a chain back. `written`: bytes from the first writable one on that are valid. Several can be staged and then
 * published, so that the guest sees all of them or none. Ignored while the device is not running.
 */
void virtio_stage(struct virtio *virtio, unsigned index, uint16_t head, uint32_t written);
void virtio_publish(struct virtio *virtio, unsigned index);
static inline void virtio_push(struct virtio *virtio, unsigned queue, uint16_t head, uint32_t written)
{
	virtio_stage(virtio, queue, head, written);
	virtio_publish(virtio, queue);
}

/* Interrupts the guest for what was published since the last time, if it wants that. */
void virtio_signal(struct virtio *virtio, unsigned index);

/* The device changed virtio->config: before the change and after it. */
void virtio_config_changing(struct virtio *virtio);
void virtio_config_changed(struct virtio *virtio);

/* The guest broke the rules: stop until it resets the device. */
void virtio_fail(struct virtio *virtio);

#endif
