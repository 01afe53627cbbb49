/* SPDX-License-Identifier: MIT */
#include "control/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/replace_file.h"

#define END_MAX 4096

bool store_path(char *path, size_t size, struct error *error)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int length;
	if (state != NULL && state[0] == '/')
		length = snprintf(path, size, "%s/nfold", state);
	else if (geteuid() == 0)
		length = snprintf(path, size, "/var/lib/nfold");
	else if (home != NULL && home[0] == '/')
		length = snprintf(path, size, "%s/.local/state/nfold", home);
	else
		return error_set(error, ERROR_INPUT,
				 "no place for the host's state: set XDG_STATE_HOME or HOME to a folder");
	return (length > 0 && (size_t)length < size) ||
	       error_set(error, ERROR_INPUT, "the path of the host's state is too long: set XDG_STATE_HOME");
}

/* Creates all folders of a path. */
static bool make_path(const char *path)
{
	char copy[PATH_MAX];
	(void)snprintf(copy, sizeof copy, "%s", path);
	for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, 0755) != 0 && errno != EEXIST)
			return false;
		*slash = '/';
	}
	return mkdir(copy, 0700) == 0 || errno == EEXIST;
}

/* A folder below another that is ours alone. -1 with the error. */
static int open_folder(int base, const char *path, const char *name, struct error *error)
{
	struct stat status;
	int fd = -1;
	if (mkdirat(base, name, 0700) != 0 && errno != EEXIST) {
		error_set_errno(error, "cannot create %s/%s", path, name);
		return -1;
	}
	fd = openat(base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &status) == 0 && status.st_uid == geteuid() && (status.st_mode & 022) == 0)
		return fd;
	error_set(error, ERROR_HOST, "%s/%s must be a folder of yours that others cannot write: correct or remove it",
		  path, name);
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool take_lock(struct store *store, int base, struct error *error)
{
	store->lock = openat(base, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (store->lock < 0)
		return error_set_errno(error, "cannot open %s/lock", store->path);
	return flock(store->lock, LOCK_EX | LOCK_NB) == 0 ||
	       error_set(error, ERROR_INPUT, "another host uses %s: it runs already, with another runtime directory",
			 store->path);
}

/* The guest that a file in a folder is about: its name without any suffix. A guest's name may have dots: the longest
 * that is one wins. */
static bool has_guest(const struct store *store, const char *file)
{
	char stem[NAME_MAX + 1], definition[NAME_MAX + 8];
	struct stat status;
	(void)snprintf(stem, sizeof stem, "%s", file);
	for (char *dot = strrchr(stem, '.'); dot != NULL && dot != stem; dot = strrchr(stem, '.')) {
		*dot = '\0';
		(void)snprintf(definition, sizeof definition, "%s" DEFINITION_SUFFIX, stem);
		if (fstatat(store->guests, definition, &status, AT_SYMLINK_NOFOLLOW) == 0)
			return true;
	}
	return false;
}

static DIR *read_folder(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
	if (folder == NULL && copy >= 0)
		close(copy);
	return folder;
}

static void clean_folder(const struct store *store, int fd)
{
	DIR *folder = read_folder(fd);
	const struct dirent *entry;
	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		bool temporary = strncmp(entry->d_name, REPLACE_FILE_PREFIX, strlen(REPLACE_FILE_PREFIX)) == 0;
		bool orphan = fd == store->logs && entry->d_name[0] != '.' && !has_guest(store, entry->d_name);
		if (temporary || orphan)
			(void)unlinkat(fd, entry->d_name, 0);
	}
	if (folder != NULL)
		closedir(folder);
}

static bool open_in(struct store *store, int base, struct error *error)
{
	if (!take_lock(store, base, error))
		return false;
	store->guests = open_folder(base, store->path, "guests", error);
	if (store->guests < 0)
		return false;
	store->logs = open_folder(base, store->path, "logs", error);
	return store->logs >= 0;
}

bool store_open(struct store *store, struct error *error)
{
	store->lock = store->guests = store->logs = -1;
	if (!store_path(store->path, sizeof store->path, error))
		return false;
	if (!make_path(store->path))
		return error_set_errno(error, "cannot create %.200s", store->path);
	int base = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (base < 0)
		return error_set_errno(error, "cannot open %.200s", store->path);
	bool good = open_in(store, base, error);
	close(base);
	if (!good) {
		store_close(store);
		return false;
	}
	clean_folder(store, store->guests);
	clean_folder(store, store->logs);
	return true;
}

