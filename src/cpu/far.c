/* SPDX-License-Identifier: MIT */
/* Far calls, jumps and returns, through call gates too. SDM 2A, CALL, JMP, RET; 3A 5.8. */
#include "cpu/insn.h"
#include "cpu/op.h"
#include "cpu/segment.h"
#include "cpu/task.h"
#include "cpu/transfer.h"

/* The pointer of a far CALL or JMP: immediate, or m16:16, m16:32, m16:64. */
static bool far_operand(struct cpu *cpu, const struct cpu_insn *insn, uint16_t *selector, uint64_t *offset)
{
	unsigned size = insn->operand_size;
	uint64_t linear, word;
	if (!insn->has_memory) {
		*selector = (uint16_t)insn->immediate2;
		*offset = insn->immediate & size_mask(size);
		return true;
	}
	if (!cpu_operand_linear(cpu, insn, size + 2, TLB_READ, &linear) || !op_aligned(cpu, linear, size) ||
	    !cpu_read_value(cpu, linear, size, cpu_view(cpu), offset) ||
	    !cpu_read_value(cpu, linear + size, 2, cpu_view(cpu), &word))
		return false;
	*selector = (uint16_t)word;
	return true;
}

static bool push_return(struct cpu *cpu, struct stack *stack, const struct cpu_insn *insn, unsigned size)
{
	return stack_push(stack, cpu->segment[CPU_CS].selector, size) &&
	       stack_push(stack, cpu_next_rip(cpu, insn), size);
}

static bool far_real(struct cpu *cpu, const struct cpu_insn *insn, uint16_t selector, uint64_t offset, bool call)
{
	struct stack stack = stack_current(cpu);
	if (offset > cpu->segment[CPU_CS].limit)
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	if (call && !push_return(cpu, &stack, insn, insn->operand_size))
		return false;
	stack_commit(&stack);
	segment_set_real(cpu, CPU_CS, selector);
	cpu->rip = offset;
	return true;
}

/* To a code segment of the same privilege. */
static bool far_same(struct cpu *cpu, const struct cpu_insn *insn, const struct code_target *target, bool call,
		     unsigned size)
{
	struct stack stack = stack_current(cpu);
	if (call && !push_return(cpu, &stack, insn, size))
		return false;
	if (!code_target_check_rip(cpu, target))
		return false;
	if (call)
		stack_commit(&stack);
	code_target_enter(cpu, target);
	return true;
}

static bool far_segment(struct cpu *cpu, const struct cpu_insn *insn, uint16_t selector, uint64_t raw, uint64_t offset,
			bool call)
{
	uint32_t access = descriptor_access(raw);
	unsigned dpl = SEGMENT_DPL(access);
	bool fits =
	    (access & SEGMENT_CONFORMING) ? dpl <= cpu->cpl : dpl == cpu->cpl && SELECTOR_RPL(selector) <= cpu->cpl;
	if (!access_is_code(access) || !fits)
		return cpu_fault_code(cpu, VECTOR_GP, selector & 0xfffcu);
	struct code_target target;
	if (!code_target_from_descriptor(cpu, selector, raw, cpu->cpl, &target))
		return false;
	target.rip = offset;
	return far_same(cpu, insn, &target, call, insn->operand_size);
}

/* ---- call gates ---- */

struct call_gate {
	uint64_t offset;
	uint16_t selector;
	unsigned size;	/* of what is pushed: 2, 4, 8 */
	unsigned count; /* parameters copied */
};

/* The new stack of a 16- or 32-bit gate: SS:ESP, parameters, CS:EIP. */
static bool gate_push_inner(struct cpu *cpu, const struct cpu_insn *insn, const struct call_gate *gate, unsigned cpl,
			    struct cpu_segment *ss, struct stack *stack)
{
	struct stack old = stack_current(cpu);
	uint16_t selector;
	uint64_t pointer, word;
	if (!tss_stack(cpu, cpl, &selector, &pointer) || !segment_check_stack(cpu, selector, cpl, VECTOR_TS, ss))
		return false;
	stack_init_inner(stack, cpu, ss, pointer);
	if (!stack_push(stack, cpu->segment[CPU_SS].selector, gate->size) ||
	    !stack_push(stack, cpu->gpr[CPU_RSP], gate->size))
		return false;
	for (unsigned i = gate->count; i-- > 0;) {
		if (!stack_peek(&old, i * gate->size, &word, gate->size) || !stack_push(stack, word, gate->size))
			return false;
	}
	return push_return(cpu, stack, insn, gate->size);
}

