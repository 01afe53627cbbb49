/* SPDX-License-Identifier: MIT */
#include "control/runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME_MAX (NAME_LENGTH_MAX + 8)
#define CLAIM_TRIES 16

static bool letter_or_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool name_character(char c)
{
	return letter_or_digit(c) || c == '.' || c == '_' || c == '-';
}

bool name_check(const char *name, struct error *error)
{
	size_t length = strlen(name);
	bool good = length > 0 && length <= NAME_LENGTH_MAX && letter_or_digit(name[0]);
	for (size_t i = 0; good && i < length; i++)
		good = name_character(name[i]);
	if (good)
		return true;
	return error_set(
	    error, ERROR_INPUT,
	    "name '%.80s': give 1 to %d letters, digits, dots, dashes and underscores, a letter or digit first", name,
	    NAME_LENGTH_MAX);
}

void name_from_path(const char *path, char name[NAME_LENGTH_MAX + 1])
{
	/* Room is left for a number behind the stem. */
	const size_t stem_max = NAME_LENGTH_MAX - 8;
	const char *slash = strrchr(path, '/');
	const char *from = slash != NULL ? slash + 1 : path;
	size_t length = 0;
	while (*from != '\0' && !letter_or_digit(*from))
		from++;
	for (; *from != '\0' && length < stem_max; from++)
		name[length++] = name_character(*from) ? *from : '-';
	name[length] = '\0';
	if (length == 0)
		memcpy(name, "guest", sizeof "guest");
}

/* Opens `path` if it is a directory that is ours and closed to others. */
static int open_private(const char *path, struct error *error)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		error_set_errno(error, "cannot open the runtime directory %s", path);
		return -1;
	}
	if (fstat(fd, &status) != 0 || status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
		error_set(error, ERROR_HOST,
			  "the runtime directory %s must belong to you and have mode 0700: correct or remove it", path);
		close(fd);
		return -1;
	}
	return fd;
}

