/* SPDX-License-Identifier: MIT */
/*
 * The 16 ISA interrupts: each reaches both kinds of controller, and the guest uses one of them. By way of the 8259s it
 * is measured here how long devices' interrupts wait; the I/O APIC says it in its messages.
 */
#ifndef NFOLD_MACHINE_ISA_IRQS_H
#define NFOLD_MACHINE_ISA_IRQS_H

#include <stdbool.h>
#include <stdint.h>

#include "io/irq.h"

#define ISA_IRQS 16

struct i8259;
struct ioapic;
struct ledger_vcpu;
struct isa_irqs;

struct isa_irq {
	struct isa_irqs *all;
	uint64_t since; /* host TSC of the rise that has not been delivered; 0: none */
	bool high;
};

struct isa_irqs {
	struct i8259 *pic;
	struct ioapic *ioapic;
	struct ledger_vcpu *ledger; /* of the processor behind the 8259s, or NULL */
	struct isa_irq irq[ISA_IRQS];
};

/* The controllers are the caller's. All but the timers' interrupts are watched. */
void isa_irqs_init(struct isa_irqs *irqs, struct i8259 *pic, struct ioapic *ioapic, struct ledger_vcpu *ledger);
struct irq_line isa_irqs_line(struct isa_irqs *irqs, int irq);

/* A timer's: who hears of it at either controller. */
void isa_irqs_watch_timer(struct isa_irqs *irqs, int irq, const struct irq_watcher *at_8259,
			  const struct irq_watcher *at_ioapic);

/* Which controller lets an interrupt through. */
enum isa_irq_path { ISA_IRQ_BY_8259, ISA_IRQ_BY_IOAPIC, ISA_IRQ_MASKED };
enum isa_irq_path isa_irqs_path(const struct isa_irqs *irqs, int irq);

#endif