bool store_look(struct store *store, const char *path, struct error *error)
{
	store->lock = store->guests = store->logs = -1;
	if (path == NULL && !store_path(store->path, sizeof store->path, error))
		return false;
	if (path != NULL)
		(void)snprintf(store->path, sizeof store->path, "%s", path);
	int base = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (base >= 0) {
		store->guests = openat(base, "guests", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		store->logs = openat(base, "logs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	int number = errno;
	if (base >= 0)
		close(base);
	if (store->guests >= 0)
		return true;
	store_close(store);
	errno = number;
	return number == ENOENT ? error_set(error, ERROR_INPUT, "no guest is defined yet in %.200s", store->path)
				: error_set_errno(error, "cannot open %.200s/guests", store->path);
}

void store_close(struct store *store)
{
	int *const fds[] = {&store->guests, &store->logs, &store->lock};
	for (unsigned i = 0; i < 3; i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

/* ---- definitions ---- */

static void definition_name(char file[NAME_MAX + 1], const char *name)
{
	(void)snprintf(file, NAME_MAX + 1, "%s" DEFINITION_SUFFIX, name);
}

bool store_visit(const struct store *store, store_visitor *visitor, void *opaque, struct error *error)
{
	DIR *folder = read_folder(store->guests);
	const struct dirent *entry;
	if (folder == NULL)
		return error_set_errno(error, "cannot read %.200s/guests", store->path);
	while ((entry = readdir(folder)) != NULL) {
		char name[NAME_MAX + 1];
		if (!definition_is_path(entry->d_name))
			continue;
		(void)snprintf(name, sizeof name, "%.*s", (int)(strlen(entry->d_name) - strlen(DEFINITION_SUFFIX)),
			       entry->d_name);
		if (name_check(name, NULL))
			visitor(opaque, name);
	}
	closedir(folder);
	return true;
}

bool store_stamp(const struct store *store, const char *name, struct store_stamp *stamp)
{
	char file[NAME_MAX + 1];
	struct stat status;
	definition_name(file, name);
	if (fstatat(store->guests, file, &status, 0) != 0)
		return false;
	*stamp = (struct store_stamp){status.st_ino, status.st_size, status.st_mtim};
	return true;
}

bool store_stamp_is_same(const struct store_stamp *a, const struct store_stamp *b)
{
	return a->inode == b->inode && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
	       a->changed.tv_nsec == b->changed.tv_nsec;
}

bool store_read(const struct store *store, const char *name, struct definition *definition, struct error *error)
{
	char path[PATH_MAX];
	(void)snprintf(path, sizeof path, "%s/guests/%s" DEFINITION_SUFFIX, store->path, name);
	return definition_read(definition, path, error);
}

char *store_read_text(const struct store *store, const char *name, size_t *size, struct error *error)
{
	char path[PATH_MAX];
	(void)snprintf(path, sizeof path, "%s/guests/%s" DEFINITION_SUFFIX, store->path, name);
	return definition_file_text(path, size, error);
}

bool store_write_text(const struct store *store, const char *name, const char *text, size_t size, struct error *error)
{
	char file[NAME_MAX + 1], folder[PATH_MAX];
	definition_name(file, name);
	(void)snprintf(folder, sizeof folder, "%s/guests", store->path);
	return file_replace(store->guests, folder, file, text, size, error);
}

bool store_write(const struct store *store, const char *name, const json_t *object, struct error *error)
{
	char *text = definition_text(object);
	bool good = text != NULL ? store_write_text(store, name, text, strlen(text), error)
				 : error_set(error, ERROR_HOST, "out of memory");
	free(text);
	return good;
}

bool store_remove(const struct store *store, const char *name, struct error *error)
{
	static const char *const kinds[] = {"messages", "status", "end", "console", "console.1"};
	char file[NAME_MAX + 1];
	definition_name(file, name);
	if (unlinkat(store->guests, file, 0) != 0 && errno != ENOENT)
		return error_set_errno(error, "cannot remove %.200s/guests/%s", store->path, file);
	(void)fsync(store->guests);
	for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		(void)snprintf(file, sizeof file, "%s.%s", name, kinds[i]);
		(void)unlinkat(store->logs, file, 0);
	}
	return true;
}

/* ---- logs ---- */

int store_open_log(const struct store *store, const char *name, const char *kind, bool fresh)
{
	char file[NAME_MAX + 1];
	(void)snprintf(file, sizeof file, "%s.%s", name, kind);
	return openat(store->logs, file, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | (fresh ? O_TRUNC : 0),
		      0600);
}

void store_turn_log(const struct store *store, const char *name, const char *kind)
{
	char file[NAME_MAX + 1], old[NAME_MAX + 1];
	(void)snprintf(file, sizeof file, "%s.%s", name, kind);
	(void)snprintf(old, sizeof old, "%s.%s.1", name, kind);
	(void)renameat(store->logs, file, store->logs, old);
}

size_t store_read_log(const struct store *store, const char *name, const char *kind, char *bytes, size_t size)
{
	char file[NAME_MAX + 1];
	struct stat status;
	(void)snprintf(file, sizeof file, "%s.%s", name, kind);
	int fd = openat(store->logs, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t got = 0;
	if (fstat(fd, &status) == 0)
		got = pread(fd, bytes, size, status.st_size > (off_t)size ? status.st_size - (off_t)size : 0);
	close(fd);
	return got > 0 ? (size_t)got : 0;
}

bool store_write_end(const struct store *store, const char *name, const json_t *end, struct error *error)
{
	char file[NAME_MAX + 1], folder[PATH_MAX];
	char *text = definition_text(end);
	(void)snprintf(file, sizeof file, "%s.end", name);
	(void)snprintf(folder, sizeof folder, "%s/logs", store->path);
	bool good = text != NULL ? file_replace(store->logs, folder, file, text, strlen(text), error)
				 : error_set(error, ERROR_HOST, "out of memory");
	free(text);
	return good;
}

json_t *store_read_end(const struct store *store, const char *name)
{
	char text[END_MAX];
	size_t size = store_read_log(store, name, "end", text, sizeof text);
	json_t *end = json_loadb(text, size, 0, NULL);
	if (json_is_object(end))
		return end;
	json_decref(end);
	return NULL;
}
