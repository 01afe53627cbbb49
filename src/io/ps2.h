/* SPDX-License-Identifier: MIT */
/*
 * The PS/2 wire: how a keyboard or mouse meets its controller.
 *
 * A device queues the bytes it has to say and calls ps2_ready(); the controller takes them one by one, when it has
 * room and the port is enabled, at the pace of the wire. A byte from the controller arrives at once. All calls are made
 * with the machine's device lock held; ps2_ready() may be called from within receive().
 */
#ifndef NFOLD_IO_PS2_H
#define NFOLD_IO_PS2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The device as its controller sees it. */
struct ps2_device {
	void (*receive)(void *opaque, uint8_t byte);   /* NULL: nothing is plugged in */
	bool (*transmit)(void *opaque, uint8_t *byte); /* takes the oldest byte; false: there is none */
	bool (*has_byte)(void *opaque);
	void *opaque;
};

/* The controller's port as its device sees it. */
struct ps2_port {
	void (*ready)(void *opaque, int port);
	void *opaque;
	int port;
};

static inline void ps2_ready(const struct ps2_port *port)
{
	if (port->ready != NULL)
		port->ready(port->opaque, port->port);
}

#endif
