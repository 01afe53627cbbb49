/* SPDX-License-Identifier: MIT */
/*
 * Linked clones: a new image that holds only what differs from its base. The image is made by qemu-img.
 *
 * A base that changes makes its clones worthless. So the base loses its write permissions first, and nfold refuses to
 * write an image that has none, root or not. A base that somebody has open for writing at that moment is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "control/report.h"

#define WRITE_BITS ((mode_t)(S_IWUSR | S_IWGRP | S_IWOTH))

extern char **environ;

struct clone_options {
	const char *format;
};

static const char *const formats[] = {"auto", "raw", "qcow2", "vmdk", "vhd", "vhdx", NULL};

static const struct option clone_options[] = {
    {"format", "FORMAT", "auto", "format of the base: raw, qcow2, vmdk, vhd, vhdx (default: by its name, else raw)",
     .kind = OPTION_CHOICE, .choices = formats, .offset = offsetof(struct clone_options, format)},
    {0},
};

/* qemu-img's name of the format. */
static const char *base_format(const char *format, const char *path)
{
	if (strcmp(format, "auto") == 0) {
		const char *dot = strrchr(path, '.');
		format = "raw";
		for (unsigned i = 1; dot != NULL && formats[i] != NULL; i++)
			if (strcasecmp(dot + 1, formats[i]) == 0)
				format = formats[i];
	}
	return strcmp(format, "vhd") == 0 ? "vpc" : format;
}

/* ---- the base ---- */

struct base {
	int fd;
	char path[PATH_MAX]; /* absolute: the clone may be anywhere */
	mode_t mode;	     /* as it was; its write bits are gone */
};

/* qemu's own locks are shared ones on single bytes; a writer of ours has the whole file. Neither may be there. */
static bool base_is_free(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}

static void base_restore(const struct base *base)
{
	(void)fchmod(base->fd, base->mode);
}

static bool base_protect(struct base *base, const char *path, struct error *error)
{
	struct stat status;
	if (fstat(base->fd, &status) != 0 || !S_ISREG(status.st_mode))
		return error_set(error, ERROR_INPUT, "%s is no image that can be cloned: give a file", path);
	base->mode = status.st_mode & 07777;
	if ((base->mode & WRITE_BITS) == 0)
		return true; /* it has clones: who has it open only reads it */
	if (fchmod(base->fd, base->mode & ~WRITE_BITS) != 0)
		return error_set(error, ERROR_INPUT, "cannot write-protect the base %s: %s", path, strerror(errno));
	if (base_is_free(base->fd))
		return true;
	base_restore(base);
	return error_set(error, ERROR_INPUT, "the base %s is in use: stop the guest or program that has it open", path);
}

static bool base_open(struct base *base, const char *path, struct error *error)
{
	base->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (base->fd < 0 || realpath(path, base->path) == NULL)
		return error_set(error, ERROR_INPUT, "cannot open the base %s: %s", path, strerror(errno));
	return base_protect(base, path, error);
}

/* ---- the clone ---- */

static bool run_qemu_img(char *const *words, struct error *error)
{
	pid_t pid;
	int status, why = posix_spawnp(&pid, words[0], NULL, NULL, words, environ);
	if (why == ENOENT)
		return error_set(error, ERROR_INPUT, "clones are made by the program qemu-img: install qemu-utils");
	if (why != 0)
		return error_set(error, ERROR_HOST, "cannot start qemu-img: %s", strerror(why));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
	       error_set(error, ERROR_INPUT, "qemu-img could not make the clone; what it said is above");
}

/* A file that is there is left alone: O_EXCL, and qemu-img then fills the empty one. */
static bool make_clone(const struct base *base, const char *format, const char *path, struct error *error)
{
	char program[] = "qemu-img", create[] = "create", quiet[] = "-q", f[] = "-f", qcow2[] = "qcow2", b[] = "-b",
	     upper_f[] = "-F", name[PATH_MAX + 16], base_name[PATH_MAX + 16], of[16];
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return error_set(error, ERROR_INPUT, "cannot make the clone %s: %s", path, strerror(errno));
	(void)close(fd);
	/* "file:" so that no name means another protocol. */
	(void)snprintf(name, sizeof name, "file:%s", path);
	(void)snprintf(base_name, sizeof base_name, "%s", base->path);
	(void)snprintf(of, sizeof of, "%s", format);
	char *const words[] = {program, create, quiet, f, qcow2, b, base_name, upper_f, of, name, NULL};
	if (run_qemu_img(words, error))
		return true;
	(void)unlink(path);
	return false;
}

static int clone_run(const struct command_call *call)
{
	const struct clone_options *options = call->options;
	const char *path = call->argument[0], *clone = call->argument[1];
	struct base base = {.fd = -1};
	struct error error = {0};
	bool good = base_open(&base, path, &error);
	if (good) {
		good = make_clone(&base, base_format(options->format, path), clone, &error);
		if (!good)
			base_restore(&base);
	}
	if (base.fd >= 0)
		(void)close(base.fd);
	return good ? STATUS_OK : (int)report_error(&error);
}

const struct command command_clone = {
    .name = "clone",
    .arguments = "BASE NEW",
    .argument_min = 2,
    .argument_max = 2,
    .summary = "make a linked clone of a disk image",
    .description = "Makes the image NEW, in qcow2 format, that holds only what differs from the image BASE. BASE is\n"
		   "write-protected from then on: a base that changes makes its clones worthless. Start guests from\n"
		   "clones with --disk NEW,format=qcow2.",
    .options = clone_options,
    .run = clone_run,
};
