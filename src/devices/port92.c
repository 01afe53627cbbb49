/* SPDX-License-Identifier: MIT */
#include "devices/port92.h"

#include <stddef.h>

#define PORT92_RESET 0x01u
#define PORT92_A20 0x02u

static uint64_t port92_read(void *opaque, uint64_t offset, unsigned size)
{
	const struct port92 *port92 = opaque;
	(void)offset;
	(void)size;
	return port92->value;
}

static void port92_tell_a20(const struct port92 *port92)
{
	if (port92->a20 != NULL)
		port92->a20(port92->a20_opaque, (port92->value & PORT92_A20) != 0);
}

static void port92_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct port92 *port92 = opaque;
	(void)offset;
	(void)size;
	bool raised = (value & PORT92_RESET) && !(port92->value & PORT92_RESET);
	port92->value = (uint8_t)value;
	port92_tell_a20(port92);
	if (raised && port92->reset != NULL)
		port92->reset(port92->opaque);
}

static const struct io_ops port92_ops = {.read = port92_read, .write = port92_write, .max_size = 1};

void port92_init(struct port92 *port92, void (*reset)(void *opaque), void *opaque)
{
	*port92 = (struct port92){.reset = reset, .opaque = opaque, .value = PORT92_A20};
}

void port92_reset(struct port92 *port92)
{
	port92->value = PORT92_A20;
	port92_tell_a20(port92);
}

bool port92_map(struct port92 *port92, struct io_map *ports, struct error *error)
{
	return io_map_add(ports, 0x92, 1, &port92_ops, port92, "port92", error);
}
