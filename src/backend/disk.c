/* SPDX-License-Identifier: MIT */
#include "backend/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct raw_disk {
	struct disk base;
	int fd;
	bool regular;	   /* a plain file, which can shrink */
	bool flush_failed; /* for ever: see the header */
};

/* ---- what all images share ---- */

static void request_finish(struct disk_request *request, int error, uint32_t completed)
{
	request->error = error;
	request->completed = completed;
	request->done(request);
}

static int request_refusal(const struct disk *disk, const struct disk_request *request)
{
	if (request->operation == DISK_FLUSH)
		return 0;
	if (request->operation == DISK_WRITE && disk->read_only)
		return EROFS;
	if (request->sector > disk->sectors || request->count > disk->sectors - request->sector)
		return EINVAL;
	return 0;
}

void disk_submit(struct disk *disk, struct disk_request *request)
{
	int refusal = request_refusal(disk, request);
	if (refusal != 0)
		request_finish(request, refusal, 0);
	else
		disk->ops->submit(disk, request);
}

void disk_drain(struct disk *disk)
{
	if (disk != NULL && disk->ops->drain != NULL)
		disk->ops->drain(disk);
}

void disk_close(struct disk *disk)
{
	if (disk == NULL)
		return;
	disk_drain(disk);
	disk->ops->close(disk);
}

/* ---- raw images ---- */

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

/* Reads all it can get. Returns the bytes read; *error says why there were no more. */
static size_t raw_read(const struct raw_disk *raw, uint8_t *to, size_t size, uint64_t offset, int *error)
{
	size_t done = 0;
	while (done < size) {
		ssize_t got = pread(raw->fd, to + done, size - done, (off_t)(offset + done));
		if (got > 0) {
			done += (size_t)got;
		} else if (got == 0 || errno != EINTR) {
			*error = got == 0 ? EIO : errno;
			break;
		}
	}
	return done;
}

static size_t raw_write(const struct raw_disk *raw, const uint8_t *from, size_t size, uint64_t offset, int *error)
{
	size_t done = 0;
	while (done < size) {
		ssize_t put = pwrite(raw->fd, from + done, size - done, (off_t)(offset + done));
		if (put > 0) {
			done += (size_t)put;
		} else if (put == 0 || errno != EINTR) {
			*error = put == 0 ? ENOSPC : errno;
			break;
		}
	}
	return done;
}

static int raw_flush(struct raw_disk *raw)
{
	if (raw->base.read_only)
		return 0;
	if (!raw->flush_failed && fdatasync(raw->fd) != 0)
		raw->flush_failed = true;
	return raw->flush_failed ? EIO : 0;
}

static void raw_submit_read(struct raw_disk *raw, struct disk_request *request)
{
	uint64_t offset = request->sector * DISK_SECTOR_SIZE;
	size_t size = (size_t)request->count * DISK_SECTOR_SIZE;
	int error = 0;
	size_t done = raw_read(raw, request->bytes, size, offset, &error);
	/* The part of a sector at the end of a read-only file. */
	size_t part = done % DISK_SECTOR_SIZE;
	if (part != 0 && raw->base.read_only && request->sector + done / DISK_SECTOR_SIZE + 1 == raw->base.sectors) {
		memset(request->bytes + done, 0, DISK_SECTOR_SIZE - part);
		done += DISK_SECTOR_SIZE - part;
		error = 0;
	}
	request_finish(request, error, (uint32_t)(done / DISK_SECTOR_SIZE));
}

/* A write beyond the end would make a file that shrank long again, with zeros where its owner's bytes were. */
static void raw_submit_write(struct raw_disk *raw, struct disk_request *request)
{
	uint64_t offset = request->sector * DISK_SECTOR_SIZE;
	size_t size = (size_t)request->count * DISK_SECTOR_SIZE;
	int error = 0;
	if (raw->regular && raw_length(raw) < offset + size) {
		request_finish(request, EIO, 0);
		return;
	}
	size_t done = raw_write(raw, request->bytes, size, offset, &error);
	if (error == 0 && request->durable)
		error = raw_flush(raw);
	request_finish(request, error, (uint32_t)(done / DISK_SECTOR_SIZE));
}

static void raw_submit(struct disk *disk, struct disk_request *request)
{
	struct raw_disk *raw = raw_of(disk);
	if (request->operation == DISK_READ)
		raw_submit_read(raw, request);
	else if (request->operation == DISK_WRITE)
		raw_submit_write(raw, request);
	else
		request_finish(request, raw_flush(raw), 0);
}

static void raw_close(struct disk *disk)
{
	struct raw_disk *raw = raw_of(disk);
	(void)close(raw->fd);
	free(raw);
}

static const struct disk_ops raw_ops = {.submit = raw_submit, .close = raw_close};

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

struct disk *disk_open_raw(const char *path, bool read_only, struct error *error)
{
	struct raw_disk *raw = calloc(1, sizeof *raw);
	if (raw == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for disk image %s", path);
		return NULL;
	}
	raw->base = (struct disk){.ops = &raw_ops, .read_only = read_only};
	/* O_NONBLOCK: a named pipe is refused below, not waited for. */
	raw->fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (raw->fd < 0) {
		(void)error_set(error, ERROR_INPUT, "cannot open disk image %s: %s", path, strerror(errno));
		free(raw);
		return NULL;
	}
	if (raw_check_kind(raw, path, error) && raw_lock(raw, path, error) && raw_measure(raw, path, error))
		return &raw->base;
	raw_close(&raw->base);
	return NULL;
}
