/* SPDX-License-Identifier: MIT */
#include "translate/asm.h"

#include "base/bits.h"

void asm_byte(struct assembler *as, unsigned value)
{
	if (as->next >= as->end) {
		as->full = true;
		return;
	}
	*as->next++ = (uint8_t)value;
}

void asm_word32(struct assembler *as, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		asm_byte(as, value >> (8 * i));
}

void asm_word64(struct assembler *as, uint64_t value)
{
	asm_word32(as, (uint32_t)value);
	asm_word32(as, (uint32_t)(value >> 32));
}

unsigned asm_rex_bits(unsigned reg, struct host_rm rm)
{
	unsigned bits = reg >= 8 && reg < 16 ? 4u : 0u;
	if (!rm.is_memory)
		return bits | (rm.reg >= 8 ? 1u : 0u);
	if (rm.memory.index != HOST_NONE && rm.memory.index >= 8)
		bits |= 2;
	if (rm.memory.base != HOST_NONE && rm.memory.base >= 8)
		bits |= 1;
	return bits;
}

static unsigned scale_bits(unsigned scale)
{
	return scale == 8 ? 3u : scale == 4 ? 2u : scale == 2 ? 1u : 0u;
}

static void memory_operand(struct assembler *as, unsigned reg, const struct host_memory *memory)
{
	unsigned field = (reg & 7) << 3;
	bool has_index = memory->index != HOST_NONE;
	if (memory->base == HOST_NONE) { /* absolute, or index only: SIB without base, disp32 */
		asm_byte(as, field | 4);
		asm_byte(as, scale_bits(memory->scale) << 6 | (has_index ? (memory->index & 7u) << 3 : 4u << 3) | 5);
		asm_word32(as, (uint32_t)memory->displacement);
		return;
	}
	/* Base RBP and R13 have no form without a displacement. */
	unsigned mod = memory->wide						     ? 2
		       : memory->displacement == 0 && (memory->base & 7) != 5	     ? 0
		       : memory->displacement >= -128 && memory->displacement <= 127 ? 1
										     : 2;
	if (has_index || (memory->base & 7) == 4) {
		asm_byte(as, mod << 6 | field | 4);
		asm_byte(as, scale_bits(memory->scale) << 6 | (has_index ? (memory->index & 7u) << 3 : 4u << 3) |
				 (memory->base & 7u));
	} else {
		asm_byte(as, mod << 6 | field | (memory->base & 7u));
	}
	if (mod == 1)
		asm_byte(as, (uint8_t)memory->displacement);
	if (mod == 2) {
		as->displacement = as->next;
		asm_word32(as, (uint32_t)memory->displacement);
	}
}

void asm_modrm(struct assembler *as, unsigned reg, struct host_rm rm)
{
	as->r12_used += reg == HOST_R12 || (!rm.is_memory && rm.reg == HOST_R12);
	if (rm.is_memory)
		memory_operand(as, reg, &rm.memory);
	else
		asm_byte(as, 0xc0 | (reg & 7) << 3 | (rm.reg & 7u));
}

static void opcode_bytes(struct assembler *as, unsigned opcode)
{
	if (opcode > 0xffff)
		asm_byte(as, opcode >> 16);
	if (opcode > 0xff)
		asm_byte(as, opcode >> 8 & 0xff);
	asm_byte(as, opcode & 0xff);
}

static void operation(struct assembler *as, unsigned prefix, unsigned rex, unsigned opcode, unsigned reg,
		      struct host_rm rm)
{
	if (prefix != 0)
		asm_byte(as, prefix);
	if (rex != 0)
		asm_byte(as, 0x40 | (rex & 0xf));
	opcode_bytes(as, opcode);
	asm_modrm(as, reg, rm);
}

void asm_op(struct assembler *as, unsigned prefix, bool w, unsigned opcode, unsigned reg, struct host_rm rm)
{
	operation(as, prefix, asm_rex_bits(reg, rm) | (w ? 8u : 0u), opcode, reg, rm);
}

void asm_mov(struct assembler *as, unsigned to, unsigned from)
{
	if (to != from)
		asm_op(as, 0, true, 0x8b, to, rm_register(from));
}

void asm_mov32(struct assembler *as, unsigned to, unsigned from)
{
	asm_op(as, 0, false, 0x8b, to, rm_register(from));
}

void asm_load(struct assembler *as, unsigned to, struct host_rm from)
{
	asm_op(as, 0, true, 0x8b, to, from);
}

