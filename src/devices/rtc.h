/* SPDX-License-Identifier: MIT */
/*
 * Motorola MC146818 real-time clock with 128 bytes of CMOS RAM, as in a PC.
 *
 *                +----------+
 *   port 70h --->| address  |
 *   port 71h <-->| data     |--> IRQ 8 (struct irq_line), high until register C is read
 *   32,768 Hz -->|          |
 *                +----------+
 *
 * Implemented: time and calendar in BCD and binary, 12 and 24 hours, leap years, century in byte 32h (as ACPI's FADT
 * names it); SET and the divider's reset; update-in-progress for 244 us before each update; alarm with don't-care
 * values; periodic interrupt at all rates; update-ended interrupt; VRT. The clock starts at a time that the
 * creator gives and from then on follows the virtual clock only.
 *
 * A guest that counts periodic interrupts loses none to a late host: those that met one whose flag it had not read yet
 * are owed and delivered later, each half a period after the read of register C at the earliest, two seconds' worth at
 * most. What is owed is forgotten when the guest changes the rate, the divider or the enable.
 *
 * Not implemented: daylight saving (DSE is kept, without effect), the square-wave pin, other time bases than 32,768
 * Hz (divider values 0 and 1 count as it), the NMI mask (bit 7 of port 70h is ignored). Time registers that hold no
 * valid time become one at the next update.
 *
 * Source: MC146818A data sheet ADI1016.
 */
#ifndef NFOLD_DEVICES_RTC_H
#define NFOLD_DEVICES_RTC_H

#include <stdbool.h>
#include <stdint.h>

#include "io/bus.h"
#include "io/clock.h"
#include "io/irq.h"

struct ledger_ticks;
struct rtc;

struct rtc_config {
	struct clock *clock;
	struct irq_line irq;
	int64_t unix_seconds; /* the time in UTC at the clock's present */
	uint32_t nanoseconds; /* of the second in progress */
	/* Where periodic interrupts are counted, while they are enabled; taken is one when the guest reads register C.
	 * NULL: nowhere. */
	struct ledger_ticks *ticks;
};

struct rtc *rtc_create(const struct rtc_config *config, struct error *error);
void rtc_destroy(struct rtc *rtc);
void rtc_reset(struct rtc *rtc); /* the RESET pin: time and RAM stay */

/* Claims ports 70h and 71h. */
bool rtc_map(struct rtc *rtc, struct io_map *ports, struct error *error);

/* CMOS RAM as firmware finds it. Indexes 0Eh-7Fh, without the century. */
void rtc_set_ram(struct rtc *rtc, uint8_t index, uint8_t value);

#endif
