/* SPDX-License-Identifier: MIT */
/*
 * Disk images: what a disk, CD or floppy drive reads and writes.
 *
 * An image is a number of 512-byte sectors. A device owns its requests and hands them to disk_submit(); each is
 * completed exactly once by a call of done(), either before disk_submit() returns or later from the event loop. Until
 * then the request and its bytes belong to the image. Requests cannot be withdrawn; disk_drain() completes all that
 * are outstanding before it returns, and must precede the end of the device that owns them.
 *
 * An error is the request's own: `error` is an errno value and `completed` says how many sectors from the first on
 * are good. What was reported written is in the host's page cache at least, and on its disk after a flush or a
 * `durable` write that succeeded. After a flush that failed no later one succeeds: the host may have dropped the bytes,
 * and forgets that it did.
 *
 * The raw image is a file or block device, byte for byte, without a header. It is locked (OFD locks): one writer, or
 * any number of readers, and no image is opened twice otherwise. A last part of a file that fills no sector is not part
 * of the disk, unless it is opened read-only: then zeros fill it up. Sectors that vanish because the file shrinks give
 * EIO, reads and writes alike.
 *
 * Threading: every call in either direction is made with the machine's device lock held.
 */
#ifndef NFOLD_BACKEND_DISK_H
#define NFOLD_BACKEND_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define DISK_SECTOR_SIZE 512u

enum disk_operation { DISK_READ, DISK_WRITE, DISK_FLUSH };

struct disk_request {
	enum disk_operation operation;
	bool durable; /* a write that is on the host's disk when it is done */
	uint64_t sector;
	uint32_t count; /* sectors */
	uint8_t *bytes;
	void (*done)(struct disk_request *request);
	void *opaque;
	/* The outcome. */
	int error;
	uint32_t completed;
};

struct disk;

struct disk_ops {
	void (*submit)(struct disk *disk, struct disk_request *request); /* sectors are in range, writing is allowed */
	void (*drain)(struct disk *disk);				 /* NULL: always drained */
	void (*close)(struct disk *disk);
};

struct disk {
	const struct disk_ops *ops;
	uint64_t sectors;
	bool read_only;
};

struct disk *disk_open_raw(const char *path, bool read_only, struct error *error);
void disk_close(struct disk *disk);

void disk_submit(struct disk *disk, struct disk_request *request);
void disk_drain(struct disk *disk);

#endif
