/* SPDX-License-Identifier: MIT */
/*
 * Own namespaces, and an empty root folder in them.
 *
 * Theory of operation. A user makes them by way of a user namespace, in which only the own user and group exist. Some
 * systems forbid those, and some let them be made and then nothing be done in them; there would be no way back. So a
 * child of a moment tries first. root needs no user namespace, and has none: in it the files of others would be closed
 * to it.
 *
 * The new root is an empty file system in memory, as large as a few folder names. The folders that are written to later
 * (where sockets lie that are to be removed at the end) are mounted into it at their own places, so that paths stay as
 * they are. A process in such a root opens files by no name from outside, and ".." ends at the new root: descriptors of
 * folders that were open before would lead past it, so nobody keeps one. Then the root is made read-only.
 *
 * Each thread has its namespaces for itself: this comes before there are others.
 */
#include "confine/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine/privileges.h"

#define BASE P_tmpdir /* where the new root is put together; what it hides there is seen by nobody */
#define RESOLVER "/etc/resolv.conf"
#define RESOLVER_MAX 4096u

struct kind {
	int flag;
	enum confine_part part;
};

static const struct kind kinds[] = {{CLONE_NEWUSER, CONFINE_NS_USER},	  {CLONE_NEWNS, CONFINE_NS_MOUNT},
				    {CLONE_NEWIPC, CONFINE_NS_IPC},	  {CLONE_NEWUTS, CONFINE_NS_UTS},
				    {CLONE_NEWCGROUP, CONFINE_NS_CGROUP}, {CLONE_NEWNET, CONFINE_NS_NETWORK}};

static int wanted_flags(const struct confinement *confinement)
{
	int flags = 0;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		flags |= kinds[i].flag;
	if (geteuid() == 0)
		flags &= ~CLONE_NEWUSER;
	if (confinement->host_network)
		flags &= ~CLONE_NEWNET;
	return flags;
}

/* ---- entering ---- */

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_CREAT, 0444);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return good;
}

/* user_namespaces(7): who may not change its groups may map its own. */
static bool map_self(uid_t user, gid_t group)
{
	char users[64], groups[64];
	(void)snprintf(users, sizeof users, "%u %u 1\n", (unsigned)user, (unsigned)user);
	(void)snprintf(groups, sizeof groups, "%u %u 1\n", (unsigned)group, (unsigned)group);
	return write_file("/proc/self/setgroups", "deny") && write_file("/proc/self/uid_map", users) &&
	       write_file("/proc/self/gid_map", groups);
}

static bool enter(int flags)
{
	uid_t user = geteuid();
	gid_t group = getegid();
	return unshare(flags) == 0 && ((flags & CLONE_NEWUSER) == 0 || map_self(user, group)) &&
	       mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0;
}

