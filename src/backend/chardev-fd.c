/* SPDX-License-Identifier: MIT */
/*
 * Streams over descriptors and files.
 *
 * The caller's descriptors are shared with other processes (a shell's terminal), so O_NONBLOCK may not be set on them.
 * Where the host lets us, we open the same terminal or pipe anew and have our own flags; otherwise each transfer
 * asks poll() first and moves so little that it cannot block.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/chardev-impl.h"

enum port_kind {
	PORT_NONE,
	PORT_DIRECT, /* O_NONBLOCK, or a plain file, which is always ready */
	PORT_SOCKET, /* MSG_DONTWAIT */
	PORT_POLLED, /* blocking and shared */
};

struct port {
	enum port_kind kind;
	int fd; /* owned */
	bool watched;
};

struct fd_chardev {
	struct chardev base;
	struct chardev_loop loop;
	struct port in, out;
	bool pumping; /* guards against input() asking for more while it is fed */
};

static struct fd_chardev *fd_of(struct chardev *chardev)
{
	return (struct fd_chardev *)chardev;
}

/* Makes our own port from a descriptor that stays the caller's. */
static bool port_open(struct port *port, int fd, int flags, struct error *error)
{
	struct stat status;
	char path[40];
	if (fd < 0)
		return true;
	if (fstat(fd, &status) != 0)
		return error_set_errno(error, "cannot use descriptor %d for the serial port", fd);
	if (S_ISCHR(status.st_mode) || S_ISFIFO(status.st_mode)) {
		(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		port->fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		port->kind = PORT_DIRECT;
		if (port->fd >= 0)
			return true;
	}
	port->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (port->fd < 0)
		return error_set_errno(error, "cannot duplicate descriptor %d for the serial port", fd);
	port->kind = S_ISSOCK(status.st_mode) ? PORT_SOCKET : S_ISREG(status.st_mode) ? PORT_DIRECT : PORT_POLLED;
	return true;
}

static bool port_is_ready(const struct port *port, short events)
{
	struct pollfd pollfd = {.fd = port->fd, .events = events};
	return poll(&pollfd, 1, 0) == 1;
}

static ssize_t port_read(const struct port *port, uint8_t *to, size_t size)
{
	if (port->kind == PORT_SOCKET)
		return recv(port->fd, to, size, MSG_DONTWAIT);
	if (port->kind == PORT_POLLED && !port_is_ready(port, POLLIN)) {
		errno = EAGAIN;
		return -1;
	}
	return read(port->fd, to, size);
}

static ssize_t port_write(const struct port *port, const uint8_t *from, size_t size)
{
	if (port->kind == PORT_SOCKET)
		return send(port->fd, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (port->kind == PORT_POLLED) {
		if (!port_is_ready(port, POLLOUT)) {
			errno = EAGAIN;
			return -1;
		}
		size = 1; /* all that a terminal promises to take when it is writable */
	}
	return write(port->fd, from, size);
}

static void port_unwatch(struct fd_chardev *stream, struct port *port)
{
	if (port->watched)
		stream->loop.unwatch(stream->loop.opaque, port->fd);
	port->watched = false;
}

static void port_end(struct fd_chardev *stream, struct port *port)
{
	if (port->kind == PORT_NONE)
		return;
	port_unwatch(stream, port);
	(void)close(port->fd);
	*port = (struct port){.kind = PORT_NONE, .fd = -1};
}

/* False: such a descriptor cannot be waited for. */
static bool port_watch(struct fd_chardev *stream, struct port *port, uint32_t events,
		       void (*ready)(void *opaque, int fd, uint32_t epoll_events))
{
	if (!port->watched)
		port->watched = stream->loop.watch(stream->loop.opaque, port->fd, events, ready, stream);
	return port->watched;
}

static void in_is_ready(void *opaque, int fd, uint32_t events);

/* Feeds the device until it is full or the descriptor has no more. */
static void fd_pump_input(struct fd_chardev *stream)
{
	struct port *in = &stream->in;
	uint8_t bytes[256];
	while (in->kind != PORT_NONE) {
		unsigned room = chardev_input_room(&stream->base);
		if (room == 0) {
			port_unwatch(stream, in);
			return;
		}
		ssize_t got = port_read(in, bytes, room < sizeof bytes ? room : sizeof bytes);
		if (got > 0) {
			chardev_push_input(&stream->base, bytes, (unsigned)got);
		} else if (got < 0 && errno == EINTR) {
			continue;
		} else if (got < 0 && errno == EAGAIN) {
			if (!port_watch(stream, in, EPOLLIN, in_is_ready))
				port_end(stream, in);
			return;
		} else {
			port_end(stream, in);
		}
	}
}

static void fd_input_ready(struct chardev *chardev)
{
	struct fd_chardev *stream = fd_of(chardev);
	if (stream->pumping || chardev->front.input == NULL)
		return;
	stream->pumping = true;
	fd_pump_input(stream);
	stream->pumping = false;
}

static void in_is_ready(void *opaque, int fd, uint32_t events)
{
	struct fd_chardev *stream = opaque;
	(void)fd;
	(void)events;
	fd_input_ready(&stream->base);
}

static void out_is_ready(void *opaque, int fd, uint32_t events)
{
	struct fd_chardev *stream = opaque;
	(void)fd;
	(void)events;
	port_unwatch(stream, &stream->out);
	chardev_push_ready(&stream->base);
}

/* A reader that went away must not stop the guest: from then on output is forgotten. */
static unsigned fd_write(struct chardev *chardev, const uint8_t *bytes, unsigned count)
{
	struct fd_chardev *stream = fd_of(chardev);
	unsigned done = 0;
	while (done < count && stream->out.kind != PORT_NONE) {
		ssize_t put = port_write(&stream->out, bytes + done, count - done);
		if (put > 0) {
			done += (unsigned)put;
		} else if (put < 0 && errno == EINTR) {
			continue;
		} else if (put < 0 && errno == EAGAIN) {
			if (port_watch(stream, &stream->out, EPOLLOUT, out_is_ready))
				return done;
			port_end(stream, &stream->out);
		} else if (put < 0 && errno == ENOSPC) {
			return count; /* this much is lost; the disk may have room again later */
		} else {
			port_end(stream, &stream->out);
		}
	}
	return count;
}

static void fd_close(struct chardev *chardev)
{
	struct fd_chardev *stream = fd_of(chardev);
	port_end(stream, &stream->in);
	port_end(stream, &stream->out);
	free(stream);
}

static const struct chardev_ops fd_ops = {.write = fd_write, .input_ready = fd_input_ready, .close = fd_close};

static struct fd_chardev *fd_new(const struct chardev_loop *loop, struct error *error)
{
	struct fd_chardev *stream = calloc(1, sizeof *stream);
	if (stream == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	stream->base.ops = &fd_ops;
	stream->loop = *loop;
	stream->in.fd = stream->out.fd = -1;
	return stream;
}

struct chardev *chardev_open_stdio(int fd_in, int fd_out, const struct chardev_loop *loop, struct error *error)
{
	struct fd_chardev *stream = fd_new(loop, error);
	if (stream == NULL)
		return NULL;
	if (port_open(&stream->in, fd_in, O_RDONLY, error) && port_open(&stream->out, fd_out, O_WRONLY, error))
		return &stream->base;
	fd_close(&stream->base);
	return NULL;
}

struct chardev *chardev_open_file(const char *path, const struct chardev_loop *loop, struct error *error)
{
	struct fd_chardev *stream = fd_new(loop, error);
	if (stream == NULL)
		return NULL;
	/* O_NONBLOCK: a named pipe without a reader is an error here, not a hang. */
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
	if (fd >= 0) {
		stream->out = (struct port){.kind = PORT_DIRECT, .fd = fd};
		return &stream->base;
	}
	if (errno == ENXIO)
		(void)error_set(error, ERROR_INPUT, "cannot write serial output to %s: nobody reads this pipe yet",
				path);
	else
		(void)error_set(error, ERROR_INPUT, "cannot write serial output to %s: %s", path, strerror(errno));
	fd_close(&stream->base);
	return NULL;
}
