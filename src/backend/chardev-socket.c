/* SPDX-License-Identifier: MIT */
/*
 * A stream over a listening Unix socket.
 *
 * Theory of operation. One client at a time; others wait in the backlog until it leaves. Without a client, the last
 * KEEP_SIZE bytes of output are kept in a ring and sent to the next client, so that whoever connects late sees the
 * boot messages. A client that reads slowly slows the device down and loses nothing.
 *
 * A client may close one direction first (`echo reboot | nc -U`): what it sent is delivered as fast as the device
 * takes it, even after a hang-up, and only then is the client forgotten.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/chardev-impl.h"

#define KEEP_SIZE 65536u

struct socket_chardev {
	struct chardev base;
	struct chardev_loop loop;
	struct sockaddr_un address;
	dev_t device; /* of our socket file: somebody may have put another in its place */
	ino_t inode;
	int listener;
	int client;	/* -1: none */
	bool listening; /* the listener is watched */
	bool client_watched;
	uint32_t client_events;
	bool input_ended;    /* the client has shut down its sending side */
	bool output_ended;   /* the client reads no more */
	bool output_blocked; /* a write was cut short */
	bool pumping;
	uint32_t kept_start, kept_count;
	uint8_t kept[KEEP_SIZE];
};

static struct socket_chardev *socket_of(struct chardev *chardev)
{
	return (struct socket_chardev *)chardev;
}

static void client_is_ready(void *opaque, int fd, uint32_t events);
static void listener_is_ready(void *opaque, int fd, uint32_t events);

static void client_unwatch(struct socket_chardev *stream)
{
	if (stream->client_watched)
		stream->loop.unwatch(stream->loop.opaque, stream->client);
	stream->client_watched = false;
}

static void client_watch(struct socket_chardev *stream, uint32_t events)
{
	if (stream->client_watched && stream->client_events == events)
		return;
	client_unwatch(stream);
	stream->client_events = events;
	stream->client_watched =
	    stream->loop.watch(stream->loop.opaque, stream->client, events, client_is_ready, stream);
}

static void listen_for_client(struct socket_chardev *stream)
{
	if (!stream->listening)
		stream->listening =
		    stream->loop.watch(stream->loop.opaque, stream->listener, EPOLLIN, listener_is_ready, stream);
}

static void client_drop(struct socket_chardev *stream)
{
	client_unwatch(stream);
	(void)close(stream->client);
	stream->client = -1;
	listen_for_client(stream);
	if (stream->output_blocked) {
		stream->output_blocked = false;
		chardev_push_ready(&stream->base);
	}
}

/* What to wait for next. Waiting for nothing still reports a hang-up, which we want unless input is held back. */
static void client_rewatch(struct socket_chardev *stream)
{
	if (stream->client < 0)
		return;
	bool room = stream->base.front.input != NULL && chardev_input_room(&stream->base) > 0;
	bool blocked = (stream->output_blocked || stream->kept_count > 0) && !stream->output_ended;
	uint32_t events = 0;
	if (room && !stream->input_ended)
		events |= EPOLLIN;
	if (blocked)
		events |= EPOLLOUT;
	if (events == 0 && !stream->input_ended)
		client_unwatch(stream);
	else
		client_watch(stream, events);
}

/* ---- output ---- */

static void keep_bytes(struct socket_chardev *stream, const uint8_t *bytes, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		stream->kept[(stream->kept_start + stream->kept_count) % KEEP_SIZE] = bytes[i];
		if (stream->kept_count < KEEP_SIZE)
			stream->kept_count++;
		else
			stream->kept_start = (stream->kept_start + 1) % KEEP_SIZE;
	}
}

/* Sends what it can; a client that is gone marks output_ended. */
static unsigned client_send(struct socket_chardev *stream, const uint8_t *bytes, unsigned count)
{
	if (stream->client < 0 || stream->output_ended)
		return 0;
	ssize_t put = send(stream->client, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (put >= 0)
		return (unsigned)put;
	if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ENOMEM)
		stream->output_ended = true;
	return 0;
}

static void send_kept(struct socket_chardev *stream)
{
	while (stream->kept_count > 0) {
		uint32_t run = KEEP_SIZE - stream->kept_start;
		unsigned put = client_send(stream, stream->kept + stream->kept_start,
					   run < stream->kept_count ? run : stream->kept_count);
		if (put == 0)
			return;
		stream->kept_start = (stream->kept_start + put) % KEEP_SIZE;
		stream->kept_count -= put;
	}
}

static unsigned socket_write(struct chardev *chardev, const uint8_t *bytes, unsigned count)
{
	struct socket_chardev *stream = socket_of(chardev);
	unsigned done = 0;
	send_kept(stream);
	if (stream->kept_count == 0 && count > 0)
		done = client_send(stream, bytes, count);
	if (stream->client < 0 || stream->output_ended) {
		keep_bytes(stream, bytes + done, count - done);
		return count;
	}
	stream->output_blocked = done < count;
	client_rewatch(stream);
	return done;
}

/* ---- input ---- */

