/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's turns on the host's processors: the guest's side of run tokens. ledger/token.h has the protocol.
 *
 * Without a host that schedules, or when its lease is over, a turn begins at once. A turn is not given back between
 * one exit of the engine and the next entry, unless the vCPU has nothing to do or the host wants the processor back:
 * cpu->token then differs from cpu->token_held, and the engine leaves with ENGINE_STOPPED.
 *
 * Threading: turn_wake() by any thread; the rest of a turn belongs to the vCPU's thread; turns_watch() and what it
 * calls to the event loop's.
 */
#ifndef NFOLD_MACHINE_TURN_H
#define NFOLD_MACHINE_TURN_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "cpu/cpu.h"
#include "ledger/ledger.h"
#include "ledger/settle.h"
#include "ledger/token.h"
#include "machine/loop.h"

struct turns {
	struct token_page *page;
	struct ledger *ledger;
	struct loop *loop;
	int page_fd, doorbell, timer; /* -1: none */
	bool watched, was_leased;
};

struct turn {
	struct turns *turns;
	struct token_vcpu *shared;
	struct cpu *cpu;
	const struct ledger_thread *thread; /* NULL: nothing is settled */
	uint32_t bound;			    /* the processor to which the thread is bound, plus 1; 0: to none */
	bool bound_by_host;
	cpu_set_t allowed;
};

bool turns_create(struct turns *turns, struct ledger *ledger, struct loop *loop, struct error *error);
void turns_destroy(struct turns *turns);
/* A host may come: from now on the lease is looked after, and what goes on without one is booked. */
bool turns_watch(struct turns *turns, struct error *error);

/* Maps the vCPU's page over the end of its struct cpu, which nobody uses yet. */
bool turn_init(struct turn *turn, struct turns *turns, struct cpu *cpu, unsigned index, struct error *error);
/* On the vCPU's thread, before its first turn. `thread`: where Linux keeps its figures. */
void turn_attach(struct turn *turn, const struct ledger_thread *thread);

/* After something was asked of the vCPU in cpu->requests. `stop`: that the thread cannot wait for a token. True: it was
 * idle, and is no longer. */
bool turn_wake(struct turn *turn, bool stop, enum token_want why);

/* Begins a turn, or goes on with one; waits for a token, booking why. False: CPU_REQUEST_STOP is set. */
bool turn_begin(struct turn *turn);
/* The vCPU has nothing to do. */
void turn_idle(struct turn *turn);
/* False: the host wants the processor back that this turn still has. */
bool turn_keeps(const struct turn *turn);

/* Around a wait for `bell`: see Sleeping in ledger/token.h. */
void turn_sleep_begins(struct turn *turn);
uint32_t turn_bell(const struct turn *turn);
void turn_sleep(struct turn *turn, uint32_t bell);
/* For so long at most. False: the time is over. */
bool turn_sleep_for(struct turn *turn, uint32_t bell, uint64_t us);
void turn_sleep_ends(struct turn *turn);

#endif
