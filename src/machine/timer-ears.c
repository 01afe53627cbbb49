/* SPDX-License-Identifier: MIT */
#include "machine/timer-ears.h"

#include "devices/hpet.h"
#include "devices/i8254.h"
#include "devices/ioapic.h"
#include "machine/isa-irqs.h"
#include "machine/layout.h"

#define TIMER_IRQ 0

static void tell_hpet(const struct timer_ears *ears, enum hpet_legacy which)
{
	if (ears->hpet == NULL)
		return;
	const struct irq_watcher hpet = hpet_watcher(ears->hpet, HPET_ROUTES + (unsigned)which);
	hpet.taken(hpet.opaque);
}

static void taken_at_8259(void *opaque)
{
	const struct timer_ears *ears = opaque;
	const struct irq_watcher pit = i8254_watcher(ears->pit);
	pit.taken(pit.opaque);
	tell_hpet(ears, HPET_TIMER_IRQ);
}

/* Systems that use the I/O APIC read their clocks: they are owed no ticks. */
static void taken_at_ioapic(void *opaque)
{
	const struct timer_ears *ears = opaque;
	i8254_tick_taken(ears->pit);
	tell_hpet(ears, HPET_TIMER_IRQ);
}

static void timer_unmasked(void *opaque)
{
	const struct timer_ears *ears = opaque;
	const struct irq_watcher pit = i8254_watcher(ears->pit);
	pit.unmasked(pit.opaque);
}

static void rtc_taken(void *opaque)
{
	tell_hpet(opaque, HPET_RTC_IRQ);
}

static enum i8254_path timer_path(void *opaque)
{
	static const enum i8254_path paths[] = {
	    [ISA_IRQ_BY_8259] = I8254_WATCHED, [ISA_IRQ_BY_IOAPIC] = I8254_OTHERWISE, [ISA_IRQ_MASKED] = I8254_MASKED};
	const struct timer_ears *ears = opaque;
	if (ears->hpet != NULL && hpet_is_legacy(ears->hpet))
		return I8254_MASKED;
	return paths[isa_irqs_path(ears->irqs, TIMER_IRQ)];
}

void timer_ears_connect(struct timer_ears *ears, struct ledger_ticks *pit_ticks)
{
	const struct irq_watcher timer = {.taken = taken_at_8259, .unmasked = timer_unmasked, .opaque = ears};
	const struct irq_watcher timer_at_ioapic = {.taken = taken_at_ioapic, .opaque = ears};
	const struct irq_watcher clock = {.taken = rtc_taken, .opaque = ears};
	isa_irqs_watch_timer(ears->irqs, TIMER_IRQ, &timer, &timer_at_ioapic);
	isa_irqs_watch_timer(ears->irqs, LAYOUT_RTC_IRQ, &clock, &clock);
	i8254_count_ticks(ears->pit, pit_ticks, timer_path, ears);
	for (unsigned i = 0; ears->hpet != NULL && i < HPET_ROUTES; i++) {
		const struct irq_watcher route = hpet_watcher(ears->hpet, i);
		ioapic_watch(ears->irqs->ioapic, HPET_ROUTE_FIRST + i, &route);
	}
}
