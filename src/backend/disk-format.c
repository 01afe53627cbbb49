/* SPDX-License-Identifier: MIT */
/*
 * Which kind of image a name means.
 *
 * What is in a file never decides its format: a guest that may write a raw disk could make it look like another kind,
 * one that names other files of the host. The user says the format, or the file's name does. A file without either that
 * begins like another format is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/disk-nbd.h"
#include "backend/disk.h"

#define BEGINNING 64u

static const struct {
	const char *name, *ending, *magic;
	enum disk_format format;
} formats[] = {
    {"qcow2", ".qcow2", "QFI\xfb", DISK_FORMAT_QCOW2},
    {"vmdk", ".vmdk", "KDMV", DISK_FORMAT_VMDK},
    {"vmdk", ".vmdk", "# Disk DescriptorFile", DISK_FORMAT_VMDK},
    {"vhdx", ".vhdx", "vhdxfile", DISK_FORMAT_VHDX},
    {"vhd", ".vhd", "conectix", DISK_FORMAT_VHD},
    {"vhd", ".vpc", "conectix", DISK_FORMAT_VHD},
};
#define FORMATS (sizeof formats / sizeof formats[0])

static bool is_uri(const char *path)
{
	static const char *const schemes[] = {"nbd://", "nbds://", "nbd+unix://", "nbds+unix://"};
	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
		if (strncmp(path, schemes[i], strlen(schemes[i])) == 0)
			return true;
	return false;
}

static enum disk_format format_of_name(const char *path)
{
	size_t length = strlen(path);
	for (size_t i = 0; i < FORMATS; i++) {
		size_t ending = strlen(formats[i].ending);
		if (length > ending && strcasecmp(path + length - ending, formats[i].ending) == 0)
			return formats[i].format;
	}
	return DISK_FORMAT_AUTO;
}

/* Whatever cannot be opened or read is left to those who report that. */
static bool check_beginning(const char *path, struct error *error)
{
	char bytes[BEGINNING] = "";
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : pread(fd, bytes, sizeof bytes, 0);
	if (fd >= 0)
		(void)close(fd);
	for (size_t i = 0; got > 0 && i < FORMATS; i++)
		if (memcmp(bytes, formats[i].magic, strlen(formats[i].magic)) == 0)
			return error_set(
			    error, ERROR_INPUT,
			    "disk image %s begins like a %s image, but is not named so: give format=%s, or "
			    "format=raw if its own guest wrote that",
			    path, formats[i].name, formats[i].name);
	return true;
}

/* So that it also holds for root, who may write everything. */
static bool check_protection(const char *path, bool read_only, struct error *error)
{
	struct stat status;
	if (read_only || stat(path, &status) != 0 || !S_ISREG(status.st_mode) ||
	    (status.st_mode & (S_IWUSR | S_IWGRP | S_IWOTH)) != 0)
		return true;
	return error_set(error, ERROR_INPUT,
			 "disk image %s: Permission denied: it is write-protected, as a base of clones is; use a clone "
			 "of it (nfold clone) or give readonly",
			 path);
}

struct disk *disk_open(const char *path, enum disk_format format, const struct disk_options *options,
		       struct error *error)
{
	if (format == DISK_FORMAT_AUTO && is_uri(path))
		return disk_open_nbd(path, options, error);
	if (!check_protection(path, options->read_only, error))
		return NULL;
	if (format == DISK_FORMAT_AUTO) {
		format = format_of_name(path);
		if (format == DISK_FORMAT_AUTO && !check_beginning(path, error))
			return NULL;
	}
	if (format == DISK_FORMAT_AUTO || format == DISK_FORMAT_RAW)
		return disk_open_raw(path, options, error);
	return disk_open_served(path, format, options, error);
}
