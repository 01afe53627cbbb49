/* SPDX-License-Identifier: MIT */
#include "machine/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB(bytes) ((unsigned long long)(((bytes) + 0xfffff) >> 20))

static bool check_status(struct image *image, const char *what, uint64_t limit, struct error *error)
{
	struct stat status;
	if (fstat(image->fd, &status) != 0)
		return error_set_errno(error, "cannot read the %s %s", what, image->path);
	if (S_ISDIR(status.st_mode))
		return error_set(error, ERROR_INPUT, "the %s %s is a directory: name a file", what, image->path);
	if (!S_ISREG(status.st_mode))
		return error_set(error, ERROR_INPUT, "the %s %s is not a regular file", what, image->path);
	if (status.st_size <= 0)
		return error_set(error, ERROR_INPUT, "the %s %s is empty", what, image->path);
	image->size = (uint64_t)status.st_size;
	if (image->size > limit)
		return error_set(
		    error, ERROR_INPUT,
		    "the %s %s (%llu MiB) is too big for %llu MiB of guest memory: give it more with --memory", what,
		    image->path, MIB(image->size), (unsigned long long)(limit >> 20));
	return true;
}

bool image_open(struct image *image, const char *path, const char *what, uint64_t limit, struct error *error)
{
	*image = (struct image){.fd = -1};
	/* O_NONBLOCK: a named pipe must be refused, not waited for. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ENOENT)
		return error_set(error, ERROR_INPUT, "there is no %s %s", what, path);
	if (fd < 0) {
		(void)error_set_errno(error, "cannot open the %s %s", what, path);
		if (error != NULL)
			error->kind = ERROR_INPUT;
		return false;
	}
	image->fd = fd;
	image->path = strdup(path);
	if (image->path == NULL)
		(void)error_set(error, ERROR_HOST, "out of memory");
	else if (check_status(image, what, limit, error))
		return true;
	image_close(image);
	return false;
}

void image_close(struct image *image)
{
	image_forget(image);
	if (image->fd >= 0)
		(void)close(image->fd);
	free(image->path);
	*image = (struct image){.fd = -1};
}

static bool read_at(const struct image *image, uint8_t *to, uint64_t size, uint64_t offset, struct error *error)
{
	while (size > 0) {
		ssize_t got = pread(image->fd, to, size, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_errno(error, "cannot read %s", image->path);
		if (got == 0)
			return error_set(error, ERROR_INPUT, "%s became shorter while it was read", image->path);
		to += got;
		offset += (uint64_t)got;
		size -= (uint64_t)got;
	}
	return true;
}

bool image_read(struct image *image, struct error *error)
{
	if (image->bytes != NULL)
		return true;
	image->bytes = malloc(image->size);
	if (image->bytes == NULL)
		return error_set(error, ERROR_HOST, "not enough memory to read %s", image->path);
	if (read_at(image, image->bytes, image->size, 0, error))
		return true;
	image_forget(image);
	return false;
}

void image_forget(struct image *image)
{
	free(image->bytes);
	image->bytes = NULL;
}

bool image_copy(const struct image *image, struct memory *memory, uint64_t gpa, struct error *error)
{
	uint8_t buffer[65536];
	for (uint64_t done = 0; done < image->size;) {
		uint64_t left = image->size - done;
		uint64_t size = left < sizeof buffer ? left : sizeof buffer;
		if (image->bytes != NULL)
			memcpy(buffer, image->bytes + done, size);
		else if (!read_at(image, buffer, size, done, error))
			return false;
		if (!memory_load(memory, gpa + done, buffer, size))
			return error_set(error, ERROR_INPUT,
					 "%s does not fit into guest memory: give it more with --memory", image->path);
		done += size;
	}
	return true;
}