/* The same in long mode: the SS is null, nothing is copied. */
static bool gate_push_inner64(struct cpu *cpu, const struct cpu_insn *insn, unsigned cpl, struct cpu_segment *ss,
			      struct stack *stack)
{
	uint64_t pointer;
	if (!tss_stack64(cpu, TSS64_RSP(cpl), &pointer))
		return false;
	segment_set_null(ss, (uint16_t)cpl);
	stack_init_inner64(stack, cpu, ss, pointer);
	return stack_push(stack, cpu->segment[CPU_SS].selector, 8) && stack_push(stack, cpu->gpr[CPU_RSP], 8) &&
	       push_return(cpu, stack, insn, 8);
}

static bool gate_inner(struct cpu *cpu, const struct cpu_insn *insn, const struct call_gate *gate,
		       const struct code_target *target)
{
	struct cpu_segment ss;
	struct stack stack;
	bool pushed = gate->size == 8 ? gate_push_inner64(cpu, insn, target->cpl, &ss, &stack)
				      : gate_push_inner(cpu, insn, gate, target->cpl, &ss, &stack);
	if (!pushed || !code_target_check_rip(cpu, target))
		return false;
	stack_commit(&stack);
	cpu->segment[CPU_SS] = ss;
	code_target_enter(cpu, target);
	return true;
}

/* The code segment behind a gate. Calls may go to inner levels, jumps only along conforming segments. */
static bool gate_target(struct cpu *cpu, const struct call_gate *gate, bool call, struct code_target *target)
{
	uint64_t raw;
	if (SELECTOR_IS_NULL(gate->selector))
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	if (!descriptor_read(cpu, gate->selector, VECTOR_GP, &raw))
		return false;
	uint32_t access = descriptor_access(raw);
	unsigned dpl = SEGMENT_DPL(access);
	bool conforming = (access & SEGMENT_CONFORMING) != 0;
	bool fits = call || conforming ? dpl <= cpu->cpl : dpl == cpu->cpl;
	bool wide = !cpu_long_mode(cpu) || (access & (SEGMENT_L | SEGMENT_DB)) == SEGMENT_L;
	if (!access_is_code(access) || !fits || !wide)
		return cpu_fault_code(cpu, VECTOR_GP, gate->selector & 0xfffcu);
	if (!code_target_from_descriptor(cpu, gate->selector, raw, conforming ? cpu->cpl : dpl, target))
		return false;
	target->rip = gate->offset;
	return true;
}

static bool gate_read(struct cpu *cpu, uint16_t selector, uint64_t raw, struct call_gate *gate)
{
	gate->selector = (uint16_t)(raw >> 16);
	gate->offset = raw & 0xffff;
	gate->count = raw >> 32 & 31;
	gate->size = 2;
	if ((descriptor_access(raw) & SEGMENT_TYPE) == DESCRIPTOR_CALL) {
		gate->offset |= raw >> 32 & 0xffff0000;
		gate->size = 4;
	}
	if (!cpu_long_mode(cpu))
		return true;
	uint64_t high;
	if (!descriptor_read_high(cpu, selector, VECTOR_GP, &raw, &high))
		return false;
	if (high & UINT64_C(0x1f0000000000)) /* the type field of the second half must be clear */
		return cpu_fault_code(cpu, VECTOR_GP, selector & 0xfffcu);
	gate->offset |= high << 32;
	gate->size = 8;
	return true;
}

static bool far_gate(struct cpu *cpu, const struct cpu_insn *insn, uint16_t selector, uint64_t raw, bool call)
{
	uint32_t access = descriptor_access(raw);
	unsigned dpl = SEGMENT_DPL(access);
	struct call_gate gate;
	struct code_target target;
	if (dpl < cpu->cpl || SELECTOR_RPL(selector) > dpl)
		return cpu_fault_code(cpu, VECTOR_GP, selector & 0xfffcu);
	if (!(access & SEGMENT_P))
		return cpu_fault_code(cpu, VECTOR_NP, selector & 0xfffcu);
	if (!gate_read(cpu, selector, raw, &gate) || !gate_target(cpu, &gate, call, &target))
		return false;
	if (target.cpl < cpu->cpl)
		return gate_inner(cpu, insn, &gate, &target);
	return far_same(cpu, insn, &target, call, gate.size);
}

#define TASK_TYPES (BIT32(DESCRIPTOR_TSS16) | BIT32(DESCRIPTOR_TASK) | BIT32(DESCRIPTOR_TSS))

/* Straight to a TSS, or through a task gate: the privilege asked for is that of what the instruction names. */
static bool far_task(struct cpu *cpu, const struct cpu_insn *insn, uint16_t selector, uint64_t raw, bool call)
{
	uint32_t access = descriptor_access(raw);
	unsigned dpl = SEGMENT_DPL(access);
	uint16_t tss = selector;
	if (dpl < cpu->cpl || SELECTOR_RPL(selector) > dpl)
		return cpu_fault_code(cpu, VECTOR_GP, selector & 0xfffcu);
	if ((access & SEGMENT_TYPE) == DESCRIPTOR_TASK) {
		if (!(access & SEGMENT_P))
			return cpu_fault_code(cpu, VECTOR_NP, selector & 0xfffcu);
		tss = (uint16_t)(raw >> 16);
	}
	return task_switch(cpu, tss, call ? TASK_CALL : TASK_JMP, cpu_next_rip(cpu, insn), cpu_rflags(cpu));
}

