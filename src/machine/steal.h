/* SPDX-License-Identifier: MIT */
/*
 * Steal time: what the guest is told of the time that its vCPU wanted a processor and had none.
 *
 * Theory of operation. The guest names 64 bytes of its memory in KVM's MSR 4B564D03H (docs/guest-interface.md). A guest
 * looks there when it accounts for time, which is at its clock's interrupts. So before an interrupt is delivered, at
 * most once a millisecond, the vCPU's thread settles its clocks and adds to the guest's figure what READY, COSTOP,
 * LIMITED and PREEMPTED have gained. Nobody else writes there, and the guest reads it on the same vCPU: the version
 * that is odd during a change is for readers on others.
 *
 * What stands there is the guest's: it is read, added to and written through the checked gate, and where there is no
 * RAM nothing happens.
 */
#ifndef NFOLD_MACHINE_STEAL_H
#define NFOLD_MACHINE_STEAL_H

#include "cpu/cpu.h"
#include "ledger/settle.h"

struct steal {
	struct cpu *cpu;
	struct ledger *ledger;
	const struct ledger_thread *thread; /* the vCPU's own */
	uint64_t told_at;		    /* host TSC of the last update */
	uint64_t told;			    /* cycles told of so far */
};

void steal_init(struct steal *steal, struct cpu *cpu, struct ledger *ledger, const struct ledger_thread *thread);

#endif
