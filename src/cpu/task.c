/* SPDX-License-Identifier: MIT */
/*
 * Task switches. SDM 3A 7.2 (structures), 7.3 (the steps and table 7-1, what faults and with which selector), 7.4
 * (nesting), 7.6 (16-bit TSS).
 *
 * Theory of operation. A switch has two halves. The first checks the new TSS's descriptor, both TSSs' limits, and that
 * every byte that will be written can be: faults there belong to the old task, which has not changed. Then the switch
 * commits: the old state is stored, busy bits and back link are set, and TR, CR3, registers, flags and all selectors
 * come from the new TSS. From there on faults belong to the new task. Segment registers are made unusable first, and
 * LDTR, CS, SS and the data segments are then loaded one by one, so a fault leaves the rest unusable, with the
 * selectors as the TSS has them. CPL is 3 meanwhile: a handler that is no task gets the new task's own stack for its
 * privilege, and never one that was not checked.
 */
#include "cpu/task.h"

#include "cpu/control.h"
#include "cpu/debug.h"
#include "cpu/mmu.h"
#include "cpu/segment.h"
#include "cpu/stack.h"

#define ACCESS_WIDE 8u /* of a TSS's type: 32-bit */
#define ACCESS_BUSY 2u
#define DR7_LOCAL UINT64_C(0x155) /* L0-L3 and LE */
#define TSS_TRAP 1u
#define DATA_SEGMENTS 4u

/* Where a TSS of each size has its fields. The dynamic part is instruction pointer, flags, eight registers, and then
 * the selectors in the order of enum cpu_segment_name. */
struct tss_layout {
	uint8_t word; /* bytes of a register */
	uint8_t dynamic;
	uint8_t selectors;
	uint8_t selector_count; /* 16-bit ones have no FS and GS */
	uint8_t ldt;
	uint8_t minimum_new; /* limit */
	uint8_t minimum_old;
};

#define TSS_CR3 0x1c
#define TSS_TRAP_WORD 0x64

static const struct tss_layout layout16 = {.word = 2,
					   .dynamic = 0x0e,
					   .selectors = 0x22,
					   .selector_count = 4,
					   .ldt = 0x2a,
					   .minimum_new = 0x2b,
					   .minimum_old = 0x29};
static const struct tss_layout layout32 = {.word = 4,
					   .dynamic = 0x20,
					   .selectors = 0x48,
					   .selector_count = 6,
					   .ldt = 0x60,
					   .minimum_new = 0x67,
					   .minimum_old = 0x5f};

#define DYNAMIC_WORDS 10 /* EIP, EFLAGS, EAX-EDI */

static const struct tss_layout *tss_layout(const struct cpu_segment *tss)
{
	return (tss->access & ACCESS_WIDE) ? &layout32 : &layout16;
}

/* What a TSS says of a task. */
struct task_state {
	uint32_t cr3;
	uint32_t word[DYNAMIC_WORDS];
	uint16_t selector[CPU_SEGMENT_COUNT];
	uint16_t ldt;
	bool trap;
};

/* ---- before the commit ---- */

/* The new TSS's descriptor: in the GDT, of the type that the source asks for, present, large enough. */
static bool new_tss(struct cpu *cpu, uint16_t selector, enum task_source source, uint64_t *raw, struct cpu_segment *tss)
{
	enum cpu_vector vector = source == TASK_IRET ? VECTOR_TS : VECTOR_GP;
	uint32_t wanted = source == TASK_IRET ? DESCRIPTOR_TSS16_BUSY : DESCRIPTOR_TSS16;
	uint32_t code = selector & 0xfffcu;
	if (selector & 4)
		return cpu_fault_code(cpu, vector, code);
	if (!descriptor_read(cpu, selector, vector, raw))
		return false;
	segment_from_descriptor(tss, selector, *raw);
	if ((tss->access & (SEGMENT_S | (SEGMENT_TYPE & ~ACCESS_WIDE))) != wanted)
		return cpu_fault_code(cpu, vector, code);
	if (!(tss->access & SEGMENT_P))
		return cpu_fault_code(cpu, VECTOR_NP, code);
	return tss->limit >= tss_layout(tss)->minimum_new || cpu_fault_code(cpu, VECTOR_TS, code);
}

static bool check_tss_pages(struct cpu *cpu, const struct cpu_segment *tss, unsigned last)
{
	return cpu_check_write(cpu, (uint32_t)tss->base, last + 1, CPU_VIEW_IMPLICIT(cpu));
}

static bool source_nests(enum task_source source)
{
	return source == TASK_CALL || source == TASK_EVENT;
}

