/* SPDX-License-Identifier: MIT */
/* Software interrupts and IRET. SDM 2A, INT n and IRET. */
#include "cpu/transfer.h"

#include "cpu/event.h"
#include "cpu/insn.h"
#include "cpu/op.h"
#include "cpu/segment.h"
#include "cpu/task.h"

static enum cpu_next software_interrupt(struct cpu *cpu, const struct cpu_insn *insn, uint8_t vector)
{
	cpu_fault(cpu, (enum cpu_vector)vector);
	cpu->pending.software = true;
	cpu->pending.next_rip = cpu_next_rip(cpu, insn);
	return CPU_FAULT;
}

/* ---- virtual-8086 mode extensions: SDM 3B 20.3.3, table 20-2 ---- */

/* Bit of the software interrupt redirection map, which ends where the TSS's I/O map begins. Set: through the IDT. A TSS
 * that does not reach that far: #GP(0). */
static bool v86_redirection(struct cpu *cpu, uint8_t vector, bool *through_idt)
{
	enum tlb_view view = CPU_VIEW_IMPLICIT(cpu);
	uint64_t io_map, byte;
	if (!(cpu->tr.access & 8) || cpu->tr.limit < 0x67) /* a 16-bit TSS has no map */
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	if (!cpu_read_value(cpu, (uint32_t)(cpu->tr.base + 0x66), 2, view, &io_map))
		return false;
	uint64_t offset = io_map - 32 + vector / 8;
	if (io_map < 32 || offset > cpu->tr.limit)
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	if (!cpu_read_value(cpu, (uint32_t)(cpu->tr.base + offset), 1, view, &byte))
		return false;
	*through_idt = (byte >> (vector & 7) & 1) != 0;
	return true;
}

/* FLAGS as an 8086 program sees them when IOPL is below 3: IF is VIF, IOPL looks like 3. */
static uint64_t v86_flags(const struct cpu *cpu)
{
	uint64_t flags = cpu_rflags(cpu);
	if (cpu->mode & MODE_IOPL_OK)
		return flags;
	flags = (flags & ~(uint64_t)FLAG_IF) | FLAG_IOPL;
	return (flags & FLAG_VIF) ? flags | FLAG_IF : flags;
}

/* INT n straight to the 8086 program's own handler. */
static bool v86_interrupt(struct cpu *cpu, const struct cpu_insn *insn, uint8_t vector)
{
	struct stack stack = stack_current(cpu);
	uint64_t entry;
	if (!cpu_read_value(cpu, vector * 4u, 4, cpu_view(cpu), &entry) || !stack_push(&stack, v86_flags(cpu), 2) ||
	    !stack_push(&stack, cpu->segment[CPU_CS].selector, 2) || !stack_push(&stack, cpu_next_rip(cpu, insn), 2))
		return false;
	stack_commit(&stack);
	segment_set_real(cpu, CPU_CS, (uint16_t)(entry >> 16));
	cpu->rip = entry & 0xffff;
	if (cpu->mode & MODE_IOPL_OK)
		cpu->interrupt_enable = 0;
	else
		cpu->flags_system &= ~FLAG_VIF;
	cpu->flags_system &= ~FLAG_TF;
	cpu_mode_update(cpu);
	return true;
}

/* 16-bit IRET with IOPL below 3: IF of the image goes to VIF. */
static bool v86_iret(struct cpu *cpu, unsigned size)
{
	struct stack stack = stack_current(cpu);
	uint64_t rip, cs, flags;
	if (!(cpu->cr4 & CR4_VME) || size != 2)
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	if (!stack_pop(&stack, &rip, 2) || !stack_pop(&stack, &cs, 2) || !stack_pop(&stack, &flags, 2))
		return false;
	if (((flags & FLAG_IF) && (cpu->flags_system & FLAG_VIP)) || (flags & FLAG_TF))
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	const uint64_t mask = FLAGS_ARITHMETIC | FLAG_TF | FLAG_DF | FLAG_NT;
	uint64_t changed = (cpu_rflags(cpu) & ~(mask | FLAG_VIF | FLAG_RF)) | (flags & mask);
	stack_commit(&stack);
	segment_set_real(cpu, CPU_CS, (uint16_t)cs);
	cpu->rip = rip;
	cpu_rflags_set(cpu, (flags & FLAG_IF) ? changed | FLAG_VIF : changed);
	return true;
}

