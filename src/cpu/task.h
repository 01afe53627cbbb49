/* SPDX-License-Identifier: MIT */
/* Hardware task switching. SDM 3A chapter 7. */
#ifndef NFOLD_CPU_TASK_H
#define NFOLD_CPU_TASK_H

#include "cpu/cpu.h"

/* CALL and events nest: the new task links back to the old one. */
enum task_source { TASK_JMP, TASK_CALL, TASK_IRET, TASK_EVENT };

/*
 * Switches to the task whose TSS `selector` names; privilege has been checked. `rip` and `flags` are saved in the old
 * task's TSS. False: a fault is recorded, in the context of the old task or of the new one: rip and everything else are
 * those that its handler is to find. Not in long mode.
 */
bool task_switch(struct cpu *cpu, uint16_t selector, enum task_source source, uint64_t rip, uint64_t flags);

/* For task gates of the IDT: pushes an error code onto the new task's stack, in the size of its TSS. */
bool task_push_error(struct cpu *cpu, uint32_t error_code);

#endif
