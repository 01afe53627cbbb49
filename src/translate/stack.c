/* SPDX-License-Identifier: MIT */
/* PUSH, POP, LEAVE, LEA and the stack accesses of CALL and RET. */
#include "translate/stack.h"

#define VALUE_SLOT rm_frame(FRAME(scratch) + 8)

unsigned operand_bytes(const struct translation *t)
{
	return t->insn.operand_width / 8u;
}

struct access stack_access(unsigned bytes, bool write, unsigned buffer)
{
	return (struct access){.segment = CPU_SS,
			       .size = (uint16_t)bytes,
			       .read = !write,
			       .write = write,
			       .stack = true,
			       .buffer = (uint8_t)buffer};
}

void emit_stack_address(struct translation *t, int32_t bias)
{
	if (t->stack_bytes == 8 && bias == 0) {
		asm_mov(&t->as, REG_ADDRESS, REG_GUEST_RSP);
		return;
	}
	asm_lea(&t->as, REG_ADDRESS, rm_memory(REG_GUEST_RSP, bias), t->stack_bytes == 8 ? 8 : 4);
	if (t->stack_bytes == 2)
		asm_op(&t->as, 0, false, 0x0fb7, REG_ADDRESS, rm_register(REG_ADDRESS));
}

void emit_adjust_stack(struct translation *t, int32_t bias)
{
	if (t->stack_bytes != 2) {
		asm_lea(&t->as, REG_GUEST_RSP, rm_memory(REG_GUEST_RSP, bias), t->stack_bytes);
		return;
	}
	asm_lea(&t->as, REG_INDEX, rm_memory(REG_GUEST_RSP, bias), 4);
	asm_op(&t->as, 0x66, false, 0x89, REG_INDEX, rm_register(REG_GUEST_RSP));
}

void emit_load_sized(struct translation *t, unsigned to, struct host_rm from, unsigned bytes)
{
	if (bytes == 2)
		asm_op(&t->as, 0, false, 0x0fb7, to, from);
	else
		asm_op(&t->as, 0, bytes == 8, 0x8b, to, from);
}

void emit_store_sized(struct translation *t, struct host_rm to, unsigned from, unsigned bytes)
{
	asm_op(&t->as, bytes == 2 ? 0x66 : 0, bytes == 8, 0x89, from, to);
}

void register_write_sized(struct translation *t, unsigned guest, unsigned host, unsigned bytes)
{
	if (bytes == 2) {
		unsigned home = register_home(guest);
		struct host_rm to = home == SPILLED ? register_slot(guest) : rm_register(home);
		asm_op(&t->as, 0x66, false, 0x89, host, to);
		return;
	}
	if (bytes == 4)
		asm_mov32(&t->as, host, host);
	register_write(t, guest, host);
}

/* The check of an access to guest RSP + bias: where it is then. */
static struct host_rm emit_stack_top(struct translation *t, const struct access *access, int32_t bias)
{
	struct host_rm place;
	if (emit_stack_shared(t, access, bias, &place))
		return place;
	emit_stack_address(t, bias);
	emit_access(t, access);
	return rm_memory(REG_ADDRESS, 0);
}

/* Stores a host register that the check leaves alone, or, with HOST_NONE, what lies in the scratch slot. */
static void emit_push_value(struct translation *t, unsigned value, unsigned guest, unsigned bytes)
{
	struct access access = stack_access(bytes, true, 1);
	struct host_rm top = emit_stack_top(t, &access, -(int32_t)bytes);
	if (value == HOST_NONE) {
		value = REG_INDEX;
		asm_load(&t->as, value, guest == CPU_NO_REGISTER ? VALUE_SLOT : register_slot(guest));
	}
	note_fault_point(t);
	emit_store_sized(t, top, value, bytes);
	note_place(t);
	emit_commit(t, &access);
}

