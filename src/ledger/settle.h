/* SPDX-License-Identifier: MIT */
/*
 * Settling: which of the booked time Linux gave to others.
 *
 * Theory of operation. A clock cannot see that its thread lost the processor. Linux can: it keeps each thread's time on
 * a processor (CLOCK_THREAD_CPUTIME_ID, to the nanosecond and up to date) and its run delay, the time it was runnable
 * and waited, after a wake-up too (second word of /proc/.../schedstat). From one settlement to the next the booked
 * clocks gained, in states that run on a processor, `running`, and in those that wait, `waiting`. That time is
 * divided anew:
 *
 *   on the processor      as Linux says; the running states in proportion to what each was booked. What the thread
 *                         ran while it was booked as waiting (the system calls to sleep) goes to EXIT.
 *   PREEMPTED             the run delay, as Linux says
 *   waiting states        what is left, up to what was booked for them
 *   BLOCKED               what is left beyond that: the thread slept where it meant to run
 *
 * The sum is kept by construction. Figures of Linux that do not fit the interval (the clocks are read one after the
 * other) are carried over to the next. Linux adds a run delay when it is over; ledger_settle_thread() on another thread
 * that is runnable takes what would be BLOCKED for a delay that goes on, and Linux's later figure is taken as accounted
 * for.
 *
 * A vCPU that gives its processor back wakes the host's dispatcher, which takes the processor at once and gives it to
 * the next: the thread may wait for a tick only to go to sleep. It settles before and after: what it was delayed
 * between the two is time without a token, or idle, and not taken by others.
 *
 * The vCPU's thread settles around its sleeps, but not more than once a millisecond, since it costs 1 to 2 us: so
 * intervals are short where a guest sleeps at all, and where none does, they last from one reading to the next.
 */
#ifndef NFOLD_LEDGER_SETTLE_H
#define NFOLD_LEDGER_SETTLE_H

#include <time.h>

#include "ledger/ledger.h"

/* What Linux says of a thread, in cycles since it began. */
struct ledger_usage {
	uint64_t cpu;
	uint64_t run_delay;
	bool delayed; /* it may be waiting for a processor now, which run_delay does not have yet */
	bool gone;    /* it needed none, but only to go to sleep: run_delay is part of what was booked as waiting */
};

/* Divides the time since the last settlement. Only arithmetic. `booked` has LEDGER_BOOKED_COUNT clocks. */
void ledger_divide(struct ledger_settled *settled, const uint64_t *booked, const struct ledger_usage *usage);

/* Where Linux keeps the figures of a thread of this process. */
struct ledger_thread {
	clockid_t clock;
	int schedstat, stat; /* -1: none */
	bool own;	     /* the calling thread's */
};

/* The folder of this process's threads, while the process may still look into /proc; or -1. */
int ledger_tasks_open(void);
/* False: there is no such thread, or this Linux keeps no such figures. */
bool ledger_thread_open(struct ledger_thread *thread, int tasks, uint64_t thread_id, bool own);
void ledger_thread_close(struct ledger_thread *thread);

/* The thread begins to be the vCPU's: what Linux has counted of it so far is not the vCPU's. */
void ledger_settle_begin(struct ledger *ledger, unsigned vcpu, const struct ledger_thread *thread);

/* Settles a vCPU's clocks now. Does nothing where another thread is just doing so. */
void ledger_settle(struct ledger *ledger, unsigned vcpu, const struct ledger_thread *thread);

/* For the vCPU's own thread, around its sleeps. */
void ledger_settle_if_due(struct ledger *ledger, unsigned vcpu, const struct ledger_thread *thread);

/* For it, after it has told the host that it gives its processor back. */
void ledger_settle_gone(struct ledger *ledger, unsigned vcpu, const struct ledger_thread *thread);

/* For readers in the guest's process: settles if the vCPU has a thread. */
void ledger_settle_thread(struct ledger *ledger, unsigned vcpu);

#endif