void asm_load32(struct assembler *as, unsigned to, struct host_rm from)
{
	asm_op(as, 0, false, 0x8b, to, from);
}

void asm_store(struct assembler *as, struct host_rm to, unsigned from)
{
	asm_op(as, 0, true, 0x89, from, to);
}

void asm_store32(struct assembler *as, struct host_rm to, unsigned from)
{
	asm_op(as, 0, false, 0x89, from, to);
}

void asm_store_byte_immediate(struct assembler *as, struct host_rm to, unsigned value)
{
	asm_op(as, 0, false, 0xc6, 0, to);
	asm_byte(as, value);
}

void asm_store32_immediate(struct assembler *as, struct host_rm to, uint32_t value)
{
	asm_op(as, 0, false, 0xc7, 0, to);
	asm_word32(as, value);
}

void asm_mov_immediate(struct assembler *as, unsigned to, uint64_t value)
{
	as->r12_used += to == HOST_R12;
	if (value <= UINT32_MAX) {
		if (to >= 8)
			asm_byte(as, 0x41);
		asm_byte(as, 0xb8 | (to & 7));
		asm_word32(as, (uint32_t)value);
	} else if ((int64_t)value >= INT32_MIN && (int64_t)value < 0) {
		asm_op(as, 0, true, 0xc7, 0, rm_register(to));
		asm_word32(as, (uint32_t)value);
	} else {
		asm_byte(as, 0x48 | (to >= 8 ? 1u : 0u));
		asm_byte(as, 0xb8 | (to & 7));
		asm_word64(as, value);
	}
}

void asm_lea(struct assembler *as, unsigned to, struct host_rm from, unsigned bytes)
{
	asm_op(as, 0, bytes == 8, 0x8d, to, from);
}

void asm_group_immediate(struct assembler *as, bool w, unsigned group, struct host_rm rm, int32_t value)
{
	if (value >= -128 && value <= 127) {
		asm_op(as, 0, w, 0x83, group, rm);
		asm_byte(as, (uint8_t)value);
	} else {
		asm_op(as, 0, w, 0x81, group, rm);
		asm_word32(as, (uint32_t)value);
	}
}

static uint8_t *field32(struct assembler *as)
{
	uint8_t *field = as->next;
	asm_word32(as, 0);
	return field;
}

uint8_t *asm_jump32(struct assembler *as)
{
	asm_byte(as, 0xe9);
	return field32(as);
}

uint8_t *asm_jump_if32(struct assembler *as, unsigned condition)
{
	asm_byte(as, 0x0f);
	asm_byte(as, 0x80 | condition);
	return field32(as);
}

static void relative32(struct assembler *as, unsigned opcode, const uint8_t *run_address)
{
	asm_byte(as, opcode);
	ptrdiff_t distance = run_address - (asm_run_address(as) + 4);
	asm_word32(as, (uint32_t)(int32_t)distance);
}

void asm_align_field(struct assembler *as, unsigned opcode_bytes)
{
	while (!as->full && ((uintptr_t)(as->next + opcode_bytes) & 7) > 4)
		asm_byte(as, 0x90);
}

void asm_jump_to(struct assembler *as, const uint8_t *run_address)
{
	relative32(as, 0xe9, run_address);
}

void asm_call_to(struct assembler *as, const uint8_t *run_address)
{
	as->r12_used++;
	relative32(as, 0xe8, run_address);
}

uint8_t *asm_jrcxz(struct assembler *as)
{
	asm_byte(as, 0xe3);
	uint8_t *field = as->next;
	asm_byte(as, 0);
	return field;
}

uint8_t *asm_jump_if8(struct assembler *as, unsigned condition)
{
	asm_byte(as, 0x70 | condition);
	uint8_t *field = as->next;
	asm_byte(as, 0);
	return field;
}

void asm_jump_back_if8(struct assembler *as, unsigned condition, const uint8_t *to)
{
	asm_byte(as, 0x70 | condition);
	ptrdiff_t distance = to - (as->next + 1);
	bug_if(!as->full && distance < -128);
	asm_byte(as, (uint8_t)distance);
}

void asm_patch32_here(struct assembler *as, uint8_t *field)
{
	if (!as->full)
		store_le(field, (uint64_t)(as->next - (field + 4)), 4);
}

void asm_patch8_here(struct assembler *as, uint8_t *field)
{
	if (as->full)
		return;
	ptrdiff_t distance = as->next - (field + 1);
	bug_if(distance < 0 || distance > 127);
	*field = (uint8_t)distance;
}
