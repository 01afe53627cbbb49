/* SPDX-License-Identifier: MIT */
/*
 * Entry through the IDT. SDM 3A 6.12 (protected mode), 6.14 (long mode), 20.1 and 20.3 (real and virtual-8086 mode).
 *
 * Theory of operation. Each mode first checks everything and pushes the frame onto a stack of which only the copy of
 * the pointer has moved, then commits. A fault on the way leaves the processor as it was, so that exception.c can
 * deliver another one from the same state. Error codes of faults found here carry no EXT bit: exception.c adds it,
 * since it knows what is being delivered.
 */
#include "cpu/gate.h"

#include "cpu/segment.h"
#include "cpu/stack.h"
#include "cpu/task.h"

#define IDT_ERROR(vector) ((uint32_t)(vector)*8 + 2)
#define FLAGS_CLEARED (FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM)

struct gate {
	uint64_t offset;
	uint16_t selector;
	uint8_t type;
	uint8_t ist;
};

bool code_target_check_rip(struct cpu *cpu, const struct code_target *target)
{
	bool good;
	if (cpu_long_mode(cpu) && (target->segment.access & SEGMENT_L))
		good = address_is_canonical(target->rip);
	else
		good = target->rip <= target->segment.limit;
	return good || cpu_fault_code(cpu, VECTOR_GP, 0);
}

/* Enters with the flags that an event clears. */
static void gate_flags(struct cpu *cpu, bool clear_if, uint32_t cleared)
{
	cpu->flags_system &= ~cleared;
	if (clear_if)
		cpu->interrupt_enable = 0;
}

/* ---- long mode ---- */

/* Type, privilege and presence, in the order of the manual. */
static bool gate_check(struct cpu *cpu, const struct gate_event *event, uint32_t access, uint32_t types)
{
	uint32_t error = IDT_ERROR(event->vector);
	if ((access & SEGMENT_S) || !(types >> (access & SEGMENT_TYPE) & 1))
		return cpu_fault_code(cpu, VECTOR_GP, error);
	if (event->software && SEGMENT_DPL(access) < cpu->cpl)
		return cpu_fault_code(cpu, VECTOR_GP, error);
	return (access & SEGMENT_P) || cpu_fault_code(cpu, VECTOR_NP, error);
}

static bool gate_read64(struct cpu *cpu, const struct gate_event *event, struct gate *gate)
{
	uint32_t offset = event->vector * 16u;
	uint64_t raw, high;
	if (offset + 15 > cpu->idtr.limit)
		return cpu_fault_code(cpu, VECTOR_GP, IDT_ERROR(event->vector));
	enum tlb_view view = CPU_VIEW_IMPLICIT(cpu);
	if (!cpu_read_value(cpu, cpu->idtr.base + offset, 8, view, &raw) ||
	    !cpu_read_value(cpu, cpu->idtr.base + offset + 8, 8, view, &high))
		return false;
	if (!gate_check(cpu, event, descriptor_access(raw), BIT32(DESCRIPTOR_INTERRUPT) | BIT32(DESCRIPTOR_TRAP)))
		return false;
	gate->offset = (raw & 0xffff) | (raw >> 32 & 0xffff0000) | high << 32;
	gate->selector = (uint16_t)(raw >> 16);
	gate->type = descriptor_access(raw) & SEGMENT_TYPE;
	gate->ist = raw >> 32 & 7;
	return true;
}

/* The handler's code segment. */
static bool gate_code(struct cpu *cpu, uint16_t selector, struct code_target *target)
{
	uint32_t error = selector & 0xfffcu;
	uint64_t raw;
	if (SELECTOR_IS_NULL(selector))
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	if (!descriptor_read(cpu, selector, VECTOR_GP, &raw))
		return false;
	uint32_t access = descriptor_access(raw);
	unsigned dpl = SEGMENT_DPL(access);
	if (!access_is_code(access) || dpl > cpu->cpl)
		return cpu_fault_code(cpu, VECTOR_GP, error);
	if (cpu_long_mode(cpu) && (access & (SEGMENT_L | SEGMENT_DB)) != SEGMENT_L)
		return cpu_fault_code(cpu, VECTOR_GP, error);
	if (!(access & SEGMENT_P))
		return cpu_fault_code(cpu, VECTOR_NP, error);
	if (!descriptor_set_type(cpu, selector, &raw, SEGMENT_ACCESSED))
		return false;
	target->cpl = (access & SEGMENT_CONFORMING) ? cpu->cpl : dpl;
	segment_from_descriptor(&target->segment, (uint16_t)(error | target->cpl), raw);
	return true;
}

bool tss_stack64(struct cpu *cpu, unsigned index, uint64_t *pointer)
{
	uint32_t offset = 4 + index * 8;
	if (index >= TSS64_IST(1))
		offset = 0x24 + (index - TSS64_IST(1)) * 8;
	if (offset + 7 > cpu->tr.limit)
		return cpu_fault_code(cpu, VECTOR_TS, cpu->tr.selector & 0xfffcu);
	return cpu_read_value(cpu, cpu->tr.base + offset, 8, CPU_VIEW_IMPLICIT(cpu), pointer);
}