void emit_stack_block(struct translation *t, unsigned bytes, int32_t bias, bool write)
{
	struct access access = stack_access(bytes, write, 0);
	emit_stack_address(t, bias);
	if (t->stack_bytes == 2) {
		flags_save(t);
		asm_group_immediate(&t->as, false, 7, rm_register(REG_ADDRESS), (int32_t)(0x10000 - bytes));
		emit_else(t, asm_jump_if32(&t->as, 7));
		flags_clobbered(t);
	}
	emit_access(t, &access);
}

static void emit_push_from(struct translation *t, unsigned value, unsigned guest, unsigned bytes)
{
	emit_push_value(t, value, guest, bytes);
	emit_adjust_stack(t, -(int32_t)bytes);
}

void emit_push_saved(struct translation *t, unsigned bytes)
{
	emit_push_from(t, HOST_NONE, CPU_NO_REGISTER, bytes);
}

void emit_push_store(struct translation *t, uint64_t value, unsigned bytes)
{
	bool fits = bytes < 8 || (int64_t)value == (int32_t)value;
	if (!fits) {
		asm_mov_immediate(&t->as, REG_INDEX, value);
		asm_store(&t->as, VALUE_SLOT, REG_INDEX);
		emit_push_value(t, HOST_NONE, CPU_NO_REGISTER, bytes);
		return;
	}
	struct access access = stack_access(bytes, true, 1);
	struct host_rm top = emit_stack_top(t, &access, -(int32_t)bytes);
	note_fault_point(t);
	asm_op(&t->as, bytes == 2 ? 0x66 : 0, bytes == 8, 0xc7, 0, top);
	note_place(t);
	if (bytes == 2) {
		asm_byte(&t->as, value & 0xff);
		asm_byte(&t->as, value >> 8 & 0xff);
	} else {
		asm_word32(&t->as, (uint32_t)value);
	}
	emit_commit(t, &access);
}

void emit_push_immediate(struct translation *t, uint64_t value, unsigned bytes)
{
	emit_push_store(t, value, bytes);
	emit_adjust_stack(t, -(int32_t)bytes);
}

void emit_pop_to(struct translation *t, unsigned host, unsigned bytes)
{
	struct access access = stack_access(bytes, false, 0);
	struct host_rm top = emit_stack_top(t, &access, 0);
	note_fault_point(t);
	emit_load_sized(t, host, top, bytes);
	note_place(t);
}

void emit_save_value(struct translation *t, unsigned host)
{
	asm_store(&t->as, VALUE_SLOT, host);
}

void emit_load_value(struct translation *t, unsigned host)
{
	asm_load(&t->as, host, VALUE_SLOT);
}

void emit_load_operand(struct translation *t, const ZydisDecodedOperand *operand, unsigned host)
{
	struct access access = access_of(operand);
	struct host_rm place = emit_operand_access(t, operand, &access);
	note_fault_point(t);
	emit_load_sized(t, host, place, access.size);
	note_place(t);
}

void lower_push(struct translation *t)
{
	const ZydisDecodedOperand *operand = &t->operand[0];
	unsigned bytes = operand_bytes(t);
	if (operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		emit_push_immediate(t, operand->imm.value.u, bytes);
	} else if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		emit_load_operand(t, operand, REG_INDEX);
		emit_save_value(t, REG_INDEX);
		emit_push_saved(t, bytes);
	} else {
		struct gpr_name name = gpr_of(operand->reg.value);
		if (!name.is_gpr) {
			lower_push_segment(t, (unsigned)(operand->reg.value - ZYDIS_REGISTER_ES));
			return;
		}
		unsigned home = register_home(name.number);
		emit_push_from(t, home == SPILLED ? HOST_NONE : home, name.number, bytes);
	}
}

static void pop_memory(struct translation *t, const ZydisDecodedOperand *operand, unsigned bytes)
{
	emit_pop_to(t, REG_INDEX, bytes);
	emit_save_value(t, REG_INDEX);
	struct access access = access_of(operand);
	access.buffer = 1;
	emit_effective_address(t, operand, (int32_t)bytes); /* RSP in the address is the value after the pop */
	emit_access(t, &access);
	emit_load_value(t, REG_INDEX);
	note_fault_point(t);
	emit_store_sized(t, rm_memory(REG_ADDRESS, 0), REG_INDEX, bytes);
	emit_commit(t, &access);
	emit_adjust_stack(t, (int32_t)bytes);
}

