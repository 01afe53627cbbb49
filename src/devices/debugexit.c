/* SPDX-License-Identifier: MIT */
#include "devices/debugexit.h"

#define DEBUGCON_READBACK 0xe9

static uint64_t debugexit_read(void *opaque, uint64_t offset, unsigned size)
{
	(void)opaque;
	(void)offset;
	(void)size;
	return 0;
}

static void debugexit_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct debugexit *debugexit = opaque;
	(void)offset;
	(void)size;
	debugexit->exit(debugexit->opaque, (uint32_t)value);
}

static uint64_t debugcon_read(void *opaque, uint64_t offset, unsigned size)
{
	(void)opaque;
	(void)offset;
	(void)size;
	return DEBUGCON_READBACK;
}

static void debugcon_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct debugcon *debugcon = opaque;
	(void)offset;
	(void)size;
	debugcon->put(debugcon->opaque, (uint8_t)value);
}

static const struct io_ops debugexit_ops = {.read = debugexit_read, .write = debugexit_write, .max_size = 4};
static const struct io_ops debugcon_ops = {.read = debugcon_read, .write = debugcon_write, .max_size = 1};

bool debugexit_map(struct debugexit *debugexit, struct io_map *ports, uint16_t base, struct error *error)
{
	return io_map_add(ports, base, DEBUGEXIT_PORTS, &debugexit_ops, debugexit, "debugexit", error);
}

bool debugcon_map(struct debugcon *debugcon, struct io_map *ports, uint16_t port, struct error *error)
{
	return io_map_add(ports, port, 1, &debugcon_ops, debugcon, "debugcon", error);
}
