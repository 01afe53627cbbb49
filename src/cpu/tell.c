/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "ledger/events.h"

void cpu_tell(const struct cpu *cpu, unsigned kind, unsigned size, uint64_t address, uint64_t value)
{
	const struct event event = {.tsc = ledger_tsc(),
				    .rip = cpu->rip,
				    .address = address,
				    .value = value,
				    .kind = (uint8_t)kind,
				    .vcpu = (uint8_t)cpu->index,
				    .size = (uint8_t)size,
				    .cpl = cpu->cpl};
	events_add(cpu->events, &event);
}
