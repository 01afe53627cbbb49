/* SPDX-License-Identifier: MIT */
/*
 * A guest's serial port.
 *
 * Theory of operation. We are the one client of the socket that is the guest's serial port. What comes out of it goes
 * into a log of bounded size, and to the session that is attached, if there is one; what the session sends goes in. A
 * session that does not read must not slow the guest down: what its socket does not take is lost to it (not to the
 * log). What the guest does not take waits here, and until it is gone no more is read from the session. A new session
 * takes the place of the one before, and first gets the end of the log.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/host.h"

#define CHUNK 4096
#define RECALL 8192

struct console {
	struct guest *guest;
	int serial;	 /* to the guest, -1: gone */
	int session;	 /* our end of the attached session, -1: none */
	int log;	 /* -1: none */
	uint64_t logged; /* bytes in it */
	size_t waiting;	 /* bytes of input that the guest did not take yet */
	char input[CHUNK];
};

static struct host_loop *loop_of(const struct console *console)
{
	return &console->guest->host->loop;
}

static void close_watched(struct console *console, int *fd)
{
	if (*fd < 0)
		return;
	host_loop_unwatch(loop_of(console), *fd);
	close(*fd);
	*fd = -1;
}

static void open_log(struct console *console)
{
	struct stat status;
	console->log = store_open_log(&console->guest->host->store, console->guest->name, "console", false);
	console->logged = console->log >= 0 && fstat(console->log, &status) == 0 ? (uint64_t)status.st_size : 0;
}

/* A full disk loses output; the guest goes on. */
static void log_bytes(struct console *console, const char *bytes, size_t count)
{
	if (console->logged >= STORE_LOG_MAX) {
		if (console->log >= 0)
			close(console->log);
		store_turn_log(&console->guest->host->store, console->guest->name, "console");
		open_log(console);
	}
	if (console->log < 0)
		return;
	ssize_t put = write(console->log, bytes, count);
	console->logged += put > 0 ? (uint64_t)put : 0;
}

/* ---- from the guest ---- */

static bool send_input(struct console *console);
static void serial_ready(void *opaque, int fd, uint32_t events);
static void session_ready(void *opaque, int fd, uint32_t events);

/* Waits for room in the guest instead of more from the session, or the other way round. */
static void watch_for(struct console *console, bool room)
{
	host_loop_unwatch(loop_of(console), console->serial);
	(void)host_loop_watch(loop_of(console), console->serial, EPOLLIN | (room ? (uint32_t)EPOLLOUT : 0),
			      serial_ready, console, NULL);
	if (console->session < 0)
		return;
	host_loop_unwatch(loop_of(console), console->session);
	if (!room)
		(void)host_loop_watch(loop_of(console), console->session, EPOLLIN, session_ready, console, NULL);
}

enum serial { SERIAL_READ, SERIAL_EMPTY, SERIAL_GONE };

static enum serial read_serial(struct console *console)
{
	char bytes[CHUNK];
	ssize_t got = recv(console->serial, bytes, sizeof bytes, MSG_DONTWAIT);
	if (got <= 0)
		return got < 0 && (errno == EAGAIN || errno == EINTR) ? SERIAL_EMPTY : SERIAL_GONE;
	log_bytes(console, bytes, (size_t)got);
	if (console->session >= 0)
		(void)send(console->session, bytes, (size_t)got, MSG_DONTWAIT | MSG_NOSIGNAL);
	return SERIAL_READ;
}

static void serial_ready(void *opaque, int fd, uint32_t events)
{
	struct console *console = opaque;
	bool good = true;
	(void)fd;
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		good = read_serial(console) != SERIAL_GONE;
	if (good && (events & EPOLLOUT) != 0 && console->waiting > 0) {
		good = send_input(console);
		if (good && console->waiting == 0)
			watch_for(console, false);
	}
	if (!good)
		close_watched(console, &console->serial);
}

/* ---- to the guest ---- */

static bool send_input(struct console *console)
{
	ssize_t put = send(console->serial, console->input, console->waiting, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (put < 0)
		return errno == EAGAIN || errno == EINTR;
	console->waiting -= (size_t)put;
	memmove(console->input, console->input + put, console->waiting);
	return true;
}

static void session_ready(void *opaque, int fd, uint32_t events)
{
	struct console *console = opaque;
	(void)events;
	ssize_t got = recv(fd, console->input, sizeof console->input, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0 || console->serial < 0) {
		close_watched(console, &console->session);
		return;
	}
	console->waiting = (size_t)got;
	if (!send_input(console))
		close_watched(console, &console->serial);
	else if (console->waiting > 0)
		watch_for(console, true);
}

int console_attach(struct guest *guest, struct error *error)
{
	struct console *console = guest->console;
	int pair[2];
	char recall[RECALL];
	if (console == NULL || console->serial < 0) {
		const char *serial = guest->definition.object != NULL ? guest->definition.options.guest.serial : NULL;
		if (guest->state == GUEST_STOPPED)
			error_set(error, ERROR_INPUT, "guest '%s' does not run", guest->name);
		else
			error_set(error, ERROR_INPUT, "the serial port of guest '%s' is not at hand%s%.200s",
				  guest->name, serial != NULL ? ": it is connected to " : "",
				  serial != NULL ? serial : "");
		return -1;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
		error_set_errno(error, "cannot make a console session");
		return -1;
	}
	close_watched(console, &console->session);
	size_t used = store_read_log(&guest->host->store, guest->name, "console", recall, sizeof recall);
	(void)send(pair[0], recall, used, MSG_DONTWAIT | MSG_NOSIGNAL);
	console->session = pair[0];
	watch_for(console, console->waiting > 0);
	return pair[1];
}

/* ---- opening and closing ---- */

static int connect_serial(const struct guest *guest)
{
	struct sockaddr_un address;
	if (!runtime_serial_address(&guest->host->runtime, guest->name, &address, NULL))
		return -1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

void console_open(struct guest *guest)
{
	int serial = connect_serial(guest);
	struct console *console = serial >= 0 ? calloc(1, sizeof *console) : NULL;
	if (console == NULL) {
		if (serial >= 0)
			close(serial);
		return;
	}
	*console = (struct console){.guest = guest, .serial = serial, .session = -1, .log = -1};
	open_log(console);
	if (guest->child) { /* a new life, a new log */
		console->logged = STORE_LOG_MAX;
		log_bytes(console, "", 0);
	}
	guest->console = console;
	watch_for(console, false);
}

void console_close(struct guest *guest)
{
	struct console *console = guest->console;
	if (console == NULL)
		return;
	/* What the guest said last may still be in the socket. */
	for (unsigned i = 0; i < STORE_LOG_MAX / CHUNK && console->serial >= 0; i++)
		if (read_serial(console) != SERIAL_READ)
			break;
	close_watched(console, &console->serial);
	close_watched(console, &console->session);
	if (console->log >= 0)
		close(console->log);
	free(console);
	guest->console = NULL;
}