/* Everything that will be written must be writable: step 5 of SDM 3A 7.3. */
static bool check_pages(struct cpu *cpu, const struct cpu_segment *tss, enum task_source source)
{
	uint8_t old_limit = tss_layout(&cpu->tr)->minimum_old;
	if (cpu->tr.limit < old_limit)
		return cpu_fault_code(cpu, VECTOR_TS, cpu->tr.selector & 0xfffcu);
	return check_tss_pages(cpu, tss, tss_layout(tss)->minimum_new) && check_tss_pages(cpu, &cpu->tr, old_limit) &&
	       (source_nests(source) || descriptor_check_write(cpu, cpu->tr.selector, VECTOR_TS)) &&
	       (source == TASK_IRET || descriptor_check_write(cpu, tss->selector, VECTOR_TS));
}

/* ---- the commit ---- */

static bool tss_write(struct cpu *cpu, const struct cpu_segment *tss, unsigned offset, unsigned size, uint64_t value)
{
	return cpu_write_value(cpu, (uint32_t)(tss->base + offset), size, CPU_VIEW_IMPLICIT(cpu), value);
}

static bool tss_read(struct cpu *cpu, const struct cpu_segment *tss, unsigned offset, unsigned size, uint64_t *value)
{
	return cpu_read_value(cpu, (uint32_t)(tss->base + offset), size, CPU_VIEW_IMPLICIT(cpu), value);
}

static bool save_state(struct cpu *cpu, uint64_t rip, uint64_t flags)
{
	const struct tss_layout *layout = tss_layout(&cpu->tr);
	unsigned size = layout->word;
	bool done = tss_write(cpu, &cpu->tr, layout->dynamic, size, rip) &&
		    tss_write(cpu, &cpu->tr, layout->dynamic + size, size, flags);
	for (unsigned i = 0; i < 8 && done; i++)
		done = tss_write(cpu, &cpu->tr, layout->dynamic + (i + 2) * size, size, cpu->gpr[i]);
	for (unsigned i = 0; i < layout->selector_count && done; i++)
		done = tss_write(cpu, &cpu->tr, layout->selectors + i * size, 2, cpu->segment[i].selector);
	return done;
}

/* Registers that a 16-bit TSS has no upper half for get ones there, as processors do; instruction pointer and flags
 * zeroes. */
static bool read_state(struct cpu *cpu, const struct cpu_segment *tss, struct task_state *state)
{
	const struct tss_layout *layout = tss_layout(tss);
	bool wide = layout->word == 4;
	uint64_t value = 0;
	*state = (struct task_state){.cr3 = (uint32_t)cpu->cr3};
	for (unsigned i = 0; i < DYNAMIC_WORDS; i++) {
		if (!tss_read(cpu, tss, layout->dynamic + i * layout->word, layout->word, &value))
			return false;
		state->word[i] = (uint32_t)value | (wide || i < 2 ? 0 : 0xffff0000u);
	}
	for (unsigned i = 0; i < layout->selector_count; i++) {
		if (!tss_read(cpu, tss, layout->selectors + i * layout->word, 2, &value))
			return false;
		state->selector[i] = (uint16_t)value;
	}
	if (!tss_read(cpu, tss, layout->ldt, 2, &value))
		return false;
	state->ldt = (uint16_t)value;
	if (!wide)
		return true;
	if (!tss_read(cpu, tss, TSS_CR3, 4, &value))
		return false;
	state->cr3 = (uint32_t)value;
	if (!tss_read(cpu, tss, TSS_TRAP_WORD, 2, &value))
		return false;
	state->trap = (value & TSS_TRAP) != 0;
	return true;
}

/* Busy bits, the back link, TR. */
static bool change_tss(struct cpu *cpu, const struct cpu_segment *tss, uint64_t raw, enum task_source source)
{
	uint64_t old;
	if (source_nests(source)) {
		if (!tss_write(cpu, tss, 0, 2, cpu->tr.selector))
			return false;
	} else if (!descriptor_read(cpu, cpu->tr.selector, VECTOR_TS, &old) ||
		   !descriptor_clear_type(cpu, cpu->tr.selector, &old, ACCESS_BUSY)) {
		return false;
	}
	if (source != TASK_IRET && !descriptor_set_type(cpu, tss->selector, &raw, ACCESS_BUSY))
		return false;
	cpu->tr = *tss;
	cpu->tr.access |= ACCESS_BUSY;
	return true;
}

/* RF is kept only where something looks at it (event.c). */
static void load_registers(struct cpu *cpu, const struct task_state *state, bool nested)
{
	uint64_t flags = state->word[1] | (nested ? FLAG_NT : 0);
	if (!(cpu->mode & MODE_DEBUG))
		flags &= ~(uint64_t)FLAG_RF;
	cpu->rip = state->word[0];
	cpu_rflags_set(cpu, flags);
	for (unsigned i = 0; i < 8; i++)
		cpu->gpr[i] = state->word[i + 2];
	for (unsigned i = 0; i < CPU_SEGMENT_COUNT; i++)
		segment_set_null(&cpu->segment[i], state->selector[i]);
	segment_set_null(&cpu->ldtr, state->ldt);
	cpu->cr0 |= CR0_TS;
	cpu->dr[7] &= ~DR7_LOCAL;
	cpu->interrupt_shadow = 0;
	cpu->cpl = 3;
}

/* ---- in the new task ---- */

