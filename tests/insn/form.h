/* SPDX-License-Identifier: MIT */
/*
 * Encoding forms: what is counted, so that none is forgotten.
 *
 * Theory of operation. The list is not written by hand. Every combination of mode, encoding (legacy, VEX, EVEX, XOP,
 * 3DNow!), opcode map, prefixes that select (66, F2, F3, LOCK, REX.W, VEX.L, VEX.W), opcode and ModRM byte is put
 * before the decoder; what decodes is reduced to a key: opcode, mnemonic, mandatory and effective prefixes, ModRM.reg
 * where it selects, operand size, and the kinds, sizes and fixed registers of the operands. Equal keys are one form. A
 * form remembers all encodings that led to it, and cases are made by choosing one and filling the rest (registers, SIB,
 * displacement, immediate, redundant prefixes) at random, keeping what still has the form's key.
 */
#ifndef NFOLD_INSN_FORM_H
#define NFOLD_INSN_FORM_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "random.h"
#include "tables.h"

/* How a case reaches memory. Forms without a memory access have only the first. The last is about the edges of
 * segments. */
enum variant {
	VARIANT_REGISTER,
	VARIANT_HIT,
	VARIANT_MISS,
	VARIANT_CROSS,
	VARIANT_MMIO,
	VARIANT_FAULT,
	VARIANT_LIMIT,
	VARIANT_COUNT
};

enum insn_code { CODE_64, CODE_32, CODE_16, CODE_COUNT };

extern const char *const insn_code_names[CODE_COUNT];
extern const uint8_t insn_code_bits[CODE_COUNT];

/* What an instruction runs in. */
struct insn_setting {
	enum insn_code code;
	bool stack16;	/* SP counts, rather than ESP */
	bool segmented; /* segments have bases and limits; else they are flat, but for FS and GS */
};

extern const char *const variant_names[VARIANT_COUNT];

#define FORM_RECIPES 8
#define INSN_MAX_BYTES 15
#define INSN_MAX_OPERANDS ZYDIS_MAX_OPERAND_COUNT

/* One way to write the form down, apart from what is free. */
struct recipe {
	uint8_t encoding; /* ZydisInstructionEncoding */
	uint8_t map;	  /* the encoding's own number: legacy 0-3, VEX.mmmmm, EVEX.mmm, XOP.mmmmm */
	uint8_t prefixes; /* RECIPE_66 ... */
	uint8_t w, l, pp;
	bool vvvv_free;
};

#define RECIPE_66 1u
#define RECIPE_F3 2u
#define RECIPE_F2 4u
#define RECIPE_LOCK 8u
#define RECIPE_67 16u

struct form {
	uint64_t key;
	enum insn_code code;
	enum form_class class;
	const char *group;
	const struct table_system *system;
	ZydisMnemonic mnemonic;
	ZydisISASet isa_set;
	uint8_t opcode;
	bool has_modrm, modrm_memory;
	bool accesses_memory; /* explicitly or implicitly */
	uint16_t access_size; /* bytes of the first memory operand */
	uint8_t reg_mask;     /* ModRM.reg values that lead to the key */
	uint8_t rm_mask;      /* ModRM.rm values, of the register form */
	uint8_t recipe_count;
	struct recipe recipe[FORM_RECIPES];
	char text[72]; /* the first encoding found, disassembled, for reports */
	uint8_t sample[INSN_MAX_BYTES];
	uint8_t sample_length;
};

struct form_list {
	struct form *form;
	size_t count, capacity;
	uint32_t *slot; /* hash table of indices + 1 */
	size_t slot_count;
};

struct insn_decoder {
	ZydisDecoder by_stack[CODE_COUNT][2]; /* the second: for 16-bit stacks */
};

struct insn_decoded {
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operand[INSN_MAX_OPERANDS];
};

void insn_decoder_init(struct insn_decoder *decoder);
bool insn_decode(const struct insn_decoder *decoder, struct insn_setting setting, const uint8_t *bytes, size_t length,
		 struct insn_decoded *decoded);

/* The key of a decoded instruction; `promised` as table_promised says: unpromised forms are told apart only by
 * mnemonic. */
uint64_t form_key(const struct insn_decoded *decoded, enum insn_code code, bool promised);

bool form_list_build(struct form_list *list, const struct insn_decoder *decoder, const struct cpu_model *model,
		     struct error *error);
void form_list_free(struct form_list *list);
struct form *form_find(const struct form_list *list, uint64_t key);

/* Is this operand memory that the instruction reads or writes (not an address computation)? */
bool operand_accesses_memory(const ZydisDecodedOperand *operand);

/*
 * Random bytes of a form: INSN_MAX_BYTES are filled, of which the decoded length count. False where this draw did not
 * hit the form; the caller draws again.
 */
bool form_draw(const struct form *form, struct insn_setting setting, const struct insn_decoder *decoder,
	       const struct cpu_model *model, struct random *random, uint8_t bytes[INSN_MAX_BYTES],
	       struct insn_decoded *decoded);

#endif
