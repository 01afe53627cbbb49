/* SPDX-License-Identifier: MIT */
/*
 * Files that go into guest memory: kernels, initial RAM disks, modules.
 *
 * The descriptor stays open, so that a reset can load the file again without its path and without our keeping a
 * copy. Contents are read, never mapped: a file that shrinks is then an error and not a SIGBUS.
 */
#ifndef NFOLD_MACHINE_IMAGE_H
#define NFOLD_MACHINE_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "memory/memory.h"

struct image {
	char *path;	/* owned */
	int fd;		/* -1: only `bytes`, as tests make them */
	uint64_t size;	/* never 0 */
	uint8_t *bytes; /* the whole file between image_read and image_forget, else NULL */
};

/* `what` is the word for it in errors: "kernel". A path is known to be a non-empty regular file of at most `limit`
 * bytes afterwards. */
bool image_open(struct image *image, const char *path, const char *what, uint64_t limit, struct error *error);
void image_close(struct image *image);

/* Reads it all into image->bytes; image_forget gives that memory back. */
bool image_read(struct image *image, struct error *error);
void image_forget(struct image *image);

/* Copies the whole file to guest memory, without a copy of ours. */
bool image_copy(const struct image *image, struct memory *memory, uint64_t gpa, struct error *error);

#endif