/* A 16-bit TSS has no CR3. Reserved bits in the PDPTEs are no valid TSS. */
static bool load_address_space(struct cpu *cpu, const struct task_state *state)
{
	if (!(cpu->cr0 & CR0_PG) || state->cr3 == cpu->cr3)
		return true;
	if (control_set_cr3(cpu, state->cr3))
		return true;
	return cpu_fault_code(cpu, VECTOR_TS, cpu->tr.selector & 0xfffcu);
}

static bool load_ldt(struct cpu *cpu, uint16_t selector)
{
	uint32_t code = selector & 0xfffcu;
	uint64_t raw;
	if (SELECTOR_IS_NULL(selector))
		return true;
	if (selector & 4)
		return cpu_fault_code(cpu, VECTOR_TS, code);
	if (!descriptor_read(cpu, selector, VECTOR_TS, &raw))
		return false;
	if ((descriptor_access(raw) & (SEGMENT_P | SEGMENT_S | SEGMENT_TYPE)) != (SEGMENT_P | DESCRIPTOR_LDT))
		return cpu_fault_code(cpu, VECTOR_TS, code);
	segment_from_descriptor(&cpu->ldtr, selector, raw);
	return true;
}

static bool load_code(struct cpu *cpu, uint16_t selector)
{
	uint32_t code = selector & 0xfffcu;
	unsigned rpl = SELECTOR_RPL(selector);
	uint64_t raw;
	if (SELECTOR_IS_NULL(selector))
		return cpu_fault_code(cpu, VECTOR_TS, code);
	if (!descriptor_read(cpu, selector, VECTOR_TS, &raw))
		return false;
	uint32_t access = descriptor_access(raw);
	unsigned dpl = SEGMENT_DPL(access);
	bool fits = (access & SEGMENT_CONFORMING) ? dpl <= rpl : dpl == rpl;
	if (!access_is_code(access) || !fits)
		return cpu_fault_code(cpu, VECTOR_TS, code);
	if (!(access & SEGMENT_P))
		return cpu_fault_code(cpu, VECTOR_NP, code);
	if (!descriptor_set_type(cpu, selector, &raw, SEGMENT_ACCESSED))
		return false;
	segment_from_descriptor(&cpu->segment[CPU_CS], selector, raw);
	return true;
}

static bool load_protected(struct cpu *cpu, const struct task_state *state)
{
	static const uint8_t data[DATA_SEGMENTS] = {CPU_DS, CPU_ES, CPU_FS, CPU_GS};
	unsigned cpl = SELECTOR_RPL(state->selector[CPU_CS]);
	if (!load_code(cpu, state->selector[CPU_CS]) ||
	    !segment_check_stack(cpu, state->selector[CPU_SS], cpl, VECTOR_TS, &cpu->segment[CPU_SS]))
		return false;
	for (unsigned i = 0; i < DATA_SEGMENTS; i++) {
		if (!segment_check_data(cpu, state->selector[data[i]], cpl, VECTOR_TS, &cpu->segment[data[i]]))
			return false;
	}
	cpu->cpl = (uint8_t)cpl;
	return true;
}

static void load_v86(struct cpu *cpu, const struct task_state *state)
{
	for (unsigned i = 0; i < CPU_SEGMENT_COUNT; i++)
		segment_set_real(cpu, (enum cpu_segment_name)i, state->selector[i]);
}

static bool enter_task(struct cpu *cpu, const struct task_state *state)
{
	if (!load_address_space(cpu, state) || !load_ldt(cpu, state->ldt))
		return false;
	if (cpu->flags_system & FLAG_VM)
		load_v86(cpu, state);
	else if (!load_protected(cpu, state))
		return false;
	if (state->trap) {
		cpu->debug_trap = true;
		cpu->debug_dr6 |= DR6_BT;
	}
	return cpu->rip <= cpu->segment[CPU_CS].limit || cpu_fault_code(cpu, VECTOR_GP, 0);
}

bool task_switch(struct cpu *cpu, uint16_t selector, enum task_source source, uint64_t rip, uint64_t flags)
{
	struct cpu_segment tss;
	struct task_state state;
	uint64_t raw;
	if (!new_tss(cpu, selector, source, &raw, &tss) || !check_pages(cpu, &tss, source))
		return false;
	if (source == TASK_IRET)
		flags &= ~(uint64_t)FLAG_NT;
	if (!save_state(cpu, rip, flags) || !change_tss(cpu, &tss, raw, source) || !read_state(cpu, &tss, &state))
		return false;
	load_registers(cpu, &state, source_nests(source));
	cpu_mode_update(cpu);
	bool done = enter_task(cpu, &state);
	cpu_mode_update(cpu);
	return done;
}

bool task_push_error(struct cpu *cpu, uint32_t error_code)
{
	struct stack stack = stack_current(cpu);
	stack.checked = false;
	if (!stack_push(&stack, error_code, tss_layout(&cpu->tr)->word))
		return false;
	stack_commit(&stack);
	return true;
}
