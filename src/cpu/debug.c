/* SPDX-License-Identifier: MIT */
/* MOV to and from debug registers: SDM 3B 18.2. */
#include "cpu/debug.h"

#include "cpu/op.h"

/* Checks shared by both directions; DR4 and DR5 are other names of DR6 and DR7 unless CR4.DE is set. */
static bool debug_register(struct cpu *cpu, unsigned number, unsigned *actual)
{
	if (number > 7)
		return cpu_fault(cpu, VECTOR_UD);
	if (!op_privileged(cpu))
		return false;
	if ((cpu->cr4 & CR4_DE) && (number == 4 || number == 5))
		return cpu_fault(cpu, VECTOR_UD);
	if (cpu->dr[7] & DR7_GD) {
		cpu_fault(cpu, VECTOR_DB);
		cpu->pending.dr6 = DR6_BD;
		return false;
	}
	*actual = number == 4 || number == 5 ? number + 2 : number;
	return true;
}

/* Pages under an enabled data breakpoint stay out of the TLB, so a change of those flushes it. */
static bool watches_data(const struct cpu *cpu)
{
	for (unsigned i = 0; i < 4; i++)
		if (breakpoint_is_enabled(cpu->dr[7], i) && (breakpoint_type(cpu->dr[7], i) & 1))
			return true;
	return false;
}

static void set_debug_register(struct cpu *cpu, unsigned number, uint64_t value)
{
	bool watched = watches_data(cpu);

	if (number == 6)
		value = (value & DR6_WRITABLE) | DR6_FIXED;
	if (number == 7)
		value = (value & DR7_WRITABLE) | DR7_FIXED;
	cpu->dr[number] = value;
	if (number != 6 && (watched || watches_data(cpu))) {
		cpu_count(cpu, LEDGER_COUNT_TLB_FLUSH_WATCH);
		mmu_flush_all(cpu, true);
	}
}

enum cpu_next cpu_op_mov_from_dr(struct cpu *cpu, const struct cpu_insn *insn)
{
	unsigned number;

	if (!debug_register(cpu, insn->reg, &number))
		return CPU_FAULT;
	cpu_register_set(cpu, insn, insn->rm, op_system_size(cpu), cpu->dr[number]);
	return CPU_CONTINUE;
}

enum cpu_next cpu_op_mov_to_dr(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t value = cpu_register(cpu, insn, insn->rm, op_system_size(cpu));
	unsigned number;

	if (!debug_register(cpu, insn->reg, &number))
		return CPU_FAULT;
	if (number >= 6 && (value >> 32) != 0)
		return op_gp(cpu);
	set_debug_register(cpu, number, value);
	cpu_mode_update(cpu);
	return op_exit(cpu, insn);
}
