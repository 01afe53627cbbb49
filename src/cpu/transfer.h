/* SPDX-License-Identifier: MIT */
/* What far calls, jumps and returns share. */
#ifndef NFOLD_CPU_TRANSFER_H
#define NFOLD_CPU_TRANSFER_H

#include "cpu/gate.h"
#include "cpu/stack.h"

static inline bool code_target_is_64(const struct cpu *cpu, const struct code_target *target)
{
	return cpu_long_mode(cpu) && (target->segment.access & SEGMENT_L) != 0;
}

/* Presence, the L and D bits, the accessed bit, and the segment itself with `cpl` as its privilege. Privilege checks
 * have been made. */
bool code_target_from_descriptor(struct cpu *cpu, uint16_t selector, uint64_t raw, unsigned cpl,
				 struct code_target *target);

/* The code segment that IRET or RETF returns to: RPL not below the CPL. */
bool return_code(struct cpu *cpu, uint16_t selector, struct code_target *target);

/* The stack of a return to `target` from SS:RSP as popped: *segment and what RSP becomes. */
bool return_stack(struct cpu *cpu, const struct code_target *target, uint16_t selector, struct cpu_segment *segment);

/* Sets RSP as a return does: the new stack's size decides how much of it. */
void return_stack_pointer(struct cpu *cpu, const struct code_target *target, const struct cpu_segment *segment,
			  uint64_t pointer);

#endif
