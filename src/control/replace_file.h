/* SPDX-License-Identifier: MIT */
/* Files that are there whole or not at all, whatever happens in between. */
#ifndef NFOLD_CONTROL_REPLACE_FILE_H
#define NFOLD_CONTROL_REPLACE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* The temporary file's name is the file's with this before it. Whoever finds one may remove it while nobody writes. */
#define REPLACE_FILE_PREFIX ".new-"

/*
 * Writes a file in the folder behind `folder_fd`: into a temporary one, to the disk, then in the place of the old one,
 * so that after a crash there is the old or the new content. One writer for each name at a time. `folder` is for
 * messages. When it fails, the old file is as it was and no temporary one is left.
 */
bool file_replace(int folder_fd, const char *folder, const char *name, const char *bytes, size_t size,
		  struct error *error);

#endif
