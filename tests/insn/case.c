/* SPDX-License-Identifier: MIT */
#include "case.h"

#include <string.h>

#include "cpu/cpu.h"

#define CASE_DRAWS 400
#define CASE_SLACK 128 /* around stack pointers: nested frames, pushes of several words */

struct insn_setting case_setting(const struct case_maker *maker, enum insn_code code, enum variant variant,
				 unsigned number)
{
	struct insn_setting setting = {.code = code};
	bool chosen = variant == VARIANT_LIMIT || maker->segments == SEGMENTS_ALL || number % 3 == 0;
	if (code == CODE_16 || (code == CODE_32 && maker->segments != SEGMENTS_NONE && chosen))
		setting.segmented = true;
	setting.stack16 = setting.segmented && (number / 3 & 1) == (code == CODE_32);
	return setting;
}

bool case_variant_applies(const struct form *form, enum variant variant)
{
	if (variant == VARIANT_LIMIT && form->code == CODE_64)
		return false;
	if (!form->accesses_memory || form->class == FORM_UNDEFINED)
		return variant == VARIANT_REGISTER;
	if (variant == VARIANT_REGISTER)
		return false;
	bool repeats = false;
	for (unsigned i = 0; i < form->recipe_count; i++)
		repeats |= (form->recipe[i].prefixes & (RECIPE_F2 | RECIPE_F3)) != 0;
	/* One byte lies in one page, unless it is repeated. */
	return variant != VARIANT_CROSS || form->access_size != 1 || repeats;
}

uint8_t *case_poke_add(struct insn_case *insn_case, uint64_t linear, uint16_t size)
{
	if (insn_case->poke_count == CASE_POKES || insn_case->blob_used + size > CASE_BLOB)
		return NULL;
	struct case_poke *poke = &insn_case->poke[insn_case->poke_count++];
	*poke = (struct case_poke){.linear = linear, .size = size, .at = insn_case->blob_used};
	insn_case->blob_used = (uint16_t)(insn_case->blob_used + size);
	return insn_case->blob + poke->at;
}

/* ---- targets ---- */

struct target_wish {
	enum variant variant;
	uint32_t size;
	bool write;
	bool far;	   /* the far area can be reached */
	bool noncanonical; /* and so can addresses that are not canonical */
	bool low_only;	   /* 16-bit addressing */
};

static uint32_t random_alignment(struct random *random, uint32_t size)
{
	uint32_t power = 1;
	while (power < size && power < 64)
		power *= 2;
	return random_percent(random, 65) ? power : 1;
}

static uint64_t offset_inside(struct random *random, unsigned page, uint32_t size)
{
	uint32_t room = size < LAYOUT_PAGE ? LAYOUT_PAGE - size : 0;
	uint32_t alignment = random_alignment(random, size);
	return page * (uint64_t)LAYOUT_PAGE + align_down(random_below(random, room + 1), alignment);
}

static uint64_t offset_across(struct random *random, unsigned second_page, uint32_t size)
{
	uint32_t before = size < 2 ? 0 : 1 + random_below(random, (size < LAYOUT_PAGE ? size : LAYOUT_PAGE) - 1);
	return second_page * (uint64_t)LAYOUT_PAGE - before;
}

static uint64_t offset_ram(struct random *random, uint32_t size)
{
	static const uint8_t pages[] = {LAYOUT_RAM_FIRST, LAYOUT_RAM_FIRST + 1, 5, 9};
	return offset_inside(random, pages[random_below(random, sizeof pages)], size);
}

static uint64_t offset_mmio(struct random *random, uint32_t size)
{
	unsigned choice = random_below(random, 10);
	if (choice == 0)
		return offset_across(random, LAYOUT_MMIO + 1, size); /* MMIO, then RAM */
	if (choice == 1)
		return offset_across(random, LAYOUT_MMIO_PAIR, size); /* RAM, then MMIO */
	if (choice == 2)
		return offset_across(random, LAYOUT_MMIO_PAIR + 1, size);
	return offset_inside(random, choice < 8 ? LAYOUT_MMIO : LAYOUT_MMIO_PAIR, size);
}

