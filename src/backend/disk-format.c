/* SPDX-License-Identifier: MIT */
/* Which kind of image a name means. */
#include "backend/disk.h"

#include <stddef.h>

struct disk *disk_open(const char *path, enum disk_format format, const struct disk_options *options,
		       struct error *error)
{
	if (format == DISK_FORMAT_AUTO || format == DISK_FORMAT_RAW)
		return disk_open_raw(path, options, error);
	(void)error_set(error, ERROR_INPUT, "disk image %s: this version reads raw images only", path);
	return NULL;
}
