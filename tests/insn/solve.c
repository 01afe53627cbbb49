/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "case.h"
#include "cpu/cpu.h"

int register_number(ZydisRegister reg)
{
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return ZydisRegisterGetId(reg);
	case ZYDIS_REGCLASS_GPR8: {
		/* The decoder numbers AL CL DL BL, AH CH DH BH, SPL BPL SIL DIL, R8B and so on. */
		int id = ZydisRegisterGetId(reg);
		return id < 4 ? id : id - 4;
	}
	default:
		return -1;
	}
}

static unsigned address_bits(const struct insn_case *insn_case, const ZydisDecodedOperand *operand)
{
	ZydisRegister reg = operand->mem.base != ZYDIS_REGISTER_NONE ? operand->mem.base : operand->mem.index;
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR16:
		return 16;
	case ZYDIS_REGCLASS_GPR32:
		return 32;
	case ZYDIS_REGCLASS_GPR64:
		return 64;
	default:
		return insn_case->decoded.insn.address_width;
	}
}

static uint64_t bits_mask(unsigned bits)
{
	return bits >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << bits) - 1;
}

static enum cpu_segment_name segment_name(ZydisRegister segment)
{
	return segment < ZYDIS_REGISTER_ES || segment > ZYDIS_REGISTER_GS
		   ? CPU_DS
		   : (enum cpu_segment_name)(segment - ZYDIS_REGISTER_ES);
}

const struct segment_entry *operand_segment(const struct insn_case *insn_case, const ZydisDecodedOperand *operand)
{
	return insn_case->mode64 ? NULL : segment_find(insn_case->initial.selector[segment_name(operand->mem.segment)]);
}

uint64_t case_code_base(const struct insn_case *insn_case)
{
	return insn_case->mode64 ? 0 : segment_find(insn_case->initial.selector[CPU_CS])->base;
}

static uint64_t segment_base(const struct insn_case *insn_case, const ZydisDecodedOperand *operand)
{
	if (!insn_case->mode64) {
		const struct segment_entry *entry = operand_segment(insn_case, operand);
		return entry == NULL ? 0 : entry->base;
	}
	if (operand->mem.segment == ZYDIS_REGISTER_FS)
		return insn_case->initial.fs_base;
	if (operand->mem.segment == ZYDIS_REGISTER_GS)
		return insn_case->initial.gs_base;
	return 0;
}

static uint64_t linear_mask(const struct insn_case *insn_case)
{
	return insn_case->mode64 ? ~UINT64_C(0) : UINT64_C(0xffffffff);
}

