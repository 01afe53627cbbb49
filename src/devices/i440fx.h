/* SPDX-License-Identifier: MIT */
/*
 * Intel 82441FX (440FX) host bridge, by convention device 0 of bus 0.
 *
 * Implemented: the identity that guests look for (8086:1237), and the registers that firmware programs (PAM 59h-5Fh,
 * DRAM row boundaries 60h-67h, SMRAM 72h, and the configuration registers 50h-53h), kept and read back.
 *
 * Not implemented: what those registers do: guest RAM between 640 KiB and 1 MiB is always readable and writable RAM or
 * always ROM, as the machine laid it out. There is no SMM, no AGP, no error reporting.
 *
 * Source: 82441FX data sheet 290549-001.
 */
#ifndef NFOLD_DEVICES_I440FX_H
#define NFOLD_DEVICES_I440FX_H

#include "devices/pci.h"

struct i440fx;

struct i440fx *i440fx_create(struct pci_bus *bus, unsigned device, struct error *error);
void i440fx_destroy(struct i440fx *host);
void i440fx_reset(struct i440fx *host);

#endif
