/* SPDX-License-Identifier: MIT */
/*
 * Debug exit: a port on which test guests end their machine with a status; and debug consoles.
 *
 *   port `base` (4 bytes): a write calls exit(opaque, value); reads give zero
 *   console's port: a write is a character for the log; a read gives E9h, by which guests detect it
 *
 * By custom a console is at port E9h, and firmware writes its log to one at port 402h.
 *
 * Implemented: both, as guests written for other hosts expect them. What becomes of the value ((value << 1) | 1 as exit
 * status, by custom) is the creator's business. There is no more to it.
 */
#ifndef NFOLD_DEVICES_DEBUGEXIT_H
#define NFOLD_DEVICES_DEBUGEXIT_H

#include <stdbool.h>
#include <stdint.h>

#include "io/bus.h"

#define DEBUGEXIT_PORTS 4
#define DEBUGCON_PORT 0xe9
#define DEBUGCON_FIRMWARE_PORT 0x402

struct debugexit {
	void (*exit)(void *opaque, uint32_t value);
	void *opaque;
};

struct debugcon {
	void (*put)(void *opaque, uint8_t character);
	void *opaque;
};

/* The structs are the caller's and outlive the map. */
bool debugexit_map(struct debugexit *debugexit, struct io_map *ports, uint16_t base, struct error *error);
bool debugcon_map(struct debugcon *debugcon, struct io_map *ports, uint16_t port, struct error *error);

#endif
