/* SPDX-License-Identifier: MIT */
/*
 * A character stream: the seam between a device with a character port (the front: a UART) and what carries
 * the bytes on the host (the back: a terminal, a file, a socket).
 *
 * Output. The front calls chardev_write(), which takes as many bytes as it can now, perhaps none. After it took fewer
 * than offered, the back calls front->output_ready() once it can take more.
 *
 * Input. The back asks front->room() how many bytes the front can take now and delivers at most that many with
 * front->input(). When room() was too small the back keeps the rest and waits; the front calls
 * chardev_accept_input() once it has room again, and the back delivers from there, possibly at once, from
 * inside that call. A back without a front drops input and discards nothing that was written before.
 *
 * Threading: all calls are made with the machine's device lock held. A back that reads descriptors on the event
 * loop's thread takes the lock before it calls the front.
 */
#ifndef NFOLD_BACKEND_CHARDEV_H
#define NFOLD_BACKEND_CHARDEV_H

#include <stddef.h>
#include <stdint.h>

struct chardev;

/* What the device offers to the back. */
struct chardev_front {
	size_t (*room)(void *opaque);
	void (*input)(void *opaque, const uint8_t *bytes, size_t count); /* count <= room() */
	void (*output_ready)(void *opaque);
};

/* What the back offers to the device. */
struct chardev_ops {
	size_t (*write)(struct chardev *chardev, const uint8_t *bytes, size_t count);
	void (*accept_input)(struct chardev *chardev);
	void (*destroy)(struct chardev *chardev);
};

/* The first member of every back. */
struct chardev {
	const struct chardev_ops *ops;
	const struct chardev_front *front; /* NULL: nobody listens */
	void *front_opaque;
};

static inline void chardev_connect(struct chardev *chardev, const struct chardev_front *front, void *opaque)
{
	chardev->front = front;
	chardev->front_opaque = opaque;
}

static inline size_t chardev_write(struct chardev *chardev, const uint8_t *bytes, size_t count)
{
	return chardev->ops->write(chardev, bytes, count);
}

static inline void chardev_accept_input(struct chardev *chardev)
{
	chardev->ops->accept_input(chardev);
}

static inline void chardev_destroy(struct chardev *chardev)
{
	if (chardev != NULL)
		chardev->ops->destroy(chardev);
}

#endif
