/* SPDX-License-Identifier: MIT */
/*
 * Far jumps, calls and returns of real and virtual-8086 mode, where CS is a selector and its base (SDM 2A, CALL, JMP,
 * RET). Protected mode's are in C (cpu/far.c).
 *
 * A direct one is linked like a near one: its target's mode differs from the source's by the base of CS alone, which
 * the link names. A return looks for the next block by C.
 */
#include "translate/stack.h"

static bool stays_here(const struct translation *t)
{
	return (t->mode & (MODE_REAL | MODE_VM86)) != 0 && (t->mode & (MODE_CAREFUL | MODE_STEP)) == 0 &&
	       !t->sets_shadow && !t->clear_shadow && engine_uses(t->engine, ENGINE_INLINE_FAR) &&
	       engine_uses(t->engine, ENGINE_INLINE_LIMITS); /* checks must be such as lead to else_begin's C */
}

static bool push_return(struct translation *t, unsigned bytes)
{
	if (!else_begin(t, CPU_OP_call_far))
		return false;
	emit_stack_block(t, 2 * bytes, -2 * (int32_t)bytes, true);
	emit_load_selector(t, CPU_CS, REG_INDEX);
	emit_store_sized(t, rm_memory(REG_ADDRESS, (int32_t)bytes), REG_INDEX, bytes);
	asm_mov_immediate(&t->as, REG_INDEX, t->next_rip);
	emit_store_sized(t, rm_memory(REG_ADDRESS, 0), REG_INDEX, bytes);
	emit_adjust_stack(t, -2 * (int32_t)bytes);
	else_end(t);
	return true;
}

static void lower_direct(struct translation *t, bool call)
{
	unsigned bytes = operand_bytes(t);
	const ZydisDecodedOperand *operand = &t->operand[0];
	uint64_t target = operand->ptr.offset & size_mask(bytes);
	uint16_t selector = operand->ptr.segment;
	if (call && !push_return(t, bytes))
		return;
	asm_mov_immediate(&t->as, REG_INDEX, selector);
	emit_write_segment(t, CPU_CS, REG_INDEX);
	emit_far_link(t, target, (uint32_t)selector << 4);
}

void lower_far_branch(struct translation *t, bool call)
{
	const ZydisDecodedOperand *operand = &t->operand[0];
	if (stays_here(t) && operand->type == ZYDIS_OPERAND_TYPE_POINTER && operand->ptr.offset <= t->cs_limit) {
		lower_direct(t, call);
		return;
	}
	lower_c(t, call ? CPU_OP_call_far : CPU_OP_jmp_far);
	t->ended = true;
}

/* CS and the stack are those of the target; its offset is in the frame. */
static enum cpu_next go_on_there(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	cpu->rip = vcpu_of(cpu)->branch_target;
	return CPU_EXIT;
}

void lower_far_return(struct translation *t)
{
	unsigned bytes = operand_bytes(t);
	unsigned extra = t->operand[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? (unsigned)t->operand[0].imm.value.u : 0;
	struct c_insn *after = NULL;
	if (stays_here(t))
		after = c_record(t, CPU_OP_ret_far);
	if (after == NULL || !else_begin(t, CPU_OP_ret_far)) {
		lower_c(t, CPU_OP_ret_far);
		t->ended = true;
		return;
	}
	after->function = go_on_there;
	emit_stack_block(t, 2 * bytes, 0, false);
	emit_load_sized(t, REG_INDEX, rm_memory(REG_ADDRESS, (int32_t)bytes), 2);
	emit_load_sized(t, REG_ADDRESS, rm_memory(REG_ADDRESS, 0), bytes);
	asm_group_immediate(&t->as, false, 7, rm_register(REG_ADDRESS), (int32_t)t->cs_limit);
	emit_else(t, asm_jump_if32(&t->as, 7));
	asm_store(&t->as, rm_frame(FRAME(branch_target)), REG_ADDRESS);
	emit_write_segment(t, CPU_CS, REG_INDEX);
	emit_adjust_stack(t, (int32_t)(2 * bytes + extra));
	else_end(t);
	emit_c_call(t, after);
	t->ended = true;
}