static uint64_t offset_fault(struct random *random, uint32_t size, bool write)
{
	static const uint8_t absent[] = {0, 3, 7, 12};
	unsigned choice = random_below(random, write ? 8 : 4);
	switch (choice) {
	case 0:
	case 1:
		return offset_inside(random, absent[random_below(random, sizeof absent)], size);
	case 2:
		return offset_across(random, LAYOUT_NONE_AFTER_RAM, size);
	case 3:
		return offset_across(random, LAYOUT_READ_ONLY, size); /* absent, then read-only */
	case 4:
	case 5:
		return offset_inside(random, LAYOUT_READ_ONLY, size);
	case 6:
		return offset_across(random, LAYOUT_READ_ONLY_AFTER_RAM, size);
	default:
		return offset_across(random, LAYOUT_READ_ONLY + 1, size); /* read-only, then writable */
	}
}

static uint64_t offset_in_area(struct random *random, const struct target_wish *wish)
{
	switch (wish->variant) {
	case VARIANT_CROSS:
		return offset_across(random, LAYOUT_RAM_FIRST + 1, wish->size);
	case VARIANT_MMIO:
		return offset_mmio(random, wish->size);
	case VARIANT_FAULT:
		return offset_fault(random, wish->size, wish->write);
	default:
		return offset_ram(random, wish->size);
	}
}

static uint64_t target_choose(struct random *random, const struct target_wish *wish, bool mode64)
{
	if (wish->variant == VARIANT_FAULT && wish->noncanonical && random_percent(random, 10))
		return (random_next(random) & UINT64_C(0x0000ffffffffffff)) | UINT64_C(0x8001) << 47;
	enum layout_area area = random_percent(random, 60) ? AREA_LOW : AREA_STACK;
	if (wish->far && random_percent(random, 35))
		area = AREA_FAR;
	if (wish->low_only)
		area = AREA_LOW;
	return layout_area_base(area, mode64) + offset_in_area(random, wish);
}

/* In a segment: somewhere in what it reaches. */
static uint64_t target_in_segment(struct random *random, const struct target_wish *wish,
				  const struct segment_entry *entry)
{
	static const enum layout_area areas[] = {
	    [REACH_LOW] = AREA_LOW, [REACH_STACK] = AREA_STACK, [REACH_FAR] = AREA_FAR};
	if (entry == NULL || entry->reach == REACH_ALL)
		return target_choose(random, wish, false);
	if (entry->reach != REACH_CODE)
		return layout_area_base(areas[entry->reach], false) + offset_in_area(random, wish);
	if (wish->variant == VARIANT_CROSS)
		return LAYOUT_CODE + offset_across(random, 1, wish->size);
	return LAYOUT_CODE + offset_inside(random, random_below(random, LAYOUT_CODE_PAGES), wish->size);
}

/* At an edge of a segment: just inside, across and just outside; and where 16-bit offsets wrap. */
static uint64_t target_at_limit(struct random *random, const struct target_wish *wish,
				const struct segment_entry *entry)
{
	if (entry == NULL)
		return random_below(random, 0x20000);
	uint64_t first, last;
	segment_range(entry, &first, &last);
	/* Whether 4 GiB is an edge is up to the processor: SDM 3A, 5.3. */
	bool open_end = last == UINT32_MAX, open_start = open_end && first == 0;
	if (random_percent(random, 20) || (open_start && !wish->low_only))
		return target_in_segment(random, wish, entry);
	unsigned choice = random_below(random, 4);
	uint64_t edge = choice == 0 && !open_start ? first : choice == 1 || open_end ? 0x10000 : last + 1;
	uint64_t offset = edge - wish->size - 2 + random_below(random, 2 * wish->size + 4);
	return (uint32_t)(entry->base + (wish->low_only ? offset & 0xffff : offset));
}

