/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "backend/chardev-impl.h"

void chardev_close(struct chardev *chardev)
{
	if (chardev != NULL)
		chardev->ops->close(chardev);
}

void chardev_attach(struct chardev *chardev, const struct chardev_front *front)
{
	chardev->front = *front;
	chardev->ops->input_ready(chardev);
}

unsigned chardev_write(struct chardev *chardev, const uint8_t *bytes, unsigned count)
{
	return chardev->ops->write(chardev, bytes, count);
}

void chardev_input_ready(struct chardev *chardev)
{
	chardev->ops->input_ready(chardev);
}

static unsigned none_write(struct chardev *chardev, const uint8_t *bytes, unsigned count)
{
	(void)chardev;
	(void)bytes;
	return count;
}

static void none_input_ready(struct chardev *chardev)
{
	(void)chardev;
}

static void none_close(struct chardev *chardev)
{
	free(chardev);
}

static const struct chardev_ops none_ops = {.write = none_write, .input_ready = none_input_ready, .close = none_close};

struct chardev *chardev_open_none(struct error *error)
{
	struct chardev *chardev = calloc(1, sizeof *chardev);
	if (chardev == NULL)
		(void)error_set(error, ERROR_HOST, "out of memory");
	else
		chardev->ops = &none_ops;
	return chardev;
}