/* Five or six words at once: the frame of an exception is written on every page fault and interrupt. */
static bool frame_write(struct cpu *cpu, uint64_t linear, const uint64_t *word, unsigned count, enum tlb_view view)
{
	const struct tlb_entry *entry = &cpu->tlb.entry[view][TLB_INDEX(linear)];
	unsigned size = count * 8;
	if (linear - entry->write_tag > PAGE_SIZE - size) {
		if (!address_is_canonical(linear) || !address_is_canonical(linear + size - 1))
			return cpu_fault_code(cpu, VECTOR_SS, 0);
		return cpu_write(cpu, linear, word, size, view);
	}
	uint8_t *host = tlb_host(entry, linear);
	for (unsigned i = 0; i < count; i++)
		store_le(host + i * 8, word[i], 8);
	return true;
}

static bool deliver_long(struct cpu *cpu, const struct gate_event *event)
{
	struct gate gate;
	struct code_target target;
	if (!gate_read64(cpu, event, &gate) || !gate_code(cpu, gate.selector, &target))
		return false;
	uint64_t rsp = cpu->gpr[CPU_RSP];
	bool inner = target.cpl < cpu->cpl;
	if (gate.ist != 0) {
		if (!tss_stack64(cpu, TSS64_IST(gate.ist), &rsp))
			return false;
	} else if (inner && !tss_stack64(cpu, TSS64_RSP(target.cpl), &rsp)) {
		return false;
	}
	if (!address_is_canonical(rsp)) /* the pointer itself is checked, before the frame below it */
		return cpu_fault_code(cpu, VECTOR_SS, 0);
	target.rip = gate.offset;
	if (!code_target_check_rip(cpu, &target))
		return false;

	uint64_t frame[6] = {event->error_code, event->rip,	   cpu->segment[CPU_CS].selector,
			     event->flags,	cpu->gpr[CPU_RSP], cpu->segment[CPU_SS].selector};
	unsigned skip = event->has_error_code ? 0 : 1;
	enum tlb_view view = target.cpl == 3 ? TLB_VIEW_USER : CPU_VIEW_IMPLICIT(cpu);
	rsp = align_down(rsp, 16) - (6 - skip) * 8;
	if (!frame_write(cpu, rsp, frame + skip, 6 - skip, view))
		return false;

	cpu->gpr[CPU_RSP] = rsp;
	code_target_enter(cpu, &target);
	if (inner)
		segment_set_null(&cpu->segment[CPU_SS], (uint16_t)target.cpl);
	gate_flags(cpu, gate.type == DESCRIPTOR_INTERRUPT, FLAGS_CLEARED);
	cpu_mode_update_transfer(cpu);
	return true;
}

/* ---- protected mode without IA-32e ---- */

#define GATES_LEGACY                                                                                                   \
	(BIT32(DESCRIPTOR_TASK) | BIT32(DESCRIPTOR_INTERRUPT16) | BIT32(DESCRIPTOR_TRAP16) |                           \
	 BIT32(DESCRIPTOR_INTERRUPT) | BIT32(DESCRIPTOR_TRAP))

static bool gate_is_32(const struct gate *gate)
{
	return (gate->type & 8) != 0;
}

static bool gate_read32(struct cpu *cpu, const struct gate_event *event, struct gate *gate)
{
	uint32_t offset = event->vector * 8u;
	uint64_t raw;
	if (offset + 7 > cpu->idtr.limit)
		return cpu_fault_code(cpu, VECTOR_GP, IDT_ERROR(event->vector));
	if (!cpu_read_value(cpu, (uint32_t)(cpu->idtr.base + offset), 8, CPU_VIEW_IMPLICIT(cpu), &raw) ||
	    !gate_check(cpu, event, descriptor_access(raw), GATES_LEGACY))
		return false;
	gate->type = descriptor_access(raw) & SEGMENT_TYPE;
	gate->selector = (uint16_t)(raw >> 16);
	gate->offset = raw & 0xffff;
	if (gate_is_32(gate))
		gate->offset |= raw >> 32 & 0xffff0000;
	return true;
}

bool tss_stack(struct cpu *cpu, unsigned cpl, uint16_t *selector, uint64_t *pointer)
{
	bool wide = (cpu->tr.access & 8) != 0;
	unsigned size = wide ? 4 : 2;
	uint32_t offset = wide ? 4 + cpl * 8 : 2 + cpl * 4;
	uint64_t ss;
	if (offset + size + 1 > cpu->tr.limit)
		return cpu_fault_code(cpu, VECTOR_TS, cpu->tr.selector & 0xfffcu);
	uint32_t linear = (uint32_t)(cpu->tr.base + offset);
	if (!cpu_read_value(cpu, linear, size, CPU_VIEW_IMPLICIT(cpu), pointer) ||
	    !cpu_read_value(cpu, (uint32_t)(linear + size), 2, CPU_VIEW_IMPLICIT(cpu), &ss))
		return false;
	*selector = (uint16_t)ss;
	return true;
}

