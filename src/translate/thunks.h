/* SPDX-License-Identifier: MIT */
/* The fixed pieces of host code between translated code and C; see thunks.c. */
#ifndef NFOLD_TRANSLATE_THUNKS_H
#define NFOLD_TRANSLATE_THUNKS_H

#include "translate/block.h"

/* A helper in the middle of an instruction; see struct access for the descriptor. */
typedef uint64_t helper_function(struct engine_vcpu *vcpu, uint64_t address, uint32_t descriptor,
				 uint64_t return_address);

struct helpers {
	helper_function *slow, *bounce_begin, *bounce_end, *segment, *self_check;
	uint64_t (*c_op)(struct engine_vcpu *vcpu, const struct c_insn *insn);
};

/* What a helper is told about an access, packed in 32 bits. */
#define ACCESS_SIZE(descriptor) ((descriptor)&0x3ffu)
#define ACCESS_WRITE BIT32(10)
#define ACCESS_READ BIT32(11)
#define ACCESS_STACK BIT32(12)
#define ACCESS_VIEW(descriptor) ((descriptor) >> 13 & 3)
#define ACCESS_VIEW_SHIFT 13
#define ACCESS_SEGMENT(descriptor) ((descriptor) >> 15 & 7)
#define ACCESS_SEGMENT_SHIFT 15
#define ACCESS_BUFFER(descriptor) ((descriptor) >> 18 & 1)
#define ACCESS_BUFFER_SHIFT 18
#define ACCESS_UNALIGNED_OK BIT32(19) /* exempt from #AC */
#define ACCESS_ALIGNED                                                                                                 \
	BIT32(20) /* a misaligned address is #GP(0), before translation: vector operands of 16 and 32 bytes */
#define ACCESS_X87_WAITS BIT32(21) /* a pending x87 error is #MF, before any memory fault */
#define ACCESS_RESULT_FIRST                                                                                            \
	BIT32(22) /* the result may raise an exception, or suppress the store, before the address may fault */
#define ACCESS_LOCKED BIT32(23) /* LOCK, or XCHG: atomic also across pages */
#define ACCESS_INSN(descriptor) ((descriptor) >> 24)
#define ACCESS_INSN_SHIFT 24

void thunks_make(struct engine *engine, const struct helpers *helpers);

/* LAHF; SETO AL and back. flags_from_rax keeps RAX. */
void flags_to_rax(struct assembler *as);
void flags_from_rax(struct assembler *as);

#endif
