/* SPDX-License-Identifier: MIT */
/*
 * CMPXCHG8B, CMPXCHG16B, and bit tests whose bit lies anywhere in memory.
 *
 * On RAM they run as the host's own locked instruction on the shared page, with LOCK or without: stronger is harmless.
 * On devices, on watched pages and across pages they are a read and a write, as a bus without locks would do them.
 */
#include "cpu/op.h"

/* EDX:EAX and ECX:EBX, or RDX:RAX and RCX:RBX. */
struct pair {
	uint64_t low, high;
};

static bool host_cmpxchg8(uint8_t *at, uint64_t *expected, uint64_t desired)
{
	struct {
		uint64_t v;
	} __attribute__((packed, may_alias)) *p = (void *)at;
	uint64_t old = *expected;
	bool same;

	__asm__ volatile("lock cmpxchgq %3, %0" : "+m"(p->v), "+a"(old), "=@ccz"(same) : "r"(desired) : "memory");
	*expected = old;
	return same;
}

static bool host_cmpxchg16(uint8_t *at, struct pair *expected, const struct pair *desired)
{
	bool same;

	__asm__ volatile("lock cmpxchg16b (%3)"
			 : "+a"(expected->low), "+d"(expected->high), "=@ccz"(same)
			 : "r"(at), "b"(desired->low), "c"(desired->high)
			 : "memory");
	return same;
}

/* By a read and a write: the old value is written back when it differs, as hardware does. */
static bool slow_cmpxchg(struct cpu *cpu, uint64_t linear, unsigned size, struct pair *expected,
			 const struct pair *desired, bool *same)
{
	enum tlb_view view = cpu_view(cpu);
	struct pair old = {0};

	if (!cpu_check_write(cpu, linear, size, view) || !cpu_read(cpu, linear, &old, size, view))
		return false;
	*same = old.low == expected->low && old.high == expected->high;
	if (!cpu_write(cpu, linear, *same ? desired : &old, size, view))
		return false;
	*expected = old;
	return true;
}

/* Compares `size` bytes with *expected, which receives what was there. False: fault. */
static bool compare_exchange(struct cpu *cpu, uint64_t linear, unsigned size, struct pair *expected,
			     const struct pair *desired, bool *same)
{
	bool fault;
	uint8_t *host = op_atomic(cpu, linear, size, &fault);

	if (fault)
		return false;
	if (host == NULL)
		return slow_cmpxchg(cpu, linear, size, expected, desired, same);
	if (size == 16)
		*same = host_cmpxchg16(host, expected, desired);
	else
		*same = host_cmpxchg8(host, &expected->low, desired->low);
	return true;
}

static void set_zero_flag(struct cpu *cpu, bool set)
{
	cpu->flags_arithmetic = (cpu->flags_arithmetic & ~FLAG_ZF) | (set ? FLAG_ZF : 0);
}

enum cpu_next cpu_op_cmpxchg8b(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t *gpr = cpu->gpr;
	struct pair expected = {(uint32_t)gpr[CPU_RAX] | gpr[CPU_RDX] << 32, 0};
	struct pair desired = {(uint32_t)gpr[CPU_RBX] | gpr[CPU_RCX] << 32, 0};
	uint64_t linear;
	bool same;

	if (!op_operand(cpu, insn, 8, TLB_WRITE, &linear) ||
	    !compare_exchange(cpu, linear, 8, &expected, &desired, &same))
		return CPU_FAULT;
	set_zero_flag(cpu, same);
	if (!same) {
		gpr[CPU_RAX] = (uint32_t)expected.low;
		gpr[CPU_RDX] = expected.low >> 32;
	}
	return op_done(cpu, insn);
}

enum cpu_next cpu_op_cmpxchg16b(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t *gpr = cpu->gpr;
	struct pair expected = {gpr[CPU_RAX], gpr[CPU_RDX]};
	struct pair desired = {gpr[CPU_RBX], gpr[CPU_RCX]};
	uint64_t linear;
	bool same;

	if (!cpu_operand_linear(cpu, insn, 16, TLB_WRITE, &linear))
		return CPU_FAULT;
	if (linear & 15)
		return op_gp(cpu);
	if (!compare_exchange(cpu, linear, 16, &expected, &desired, &same))
		return CPU_FAULT;
	set_zero_flag(cpu, same);
	if (!same) {
		gpr[CPU_RAX] = expected.low;
		gpr[CPU_RDX] = expected.high;
	}
	return op_done(cpu, insn);
}

/* ---- BT, BTS, BTR, BTC with a register as the bit offset ---- */

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

/* On RAM the byte with the bit is changed atomically: SDM volume 2 lets the element's other bytes alone. */
static bool bit_update(struct cpu *cpu, enum cpu_bit_kind kind, uint64_t linear, unsigned size, unsigned bit,
		       bool *was_set)
{
	enum tlb_view view = cpu_view(cpu);
	uint64_t value;
	bool fault;
	uint8_t *host = op_atomic(cpu, linear, size, &fault);

	if (fault)
		return false;
	if (host != NULL) {
		uint8_t old = __atomic_load_n(&host[bit / 8], __ATOMIC_RELAXED);
		while (!__atomic_compare_exchange_n(&host[bit / 8], &old, (uint8_t)bit_changed(kind, old, bit % 8),
						    false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			;
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
