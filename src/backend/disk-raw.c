/* SPDX-License-Identifier: MIT */
/*
 * Raw images.
 *
 * Theory of operation. A request is a few steps of work: bytes are read or written until all are, whatever the host
 * takes at a time; a durable write is then synced, as a flush is. Each step goes to an engine (disk-impl.h), or
 * is done at once while no host is attached, and raw_went_on() looks at its result and begins the next. A read
 * that the page cache can answer is done at once anyway: that takes less time than telling somebody else to do it.
 *
 * A write and its sync are two steps, not one write with RWF_DSYNC: an error of the sync may concern other bytes that
 * the host has forgotten by then, and no later flush can succeed. An error of the write concerns nothing else.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/disk-impl.h"

#define BUFFER_ALIGNMENT 4096u
#define ZEROS_SIZE (UINT64_C(256) << 10)

struct raw_disk {
	struct disk base;
	int fd;
	enum disk_cache cache;
	uint32_t memory_alignment; /* of bytes that O_DIRECT moves; 1 without */
	bool regular;		   /* a plain file, which can shrink */
	bool flush_failed;	   /* for ever: see the header */
	bool cannot_zero;	   /* the host has no quick way: zeros are written */
	struct disk_aio *aio;	   /* NULL: everything is done at once */
	unsigned under_way;
};

/* What is written where the host has no quicker way to zeros; never written to. */
static const uint8_t zeros[ZEROS_SIZE] __attribute__((aligned(BUFFER_ALIGNMENT)));

static struct raw_disk *raw_of(struct disk *disk)
{
	return (struct raw_disk *)disk;
}

/* The file's bytes now; 0 when the host cannot say. */
static uint64_t raw_length(const struct raw_disk *raw)
{
	struct stat status;
	if (!raw->regular) {
		off_t end = lseek(raw->fd, 0, SEEK_END);
		return end < 0 ? 0 : (uint64_t)end;
	}
	return fstat(raw->fd, &status) != 0 || status.st_size < 0 ? 0 : (uint64_t)status.st_size;
}

/* ---- steps ---- */

static void raw_step(struct raw_disk *raw, struct disk_work *work)
{
	raw->under_way++;
	work->fd = raw->fd;
	if (raw->aio != NULL) {
		raw->aio->ops->submit(raw->aio, work);
		return;
	}
	work->result = disk_work_do(work);
	work->finished(work);
}

static void raw_finish(struct raw_disk *raw, struct disk_request *request, int error, uint64_t bytes)
{
	struct disk_work *work = &request->work;
	if (work->bounce != NULL && request->operation == DISK_READ)
		memcpy(request->bytes, work->bounce, bytes);
	free(work->bounce);
	work->bounce = NULL;
	disk_finish(&raw->base, request, error, (uint32_t)(bytes / DISK_SECTOR_SIZE));
}

static void raw_sync(struct raw_disk *raw, struct disk_request *request)
{
	if (raw->flush_failed || raw->cache == DISK_UNSAFE || raw->base.read_only) {
		request->hopeless = raw->flush_failed;
		raw_finish(raw, request, raw->flush_failed ? EIO : 0, request->work.done);
		return;
	}
	request->work.kind = WORK_SYNC;
	raw_step(raw, &request->work);
}

/* All bytes are there. */
static void raw_moved(struct raw_disk *raw, struct disk_request *request)
{
	bool writes = request->operation == DISK_WRITE || request->operation == DISK_ZERO;
	if (writes && (request->durable || raw->base.write_through))
		raw_sync(raw, request);
	else
		raw_finish(raw, request, 0, request->work.size);
}

/* The next bytes of a read or a write. */
static void raw_move(struct raw_disk *raw, struct disk_request *request)
{
	struct disk_work *work = &request->work;
	uint8_t *bytes = work->bounce != NULL ? work->bounce : request->bytes;
	uint64_t left = work->size - work->done;
	if (left == 0) {
		raw_moved(raw, request);
		return;
	}
	work->offset = request->sector * DISK_SECTOR_SIZE + work->done;
	work->span = (struct iovec){.iov_base = bytes + work->done, .iov_len = left};
	if (request->operation == DISK_ZERO) /* the engine only reads them */
		work->span = (struct iovec){.iov_base = (void *)(uintptr_t)zeros,
					    .iov_len = left < ZEROS_SIZE ? left : ZEROS_SIZE};
	work->kind = request->operation == DISK_READ ? WORK_READ : WORK_WRITE;
	raw_step(raw, work);
}

