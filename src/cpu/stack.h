/* SPDX-License-Identifier: MIT */
/*
 * Pushes and pops by C. A `struct stack` works on a copy of SP; stack_commit() writes it back once the
 * instruction can no longer fault.
 */
#ifndef NFOLD_CPU_STACK_H
#define NFOLD_CPU_STACK_H

#include "cpu/cpu.h"
#include "cpu/mmu.h"

struct stack {
	struct cpu *cpu;
	const struct cpu_segment *segment; /* whose base and limit count */
	uint64_t pointer;
	uint64_t mask; /* of the bits of SP that count: 16, 32 or 64 */
	bool flat64;   /* 64-bit mode: no base, no limit */
	enum tlb_view view;
	uint32_t error_code; /* of #SS: 0, or the selector of a new stack */
	bool checked;	     /* for alignment, where EFLAGS.AC asks for it */
};

static inline uint64_t stack_mask(const struct cpu *cpu)
{
	if (cpu_code64(cpu))
		return ~UINT64_C(0);
	return (cpu->mode & MODE_STACK32) ? 0xffffffff : 0xffff;
}

/* The current stack with the current privilege. */
static inline struct stack stack_current(struct cpu *cpu)
{
	return (struct stack){.cpu = cpu,
			      .segment = &cpu->segment[CPU_SS],
			      .pointer = cpu->gpr[CPU_RSP],
			      .mask = stack_mask(cpu),
			      .flat64 = cpu_code64(cpu),
			      .view = cpu_view(cpu),
			      .checked = true};
}

/* The stack of an inner privilege level. Pushes there are supervisor accesses whatever the CPL still is. */
static inline void stack_init_inner(struct stack *stack, struct cpu *cpu, const struct cpu_segment *segment,
				    uint64_t pointer)
{
	stack->cpu = cpu;
	stack->segment = segment;
	stack->pointer = pointer;
	stack->mask = (segment->access & SEGMENT_DB) ? 0xffffffff : 0xffff;
	stack->flat64 = false;
	stack->view = CPU_VIEW_IMPLICIT(cpu);
	stack->error_code = segment->selector & 0xfffcu;
	stack->checked = false;
}

static inline void stack_init_inner64(struct stack *stack, struct cpu *cpu, const struct cpu_segment *segment,
				      uint64_t pointer)
{
	stack_init_inner(stack, cpu, segment, pointer);
	stack->mask = ~UINT64_C(0);
	stack->flat64 = true;
	stack->error_code = 0;
}

/* size: 2, 4 or 8. */
bool stack_push(struct stack *stack, uint64_t value, unsigned size);
/* PUSH of a segment register. */
bool stack_push_selector(struct stack *stack, uint16_t selector, unsigned size);
bool stack_pop(struct stack *stack, uint64_t *value, unsigned size);
/* POP of a segment register. */
bool stack_pop_selector(struct stack *stack, uint64_t *selector, unsigned size);
/* Reads what a pop `skip` bytes further up would give. */
bool stack_peek(struct stack *stack, uint64_t skip, uint64_t *value, unsigned size);

/* Moves SP up without reading. */
void stack_release(struct stack *stack, uint64_t bytes);

static inline void stack_commit(const struct stack *stack)
{
	stack->cpu->gpr[CPU_RSP] = stack->pointer;
}

#endif
