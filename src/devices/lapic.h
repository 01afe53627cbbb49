/* SPDX-License-Identifier: MIT */
/*
 * Local APIC: one for each vCPU, and the bus that joins them.
 *
 *     I/O APIC, MSI -->+----------+
 *     siblings <------>| lapic bus|<--> lapic 0 <-- LINT0 (8259 INTR), LINT1 (NMI)
 *     EOI broadcast <--+----------+       |  ^
 *                                     cpu_pin |
 *                                         v  interrupt_controller, MMIO page, MSRs
 *                                       vCPU 0
 *
 * Implemented: xAPIC (MMIO) and x2APIC (MSR) modes and the transitions between them and off; IRR, ISR, TMR, TPR, PPR,
 * CR8; EOI with broadcast and its suppression; all delivery modes, destination modes and shorthands, SELF IPI; lowest
 * priority arbitration by PPR, round robin among equals; LVT for timer, thermal, performance, LINT0, LINT1, error;
 * timer in one-shot, periodic and TSC-deadline modes at LAPIC_TIMER_HZ; ESR.
 *
 * Not implemented: CMCI's LVT entry (the version register says so), sources for the thermal and performance entries,
 * interrupt remapping, writing the xAPIC ID. Periods under LAPIC_MINIMUM_PERIOD_NS are stretched to it, and periods
 * that the host was too late for are merged into one interrupt.
 *
 * Locking: lapic_controller()'s functions are called by the vCPU's thread without the device lock and take it; all
 * others are called with it held. The pins are called with it held.
 *
 * Source: Intel SDM volume 3A, chapter 11 ("APIC"; chapter 10 in editions before 2023).
 */
#ifndef NFOLD_DEVICES_LAPIC_H
#define NFOLD_DEVICES_LAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "io/bus.h"
#include "io/clock.h"
#include "io/irq.h"

#define LAPIC_MAX 255u
#define LAPIC_TIMER_HZ UINT64_C(1000000000) /* before the divider; what CPUID 15h calls the crystal */
#define LAPIC_MINIMUM_PERIOD_NS UINT64_C(20000)
#define LAPIC_DEFAULT_BASE UINT64_C(0xfee00000)

struct lapic;
struct lapic_bus;
struct ledger_ticks;
struct ledger_vcpu;

/* `eoi` is told of each EOI of a level-triggered vector; eoi may be NULL. */
struct lapic_bus *lapic_bus_create(void (*eoi)(void *opaque, uint8_t vector), void *eoi_opaque, struct error *error);
void lapic_bus_destroy(struct lapic_bus *bus); /* after its members */

/* Messages from the I/O APIC. */
struct apic_sink lapic_bus_sink(struct lapic_bus *bus);

/* A device's message-signalled interrupt: its address (0xfeexxxxx) and data. */
bool lapic_bus_msi(struct lapic_bus *bus, uint64_t address, uint32_t data);

struct lapic_config {
	struct clock *clock;
	struct lapic_bus *bus;
	uint32_t id;		/* APIC ID; below 255 */
	bool bootstrap;		/* the BSP flag of IA32_APIC_BASE */
	unsigned physical_bits; /* MAXPHYADDR: which bits of IA32_APIC_BASE are reserved */
	struct cpu_pin pin;
	struct device_lock lock;
	struct io_map *mmio; /* the vCPU's own map, in which the register page is placed; NULL for none */
	/* The 8259's acknowledge, for ExtINT. NULL: there is no 8259. */
	uint8_t (*extint_acknowledge)(void *opaque);
	void *extint_opaque;
	/* The vCPU's TSC, for TSC-deadline. NULL: clock_tsc(). */
	uint64_t (*tsc)(void *opaque);
	void *tsc_opaque;
	/* Where the delays of devices' interrupts and the ticks of the periodic timer are counted. NULL: nowhere. */
	struct ledger_vcpu *ledger;
	struct ledger_ticks *ticks;
};

struct lapic *lapic_create(const struct lapic_config *config, struct error *error);
void lapic_destroy(struct lapic *lapic);
void lapic_reset(struct lapic *lapic); /* power-up */

/* What the vCPU calls. Valid as long as the lapic. */
struct interrupt_controller lapic_controller(struct lapic *lapic);

/* An irq_line's `set`: opaque is the struct lapic, input 0 is LINT0, 1 is LINT1. */
void lapic_lint(void *opaque, int input, bool level);

/* What firmware leaves for an operating system: enabled, LINT0 ExtINT (8259), LINT1 NMI. For direct kernel boot. */
void lapic_virtual_wire(struct lapic *lapic);

#endif
