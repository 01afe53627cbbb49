/* SPDX-License-Identifier: MIT */
/*
 * What becomes of a periodic timer's ticks, for the ledger.
 *
 * A timer says when periods end (ticks_due), when a tick goes to the guest (ticks_raise), when the guest has taken it
 * (ticks_taken) and when it gives ticks up (ticks_lost). A tick that is raised while another waits is one with it, and
 * lost. A timer that makes up for ticks later keeps them to itself until it raises them: so those due are always those
 * delivered, those lost, those that the timer owes, and the one that waits.
 */
#ifndef NFOLD_IO_TICKS_H
#define NFOLD_IO_TICKS_H

#include <stdbool.h>
#include <stdint.h>

#include "ledger/ledger.h"

struct ticks {
	struct ledger_ticks *line; /* NULL: nobody counts */
	uint64_t period;	   /* ns */
	uint64_t delivered_at;	   /* ns: the last one, if there was any */
	bool delivered_any;
	bool waits; /* one has been raised, and the guest has not taken it */
};

static inline void ticks_add(const struct ticks *ticks, enum ledger_tick_counter counter, uint64_t count)
{
	if (ticks->line != NULL)
		ledger_word_add(&ticks->line->count[counter], count);
}

static inline void ticks_due(struct ticks *ticks, uint64_t count, uint64_t period)
{
	ticks->period = period;
	ticks_add(ticks, LEDGER_TICK_DUE, count);
}

static inline void ticks_lost(const struct ticks *ticks, uint64_t count)
{
	ticks_add(ticks, LEDGER_TICK_LOST, count);
}

static inline void ticks_raise(struct ticks *ticks)
{
	ticks_lost(ticks, ticks->waits ? 1 : 0);
	ticks->waits = true;
}

static inline void ticks_taken(struct ticks *ticks, uint64_t now)
{
	if (!ticks->waits)
		return;
	bool bunched = ticks->delivered_any && (now - ticks->delivered_at) * 2 <= ticks->period;
	ticks_add(ticks, LEDGER_TICK_DELIVERED, 1);
	ticks_add(ticks, LEDGER_TICK_BUNCHED, bunched ? 1 : 0);
	ticks->waits = false;
	ticks->delivered_any = true;
	ticks->delivered_at = now;
}

/* The one that waits will not come any more. */
static inline void ticks_drop(struct ticks *ticks)
{
	ticks_lost(ticks, ticks->waits ? 1 : 0);
	ticks->waits = false;
}

#endif