/* ---- operands ---- */

static bool is_stack(const ZydisDecodedOperand *operand)
{
	return operand->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && register_number(operand->mem.base) == CPU_RSP;
}

static uint32_t operand_bytes(const struct insn_case *insn_case, const ZydisDecodedOperand *operand)
{
	const ZydisDecodedInstruction *insn = &insn_case->decoded.insn;
	bool xsave = insn->meta.isa_set == ZYDIS_ISA_SET_XSAVE || insn->meta.isa_set == ZYDIS_ISA_SET_XSAVEC ||
		     insn->meta.category == ZYDIS_CATEGORY_XSAVEOPT;
	return xsave ? STATE_XSAVE_SIZE : operand->size / 8; /* the decoder leaves out the extended part */
}

static struct target_wish wish_for(const struct insn_case *insn_case, const ZydisDecodedOperand *operand,
				   enum variant variant)
{
	bool wide = insn_case->mode64 && ZydisRegisterGetClass(operand->mem.base) == ZYDIS_REGCLASS_GPR64;
	uint32_t size = operand_bytes(insn_case, operand);
	if (is_string(&insn_case->decoded.insn))
		size = (uint32_t)(size * string_count(insn_case));
	return (struct target_wish){.variant = variant,
				    .size = size == 0 ? 1 : size,
				    .write = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0,
				    .far = wide || (!insn_case->mode64 && operand->mem.base != ZYDIS_REGISTER_NONE),
				    .noncanonical = wide,
				    .low_only = insn_case->decoded.insn.address_width == 16 && !is_stack(operand)};
}

static void access_add(struct insn_case *insn_case, const ZydisDecodedOperand *operand, uint64_t linear, uint32_t size)
{
	if (insn_case->access_count == CASE_ACCESSES)
		return;
	insn_case->access[insn_case->access_count++] = (struct case_access){
	    .linear = linear,
	    .size = size,
	    .read = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0,
	    .write = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0,
	};
}

/* The stack pointer from which a push reaches `target` going down, or a pop going up. */
static void place_stack(struct case_maker *maker, struct insn_case *insn_case, const ZydisDecodedOperand *operand,
			uint64_t target)
{
	bool push = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
	uint64_t *rsp = &insn_case->initial.gpr[CPU_RSP];
	uint64_t pointer = target + (push ? operand->size / 8 : 0);
	const struct segment_entry *entry = operand_segment(insn_case, operand);
	if (entry != NULL)
		pointer -= entry->base;
	if (insn_case->setting.stack16)
		*rsp = (*rsp & 0xffff0000) | (pointer & 0xffff);
	else
		*rsp = insn_case->mode64 ? pointer : (uint32_t)pointer;
	maker->settled |= 1u << CPU_RSP;
}

/* Gathers: element indices that stay near the base. */
static void place_vector_index(struct case_maker *maker, struct insn_case *insn_case,
			       const ZydisDecodedOperand *operand)
{
	ZydisMnemonic mnemonic = insn_case->decoded.insn.mnemonic;
	bool quad = mnemonic == ZYDIS_MNEMONIC_VGATHERQPS || mnemonic == ZYDIS_MNEMONIC_VGATHERQPD ||
		    mnemonic == ZYDIS_MNEMONIC_VPGATHERQD || mnemonic == ZYDIS_MNEMONIC_VPGATHERQQ;
	unsigned number = (unsigned)ZydisRegisterGetId(operand->mem.index), width = quad ? 8 : 4;
	for (unsigned at = 0; at < 32; at += width) {
		uint64_t element = random_below(&maker->random, 12);
		if (random_percent(&maker->random, 3))
			element += LAYOUT_PAGE / operand->mem.scale;
		uint8_t *lane = at < 16 ? insn_case->initial.xsave + 160 + 16 * number + at
					: insn_case->initial.xsave + STATE_XSAVE_AVX + 16 * number + at - 16;
		memcpy(lane, &element, width);
	}
}

