/* SPDX-License-Identifier: MIT */
/*
 * A virtio entropy device (virtio.h): random bytes of the host, for a guest that has no other source of them.
 *
 * Implemented: the one queue. A request gets as many bytes as it has room for, at most 4 KiB; the driver asks again for
 * more (5.4.6.1 allows that). In 10 ms of the guest's time the device gives 16 KiB, so that a guest which asks
 * without end costs the host little; what waits is served when the next 10 ms begin. The same holds when the host
 * has no random bytes yet.
 *
 * A request without room for a byte is against 5.4.6.1 and stops the device.
 *
 * Source: VIRTIO Version 1.2, 5.4.
 */
#ifndef NFOLD_DEVICES_VIRTIORNG_H
#define NFOLD_DEVICES_VIRTIORNG_H

#include "devices/virtio.h"
#include "io/clock.h"

#define VIRTIORNG_PERIOD_NS UINT64_C(10000000)
#define VIRTIORNG_PERIOD_BYTES 16384u
#define VIRTIORNG_REQUEST_MAX 4096u
#define VIRTIORNG_REQUEST_COST 64u /* what a request counts for at least */

struct virtiorng;

struct virtiorng_config {
	struct pci_bus *bus;
	unsigned device; /* PCI device number; function 0 */
	struct clock *clock;
	struct memory *memory;
	/* At most VIRTIORNG_FILL_MAX bytes. False: there are none now. */
	bool (*fill)(void *opaque, uint8_t *bytes, size_t size);
	void *opaque;
};
#define VIRTIORNG_FILL_MAX 256u

struct virtiorng *virtiorng_create(const struct virtiorng_config *config, struct error *error);
void virtiorng_destroy(struct virtiorng *rng);
void virtiorng_reset(struct virtiorng *rng); /* RST# */

#endif
