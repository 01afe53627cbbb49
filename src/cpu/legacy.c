/* SPDX-License-Identifier: MIT */
/* Integer instructions that 64-bit mode dropped or that compilers have no use for. SDM volume 2. */
#include "cpu/decimal.h"
#include "cpu/op.h"
#include "cpu/stack.h"

static void set_low_word(struct cpu *cpu, enum cpu_gpr number, uint64_t value)
{
	cpu->gpr[number] = (cpu->gpr[number] & ~UINT64_C(0xffff)) | (value & 0xffff);
}

/* ---- decimal adjustment ---- */

static struct decimal decimal_state(const struct cpu *cpu)
{
	return (struct decimal){(uint16_t)cpu->gpr[CPU_RAX], cpu->flags_arithmetic};
}

static enum cpu_next decimal_done(struct cpu *cpu, struct decimal result)
{
	set_low_word(cpu, CPU_RAX, result.ax);
	cpu->flags_arithmetic = result.flags;
	return CPU_CONTINUE;
}

/* Without operand: not in 64-bit mode. */
static enum cpu_next decimal_run(struct cpu *cpu, struct decimal (*adjust)(struct decimal))
{
	if (cpu_code64(cpu))
		return op_fault(cpu, VECTOR_UD);
	return decimal_done(cpu, adjust(decimal_state(cpu)));
}

enum cpu_next cpu_op_daa(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	return decimal_run(cpu, decimal_daa);
}

enum cpu_next cpu_op_das(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	return decimal_run(cpu, decimal_das);
}

enum cpu_next cpu_op_aaa(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	return decimal_run(cpu, decimal_aaa);
}

enum cpu_next cpu_op_aas(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	return decimal_run(cpu, decimal_aas);
}

enum cpu_next cpu_op_aam(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint8_t base = (uint8_t)insn->immediate;

	if (cpu_code64(cpu))
		return op_fault(cpu, VECTOR_UD);
	if (base == 0)
		return op_fault(cpu, VECTOR_DE);
	return decimal_done(cpu, decimal_aam(decimal_state(cpu), base));
}

enum cpu_next cpu_op_aad(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (cpu_code64(cpu))
		return op_fault(cpu, VECTOR_UD);
	return decimal_done(cpu, decimal_aad(decimal_state(cpu), (uint8_t)insn->immediate));
}

enum cpu_next cpu_op_salc(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	if (cpu_code64(cpu))
		return op_fault(cpu, VECTOR_UD);
	cpu->gpr[CPU_RAX] = (cpu->gpr[CPU_RAX] & ~UINT64_C(0xff)) | (cpu->flags_arithmetic & FLAG_CF ? 0xff : 0);
	return CPU_CONTINUE;
}

/* ---- one memory operand ---- */

enum cpu_next cpu_op_xlat(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t offset = (cpu->gpr[CPU_RBX] + (cpu->gpr[CPU_RAX] & 0xff)) & size_mask(insn->address_size);
	uint64_t linear, value;

	if (!cpu_linear(cpu, (enum cpu_segment_name)insn->segment, offset, 1, TLB_READ, &linear) ||
	    !cpu_read_value(cpu, linear, 1, cpu_view(cpu), &value))
		return CPU_FAULT;
	cpu->gpr[CPU_RAX] = (cpu->gpr[CPU_RAX] & ~UINT64_C(0xff)) | value;
	return CPU_CONTINUE;
}

/* Signed bounds, both inclusive. */
enum cpu_next cpu_op_bound(struct cpu *cpu, const struct cpu_insn *insn)
{
	unsigned size = insn->operand_size, bits = size * 8;
	int64_t index = (int64_t)sign_extend(cpu_register(cpu, insn, insn->reg, size), bits);
	uint64_t linear, bounds[1] = {0};
	int64_t low, high;

	if (cpu_code64(cpu) || !insn->has_memory)
		return op_fault(cpu, VECTOR_UD);
	if (!cpu_operand_linear(cpu, insn, size * 2, TLB_READ, &linear) || !op_aligned(cpu, linear, size) ||
	    !cpu_read(cpu, linear, bounds, size * 2, cpu_view(cpu)))
		return CPU_FAULT;
	low = (int64_t)sign_extend(bounds[0] & size_mask(size), bits);
	high = (int64_t)sign_extend((bounds[0] >> bits) & size_mask(size), bits);
	return index < low || index > high ? op_fault(cpu, VECTOR_BR) : CPU_CONTINUE;
}

/* ---- stack frames ---- */

static void set_stack_register(struct cpu *cpu, enum cpu_gpr number, unsigned size, uint64_t value)
{
	if (size == 2)
		set_low_word(cpu, number, value);
	else
		cpu->gpr[number] = value & size_mask(size);
}

