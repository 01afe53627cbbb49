/* SPDX-License-Identifier: MIT */
/*
 * BT, BTS, BTR and BTC of memory with the offset in a register, which reaches any bit of 2^31 bytes and more around the
 * operand (SDM 2A, 3.1.1.9). Here the offset is split: the part that names an element goes into the address, which is
 * then checked like any other; the rest, below the element's size, is what the re-emitted instruction gets. So that one
 * stays within the element.
 */
#include "translate/stack.h"

static bool stays_here(const struct translation *t)
{
	unsigned bytes = operand_bytes(t);
	return engine_uses(t->engine, ENGINE_INLINE_BITS) && !t->careful && (bytes == 4 || bytes == 8) &&
	       t->code_bytes != 2 && t->insn.address_width == t->code_bytes * 8;
}

/* RCX = the bit offset. */
static void emit_offset(struct translation *t, unsigned guest, unsigned bytes)
{
	unsigned home = register_home(guest);
	struct host_rm from = home == SPILLED ? register_slot(guest) : rm_register(home);
	if (bytes == 8)
		asm_op(&t->as, 0, true, 0x8b, REG_INDEX, from);
	else
		asm_op(&t->as, 0, true, 0x63, REG_INDEX, from); /* movsxd */
}

void lower_bit_string(struct translation *t)
{
	struct assembler *as = &t->as;
	unsigned bytes = operand_bytes(t), guest = gpr_of(t->operand[1].reg.value).number;
	struct access access = access_of(&t->operand[0]);
	if (!stays_here(t)) {
		lower_c(t, CPU_OP_bit_memory);
		return;
	}
	access.size = (uint16_t)bytes;
	flags_save(t);
	emit_effective_address(t, &t->operand[0], 0);
	emit_offset(t, guest, bytes);
	asm_op(as, 0, true, 0xc1, 7, rm_register(REG_INDEX)); /* sar */
	asm_byte(as, bytes == 8 ? 6 : 5);
	asm_lea(as, REG_ADDRESS, rm_indexed(REG_ADDRESS, REG_INDEX, bytes, 0), t->code_bytes);
	flags_clobbered(t);
	emit_access(t, &access);
	emit_offset(t, guest, 4);
	asm_group_immediate(as, false, 4, rm_register(REG_INDEX), (int32_t)(bytes * 8 - 1));
	flags_restore(t); /* BT leaves some of them alone */
	note_fault_point(t);
	if ((t->insn.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0)
		asm_byte(as, 0xf0);
	asm_op(as, 0, bytes == 8, 0x0f00u | t->insn.opcode, REG_INDEX, rm_memory(REG_ADDRESS, 0));
	t->flags = FLAGS_HOST;
}
