/* SPDX-License-Identifier: MIT */
/*
 * Intel 82093AA I/O APIC, in the version of later chip sets (20h) that has an EOI register.
 *
 *               +----------+
 *   INTIN0  --->|          |
 *   ...         |          |---> messages to the local APICs (struct apic_sink)
 *   INTIN23 --->|          |<--- EOI broadcasts
 *               +----------+
 *   MMIO: 00h IOREGSEL, 10h IOWIN, 40h EOI
 *
 * Implemented: 24 redirection entries, edge and level triggering with remote IRR, masks, all delivery and destination
 * modes, the ID, version and arbitration registers, the EOI register. An edge on a masked input is lost, as on the
 * chip.
 *
 * Not implemented: polarity (the bit is kept; inputs are asserted when true, whatever it says), delivery status
 * (messages arrive at once), interrupt remapping.
 *
 * Sources: 82093AA data sheet 290566-001; ICH9 data sheet 316972 for version 20h and the EOI register.
 */
#ifndef NFOLD_DEVICES_IOAPIC_H
#define NFOLD_DEVICES_IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "io/bus.h"
#include "io/irq.h"

#define IOAPIC_INPUTS 24
#define IOAPIC_DEFAULT_BASE UINT64_C(0xfec00000)

struct ioapic;

struct ioapic *ioapic_create(const struct apic_sink *sink, uint8_t id, struct error *error);
void ioapic_destroy(struct ioapic *ioapic);
void ioapic_reset(struct ioapic *ioapic);

/* Claims one page at base. */
bool ioapic_map(struct ioapic *ioapic, struct io_map *mmio, uint64_t base, struct error *error);

/* An irq_line's `set`: opaque is the struct ioapic. */
void ioapic_input(void *opaque, int input, bool level);

/*
 * Tells when a processor takes a timer's interrupt. `watcher` is copied; only `taken` is called, and may be NULL.
 * Interrupts of all other inputs are devices', and say in their messages since when they wait.
 */
void ioapic_watch(struct ioapic *ioapic, unsigned input, const struct irq_watcher *watcher);

/* Whether the guest keeps an input from reaching any processor. */
bool ioapic_is_masked(const struct ioapic *ioapic, unsigned input);

/* A local APIC ended a level-triggered vector. Opaque is the struct ioapic. */
void ioapic_eoi(void *opaque, uint8_t vector);

#endif
