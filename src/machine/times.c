/* SPDX-License-Identifier: MIT */
#include "machine/times.h"

#include "machine/machine-impl.h"

static void add_vcpu(struct machine *machine, unsigned index, struct cputimes_figures *figures)
{
	uint64_t ns[LEDGER_STATE_COUNT];
	ledger_settle_if_due(machine->ledger, index, &machine->vcpu[index].ledger_reader);
	ledger_read_settled(machine->ledger, index, ns);
	figures->processors++;
	figures->used_ns += ns[LEDGER_GUEST] + ns[LEDGER_EXIT] + ns[LEDGER_TRANSLATE] + ns[LEDGER_DEVICE];
	figures->ready_ns += ns[LEDGER_READY] + ns[LEDGER_LIMITED] + ns[LEDGER_PREEMPTED];
	figures->costop_ns += ns[LEDGER_COSTOP];
	figures->wait_ns += ns[LEDGER_IDLE] + ns[LEDGER_PAGING] + ns[LEDGER_PAUSED] + ns[LEDGER_BLOCKED];
}

void machine_processor_times(void *opaque, uint32_t processor, struct cputimes_figures *figures)
{
	struct machine *machine = opaque;
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		if (processor == i || processor == GUEST_TIMES_ALL)
			add_vcpu(machine, i, figures);
}
