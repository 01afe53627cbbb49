/* SPDX-License-Identifier: MIT */
/*
 * What the oracle knows beside the decoder: which feature promises which instruction, which instructions cannot be
 * compared in user mode and why, and which results the manuals leave open.
 */
#ifndef NFOLD_INSN_TABLES_H
#define NFOLD_INSN_TABLES_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpu/cpuid.h"

enum form_class {
	FORM_PLAIN,	 /* compared with the real CPU in user mode */
	FORM_DESCRIPTOR, /* loads or asks about descriptors: compared where the host gives us an LDT */
	FORM_SYSTEM,	 /* cannot be compared there: covered by a system test, see table_system */
	FORM_UNDEFINED,	 /* not promised by CPUID: the engine must raise #UD; never run on the real CPU */
	FORM_CLASS_COUNT
};

/* The group an instruction is reported under. */
const char *table_group(ZydisISASet set);

/* Does the model promise this instruction? */
bool table_promised(const struct cpu_model *model, const ZydisDecodedInstruction *insn);

/* TZCNT and LZCNT are BSF and BSR with a prefix: processors without them run those (SDM 2B, TZCNT). */
bool table_scans_bits(const ZydisDecodedInstruction *insn);
bool table_runs_as_scan(const struct cpu_model *model, const ZydisDecodedInstruction *insn);

struct table_system {
	ZydisMnemonic mnemonic;
	bool (*applies)(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands); /* NULL: always */
	const char *reason;
	const char *test; /* tests/system: where it is covered */
	bool with_ldt;	  /* outside 64-bit code it can be compared with selectors of the LDT */
};

/* The row that keeps an instruction from being compared, or NULL. */
const struct table_system *table_system(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands);

enum table_memory {
	TABLE_MEMORY_ALL,     /* everything is compared */
	TABLE_MEMORY_FXSAVE,  /* FIP, FDP, FOP and what follows the registers are not */
	TABLE_MEMORY_FNSTENV, /* the pointers of the 28-byte environment, or of the 14-byte one, are not */
	TABLE_MEMORY_PARTIAL  /* a store of many bytes that faulted half way may have begun */
};

/* What else is not compared. */
#define OPEN_DESTINATION 1u /* the explicit destination register */
#define OPEN_ADDRESS 2u	    /* CR2 within its page */
#define OPEN_X87 4u	    /* x87 registers and status */
#define OPEN_MXCSR 8u
#define OPEN_VECTORS 16u  /* the explicit vector registers; all, without any */
#define OPEN_WHICH 64u	  /* which of several exceptions comes first */
#define OPEN_OUTCOME 128u /* whether there is one at all */
#define OPEN_FAULTED 32u  /* the row counts only if the instruction raised an exception */

/* What is not compared after an instruction, and why. */
struct table_open {
	ZydisMnemonic mnemonic;
	uint32_t flags;	    /* undefined flags */
	uint16_t registers; /* bit for each general register whose value is not comparable */
	uint8_t memory;	    /* enum table_memory */
	uint8_t what;	    /* OPEN_... */
	const char *reason;
};

/* Calls visit for every row that applies. */
void table_open_each(const ZydisDecodedInstruction *insn, bool faulted,
		     void (*visit)(void *opaque, const struct table_open *row), void *opaque);

#endif
