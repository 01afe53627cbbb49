/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encode.h"
#include "form.h"

const char *const variant_names[VARIANT_COUNT] = {"register", "hit", "miss", "cross", "mmio", "fault", "limit"};
const char *const insn_code_names[CODE_COUNT] = {"64-bit", "32-bit", "16-bit"};
const uint8_t insn_code_bits[CODE_COUNT] = {64, 32, 16};

void insn_decoder_init(struct insn_decoder *decoder)
{
	static const ZydisMachineMode machines[CODE_COUNT] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_MACHINE_MODE_LEGACY_32,
							      ZYDIS_MACHINE_MODE_LEGACY_16};
	for (unsigned code = 0; code < CODE_COUNT; code++) {
		for (unsigned stack16 = 0; stack16 < 2; stack16++) {
			ZydisDecoder *zydis = &decoder->by_stack[code][stack16];
			ZydisDecoderInit(zydis, machines[code],
					 code == CODE_64 ? ZYDIS_STACK_WIDTH_64
					 : stack16	 ? ZYDIS_STACK_WIDTH_16
							 : ZYDIS_STACK_WIDTH_32);
			/* MPX and CLDEMOTE are not promised: to processors without them they are NOP, in every form. */
			ZydisDecoderEnableMode(zydis, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
			ZydisDecoderEnableMode(zydis, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
			ZydisDecoderEnableMode(zydis, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
		}
	}
}

/* Zydis 4.0.0 takes SIB base 5 with mod 0, REX.B and address size 32 for R13D. There is no base but a displacement
 * (SDM 2A, table 2-3). */
static void decode_amend(struct insn_decoded *decoded)
{
	const ZydisDecodedInstruction *insn = &decoded->insn;
	if (!(insn->attributes & ZYDIS_ATTRIB_HAS_SIB) || insn->raw.modrm.mod != 0 || insn->raw.sib.base != 5)
		return;
	for (unsigned i = 0; i < insn->operand_count; i++) {
		ZydisDecodedOperand *operand = &decoded->operand[i];
		if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY || operand->mem.base != ZYDIS_REGISTER_R13D)
			continue;
		operand->mem.base = ZYDIS_REGISTER_NONE;
		operand->mem.disp.has_displacement = ZYAN_TRUE;
		operand->mem.disp.value = insn->raw.disp.value;
	}
}

bool insn_decode(const struct insn_decoder *decoder, struct insn_setting setting, const uint8_t *bytes, size_t length,
		 struct insn_decoded *decoded)
{
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder->by_stack[setting.code][setting.stack16], bytes, length,
						 &decoded->insn, decoded->operand)))
		return false;
	decode_amend(decoded);
	return true;
}

bool operand_accesses_memory(const ZydisDecodedOperand *operand)
{
	return operand->type == ZYDIS_OPERAND_TYPE_MEMORY &&
	       (operand->mem.type == ZYDIS_MEMOP_TYPE_MEM || operand->mem.type == ZYDIS_MEMOP_TYPE_VSIB) &&
	       operand->actions != 0;
}

/* ---- keys ---- */

static uint64_t key_add(uint64_t key, uint64_t value)
{
	return random_mix(key ^ (value + UINT64_C(0x9e3779b97f4a7c15) + (key << 6) + (key >> 2)));
}

static uint8_t mandatory_prefix(const ZydisDecodedInstruction *insn)
{
	for (unsigned i = 0; i < insn->raw.prefix_count; i++) {
		if (insn->raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY)
			return insn->raw.prefixes[i].value;
	}
	return 0;
}

