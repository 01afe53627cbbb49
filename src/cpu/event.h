/* SPDX-License-Identifier: MIT */
#ifndef NFOLD_CPU_EVENT_H
#define NFOLD_CPU_EVENT_H

#include "cpu/cpu.h"

/* After IF or the blocking of NMIs changed for the better: makes the next poll leave guest code if something waits. */
static inline void event_recheck(struct cpu *cpu)
{
	if (__atomic_load_n(&cpu->requests, __ATOMIC_RELAXED) != 0)
		__atomic_store_n(&cpu->run, 0, __ATOMIC_RELAXED);
}

#endif