void lower_pop(struct translation *t)
{
	const ZydisDecodedOperand *operand = &t->operand[0];
	unsigned bytes = operand_bytes(t);
	if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		pop_memory(t, operand, bytes);
		return;
	}
	struct gpr_name name = gpr_of(operand->reg.value);
	if (!name.is_gpr) {
		lower_pop_segment(t, (unsigned)(operand->reg.value - ZYDIS_REGISTER_ES));
		return;
	}
	unsigned home = register_home(name.number);
	if (bytes == 8 && home != SPILLED && name.number != CPU_RSP) {
		emit_pop_to(t, home, bytes);
		emit_adjust_stack(t, (int32_t)bytes);
		return;
	}
	emit_pop_to(t, REG_INDEX, bytes);
	if (t->stack_bytes == 2) { /* the adjustment needs RCX */
		asm_mov(&t->as, REG_ADDRESS, REG_INDEX);
		emit_adjust_stack(t, (int32_t)bytes);
		register_write_sized(t, name.number, REG_ADDRESS, bytes);
		return;
	}
	emit_adjust_stack(t, (int32_t)bytes);
	register_write_sized(t, name.number, REG_INDEX, bytes);
}

void lower_leave(struct translation *t)
{
	unsigned bytes = operand_bytes(t);
	if (bytes != t->stack_bytes || bytes == 2) {
		lower_c(t, CPU_OP_leave);
		return;
	}
	struct access access = stack_access(bytes, false, 0);
	asm_lea(&t->as, REG_ADDRESS, rm_memory(HOST_RBP, 0), bytes);
	emit_access(t, &access);
	note_fault_point(t);
	emit_load_sized(t, REG_INDEX, rm_memory(REG_ADDRESS, 0), bytes);
	asm_lea(&t->as, REG_GUEST_RSP, rm_memory(HOST_RBP, (int32_t)bytes), bytes);
	asm_mov(&t->as, HOST_RBP, REG_INDEX);
}

/* LEA whose registers are all at home is one LEA. */
static bool lea_at_home(struct translation *t, const ZydisDecodedOperandMem *mem, unsigned to, unsigned bytes)
{
	if (mem->base == ZYDIS_REGISTER_RIP || mem->base == ZYDIS_REGISTER_EIP || t->insn.address_width == 16 ||
	    bytes == 2)
		return false;
	struct host_rm rm = {.is_memory = true, .memory = {.base = HOST_NONE, .index = HOST_NONE, .scale = 1}};
	if (mem->base != ZYDIS_REGISTER_NONE)
		rm.memory.base = (uint8_t)register_home(gpr_of(mem->base).number);
	if (mem->index != ZYDIS_REGISTER_NONE) {
		rm.memory.index = (uint8_t)register_home(gpr_of(mem->index).number);
		rm.memory.scale = mem->scale == 0 ? 1 : mem->scale;
		if (rm.memory.index == SPILLED)
			return false;
	}
	if (mem->base != ZYDIS_REGISTER_NONE && rm.memory.base == SPILLED)
		return false;
	int64_t displacement = mem->disp.has_displacement ? mem->disp.value : 0;
	rm.memory.displacement = (int32_t)displacement;
	asm_lea(&t->as, to, rm, bytes == 8 && t->insn.address_width == 64 ? 8 : 4);
	return true;
}

void lower_lea(struct translation *t)
{
	unsigned bytes = operand_bytes(t);
	unsigned guest = gpr_of(t->operand[0].reg.value).number;
	unsigned home = register_home(guest);
	if (home != SPILLED && lea_at_home(t, &t->operand[1].mem, home, bytes))
		return;
	emit_effective_address(t, &t->operand[1], 0);
	register_write_sized(t, guest, REG_ADDRESS, bytes);
}