static bool uses_modrm_reg(const struct insn_decoded *decoded)
{
	for (unsigned i = 0; i < decoded->insn.operand_count; i++) {
		if (decoded->operand[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
			return true;
	}
	return false;
}

static bool counts_with_address_size(ZydisMnemonic mnemonic)
{
	return mnemonic == ZYDIS_MNEMONIC_LOOP || mnemonic == ZYDIS_MNEMONIC_LOOPE || mnemonic == ZYDIS_MNEMONIC_LOOPNE;
}

static uint64_t key_add_operand(uint64_t key, const ZydisDecodedOperand *operand)
{
	bool hidden = operand->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN;
	if (hidden && operand->type != ZYDIS_OPERAND_TYPE_MEMORY)
		return key;
	key = key_add(key, operand->type);
	if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		key = key_add(key, operand->mem.type);
		return operand_accesses_memory(operand) ? key_add(key, operand->size) : key;
	}
	if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER) {
		key = key_add(key, ZydisRegisterGetClass(operand->reg.value));
		if (operand->encoding == ZYDIS_OPERAND_ENCODING_NONE)
			key = key_add(key, operand->reg.value);
	}
	return key_add(key, operand->size);
}

uint64_t form_key(const struct insn_decoded *decoded, enum insn_code code, bool promised)
{
	const ZydisDecodedInstruction *insn = &decoded->insn;
	bool has_modrm = (insn->attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
	uint64_t key = key_add(insn_code_bits[code], insn->encoding);
	key = key_add(key, insn->mnemonic);
	key = key_add(key, has_modrm ? 1 + (insn->raw.modrm.mod == 3) : 0);
	if (!promised)
		return key;
	key = key_add(key, insn->opcode_map);
	key = key_add(key, insn->opcode);
	key = key_add(key, mandatory_prefix(insn));
	key = key_add(key, insn->avx.vector_length);
	key = key_add(key, insn->attributes & (ZYDIS_ATTRIB_HAS_LOCK | ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
					       ZYDIS_ATTRIB_HAS_REPNE));
	if (counts_with_address_size(insn->mnemonic))
		key = key_add(key, insn->address_width);
	if (has_modrm && !uses_modrm_reg(decoded))
		key = key_add(key, 0x100u + insn->raw.modrm.reg);
	for (unsigned i = 0; i < insn->operand_count; i++)
		key = key_add_operand(key, &decoded->operand[i]);
	return key;
}

/* ---- the list ---- */

struct form *form_find(const struct form_list *list, uint64_t key)
{
	for (size_t slot = key % list->slot_count; list->slot[slot] != 0; slot = (slot + 1) % list->slot_count) {
		struct form *form = &list->form[list->slot[slot] - 1];
		if (form->key == key)
			return form;
	}
	return NULL;
}

#define FORM_SLOTS 65536u

static struct form *form_append(struct form_list *list, uint64_t key)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity * 2 + 1024;
		struct form *grown = realloc(list->form, capacity * sizeof *grown);
		if (grown == NULL || capacity > FORM_SLOTS / 2)
			return NULL;
		list->form = grown;
		list->capacity = capacity;
	}
	size_t slot = key % list->slot_count;
	while (list->slot[slot] != 0)
		slot = (slot + 1) % list->slot_count;
	struct form *form = &list->form[list->count++];
	list->slot[slot] = (uint32_t)list->count;
	memset(form, 0, sizeof *form);
	form->key = key;
	return form;
}

/* What the walk over all encodings carries along. */
struct walk {
	struct form_list *list;
	const struct insn_decoder *decoder;
	const struct cpu_model *model;
	struct insn_setting setting;
	bool failed;
	struct insn_decoded decoded; /* of the last step that succeeded */
};

static void form_describe(const struct walk *walk, struct form *form, const uint8_t *bytes)
{
	const ZydisDecodedInstruction *insn = &walk->decoded.insn;
	ZydisFormatter formatter;
	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	ZydisFormatterFormatInstruction(&formatter, insn, walk->decoded.operand, insn->operand_count_visible,
					form->text, sizeof form->text, ZYDIS_RUNTIME_ADDRESS_NONE, NULL);
	form->sample_length = insn->length;
	memcpy(form->sample, bytes, insn->length);
}

static enum form_class form_class_of(const struct walk *walk, const struct form *form, bool promised)
{
	if (!promised)
		return FORM_UNDEFINED;
	if (form->system == NULL)
		return FORM_PLAIN;
	return form->system->with_ldt && walk->setting.code != CODE_64 ? FORM_DESCRIPTOR : FORM_SYSTEM;
}