static bool place_operand(struct case_maker *maker, struct insn_case *insn_case, unsigned index, enum variant variant)
{
	const ZydisDecodedOperand *operand = &insn_case->decoded.operand[index];
	struct target_wish wish = wish_for(insn_case, operand, variant);
	uint64_t target;
	if (!insn_case->setting.segmented)
		target = target_choose(&maker->random, &wish, insn_case->mode64);
	else if (variant == VARIANT_LIMIT)
		target = target_at_limit(&maker->random, &wish, operand_segment(insn_case, operand));
	else
		target = target_in_segment(&maker->random, &wish, operand_segment(insn_case, operand));
	access_add(insn_case, operand, target, wish.size);
	if (is_stack(operand)) {
		place_stack(maker, insn_case, operand, target);
		return true;
	}
	if (operand->mem.type == ZYDIS_MEMOP_TYPE_VSIB)
		place_vector_index(maker, insn_case, operand);
	if (is_string(&insn_case->decoded.insn) && (insn_case->initial.rflags & FLAG_DF))
		target += wish.size - operand->size / 8;
	return operand_solve(maker, insn_case, operand, target);
}

/* One operand gets the variant, the others lie in plain memory; now and then all get it. Stack operands come first,
 * since explicit ones may use the stack pointer as base. */
static bool place_operands(struct case_maker *maker, struct insn_case *insn_case)
{
	unsigned found[CASE_ACCESSES], count = 0;
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < insn_case->decoded.insn.operand_count && count < CASE_ACCESSES; i++) {
			const ZydisDecodedOperand *operand = &insn_case->decoded.operand[i];
			if (operand_accesses_memory(operand) && is_stack(operand) == (pass == 0))
				found[count++] = i;
		}
	}
	if (count == 0)
		return true;
	bool all = random_percent(&maker->random, 15);
	unsigned chosen = random_percent(&maker->random, 60) ? count - 1 : random_below(&maker->random, count);
	for (unsigned i = 0; i < count; i++) {
		enum variant variant =
		    all || i == chosen || insn_case->variant == VARIANT_MISS ? insn_case->variant : VARIANT_HIT;
		if (!place_operand(maker, insn_case, found[i], variant))
			return false;
	}
	return true;
}

/* ---- verification ---- */

static bool lies_in_area(const struct insn_case *insn_case, uint64_t linear, uint64_t size)
{
	uint64_t first = layout_offset(linear, insn_case->mode64);
	uint64_t last = layout_offset(linear + size - 1, insn_case->mode64);
	return first != UINT64_MAX && last != UINT64_MAX && last - first == size - 1;
}

static bool is_noncanonical(const struct insn_case *insn_case, uint64_t linear)
{
	return insn_case->mode64 && sign_extend(linear, 48) != linear;
}

static bool verify_gather(const struct insn_case *insn_case, uint64_t base)
{
	/* Indices are non-negative and at most a page away: place_vector_index. */
	return lies_in_area(insn_case, base, 2 * LAYOUT_PAGE) || is_noncanonical(insn_case, base);
}

static bool verify_flat(const struct insn_case *insn_case, const ZydisDecodedOperand *operand)
{
	uint64_t linear = operand_linear(insn_case, operand);
	uint64_t size = operand->size / 8 > 0 ? operand->size / 8 : 1;
	if (operand->mem.type == ZYDIS_MEMOP_TYPE_VSIB)
		return verify_gather(insn_case, linear);
	if (is_noncanonical(insn_case, linear))
		return true;
	if (is_string(&insn_case->decoded.insn)) {
		uint64_t extent = size * string_count(insn_case);
		if (extent == 0)
			return true;
		uint64_t low = insn_case->initial.rflags & FLAG_DF ? linear + size - extent : linear;
		/* String operands that 16-bit addressing cannot bring to the areas lie in the unmapped first 64 KiB. */
		return lies_in_area(insn_case, low, extent) ||
		       (insn_case->variant == VARIANT_FAULT && low + extent < 0x10000);
	}
	if (is_stack(operand))
		return lies_in_area(insn_case, linear - CASE_SLACK, 2 * CASE_SLACK + size) ||
		       layout_offset(linear, insn_case->mode64) != UINT64_MAX;
	return lies_in_area(insn_case, linear, size);
}

