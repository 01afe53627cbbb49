/* SPDX-License-Identifier: MIT */
/* Instructions on RFLAGS, HLT, and the FS and GS bases. SDM volume 2; 3B chapter 20 for virtual-8086 mode. */
#include "cpu/op.h"
#include "cpu/stack.h"

enum interrupt_flag { FLAG_IS_IF, FLAG_IS_VIF, FLAG_IS_FORBIDDEN };

/* Which flag CLI and STI work on: IF, its virtual twin under VME or PVI, or none (#GP). */
static enum interrupt_flag interrupt_flag(const struct cpu *cpu)
{
	if (cpu->mode & MODE_REAL)
		return FLAG_IS_IF;
	if (cpu->mode & MODE_VM86) {
		if (op_iopl(cpu) == 3)
			return FLAG_IS_IF;
		return (cpu->cr4 & CR4_VME) ? FLAG_IS_VIF : FLAG_IS_FORBIDDEN;
	}
	if (cpu->cpl <= op_iopl(cpu))
		return FLAG_IS_IF;
	return cpu->cpl == 3 && (cpu->cr4 & CR4_PVI) ? FLAG_IS_VIF : FLAG_IS_FORBIDDEN;
}

enum cpu_next cpu_op_cli(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	switch (interrupt_flag(cpu)) {
	case FLAG_IS_IF:
		cpu->interrupt_enable = 0;
		return CPU_CONTINUE;
	case FLAG_IS_VIF:
		cpu->flags_system &= ~FLAG_VIF;
		return CPU_CONTINUE;
	default:
		return op_gp(cpu);
	}
}

enum cpu_next cpu_op_sti(struct cpu *cpu, const struct cpu_insn *insn)
{
	switch (interrupt_flag(cpu)) {
	case FLAG_IS_IF:
		if (cpu->interrupt_enable)
			return CPU_CONTINUE;
		cpu->interrupt_enable = 1;
		cpu->interrupt_shadow = CPU_SHADOW_STI;
		return op_exit(cpu, insn);
	case FLAG_IS_VIF:
		if (cpu->flags_system & FLAG_VIP)
			return op_gp(cpu);
		cpu->flags_system |= FLAG_VIF;
		return CPU_CONTINUE;
	default:
		return op_gp(cpu);
	}
}

enum cpu_next cpu_op_pushf(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t flags = cpu_rflags(cpu) & ~(uint64_t)(FLAG_VM | FLAG_RF);
	struct stack stack = stack_current(cpu);

	if ((cpu->mode & MODE_VM86) && op_iopl(cpu) < 3) {
		if (!(cpu->cr4 & CR4_VME) || insn->operand_size != 2)
			return op_gp(cpu);
		flags = (flags & ~(uint64_t)FLAG_IF) | FLAG_IOPL;
		if (cpu->flags_system & FLAG_VIF)
			flags |= FLAG_IF;
	}
	if (!stack_push(&stack, flags, insn->operand_size))
		return CPU_FAULT;
	stack_commit(&stack);
	return CPU_CONTINUE;
}

/* The flags that POPF may change here. */
static uint32_t popf_mask(const struct cpu *cpu, unsigned size)
{
	uint32_t mask = FLAGS_ARITHMETIC | FLAG_TF | FLAG_DF | FLAG_NT | FLAG_AC | FLAG_ID;

	if (cpu->cpl == 0)
		mask |= FLAG_IOPL;
	if (cpu->cpl <= op_iopl(cpu))
		mask |= FLAG_IF;
	return size == 2 ? mask & 0xffff : mask;
}

/* POPF of 16 bits in virtual-8086 mode under VME with IOPL below 3: IF goes to VIF. */
static bool popf_virtual(struct cpu *cpu, uint64_t value, uint64_t *flags)
{
	uint32_t mask = popf_mask(cpu, 2);

	if (((value & FLAG_IF) && (cpu->flags_system & FLAG_VIP)) || (value & FLAG_TF))
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	*flags = (*flags & ~(uint64_t)(mask | FLAG_VIF)) | (value & mask);
	if (value & FLAG_IF)
		*flags |= FLAG_VIF;
	return true;
}

enum cpu_next cpu_op_popf(struct cpu *cpu, const struct cpu_insn *insn)
{
	const uint64_t translated =
	    FLAG_TF | FLAG_AC | FLAG_IOPL; /* the engine itself looks whether IF opens the way */
	bool virtual = (cpu->mode & MODE_VM86) && op_iopl(cpu) < 3;
	uint64_t before = cpu_rflags(cpu), flags = before, value;
	struct stack stack = stack_current(cpu);

