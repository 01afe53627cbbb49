/* SPDX-License-Identifier: MIT */
/*
 * Floppy images: a raw file, sector after sector, of one of the sizes that floppies have.
 *
 * The image is locked against a second user while it is open: shared when read-only, else for this one alone. A write
 * has reached the host's file when floppy_write() returns. An image that shrinks while in use gives errors for what is
 * missing.
 *
 * Threading: as the device that uses it, with the machine's device lock held.
 */
#ifndef NFOLD_BACKEND_FLOPPY_H
#define NFOLD_BACKEND_FLOPPY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define FLOPPY_SECTOR 512u

/* Data rates, as controllers encode them. */
enum floppy_rate { FLOPPY_500K, FLOPPY_300K, FLOPPY_250K, FLOPPY_1M };

struct floppy_geometry {
	uint8_t cylinders, heads, sectors; /* sectors of a track */
	enum floppy_rate rate;		   /* double density: 250K, and 300K in a drive of high density */
};

struct floppy;

/* Fails with ERROR_INPUT when the file is no regular file or has a size that no floppy has. */
struct floppy *floppy_open(const char *path, bool read_only, struct error *error);
void floppy_close(struct floppy *floppy);

const struct floppy_geometry *floppy_geometry(const struct floppy *floppy);
bool floppy_is_read_only(const struct floppy *floppy);

/* One sector, counted from 0: all heads of a cylinder before the next. False: an I/O error, or no such sector. */
bool floppy_read(struct floppy *floppy, uint32_t sector, uint8_t bytes[FLOPPY_SECTOR]);
bool floppy_write(struct floppy *floppy, uint32_t sector, const uint8_t bytes[FLOPPY_SECTOR]);

#endif
