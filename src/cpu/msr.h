/* SPDX-License-Identifier: MIT */
/* Model-specific registers and CPUID without their instructions: for debuggers, snapshots and tests. */
#ifndef NFOLD_CPU_MSR_H
#define NFOLD_CPU_MSR_H

#include "cpu/cpu.h"
#include "cpu/cpuid.h"

#define MSR_PAT 0x277

/* False: the register does not exist here, or does not take that value (#GP). */
bool cpu_msr_read(struct cpu *cpu, uint32_t number, uint64_t *value);
bool cpu_msr_write(struct cpu *cpu, uint32_t number, uint64_t value);

/* The guest's time-stamp counter. */
uint64_t cpu_tsc(struct cpu *cpu);

/* What CPUID answers now. */
void cpu_cpuid(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf, struct cpu_cpuid_leaf *result);

#endif
