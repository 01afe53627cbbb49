/* SPDX-License-Identifier: MIT */
/* Steps of work at the host, and the choice of who does them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "backend/disk-impl.h"

static long do_ioctl(const struct disk_work *work, unsigned long request)
{
	uint64_t range[2] = {work->offset, work->length};
	return ioctl(work->fd, request, range);
}

/* syscall disk: preadv, pwritev, preadv2, pwritev2, fdatasync, fallocate -- images, where io_uring does not take it */
/* syscall disk: ioctl[1=BLKDISCARD], ioctl[1=BLKZEROOUT] -- the same of block devices */
long disk_work_do(const struct disk_work *work)
{
	long result = -1;
	off_t offset = (off_t)work->offset, length = (off_t)work->length;
	errno = EINVAL;
	switch ((enum disk_work_kind)work->kind) {
	case WORK_READ:
		result = preadv(work->fd, &work->span, 1, offset);
		break;
	case WORK_WRITE:
		result = pwritev(work->fd, &work->span, 1, offset);
		break;
	case WORK_SYNC:
		result = fdatasync(work->fd);
		break;
	case WORK_PUNCH:
		result = fallocate(work->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
		break;
	case WORK_ZERO:
		result = fallocate(work->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length);
		break;
	case WORK_DISCARD_BLOCKS:
		result = do_ioctl(work, BLKDISCARD);
		break;
	case WORK_ZERO_BLOCKS:
		result = do_ioctl(work, BLKZEROOUT);
		break;
	}
	return result < 0 ? -errno : result;
}

bool disk_aio_watch(struct disk_aio *aio, void (*ready)(void *opaque, int fd, uint32_t epoll_events),
		    struct error *error)
{
	return aio->host.watch(aio->host.opaque, aio->event_fd, EPOLLIN, ready, aio) ||
	       error_set(error, ERROR_HOST, "too many descriptors in the event loop: use fewer disks");
}

void disk_aio_unwatch(struct disk_aio *aio)
{
	if (aio->event_fd < 0)
		return;
	aio->host.unwatch(aio->host.opaque, aio->event_fd);
	(void)close(aio->event_fd);
}

struct disk_aio *disk_aio_open(const struct disk_host *host, struct error *error)
{
	struct disk_aio *aio = NULL;
	if (host->engine != DISK_ENGINE_THREADS)
		aio = disk_uring_open(host, error);
	if (aio == NULL && host->engine != DISK_ENGINE_URING)
		aio = disk_threads_open(host, error);
	return aio;
}

void disk_aio_close(struct disk_aio *aio)
{
	if (aio != NULL)
		aio->ops->close(aio);
}
