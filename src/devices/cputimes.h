/* SPDX-License-Identifier: MIT */
/*
 * Processor times: a block of ports on which a guest asks what it got of the host's processors.
 *
 *   base + 0   write of 32 bits: take a snapshot of the processor of that number, FFFFFFFFh: of all together
 *              read: how many snapshots have been taken since the reset, modulo 2^32
 *        + 4   processors in the snapshot: 1, or all; 0: there is none of that number, and all below is 0
 *        + 8   used      nanoseconds, 64 bits, low byte first: on a processor
 *        + 16  ready     wanted one, and the host ran something else or kept it back by its limit
 *        + 24  co-stop   held back for its siblings
 *        + 32  wait      wanted none, or was paused
 *        + 40  elapsed   the sum of these four
 *
 * A snapshot stays as it is until the next one, so that any number of reads, of any size and alignment, see one moment.
 * There is one for the whole machine. A processor that finds the counter one higher after its reads than before its
 * write has read its own; else another took one meanwhile, and it tries again.
 *
 * Implemented: all of that. Writes elsewhere or of other sizes are ignored. What the figures mean and how fresh they
 * are is the creator's business (machine/times.h).
 *
 * Source: docs/guest-interface.md.
 */
#ifndef NFOLD_DEVICES_CPUTIMES_H
#define NFOLD_DEVICES_CPUTIMES_H

#include <stdint.h>

#include "base/guest_times.h"
#include "io/bus.h"

struct cputimes_figures {
	uint32_t processors;
	uint64_t used_ns, ready_ns, costop_ns, wait_ns;
};

/* Fills in what there is of a processor, or of all (GUEST_TIMES_ALL); *figures are zeros before. Any number comes. */
typedef void cputimes_function(void *opaque, uint32_t processor, struct cputimes_figures *figures);

struct cputimes {
	cputimes_function *ask;
	void *opaque;
	uint8_t block[GUEST_TIMES_BYTES]; /* as it is read */
};

void cputimes_init(struct cputimes *cputimes, cputimes_function *ask, void *opaque);
void cputimes_reset(struct cputimes *cputimes);
bool cputimes_map(struct cputimes *cputimes, struct io_map *ports, uint16_t base, struct error *error);

#endif
