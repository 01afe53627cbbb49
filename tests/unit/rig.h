/* SPDX-License-Identifier: MIT */
/* What the devices' unit tests share: a clock that stands still, maps, and probes for lines. */
#ifndef NFOLD_TESTS_UNIT_RIG_H
#define NFOLD_TESTS_UNIT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "io/bus.h"
#include "io/clock.h"
#include "io/irq.h"

struct rig {
	struct clock clock;
	struct io_map ports, mmio;
};

static inline void rig_init(struct rig *rig)
{
	clock_init(&rig->clock, CLOCK_MANUAL);
	io_map_init(&rig->ports, 0x10000);
	io_map_init(&rig->mmio, 0);
}

static inline void out8(struct rig *rig, uint16_t port, unsigned value)
{
	io_write(&rig->ports, port, 1, value);
}

static inline unsigned in8(struct rig *rig, uint16_t port)
{
	return (unsigned)io_read(&rig->ports, port, 1);
}

/* The far end of an interrupt line. */
struct probe {
	bool level;
	unsigned rises, falls;
};

static inline void probe_set(void *opaque, int input, bool level)
{
	struct probe *probe = (struct probe *)opaque + input;
	probe->rises += level && !probe->level;
	probe->falls += !level && probe->level;
	probe->level = level;
}

/* Probe `index` of an array. */
static inline struct irq_line probe_line(struct probe *probes, int index)
{
	return (struct irq_line){.set = probe_set, .opaque = probes, .input = index};
}

#endif