/* The part of a sector at the end of a read-only file is filled up with zeros. True: there was one. */
static bool raw_fill_up(const struct raw_disk *raw, struct disk_request *request)
{
	struct disk_work *work = &request->work;
	uint64_t part = work->done % DISK_SECTOR_SIZE;
	uint64_t sector = request->sector + work->done / DISK_SECTOR_SIZE;
	if (part == 0 || !raw->base.read_only || sector + 1 != raw->base.sectors)
		return false;
	memset((work->bounce != NULL ? work->bounce : request->bytes) + work->done, 0, DISK_SECTOR_SIZE - part);
	work->done += DISK_SECTOR_SIZE - part;
	return true;
}

/* The host moved what it could, or nothing. */
static void raw_went_on(struct raw_disk *raw, struct disk_request *request, long result)
{
	struct disk_work *work = &request->work;
	bool reads = request->operation == DISK_READ;
	if (result > 0)
		work->done += (uint64_t)result;
	/* O_DIRECT does not go on in the middle of a sector. */
	bool at_end = reads && (result == 0 || (result > 0 && raw->cache == DISK_DIRECT));
	if (at_end && raw_fill_up(raw, request)) {
		raw_finish(raw, request, work->done < work->size ? EIO : 0, work->done);
	} else if (result > 0) {
		raw_move(raw, request);
	} else {
		raw_finish(raw, request, result < 0 ? (int)-result : reads ? EIO : ENOSPC, work->done);
	}
}

static void raw_synced(struct raw_disk *raw, struct disk_request *request, long result)
{
	raw->flush_failed |= result < 0;
	request->hopeless = raw->flush_failed;
	raw_finish(raw, request, raw->flush_failed ? EIO : 0, request->work.done);
}

static bool cannot(long result)
{
	return result == -EOPNOTSUPP || result == -ENOSYS || result == -ENOTTY || result == -EINVAL;
}

static void raw_punched(struct raw_disk *raw, struct disk_request *request, long result)
{
	struct disk_work *work = &request->work;
	if (request->operation == DISK_DISCARD) { /* a hint */
		raw_finish(raw, request, result < 0 && !cannot(result) ? (int)-result : 0, work->size);
	} else if (cannot(result)) {
		raw->cannot_zero = true;
		raw_move(raw, request);
	} else if (result < 0) {
		raw_finish(raw, request, (int)-result, 0);
	} else {
		work->done = work->size;
		raw_moved(raw, request);
	}
}

/* ECANCELED: the thread that had asked is gone. EAGAIN: the kernel is short of something, and shall wait for it. */
static void raw_finished(struct disk_work *work)
{
	struct raw_disk *raw = raw_of(work->disk);
	struct disk_request *request = request_of(work);
	assert(raw->under_way > 0);
	raw->under_way--;
	if (work->result == -EAGAIN)
		work->result = disk_work_do(work);
	if (work->result == -EINTR || work->result == -ECANCELED)
		raw_step(raw, work);
	else if (work->kind == WORK_READ || work->kind == WORK_WRITE)
		raw_went_on(raw, request, work->result);
	else if (work->kind == WORK_SYNC)
		raw_synced(raw, request, work->result);
	else
		raw_punched(raw, request, work->result);
}

/* ---- requests ---- */

/* What the page cache has is read at once. True: the request is finished. */
static bool raw_read_cached(struct raw_disk *raw, struct disk_request *request)
{
	struct disk_work *work = &request->work;
	struct iovec span = {.iov_base = request->bytes, .iov_len = work->size};
	if (raw->aio == NULL || raw->cache == DISK_DIRECT)
		return false;
	ssize_t got = preadv2(raw->fd, &span, 1, (off_t)(request->sector * DISK_SECTOR_SIZE), RWF_NOWAIT);
	if (got > 0)
		work->done = (uint64_t)got;
	if (work->done < work->size)
		return false;
	raw_finish(raw, request, 0, work->size);
	return true;
}