/* The new stack of an entry to an inner level. `segment` gets its SS. */
static bool inner_stack(struct cpu *cpu, unsigned cpl, struct cpu_segment *segment, struct stack *stack)
{
	uint16_t selector;
	uint64_t pointer;
	if (!tss_stack(cpu, cpl, &selector, &pointer) || !segment_check_stack(cpu, selector, cpl, VECTOR_TS, segment))
		return false;
	stack_init_inner(stack, cpu, segment, pointer);
	return true;
}

static bool push_words(struct stack *stack, const uint64_t *word, unsigned count, unsigned size)
{
	for (unsigned i = 0; i < count; i++) {
		if (!stack_push(stack, word[i], size))
			return false;
	}
	return true;
}

/* Frame words in the order of the pushes. */
static bool push_frame(struct cpu *cpu, const struct gate_event *event, struct stack *stack, bool inner, unsigned size)
{
	const struct cpu_segment *segment = cpu->segment;
	const uint64_t data[4] = {segment[CPU_GS].selector, segment[CPU_FS].selector, segment[CPU_DS].selector,
				  segment[CPU_ES].selector};
	const uint64_t outer[2] = {segment[CPU_SS].selector, cpu->gpr[CPU_RSP]};
	const uint64_t always[4] = {event->flags, segment[CPU_CS].selector, event->rip, event->error_code};
	if ((cpu->mode & MODE_VM86) && !push_words(stack, data, 4, size))
		return false;
	if (inner && !push_words(stack, outer, 2, size))
		return false;
	return push_words(stack, always, event->has_error_code ? 4 : 3, size);
}

static bool deliver_task(struct cpu *cpu, const struct gate_event *event, uint16_t selector)
{
	return task_switch(cpu, selector, TASK_EVENT, event->rip, event->flags) &&
	       (!event->has_error_code || task_push_error(cpu, event->error_code));
}

static bool deliver_protected(struct cpu *cpu, const struct gate_event *event)
{
	struct gate gate;
	struct code_target target;
	if (!gate_read32(cpu, event, &gate))
		return false;
	if (gate.type == DESCRIPTOR_TASK)
		return deliver_task(cpu, event, gate.selector);
	if (!gate_code(cpu, gate.selector, &target))
		return false;
	bool inner = target.cpl < cpu->cpl;
	bool v86 = (cpu->mode & MODE_VM86) != 0;
	if (v86 && target.cpl != 0)
		return cpu_fault_code(cpu, VECTOR_GP, gate.selector & 0xfffcu);

	struct cpu_segment ss = cpu->segment[CPU_SS];
	struct stack stack = stack_current(cpu);
	stack.checked = false; /* an #AC met while #AC is delivered would be delivered again, without end */
	if (inner && !inner_stack(cpu, target.cpl, &ss, &stack))
		return false;
	target.rip = gate.offset;
	if (!push_frame(cpu, event, &stack, inner, gate_is_32(&gate) ? 4 : 2) || !code_target_check_rip(cpu, &target))
		return false;

	stack_commit(&stack);
	code_target_enter(cpu, &target);
	cpu->segment[CPU_SS] = ss;
	if (v86) {
		static const uint8_t names[] = {CPU_ES, CPU_DS, CPU_FS, CPU_GS};
		for (unsigned i = 0; i < sizeof(names); i++)
			segment_set_null(&cpu->segment[names[i]], 0);
	}
	gate_flags(cpu, (gate.type & 1) == 0, FLAGS_CLEARED);
	cpu_mode_update(cpu);
	return true;
}

/* ---- real mode ---- */

static bool deliver_real(struct cpu *cpu, const struct gate_event *event)
{
	uint32_t offset = event->vector * 4u;
	uint64_t entry;
	if (offset + 3 > cpu->idtr.limit)
		return cpu_fault_code(cpu, VECTOR_GP, IDT_ERROR(event->vector));
	if (!cpu_read_value(cpu, (uint32_t)(cpu->idtr.base + offset), 4, CPU_VIEW_IMPLICIT(cpu), &entry))
		return false;
	const uint64_t frame[3] = {event->flags, cpu->segment[CPU_CS].selector, event->rip};
	struct stack stack = stack_current(cpu);
	if (!push_words(&stack, frame, 3, 2))
		return false;
	stack_commit(&stack);
	segment_set_real(cpu, CPU_CS, (uint16_t)(entry >> 16));
	cpu->rip = entry & 0xffff;
	bool changes_mode = (cpu->flags_system & (FLAG_TF | FLAG_AC)) != 0;
	gate_flags(cpu, true, FLAG_TF | FLAG_AC | FLAG_RF);
	if (changes_mode)
		cpu_mode_update(cpu);
	return true;
}

bool gate_deliver(struct cpu *cpu, const struct gate_event *event)
{
	if (cpu->mode & MODE_REAL)
		return deliver_real(cpu, event);
	return cpu_long_mode(cpu) ? deliver_long(cpu, event) : deliver_protected(cpu, event);
}
