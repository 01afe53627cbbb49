/* SPDX-License-Identifier: MIT */
/* What the kinds of character streams share. Internal to the backends. */
#ifndef NFOLD_BACKEND_CHARDEV_IMPL_H
#define NFOLD_BACKEND_CHARDEV_IMPL_H

#include "backend/chardev.h"

struct chardev_ops {
	unsigned (*write)(struct chardev *chardev, const uint8_t *bytes, unsigned count);
	void (*input_ready)(struct chardev *chardev);
	void (*close)(struct chardev *chardev); /* frees it too */
};

struct chardev {
	const struct chardev_ops *ops;
	struct chardev_front front;
};

static inline unsigned chardev_input_room(const struct chardev *chardev)
{
	return chardev->front.input == NULL ? UINT32_MAX : chardev->front.input_room(chardev->front.opaque);
}

static inline void chardev_push_input(const struct chardev *chardev, const uint8_t *bytes, unsigned count)
{
	if (chardev->front.input != NULL)
		chardev->front.input(chardev->front.opaque, bytes, count);
}

static inline void chardev_push_ready(const struct chardev *chardev)
{
	if (chardev->front.output_ready != NULL)
		chardev->front.output_ready(chardev->front.opaque);
}

#endif
