/* SPDX-License-Identifier: MIT */
#include "backend/disk-server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM "qemu-nbd"
#define LISTEN_FD 3 /* sd_listen_fds(3): the first descriptor that is handed over */
#define SAID_SIZE 1024u
/* It writes back what it has cached of an image's tables; after so long it is told to end, and later made to. */
#define END_SECONDS 30
#define TERM_SECONDS 10

extern char **environ;

struct disk_server {
	pid_t pid;
	int process; /* a pidfd: signals reach this process and no other */
	int said_fd; /* its standard error */
	char said[SAID_SIZE];
	unsigned said_length;
	bool ended;
	int status; /* as waitpid() gives it; valid once it ended */
};

static const char *format_name(enum disk_format format)
{
	static const char *const names[] = {[DISK_FORMAT_RAW] = "raw",
					    [DISK_FORMAT_QCOW2] = "qcow2",
					    [DISK_FORMAT_VMDK] = "vmdk",
					    [DISK_FORMAT_VHD] = "vpc",
					    [DISK_FORMAT_VHDX] = "vhdx"};
	return names[format];
}

static const char *cache_name(enum disk_cache cache)
{
	static const char *const names[] = {[DISK_WRITEBACK] = "writeback",
					    [DISK_WRITETHROUGH] = "writethrough",
					    [DISK_DIRECT] = "none",
					    [DISK_UNSAFE] = "unsafe"};
	return names[cache];
}

/* ---- the socket ---- */

static bool connect_pair(const struct sockaddr_un *address, int *listener, int *client)
{
	const struct sockaddr *at = (const struct sockaddr *)address;
	*listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return *listener >= 0 && *client >= 0 && bind(*listener, at, sizeof *address) == 0 &&
	       listen(*listener, 1) == 0 && connect(*client, at, sizeof *address) == 0;
}

/* In a folder that only we may enter, and gone from there once both ends have met. */
static bool make_sockets(int *listener, int *client, struct error *error)
{
	char folder[] = P_tmpdir "/nfold-nbd-XXXXXX";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	*listener = *client = -1;
	if (mkdtemp(folder) == NULL)
		return error_set_errno(error, "cannot make a folder in " P_tmpdir " for a disk server's socket");
	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s/nbd", folder);
	bool met = connect_pair(&address, listener, client);
	int why = errno;
	(void)unlink(address.sun_path);
	(void)rmdir(folder);
	errno = why;
	return met || error_set_errno(error, "cannot make a disk server's socket");
}

/* ---- the process ---- */

/* In the words of its --image-opts, where a comma is doubled: a file's name then has no other meaning. */
static bool write_image_options(char *text, size_t size, const char *path, enum disk_format format)
{
	int used = snprintf(text, size, "driver=%s,file.driver=file,file.filename=", format_name(format));
	size_t at = (size_t)used;
	for (; *path != '\0' && at + 3 < size; path++) {
		text[at++] = *path;
		if (*path == ',')
			text[at++] = ',';
	}
	text[at] = '\0';
	return *path == '\0';
}

/* Standard input and output from nowhere, standard error to us, the socket where it is looked for. */
static bool set_descriptors(posix_spawn_file_actions_t *actions, int listener, int said)
{
	return posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDWR, 0) == 0 &&
	       posix_spawn_file_actions_adddup2(actions, STDIN_FILENO, STDOUT_FILENO) == 0 &&
	       posix_spawn_file_actions_adddup2(actions, said, STDERR_FILENO) == 0 &&
	       posix_spawn_file_actions_adddup2(actions, listener, LISTEN_FD) == 0;
}

/* A session of its own: what is typed at our terminal is not for it. Signals as in a new process. */
static bool set_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	return posix_spawnattr_setflags(attributes,
					POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) == 0 &&
	       posix_spawnattr_setsigmask(attributes, &none) == 0 &&
	       posix_spawnattr_setsigdefault(attributes, &all) == 0;
}

static bool spawn(pid_t *pid, char *const *words, int listener, int said)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	if (posix_spawn_file_actions_init(&actions) != 0)
		return false;
	bool good = posix_spawnattr_init(&attributes) == 0;
	if (good) {
		good = set_descriptors(&actions, listener, said) && set_attributes(&attributes) &&
		       posix_spawn(pid, words[0], &actions, &attributes, words, environ) == 0;
		(void)posix_spawnattr_destroy(&attributes);
	}
	(void)posix_spawn_file_actions_destroy(&actions);
	return good;
}

/* A descriptor that dup2() to a lower place neither loses nor leaves as it is, with O_CLOEXEC. */
static int move_up(int fd)
{
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, LISTEN_FD + 1);
	(void)close(fd);
	return moved;
}