/* Where the runtime directory goes. The parent must exist and be ours, except for /tmp, which is everybody's. */
static bool runtime_path(char *path, size_t size)
{
	char parent[32];
	struct stat status;
	const char *base = getenv("XDG_RUNTIME_DIR");
	(void)snprintf(parent, sizeof parent, "/run/user/%u", (unsigned)geteuid());
	if (base == NULL || base[0] != '/')
		base =
		    stat(parent, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() ? parent : NULL;
	int length = base != NULL ? snprintf(path, size, "%s/nfold", base)
				  : snprintf(path, size, P_tmpdir "/nfold-%u", (unsigned)geteuid());
	/* Room for a short name at least; runtime_socket_address judges the long ones. */
	return length > 0 && (size_t)length + sizeof "/name.sock" <= size;
}

bool runtime_open(struct runtime *runtime, bool create, struct error *error)
{
	struct stat status;
	runtime->fd = -1;
	if (!runtime_path(runtime->path, sizeof runtime->path))
		return error_set(error, ERROR_INPUT,
				 "XDG_RUNTIME_DIR is too long for the address of a socket: set it to a shorter path");
	if (create && mkdir(runtime->path, 0700) != 0 && errno != EEXIST)
		return error_set_errno(error, "cannot create the runtime directory %s", runtime->path);
	if (!create && lstat(runtime->path, &status) != 0 && errno == ENOENT)
		return error_set(error, ERROR_INPUT, "no guest runs");
	runtime->fd = open_private(runtime->path, error);
	return runtime->fd >= 0;
}

void runtime_close(struct runtime *runtime)
{
	if (runtime->fd >= 0)
		close(runtime->fd);
	runtime->fd = -1;
}

static void lock_name(char *file, const char *name)
{
	(void)snprintf(file, FILE_NAME_MAX, "%s.lock", name);
}

static void socket_name(char *file, const char *name)
{
	(void)snprintf(file, FILE_NAME_MAX, "%s.sock", name);
}

static void serial_name(char *file, const char *name)
{
	(void)snprintf(file, FILE_NAME_MAX, "%s.tty", name);
}

static void remove_sockets(const struct runtime *runtime, const char *name)
{
	char file[FILE_NAME_MAX];
	socket_name(file, name);
	(void)unlinkat(runtime->fd, file, 0);
	serial_name(file, name);
	(void)unlinkat(runtime->fd, file, 0);
}

/* Whether the file behind fd is still the one that its name leads to: its last owner may have removed it just now. */
static bool still_linked(const struct runtime *runtime, const char *file, int fd)
{
	struct stat held, linked;
	return fstat(fd, &held) == 0 && fstatat(runtime->fd, file, &linked, AT_SYMLINK_NOFOLLOW) == 0 &&
	       held.st_dev == linked.st_dev && held.st_ino == linked.st_ino;
}

/* One attempt. Returns the locked descriptor, -1 with errno EAGAIN if the lock is held, -1 otherwise. */
static int lock_once(const struct runtime *runtime, const char *file)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = openat(runtime->fd, file, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	if (fcntl(fd, F_SETLK, &lock) == 0)
		return fd;
	int number = errno == EACCES ? EAGAIN : errno;
	close(fd);
	errno = number;
	return -1;
}

enum claim_result runtime_claim(const struct runtime *runtime, const char *name, struct claim *claim,
				struct error *error)
{
	char lock_file[FILE_NAME_MAX];
	lock_name(lock_file, name);
	for (unsigned i = 0; i < CLAIM_TRIES; i++) {
		int fd = lock_once(runtime, lock_file);
		if (fd < 0 && errno == EAGAIN)
			return CLAIM_TAKEN;
		if (fd < 0)
			break;
		if (still_linked(runtime, lock_file, fd)) {
			remove_sockets(runtime, name);
			(void)snprintf(claim->name, sizeof claim->name, "%s", name);
			claim->fd = fd;
			return CLAIM_DONE;
		}
		close(fd);
	}
	error_set_errno(error, "cannot lock %s/%s", runtime->path, lock_file);
	return CLAIM_ERROR;
}

/* syscall base: unlinkat, unlink -- the guest's own files, at the end; others' files in the same folders too */
void runtime_release(const struct runtime *runtime, struct claim *claim)
{
	char file[FILE_NAME_MAX];
	remove_sockets(runtime, claim->name);
	lock_name(file, claim->name);
	(void)unlinkat(runtime->fd, file, 0);
	close(claim->fd);
	claim->fd = -1;
}

pid_t runtime_owner(const struct runtime *runtime, const char *name)
{
	char file[FILE_NAME_MAX];
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	lock_name(file, name);
	int fd = openat(runtime->fd, file, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return 0;
	int result = fcntl(fd, F_GETLK, &lock);
	close(fd);
	return result == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0 ? lock.l_pid : 0;
}

static bool address_of(const struct runtime *runtime, const char *file, struct sockaddr_un *address,
		       struct error *error)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	int length = snprintf(address->sun_path, sizeof address->sun_path, "%s/%s", runtime->path, file);
	if (length < 0 || (size_t)length >= sizeof address->sun_path)
		return error_set(error, ERROR_INPUT, "the name '%.*s' is too long for a socket in %s",
				 (int)(strrchr(file, '.') - file), file, runtime->path);
	return true;
}

bool runtime_socket_address(const struct runtime *runtime, const char *name, struct sockaddr_un *address,
			    struct error *error)
{
	char file[FILE_NAME_MAX];
	socket_name(file, name);
	return address_of(runtime, file, address, error);
}

bool runtime_serial_address(const struct runtime *runtime, const char *name, struct sockaddr_un *address,
			    struct error *error)
{
	char file[FILE_NAME_MAX];
	serial_name(file, name);
	return address_of(runtime, file, address, error);
}

static int is_lock_file(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);
	return length > 5 && length - 5 <= NAME_LENGTH_MAX && strcmp(entry->d_name + length - 5, ".lock") == 0;
}

/* Without the suffix, which would put "a-2" before "a". */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	size_t length_a = strlen((*a)->d_name) - 5, length_b = strlen((*b)->d_name) - 5;
	int order = memcmp((*a)->d_name, (*b)->d_name, length_a < length_b ? length_a : length_b);
	return order != 0 ? order : (length_a > length_b) - (length_a < length_b);
}

bool runtime_visit(const struct runtime *runtime, runtime_visitor *visitor, void *opaque, struct error *error)
{
	struct dirent **entries;
	int count = scandirat(runtime->fd, ".", &entries, is_lock_file, by_name);
	if (count < 0)
		return error_set_errno(error, "cannot read the runtime directory %s", runtime->path);
	for (int i = 0; i < count; i++) {
		char name[NAME_LENGTH_MAX + 1];
		(void)snprintf(name, sizeof name, "%.*s", (int)strlen(entries[i]->d_name) - 5, entries[i]->d_name);
		/* The host's own lock must not be looked at: closing the file again would give it up. */
		pid_t owner = name_check(name, NULL) ? runtime_owner(runtime, name) : 0;
		if (owner != 0)
			visitor(opaque, name, owner);
		free(entries[i]);
	}
	free(entries);
	return true;
}