/* In segments of more than 64 KiB, processors wrap the parts of some operands but not bytes within a part: the manuals
 * do not say which. */
static bool has_parts(const struct insn_case *insn_case, uint64_t size)
{
	const ZydisDecodedInstruction *insn = &insn_case->decoded.insn;
	return insn->mnemonic == ZYDIS_MNEMONIC_BOUND || size > 32 || insn->meta.category == ZYDIS_CATEGORY_SEGOP ||
	       insn->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR ||
	       (insn->meta.category == ZYDIS_CATEGORY_X87_ALU && size > 8);
}

/* What the limits forbid happens nowhere; it belongs to the variant of that name. */
static bool verify_segmented(const struct insn_case *insn_case, const ZydisDecodedOperand *operand)
{
	const struct segment_entry *entry = operand_segment(insn_case, operand);
	uint64_t offset = operand_offset(insn_case, operand), linear = operand_linear(insn_case, operand);
	uint64_t size = operand_bytes(insn_case, operand) > 0 ? operand_bytes(insn_case, operand) : 1;
	bool write = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
	if (is_stack(operand) && write) {
		offset = (offset - size) & (insn_case->setting.stack16 ? 0xffff : 0xffffffff);
		linear -= size;
	}
	if (is_string(&insn_case->decoded.insn)) {
		uint64_t extent = size * string_count(insn_case);
		uint64_t back = insn_case->initial.rflags & FLAG_DF && extent != 0 ? extent - size : 0;
		offset -= back;
		linear -= back;
		size = extent == 0 ? 1 : extent;
	}
	if (operand->mem.type == ZYDIS_MEMOP_TYPE_VSIB)
		size = 2 * LAYOUT_PAGE;
	if (!segment_permits(entry, offset, size, write))
		return insn_case->variant == VARIANT_LIMIT;
	if (insn_case->decoded.insn.address_width == 16 && offset + size > 0x10000 && has_parts(insn_case, size))
		return false;
	if (entry->reach == REACH_CODE)
		return !write;
	return is_stack(operand) ? layout_offset((uint32_t)linear, false) != UINT64_MAX
				 : lies_in_area(insn_case, (uint32_t)linear, size);
}

static bool verify_operand(const struct insn_case *insn_case, const ZydisDecodedOperand *operand)
{
	return insn_case->setting.segmented ? verify_segmented(insn_case, operand) : verify_flat(insn_case, operand);
}

static bool verify(const struct insn_case *insn_case)
{
	for (unsigned i = 0; i < insn_case->decoded.insn.operand_count; i++) {
		const ZydisDecodedOperand *operand = &insn_case->decoded.operand[i];
		if (operand_accesses_memory(operand) && !verify_operand(insn_case, operand))
			return false;
	}
	return true;
}

/* ---- the whole ---- */

/* The last byte of the code segment as a linear address. */
static uint64_t code_last(const struct insn_case *insn_case)
{
	const struct segment_entry *entry = segment_find(insn_case->initial.selector[CPU_CS]);
	uint64_t first, last;
	segment_range(entry, &first, &last);
	return entry->base + last;
}

