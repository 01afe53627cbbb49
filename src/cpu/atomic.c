/* SPDX-License-Identifier: MIT */
/*
 * BT, BTS, BTR and BTC with a register as the bit offset: the bit lies anywhere in memory.
 *
 * On RAM they change the shared page atomically, with LOCK or without: stronger is harmless. Of an element on two pages
 * that is done to the byte with the bit. On devices they are a read and a write, as a bus without locks would do them.
 */
#include "cpu/op.h"

static uint64_t bit_changed(enum cpu_bit_kind kind, uint64_t value, unsigned bit)
{
	switch (kind) {
	case CPU_BIT_SET:
		return value | BIT64(bit);
	case CPU_BIT_RESET:
		return value & ~BIT64(bit);
	case CPU_BIT_COMPLEMENT:
		return value ^ BIT64(bit);
	default:
		return value;
	}
}

/* The element that holds the bit: the offset is signed and counts from the operand's address. */
static bool bit_operand(struct cpu *cpu, const struct cpu_insn *insn, unsigned *bit, uint64_t *linear)
{
	unsigned size = insn->operand_size, bits = size * 8;
	enum tlb_access access = insn->immediate == CPU_BIT_TEST ? TLB_READ : TLB_WRITE;
	int64_t offset = (int64_t)sign_extend(cpu_register(cpu, insn, insn->reg, size), bits);
	uint64_t address = cpu_effective_address(cpu, insn);

	*bit = (unsigned)offset & (bits - 1);
	address += (uint64_t)((offset - (int64_t)*bit) / 8);
	address &= size_mask(insn->address_size);
	return cpu_linear(cpu, (enum cpu_segment_name)insn->segment, address, size, access, linear) &&
	       op_aligned(cpu, *linear, size);
}

/* The byte with the bit, if it is in RAM: SDM volume 2 lets the element's other bytes alone. */
static uint8_t *bit_byte(struct cpu *cpu, uint64_t linear, unsigned size, unsigned bit, uint64_t *gpa, bool *fault)
{
	uint64_t byte = linear + bit / 8;
	bool crosses = (linear & PAGE_MASK) + size > PAGE_SIZE;
	uint8_t *host;

	if (crosses) {
		*fault = !cpu_check_write(cpu, linear, size, cpu_view(cpu));
		return *fault ? NULL : op_atomic(cpu, cpu_code64(cpu) ? byte : (uint32_t)byte, 1, gpa, fault);
	}
	host = op_atomic(cpu, linear, size, gpa, fault);
	if (host == NULL)
		return NULL;
	*gpa += bit / 8;
	return host + bit / 8;
}

static bool bit_update(struct cpu *cpu, enum cpu_bit_kind kind, uint64_t linear, unsigned size, unsigned bit,
		       bool *was_set)
{
	enum tlb_view view = cpu_view(cpu);
	uint64_t value, gpa;
	bool fault;
	uint8_t *host = bit_byte(cpu, linear, size, bit, &gpa, &fault);

	if (fault)
		return false;
	if (host != NULL) {
		uint8_t old = __atomic_load_n(host, __ATOMIC_RELAXED);
		while (!__atomic_compare_exchange_n(host, &old, (uint8_t)bit_changed(kind, old, bit % 8), false,
						    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			;
		mmu_stored(cpu, gpa, 1);
		*was_set = (old >> (bit % 8)) & 1;
		return true;
	}
	if (!cpu_check_write(cpu, linear, size, view) || !cpu_read_value(cpu, linear, size, view, &value) ||
	    !cpu_write_value(cpu, linear, size, view, bit_changed(kind, value, bit)))
		return false;
	*was_set = (value >> bit) & 1;
	return true;
}

enum cpu_next cpu_op_bit_memory(struct cpu *cpu, const struct cpu_insn *insn)
{
	enum cpu_bit_kind kind = (enum cpu_bit_kind)insn->immediate;
	uint64_t linear, value;
	unsigned bit;
	bool was_set;

	if (!bit_operand(cpu, insn, &bit, &linear))
		return CPU_FAULT;
	if (kind == CPU_BIT_TEST) {
		if (!cpu_read_value(cpu, linear, insn->operand_size, cpu_view(cpu), &value))
			return CPU_FAULT;
		was_set = (value >> bit) & 1;
	} else if (!bit_update(cpu, kind, linear, insn->operand_size, bit, &was_set)) {
		return CPU_FAULT;
	}
	cpu->flags_arithmetic = (cpu->flags_arithmetic & ~FLAG_CF) | (was_set ? FLAG_CF : 0);
	return op_done(cpu, insn);
}