/* O_DIRECT moves aligned bytes only. */
static bool raw_align(const struct raw_disk *raw, struct disk_request *request)
{
	struct disk_work *work = &request->work;
	if (request->operation == DISK_ZERO || ((uintptr_t)request->bytes & (raw->memory_alignment - 1)) == 0)
		return true;
	work->bounce = aligned_alloc(BUFFER_ALIGNMENT, align_up(work->size, BUFFER_ALIGNMENT));
	if (work->bounce != NULL && request->operation == DISK_WRITE)
		memcpy(work->bounce, request->bytes, work->size);
	return work->bounce != NULL;
}

/* A write beyond the end would make a file that shrank long again, with zeros where its owner's bytes were. */
static bool raw_has_shrunk(const struct raw_disk *raw, const struct disk_request *request)
{
	return raw->regular && raw_length(raw) < (request->sector + request->count) * DISK_SECTOR_SIZE;
}

static void raw_submit_bytes(struct raw_disk *raw, struct disk_request *request)
{
	if (request->operation == DISK_READ && raw_read_cached(raw, request))
		return;
	if (!raw_align(raw, request))
		raw_finish(raw, request, ENOMEM, 0);
	else
		raw_move(raw, request);
}

static void raw_submit_hole(struct raw_disk *raw, struct disk_request *request)
{
	struct disk_work *work = &request->work;
	bool zero = request->operation == DISK_ZERO;
	if (zero && (raw->cannot_zero || work->size == 0)) {
		raw_move(raw, request);
		return;
	}
	if (work->size == 0 || (!zero && !raw->base.discards)) {
		raw_finish(raw, request, 0, work->size);
		return;
	}
	work->offset = request->sector * DISK_SECTOR_SIZE;
	work->length = work->size;
	if (raw->regular)
		work->kind = zero && !request->unmap ? WORK_ZERO : WORK_PUNCH;
	else
		work->kind = zero ? WORK_ZERO_BLOCKS : WORK_DISCARD_BLOCKS;
	raw_step(raw, work);
}

static void raw_submit(struct disk *disk, struct disk_request *request)
{
	struct raw_disk *raw = raw_of(disk);
	request->work = (struct disk_work){
	    .finished = raw_finished, .disk = disk, .size = (uint64_t)request->count * DISK_SECTOR_SIZE};
	if (request->operation == DISK_FLUSH) {
		request->work.size = 0;
		raw_sync(raw, request);
	} else if (request->operation != DISK_READ && raw_has_shrunk(raw, request)) {
		raw_finish(raw, request, EIO, 0);
	} else if (request->operation == DISK_READ || request->operation == DISK_WRITE) {
		raw_submit_bytes(raw, request);
	} else {
		raw_submit_hole(raw, request);
	}
}

static void raw_drain(struct disk *disk)
{
	struct raw_disk *raw = raw_of(disk);
	while (raw->under_way > 0)
		raw->aio->ops->wait(raw->aio);
}

/* ---- life ---- */

static bool raw_attach(struct disk *disk, struct error *error)
{
	struct raw_disk *raw = raw_of(disk);
	if (disk->host.watch == NULL)
		return true;
	raw->aio = disk_aio_open(&disk->host, error);
	return raw->aio != NULL;
}

static void raw_close(struct disk *disk)
{
	struct raw_disk *raw = raw_of(disk);
	disk_aio_close(raw->aio);
	if (raw->fd >= 0)
		(void)close(raw->fd);
	disk_destroy(disk);
	free(raw);
}

static const struct disk_ops raw_ops = {
    .submit = raw_submit, .attach = raw_attach, .drain = raw_drain, .close = raw_close};

