/* SPDX-License-Identifier: MIT */
/*
 * Segment registers: reads in any mode, loads where they are no more than a selector and its base: in real and
 * virtual-8086 mode. There loads leave limits alone (SDM 3A, 21.1.1 and 21.2.1), and the mode with them: its flat bits
 * are clear. SS stays with C for the shadow it opens, and so does whatever runs with care.
 */
#include "cpu/segment.h"
#include "cpu/cpuid.h"
#include "translate/stack.h"

#define ACCESS_REAL (SEGMENT_P | SEGMENT_S | SEGMENT_WRITABLE | SEGMENT_ACCESSED)

static struct host_rm segment_field(unsigned name, size_t field)
{
	return rm_frame(FRAME(cpu.segment) + name * sizeof(struct cpu_segment) + field);
}

void emit_load_selector(struct translation *t, unsigned name, unsigned host)
{
	asm_op(&t->as, 0, false, 0x0fb7, host, segment_field(name, offsetof(struct cpu_segment, selector)));
}

static bool loads_inline(const struct translation *t, unsigned name)
{
	return (t->mode & (MODE_REAL | MODE_VM86)) != 0 && !t->careful &&
	       engine_uses(t->engine, ENGINE_INLINE_SEGMENTS) && name < CPU_SEGMENT_COUNT && name != CPU_CS &&
	       name != CPU_SS;
}

void emit_write_segment(struct translation *t, unsigned name, unsigned host)
{
	struct assembler *as = &t->as;
	asm_op(as, 0x66, false, 0x89, host, segment_field(name, offsetof(struct cpu_segment, selector)));
	asm_lea(as, host, rm_indexed(HOST_NONE, host, 8, 0), 4);
	asm_lea(as, host, rm_indexed(host, host, 1, 0), 4);
	asm_store(as, segment_field(name, offsetof(struct cpu_segment, base)), host);
	if ((t->mode & MODE_REAL) != 0) /* virtual-8086 mode has no other segments */
		asm_store_byte_immediate(as, segment_field(name, offsetof(struct cpu_segment, access)), ACCESS_REAL);
}

void lower_mov_to_segment(struct translation *t)
{
	unsigned name = t->insn.raw.modrm.reg;
	const ZydisDecodedOperand *from = &t->operand[1];
	if (!loads_inline(t, name)) {
		lower_c(t, CPU_OP_mov_to_segment);
		t->sets_shadow = name == CPU_SS;
		return;
	}
	if (from->type == ZYDIS_OPERAND_TYPE_MEMORY)
		emit_load_operand(t, from, REG_INDEX);
	else
		asm_op(&t->as, 0, false, 0x0fb7, REG_INDEX, rm_register(register_home(gpr_of(from->reg.value).number)));
	emit_write_segment(t, name, REG_INDEX);
}

void lower_mov_from_segment(struct translation *t)
{
	unsigned name = t->insn.raw.modrm.reg;
	const ZydisDecodedOperand *to = &t->operand[0];
	if (name >= CPU_SEGMENT_COUNT) {
		lower_c(t, CPU_OP_mov_from_segment);
		return;
	}
	if (to->type != ZYDIS_OPERAND_TYPE_MEMORY) {
		emit_load_selector(t, name, REG_INDEX);
		register_write_sized(t, gpr_of(to->reg.value).number, REG_INDEX, t->insn.operand_width / 8u);
		return;
	}
	struct access access = access_of(to);
	access.size = 2; /* whatever the operand size */
	emit_effective_address(t, to, 0);
	emit_access(t, &access);
	emit_load_selector(t, name, REG_INDEX);
	note_fault_point(t);
	asm_op(&t->as, 0x66, false, 0x89, REG_INDEX, rm_memory(REG_ADDRESS, 0));
	emit_commit(t, &access);
}

/* Intel's processors write 16 bits whatever the operand size (SDM 2B, PUSH); AMD's write zeroes above them. */
void lower_push_segment(struct translation *t, unsigned name)
{
	unsigned bytes = operand_bytes(t), written = bytes == 4 && cpu_model_is_intel(t->model) ? 2 : bytes;
	struct access access = stack_access(written, true, 1);
	emit_stack_address(t, -(int32_t)bytes);
	emit_access(t, &access);
	emit_load_selector(t, name, REG_INDEX);
	note_fault_point(t);
	emit_store_sized(t, rm_memory(REG_ADDRESS, 0), REG_INDEX, written);
	emit_commit(t, &access);
	emit_adjust_stack(t, -(int32_t)bytes);
}

void lower_pop_segment(struct translation *t, unsigned name)
{
	unsigned bytes = operand_bytes(t);
	if (!loads_inline(t, name)) {
		lower_c(t, CPU_OP_pop_segment);
		return;
	}
	emit_pop_to(t, REG_INDEX, 2);
	asm_op(&t->as, 0, false, 0x0fb7, REG_ADDRESS, rm_register(REG_INDEX));
	emit_adjust_stack(t, (int32_t)bytes); /* with a 16-bit stack it needs RCX */
	emit_write_segment(t, name, REG_ADDRESS);
}

/* LDS and its kin. */
void lower_load_far_pointer(struct translation *t, unsigned name)
{
	const ZydisDecodedOperand *from = &t->operand[1];
	unsigned bytes = operand_bytes(t);
	if (!loads_inline(t, name) || from->type != ZYDIS_OPERAND_TYPE_MEMORY) {
		lower_c(t, CPU_OP_load_far_pointer);
		return;
	}
	struct access access = access_of(from);
	access.size = (uint16_t)(bytes + 2);
	access.read = true;
	access.write = false;
	emit_effective_address(t, from, 0);
	emit_access(t, &access);
	note_fault_point(t);
	asm_op(&t->as, 0, false, 0x0fb7, REG_INDEX, rm_memory(REG_ADDRESS, (int32_t)bytes));
	emit_load_sized(t, REG_ADDRESS, rm_memory(REG_ADDRESS, 0), bytes);
	emit_write_segment(t, name, REG_INDEX);
	register_write_sized(t, gpr_of(t->operand[0].reg.value).number, REG_ADDRESS, bytes);
}