static bool start_process(struct disk_server *server, const char *path, enum disk_format format,
			  const struct disk_options *options, int listener, struct error *error)
{
	/* sd_listen_fds(3) wants to know the process by its number, which only the process itself can say. */
	static char shell[] = "/bin/sh", flag[] = "-c", program[] = PROGRAM, image_opts[] = "--image-opts",
		    discard[] = "--discard=unmap", read_only[] = "--read-only", end[] = "--",
		    script[] = "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";
	char image[2 * 4096 + 128], cache[32];
	int said[2];
	if (!write_image_options(image, sizeof image, path, format))
		return error_set(error, ERROR_INPUT, "disk image %.64s...: File name too long", path);
	(void)snprintf(cache, sizeof cache, "--cache=%s", cache_name(options->cache));
	char *const words[] = {shell,
			       flag,
			       script,
			       shell,
			       program,
			       image_opts,
			       discard,
			       cache,
			       options->read_only ? read_only : end,
			       options->read_only ? end : image,
			       options->read_only ? image : NULL,
			       NULL};
	if (pipe2(said, O_CLOEXEC | O_NONBLOCK) != 0)
		return error_set_errno(error, "cannot make a pipe for " PROGRAM);
	said[1] = move_up(said[1]);
	server->said_fd = said[0];
	bool started = said[1] >= 0 && spawn(&server->pid, words, listener, said[1]);
	if (said[1] >= 0)
		(void)close(said[1]);
	if (!started)
		return error_set(error, ERROR_HOST, "cannot start a process for " PROGRAM);
	server->process = pidfd_open(server->pid, 0);
	return server->process >= 0 || error_set_errno(error, "cannot watch the process of " PROGRAM);
}

struct disk_server *disk_server_start(const char *path, enum disk_format format, const struct disk_options *options,
				      int *socket, struct error *error)
{
	struct disk_server *server = calloc(1, sizeof *server);
	int listener;
	if (server == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for disk image %s", path);
		return NULL;
	}
	server->said_fd = -1;
	bool good =
	    make_sockets(&listener, socket, error) && start_process(server, path, format, options, listener, error);
	if (listener >= 0)
		(void)close(listener);
	if (good)
		return server;
	if (*socket >= 0)
		(void)close(*socket);
	if (server->said_fd >= 0)
		(void)close(server->said_fd);
	free(server);
	return NULL;
}

/* ---- its end ---- */

/* syscall disk: wait4, waitid, pidfd_send_signal -- a disk server, whose descriptor is had since it was started */
static bool look_for_end(struct disk_server *server)
{
	if (!server->ended && waitpid(server->pid, &server->status, WNOHANG) == server->pid)
		server->ended = true;
	return server->ended;
}

static bool await_end(struct disk_server *server, unsigned seconds)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	for (unsigned i = 0; i < 100 * seconds; i++) {
		if (look_for_end(server))
			return true;
		(void)nanosleep(&pause, NULL);
	}
	return look_for_end(server);
}

/* Keeps the newest. */
static void hear(struct disk_server *server)
{
	char bytes[SAID_SIZE / 2];
	ssize_t got;
	while ((got = read(server->said_fd, bytes, sizeof bytes)) > 0) {
		unsigned count = (unsigned)got, keep = SAID_SIZE - count;
		if (server->said_length > keep) {
			memmove(server->said, server->said + (server->said_length - keep), keep);
			server->said_length = keep;
		}
		memcpy(server->said + server->said_length, bytes, count);
		server->said_length += count;
	}
}

/* On one line, without the program's name in front. */
static void copy_line(char *text, unsigned size, const char *said, unsigned length)
{
	static const char name[] = PROGRAM ": ";
	unsigned used = 0;
	for (unsigned i = 0; i < length && used + 1 < size; i++) {
		if (length - i >= strlen(name) && memcmp(said + i, name, strlen(name)) == 0) {
			i += (unsigned)strlen(name) - 1;
			continue;
		}
		unsigned char byte = (unsigned char)said[i];
		if (byte == '\n' && (i + 1 == length || used == 0))
			continue;
		text[used++] = byte == '\n' ? ';' : byte < ' ' || byte == 0x7f ? '?' : (char)byte;
	}
	text[used] = '\0';
}

void disk_server_describe(struct disk_server *server, char *text, unsigned size)
{
	(void)await_end(server, 1); /* a closed socket comes a moment before the end */
	hear(server);
	copy_line(text, size, server->said, server->said_length);
	if (text[0] != '\0' || !server->ended)
		return;
	if (WIFSIGNALED(server->status))
		(void)snprintf(text, size, "ended by signal %d", WTERMSIG(server->status));
	else
		(void)snprintf(text, size, "ended with status %d", WEXITSTATUS(server->status));
}

static void send_signal(const struct disk_server *server, int number)
{
	(void)pidfd_send_signal(server->process, number, NULL, 0);
}

void disk_server_stop(struct disk_server *server)
{
	if (server == NULL)
		return;
	if (!await_end(server, END_SECONDS)) {
		send_signal(server, SIGTERM);
		if (!await_end(server, TERM_SECONDS)) {
			send_signal(server, SIGKILL);
			(void)waitpid(server->pid, &server->status, 0);
		}
	}
	(void)close(server->said_fd);
	(void)close(server->process);
	free(server);
}
