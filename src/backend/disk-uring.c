/* SPDX-License-Identifier: MIT */
/*
 * Work done by the kernel through io_uring: one ring for each image.
 *
 * The ring is used by whoever holds the device lock, and submits each step at once. What the kernel can do at once it
 * has done when the call returns, and is handed over right then. The eventfd tells of everything: the kernel's way to
 * have it tell only of what comes later leaves out direct accesses.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/disk-impl.h"

#define RING_ENTRIES 128u

struct uring {
	struct disk_aio base;
	struct io_uring ring;
	bool reaping; /* guards against steps that are submitted while others are handed over */
	unsigned unsubmitted;
};

/* False: io_uring has no such operation. */
static bool prepare(struct io_uring_sqe *sqe, const struct disk_work *work)
{
	switch ((enum disk_work_kind)work->kind) {
	case WORK_READ:
		io_uring_prep_readv(sqe, work->fd, &work->span, 1, work->offset);
		return true;
	case WORK_WRITE:
		io_uring_prep_writev(sqe, work->fd, &work->span, 1, work->offset);
		return true;
	case WORK_SYNC:
		io_uring_prep_fsync(sqe, work->fd, IORING_FSYNC_DATASYNC);
		return true;
	case WORK_PUNCH:
		io_uring_prep_fallocate(sqe, work->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)work->offset,
					(off_t)work->length);
		return true;
	case WORK_ZERO:
		io_uring_prep_fallocate(sqe, work->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)work->offset,
					(off_t)work->length);
		return true;
	case WORK_DISCARD_BLOCKS:
	case WORK_ZERO_BLOCKS:
		break;
	}
	return false;
}

/* syscall disk: io_uring_enter -- rings that are there; no new one is made, and restrict_ring() holds each to prepare()
 */
/* The kernel may be short of memory for a moment: what it did not take stays in the ring for the next call. */
static void push(struct uring *uring)
{
	int taken = io_uring_submit(&uring->ring);
	if (taken > 0)
		uring->unsubmitted -= (unsigned)taken;
}

static void reap(struct uring *uring)
{
	struct io_uring_cqe *cqe;
	if (uring->reaping)
		return;
	uring->reaping = true;
	while (io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
		struct disk_work *work = io_uring_cqe_get_data(cqe);
		work->result = cqe->res;
		io_uring_cqe_seen(&uring->ring, cqe);
		work->finished(work);
	}
	uring->reaping = false;
}

static void do_here(struct disk_work *work)
{
	work->result = disk_work_do(work);
	work->finished(work);
}

static void uring_submit(struct disk_aio *aio, struct disk_work *work)
{
	struct uring *uring = (struct uring *)aio;
	struct io_uring_sqe *sqe = NULL;
	bool known = work->kind != WORK_DISCARD_BLOCKS && work->kind != WORK_ZERO_BLOCKS;
	if (known)
		sqe = io_uring_get_sqe(&uring->ring);
	if (sqe == NULL) {
		do_here(work);
		return;
	}
	(void)prepare(sqe, work);
	io_uring_sqe_set_data(sqe, work);
	uring->unsubmitted++;
	push(uring);
	reap(uring);
}

static void uring_wait(struct disk_aio *aio)
{
	struct uring *uring = (struct uring *)aio;
	struct io_uring_cqe *cqe;
	if (uring->unsubmitted > 0)
		push(uring);
	(void)io_uring_wait_cqe(&uring->ring, &cqe); /* interrupted: the caller comes again */
	reap(uring);
}

static void uring_ready(void *opaque, int fd, uint32_t events)
{
	struct uring *uring = opaque;
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof count);
	(void)got; /* wait() may have been faster */
	(void)events;
	if (uring->unsubmitted > 0)
		push(uring);
	reap(uring);
}

static void uring_close(struct disk_aio *aio)
{
	struct uring *uring = (struct uring *)aio;
	disk_aio_unwatch(aio);
	io_uring_queue_exit(&uring->ring);
	free(uring);
}

static const struct disk_aio_ops uring_ops = {.submit = uring_submit, .wait = uring_wait, .close = uring_close};

/* Debian 12's liburing does not export its functions for these. */
static bool register_call(const struct io_uring *ring, unsigned operation, void *argument, unsigned count)
{
	return syscall(SYS_io_uring_register, ring->ring_fd, operation, argument, count) >= 0;
}

/* A ring could open files and make sockets past any filter of system calls: io_uring_register(2), restrictions. */
static bool restrict_ring(struct io_uring *ring)
{
	static const uint8_t operations[] = {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE};
	struct io_uring_restriction allowed[sizeof operations] = {{0}};
	for (size_t i = 0; i < sizeof operations; i++) {
		allowed[i].opcode = IORING_RESTRICTION_SQE_OP;
		allowed[i].sqe_op = operations[i];
	}
	return register_call(ring, IORING_REGISTER_RESTRICTIONS, allowed, sizeof operations) &&
	       register_call(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

struct disk_aio *disk_uring_open(const struct disk_host *host, struct error *error)
{
	struct uring *uring = calloc(1, sizeof *uring);
	if (uring == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for io_uring");
		return NULL;
	}
	uring->base = (struct disk_aio){.ops = &uring_ops, .host = *host, .event_fd = -1};
	int refusal = io_uring_queue_init(RING_ENTRIES, &uring->ring, IORING_SETUP_R_DISABLED);
	if (refusal < 0) {
		free(uring);
		(void)error_set(error, ERROR_HOST, "the kernel refuses io_uring: %s", strerror(-refusal));
		return NULL;
	}
	uring->base.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (uring->base.event_fd < 0 || io_uring_register_eventfd(&uring->ring, uring->base.event_fd) < 0 ||
	    !restrict_ring(&uring->ring))
		(void)error_set(error, ERROR_HOST, "the kernel's io_uring has no eventfd for us");
	else if (disk_aio_watch(&uring->base, uring_ready, error))
		return &uring->base;
	uring_close(&uring->base);
	return NULL;
}
