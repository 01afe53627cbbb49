/* SPDX-License-Identifier: MIT */
/*
 * Port and MMIO maps: the device contract.
 *
 * A device registers ranges with a pair of functions. Ports and MMIO are two instances of one map. An
 * access arrives with the offset into the range and its size in bytes (1, 2, 4 or 8). The map splits what
 * a range does not want: an access larger than `max_size` becomes several of max_size, lowest address
 * first; one that runs over the end of a range is split between the neighbours. Offsets need not be aligned.
 * Addresses that nobody claims read all ones and ignore writes.
 *
 * A map may have a map behind it that answers what it does not claim: a vCPU's own MMIO map holds its local
 * APIC's page, at the address that this vCPU gave it, in front of the machine's map.
 *
 * Threading: all calls are made with the machine's device lock held, by a vCPU thread or the event loop.
 * Ranges may be added and removed at run time (PCI BARs) under the same lock.
 */
#ifndef NFOLD_IO_BUS_H
#define NFOLD_IO_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct io_ops {
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
	void (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value);
	unsigned max_size; /* 1, 2, 4 or 8 */
};

struct io_range {
	uint64_t base;
	uint64_t size;
	const struct io_ops *ops;
	void *opaque;
	const char *name; /* for traces and the ledger */
};

#define IO_MAP_MAX 64

struct io_map {
	struct io_range range[IO_MAP_MAX]; /* sorted by base, disjoint */
	unsigned count;
	uint64_t limit;	       /* one past the last address: 0x10000 for ports, 0 for all 64 bits */
	struct io_map *behind; /* answers what nobody here claims; NULL for none */
	uint64_t unclaimed_reads, unclaimed_writes;
	const char *serving; /* name of the range that is being accessed, or NULL: for profiles, without the lock */
};

void io_map_init(struct io_map *map, uint64_t limit);
void io_map_set_behind(struct io_map *map, struct io_map *behind);

/*
 * Fails with ERROR_HOST when the range is empty, overlaps another of this map, ends beyond the limit, or the
 * table is full. `ops`, `opaque` and `name` must outlive the range.
 */
bool io_map_add(struct io_map *map, uint64_t base, uint64_t size, const struct io_ops *ops, void *opaque,
		const char *name, struct error *error);
/* Removes the range that starts at base, if there is one. */
void io_map_remove(struct io_map *map, uint64_t base);

uint64_t io_read(struct io_map *map, uint64_t address, unsigned size);
void io_write(struct io_map *map, uint64_t address, unsigned size, uint64_t value);

#endif
