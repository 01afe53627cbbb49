/* SPDX-License-Identifier: MIT */
/* Descriptor-table registers, the task register, and the instructions that UMIP guards. */
#include "cpu/op.h"

/* SGDT, SIDT, SLDT, STR and SMSW: CPL 0 only under CR4.UMIP. */
static bool umip_allows(struct cpu *cpu)
{
	return !(cpu->cr4 & CR4_UMIP) || cpu->cpl == 0 || cpu_fault_code(cpu, VECTOR_GP, 0);
}

static bool table_operand(struct cpu *cpu, const struct cpu_insn *insn, enum tlb_access access, uint64_t *linear,
			  unsigned *size)
{
	*size = cpu_code64(cpu) ? 10 : 6;
	return cpu_operand_linear(cpu, insn, *size, access, linear) && op_aligned(cpu, *linear, 4);
}

static bool table_load(struct cpu *cpu, const struct cpu_insn *insn, struct cpu_table *table)
{
	uint8_t image[10] = {0};
	uint64_t linear, base;
	unsigned size;

	if (!op_privileged(cpu) || !table_operand(cpu, insn, TLB_READ, &linear, &size) ||
	    !cpu_read(cpu, linear, image, size, cpu_view(cpu)))
		return false;
	base = load_le(image + 2, size == 10 ? 8 : 4);
	if (size == 6 && insn->operand_size == 2)
		base &= 0xffffff;
	if (!address_is_canonical(base) && size == 10)
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	table->base = base;
	table->limit = (uint16_t)load_le(image, 2);
	return true;
}

/* Processors store all 32 bits of the base whatever the operand size, though the manual says 24 (SDM 2B, SGDT). */
static bool table_store(struct cpu *cpu, const struct cpu_insn *insn, const struct cpu_table *table)
{
	uint8_t image[10];
	uint64_t linear;
	unsigned size;

	if (!umip_allows(cpu) || !table_operand(cpu, insn, TLB_WRITE, &linear, &size))
		return false;
	store_le(image, table->limit, 2);
	store_le(image + 2, table->base, 8);
	return cpu_write(cpu, linear, image, size, cpu_view(cpu));
}

enum cpu_next cpu_op_lgdt(struct cpu *cpu, const struct cpu_insn *insn)
{
	return op_result(table_load(cpu, insn, &cpu->gdtr));
}

enum cpu_next cpu_op_lidt(struct cpu *cpu, const struct cpu_insn *insn)
{
	return op_result(table_load(cpu, insn, &cpu->idtr));
}

enum cpu_next cpu_op_sgdt(struct cpu *cpu, const struct cpu_insn *insn)
{
	return op_result(table_store(cpu, insn, &cpu->gdtr));
}

enum cpu_next cpu_op_sidt(struct cpu *cpu, const struct cpu_insn *insn)
{
	return op_result(table_store(cpu, insn, &cpu->idtr));
}

/* Stores 16 bits to memory, or the operand size to a register. */
static enum cpu_next store_word(struct cpu *cpu, const struct cpu_insn *insn, uint64_t value)
{
	if (!umip_allows(cpu))
		return CPU_FAULT;
	if (insn->has_memory)
		return op_result(op_write_memory(cpu, insn, 2, value));
	cpu_register_set(cpu, insn, insn->rm, insn->operand_size, value);
	return CPU_CONTINUE;
}

enum cpu_next cpu_op_smsw(struct cpu *cpu, const struct cpu_insn *insn)
{
	return store_word(cpu, insn, cpu->cr0);
}

enum cpu_next cpu_op_sldt(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (cpu_real_or_v86(cpu))
		return op_fault(cpu, VECTOR_UD);
	return store_word(cpu, insn, cpu->ldtr.selector);
}

enum cpu_next cpu_op_str(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (cpu_real_or_v86(cpu))
		return op_fault(cpu, VECTOR_UD);
	return store_word(cpu, insn, cpu->tr.selector);
}

/* The selector operand of LLDT and LTR with the checks that come before the descriptor. */
static bool system_selector(struct cpu *cpu, const struct cpu_insn *insn, uint16_t *selector)
{
	uint64_t value;

	if (cpu_real_or_v86(cpu))
		return cpu_fault(cpu, VECTOR_UD);
	if (!op_privileged(cpu) || !op_read_rm(cpu, insn, 2, &value))
		return false;
	*selector = (uint16_t)value;
	return true;
}

/* Reads a system descriptor of the GDT; in long mode it is 16 bytes and its base has 64 bits. */
static bool system_descriptor(struct cpu *cpu, uint16_t selector, unsigned type, uint64_t *raw,
			      struct cpu_segment *segment)
{
	uint32_t error_code = selector & 0xfffcu;
	uint64_t high = 0;

	if (selector & 4) /* must be in the GDT */
		return cpu_fault_code(cpu, VECTOR_GP, error_code);
	if (cpu_long_mode(cpu) ? !descriptor_read_high(cpu, selector, VECTOR_GP, raw, &high)
			       : !descriptor_read(cpu, selector, VECTOR_GP, raw))
		return false;
	if ((descriptor_access(*raw) & (SEGMENT_S | SEGMENT_TYPE)) != type || ((high >> 32) & 0x1f00) != 0)
		return cpu_fault_code(cpu, VECTOR_GP, error_code);
	if (!(descriptor_access(*raw) & SEGMENT_P))
		return cpu_fault_code(cpu, VECTOR_NP, error_code);
	segment_from_descriptor(segment, selector, *raw);
	if (cpu_long_mode(cpu)) {
		segment->base = (segment->base & 0xffffffff) | (high << 32);
		if (!address_is_canonical(segment->base))
			return cpu_fault_code(cpu, VECTOR_GP, error_code);
	}
	return true;
}

enum cpu_next cpu_op_lldt(struct cpu *cpu, const struct cpu_insn *insn)
{
	struct cpu_segment segment;
	uint16_t selector;
	uint64_t raw;

	if (!system_selector(cpu, insn, &selector))
		return CPU_FAULT;
	if (SELECTOR_IS_NULL(selector)) {
		segment_set_null(&cpu->ldtr, selector);
		return CPU_CONTINUE;
	}
	if (!system_descriptor(cpu, selector, DESCRIPTOR_LDT, &raw, &segment))
		return CPU_FAULT;
	cpu->ldtr = segment;
	return CPU_CONTINUE;
}

enum cpu_next cpu_op_ltr(struct cpu *cpu, const struct cpu_insn *insn)
{
	struct cpu_segment segment;
	unsigned type = DESCRIPTOR_TSS;
	uint16_t selector;
	uint64_t raw;

	if (!system_selector(cpu, insn, &selector))
		return CPU_FAULT;
	if (SELECTOR_IS_NULL(selector))
		return op_gp(cpu);
	if (!cpu_long_mode(cpu)) { /* 16-bit task states exist outside long mode only */
		if (!(selector & 4) && !descriptor_read(cpu, selector, VECTOR_GP, &raw))
			return CPU_FAULT;
		if (!(selector & 4) && (descriptor_access(raw) & (SEGMENT_S | SEGMENT_TYPE)) == DESCRIPTOR_TSS16)
			type = DESCRIPTOR_TSS16;
	}
	if (!system_descriptor(cpu, selector, type, &raw, &segment) || !descriptor_set_type(cpu, selector, &raw, 2))
		return CPU_FAULT;
	segment.access |= 2;
	cpu->tr = segment;
	return CPU_CONTINUE;
}
