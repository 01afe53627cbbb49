/* SPDX-License-Identifier: MIT */
/* Control registers beyond their instructions: for task switches and for tests. */
#ifndef NFOLD_CPU_CONTROL_H
#define NFOLD_CPU_CONTROL_H

#include "cpu/cpu.h"

#define XCR0_X87 BIT64(0)
#define XCR0_SSE BIT64(1)
#define XCR0_AVX BIT64(2)

/* What MOV to CR0 does after its privilege check. False: #GP is recorded and nothing has changed. */
bool control_set_cr0(struct cpu *cpu, uint64_t value);
/* The same for CR3. */
bool control_set_cr3(struct cpu *cpu, uint64_t value);

#endif