static void place_code(struct case_maker *maker, struct insn_case *insn_case, bool edges)
{
	struct random *random = &maker->random;
	uint32_t length = insn_case->length;
	uint64_t offset = 256 + random_below(random, LAYOUT_CODE_SIZE - 512);
	if (length > 1 && edges && random_percent(random, 5))
		offset = LAYOUT_PAGE - 1 - random_below(random, length - 1);
	bool may_fault = insn_case->variant == VARIANT_REGISTER || insn_case->variant == VARIANT_FAULT;
	if (length > 1 && edges && may_fault && random_percent(random, 2))
		offset = LAYOUT_CODE_SIZE - 1 - random_below(random, length - 1);
	if (insn_case->setting.segmented) {
		uint64_t last = code_last(insn_case) - LAYOUT_CODE;
		if (last < LAYOUT_CODE_SIZE && edges &&
		    random_percent(random, 4)) /* across the limit, or just within */
			offset = last - random_below(random, length);
		else if (last < LAYOUT_CODE_SIZE && offset + INSN_MAX_BYTES > last)
			offset = 256 + random_below(random, LAYOUT_PAGE);
	}
	insn_case->initial.rip = LAYOUT_CODE + offset - case_code_base(insn_case);
}

static void fill_operands(struct case_maker *maker, struct insn_case *insn_case)
{
	for (unsigned i = 0; i < insn_case->access_count; i++) {
		const struct case_access *access = &insn_case->access[i];
		if (!access->read)
			continue;
		uint16_t size = access->size < 128 ? (uint16_t)access->size : 128;
		uint8_t *to = case_poke_add(insn_case, access->linear, size);
		if (to == NULL)
			continue;
		if (size == 10 && random_percent(&maker->random, 70))
			value_x87(&maker->random, to);
		else
			value_vector(&maker->random, to, size);
	}
}

static void case_clear(struct case_maker *maker, struct insn_case *insn_case, struct insn_setting setting,
		       enum variant variant)
{
	insn_case->setting = setting;
	insn_case->mode64 = setting.code == CODE_64;
	insn_case->variant = variant;
	insn_case->raw = false;
	insn_case->access_count = insn_case->poke_count = 0;
	insn_case->blob_used = 0;
	maker->settled = setting.stack16 ? 1u << CPU_RSP : 0; /* its upper half is not free */
	insn_case->paging = insn_case->mode64 ? PAGING_4_LEVEL : PAGING_COMPATIBILITY;
}

enum case_build case_build(struct case_maker *maker, const struct form *form, enum variant variant,
			   struct insn_setting setting, struct insn_case *insn_case)
{
	for (unsigned draw = 0; draw < CASE_DRAWS; draw++) {
		case_clear(maker, insn_case, setting, variant);
		if (!form_draw(form, setting, maker->decoder, maker->model, &maker->random, insn_case->bytes,
			       &insn_case->decoded))
			continue;
		insn_case->length = insn_case->decoded.insn.length;
		value_state(&maker->random, setting, &insn_case->initial);
		place_code(maker, insn_case, form->class != FORM_UNDEFINED);
		if (form->class == FORM_UNDEFINED)
			return CASE_BUILT;
		fixup_before(maker, insn_case);
		if (!place_operands(maker, insn_case))
			continue;
		fill_operands(maker, insn_case);
		if (fixup_after(maker, insn_case) && verify(insn_case))
			return CASE_BUILT;
	}
	return CASE_FAILED;
}

void case_build_raw(struct case_maker *maker, struct insn_setting setting, const uint8_t bytes[INSN_MAX_BYTES],
		    struct insn_case *insn_case)
{
	case_clear(maker, insn_case, setting, VARIANT_REGISTER);
	insn_case->raw = true;
	memcpy(insn_case->bytes, bytes, INSN_MAX_BYTES);
	insn_case->length = INSN_MAX_BYTES;
	value_state(&maker->random, setting, &insn_case->initial);
	place_code(maker, insn_case, false);
	for (unsigned i = 0; i < 16; i++)
		insn_case->initial.gpr[i] = i == CPU_RSP && setting.stack16
						? insn_case->initial.gpr[i]
						: layout_area_base(AREA_LOW, insn_case->mode64) + LAYOUT_PAGE + 2048 +
						      random_below(&maker->random, 1024);
}