static bool is_bit_test(const struct insn_case *insn_case)
{
	ZydisMnemonic mnemonic = insn_case->decoded.insn.mnemonic;
	return (mnemonic == ZYDIS_MNEMONIC_BT || mnemonic == ZYDIS_MNEMONIC_BTS || mnemonic == ZYDIS_MNEMONIC_BTR ||
		mnemonic == ZYDIS_MNEMONIC_BTC) &&
	       insn_case->decoded.operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
	       insn_case->decoded.operand[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
}

int64_t bit_displacement(const struct insn_case *insn_case)
{
	if (!is_bit_test(insn_case))
		return 0;
	const ZydisDecodedOperand *bit = &insn_case->decoded.operand[1];
	unsigned bits = bit->size;
	uint64_t value = insn_case->initial.gpr[register_number(bit->reg.value)];
	int64_t offset = (int64_t)sign_extend(value, bits);
	return (offset >> (bits == 16 ? 4 : bits == 32 ? 5 : 6)) * (bits / 8);
}

static uint64_t offset_without(const struct insn_case *insn_case, const ZydisDecodedOperand *operand, bool with_base,
			       bool with_index)
{
	const ZydisDecodedOperandMem *mem = &operand->mem;
	uint64_t offset = mem->disp.has_displacement ? (uint64_t)mem->disp.value : 0;
	if (mem->base == ZYDIS_REGISTER_RIP || mem->base == ZYDIS_REGISTER_EIP)
		offset += insn_case->initial.rip + insn_case->length;
	else if (mem->base != ZYDIS_REGISTER_NONE && with_base)
		offset += insn_case->initial.gpr[register_number(mem->base)];
	if (mem->index == ZYDIS_REGISTER_AL) /* XLAT */
		offset += insn_case->initial.gpr[CPU_RAX] & 0xff;
	else if (mem->index != ZYDIS_REGISTER_NONE && with_index && register_number(mem->index) >= 0)
		offset += insn_case->initial.gpr[register_number(mem->index)] * mem->scale;
	if (operand->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
		offset += (uint64_t)bit_displacement(insn_case);
	return offset;
}

uint64_t operand_offset(const struct insn_case *insn_case, const ZydisDecodedOperand *operand)
{
	return offset_without(insn_case, operand, true, true) & bits_mask(address_bits(insn_case, operand));
}

uint64_t operand_linear(const struct insn_case *insn_case, const ZydisDecodedOperand *operand)
{
	return (segment_base(insn_case, operand) + operand_offset(insn_case, operand)) & linear_mask(insn_case);
}

/* ---- solving ---- */

struct unknown {
	struct case_maker *maker;
	struct insn_case *insn_case;
	const ZydisDecodedOperand *operand;
	int base, index; /* register numbers or -1 */
	unsigned bits;
	uint64_t want; /* the offset */
};

static bool is_settled(const struct unknown *unknown, int number)
{
	return number < 0 || (unknown->maker->settled & (1u << number)) != 0;
}

/* Sets the low bits of a register that count; the others are garbage on purpose where the address size leaves them out.
 */
static void settle(struct unknown *unknown, int number, uint64_t value)
{
	uint64_t mask = bits_mask(unknown->bits);
	uint64_t *gpr = &unknown->insn_case->initial.gpr[number];
	*gpr = (*gpr & ~mask) | (value & mask);
	if (!unknown->insn_case->mode64)
		*gpr = (uint32_t)*gpr;
	unknown->maker->settled |= (uint16_t)(1u << number);
}

/* Rewrites the displacement bytes. False where it does not fit. */
static bool set_displacement(struct unknown *unknown, uint64_t value)
{
	const ZydisDecodedInstruction *insn = &unknown->insn_case->decoded.insn;
	unsigned size = insn->raw.disp.size;
	if (size == 0 || insn->raw.disp.offset == 0)
		return value == 0;
	if (((sign_extend(value, size) ^ value) & bits_mask(unknown->bits)) != 0)
		return false;
	memcpy(unknown->insn_case->bytes + insn->raw.disp.offset, &value, size / 8);
	return insn_decode(unknown->maker->decoder, unknown->insn_case->setting, unknown->insn_case->bytes,
			   INSN_MAX_BYTES, &unknown->insn_case->decoded);
}

static uint64_t displacement(const struct unknown *unknown)
{
	const ZydisDecodedOperandMem *mem = &unknown->operand->mem;
	return mem->disp.has_displacement ? (uint64_t)mem->disp.value : 0;
}

/* No free register is left: the displacement must do it, or it happens to be right. */
static bool solve_displacement(struct unknown *unknown)
{
	uint64_t rest =
	    unknown->want - (offset_without(unknown->insn_case, unknown->operand, true, true) - displacement(unknown));
	uint64_t value = rest & bits_mask(unknown->bits);
	if (unknown->bits == 32)
		value = sign_extend(value, 32);
	return set_displacement(unknown, value);
}

static bool solve_same_register(struct unknown *unknown)
{
	unsigned times = 1u + unknown->operand->mem.scale;
	uint64_t rest = unknown->want - offset_without(unknown->insn_case, unknown->operand, false, false);
	if (rest % times != 0) {
		uint64_t nudged = displacement(unknown) + rest % times;
		if (!set_displacement(unknown, nudged))
			return false;
		rest -= rest % times;
	}
	settle(unknown, unknown->base, rest / times);
	return true;
}

static bool solve_index(struct unknown *unknown)
{
	unsigned scale = unknown->operand->mem.scale;
	uint64_t rest = unknown->want - offset_without(unknown->insn_case, unknown->operand, true, false);
	if (rest % scale != 0) {
		if (!set_displacement(unknown, displacement(unknown) + rest % scale))
			return false;
		rest -= rest % scale;
	}
	settle(unknown, unknown->index, rest / scale);
	return true;
}

static void choose_index(struct unknown *unknown)
{
	struct random *random = &unknown->maker->random;
	uint64_t value = random_percent(random, 50) ? random_below(random, 64) : random_next(random);
	settle(unknown, unknown->index, value);
}

bool operand_solve(struct case_maker *maker, struct insn_case *insn_case, const ZydisDecodedOperand *operand,
		   uint64_t linear)
{
	const ZydisDecodedOperandMem *mem = &operand->mem;
	struct unknown unknown = {.maker = maker,
				  .insn_case = insn_case,
				  .operand = operand,
				  .base = mem->base == ZYDIS_REGISTER_NONE ? -1 : register_number(mem->base),
				  .index = mem->index == ZYDIS_REGISTER_NONE || mem->index == ZYDIS_REGISTER_AL
					       ? -1
					       : register_number(mem->index),
				  .bits = address_bits(insn_case, operand)};
	unknown.want = (linear - segment_base(insn_case, operand)) & linear_mask(insn_case);
	if ((unknown.want & ~bits_mask(unknown.bits)) != 0)
		return false;
	if (unknown.base >= 0 && unknown.base == unknown.index && !is_settled(&unknown, unknown.base))
		return solve_same_register(&unknown);
	if (!is_settled(&unknown, unknown.base)) {
		if (!is_settled(&unknown, unknown.index))
			choose_index(&unknown);
		settle(&unknown, unknown.base, unknown.want - offset_without(insn_case, operand, false, true));
		return true;
	}
	if (!is_settled(&unknown, unknown.index))
		return solve_index(&unknown);
	return solve_displacement(&unknown);
}
