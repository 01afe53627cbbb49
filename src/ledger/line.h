/* SPDX-License-Identifier: MIT */
/* What ledger.c and settle.c share. */
#ifndef NFOLD_LEDGER_LINE_H
#define NFOLD_LEDGER_LINE_H

#include "ledger/ledger.h"

/* A writer that lost its processor between its two sequence stores (to Linux, or with the whole virtual processor to
 * the host below) is waited for in naps; one that died there must not hang its readers. */
#define LEDGER_READ_TRIES 3000
#define LEDGER_READ_SPINS 64
#define LEDGER_READ_NAP_NS 50000

/* The clocks of a line as they stood at `now`, in cycles, the open interval included. */
struct ledger_line_copy {
	uint64_t now, since, state;
	uint64_t clock[LEDGER_BOOKED_COUNT];
};

/* `*tries`: how often it may try again, of all that its caller reads; LEDGER_READ_TRIES at first. */
void ledger_line_copy(const struct ledger_vcpu *line, struct ledger_line_copy *copy, unsigned *tries);

/* 0 for a divisor of 0: it may be a word of another process, which may have changed since it was checked. */
static inline uint64_t ledger_scale(uint64_t value, uint64_t multiplier, uint64_t divisor)
{
	return divisor == 0 ? 0 : (uint64_t)((unsigned __int128)value * multiplier / divisor);
}

/* How far a clock advanced. 0 where it seems to have gone back: clocks of different sources are compared. */
static inline uint64_t ledger_gain(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

#endif
