/* SPDX-License-Identifier: MIT */
#include "devices/cputimes.h"

#include <string.h>

static uint64_t cputimes_read(void *opaque, uint64_t offset, unsigned size)
{
	const struct cputimes *cputimes = opaque;
	uint64_t value = 0;
	for (unsigned i = size; i-- > 0;)
		value = value << 8 | cputimes->block[offset + i];
	return value;
}

static void put(struct cputimes *cputimes, unsigned offset, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		cputimes->block[offset + i] = (uint8_t)(value >> 8 * i);
}

static void cputimes_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct cputimes *cputimes = opaque;
	struct cputimes_figures figures = {0};
	if (offset != GUEST_TIMES_SNAPSHOT || size != 4)
		return;
	cputimes->ask(cputimes->opaque, (uint32_t)value, &figures);
	put(cputimes, GUEST_TIMES_SNAPSHOT, cputimes_read(cputimes, GUEST_TIMES_SNAPSHOT, 4) + 1, 4);
	put(cputimes, GUEST_TIMES_PROCESSORS, figures.processors, 4);
	put(cputimes, GUEST_TIMES_USED, figures.used_ns, 8);
	put(cputimes, GUEST_TIMES_READY, figures.ready_ns, 8);
	put(cputimes, GUEST_TIMES_COSTOP, figures.costop_ns, 8);
	put(cputimes, GUEST_TIMES_WAIT, figures.wait_ns, 8);
	put(cputimes, GUEST_TIMES_ELAPSED, figures.used_ns + figures.ready_ns + figures.costop_ns + figures.wait_ns, 8);
}

static const struct io_ops cputimes_ops = {.read = cputimes_read, .write = cputimes_write, .max_size = 4};

void cputimes_init(struct cputimes *cputimes, cputimes_function *ask, void *opaque)
{
	*cputimes = (struct cputimes){.ask = ask, .opaque = opaque};
}

void cputimes_reset(struct cputimes *cputimes)
{
	memset(cputimes->block, 0, sizeof cputimes->block);
}

bool cputimes_map(struct cputimes *cputimes, struct io_map *ports, uint16_t base, struct error *error)
{
	return io_map_add(ports, base, GUEST_TIMES_BYTES, &cputimes_ops, cputimes, "cputimes", error);
}
