/* SPDX-License-Identifier: MIT */
/*
 * Intel 82441FX (440FX) host bridge, by convention device 0 of bus 0.
 *
 * Implemented: the identity that guests look for (8086:1237); the PAM registers 59h-5Fh, which say for each of 13
 * segments from C0000h to FFFFFh whether reads and writes go to RAM or to what is behind (ROM); and the other registers
 * that firmware programs (DRAM row boundaries 60h-67h, SMRAM 72h, 50h-53h), kept and read back.
 *
 * Not implemented: what those others do. There is no SMM, no AGP, no error reporting.
 *
 * Source: 82441FX data sheet 290549-001.
 */
#ifndef NFOLD_DEVICES_I440FX_H
#define NFOLD_DEVICES_I440FX_H

#include "devices/pci.h"

#define I440FX_PAM_FIRST 0x59u
#define I440FX_PAM_LAST 0x5fu
#define I440FX_PAM_RAM 0x33u /* both segments of a register: reads and writes go to RAM */

/* PAM segments. 0 is the 64 KiB at F0000h; the others have 16 KiB each from C0000h on. */
#define I440FX_SEGMENTS 13u

struct i440fx_segment {
	uint32_t base, size;
};

static inline struct i440fx_segment i440fx_segment(unsigned segment)
{
	return segment == 0 ? (struct i440fx_segment){0xf0000, 0x10000}
			    : (struct i440fx_segment){0xc0000 + (segment - 1) * 0x4000, 0x4000};
}

struct i440fx;

/* Who lays out memory below 1 MiB: told of every segment at reset and when the guest wrote a PAM register. */
struct i440fx_shadow {
	void (*set)(void *opaque, uint32_t base, uint32_t size, bool ram_read, bool ram_write);
	void *opaque;
};

/* shadow NULL: nobody. */
struct i440fx *i440fx_create(struct pci_bus *bus, unsigned device, const struct i440fx_shadow *shadow,
			     struct error *error);
void i440fx_destroy(struct i440fx *host);
void i440fx_reset(struct i440fx *host);

#endif
