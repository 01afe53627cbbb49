/* SPDX-License-Identifier: MIT */
/* What single mnemonics need so that a random case says something and can be run on the real CPU. */
#include <string.h>

#include "case.h"
#include "cpu/cpu.h"

bool is_string(const ZydisDecodedInstruction *insn)
{
	return insn->meta.category == ZYDIS_CATEGORY_STRINGOP || insn->meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
}

static bool is_repeated(const ZydisDecodedInstruction *insn)
{
	return (insn->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
}

static uint64_t address_mask(const struct insn_case *insn_case)
{
	unsigned width = insn_case->decoded.insn.address_width;
	return width == 64 ? ~UINT64_C(0) : (UINT64_C(1) << width) - 1;
}

uint64_t string_count(const struct insn_case *insn_case)
{
	if (!is_repeated(&insn_case->decoded.insn))
		return 1;
	return insn_case->initial.gpr[CPU_RCX] & address_mask(insn_case);
}

/* Sets the part of RCX that counts; the rest stays random on purpose. */
static void set_count(struct insn_case *insn_case, uint64_t count)
{
	uint64_t mask = address_mask(insn_case);
	uint64_t *rcx = &insn_case->initial.gpr[CPU_RCX];
	*rcx = (*rcx & ~mask) | (count & mask);
}

static void set_register(struct case_maker *maker, struct insn_case *insn_case, unsigned number, uint64_t value)
{
	if (!(maker->settled & (1u << number)))
		insn_case->initial.gpr[number] = insn_case->mode64 ? value : (uint32_t)value;
}

/* The explicit memory access: the last one placed. NULL: none. */
static const struct case_access *main_access(const struct insn_case *insn_case)
{
	return insn_case->access_count == 0 ? NULL : &insn_case->access[insn_case->access_count - 1];
}

/* ---- before addresses are chosen ---- */

static void before_string(struct case_maker *maker, struct insn_case *insn_case)
{
	if (random_percent(&maker->random, 40))
		insn_case->initial.rflags ^= FLAG_DF;
	if (!is_repeated(&insn_case->decoded.insn))
		return;
	set_count(insn_case, random_percent(&maker->random, 8) ? 0 : 1 + random_below(&maker->random, 40));
	maker->settled |= 1u << CPU_RCX;
}

static void before_loop(struct case_maker *maker, struct insn_case *insn_case)
{
	set_count(insn_case, random_below(&maker->random, 3));
}

/* Small enough to stay near the operand, for the most part. */
static void before_bit_test(struct case_maker *maker, struct insn_case *insn_case)
{
	const ZydisDecodedOperand *bit = &insn_case->decoded.operand[1];
	if (bit->type != ZYDIS_OPERAND_TYPE_REGISTER || insn_case->decoded.operand[0].type != ZYDIS_OPERAND_TYPE_MEMORY)
		return;
	int number = register_number(bit->reg.value);
	if (maker->settled & (1u << number))
		return;
	int64_t offset = (int64_t)random_below(&maker->random, 64);
	if (random_percent(&maker->random, 50))
		offset = (int64_t)random_below(&maker->random, 1u << 16) - (1 << 15);
	else if (random_percent(&maker->random, 30))
		offset = (int64_t)random_next(&maker->random) >> 8;
	insn_case->initial.gpr[number] = insn_case->mode64 ? (uint64_t)offset : (uint32_t)offset;
	maker->settled |= (uint16_t)(1u << number);
}

static void before_frame(struct case_maker *maker, struct insn_case *insn_case)
{
	/* ENTER copies frame pointers from below RBP. */
	uint64_t frame =
	    layout_area_base(AREA_STACK, insn_case->mode64) + LAYOUT_PAGE + 1024 + random_below(&maker->random, 2048);
	const struct segment_entry *stack = segment_find(insn_case->initial.selector[CPU_SS]);
	if (!insn_case->mode64)
		frame = (uint32_t)(frame - stack->base);
	insn_case->initial.gpr[CPU_RBP] = insn_case->setting.stack16 ? frame | 0xabcd0000 : frame;
	maker->settled |= 1u << CPU_RBP;
	const ZydisDecodedInstruction *insn = &insn_case->decoded.insn;
	uint16_t size = (uint16_t)(random_percent(&maker->random, 90) ? random_below(&maker->random, 256)
								      : random_next(&maker->random));
	uint8_t level = (uint8_t)(random_percent(&maker->random, 50) ? 0 : random_next(&maker->random));
	memcpy(insn_case->bytes + insn->raw.imm[0].offset, &size, 2);
	insn_case->bytes[insn->raw.imm[1].offset] = level;
}

static void before_xsave(struct case_maker *maker, struct insn_case *insn_case)
{
	/* Components beyond AVX are the host's, not the guest's. */
	insn_case->initial.gpr[CPU_RAX] = random_percent(&maker->random, 60) ? 7 : random_next(&maker->random) & 7;
	insn_case->initial.gpr[CPU_RDX] = 0;
	maker->settled |= 1u << CPU_RAX | 1u << CPU_RDX;
}

static const struct {
	ZydisMnemonic mnemonic;
	void (*apply)(struct case_maker *maker, struct insn_case *insn_case);
} before_rows[] = {
    {ZYDIS_MNEMONIC_LOOP, before_loop},	       {ZYDIS_MNEMONIC_LOOPE, before_loop},
    {ZYDIS_MNEMONIC_LOOPNE, before_loop},      {ZYDIS_MNEMONIC_JCXZ, before_loop},
    {ZYDIS_MNEMONIC_JECXZ, before_loop},       {ZYDIS_MNEMONIC_JRCXZ, before_loop},
    {ZYDIS_MNEMONIC_BT, before_bit_test},      {ZYDIS_MNEMONIC_BTS, before_bit_test},
    {ZYDIS_MNEMONIC_BTR, before_bit_test},     {ZYDIS_MNEMONIC_BTC, before_bit_test},
    {ZYDIS_MNEMONIC_ENTER, before_frame},      {ZYDIS_MNEMONIC_XSAVE, before_xsave},
    {ZYDIS_MNEMONIC_XSAVE64, before_xsave},    {ZYDIS_MNEMONIC_XSAVEC, before_xsave},
    {ZYDIS_MNEMONIC_XSAVEC64, before_xsave},   {ZYDIS_MNEMONIC_XSAVEOPT, before_xsave},
    {ZYDIS_MNEMONIC_XSAVEOPT64, before_xsave}, {ZYDIS_MNEMONIC_XRSTOR, before_xsave},
    {ZYDIS_MNEMONIC_XRSTOR64, before_xsave},
};

void fixup_before(struct case_maker *maker, struct insn_case *insn_case)
{
	if (is_string(&insn_case->decoded.insn))
		before_string(maker, insn_case);
	for (size_t i = 0; i < sizeof before_rows / sizeof before_rows[0]; i++) {
		if (before_rows[i].mnemonic == insn_case->decoded.insn.mnemonic)
			before_rows[i].apply(maker, insn_case);
	}
}

/* ---- after addresses are chosen ---- */

static bool is_inside_instruction(const struct insn_case *insn_case, uint64_t rip)
{
	return rip - insn_case->initial.rip < insn_case->length;
}

/* Somewhere a branch can be observed: INT3, a page that is not executable, or an address that is not canonical. */
static uint64_t choose_landing(struct case_maker *maker, const struct insn_case *insn_case, bool indirect)
{
	unsigned choice = random_below(&maker->random, 20);
	if (indirect && insn_case->mode64 && choice == 0)
		return random_next(&maker->random) | UINT64_C(1) << 62;
	uint64_t base = case_code_base(insn_case), landing;
	if (choice < 5) {
		landing = layout_area_base(choice < 3 || !indirect ? AREA_LOW : AREA_FAR, insn_case->mode64) +
			  random_below(&maker->random, LAYOUT_AREA_SIZE);
		return insn_case->mode64 ? landing : (uint32_t)(landing - base);
	}
	do
		landing = LAYOUT_CODE + random_below(&maker->random, LAYOUT_CODE_SIZE) - base;
	while (is_inside_instruction(insn_case, landing));
	return landing;
}

static bool after_relative_branch(struct case_maker *maker, struct insn_case *insn_case)
{
	const ZydisDecodedInstruction *insn = &insn_case->decoded.insn;
	unsigned size = insn->raw.imm[0].size;
	uint64_t next = insn_case->initial.rip + insn_case->length;
	if (size == 8) {
		int8_t distance;
		do
			distance = (int8_t)random_next(&maker->random);
		while (is_inside_instruction(insn_case, next + (uint64_t)(int64_t)distance));
		insn_case->bytes[insn->raw.imm[0].offset] = (uint8_t)distance;
		return true;
	}
	uint64_t distance = choose_landing(maker, insn_case, false) - next;
	memcpy(insn_case->bytes + insn->raw.imm[0].offset, &distance, size / 8);
	return true;
}

static bool after_indirect_branch(struct case_maker *maker, struct insn_case *insn_case)
{
	uint64_t landing = choose_landing(maker, insn_case, true);
	const ZydisDecodedOperand *operand = &insn_case->decoded.operand[0];
	if (operand->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT && operand->type == ZYDIS_OPERAND_TYPE_REGISTER) {
		int number = register_number(operand->reg.value);
		set_register(maker, insn_case, (unsigned)number, landing);
		return !is_inside_instruction(insn_case, insn_case->initial.gpr[number]);
	}
	const struct case_access *access = main_access(insn_case);
	if (access == NULL)
		return true;
	uint8_t *to = case_poke_add(insn_case, access->linear, (uint16_t)access->size);
	if (to == NULL)
		return false;
	memcpy(to, &landing, access->size < 8 ? access->size : 8);
	return true;
}

static bool after_branch(struct case_maker *maker, struct insn_case *insn_case)
{
	const ZydisDecodedInstruction *insn = &insn_case->decoded.insn;
	if (insn->raw.imm[0].size != 0 && insn->raw.imm[0].is_relative)
		return after_relative_branch(maker, insn_case);
	return after_indirect_branch(maker, insn_case);
}

/* A high half that lets most quotients fit. */
static bool after_divide(struct case_maker *maker, struct insn_case *insn_case)
{
	if (random_percent(&maker->random, 30))
		return true;
	uint64_t sign = random_percent(&maker->random, 50) ? 0 : ~UINT64_C(0);
	if (insn_case->decoded.insn.operand_width == 8)
		set_register(maker, insn_case, CPU_RAX, (insn_case->initial.gpr[CPU_RAX] & 0x7f) | (sign & 0xff80));
	else
		set_register(maker, insn_case, CPU_RDX,
			     sign & random_below(&maker->random, 3) ? sign : random_below(&maker->random, 4));
	return true;
}

/* Every second comparison succeeds. */
static bool after_cmpxchg(struct case_maker *maker, struct insn_case *insn_case)
{
	const ZydisDecodedOperand *target = &insn_case->decoded.operand[0];
	if (random_percent(&maker->random, 50))
		return true;
	if (target->type == ZYDIS_OPERAND_TYPE_REGISTER) {
		int number = register_number(target->reg.value);
		set_register(maker, insn_case, (unsigned)number, insn_case->initial.gpr[CPU_RAX]);
		return true;
	}
	const struct case_access *access = main_access(insn_case);
	uint8_t *to = case_poke_add(insn_case, access->linear, (uint16_t)access->size);
	if (to != NULL)
		memcpy(to, &insn_case->initial.gpr[CPU_RAX], access->size);
	return true;
}

static bool after_cmpxchg_wide(struct case_maker *maker, struct insn_case *insn_case)
{
	const struct case_access *access = main_access(insn_case);
	if (random_percent(&maker->random, 50))
		return true;
	uint8_t *to = case_poke_add(insn_case, access->linear, (uint16_t)access->size);
	if (to != NULL) {
		memcpy(to, &insn_case->initial.gpr[CPU_RAX], access->size / 2);
		memcpy(to + access->size / 2, &insn_case->initial.gpr[CPU_RDX], access->size / 2);
	}
	return true;
}

/* TF must stay clear: the trap would come after the instruction that follows. */
static bool after_popf(struct case_maker *maker, struct insn_case *insn_case)
{
	const struct case_access *access = main_access(insn_case);
	uint8_t *to = case_poke_add(insn_case, access->linear, (uint16_t)access->size);
	if (to == NULL)
		return false;
	random_bytes(&maker->random, to, access->size);
	to[1] &= 0xfe;
	return true;
}

static bool after_restore_image(struct case_maker *maker, struct insn_case *insn_case)
{
	ZydisMnemonic mnemonic = insn_case->decoded.insn.mnemonic;
	bool fxrstor = mnemonic == ZYDIS_MNEMONIC_FXRSTOR || mnemonic == ZYDIS_MNEMONIC_FXRSTOR64;
	const struct case_access *access = main_access(insn_case);
	uint8_t *to = case_poke_add(insn_case, access->linear, fxrstor ? 512 : STATE_XSAVE_SIZE);
	if (to == NULL)
		return false;
	uint8_t image[STATE_XSAVE_SIZE];
	value_xsave_image(&maker->random, image, !fxrstor && cpu_model_has(maker->model, CPU_FEATURE_XSAVEC));
	memcpy(to, image, fxrstor ? 512 : STATE_XSAVE_SIZE);
	return true;
}

/* XSAVE leaves header bits it does not own: they must be a valid header already. */
static bool after_save_image(struct case_maker *maker, struct insn_case *insn_case)
{
	(void)maker;
	const struct case_access *access = main_access(insn_case);
	uint8_t *to = case_poke_add(insn_case, access->linear + STATE_XSAVE_HEADER, 64);
	if (to == NULL)
		return false;
	memset(to, 0, 64);
	to[0] = (uint8_t)random_below(&maker->random, 8);
	return true;
}

static bool after_ldmxcsr(struct case_maker *maker, struct insn_case *insn_case)
{
	const struct case_access *access = main_access(insn_case);
	uint8_t *to = case_poke_add(insn_case, access->linear, 4);
	if (to == NULL)
		return false;
	uint32_t value = (uint32_t)random_next(&maker->random);
	if (random_percent(&maker->random, 85))
		value &= 0xffff;
	memcpy(to, &value, 4);
	return true;
}

static bool after_bound(struct case_maker *maker, struct insn_case *insn_case)
{
	const struct case_access *access = main_access(insn_case);
	if (random_percent(&maker->random, 40))
		return true;
	unsigned width = access->size / 2;
	uint64_t value = insn_case->initial.gpr[register_number(insn_case->decoded.operand[0].reg.value)];
	uint64_t low = value - random_below(&maker->random, 3), high = value + random_below(&maker->random, 3);
	uint8_t *to = case_poke_add(insn_case, access->linear, (uint16_t)access->size);
	if (to != NULL) {
		memcpy(to, &low, width);
		memcpy(to + width, &high, width);
	}
	return true;
}

/* Comparing strings go on for a while: both hold one repeated element. */
static bool after_compare_string(struct case_maker *maker, struct insn_case *insn_case)
{
	if (random_percent(&maker->random, 40))
		return true;
	uint64_t element = insn_case->initial.gpr[CPU_RAX];
	unsigned width = insn_case->decoded.insn.operand_width / 8;
	for (unsigned i = 0; i < insn_case->access_count && width <= 8 && width > 0; i++) {
		const struct case_access *access = &insn_case->access[i];
		uint16_t size = (uint16_t)(access->size < 256 ? access->size : 256);
		uint8_t *to = case_poke_add(insn_case, access->linear, size);
		for (unsigned at = 0; to != NULL && at + width <= size; at += width)
			memcpy(to + at, &element, width);
		if (to != NULL && random_percent(&maker->random, 50))
			to[random_below(&maker->random, size)] ^= 1;
	}
	return true;
}

/* ---- selectors ---- */

static bool in_data(const struct insn_case *insn_case, const struct case_access *access)
{
	return layout_offset(access->linear, insn_case->mode64) != UINT64_MAX ||
	       (insn_case->variant == VARIANT_LIMIT && access->linear - LAYOUT_CODE >= LAYOUT_CODE_SIZE);
}

/* Only selectors of the LDT mean the same to the guest. `at`: where in the memory operand. */
static bool place_selector(struct case_maker *maker, struct insn_case *insn_case, const ZydisDecodedOperand *operand,
			   unsigned at)
{
	uint16_t selector = segment_any(&maker->random);
	if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER) {
		int number = register_number(operand->reg.value);
		if (maker->settled & (1u << number))
			return false;
		insn_case->initial.gpr[number] = (insn_case->initial.gpr[number] & ~UINT64_C(0xffff)) | selector;
		return true;
	}
	const struct case_access *access = main_access(insn_case);
	uint8_t *to = case_poke_add(insn_case, access->linear + at, 2);
	if (to != NULL)
		memcpy(to, &selector, 2);
	return to != NULL && in_data(insn_case, access);
}

