/* SPDX-License-Identifier: MIT */
/*
 * System control port A of the PS/2, in PCs since: port 92h.
 *
 *   bit 0  fast reset: a write that raises it resets the machine
 *   bit 1  A20 gate
 *   bits 7:2 kept and read back (watchdog, lock, lights on old machines)
 *
 * Implemented: the above. A20 is one gate for the machine: here and at the 8042, the last one who wrote it has it.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "System Control Port A"; 82371AB data sheet.
 */
#ifndef NFOLD_DEVICES_PORT92_H
#define NFOLD_DEVICES_PORT92_H

#include <stdbool.h>
#include <stdint.h>

#include "io/bus.h"

struct port92 {
	void (*reset)(void *opaque);
	void *opaque;
	void (*a20)(void *opaque, bool on); /* NULL: the bit is kept, no more. Called by reset, too */
	void *a20_opaque;
	uint8_t value;
};

void port92_init(struct port92 *port92, void (*reset)(void *opaque), void *opaque);
void port92_reset(struct port92 *port92);
bool port92_map(struct port92 *port92, struct io_map *ports, struct error *error);

#endif
