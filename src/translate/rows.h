/* SPDX-License-Identifier: MIT */
/*
 * The allow-list: which instructions may be re-emitted, how the others are done, and what each may touch.
 *
 * An instruction runs only if its mnemonic has a row, its ISA set is promised by the presented CPUID, and its memory
 * operand has one of the sizes that the row names. Anything else raises #UD, whatever the host would execute.
 */
#ifndef NFOLD_TRANSLATE_ROWS_H
#define NFOLD_TRANSLATE_ROWS_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpu/cpuid.h"
#include "cpu/insn.h"

enum row_kind {
	ROW_NONE,  /* not allowed: #UD */
	ROW_PLAIN, /* re-emitted: touches its explicit operands, flags and the implicit registers the decoder names, no
		      more */
	ROW_C,	   /* executed by cpu_ops[op] */
	ROW_NOP,   /* hints: nothing is emitted, no operand is touched */
	ROW_MOV,   /* MOV: plain, or to and from system registers */
	ROW_BIT,   /* BT and its family: plain, but in C with a register offset into memory, which reaches beyond the
		      operand */
	ROW_LEA,
	ROW_PUSH,
	ROW_POP,
	ROW_CALL,
	ROW_JMP,
	ROW_RET,
	ROW_JCC,
	ROW_LOOP,
	ROW_JCXZ,
	ROW_LEAVE,
	ROW_FAR_POINTER,
	ROW_PUSHA,
	ROW_POPA,
	ROW_PUSHF,
	ROW_STI,
	ROW_CLI,
	ROW_CLD,
	ROW_STD,
};

/* Sizes in bytes that the memory operand of a plain instruction may have. */
#define M1 1u
#define M2 2u
#define M4 4u
#define M8 8u
#define M10 64u
#define M16 16u
#define M32 32u

struct row {
	uint8_t kind;
	uint8_t memory; /* M1... */
	uint16_t op;	/* enum cpu_op */
};

/* The row of a mnemonic; its kind is ROW_NONE for what is not listed. */
const struct row *row_find(ZydisMnemonic mnemonic);

/* What a model must promise for an instruction of this ISA set. False: no promise makes it legal. */
bool row_isa_feature(ZydisISASet set, ZydisMnemonic mnemonic, enum cpu_feature *feature);

static inline unsigned row_memory_bit(unsigned bytes)
{
	return bytes == 10 ? M10 : bytes;
}

#endif
