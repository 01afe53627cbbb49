/* SPDX-License-Identifier: MIT */
/*
 * How the 8254 and the HPET hear from the interrupt controllers that the guest took a tick. In legacy mode the HPET has
 * IRQ 0 and IRQ 8 in the place of the 8254 and the RTC. The RTC needs no ear: the guest reads its register C.
 */
#ifndef NFOLD_MACHINE_TIMER_EARS_H
#define NFOLD_MACHINE_TIMER_EARS_H

struct hpet;
struct i8254;
struct isa_irqs;
struct ledger_ticks;

struct timer_ears {
	struct i8254 *pit;
	struct hpet *hpet; /* or NULL */
	struct isa_irqs *irqs;
};

/* `ears` stays where it is; `pit_ticks` is where the 8254's are counted, or NULL. */
void timer_ears_connect(struct timer_ears *ears, struct ledger_ticks *pit_ticks);

#endif
