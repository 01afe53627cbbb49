/* SPDX-License-Identifier: MIT */
#include "control/replace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool write_all(int fd, const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t put = write(fd, bytes, size);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		bytes += put;
		size -= (size_t)put;
	}
	return true;
}

static bool write_temporary(int folder_fd, const char *temporary, const char *bytes, size_t size)
{
	int fd = openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	bool good = write_all(fd, bytes, size) && fsync(fd) == 0;
	int number = errno;
	if (close(fd) != 0 && good) {
		number = errno;
		good = false;
	}
	errno = number;
	return good;
}

bool file_replace(int folder_fd, const char *folder, const char *name, const char *bytes, size_t size,
		  struct error *error)
{
	char temporary[NAME_MAX + 1];
	int length = snprintf(temporary, sizeof temporary, REPLACE_FILE_PREFIX "%s", name);
	if (length < 0 || (size_t)length >= sizeof temporary)
		return error_set(error, ERROR_INPUT, "%s: the file's name is too long", name);
	if (write_temporary(folder_fd, temporary, bytes, size) &&
	    renameat(folder_fd, temporary, folder_fd, name) == 0) {
		/* The name itself goes to the disk with its folder; some file systems do not know that call. */
		(void)fsync(folder_fd);
		return true;
	}
	error_set_errno(error, "cannot write %s/%s", folder, name);
	(void)unlinkat(folder_fd, temporary, 0);
	return false;
}
