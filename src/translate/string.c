/* SPDX-License-Identifier: MIT */
/* String instructions without REP: LODS, STOS, MOVS, SCAS, CMPS. Repeated ones run in C (cpu/string.c). */
#include "translate/stack.h"

static const ZydisDecodedOperand *operand_by_base(const struct translation *t, unsigned base)
{
	for (unsigned i = 0; i < t->insn.operand_count; i++) {
		const ZydisDecodedOperand *operand = &t->operand[i];
		if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY && gpr_of(operand->mem.base).number == base)
			return operand;
	}
	return NULL;
}

static struct access emit_element(struct translation *t, unsigned index, unsigned buffer)
{
	const ZydisDecodedOperand *operand = operand_by_base(t, index);
	bug_if(operand == NULL);
	struct access access = access_of(operand);
	access.buffer = (uint8_t)buffer;
	emit_effective_address(t, operand, 0);
	emit_access(t, &access);
	note_fault_point(t);
	return access;
}

/* Moves an index register in the direction of DF. Flags are saved; uses RCX. */
static void emit_advance(struct translation *t, unsigned index, unsigned size)
{
	struct assembler *as = &t->as;
	unsigned home = register_home(index), log2 = (unsigned)__builtin_ctz(size);
	asm_load32(as, REG_INDEX, rm_frame(FRAME(cpu.flags_system)));
	asm_op(as, 0, false, 0xc1, 5, rm_register(REG_INDEX)); /* shr: DF to the place of 2 * size */
	asm_byte(as, 10 - (log2 + 1));
	asm_group_immediate(as, false, 4, rm_register(REG_INDEX), (int32_t)(2 * size));
	asm_op(as, 0, true, 0xf7, 3, rm_register(REG_INDEX)); /* neg */
	struct host_rm moved = rm_indexed(home, REG_INDEX, 1, (int32_t)size);
	if (t->insn.address_width == 16) {
		asm_lea(as, REG_INDEX, moved, 4);
		asm_op(as, 0x66, false, 0x89, REG_INDEX, rm_register(home));
	} else {
		asm_lea(as, home, moved, t->insn.address_width / 8u);
	}
}

static void emit_load_element(struct translation *t, unsigned to, unsigned size)
{
	if (size == 1)
		asm_op(&t->as, 0, false, 0x0fb6, to, rm_memory(REG_ADDRESS, 0));
	else
		emit_load_sized(t, to, rm_memory(REG_ADDRESS, 0), size);
}

static void emit_store_element(struct translation *t, struct host_rm to, unsigned from, unsigned size)
{
	if (size == 1)
		asm_op(&t->as, 0, false, 0x88, from, to);
	else
		emit_store_sized(t, to, from, size);
}

/* The host's CMP with the element at R12. */
static void emit_compare(struct translation *t, unsigned with, unsigned size)
{
	asm_op(&t->as, size == 2 ? 0x66 : 0, size == 8, size == 1 ? 0x3a : 0x3b, with, rm_memory(REG_ADDRESS, 0));
	t->flags = FLAGS_HOST;
}

static void lower_lods(struct translation *t)
{
	struct access access = emit_element(t, CPU_RSI, 0);
	emit_load_element(t, REG_INDEX, access.size);
	if (access.size == 1)
		emit_store_element(t, rm_register(REG_GUEST_RAX), REG_INDEX, 1);
	else
		register_write_sized(t, CPU_RAX, REG_INDEX, access.size);
	emit_advance(t, CPU_RSI, access.size);
}

static void lower_stos(struct translation *t)
{
	struct access access = emit_element(t, CPU_RDI, 1);
	emit_store_element(t, rm_memory(REG_ADDRESS, 0), REG_GUEST_RAX, access.size);
	emit_commit(t, &access);
	emit_advance(t, CPU_RDI, access.size);
}

static void lower_movs(struct translation *t)
{
	struct access from = emit_element(t, CPU_RSI, 0);
	emit_load_element(t, REG_INDEX, from.size);
	emit_save_value(t, REG_INDEX);
	struct access to = emit_element(t, CPU_RDI, 1);
	emit_load_value(t, REG_INDEX);
	emit_store_element(t, rm_memory(REG_ADDRESS, 0), REG_INDEX, to.size);
	emit_commit(t, &to);
	emit_advance(t, CPU_RSI, to.size);
	emit_advance(t, CPU_RDI, to.size);
}

static void lower_scas(struct translation *t)
{
	struct access access = emit_element(t, CPU_RDI, 1);
	emit_advance(t, CPU_RDI, access.size);
	emit_compare(t, REG_GUEST_RAX, access.size);
}

static void lower_cmps(struct translation *t)
{
	struct access first = emit_element(t, CPU_RSI, 0);
	emit_load_element(t, REG_INDEX, first.size);
	emit_save_value(t, REG_INDEX);
	struct access second = emit_element(t, CPU_RDI, 1);
	emit_advance(t, CPU_RSI, second.size);
	emit_advance(t, CPU_RDI, second.size);
	emit_load_value(t, REG_INDEX);
	emit_compare(t, REG_INDEX, second.size);
}

static bool repeats(const struct translation *t)
{
	for (unsigned i = 0; i < t->insn.raw.prefix_count; i++) {
		unsigned prefix = t->insn.raw.prefixes[i].value;
		if (prefix == 0xf2 || prefix == 0xf3)
			return true;
	}
	return false;
}

void lower_string(struct translation *t, enum cpu_op op)
{
	if (repeats(t) || !engine_uses(t->engine, ENGINE_INLINE_STRINGS)) {
		lower_c(t, op);
		return;
	}
	switch (op) {
	case CPU_OP_lods:
		lower_lods(t);
		break;
	case CPU_OP_stos:
		lower_stos(t);
		break;
	case CPU_OP_movs:
		lower_movs(t);
		break;
	case CPU_OP_scas:
		lower_scas(t);
		break;
	case CPU_OP_cmps:
		lower_cmps(t);
		break;
	default:
		lower_c(t, op);
		break;
	}
}
