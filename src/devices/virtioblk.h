/* SPDX-License-Identifier: MIT */
/*
 * A virtio block device (virtio.h) in front of a disk image (backend/disk.h).
 *
 * Implemented: one queue of 256; reads and writes of any size, flush, get ID, discard and write zeroes with up to 16
 * segments each; read-only disks; the write cache, which the guest may switch off; block size and topology (sectors of
 * 512 bytes that are best written eight at a time).
 *
 * A write is done when the image has it: on the host's disk with the cache off, or where the guest did not accept
 * VIRTIO_BLK_F_FLUSH and so could never ask. Errors of the image, and addresses beyond its end, are VIRTIO_BLK_S_IOERR;
 * unknown requests VIRTIO_BLK_S_UNSUPP. A chain without room for the status stops the device.
 *
 * Bytes pass through a buffer of ours, in pieces: guest memory is reached through its gate, and a guest that asks for
 * gigabytes at once gets them piece by piece.
 *
 * Not implemented: several queues, geometry, lifetime, secure erase, zones.
 *
 * Source: VIRTIO Version 1.2, 5.2.
 */
#ifndef NFOLD_DEVICES_VIRTIOBLK_H
#define NFOLD_DEVICES_VIRTIOBLK_H

#include "backend/disk.h"
#include "devices/virtio.h"

struct virtioblk;

struct virtioblk_config {
	struct pci_bus *bus;
	unsigned device; /* PCI device number; function 0 */
	struct memory *memory;
	struct disk *disk;
	const char *serial; /* at most 20 characters of ASCII */
};

struct virtioblk *virtioblk_create(const struct virtioblk_config *config, struct error *error);
void virtioblk_destroy(struct virtioblk *blk); /* drains the disk image, which stays the caller's */
void virtioblk_reset(struct virtioblk *blk);   /* RST#; drains the image too */

#endif