/* Whether a user namespace is of any use here. */
static bool can_enter(int flags)
{
	int status = 0;
	if ((flags & CLONE_NEWUSER) == 0)
		return true;
	pid_t child = fork();
	if (child == 0)
		_exit(enter(flags) && mount("nfold", BASE, "tmpfs", 0, "size=64k") == 0 ? 0 : 1);
	if (child < 0)
		return false;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- the new root ---- */

/* All of the path's folders, below the current one. */
static bool make_folders(const char *path)
{
	char below[PATH_MAX];
	int length = snprintf(below, sizeof below, ".%s", path);
	if (length < 0 || (size_t)length >= sizeof below)
		return false;
	for (char *at = below + 2; *at != '\0'; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		if (mkdir(below, 0755) != 0 && errno != EEXIST)
			return false;
		*at = '/';
	}
	return mkdir(below, 0755) == 0 || errno == EEXIST;
}

/* What Linux lets no user namespace take away from a mount has to be said again. */
static unsigned long kept_flags(const char *path)
{
	static const struct {
		unsigned long has, flag;
	} table[] = {{ST_RDONLY, MS_RDONLY},
		     {ST_NOATIME, MS_NOATIME},
		     {ST_NODIRATIME, MS_NODIRATIME},
		     {ST_RELATIME, MS_RELATIME}};
	struct statvfs status;
	unsigned long flags = MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	if (statvfs(path, &status) != 0)
		return flags;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		flags |= (status.f_flag & table[i].has) != 0 ? table[i].flag : 0;
	return flags;
}

/* A folder of the old root, open as `fd`, at its own place in the new one. */
static bool show_folder(const char *path, int fd)
{
	char from[64], at[PATH_MAX];
	int length = snprintf(at, sizeof at, ".%s", path);
	if (length < 0 || (size_t)length >= sizeof at || !make_folders(path))
		return false;
	(void)snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
	return mount(from, at, NULL, MS_BIND, NULL) == 0 && mount(NULL, at, NULL, kept_flags(at), NULL) == 0;
}

/* For libslirp, which looks the host's name servers up there; as it is now. */
static bool write_resolver(const char *text)
{
	return text[0] == '\0' || (make_folders("/etc") && write_file("." RESOLVER, text));
}

static void read_resolver(char text[RESOLVER_MAX])
{
	int fd = open(RESOLVER, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, text, RESOLVER_MAX - 1) : 0;
	text[got > 0 ? got : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

struct places {
	char path[CONFINE_FOLDERS_MAX][PATH_MAX]; /* absolute */
	int fd[CONFINE_FOLDERS_MAX];
	unsigned count;
	char current[PATH_MAX];
	char resolver[RESOLVER_MAX];
};

static bool open_place(struct places *places, const char *folder)
{
	char *path = places->path[places->count];
	int length = folder[0] == '/' ? snprintf(path, PATH_MAX, "%s", folder)
				      : snprintf(path, PATH_MAX, "%s/%s", places->current, folder);
	if (length < 0 || length >= PATH_MAX)
		return false;
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	places->fd[places->count] = fd;
	places->count += fd >= 0;
	return fd >= 0;
}

static void close_places(struct places *places)
{
	while (places->count > 0)
		close(places->fd[--places->count]);
}

/* Before the new root hides them. */
static bool open_places(struct places *places, const struct confinement *confinement)
{
	bool good = getcwd(places->current, sizeof places->current) != NULL;
	places->resolver[0] = '\0';
	if (confinement->resolver)
		read_resolver(places->resolver);
	for (unsigned i = 0; good && i < confinement->folders; i++)
		good = open_place(places, confinement->folder[i]);
	return good;
}

static bool fill_root(const struct places *places)
{
	if (mount("nfold", BASE, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=256k") != 0 ||
	    chdir(BASE) != 0)
		return false;
	for (unsigned i = 0; i < places->count; i++)
		if (!show_folder(places->path[i], places->fd[i]))
			return false;
	return write_resolver(places->resolver) &&
	       mount(NULL, ".", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0;
}

/* pivot_root(2): with both names the same, the old root lies over the new one, and is taken away there. */
static bool change_root(const struct places *places)
{
	if (!fill_root(places) || syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0)
		return false;
	/* Relative names of sockets go from where we were; nothing of it is left where none lies below it. */
	return chdir(places->current) == 0 || chdir("/") == 0;
}

static bool make_root(const struct confinement *confinement)
{
	struct places places = {.count = 0};
	bool good = open_places(&places, confinement) && change_root(&places);
	close_places(&places);
	return good;
}

void namespaces_enter(struct confinement *confinement)
{
	int flags = wanted_flags(confinement);
	if (!can_enter(flags) || !enter(flags))
		return;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if ((flags & kinds[i].flag) != 0 && kinds[i].flag != CLONE_NEWNS)
			confinement->parts |= 1u << kinds[i].part;
	if (make_root(confinement))
		confinement->parts |= 1u << CONFINE_NS_MOUNT;
}

void confine_isolate(struct confinement *confinement)
{
	namespaces_enter(confinement);
	privileges_drop(confinement);
}
