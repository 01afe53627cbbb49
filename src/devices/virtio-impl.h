/* SPDX-License-Identifier: MIT */
/* What the parts of virtio share: virtio.c has its life, virtio-registers.c what the guest sees of it,
 * virtio-queue.c the rings. */
#ifndef NFOLD_DEVICES_VIRTIO_IMPL_H
#define NFOLD_DEVICES_VIRTIO_IMPL_H

#include "devices/virtio.h"

/* The BAR. */
#define VIRTIO_BAR 0u
#define VIRTIO_BAR_SIZE 0x8000u
#define VIRTIO_AREA_SIZE 0x1000u
enum virtio_area {
	VIRTIO_AREA_COMMON,
	VIRTIO_AREA_ISR,
	VIRTIO_AREA_DEVICE,
	VIRTIO_AREA_NOTIFY,
	VIRTIO_AREA_MSIX_TABLE,
	VIRTIO_AREA_MSIX_PENDING,
	VIRTIO_AREAS,
};
#define VIRTIO_COMMON_SIZE 56u
#define VIRTIO_NOTIFY_MULTIPLIER 4u

/* ISR status (4.1.4.5). */
#define VIRTIO_ISR_QUEUE 1u
#define VIRTIO_ISR_CONFIG 2u

/* What the guest wrote to device_status, 0 included. */
void virtio_set_status(struct virtio *virtio, uint8_t value);
void virtio_notify_queues(struct virtio *virtio);
/* What the guest is told of by ISR bit `bit` or the vector. */
void virtio_interrupt(struct virtio *virtio, uint8_t bit, uint16_t vector);

/* virtio-registers.c: capabilities, BAR and the functions behind both. */
void virtio_registers_init(struct virtio *virtio, const char *name);
void virtio_registers_reset(struct virtio *virtio);

/* virtio-queue.c: checks what the guest set up, and enables it. */
void virtio_queue_enable(struct virtio *virtio, struct virtio_queue *queue);
void virtio_queue_reset(struct virtio_queue *queue);

#endif
