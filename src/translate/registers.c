/* SPDX-License-Identifier: MIT */
/*
 * PUSHA, POPA and PUSHF: many values in one access. Where it is not within one page, not within the limit, or wraps,
 * the instruction runs in C, which does it word by word.
 */
#include "translate/stack.h"

#define PUSHED_REGISTERS 8u

/* The order of PUSHA: register 0 lies highest. */
static struct host_rm register_at(unsigned number, unsigned bytes)
{
	return rm_memory(REG_ADDRESS, (int32_t)((PUSHED_REGISTERS - 1 - number) * bytes));
}

/* C does it from the beginning where a check fails, so each check must be one that leads there. */
static bool runs_inline(const struct translation *t)
{
	return !t->careful && engine_uses(t->engine, ENGINE_INLINE_PUSHA) &&
	       engine_uses(t->engine, ENGINE_INLINE_LIMITS);
}

void lower_pusha(struct translation *t)
{
	unsigned bytes = operand_bytes(t), total = PUSHED_REGISTERS * bytes;
	if (!runs_inline(t) || !else_begin(t, CPU_OP_pusha)) {
		lower_c(t, CPU_OP_pusha);
		return;
	}
	emit_stack_block(t, total, -(int32_t)total, true);
	for (unsigned i = 0; i < PUSHED_REGISTERS; i++)
		emit_store_sized(t, register_at(i, bytes), register_home(i), bytes);
	emit_adjust_stack(t, -(int32_t)total);
	else_end(t);
}

void lower_popa(struct translation *t)
{
	unsigned bytes = operand_bytes(t), total = PUSHED_REGISTERS * bytes;
	if (!runs_inline(t) || !else_begin(t, CPU_OP_popa)) {
		lower_c(t, CPU_OP_popa);
		return;
	}
	emit_stack_block(t, total, 0, false);
	for (unsigned i = 0; i < PUSHED_REGISTERS; i++) {
		if (i == CPU_RSP)
			continue;
		emit_load_sized(t, REG_INDEX, register_at(i, bytes), bytes);
		register_write_sized(t, i, REG_INDEX, bytes);
	}
	emit_adjust_stack(t, (int32_t)total);
	else_end(t);
}

/* RFLAGS as PUSHF shows them, in RCX. Uses R12. */
static void emit_flags_image(struct translation *t)
{
	struct assembler *as = &t->as;
	flags_save(t);
	asm_op(as, 0, false, 0x0fb6, REG_INDEX, rm_register(4)); /* movzx ecx, ah */
	asm_group_immediate(as, false, 4, rm_register(REG_INDEX), FLAGS_ARITHMETIC & 0xff);
	asm_op(as, 0, false, 0x0fb6, REG_ADDRESS, rm_register(REG_FLAGS)); /* movzx r12d, al */
	asm_op(as, 0, false, 0xc1, 4, rm_register(REG_ADDRESS));	   /* shl: OF */
	asm_byte(as, 11);
	asm_op(as, 0, false, 0x09, REG_ADDRESS, rm_register(REG_INDEX));
	asm_op(as, 0, false, 0x0fb6, REG_ADDRESS, rm_frame(FRAME(cpu.interrupt_enable)));
	asm_op(as, 0, false, 0xc1, 4, rm_register(REG_ADDRESS)); /* shl: IF */
	asm_byte(as, 9);
	asm_op(as, 0, false, 0x09, REG_ADDRESS, rm_register(REG_INDEX));
	asm_op(as, 0, false, 0x0b, REG_INDEX, rm_frame(FRAME(cpu.flags_system)));
	asm_group_immediate(as, false, 4, rm_register(REG_INDEX), (int32_t) ~(FLAG_RF | FLAG_VM));
	asm_group_immediate(as, false, 1, rm_register(REG_INDEX), FLAG_FIXED);
	flags_clobbered(t);
}

/* Virtual-8086 mode: IOPL decides. */
void lower_pushf(struct translation *t)
{
	if ((t->mode & MODE_VM86) != 0 || !engine_uses(t->engine, ENGINE_INLINE_PUSHA)) {
		lower_c(t, CPU_OP_pushf);
		return;
	}
	emit_flags_image(t);
	emit_save_value(t, REG_INDEX);
	emit_push_saved(t, operand_bytes(t));
}
