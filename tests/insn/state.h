/* SPDX-License-Identifier: MIT */
/* What an instruction sees and leaves: the user-visible state of a processor, and how an instruction ended. */
#ifndef NFOLD_INSN_STATE_H
#define NFOLD_INSN_STATE_H

#include <stdbool.h>
#include <stdint.h>

#define STATE_XSAVE_SIZE 832u /* legacy area, header and AVX component of the standard format */
#define STATE_XSAVE_HEADER 512u
#define STATE_XSAVE_AVX 576u

struct insn_state {
	uint8_t xsave[STATE_XSAVE_SIZE];
	uint64_t gpr[16];
	uint64_t rip;
	uint64_t rflags;
	uint64_t fs_base, gs_base; /* 64-bit code only */
	uint16_t selector[6];	   /* enum cpu_segment_name */
};

enum insn_outcome {
	OUTCOME_DONE,	 /* the instruction completed; rip is the next one */
	OUTCOME_FAULT,	 /* it raised `vector` */
	OUTCOME_FETCH,	 /* it could not be fetched */
	OUTCOME_TIMEOUT, /* the real CPU did not come back */
	OUTCOME_UNKNOWN, /* the real CPU came back in a way that cannot be compared */
};

struct insn_result {
	struct insn_state state;
	enum insn_outcome outcome;
	uint8_t vector;
	uint32_t error_code;
	uint64_t address; /* CR2, for page faults */
};

/* Vector state in one canonical shape: components that are not in use show their initial values. */
struct state_vector {
	uint16_t fcw, fsw;
	uint8_t ftw; /* abridged: one bit for a register in use */
	uint32_t mxcsr;
	uint8_t st[8][10];
	uint8_t ymm[16][32];
};

void state_vector_read(const uint8_t *xsave, struct state_vector *vector);

#endif
