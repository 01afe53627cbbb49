/* SPDX-License-Identifier: MIT */
/*
 * The tables of the MultiProcessor Specification 1.4: processors, IOAPIC and interrupt wiring for systems that do not
 * read ACPI tables. Firmware brings its own; these are for kernels that are entered without any.
 */
#ifndef NFOLD_MACHINE_MPTABLE_H
#define NFOLD_MACHINE_MPTABLE_H

#include <stdint.h>

#define MPTABLE_AREA_SIZE 0x800u

/* Fills the zeroed bytes of an area for its address `base`, a multiple of 16: the floating pointer first. */
void mptable_place(unsigned cpus, uint8_t *bytes, uint32_t base);

#endif
