/* SPDX-License-Identifier: MIT */
/*
 * A case: one instruction with everything it will meet, the same for the engine and the real CPU.
 *
 * Theory of operation. The bytes are drawn from the form, the state at random. Then addresses are worked backwards: a
 * target is chosen by the variant (in a page, across two, in MMIO, where nothing is), and the registers, displacement
 * or vector index that lead to it are solved for. What a mnemonic needs beyond that (branch targets that can be
 * observed, counts that end, images that can be loaded) is one table of fix-ups. At the end every effective address is
 * computed forwards again and must lie in the data areas, since the real CPU would otherwise write to this process's
 * own memory; draws that do not are thrown away.
 */
#ifndef NFOLD_INSN_CASE_H
#define NFOLD_INSN_CASE_H

#include "form.h"
#include "layout.h"
#include "segments.h"
#include "state.h"

/* How the guest maps the linear addresses. In 64-bit mode always four levels. */
enum insn_paging { PAGING_4_LEVEL, PAGING_COMPATIBILITY, PAGING_PAE, PAGING_32, PAGING_COUNT };

#define CASE_ACCESSES 4
#define CASE_POKES 8
#define CASE_BLOB 2048

/* What an operand touches, lowest address first. */
struct case_access {
	uint64_t linear;
	uint32_t size;
	bool read, write;
};

struct case_poke {
	uint64_t linear;
	uint16_t size, at; /* at: offset of the bytes in the blob */
};

struct insn_case {
	struct insn_setting setting;
	bool mode64; /* setting.code is CODE_64 */
	enum insn_paging paging;
	enum variant variant;
	uint8_t bytes[INSN_MAX_BYTES];
	uint8_t length;
	bool raw; /* bytes that do not decode */
	struct insn_decoded decoded;
	struct insn_state initial;
	struct case_access access[CASE_ACCESSES];
	unsigned access_count;
	struct case_poke poke[CASE_POKES];
	unsigned poke_count;
	uint16_t blob_used;
	uint8_t blob[CASE_BLOB];
};

enum case_build { CASE_BUILT, CASE_FAILED };

/* How much of the 32-bit code runs in segments that are not flat. */
enum case_segments { SEGMENTS_NONE, SEGMENTS_SOME, SEGMENTS_ALL };

/* The sources of a case. */
struct case_maker {
	const struct insn_decoder *decoder;
	const struct cpu_model *model;
	struct random random;
	enum case_segments segments;
	uint16_t settled; /* general registers whose values addresses depend on */
};

/* What the case with this number of a form runs in. */
struct insn_setting case_setting(const struct case_maker *maker, enum insn_code code, enum variant variant,
				 unsigned number);

/* Builds a case of a form, or fails after many draws (a form that cannot have this variant: a byte across pages). */
enum case_build case_build(struct case_maker *maker, const struct form *form, enum variant variant,
			   struct insn_setting setting, struct insn_case *insn_case);

/* Around given bytes that do not decode: the state is random, registers point to memory that may be touched. */
void case_build_raw(struct case_maker *maker, struct insn_setting setting, const uint8_t bytes[INSN_MAX_BYTES],
		    struct insn_case *insn_case);

/* Can a form have the variant at all? */
bool case_variant_applies(const struct form *form, enum variant variant);

/* ---- used among case.c, solve.c, fixup.c and values.c ---- */

/* Random operand values: boundary integers, floating-point specials, plain bits. */
uint64_t value_integer(struct random *random);
void value_vector(struct random *random, uint8_t *to, size_t size);
void value_x87(struct random *random, uint8_t to[10]);
void value_state(struct random *random, struct insn_setting setting, struct insn_state *state);
/* An image that FXRSTOR and XRSTOR accept, most of the time. */
void value_xsave_image(struct random *random, uint8_t *image, bool compact);

/* The number of the general register behind any of its names, or -1. */
int register_number(ZydisRegister reg);
/* The segment of a memory operand as the state names it. NULL: a null selector, or 64-bit code. */
const struct segment_entry *operand_segment(const struct insn_case *insn_case, const ZydisDecodedOperand *operand);
/* Where the code segment begins. */
uint64_t case_code_base(const struct insn_case *insn_case);
/* The offset of a memory operand within its segment. */
uint64_t operand_offset(const struct insn_case *insn_case, const ZydisDecodedOperand *operand);
/* The linear address of a memory operand with the registers as they are. */
uint64_t operand_linear(const struct insn_case *insn_case, const ZydisDecodedOperand *operand);
/* Sets what the operand's address depends on so that it becomes `linear`. */
bool operand_solve(struct case_maker *maker, struct insn_case *insn_case, const ZydisDecodedOperand *operand,
		   uint64_t linear);
/* The displacement that a bit offset in a register adds to the address of BT and its kin (SDM 2A, BT). */
int64_t bit_displacement(const struct insn_case *insn_case);

/* Adds bytes to be written to memory before the case; returns where to put them, or NULL: no room. */
uint8_t *case_poke_add(struct insn_case *insn_case, uint64_t linear, uint16_t size);

/* What the mnemonic needs, before addresses are chosen and after. */
void fixup_before(struct case_maker *maker, struct insn_case *insn_case);
bool fixup_after(struct case_maker *maker, struct insn_case *insn_case);
bool is_string(const ZydisDecodedInstruction *insn);
/* How often a string instruction repeats: 1 without a prefix. */
uint64_t string_count(const struct insn_case *insn_case);

#endif
