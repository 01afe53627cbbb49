/* SPDX-License-Identifier: MIT */
/* --disk, taken apart: FILE[,format=...][,cache=...][,device=...][,on-error=...][,readonly]. */
#ifndef NFOLD_CONTROL_DISK_OPTION_H
#define NFOLD_CONTROL_DISK_OPTION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum guest_disk_format {
	GUEST_DISK_AUTO,
	GUEST_DISK_RAW,
	GUEST_DISK_QCOW2,
	GUEST_DISK_VMDK,
	GUEST_DISK_VHD,
	GUEST_DISK_VHDX,
	GUEST_DISK_FORMATS,
};
enum guest_disk_cache {
	GUEST_CACHE_WRITEBACK,
	GUEST_CACHE_WRITETHROUGH,
	GUEST_CACHE_NONE,
	GUEST_CACHE_UNSAFE,
	GUEST_CACHES,
};
enum guest_disk_device { GUEST_DISK_IDE, GUEST_DISK_VIRTIO, GUEST_DISK_DEVICES };
enum guest_disk_error { GUEST_DISK_REPORTS, GUEST_DISK_STOPS, GUEST_DISK_ERRORS };

/* The path is `length` bytes at `path`. */
struct guest_disk {
	const char *path;
	size_t length;
	bool read_only;
	enum guest_disk_format format;
	enum guest_disk_cache cache;
	enum guest_disk_device device;
	enum guest_disk_error on_error;
};

/* The words behind the file's name are read from the last one on, so that a name may have commas. */
bool guest_disk_read(const char *text, struct guest_disk *disk, struct error *error);

#endif