/* The frame pointers of the outer levels are copied from the old frame. */
static bool enter_copy_display(struct cpu *cpu, struct stack *stack, unsigned size, unsigned level)
{
	uint64_t bp = cpu->gpr[CPU_RBP], value;

	for (unsigned i = 1; i < level; i++) {
		struct stack outer = *stack;

		bp -= size;
		outer.pointer = bp & stack->mask;
		if (!stack_peek(&outer, 0, &value, size) || !stack_push(stack, value, size))
			return false;
	}
	return true;
}

/* The new stack top must be writable, though nothing is written there. */
static bool enter_check_top(struct cpu *cpu, const struct stack *stack, unsigned size)
{
	uint64_t linear;

	return cpu_linear(cpu, CPU_SS, stack->pointer & stack->mask, size, TLB_WRITE, &linear) &&
	       op_aligned(cpu, linear, size) && cpu_check_write(cpu, linear, size, cpu_view(cpu));
}

enum cpu_next cpu_op_enter(struct cpu *cpu, const struct cpu_insn *insn)
{
	unsigned size = insn->operand_size, level = insn->immediate2 & 31;
	struct stack stack = stack_current(cpu);
	uint64_t frame;

	if (!stack_push(&stack, cpu->gpr[CPU_RBP], size))
		return CPU_FAULT;
	frame = stack.pointer;
	if (level > 0 && (!enter_copy_display(cpu, &stack, size, level) || !stack_push(&stack, frame, size)))
		return CPU_FAULT;
	stack_release(&stack, -(insn->immediate & 0xffff));
	if (!enter_check_top(cpu, &stack, size))
		return CPU_FAULT;
	set_stack_register(cpu, CPU_RBP, size, frame);
	stack_commit(&stack);
	return CPU_CONTINUE;
}

enum cpu_next cpu_op_leave(struct cpu *cpu, const struct cpu_insn *insn)
{
	struct stack stack = stack_current(cpu);
	uint64_t value;

	stack.pointer = (stack.pointer & ~stack.mask) | (cpu->gpr[CPU_RBP] & stack.mask);
	if (!stack_pop(&stack, &value, insn->operand_size))
		return CPU_FAULT;
	set_stack_register(cpu, CPU_RBP, insn->operand_size, value);
	stack_commit(&stack);
	return CPU_CONTINUE;
}

enum cpu_next cpu_op_pusha(struct cpu *cpu, const struct cpu_insn *insn)
{
	struct stack stack = stack_current(cpu);

	if (cpu_code64(cpu))
		return op_fault(cpu, VECTOR_UD);
	for (unsigned i = 0; i < 8; i++)
		if (!stack_push(&stack, cpu->gpr[i], insn->operand_size))
			return CPU_FAULT;
	stack_commit(&stack);
	return CPU_CONTINUE;
}

enum cpu_next cpu_op_popa(struct cpu *cpu, const struct cpu_insn *insn)
{
	struct stack stack = stack_current(cpu);
	uint64_t value[8];

	if (cpu_code64(cpu))
		return op_fault(cpu, VECTOR_UD);
	for (unsigned i = 8; i-- > 0;)
		if (!stack_pop(&stack, &value[i], insn->operand_size))
			return CPU_FAULT;
	for (unsigned i = 0; i < 8; i++)
		if (i != CPU_RSP)
			set_stack_register(cpu, (enum cpu_gpr)i, insn->operand_size, value[i]);
	stack_commit(&stack);
	return CPU_CONTINUE;
}

/* ---- LOOP ---- */

static enum cpu_next branch(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t target = cpu->rip + insn->length + insn->immediate;

	if (cpu_code64(cpu)) {
		if (!address_is_canonical(target))
			return op_gp(cpu);
	} else {
		target &= size_mask(insn->operand_size);
		if (target > cpu->segment[CPU_CS].limit)
			return op_gp(cpu);
	}
	cpu->rip = target;
	return CPU_EXIT;
}

/* Counts down only when the branch does not fault: #GP finds the count as it was. */
static enum cpu_next loop(struct cpu *cpu, const struct cpu_insn *insn, bool condition)
{
	uint64_t count = (cpu->gpr[CPU_RCX] - 1) & size_mask(insn->address_size);
	enum cpu_next next = CPU_CONTINUE;

	if (count != 0 && condition)
		next = branch(cpu, insn);
	if (next != CPU_FAULT)
		set_stack_register(cpu, CPU_RCX, insn->address_size, count);
	return next;
}

enum cpu_next cpu_op_loop(struct cpu *cpu, const struct cpu_insn *insn)
{
	return loop(cpu, insn, true);
}

enum cpu_next cpu_op_loope(struct cpu *cpu, const struct cpu_insn *insn)
{
	return loop(cpu, insn, (cpu->flags_arithmetic & FLAG_ZF) != 0);
}

enum cpu_next cpu_op_loopne(struct cpu *cpu, const struct cpu_insn *insn)
{
	return loop(cpu, insn, (cpu->flags_arithmetic & FLAG_ZF) == 0);
}