static bool far_protected(struct cpu *cpu, const struct cpu_insn *insn, uint16_t selector, uint64_t offset, bool call)
{
	uint64_t raw;
	if (SELECTOR_IS_NULL(selector))
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	if (!descriptor_read(cpu, selector, VECTOR_GP, &raw))
		return false;
	uint32_t access = descriptor_access(raw);
	if (access & SEGMENT_S)
		return far_segment(cpu, insn, selector, raw, offset, call);
	unsigned type = access & SEGMENT_TYPE;
	if (type == DESCRIPTOR_CALL || (type == DESCRIPTOR_CALL16 && !cpu_long_mode(cpu)))
		return far_gate(cpu, insn, selector, raw, call);
	if (!cpu_long_mode(cpu) && (TASK_TYPES >> type & 1))
		return far_task(cpu, insn, selector, raw, call);
	return cpu_fault_code(cpu, VECTOR_GP, selector & 0xfffcu);
}

static enum cpu_next far_transfer(struct cpu *cpu, const struct cpu_insn *insn, bool call)
{
	uint16_t selector;
	uint64_t offset;
	if (!far_operand(cpu, insn, &selector, &offset))
		return CPU_FAULT;
	if (cpu_real_or_v86(cpu)) /* a base is all that changes: the mode stays */
		return far_real(cpu, insn, selector, offset, call) ? CPU_EXIT : CPU_FAULT;
	if (!far_protected(cpu, insn, selector, offset, call))
		return CPU_FAULT;
	cpu_mode_update(cpu);
	return CPU_EXIT;
}

enum cpu_next cpu_op_call_far(struct cpu *cpu, const struct cpu_insn *insn)
{
	return far_transfer(cpu, insn, true);
}

enum cpu_next cpu_op_jmp_far(struct cpu *cpu, const struct cpu_insn *insn)
{
	return far_transfer(cpu, insn, false);
}

/* ---- RETF ---- */

static bool ret_real(struct cpu *cpu, struct stack *stack, uint64_t rip, uint64_t cs, uint64_t release)
{
	if (rip > cpu->segment[CPU_CS].limit)
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	stack_release(stack, release);
	stack_commit(stack);
	segment_set_real(cpu, CPU_CS, (uint16_t)cs);
	cpu->rip = rip;
	return true;
}

/* The parameters are released from both stacks. */
static bool ret_outer(struct cpu *cpu, struct stack *stack, const struct code_target *target, uint64_t release,
		      unsigned size)
{
	struct cpu_segment ss;
	uint64_t rsp, selector;
	stack_release(stack, release);
	if (!stack_pop(stack, &rsp, size) || !stack_pop(stack, &selector, size) ||
	    !return_stack(cpu, target, (uint16_t)selector, &ss) || !code_target_check_rip(cpu, target))
		return false;
	return_stack_pointer(cpu, target, &ss, rsp + release);
	cpu->segment[CPU_SS] = ss;
	code_target_enter(cpu, target);
	segment_drop_inner(cpu);
	return true;
}

static bool ret_protected(struct cpu *cpu, struct stack *stack, uint64_t rip, uint64_t cs, uint64_t release,
			  unsigned size)
{
	struct code_target target;
	if (!return_code(cpu, (uint16_t)cs, &target))
		return false;
	target.rip = rip;
	if (target.cpl > cpu->cpl)
		return ret_outer(cpu, stack, &target, release, size);
	if (!code_target_check_rip(cpu, &target))
		return false;
	stack_release(stack, release);
	stack_commit(stack);
	code_target_enter(cpu, &target);
	return true;
}

enum cpu_next cpu_op_ret_far(struct cpu *cpu, const struct cpu_insn *insn)
{
	struct stack stack = stack_current(cpu);
	unsigned size = insn->operand_size;
	uint64_t release = insn->immediate & 0xffff;
	uint64_t rip, cs;
	/* Of the selector 16 bits are read, and first. */
	if (!stack_peek(&stack, size, &cs, 2) || !stack_pop(&stack, &rip, size))
		return CPU_FAULT;
	stack_release(&stack, size);
	if (cpu_real_or_v86(cpu))
		return ret_real(cpu, &stack, rip, cs, release) ? CPU_EXIT : CPU_FAULT;
	if (!ret_protected(cpu, &stack, rip, cs, release, size))
		return CPU_FAULT;
	cpu_mode_update(cpu);
	return CPU_EXIT;
}