enum cpu_next cpu_op_int_n(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint8_t vector = (uint8_t)insn->immediate;
	if (!(cpu->mode & MODE_VM86))
		return software_interrupt(cpu, insn, vector);
	bool through_idt = true;
	if ((cpu->cr4 & CR4_VME) && !v86_redirection(cpu, vector, &through_idt))
		return CPU_FAULT;
	if (!through_idt)
		return v86_interrupt(cpu, insn, vector) ? CPU_EXIT : CPU_FAULT;
	return (cpu->mode & MODE_IOPL_OK) ? software_interrupt(cpu, insn, vector) : op_gp(cpu);
}

enum cpu_next cpu_op_int3(struct cpu *cpu, const struct cpu_insn *insn)
{
	return software_interrupt(cpu, insn, VECTOR_BP);
}

enum cpu_next cpu_op_into(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (cpu_code64(cpu))
		return cpu_op_ud(cpu, insn);
	return (cpu->flags_arithmetic & FLAG_OF) ? software_interrupt(cpu, insn, VECTOR_OF) : CPU_CONTINUE;
}

/* A #DB that the gate's DPL does not guard and that leaves DR6 alone. */
enum cpu_next cpu_op_int1(struct cpu *cpu, const struct cpu_insn *insn)
{
	software_interrupt(cpu, insn, VECTOR_DB);
	cpu->pending.software = false;
	cpu->pending.privileged_software = true;
	return CPU_FAULT;
}

/* ---- what returns share ---- */

bool code_target_from_descriptor(struct cpu *cpu, uint16_t selector, uint64_t raw, unsigned cpl,
				 struct code_target *target)
{
	uint32_t access = descriptor_access(raw);
	uint32_t error = selector & 0xfffcu;
	if (cpu_long_mode(cpu) && (access & SEGMENT_L) && (access & SEGMENT_DB))
		return cpu_fault_code(cpu, VECTOR_GP, error);
	if (!(access & SEGMENT_P))
		return cpu_fault_code(cpu, VECTOR_NP, error);
	if (!descriptor_set_type(cpu, selector, &raw, SEGMENT_ACCESSED))
		return false;
	segment_from_descriptor(&target->segment, (uint16_t)(error | cpl), raw);
	target->cpl = cpl;
	return true;
}

bool return_code(struct cpu *cpu, uint16_t selector, struct code_target *target)
{
	uint64_t raw;
	if (SELECTOR_IS_NULL(selector))
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	if (!descriptor_read(cpu, selector, VECTOR_GP, &raw))
		return false;
	uint32_t access = descriptor_access(raw);
	unsigned rpl = SELECTOR_RPL(selector), dpl = SEGMENT_DPL(access);
	bool fits = (access & SEGMENT_CONFORMING) ? dpl <= rpl : dpl == rpl;
	if (!access_is_code(access) || rpl < cpu->cpl || !fits)
		return cpu_fault_code(cpu, VECTOR_GP, selector & 0xfffcu);
	return code_target_from_descriptor(cpu, selector, raw, rpl, target);
}

bool return_stack(struct cpu *cpu, const struct code_target *target, uint16_t selector, struct cpu_segment *segment)
{
	bool null_allowed = code_target_is_64(cpu, target) && target->cpl != 3;
	if (SELECTOR_IS_NULL(selector) && null_allowed && SELECTOR_RPL(selector) == target->cpl) {
		segment_set_null(segment, selector);
		return true;
	}
	return segment_check_stack(cpu, selector, target->cpl, VECTOR_GP, segment);
}