static void pump_input(struct socket_chardev *stream)
{
	uint8_t bytes[256];
	while (stream->client >= 0 && !stream->input_ended && stream->base.front.input != NULL) {
		unsigned room = chardev_input_room(&stream->base);
		if (room == 0)
			return;
		ssize_t got = recv(stream->client, bytes, room < sizeof bytes ? room : sizeof bytes, MSG_DONTWAIT);
		if (got > 0)
			chardev_push_input(&stream->base, bytes, (unsigned)got);
		else if (got == 0)
			stream->input_ended = true;
		else if (errno == EAGAIN)
			return;
		else if (errno != EINTR)
			stream->input_ended = stream->output_ended = true;
	}
}

static void socket_input_ready(struct chardev *chardev)
{
	struct socket_chardev *stream = socket_of(chardev);
	if (stream->pumping)
		return;
	stream->pumping = true;
	pump_input(stream);
	stream->pumping = false;
	if (stream->client >= 0 && stream->input_ended && stream->output_ended)
		client_drop(stream);
	client_rewatch(stream);
}

static void client_is_ready(void *opaque, int fd, uint32_t events)
{
	struct socket_chardev *stream = opaque;
	(void)fd;
	if ((events & (EPOLLHUP | EPOLLERR)) != 0)
		stream->output_ended = true;
	send_kept(stream);
	if (stream->output_blocked && (stream->output_ended || stream->kept_count == 0)) {
		stream->output_blocked = false;
		chardev_push_ready(&stream->base);
	}
	if (stream->client >= 0)
		socket_input_ready(&stream->base);
}

static void listener_is_ready(void *opaque, int fd, uint32_t events)
{
	struct socket_chardev *stream = opaque;
	(void)fd;
	(void)events;
	int client = accept4(stream->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (client < 0)
		return;
	stream->loop.unwatch(stream->loop.opaque, stream->listener);
	stream->listening = false;
	stream->client = client;
	stream->input_ended = stream->output_ended = stream->output_blocked = false;
	send_kept(stream);
	socket_input_ready(&stream->base);
}

/* ---- opening and closing ---- */

/* syscall base: newfstatat[3=AT_SYMLINK_NOFOLLOW], lstat -- whether the socket is still ours */
static void socket_close(struct chardev *chardev)
{
	struct socket_chardev *stream = socket_of(chardev);
	struct stat status;
	client_unwatch(stream);
	if (stream->client >= 0)
		(void)close(stream->client);
	if (stream->listening)
		stream->loop.unwatch(stream->loop.opaque, stream->listener);
	if (stream->listener >= 0)
		(void)close(stream->listener);
	if (stream->inode != 0 && lstat(stream->address.sun_path, &status) == 0 && status.st_dev == stream->device &&
	    status.st_ino == stream->inode)
		(void)unlink(stream->address.sun_path);
	free(stream);
}

static const struct chardev_ops socket_ops = {
    .write = socket_write, .input_ready = socket_input_ready, .close = socket_close};

/* A socket file that nobody listens on was left by a process that died: it may be replaced. Anything else may not. */
static bool remove_stale(const struct sockaddr_un *address, struct error *error)
{
	struct stat status;
	const char *path = address->sun_path;
	if (lstat(path, &status) != 0)
		return true; /* bind() will say what is wrong, if anything is */
	if (!S_ISSOCK(status.st_mode))
		return error_set(error, ERROR_INPUT, "%s exists and is not a socket: choose another path", path);
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return error_set_errno(error, "cannot create a socket");
	bool stale = connect(probe, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED;
	(void)close(probe);
	if (!stale)
		return error_set(error, ERROR_INPUT, "%s is in use by another process: choose another path", path);
	if (unlink(path) != 0)
		return error_set_errno(error, "cannot replace the old socket %s", path);
	return true;
}

static bool open_listener(struct socket_chardev *stream, struct error *error)
{
	const char *path = stream->address.sun_path;
	struct stat status;
	if (!remove_stale(&stream->address, error))
		return false;
	stream->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (stream->listener < 0)
		return error_set_errno(error, "cannot create a socket");
	(void)fchmod(stream->listener, 0600); /* the mode that the file will have */
	if (bind(stream->listener, (const struct sockaddr *)&stream->address, sizeof stream->address) != 0)
		return error_set(error, ERROR_INPUT, "cannot listen for the serial port on %s: %s", path,
				 strerror(errno));
	if (lstat(path, &status) == 0) {
		stream->device = status.st_dev;
		stream->inode = status.st_ino;
	}
	if (listen(stream->listener, 4) != 0)
		return error_set_errno(error, "cannot listen for the serial port on %s", path);
	listen_for_client(stream);
	if (!stream->listening)
		return error_set(error, ERROR_HOST, "cannot wait for clients on %s", path);
	return true;
}

struct chardev *chardev_open_socket(const char *path, const struct chardev_loop *loop, struct error *error)
{
	struct socket_chardev *stream = calloc(1, sizeof *stream);
	if (stream == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	stream->base.ops = &socket_ops;
	stream->loop = *loop;
	stream->listener = stream->client = -1;
	stream->address.sun_family = AF_UNIX;
	size_t length = strlen(path);
	bool fits = length > 0 && length < sizeof stream->address.sun_path;
	if (fits)
		memcpy(stream->address.sun_path, path, length);
	else
		(void)error_set(error, ERROR_INPUT, "a socket path has 1 to %zu bytes; \"%.80s\" has %zu",
				sizeof stream->address.sun_path - 1, path, length);
	if (fits && open_listener(stream, error))
		return &stream->base;
	socket_close(&stream->base);
	return NULL;
}
