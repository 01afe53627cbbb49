/* SPDX-License-Identifier: MIT */
/* The layout of cpu->xsave: the standard XSAVE format. SDM volume 1, 10.5.1 and 13.4. */
#ifndef NFOLD_CPU_FPU_H
#define NFOLD_CPU_FPU_H

#include "cpu/cpu.h"

#define XSTATE_X87 1u
#define XSTATE_SSE 2u
#define XSTATE_AVX 4u
#define XSTATE_ALL (XSTATE_X87 | XSTATE_SSE | XSTATE_AVX)

#define XSAVE_FCW 0
#define XSAVE_FSW 2
#define XSAVE_FTW 4
#define XSAVE_FOP 6
#define XSAVE_FIP 8
#define XSAVE_FDP 16
#define XSAVE_MXCSR 24
#define XSAVE_MXCSR_MASK 28
#define XSAVE_ST 32   /* 8 registers, 16 bytes each */
#define XSAVE_XMM 160 /* 16 registers, 16 bytes each */
#define XSAVE_BV 512
#define XSAVE_AVX 576 /* upper halves, 16 registers, 16 bytes each */

#define MXCSR_DEFAULT 0x1f80u

/* Parked state only: the components of `mask` no longer have their initial value. */
static inline void cpu_xstate_changed(struct cpu *cpu, uint64_t mask)
{
	store_le(cpu->xsave + XSAVE_BV, load_le(cpu->xsave + XSAVE_BV, 8) | mask, 8);
}

/* Which components the host saves for us. Asks CPUID: reset only. */
uint64_t cpu_fpu_host_xstate(void);
/* The vector state after RESET, parked. */
void cpu_fpu_reset(struct cpu *cpu);

#endif
