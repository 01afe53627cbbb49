/* SPDX-License-Identifier: MIT */
/* What a block does to count its instructions; see count.h. */
#include "translate/count.h"

#include <string.h>

#include "translate/translation.h"

#define CONDITION_LESS 12

/*
 *     save flags ; sub qword [budget], number ; jl stub ; restore flags
 * The flags are the guest's: a block begins and ends with them in EFLAGS.
 */
void emit_count(struct translation *t)
{
	struct assembler *as = &t->as;
	flags_to_rax(as);
	asm_op(as, 0, true, 0x81, 5, rm_frame(FRAME(budget)));
	t->count_field = as->next;
	asm_word32(as, 0);
	t->count_jump = asm_jump_if32(as, CONDITION_LESS);
	flags_from_rax(as);
}

/* The stub leaves `budget` below what it was: the dispatcher gives it back. */
void emit_count_stub(struct translation *t)
{
	struct assembler *as = &t->as;
	if (as->full)
		return;
	uint32_t number = t->insn_index;
	memcpy(t->count_field, &number, sizeof number);
	asm_patch32_here(as, t->count_jump);
	flags_from_rax(as);
	asm_mov_immediate(as, REG_INDEX, block_next_number(t->engine));
	asm_jump_to(as, t->engine->thunks.count);
}
