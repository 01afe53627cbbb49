/* SPDX-License-Identifier: MIT */
/* Entry through the interrupt descriptor table, and what far transfers share with it. */
#ifndef NFOLD_CPU_GATE_H
#define NFOLD_CPU_GATE_H

#include "cpu/cpu.h"

/* What is to be pushed and checked; everything else is the processor's state. */
struct gate_event {
	uint64_t rip;	/* to save */
	uint64_t flags; /* to save */
	uint32_t error_code;
	uint8_t vector;
	bool has_error_code;
	bool software; /* INT n, INT3, INTO: the gate's DPL is checked */
};

/* Enters the handler. On a fault records it and returns false; RSP, RIP, segments and flags are unchanged then, unless
 * the fault came after a task switch. */
bool gate_deliver(struct cpu *cpu, const struct gate_event *event);

/* A destination of a far transfer: CS as it will be. */
struct code_target {
	struct cpu_segment segment; /* selector with the new CPL as RPL */
	uint64_t rip;
	unsigned cpl;
};

/* Takes over a checked target: CS, RIP, CPL. The caller updates the mode afterwards. */
static inline void code_target_enter(struct cpu *cpu, const struct code_target *target)
{
	cpu->segment[CPU_CS] = target->segment;
	cpu->rip = target->rip;
	cpu->cpl = (uint8_t)target->cpl;
}

/* Is rip within the limit of a legacy or compatibility segment, or canonical in a 64-bit one? Else #GP(0). */
bool code_target_check_rip(struct cpu *cpu, const struct code_target *target);

/* The stack that the TSS holds for an inner privilege level: SS:ESP outside long mode. #TS where the TSS is too small.
 */
bool tss_stack(struct cpu *cpu, unsigned cpl, uint16_t *selector, uint64_t *pointer);
/* RSP0-RSP2, or IST1-IST7 for index 4 + n, of a 64-bit TSS. */
bool tss_stack64(struct cpu *cpu, unsigned index, uint64_t *pointer);
#define TSS64_RSP(cpl) (cpl)
#define TSS64_IST(n) (3 + (n))

#endif