	if (virtual && (!(cpu->cr4 & CR4_VME) || insn->operand_size != 2))
		return op_gp(cpu);
	if (!stack_pop(&stack, &value, insn->operand_size))
		return CPU_FAULT;
	if (virtual) {
		if (!popf_virtual(cpu, value, &flags))
			return CPU_FAULT;
	} else {
		uint32_t mask = popf_mask(cpu, insn->operand_size);
		flags = (flags & ~(uint64_t)(mask | FLAG_RF)) | (value & mask);
	}
	stack_commit(&stack);
	cpu_rflags_set(cpu, flags);
	if (((before ^ flags) & translated) == 0)
		return CPU_CONTINUE;
	cpu_mode_update(cpu);
	return op_exit(cpu, insn);
}

static enum cpu_next set_access_check(struct cpu *cpu, const struct cpu_insn *insn, bool on)
{
	if (cpu->cpl != 0)
		return op_fault(cpu, VECTOR_UD);
	if (on)
		cpu->flags_system |= FLAG_AC;
	else
		cpu->flags_system &= ~FLAG_AC;
	cpu_mode_update(cpu);
	return op_exit(cpu, insn);
}

enum cpu_next cpu_op_stac(struct cpu *cpu, const struct cpu_insn *insn)
{
	return set_access_check(cpu, insn, true);
}

enum cpu_next cpu_op_clac(struct cpu *cpu, const struct cpu_insn *insn)
{
	return set_access_check(cpu, insn, false);
}

enum cpu_next cpu_op_hlt(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (!op_privileged(cpu))
		return CPU_FAULT;
	cpu_count(cpu, LEDGER_COUNT_HALT);
	cpu->halted = true;
	cpu->interrupt_shadow = 0;
	return op_exit(cpu, insn);
}

enum cpu_next cpu_op_swapgs(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t base = cpu->segment[CPU_GS].base;

	(void)insn;
	if (!cpu_code64(cpu))
		return op_fault(cpu, VECTOR_UD);
	if (!op_privileged(cpu))
		return CPU_FAULT;
	cpu->segment[CPU_GS].base = cpu->kernel_gs_base;
	cpu->kernel_gs_base = base;
	return CPU_CONTINUE;
}

static bool fsgsbase_enabled(struct cpu *cpu)
{
	return (cpu_code64(cpu) && (cpu->cr4 & CR4_FSGSBASE)) || cpu_fault(cpu, VECTOR_UD);
}

static enum cpu_next read_base(struct cpu *cpu, const struct cpu_insn *insn, enum cpu_segment_name name)
{
	if (!fsgsbase_enabled(cpu))
		return CPU_FAULT;
	cpu_register_set(cpu, insn, insn->rm, insn->operand_size, cpu->segment[name].base);
	return CPU_CONTINUE;
}

static enum cpu_next write_base(struct cpu *cpu, const struct cpu_insn *insn, enum cpu_segment_name name)
{
	uint64_t base = cpu_register(cpu, insn, insn->rm, insn->operand_size);

	if (!fsgsbase_enabled(cpu))
		return CPU_FAULT;
	if (!address_is_canonical(base))
		return op_gp(cpu);
	cpu->segment[name].base = base;
	return CPU_CONTINUE;
}

enum cpu_next cpu_op_rdfsbase(struct cpu *cpu, const struct cpu_insn *insn)
{
	return read_base(cpu, insn, CPU_FS);
}

enum cpu_next cpu_op_rdgsbase(struct cpu *cpu, const struct cpu_insn *insn)
{
	return read_base(cpu, insn, CPU_GS);
}

enum cpu_next cpu_op_wrfsbase(struct cpu *cpu, const struct cpu_insn *insn)
{
	return write_base(cpu, insn, CPU_FS);
}

enum cpu_next cpu_op_wrgsbase(struct cpu *cpu, const struct cpu_insn *insn)
{
	return write_base(cpu, insn, CPU_GS);
}

enum cpu_next cpu_op_lahf(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t ah = (cpu->flags_arithmetic & 0xd5) | FLAG_FIXED;

	(void)insn;
	cpu->gpr[CPU_RAX] = (cpu->gpr[CPU_RAX] & ~UINT64_C(0xff00)) | (ah << 8);
	return CPU_CONTINUE;
}

enum cpu_next cpu_op_sahf(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	cpu->flags_arithmetic = (cpu->flags_arithmetic & FLAG_OF) | ((uint32_t)(cpu->gpr[CPU_RAX] >> 8) & 0xd5);
	return CPU_CONTINUE;
}
