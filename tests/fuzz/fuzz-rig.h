/* SPDX-License-Identifier: MIT */
/* What the devices' fuzz targets share: an input as a script of accesses, line changes and time. */
#ifndef NFOLD_TESTS_FUZZ_RIG_H
#define NFOLD_TESTS_FUZZ_RIG_H

/* The targets' oracles are assertions. */
#undef NDEBUG
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/bus.h"
#include "io/clock.h"
#include "io/irq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_rig {
	const uint8_t *data;
	size_t left;
	struct clock clock;
	struct io_map ports, mmio;
	uint32_t levels; /* what the device drives, one bit for each line */
};

/* A window of the address space that the script reaches. */
struct fuzz_window {
	bool mmio;
	uint64_t base;
	uint32_t size;
};

static inline void fuzz_init(struct fuzz_rig *rig, const uint8_t *data, size_t size)
{
	*rig = (struct fuzz_rig){.data = data, .left = size};
	clock_init(&rig->clock, CLOCK_MANUAL);
	io_map_init(&rig->ports, 0x10000);
	io_map_init(&rig->mmio, 0);
}

static inline uint8_t fuzz_byte(struct fuzz_rig *rig)
{
	if (rig->left == 0)
		return 0;
	rig->left--;
	return *rig->data++;
}

/* A number of 1 to 8 bytes. */
static inline uint64_t fuzz_number(struct fuzz_rig *rig, unsigned bytes)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | fuzz_byte(rig);
	return value;
}

static inline void fuzz_line_set(void *opaque, int input, bool level)
{
	struct fuzz_rig *rig = opaque;
	uint32_t bit = UINT32_C(1) << input;
	rig->levels = level ? rig->levels | bit : rig->levels & ~bit;
}

static inline struct irq_line fuzz_line(struct fuzz_rig *rig, int index)
{
	return (struct irq_line){.set = fuzz_line_set, .opaque = rig, .input = index};
}

static inline bool fuzz_level(const struct fuzz_rig *rig, int index)
{
	return (rig->levels >> index & 1) != 0;
}

/* One access of 1, 2, 4 or 8 bytes somewhere in one of the windows. */
static inline void fuzz_access(struct fuzz_rig *rig, const struct fuzz_window *windows, unsigned count, bool write)
{
	const struct fuzz_window *window = &windows[fuzz_byte(rig) % count];
	unsigned form = fuzz_byte(rig);
	unsigned size = 1u << (form & (window->mmio ? 3 : 1 + (form >> 2 & 1)));
	uint32_t offset = (uint32_t)fuzz_number(rig, window->size > 256 ? 2 : 1) % window->size;
	struct io_map *map = window->mmio ? &rig->mmio : &rig->ports;
	if (window->mmio && (form & 0xc0)) /* registers are mostly double words */
		offset &= ~UINT32_C(3);
	if (write)
		io_write(map, window->base + offset, size, fuzz_number(rig, size));
	else
		(void)io_read(map, window->base + offset, size);
}

/* Time passes: a power of two of nanoseconds below 2^limit, and a little more. */
static inline void fuzz_advance(struct fuzz_rig *rig, unsigned limit)
{
	unsigned exponent = fuzz_byte(rig) % limit;
	clock_advance(&rig->clock, (UINT64_C(1) << exponent) + fuzz_byte(rig));
}

#endif