static void form_fill(const struct walk *walk, struct form *form, bool promised, const uint8_t *bytes)
{
	const ZydisDecodedInstruction *insn = &walk->decoded.insn;
	form->code = walk->setting.code;
	form->mnemonic = insn->mnemonic;
	form->isa_set = insn->meta.isa_set;
	form->opcode = insn->opcode;
	form->has_modrm = (insn->attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
	form->modrm_memory = form->has_modrm && insn->raw.modrm.mod != 3;
	form->group = table_group(insn->meta.isa_set);
	form->system = promised ? table_system(insn, walk->decoded.operand) : NULL;
	form->class = form_class_of(walk, form, promised);
	for (unsigned i = 0; i < insn->operand_count; i++) {
		const ZydisDecodedOperand *operand = &walk->decoded.operand[i];
		if (!operand_accesses_memory(operand))
			continue;
		if (!form->accesses_memory)
			form->access_size = operand->size / 8;
		form->accesses_memory = true;
	}
	form_describe(walk, form, bytes);
}

static void form_add_recipe(struct form *form, const struct recipe *recipe)
{
	for (unsigned i = 0; i < form->recipe_count; i++) {
		struct recipe *known = &form->recipe[i];
		struct recipe same = *recipe;
		same.vvvv_free = known->vvvv_free;
		if (memcmp(known, &same, sizeof same) == 0) {
			known->vvvv_free |= recipe->vvvv_free;
			return;
		}
	}
	if (form->recipe_count < FORM_RECIPES)
		form->recipe[form->recipe_count++] = *recipe;
}

/* Decodes one combination and files it. Returns false where it is no instruction. */
static bool walk_step(struct walk *walk, const struct recipe *recipe, uint8_t opcode, uint8_t modrm, uint8_t vvvv)
{
	uint8_t bytes[INSN_MAX_BYTES + 1] = {0};
	struct encode_fields fields = {.has_modrm = true, .modrm = modrm, .vvvv = vvvv, .evex_mask = 1};
	size_t length = encode_head(recipe, walk->setting.code == CODE_64, opcode, &fields, bytes);
	if (recipe->encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW)
		bytes[length] = opcode;
	if (!insn_decode(walk->decoder, walk->setting, bytes, INSN_MAX_BYTES, &walk->decoded))
		return false;
	const ZydisDecodedInstruction *insn = &walk->decoded.insn;
	if (insn->encoding != recipe->encoding)
		return false; /* the prefix bytes were an instruction of this mode (LES, LDS, BOUND, POP) */
	bool promised = table_promised(walk->model, insn);
	uint64_t key = form_key(&walk->decoded, walk->setting.code, promised);
	struct form *form = form_find(walk->list, key);
	if (form == NULL) {
		form = form_append(walk->list, key);
		if (form == NULL) {
			walk->failed = true;
			return true;
		}
		form_fill(walk, form, promised, bytes);
	}
	form->reg_mask |= (uint8_t)(1u << (modrm >> 3 & 7));
	form->rm_mask |= (uint8_t)(1u << (modrm & 7));
	/* Unpromised forms join opcodes: a recipe of another opcode does not belong to them. */
	if (form->opcode == opcode)
		form_add_recipe(form, recipe);
	return true;
}

/* All ModRM bytes that can select something. Register forms try every rm: x87 and 0F 01 select by it. */
static void walk_modrm(struct walk *walk, const struct recipe *recipe, uint8_t opcode, bool every_rm)
{
	bool lock = (recipe->prefixes & RECIPE_LOCK) != 0;
	for (unsigned reg = 0; reg < 8; reg++) {
		if (walk_step(walk, recipe, opcode, (uint8_t)(reg << 3), 0) &&
		    !(walk->decoded.insn.attributes & ZYDIS_ATTRIB_HAS_MODRM))
			return;
		walk_step(walk, recipe, opcode, (uint8_t)(reg << 3 | 4), 0); /* with SIB: gathers have no other form */
		for (unsigned rm = 0; rm < (lock ? 0 : every_rm ? 8u : 1u); rm++)
			walk_step(walk, recipe, opcode, (uint8_t)(0xc0 | reg << 3 | rm), 0);
	}
}

static void walk_vector(struct walk *walk, struct recipe *recipe)
{
	for (unsigned opcode = 0; opcode < 256; opcode++) {
		walk_modrm(walk, recipe, (uint8_t)opcode, false);
		recipe->vvvv_free = true;
		for (unsigned modrm = 4; modrm < 0x100; modrm += 8) {
			if (modrm < 0x40 || modrm >= 0xc0)
				walk_step(walk, recipe, (uint8_t)opcode, (uint8_t)modrm, 1);
		}
		recipe->vvvv_free = false;
	}
}

static void walk_legacy(struct walk *walk)
{
	static const uint8_t prefixes[] = {0,
					   RECIPE_66,
					   RECIPE_F3,
					   RECIPE_F2,
					   RECIPE_66 | RECIPE_F3,
					   RECIPE_66 | RECIPE_F2,
					   RECIPE_67,
					   RECIPE_LOCK,
					   RECIPE_LOCK | RECIPE_66};
	struct recipe recipe = {.encoding = ZYDIS_INSTRUCTION_ENCODING_LEGACY};
	for (unsigned p = 0; p < sizeof prefixes; p++) {
		recipe.prefixes = prefixes[p];
		for (recipe.w = 0; recipe.w <= (walk->setting.code == CODE_64); recipe.w++) {
			for (recipe.map = 0; recipe.map < 4; recipe.map++) {
				for (unsigned opcode = 0; opcode < 256; opcode++)
					walk_modrm(walk, &recipe, (uint8_t)opcode, true);
			}
		}
	}
}

static void walk_3dnow(struct walk *walk)
{
	struct recipe recipe = {.encoding = ZYDIS_INSTRUCTION_ENCODING_3DNOW};
	for (unsigned opcode = 0; opcode < 256; opcode++) {
		walk_step(walk, &recipe, (uint8_t)opcode, 0x00, 0);
		walk_step(walk, &recipe, (uint8_t)opcode, 0xc0, 0);
	}
}

static void walk_maps(struct walk *walk, ZydisInstructionEncoding encoding, const uint8_t *maps, unsigned map_count,
		      uint8_t lengths)
{
	/* Vector indices need a SIB byte. */
	struct recipe recipe = {.encoding = (uint8_t)encoding,
				.prefixes = walk->setting.code == CODE_16 ? RECIPE_67 : 0};
	for (unsigned map = 0; map < map_count; map++) {
		recipe.map = maps[map];
		for (recipe.pp = 0; recipe.pp < 4; recipe.pp++) {
			for (recipe.w = 0; recipe.w < 2; recipe.w++) {
				for (recipe.l = 0; recipe.l < lengths; recipe.l++)
					walk_vector(walk, &recipe);
			}
		}
	}
}

static void walk_code(struct walk *walk, enum insn_code code)
{
	static const uint8_t vex_maps[] = {1, 2, 3}, evex_maps[] = {1, 2, 3, 5, 6}, xop_maps[] = {8, 9, 10};
	walk->setting = (struct insn_setting){.code = code, .stack16 = code == CODE_16};
	walk_legacy(walk);
	walk_maps(walk, ZYDIS_INSTRUCTION_ENCODING_VEX, vex_maps, sizeof vex_maps, 2);
	walk_maps(walk, ZYDIS_INSTRUCTION_ENCODING_EVEX, evex_maps, sizeof evex_maps, 3);
	walk_maps(walk, ZYDIS_INSTRUCTION_ENCODING_XOP, xop_maps, sizeof xop_maps, 2);
	walk_3dnow(walk);
}

bool form_list_build(struct form_list *list, const struct insn_decoder *decoder, const struct cpu_model *model,
		     struct error *error)
{
	memset(list, 0, sizeof *list);
	list->slot_count = FORM_SLOTS;
	list->slot = calloc(list->slot_count, sizeof *list->slot);
	if (list->slot == NULL)
		return error_set_errno(error, "out of memory");
	struct walk walk = {.list = list, .decoder = decoder, .model = model};
	for (unsigned code = 0; code < CODE_COUNT; code++)
		walk_code(&walk, (enum insn_code)code);
	if (!walk.failed)
		return true;
	form_list_free(list);
	return error_set(error, ERROR_HOST, "the list of encoding forms does not fit");
}

void form_list_free(struct form_list *list)
{
	free(list->form);
	free(list->slot);
	memset(list, 0, sizeof *list);
}

/* ---- drawing ---- */

static uint8_t draw_bit(struct random *random, uint8_t mask)
{
	uint8_t choice;
	do
		choice = (uint8_t)random_below(random, 8);
	while (!(mask & (1u << choice)));
	return choice;
}

static void draw_redundant(struct insn_setting setting, const struct recipe *recipe, struct random *random,
			   struct encode_fields *fields)
{
	static const uint8_t segments[] = {0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65};
	if (random_percent(random, 20))
		fields->redundant[fields->redundant_count++] = segments[random_below(random, sizeof segments)];
	if (random_percent(random, setting.code == CODE_16 ? 40 : 10) && !(recipe->prefixes & RECIPE_67)) {
		fields->redundant[fields->redundant_count++] = 0x67;
		/* In flat segments 16-bit addressing reaches nothing but through GS. */
		if (setting.code == CODE_32 && !setting.segmented && random_percent(random, 80))
			fields->redundant[fields->redundant_count++] = 0x65;
	}
	bool repeatable = recipe->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
			  !(recipe->prefixes & (RECIPE_F2 | RECIPE_F3 | RECIPE_LOCK));
	if (repeatable && random_percent(random, 3))
		fields->redundant[fields->redundant_count++] = random_percent(random, 50) ? 0xf2 : 0xf3;
}

static void draw_modrm(const struct form *form, struct random *random, struct encode_fields *fields)
{
	uint8_t reg = draw_bit(random, form->reg_mask);
	fields->has_modrm = form->has_modrm;
	if (!form->modrm_memory)
		fields->modrm = (uint8_t)(0xc0 | reg << 3 | draw_bit(random, form->rm_mask));
	else
		fields->modrm = (uint8_t)(random_below(random, 3) << 6 | reg << 3 | random_below(random, 8));
}

static void draw_3dnow_operand(struct encode_fields *fields, uint8_t bytes[INSN_MAX_BYTES], size_t length,
			       uint8_t opcode)
{
	/* No SIB and no displacement, so that the opcode comes next. */
	if (fields->modrm < 0xc0) {
		fields->modrm &= 0x3b;
		bytes[length - 1] = fields->modrm;
	}
	bytes[length] = opcode;
}

bool form_draw(const struct form *form, struct insn_setting setting, const struct insn_decoder *decoder,
	       const struct cpu_model *model, struct random *random, uint8_t bytes[INSN_MAX_BYTES],
	       struct insn_decoded *decoded)
{
	const struct recipe *recipe = &form->recipe[random_below(random, form->recipe_count)];
	uint64_t bits = random_next(random);
	bool mode64 = form->code == CODE_64;
	struct encode_fields fields = {.r = mode64 && (bits & 1),
				       .x = mode64 && (bits & 2),
				       .b = mode64 && (bits & 4),
				       .rex = (bits & 8) != 0,
				       .short_vex = (bits & 16) != 0,
				       .vvvv = (uint8_t)(recipe->vvvv_free ? bits >> 8 & (mode64 ? 15 : 7) : 0),
				       .evex_mask = 1};
	draw_redundant(setting, recipe, random, &fields);
	draw_modrm(form, random, &fields);
	random_bytes(random, bytes, INSN_MAX_BYTES);
	size_t length = encode_head(recipe, mode64, form->opcode, &fields, bytes);
	if (recipe->encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW)
		draw_3dnow_operand(&fields, bytes, length, form->opcode);
	return insn_decode(decoder, setting, bytes, INSN_MAX_BYTES, decoded) &&
	       form_key(decoded, form->code, table_promised(model, &decoded->insn)) == form->key;
}
