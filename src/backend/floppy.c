/* SPDX-License-Identifier: MIT */
#include "backend/floppy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct floppy {
	int fd;
	bool read_only;
	const struct floppy_geometry *geometry;
};

static const struct floppy_geometry geometries[] = {
    {40, 1, 8, FLOPPY_250K},  /* 160K */
    {40, 1, 9, FLOPPY_250K},  /* 180K */
    {40, 2, 8, FLOPPY_250K},  /* 320K */
    {40, 2, 9, FLOPPY_250K},  /* 360K */
    {80, 2, 9, FLOPPY_250K},  /* 720K */
    {80, 2, 15, FLOPPY_500K}, /* 1.2M */
    {80, 2, 18, FLOPPY_500K}, /* 1.44M */
    {80, 2, 21, FLOPPY_500K}, /* 1.68M, distribution media format */
    {82, 2, 21, FLOPPY_500K}, /* 1.72M */
    {80, 2, 36, FLOPPY_1M},   /* 2.88M */
};

static uint32_t geometry_sectors(const struct floppy_geometry *geometry)
{
	return (uint32_t)geometry->cylinders * geometry->heads * geometry->sectors;
}

static const struct floppy_geometry *geometry_of_size(int64_t size)
{
	for (unsigned i = 0; i < sizeof geometries / sizeof geometries[0]; i++)
		if (size == (int64_t)geometry_sectors(&geometries[i]) * FLOPPY_SECTOR)
			return &geometries[i];
	return NULL;
}

static bool floppy_lock(int fd, bool read_only, const char *path, struct error *error)
{
	struct flock lock = {.l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return true;
	if (errno == EAGAIN || errno == EACCES)
		return error_set(error, ERROR_INPUT, "the floppy image %s is in use by another program", path);
	return error_set_errno(error, "cannot lock the floppy image %s", path);
}

static const struct floppy_geometry *floppy_examine(int fd, const char *path, struct error *error)
{
	struct stat status;
	if (fstat(fd, &status) != 0) {
		(void)error_set_errno(error, "cannot examine the floppy image %s", path);
		return NULL;
	}
	if (!S_ISREG(status.st_mode)) {
		(void)error_set(error, ERROR_INPUT, "the floppy image %s is not a regular file", path);
		return NULL;
	}
	const struct floppy_geometry *geometry = geometry_of_size(status.st_size);
	if (geometry == NULL)
		(void)error_set(error, ERROR_INPUT,
				"the floppy image %s has %lld bytes, which no floppy has; 1.44M is 1474560 bytes", path,
				(long long)status.st_size);
	return geometry;
}

struct floppy *floppy_open(const char *path, bool read_only, struct error *error)
{
	int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		(void)error_set(error, ERROR_INPUT, "cannot open the floppy image %s: %s", path, strerror(errno));
		return NULL;
	}
	const struct floppy_geometry *geometry = floppy_examine(fd, path, error);
	struct floppy *floppy = NULL;
	if (geometry != NULL && floppy_lock(fd, read_only, path, error)) {
		floppy = malloc(sizeof *floppy);
		if (floppy == NULL)
			(void)error_set(error, ERROR_HOST, "out of memory for the floppy image %s", path);
	}
	if (floppy == NULL) {
		(void)close(fd);
		return NULL;
	}
	*floppy = (struct floppy){.fd = fd, .read_only = read_only, .geometry = geometry};
	return floppy;
}

void floppy_close(struct floppy *floppy)
{
	(void)close(floppy->fd);
	free(floppy);
}

const struct floppy_geometry *floppy_geometry(const struct floppy *floppy)
{
	return floppy->geometry;
}

bool floppy_is_read_only(const struct floppy *floppy)
{
	return floppy->read_only;
}

bool floppy_read(struct floppy *floppy, uint32_t sector, uint8_t bytes[FLOPPY_SECTOR])
{
	if (sector >= geometry_sectors(floppy->geometry))
		return false;
	/* syscall base: pread64, pwrite64 -- floppies here; the figures of threads in ledger/settle.c */
	return pread(floppy->fd, bytes, FLOPPY_SECTOR, (off_t)sector * FLOPPY_SECTOR) == (ssize_t)FLOPPY_SECTOR;
}

/* A file that has shrunk is not made longer again: what lies between would be lost silently. */
bool floppy_write(struct floppy *floppy, uint32_t sector, const uint8_t bytes[FLOPPY_SECTOR])
{
	struct stat status;
	off_t offset = (off_t)sector * FLOPPY_SECTOR;
	if (floppy->read_only || sector >= geometry_sectors(floppy->geometry))
		return false;
	if (fstat(floppy->fd, &status) != 0 || status.st_size < offset + (off_t)FLOPPY_SECTOR)
		return false;
	return pwrite(floppy->fd, bytes, FLOPPY_SECTOR, offset) == (ssize_t)FLOPPY_SECTOR;
}
