/* SPDX-License-Identifier: MIT */
/*
 * Intel 8254 programmable interval timer, with the PC's port 61h beside it.
 *
 *                  +-----------+
 *   1.193182 MHz ->| channel 0 |--> OUT0: IRQ 0 (struct irq_line); gate tied high
 *                ->| channel 1 |    memory refresh on old machines; gate tied high
 *                ->| channel 2 |--> OUT2: speaker, port 61h bit 5
 *   port 61h.0 --->| gate 2    |
 *                  +-----------+
 *
 * Implemented: six modes, binary and BCD counting, the three access modes, counter latch, read-back of count and status
 * with null-count flag, gate of channel 2, counts that are written while counting, one CLK of delay before a count is
 * loaded. Port 61h: gate 2, speaker data, the parity-enable bits (kept, without effect), refresh toggle every 15.085
 * us, OUT2.
 *
 * Systems that keep time by counting ticks of IRQ 0 lose time when the host is late, or busy while an interrupt waits.
 * In modes 2 and 3 channel 0 owes such ticks and delivers them later: one at a time, each after the one before was
 * taken, and half a period after it at the earliest. It owes at most two seconds' worth, nothing where the period is
 * below 100 us, and forgets what it owes when the guest programs the channel or unmasks the interrupt. i8254_watcher()
 * is how it learns that a tick was taken; where nobody tells, ticks that the host was too late for are merged. What
 * reaches the guest by another controller, or is masked, is not owed (i8254_count_ticks()).
 *
 * Not implemented: sound. A count of 1 in modes 2 and 3, which the data sheet forbids, counts as 2. In mode 2 the one
 * CLK during which OUT0 is low is not shown on the line: it falls and rises at once when the period starts anew.
 *
 * Source: 8254 data sheet 231164-005.
 */
#ifndef NFOLD_DEVICES_I8254_H
#define NFOLD_DEVICES_I8254_H

#include <stdbool.h>
#include <stdint.h>

#include "io/bus.h"
#include "io/clock.h"
#include "io/irq.h"

#define I8254_HZ UINT64_C(1193182)
#define I8254_MINIMUM_PERIOD_NS UINT64_C(20000)

struct i8254;
struct ledger_ticks;

struct i8254 *i8254_create(struct clock *clock, const struct irq_line *irq0, struct error *error);
void i8254_destroy(struct i8254 *pit);
void i8254_reset(struct i8254 *pit);

/* For the interrupt controller that IRQ 0 reaches the processor through. */
struct irq_watcher i8254_watcher(struct i8254 *pit);

/* How IRQ 0 reaches the guest now. */
enum i8254_path { I8254_WATCHED, I8254_OTHERWISE, I8254_MASKED };

/* Where channel 0's ticks are counted, and how to ask for the path; where nobody knows, it is the watched one. */
void i8254_count_ticks(struct i8254 *pit, struct ledger_ticks *line, enum i8254_path (*path)(void *opaque),
		       void *opaque);
/* For a controller on another path: the guest took a tick. */
void i8254_tick_taken(struct i8254 *pit);

/* Claims ports 40h-43h and 61h. */
bool i8254_map(struct i8254 *pit, struct io_map *ports, struct error *error);

#endif