void return_stack_pointer(struct cpu *cpu, const struct code_target *target, const struct cpu_segment *segment,
			  uint64_t pointer)
{
	if (code_target_is_64(cpu, target))
		cpu->gpr[CPU_RSP] = pointer;
	else if (segment->access & SEGMENT_DB)
		cpu->gpr[CPU_RSP] = (uint32_t)pointer;
	else /* bits 31:16 keep the inner stack's, as processors do */
		cpu->gpr[CPU_RSP] = (cpu->gpr[CPU_RSP] & 0xffff0000) | (pointer & 0xffff);
}

/* ---- IRET ---- */

struct iret_frame {
	uint64_t rip, cs, flags, rsp, ss;
};

#define IRET_ALWAYS (FLAGS_ARITHMETIC | FLAG_TF | FLAG_DF | FLAG_NT)

/* The flags that privilege and operand size let an IRET change. RF is kept only where something looks at it (event.c).
 */
static void iret_flags(struct cpu *cpu, uint64_t image, unsigned size)
{
	uint64_t mask = IRET_ALWAYS;
	if (size >= 4)
		mask |= FLAG_AC | FLAG_ID | ((cpu->mode & MODE_DEBUG) ? FLAG_RF : 0);
	if (cpu->mode & MODE_IOPL_OK)
		mask |= FLAG_IF;
	if (cpu->cpl == 0)
		mask |= FLAG_IOPL;
	if (cpu->cpl == 0 && size >= 4 && !(cpu->mode & MODE_REAL))
		mask |= FLAG_VIF | FLAG_VIP;
	cpu_rflags_set(cpu, (cpu_rflags(cpu) & ~(mask | FLAG_RF)) | (image & mask));
}

static bool iret_pop3(struct stack *stack, unsigned size, struct iret_frame *frame)
{
	return stack_pop(stack, &frame->rip, size) && stack_pop(stack, &frame->cs, size) &&
	       stack_pop(stack, &frame->flags, size);
}

/* Real mode, and virtual-8086 mode with IOPL 3. */
static bool iret_real(struct cpu *cpu, unsigned size)
{
	struct stack stack = stack_current(cpu);
	struct iret_frame frame;
	if ((cpu->mode & MODE_VM86) && !(cpu->mode & MODE_IOPL_OK))
		return v86_iret(cpu, size);
	if (!iret_pop3(&stack, size, &frame))
		return false;
	if (frame.rip > cpu->segment[CPU_CS].limit)
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	stack_commit(&stack);
	segment_set_real(cpu, CPU_CS, (uint16_t)frame.cs);
	cpu->rip = frame.rip;
	iret_flags(cpu, frame.flags, size);
	return true;
}

/* From CPL 0 into virtual-8086 mode. The stack goes on with ESP, SS, ES, DS, FS, GS. */
static bool iret_to_v86(struct cpu *cpu, struct stack *stack, const struct iret_frame *frame)
{
	uint64_t word[6];
	for (unsigned i = 0; i < 6; i++) {
		if (!stack_pop(stack, &word[i], 4))
			return false;
	}
	if (frame->rip > 0xffff)
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	cpu_rflags_set(cpu, frame->flags & ((cpu->mode & MODE_DEBUG) ? ~UINT64_C(0) : ~(uint64_t)FLAG_RF));
	cpu->cpl = 3;
	cpu->gpr[CPU_RSP] = word[0];
	cpu->rip = frame->rip;
	cpu_mode_update(cpu); /* segment_set_real looks at it */
	segment_set_real(cpu, CPU_CS, (uint16_t)frame->cs);
	segment_set_real(cpu, CPU_SS, (uint16_t)word[1]);
	segment_set_real(cpu, CPU_ES, (uint16_t)word[2]);
	segment_set_real(cpu, CPU_DS, (uint16_t)word[3]);
	segment_set_real(cpu, CPU_FS, (uint16_t)word[4]);
	segment_set_real(cpu, CPU_GS, (uint16_t)word[5]);
	/* Both VIF and VIP at the beginning of an instruction: SDM 3B 20.3.2. */
	bool waits = (cpu->flags_system & (FLAG_VIF | FLAG_VIP)) == (FLAG_VIF | FLAG_VIP);
	return !(waits && (cpu->cr4 & CR4_VME)) || cpu_fault_code(cpu, VECTOR_GP, 0);
}

