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
 * `durable` write that succeeded; the cache modes below say more. After a flush that failed no later one succeeds: the
 * host may have dropped the bytes, and forgets that it did.
 *
 * The raw image is a file or block device, byte for byte, without a header. It is locked (OFD locks): one writer, or
 * any number of readers, and no image is opened twice otherwise. A last part of a file that fills no sector is not part
 * of the disk, unless it is opened read-only: then zeros fill it up. Sectors that vanish because the file shrinks give
 * EIO, reads and writes alike.
 *
 * Who runs the machine attaches itself to the image as its host: from then on requests may complete later, from the
 * host's event loop, what fails is reported to it, and each request's outcome is counted by it. Without a host every
 * request completes before disk_submit() returns. With on_error DISK_ERROR_STOPS a request that the host failed is held
 * and the host is asked to stop the guest; disk_retry() tries those requests again. A flush is not tried again (see
 * above): the guest gets its error.
 *
 * Threading: every call in either direction is made with the machine's device lock held, or before there are threads.
 */
#ifndef NFOLD_BACKEND_DISK_H
#define NFOLD_BACKEND_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"

#define DISK_SECTOR_SIZE 512u

enum disk_operation {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,
	DISK_DISCARD, /* a hint: the bytes are anything afterwards */
	DISK_ZERO,
	DISK_OPERATIONS,
};

enum disk_cache {
	DISK_WRITEBACK,	   /* writes are done when the host's page cache has them; a flush brings them to its disk */
	DISK_WRITETHROUGH, /* writes are done when the host's disk has them */
	DISK_DIRECT,	   /* as writeback, but past the host's page cache (O_DIRECT) */
	DISK_UNSAFE,	   /* flushes do nothing: a crash of the host loses or tears what was written */
};

enum disk_error_policy { DISK_ERROR_REPORTS, DISK_ERROR_STOPS };

struct disk;
struct disk_request;

/* What an image does for a request, step by step. Belongs to the image. */
struct disk_work {
	struct disk_work *next;
	void (*finished)(struct disk_work *work);
	struct disk *disk;
	int kind, fd;
	struct iovec span;
	uint64_t offset, length;
	long result; /* of the step: bytes, or a negative errno value */
	uint8_t *bounce;
	uint64_t done, size; /* bytes of the request */
};

struct disk_request {
	enum disk_operation operation;
	bool durable; /* a write that is on the host's disk when it is done */
	bool unmap;   /* DISK_ZERO: the space may be given back */
	uint64_t sector;
	uint32_t count; /* sectors */
	uint8_t *bytes; /* of reads and writes */
	void (*done)(struct disk_request *request);
	void *opaque;
	/* The outcome. */
	int error;
	uint32_t completed;
	/* Kept by the image. */
	uint64_t submitted; /* CLOCK_MONOTONIC, ns */
	struct disk_request *next;
	bool hopeless; /* it failed, and would again */
	struct disk_work work;
};

/* What an outcome is counted as. */
struct disk_outcome {
	enum disk_operation operation;
	uint64_t bytes; /* good ones */
	uint64_t nanoseconds;
	bool failed;
};

/* How the work of attached raw images is done. */
enum disk_engine { DISK_ENGINE_AUTO, DISK_ENGINE_URING, DISK_ENGINE_THREADS };

/* Each function may be NULL; without watch() everything completes at submission. */
struct disk_host {
	enum disk_engine engine; /* AUTO: the best that the kernel allows */
	/* As struct chardev_loop has them; ready() is called with the device lock held. */
	bool (*watch)(void *opaque, int fd, uint32_t epoll_events,
		      void (*ready)(void *ready_opaque, int fd, uint32_t epoll_events), void *ready_opaque);
	void (*unwatch)(void *opaque, int fd);
	void (*report)(void *opaque, const char *text); /* one line for the user */
	void (*stop)(void *opaque);			/* stop the guest; requests are held */
	void (*count)(void *opaque, const struct disk_outcome *outcome);
	void *opaque;
};

struct disk_ops {
	void (*submit)(struct disk *disk, struct disk_request *request); /* sectors are in range, writing is allowed */
	bool (*attach)(struct disk *disk, struct error *error);		 /* disk->host is set; NULL: nothing to do */
	void (*drain)(struct disk *disk);				 /* NULL: always drained */
	void (*close)(struct disk *disk);
};

struct disk {
	const struct disk_ops *ops;
	uint64_t sectors;
	bool read_only;
	bool discards;	    /* DISK_DISCARD gives space back, as far as the host can */
	bool write_through; /* every write is durable */
	enum disk_error_policy on_error;
	char *name;	       /* for reports; owned */
	struct disk_host host; /* see disk_attach() */
	bool draining;
	struct disk_request *held, **held_end;
	uint64_t reported_at; /* CLOCK_MONOTONIC, ns; what was reported last, and when */
	int reported_error;
};

struct disk_options {
	bool read_only;
	enum disk_cache cache;
};

enum disk_format {
	DISK_FORMAT_AUTO, /* raw, or what the file's name says; a URI is that of an NBD server */
	DISK_FORMAT_RAW,
	DISK_FORMAT_QCOW2,
	DISK_FORMAT_VMDK,
	DISK_FORMAT_VHD,
	DISK_FORMAT_VHDX,
};

struct disk *disk_open(const char *path, enum disk_format format, const struct disk_options *options,
		       struct error *error);
struct disk *disk_open_raw(const char *path, const struct disk_options *options, struct error *error);
void disk_close(struct disk *disk);

/* Once, before the guest runs. */
bool disk_attach(struct disk *disk, const struct disk_host *host, struct error *error);

void disk_submit(struct disk *disk, struct disk_request *request);
void disk_drain(struct disk *disk); /* held requests end with their errors */
void disk_retry(struct disk *disk); /* the guest goes on */

#endif