/* OFD locks belong to the open file: they go with it, and hold between two images of one process. */
static bool raw_lock(const struct raw_disk *raw, const char *path, struct error *error)
{
	struct flock lock = {.l_type = raw->base.read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
	if (fcntl(raw->fd, F_OFD_SETLK, &lock) == 0)
		return true;
	if (errno == EAGAIN || errno == EACCES)
		return error_set(
		    error, ERROR_INPUT,
		    "disk image %s is in use: another guest or program holds its lock; stop that one, or copy "
		    "the image",
		    path);
	return error_set_errno(error, "cannot lock disk image %s", path);
}

static bool raw_check_kind(struct raw_disk *raw, const char *path, struct error *error)
{
	struct stat status;
	if (fstat(raw->fd, &status) != 0)
		return error_set_errno(error, "cannot use disk image %s", path);
	raw->regular = S_ISREG(status.st_mode);
	if (!raw->regular && !S_ISBLK(status.st_mode))
		return error_set(error, ERROR_INPUT, "%s is no disk image: give a file or a block device", path);
	return true;
}

static bool raw_measure(struct raw_disk *raw, const char *path, struct error *error)
{
	uint64_t length = raw_length(raw);
	raw->base.sectors = length / DISK_SECTOR_SIZE;
	if (raw->base.read_only && length % DISK_SECTOR_SIZE != 0)
		raw->base.sectors++;
	if (raw->base.sectors == 0)
		return error_set(
		    error, ERROR_INPUT,
		    "disk image %s is too small: it needs 512 bytes at least; make one with truncate -s 1G %s", path,
		    path);
	return true;
}

/* What O_DIRECT asks of addresses in memory and in the file. A kernel that does not say wants the block size. */
static bool raw_read_alignment(const struct raw_disk *raw, uint32_t *memory, uint32_t *offset)
{
	struct statx status;
	int block = 0;
	*memory = *offset = 512;
	if (!raw->regular) {
		if (ioctl(raw->fd, BLKSSZGET, &block) == 0 && block > 0)
			*memory = *offset = (uint32_t)block;
		return true;
	}
	if (statx(raw->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) != 0 || !(status.stx_mask & STATX_DIOALIGN))
		return true;
	*memory = status.stx_dio_mem_align;
	*offset = status.stx_dio_offset_align;
	return *offset != 0;
}

static bool raw_make_direct(struct raw_disk *raw, const char *path, struct error *error)
{
	uint32_t memory, offset;
	if (raw->cache != DISK_DIRECT)
		return true;
	if (!raw_read_alignment(raw, &memory, &offset) || fcntl(raw->fd, F_SETFL, O_DIRECT) != 0)
		return error_set(error, ERROR_INPUT,
				 "disk image %s: its file system has no direct access (O_DIRECT); use cache=writeback",
				 path);
	if (offset > DISK_SECTOR_SIZE || memory > BUFFER_ALIGNMENT)
		return error_set(
		    error, ERROR_INPUT,
		    "disk image %s: direct access to it is in blocks of %u bytes, and a sector has %u; use "
		    "cache=writeback",
		    path, offset, DISK_SECTOR_SIZE);
	raw->memory_alignment = memory > 0 ? memory : 1;
	return true;
}

static bool raw_open(struct raw_disk *raw, const char *path, struct error *error)
{
	bool read_only = raw->base.read_only;
	/* O_NONBLOCK: a named pipe is refused below, not waited for. */
	raw->fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (raw->fd < 0)
		return error_set(error, ERROR_INPUT, "cannot open disk image %s: %s", path, strerror(errno));
	if (!raw_check_kind(raw, path, error))
		return false;
	(void)fcntl(raw->fd, F_SETFL, 0); /* with O_NONBLOCK io_uring would not wait for the host's disk */
	return raw_lock(raw, path, error) && raw_measure(raw, path, error) && raw_make_direct(raw, path, error);
}

struct disk *disk_open_raw(const char *path, const struct disk_options *options, struct error *error)
{
	struct raw_disk *raw = calloc(1, sizeof *raw);
	if (raw == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for disk image %s", path);
		return NULL;
	}
	raw->fd = -1;
	raw->cache = options->cache;
	raw->memory_alignment = 1;
	if (disk_init(&raw->base, &raw_ops, path, options->read_only, error) && raw_open(raw, path, error)) {
		raw->base.discards = !options->read_only;
		raw->base.write_through = options->cache == DISK_WRITETHROUGH;
		return &raw->base;
	}
	raw_close(&raw->base);
	return NULL;
}
