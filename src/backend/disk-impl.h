/* SPDX-License-Identifier: MIT */
/* What the kinds of images share, and the engines that do their work at the host. Internal to the backends. */
#ifndef NFOLD_BACKEND_DISK_IMPL_H
#define NFOLD_BACKEND_DISK_IMPL_H

#include <stddef.h>

#include "backend/disk.h"
#include "base/bits.h"

/* An image ends each request with this; `completed` are its good sectors. */
void disk_finish(struct disk *disk, struct disk_request *request, int error, uint32_t completed);

/* Sets what every image has. False: out of memory. */
bool disk_init(struct disk *disk, const struct disk_ops *ops, const char *name, bool read_only, struct error *error);
void disk_destroy(struct disk *disk);

static inline struct disk_request *request_of(struct disk_work *work)
{
	return container_of(work, struct disk_request, work);
}

/*
 * An engine does steps of work on a descriptor and calls finished() for each, on the event loop's thread or from within
 * wait(). It may do so before submit() returns.
 */
enum disk_work_kind {
	WORK_READ,
	WORK_WRITE,
	WORK_SYNC,
	WORK_PUNCH, /* a hole of `length` bytes */
	WORK_ZERO,
	WORK_DISCARD_BLOCKS, /* of a block device */
	WORK_ZERO_BLOCKS,
};

struct disk_aio;

struct disk_aio_ops {
	void (*submit)(struct disk_aio *aio, struct disk_work *work);
	void (*wait)(struct disk_aio *aio);  /* until at least one is finished; there is one under way */
	void (*close)(struct disk_aio *aio); /* nothing is under way */
};

struct disk_aio {
	const struct disk_aio_ops *ops;
	struct disk_host host;
	int event_fd; /* becomes readable when something is finished */
};

/* Does a step here and now. */
long disk_work_do(const struct disk_work *work);

struct disk_aio *disk_aio_open(const struct disk_host *host, struct error *error);
void disk_aio_close(struct disk_aio *aio);

/* The engines. NULL: this one cannot be had. */
struct disk_aio *disk_uring_open(const struct disk_host *host, struct error *error);
struct disk_aio *disk_threads_open(const struct disk_host *host, struct error *error);

/* For the engines. */
bool disk_aio_watch(struct disk_aio *aio, void (*ready)(void *opaque, int fd, uint32_t epoll_events),
		    struct error *error);
void disk_aio_unwatch(struct disk_aio *aio);

#endif