/* IRETQ in 64-bit mode with the whole frame in one page that the TLB knows. */
static bool iret_read_frame64(struct cpu *cpu, struct iret_frame *frame)
{
	uint64_t linear = cpu->gpr[CPU_RSP];
	const struct tlb_entry *entry = &cpu->tlb.entry[cpu_view(cpu)][TLB_INDEX(linear)];
	if (linear - entry->read_tag > PAGE_SIZE - 40 || !op_is_aligned(cpu, linear, 8))
		return false;
	const uint8_t *host = tlb_host(entry, linear);
	frame->rip = load_le(host, 8);
	frame->cs = load_le(host + 8, 8);
	frame->flags = load_le(host + 16, 8);
	frame->rsp = load_le(host + 24, 8);
	frame->ss = load_le(host + 32, 8);
	return true;
}

/* After the frame was read and CS checked: SS where the return has one, then everything at once. */
static bool iret_finish(struct cpu *cpu, struct stack *stack, const struct iret_frame *frame,
			struct code_target *target, bool has_stack, unsigned size)
{
	struct cpu_segment ss;
	bool outer = target->cpl > cpu->cpl;
	target->rip = frame->rip;
	if (has_stack && !return_stack(cpu, target, (uint16_t)frame->ss, &ss))
		return false;
	if (!code_target_check_rip(cpu, target))
		return false;
	iret_flags(cpu, frame->flags, size); /* by the privilege that is left */
	if (has_stack) {
		return_stack_pointer(cpu, target, &ss, frame->rsp);
		cpu->segment[CPU_SS] = ss;
	} else {
		stack_commit(stack);
	}
	code_target_enter(cpu, target);
	if (outer)
		segment_drop_inner(cpu);
	return true;
}

static bool iret_protected(struct cpu *cpu, unsigned size)
{
	struct stack stack = stack_current(cpu);
	struct iret_frame frame;
	struct code_target target;
	bool code64 = cpu_code64(cpu);
	if (code64 && size == 8 && iret_read_frame64(cpu, &frame))
		return return_code(cpu, (uint16_t)frame.cs, &target) &&
		       iret_finish(cpu, &stack, &frame, &target, true, size);
	if (!iret_pop3(&stack, size, &frame))
		return false;
	if (!cpu_long_mode(cpu) && (frame.flags & FLAG_VM) && size == 4 && cpu->cpl == 0)
		return iret_to_v86(cpu, &stack, &frame);
	if (!return_code(cpu, (uint16_t)frame.cs, &target))
		return false;
	bool has_stack = code64 || target.cpl > cpu->cpl;
	if (has_stack && (!stack_pop(&stack, &frame.rsp, size) || !stack_pop(&stack, &frame.ss, size)))
		return false;
	return iret_finish(cpu, &stack, &frame, &target, has_stack, size);
}

/* NT asks for a return to the task in the TSS's back link. Long mode has no task switches. */
static bool iret_task(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t link;
	if (cpu_long_mode(cpu))
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	if (!cpu_read_value(cpu, (uint32_t)cpu->tr.base, 2, CPU_VIEW_IMPLICIT(cpu), &link))
		return false;
	return task_switch(cpu, (uint16_t)link, TASK_IRET, cpu_next_rip(cpu, insn), cpu_rflags(cpu));
}

enum cpu_next cpu_op_iret(struct cpu *cpu, const struct cpu_insn *insn)
{
	bool done, real = cpu_real_or_v86(cpu);
	uint32_t before = cpu->flags_system;
	cpu->nmi_blocked = false; /* even if it faults */
	if (real)
		done = iret_real(cpu, insn->operand_size);
	else if (cpu->flags_system & FLAG_NT)
		done = iret_task(cpu, insn);
	else
		done = iret_protected(cpu, insn->operand_size);
	if (!done)
		return CPU_FAULT;
	if (!real || ((before ^ cpu->flags_system) & (FLAG_TF | FLAG_AC | FLAG_IOPL)) != 0)
		cpu_mode_update_transfer(cpu);
	event_recheck(cpu);
	return CPU_EXIT;
}