static bool after_selector(struct case_maker *maker, struct insn_case *insn_case)
{
	const ZydisDecodedOperand *operands = insn_case->decoded.operand;
	bool queries = insn_case->decoded.insn.operand_count_visible == 1; /* VERR, VERW */
	return place_selector(maker, insn_case, &operands[queries ? 0 : 1], 0);
}

static bool loads_segment(const struct insn_case *insn_case)
{
	const ZydisDecodedOperand *to = &insn_case->decoded.operand[0];
	return !insn_case->mode64 && to->type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       ZydisRegisterGetClass(to->reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

static bool after_mov(struct case_maker *maker, struct insn_case *insn_case)
{
	return !loads_segment(insn_case) || after_selector(maker, insn_case);
}

static bool after_pop(struct case_maker *maker, struct insn_case *insn_case)
{
	static const ZydisDecodedOperand memory = {.type = ZYDIS_OPERAND_TYPE_MEMORY};
	return !loads_segment(insn_case) || place_selector(maker, insn_case, &memory, 0);
}

static bool after_far_pointer(struct case_maker *maker, struct insn_case *insn_case)
{
	return place_selector(maker, insn_case, &insn_case->decoded.operand[1],
			      insn_case->decoded.insn.operand_width / 8);
}

/* Where a far branch goes: mostly INT3 in a code segment. */
struct far_target {
	uint16_t selector;
	uint32_t offset;
};

static struct far_target choose_far(struct case_maker *maker, const struct insn_case *insn_case)
{
	struct random *random = &maker->random;
	bool any = random_percent(random, 15);
	struct far_target target = {.selector = any ? segment_any(random) : segment_any_code(random)};
	const struct segment_entry *entry = segment_find(target.selector);
	uint64_t linear, start = case_code_base(insn_case) + insn_case->initial.rip;
	do
		linear = LAYOUT_CODE + random_below(random, LAYOUT_CODE_SIZE);
	while (linear - start < insn_case->length);
	target.offset = (uint32_t)(linear - (entry == NULL ? 0 : entry->base));
	return target;
}

/* Pointers in the instruction, in memory, and on the stack: there CS has a whole word, and IRET's flags follow. */
static bool after_far(struct case_maker *maker, struct insn_case *insn_case)
{
	const ZydisDecodedInstruction *insn = &insn_case->decoded.insn;
	struct far_target target = choose_far(maker, insn_case);
	unsigned bytes = insn->operand_width / 8;
	if (insn_case->decoded.operand[0].type == ZYDIS_OPERAND_TYPE_POINTER) {
		memcpy(insn_case->bytes + insn->length - 2, &target.selector, 2);
		memcpy(insn_case->bytes + insn->length - 2 - bytes, &target.offset, bytes);
		return true;
	}
	const struct case_access *access = main_access(insn_case);
	uint8_t *to = case_poke_add(insn_case, access->linear, (uint16_t)(3 * bytes));
	if (to == NULL)
		return false;
	random_bytes(&maker->random, to, 3 * bytes);
	to[2 * bytes + 1] &= 0xbe; /* neither TF nor NT */
	memcpy(to, &target.offset, bytes);
	memcpy(to + bytes, &target.selector, 2);
	return in_data(insn_case, access);
}

static const struct {
	ZydisMnemonic mnemonic;
	bool (*apply)(struct case_maker *maker, struct insn_case *insn_case);
} after_rows[] = {
    {ZYDIS_MNEMONIC_DIV, after_divide},
    {ZYDIS_MNEMONIC_IDIV, after_divide},
    {ZYDIS_MNEMONIC_CMPXCHG, after_cmpxchg},
    {ZYDIS_MNEMONIC_CMPXCHG8B, after_cmpxchg_wide},
    {ZYDIS_MNEMONIC_CMPXCHG16B, after_cmpxchg_wide},
    {ZYDIS_MNEMONIC_POPF, after_popf},
    {ZYDIS_MNEMONIC_POPFD, after_popf},
    {ZYDIS_MNEMONIC_POPFQ, after_popf},
    {ZYDIS_MNEMONIC_FXRSTOR, after_restore_image},
    {ZYDIS_MNEMONIC_FXRSTOR64, after_restore_image},
    {ZYDIS_MNEMONIC_XRSTOR, after_restore_image},
    {ZYDIS_MNEMONIC_XRSTOR64, after_restore_image},
    {ZYDIS_MNEMONIC_XSAVE, after_save_image},
    {ZYDIS_MNEMONIC_XSAVE64, after_save_image},
    {ZYDIS_MNEMONIC_XSAVEOPT, after_save_image},
    {ZYDIS_MNEMONIC_XSAVEOPT64, after_save_image},
    {ZYDIS_MNEMONIC_LDMXCSR, after_ldmxcsr},
    {ZYDIS_MNEMONIC_VLDMXCSR, after_ldmxcsr},
    {ZYDIS_MNEMONIC_BOUND, after_bound},
    {ZYDIS_MNEMONIC_MOV, after_mov},
    {ZYDIS_MNEMONIC_POP, after_pop},
    {ZYDIS_MNEMONIC_LDS, after_far_pointer},
    {ZYDIS_MNEMONIC_LES, after_far_pointer},
    {ZYDIS_MNEMONIC_LFS, after_far_pointer},
    {ZYDIS_MNEMONIC_LGS, after_far_pointer},
    {ZYDIS_MNEMONIC_LSS, after_far_pointer},
    {ZYDIS_MNEMONIC_LAR, after_selector},
    {ZYDIS_MNEMONIC_LSL, after_selector},
    {ZYDIS_MNEMONIC_VERR, after_selector},
    {ZYDIS_MNEMONIC_VERW, after_selector},
};

static bool is_branch(const ZydisDecodedInstruction *insn)
{
	return insn->meta.category == ZYDIS_CATEGORY_CALL || insn->meta.category == ZYDIS_CATEGORY_RET ||
	       insn->meta.category == ZYDIS_CATEGORY_COND_BR || insn->meta.category == ZYDIS_CATEGORY_UNCOND_BR;
}

bool fixup_after(struct case_maker *maker, struct insn_case *insn_case)
{
	const ZydisDecodedInstruction *insn = &insn_case->decoded.insn;
	bool far = insn->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || insn->mnemonic == ZYDIS_MNEMONIC_IRET ||
		   insn->mnemonic == ZYDIS_MNEMONIC_IRETD;
	if (far ? !after_far(maker, insn_case) : is_branch(insn) && !after_branch(maker, insn_case))
		return false;
	if (insn->meta.category == ZYDIS_CATEGORY_STRINGOP && !after_compare_string(maker, insn_case))
		return false;
	for (size_t i = 0; i < sizeof after_rows / sizeof after_rows[0]; i++) {
		if (after_rows[i].mnemonic == insn->mnemonic && !after_rows[i].apply(maker, insn_case))
			return false;
	}
	/* Immediates may have been rewritten. */
	return insn_decode(maker->decoder, insn_case->setting, insn_case->bytes, INSN_MAX_BYTES, &insn_case->decoded);
}
