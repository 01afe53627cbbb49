/* SPDX-License-Identifier: MIT */
/* Images behind NBD servers. Internal to the backends. */
#ifndef NFOLD_BACKEND_DISK_NBD_H
#define NFOLD_BACKEND_DISK_NBD_H

#include "backend/disk.h"

struct disk *disk_open_nbd(const char *uri, const struct disk_options *options, struct error *error);

/* An image of a format that a server of our own knows. */
struct disk *disk_open_served(const char *path, enum disk_format format, const struct disk_options *options,
			      struct error *error);

#endif
