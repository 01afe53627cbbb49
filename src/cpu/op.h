/* SPDX-License-Identifier: MIT */
/* What the functions behind cpu_ops share: ends of instructions, common checks, direct access to RAM. */
#ifndef NFOLD_CPU_OP_H
#define NFOLD_CPU_OP_H

#include "cpu/insn.h"
#include "cpu/mmu.h"
#include "cpu/segment.h"

/* Moves rip behind the instruction. */
static inline void op_advance(struct cpu *cpu, const struct cpu_insn *insn)
{
	cpu->rip = cpu_next_rip(cpu, insn);
}

/* Done, and modes, mappings or pending events may have changed. */
static inline enum cpu_next op_exit(struct cpu *cpu, const struct cpu_insn *insn)
{
	op_advance(cpu, insn);
	return CPU_EXIT;
}

/* Done. A device that was spoken to may have asked for the vCPU, or a breakpoint have fired. */
static inline enum cpu_next op_done(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (__atomic_load_n(&cpu->run, __ATOMIC_RELAXED) == 0 || cpu->debug_trap)
		return op_exit(cpu, insn);
	return CPU_CONTINUE;
}

static inline enum cpu_next op_result(bool success)
{
	return success ? CPU_CONTINUE : CPU_FAULT;
}

static inline enum cpu_next op_fault(struct cpu *cpu, enum cpu_vector vector)
{
	cpu_fault(cpu, vector);
	return CPU_FAULT;
}

static inline enum cpu_next op_gp(struct cpu *cpu)
{
	cpu_fault_code(cpu, VECTOR_GP, 0);
	return CPU_FAULT;
}

/* CPL 0, or #GP(0). Virtual-8086 mode has CPL 3, real mode 0. */
static inline bool op_privileged(struct cpu *cpu)
{
	return cpu->cpl == 0 || cpu_fault_code(cpu, VECTOR_GP, 0);
}

static inline unsigned op_iopl(const struct cpu *cpu)
{
	return (cpu->flags_system & FLAG_IOPL) >> 12;
}

/* Operand size of moves to and from system registers: fixed by the mode, not by prefixes. */
static inline unsigned op_system_size(const struct cpu *cpu)
{
	return cpu_code64(cpu) ? 8 : 4;
}

/* The segment's base as address generation uses it: 64-bit mode has bases for FS and GS only. */
static inline uint64_t op_segment_base(const struct cpu *cpu, unsigned segment)
{
	if (cpu_code64(cpu) && segment != CPU_FS && segment != CPU_GS)
		return 0;
	return cpu->segment[segment].base;
}

/* cpu_linear(), inline for the common case. */
static inline bool op_linear(struct cpu *cpu, enum cpu_segment_name segment, uint64_t offset, unsigned size,
			     enum tlb_access access, uint64_t *linear)
{
	uint64_t address = offset + op_segment_base(cpu, segment);

	if (!cpu_code64(cpu) || !address_is_canonical(address) || !address_is_canonical(address + size - 1))
		return cpu_linear(cpu, segment, offset, size, access, linear);
	*linear = address;
	return true;
}

/* Does EFLAGS.AC let an access be? size is a power of two. */
static inline bool op_is_aligned(const struct cpu *cpu, uint64_t linear, unsigned size)
{
	return !(cpu->mode & MODE_ALIGN) || (linear & (size - 1)) == 0;
}

/* #AC, where EFLAGS.AC asks for it. It comes after the checks of the address, before the page's. */
static inline bool op_aligned(struct cpu *cpu, uint64_t linear, unsigned size)
{
	return op_is_aligned(cpu, linear, size) || cpu_fault_code(cpu, VECTOR_AC, 0);
}

/* The linear address of a memory operand of a power of two of bytes, alignment checked. */
static inline bool op_operand(struct cpu *cpu, const struct cpu_insn *insn, unsigned size, enum tlb_access access,
			      uint64_t *linear)
{
	return cpu_operand_linear(cpu, insn, size, access, linear) && op_aligned(cpu, *linear, size);
}

/* Reads and writes the memory operand, or the register that ModRM.rm names. */
static inline bool op_read_rm(struct cpu *cpu, const struct cpu_insn *insn, unsigned size, uint64_t *value)
{
	uint64_t linear;
	if (!insn->has_memory) {
		*value = cpu_register(cpu, insn, insn->rm, size);
		return true;
	}
	return op_operand(cpu, insn, size, TLB_READ, &linear) &&
	       cpu_read_value(cpu, linear, size, cpu_view(cpu), value);
}

static inline bool op_write_memory(struct cpu *cpu, const struct cpu_insn *insn, unsigned size, uint64_t value)
{
	uint64_t linear;
	return op_operand(cpu, insn, size, TLB_WRITE, &linear) &&
	       cpu_write_value(cpu, linear, size, cpu_view(cpu), value);
}

/*
 * The host bytes of `linear` if it is RAM that the access may use as it stands, up to the end of the page; NULL with
 * *fault clear where the access must go through cpu_read and cpu_write, NULL with *fault set after a fault.
 */
static inline uint8_t *op_direct(struct cpu *cpu, uint64_t linear, enum tlb_access access, bool stack, bool *fault)
{
	enum tlb_view view = cpu_view(cpu);
	const struct tlb_entry *entry = &cpu->tlb.entry[view][TLB_INDEX(linear)];
	uint64_t tag = access == TLB_WRITE ? entry->write_tag : entry->read_tag;
	struct mmu_page page;

	*fault = false;
	if (linear - tag < PAGE_SIZE)
		return tlb_host(entry, linear);
	if (!mmu_translate(cpu, linear, access, view, stack, &page)) {
		*fault = true;
		return NULL;
	}
	if (page.watched || (access == TLB_WRITE && !page.writable))
		return NULL;
	return page.host;
}

/*
 * RAM of `size` bytes within one page on which an atomic instruction may act, code pages included. NULL as in
 * op_direct(). After its store the caller calls mmu_stored() with *gpa.
 */
uint8_t *op_atomic(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t *gpa, bool *fault);

#endif
