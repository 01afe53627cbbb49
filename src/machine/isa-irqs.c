/* SPDX-License-Identifier: MIT */
#include "machine/isa-irqs.h"

#include "devices/i8259.h"
#include "devices/ioapic.h"
#include "ledger/ledger.h"
#include "machine/layout.h"

#define TIMER_IRQ 0
#define CASCADE_IRQ 2

static int ioapic_input_of(int irq)
{
	return irq == TIMER_IRQ ? LAYOUT_TIMER_INPUT : irq;
}

static void set(void *opaque, int number, bool level)
{
	struct isa_irqs *irqs = opaque;
	struct isa_irq *irq = &irqs->irq[number];
	if (level != irq->high)
		irq->since = level ? ledger_tsc() : 0;
	irq->high = level;
	i8259_input(irqs->pic, number, level);
	ioapic_input(irqs->ioapic, ioapic_input_of(number), level);
}

/* The 8259s have given it to the processor. One that stays high over the end of its interrupt is counted once. */
static void taken(void *opaque)
{
	struct isa_irq *irq = opaque;
	if (irq->since != 0 && irq->all->ledger != NULL)
		ledger_delay_add(irq->all->ledger, LEDGER_DELAY_DEVICE, irq->since);
	irq->since = 0;
}

void isa_irqs_init(struct isa_irqs *irqs, struct i8259 *pic, struct ioapic *ioapic, struct ledger_vcpu *ledger)
{
	*irqs = (struct isa_irqs){.pic = pic, .ioapic = ioapic, .ledger = ledger};
	for (int i = 0; i < ISA_IRQS; i++) {
		const struct irq_watcher watcher = {.taken = taken, .opaque = &irqs->irq[i]};
		irqs->irq[i].all = irqs;
		if (i != TIMER_IRQ && i != CASCADE_IRQ && i != LAYOUT_RTC_IRQ)
			i8259_watch(pic, i, &watcher);
	}
}

struct irq_line isa_irqs_line(struct isa_irqs *irqs, int irq)
{
	return (struct irq_line){.set = set, .opaque = irqs, .input = irq};
}

void isa_irqs_watch_timer(struct isa_irqs *irqs, int irq, const struct irq_watcher *at_8259,
			  const struct irq_watcher *at_ioapic)
{
	i8259_watch(irqs->pic, irq, at_8259);
	ioapic_watch(irqs->ioapic, (unsigned)ioapic_input_of(irq), at_ioapic);
}

enum isa_irq_path isa_irqs_path(const struct isa_irqs *irqs, int irq)
{
	if (!i8259_is_masked(irqs->pic, irq))
		return ISA_IRQ_BY_8259;
	return ioapic_is_masked(irqs->ioapic, (unsigned)ioapic_input_of(irq)) ? ISA_IRQ_MASKED : ISA_IRQ_BY_IOAPIC;
}
