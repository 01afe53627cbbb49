/* SPDX-License-Identifier: MIT */
/*
 * Debug exit: a port on which test guests end their machine with a status, and a debug console beside it.
 *
 *   port `base` (4 bytes): a write calls exit(opaque, value); reads give zero
 *   port E9h: a write is a character for the log; a read gives E9h, by which guests detect it
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
bool debugcon_map(struct debugcon *debugcon, struct io_map *ports, struct error *error);

#endif
