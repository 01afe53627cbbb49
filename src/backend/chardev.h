/* SPDX-License-Identifier: MIT */
/*
 * Character streams: what a serial port talks to.
 *
 * A stream joins one device (the front) to a pair of descriptors, a file, a socket or nothing. Output: the
 * device writes bytes; the stream may accept fewer than offered, and then calls output_ready once it can take more.
 * Input: the stream pushes bytes, never more than the device has room for; a device that had no room calls
 * chardev_input_ready() when it has some again. input() may be called from within chardev_attach() and
 * chardev_input_ready().
 *
 * The stream never blocks. It learns of readable and writable descriptors through `struct chardev_loop`, which the
 * event loop provides.
 *
 * Threading: every call in either direction is made with the machine's device lock held.
 */
#ifndef NFOLD_BACKEND_CHARDEV_H
#define NFOLD_BACKEND_CHARDEV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct chardev;

/* The device's side. */
struct chardev_front {
	unsigned (*input_room)(void *opaque); /* bytes that input() would take now */
	void (*input)(void *opaque, const uint8_t *bytes, unsigned count);
	void (*output_ready)(void *opaque); /* an earlier write was cut short; there is room again */
	void *opaque;
};

/* The event loop's side: ready() is called with the device lock held while one of `epoll_events`, an error or a
 * hang-up is pending. watch() returns false for a descriptor that cannot be waited for: a plain file, /dev/null. */
struct chardev_loop {
	bool (*watch)(void *opaque, int fd, uint32_t epoll_events,
		      void (*ready)(void *ready_opaque, int fd, uint32_t epoll_events), void *ready_opaque);
	void (*unwatch)(void *opaque, int fd);
	void *opaque;
};

/*
 * stdio: input from one descriptor, output to another; both stay the caller's, unchanged, and may be -1.
 * file: output only; the file is created or truncated. socket: listens at a path for one client at a time; the last
 * bytes written without a client are kept and sent to the next one. none: takes and forgets everything.
 */
struct chardev *chardev_open_stdio(int fd_in, int fd_out, const struct chardev_loop *loop, struct error *error);
struct chardev *chardev_open_file(const char *path, const struct chardev_loop *loop, struct error *error);
struct chardev *chardev_open_socket(const char *path, const struct chardev_loop *loop, struct error *error);
struct chardev *chardev_open_none(struct error *error);
/* In front of another stream, which it takes over: output is taken at once, however slow the other is, and there is no
 * input. On failure the other stays the caller's. */
struct chardev *chardev_open_queue(struct chardev *behind, struct error *error);
void chardev_close(struct chardev *chardev);

/* Input flows from here on. A stream without a front drops its input. */
void chardev_attach(struct chardev *chardev, const struct chardev_front *front);

/* Returns how many bytes were accepted. */
unsigned chardev_write(struct chardev *chardev, const uint8_t *bytes, unsigned count);

void chardev_input_ready(struct chardev *chardev);

#endif
