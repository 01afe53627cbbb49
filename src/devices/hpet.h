/* SPDX-License-Identifier: MIT */
/*
 * High precision event timer: a counter of 100 MHz and three timers.
 *
 *   main counter, 64 bits --+--> timer 0 --+--> its route (I/O APIC inputs 20-23)
 *                           +--> timer 1   |
 *                           +--> timer 2   +--> with legacy replacement: IRQ 0 (timer 0), IRQ 8 (timer 1),
 *   8254's IRQ 0, RTC's IRQ 8 ----------------> which otherwise are the 8254's and the RTC's
 *
 * Implemented: one-shot and periodic timers of 32 and 64 bits, edge and level, legacy replacement, accesses of 4 and 8
 * aligned bytes.
 *
 * A timer fires every 20 us at most. Periods that the host was too late for, or that are shorter, are one interrupt;
 * the comparator and the counter tell how many there were. Systems that count ticks use the 8254, which makes up for
 * them.
 *
 * Not implemented: interrupts as messages (FSB); accesses of other sizes read what is there and write nothing.
 *
 * Source: IA-PC HPET Specification 1.0a. Section numbers in the code are its.
 */
#ifndef NFOLD_DEVICES_HPET_H
#define NFOLD_DEVICES_HPET_H

#include "io/bus.h"
#include "io/clock.h"
#include "io/irq.h"

#define HPET_SIZE 0x400u
#define HPET_TIMERS 3u
#define HPET_ROUTES 4u
#define HPET_ROUTE_FIRST 20u
#define HPET_TICK_NS 10u
#define HPET_MINIMUM_NS UINT64_C(20000)
/* Vendor, legacy replacement, 64 bits, number of the last timer, revision (2.3.4): the ACPI table has it too. */
#define HPET_ID (UINT32_C(0x8086) << 16 | 1u << 15 | 1u << 13 | (HPET_TIMERS - 1) << 8 | 1u)

enum hpet_legacy { HPET_TIMER_IRQ, HPET_RTC_IRQ, HPET_LEGACY };

struct hpet;
struct ledger_ticks;

struct hpet_config {
	struct clock *clock;
	struct irq_line route[HPET_ROUTES];
	struct irq_line legacy[HPET_LEGACY];
	struct ledger_ticks *ticks; /* where periodic timers are counted; NULL: nowhere */
};

struct hpet *hpet_create(const struct hpet_config *config, struct error *error);
void hpet_destroy(struct hpet *hpet);
void hpet_reset(struct hpet *hpet);
bool hpet_map(struct hpet *hpet, struct io_map *mmio, uint64_t base, struct error *error);

/* For the interrupt controller behind an output: a route, or HPET_ROUTES and a legacy one. */
struct irq_watcher hpet_watcher(struct hpet *hpet, unsigned output);

/* Whether the guest has the HPET in the place of the 8254 and the RTC. */
bool hpet_is_legacy(const struct hpet *hpet);

/* What the 8254 and the RTC are wired to. */
struct irq_line hpet_input(struct hpet *hpet, enum hpet_legacy which);

#endif
