/* SPDX-License-Identifier: MIT */
#include "cpu/stack.h"

#include "cpu/cpuid.h"
#include "cpu/op.h"
#include "cpu/segment.h"

/* The linear address of `size` bytes at an offset in the stack segment; #SS where the segment ends, then #AC. */
static bool stack_linear(const struct stack *stack, uint64_t offset, unsigned size, uint64_t *linear)
{
	const struct cpu_segment *segment = stack->segment;
	uint64_t last = offset + size - 1;
	bool good;
	if (stack->flat64) {
		*linear = offset;
		good = address_is_canonical(offset) && address_is_canonical(last);
	} else {
		uint64_t top = (segment->access & SEGMENT_DB) ? 0xffffffff : 0xffff;
		*linear = (uint32_t)(segment->base + offset);
		if ((segment->access & (SEGMENT_DOWN | SEGMENT_CODE)) == SEGMENT_DOWN)
			good = offset > segment->limit && last <= top;
		else
			good = last <= segment->limit;
	}
	if (!good)
		return cpu_fault_code(stack->cpu, VECTOR_SS, stack->error_code);
	return !stack->checked || op_aligned(stack->cpu, *linear, size);
}

/* SP moved by a signed amount: bits beyond the mask stay, but bits 63:32 of a 32-bit SP are zero. */
static uint64_t stack_moved(const struct stack *stack, uint64_t by)
{
	uint64_t kept = stack->pointer & ~stack->mask & 0xffffffff;
	return kept | ((stack->pointer + by) & stack->mask);
}

/* Moves by `size` and writes the lowest `written` bytes. */
static bool push_part(struct stack *stack, uint64_t value, unsigned size, unsigned written)
{
	uint64_t pointer = stack_moved(stack, -(uint64_t)size);
	uint64_t linear;
	if (!stack_linear(stack, pointer & stack->mask, written, &linear) ||
	    !cpu_write_value(stack->cpu, linear, written, stack->view, value))
		return false;
	stack->pointer = pointer;
	return true;
}

bool stack_push(struct stack *stack, uint64_t value, unsigned size)
{
	return push_part(stack, value, size, size);
}

/* Intel's processors write 16 of 32 bits and leave the others (SDM 2B, PUSH); AMD's write zeroes. */
bool stack_push_selector(struct stack *stack, uint16_t selector, unsigned size)
{
	unsigned written = size == 4 && cpu_model_is_intel(stack->cpu->model) ? 2 : size;
	return push_part(stack, selector, size, written);
}

bool stack_peek(struct stack *stack, uint64_t skip, uint64_t *value, unsigned size)
{
	uint64_t linear;
	return stack_linear(stack, (stack->pointer + skip) & stack->mask, size, &linear) &&
	       cpu_read_value(stack->cpu, linear, size, stack->view, value);
}

bool stack_pop(struct stack *stack, uint64_t *value, unsigned size)
{
	if (!stack_peek(stack, 0, value, size))
		return false;
	stack_release(stack, size);
	return true;
}

/* Of a wider operand the processors at hand read 16 bits. */
bool stack_pop_selector(struct stack *stack, uint64_t *selector, unsigned size)
{
	if (!stack_peek(stack, 0, selector, 2))
		return false;
	stack_release(stack, size);
	return true;
}

void stack_release(struct stack *stack, uint64_t bytes)
{
	stack->pointer = stack_moved(stack, bytes);
}
