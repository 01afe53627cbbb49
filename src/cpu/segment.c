/* SPDX-License-Identifier: MIT */
#include "cpu/segment.h"

#include "cpu/insn.h"
#include "cpu/mmu.h"
#include "cpu/op.h"
#include "cpu/stack.h"

/* The linear address of a selector's descriptor of `size` bytes; `vector` beyond the table. */
static bool descriptor_address(struct cpu *cpu, uint16_t selector, unsigned size, enum cpu_vector vector,
			       uint64_t *linear)
{
	uint64_t base = cpu->gdtr.base;
	uint32_t limit = cpu->gdtr.limit;
	uint32_t offset = selector & 0xfff8u;
	bool present = true;
	if (selector & 4) {
		base = cpu->ldtr.base;
		limit = cpu->ldtr.limit;
		present = (cpu->ldtr.access & SEGMENT_P) != 0;
	}
	if (!present || offset + size - 1 > limit)
		return cpu_fault_code(cpu, vector, selector & 0xfffcu);
	*linear = base + offset;
	if (!cpu_long_mode(cpu))
		*linear = (uint32_t)*linear;
	return true;
}

bool descriptor_read(struct cpu *cpu, uint16_t selector, enum cpu_vector vector, uint64_t *raw)
{
	uint64_t linear;
	return descriptor_address(cpu, selector, 8, vector, &linear) &&
	       cpu_read_value(cpu, linear, 8, CPU_VIEW_IMPLICIT(cpu), raw);
}

bool descriptor_read_high(struct cpu *cpu, uint16_t selector, enum cpu_vector vector, uint64_t *raw, uint64_t *high)
{
	uint64_t linear;
	return descriptor_address(cpu, selector, 16, vector, &linear) &&
	       cpu_read_value(cpu, linear, 8, CPU_VIEW_IMPLICIT(cpu), raw) &&
	       cpu_read_value(cpu, linear + 8, 8, CPU_VIEW_IMPLICIT(cpu), high);
}

static bool descriptor_write_type(struct cpu *cpu, uint16_t selector, uint64_t *raw, uint64_t changed)
{
	if (changed == *raw)
		return true;
	uint64_t linear;
	if (!descriptor_address(cpu, selector, 8, VECTOR_GP, &linear) ||
	    !cpu_write_value(cpu, linear + 5, 1, CPU_VIEW_IMPLICIT(cpu), (changed >> 40) & 0xff))
		return false;
	*raw = changed;
	return true;
}

bool descriptor_check_write(struct cpu *cpu, uint16_t selector, enum cpu_vector vector)
{
	uint64_t linear;
	return descriptor_address(cpu, selector, 8, vector, &linear) &&
	       cpu_check_write(cpu, linear + 5, 1, CPU_VIEW_IMPLICIT(cpu));
}

bool descriptor_set_type(struct cpu *cpu, uint16_t selector, uint64_t *raw, unsigned bits)
{
	return descriptor_write_type(cpu, selector, raw, *raw | (uint64_t)bits << 40);
}

bool descriptor_clear_type(struct cpu *cpu, uint16_t selector, uint64_t *raw, unsigned bits)
{
	return descriptor_write_type(cpu, selector, raw, *raw & ~((uint64_t)bits << 40));
}

void segment_from_descriptor(struct cpu_segment *segment, uint16_t selector, uint64_t raw)
{
	uint32_t limit = (uint32_t)(raw & 0xffff) | ((uint32_t)(raw >> 32) & 0xf0000);
	segment->base = ((raw >> 16) & 0xffffff) | ((raw >> 32) & 0xff000000);
	segment->access = descriptor_access(raw);
	segment->limit = (segment->access & SEGMENT_G) ? limit << 12 | 0xfff : limit;
	segment->selector = selector;
}

void segment_set_null(struct cpu_segment *segment, uint16_t selector)
{
	segment->base = 0;
	segment->limit = 0;
	segment->access = 0;
	segment->selector = selector;
}

void segment_set_real(struct cpu *cpu, enum cpu_segment_name name, uint16_t selector)
{
	struct cpu_segment *segment = &cpu->segment[name];
	segment->selector = selector;
	segment->base = (uint64_t)selector << 4;
	if (cpu->mode & MODE_VM86) {
		segment->limit = 0xffff;
		segment->access = SEGMENT_P | SEGMENT_S | 0x63;
	} else {
		segment->access = (segment->access & 0xf000) | SEGMENT_P | SEGMENT_S | 0x3;
	}
}

bool segment_check_stack(struct cpu *cpu, uint16_t selector, unsigned cpl, enum cpu_vector vector,
			 struct cpu_segment *segment)
{
	uint32_t code = selector & 0xfffcu;
	uint64_t raw;
	if (SELECTOR_IS_NULL(selector))
		return cpu_fault_code(cpu, vector, 0);
	if (!descriptor_read(cpu, selector, vector, &raw))
		return false;
	uint32_t access = descriptor_access(raw);
	if (SELECTOR_RPL(selector) != cpl || SEGMENT_DPL(access) != cpl || !access_is_writable_data(access))
		return cpu_fault_code(cpu, vector, code);
	if (!(access & SEGMENT_P))
		return cpu_fault_code(cpu, VECTOR_SS, code);
	if (!descriptor_set_type(cpu, selector, &raw, SEGMENT_ACCESSED))
		return false;
	segment_from_descriptor(segment, selector, raw);
	return true;
}

/* SS: null is allowed in 64-bit mode below CPL 3 only, with the CPL as RPL. */
static bool load_stack_segment(struct cpu *cpu, uint16_t selector)
{
	if (SELECTOR_IS_NULL(selector) && cpu_code64(cpu) && cpu->cpl < 3 && SELECTOR_RPL(selector) == cpu->cpl) {
		segment_set_null(&cpu->segment[CPU_SS], selector);
		return true;
	}
	struct cpu_segment segment;
	if (!segment_check_stack(cpu, selector, cpu->cpl, VECTOR_GP, &segment))
		return false;
	cpu->segment[CPU_SS] = segment;
	return true;
}

/* May a data segment register hold this descriptor at that privilege? */
static bool data_permits(uint32_t access, unsigned privilege)
{
	if (!access_is_readable(access))
		return false;
	bool conforming = access_is_code(access) && (access & SEGMENT_CONFORMING);
	return conforming || privilege <= SEGMENT_DPL(access);
}

bool segment_check_data(struct cpu *cpu, uint16_t selector, unsigned cpl, enum cpu_vector vector,
			struct cpu_segment *segment)
{
	if (SELECTOR_IS_NULL(selector)) {
		segment_set_null(segment, selector);
		return true;
	}
	uint64_t raw;
	if (!descriptor_read(cpu, selector, vector, &raw))
		return false;
	uint32_t access = descriptor_access(raw);
	unsigned rpl = SELECTOR_RPL(selector);
	if (!data_permits(access, rpl > cpl ? rpl : cpl))
		return cpu_fault_code(cpu, vector, selector & 0xfffcu);
	if (!(access & SEGMENT_P))
		return cpu_fault_code(cpu, VECTOR_NP, selector & 0xfffcu);
	if (!descriptor_set_type(cpu, selector, &raw, SEGMENT_ACCESSED))
		return false;
	segment_from_descriptor(segment, selector, raw);
	return true;
}

bool segment_load(struct cpu *cpu, enum cpu_segment_name name, uint16_t selector)
{
	if (cpu_real_or_v86(cpu)) {
		segment_set_real(cpu, name, selector);
		return true;
	}
	return name == CPU_SS ? load_stack_segment(cpu, selector)
			      : segment_check_data(cpu, selector, cpu->cpl, VECTOR_GP, &cpu->segment[name]);
}

void segment_drop_inner(struct cpu *cpu)
{
	static const uint8_t names[] = {CPU_ES, CPU_DS, CPU_FS, CPU_GS};
	for (unsigned i = 0; i < sizeof(names); i++) {
		struct cpu_segment *segment = &cpu->segment[names[i]];
		if ((segment->access & SEGMENT_P) && data_permits(segment->access, cpu->cpl))
			continue;
		/* The base stays: user code with a null FS keeps the base it set by MSR or WRFSBASE. */
		segment->selector = 0;
		segment->access = 0;
		segment->limit = 0;
	}
}

/* ---- instructions ---- */

/* The mode may have changed with a segment; the engine leaves the block only if it did. */
static enum cpu_next segment_loaded(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint32_t before = cpu->mode;
	cpu_mode_update(cpu);
	if (cpu->mode == before && !cpu->interrupt_shadow)
		return CPU_CONTINUE;
	cpu->rip = cpu_next_rip(cpu, insn);
	return CPU_EXIT;
}

/* A 16-bit r/m operand. */
static bool operand_read16(struct cpu *cpu, const struct cpu_insn *insn, uint16_t *value)
{
	if (!insn->has_memory) {
		*value = (uint16_t)cpu->gpr[insn->rm];
		return true;
	}
	uint64_t bytes;
	if (!op_read_rm(cpu, insn, 2, &bytes))
		return false;
	*value = (uint16_t)bytes;
	return true;
}

enum cpu_next cpu_op_ud(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	cpu_fault(cpu, VECTOR_UD);
	return CPU_FAULT;
}

enum cpu_next cpu_op_mov_to_segment(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (insn->reg >= CPU_SEGMENT_COUNT || insn->reg == CPU_CS)
		return cpu_op_ud(cpu, insn);
	uint16_t selector;
	if (!operand_read16(cpu, insn, &selector) || !segment_load(cpu, insn->reg, selector))
		return CPU_FAULT;
	if (insn->reg == CPU_SS)
		cpu->interrupt_shadow = CPU_SHADOW_SS;
	return segment_loaded(cpu, insn);
}

enum cpu_next cpu_op_mov_from_segment(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (insn->reg >= CPU_SEGMENT_COUNT)
		return cpu_op_ud(cpu, insn);
	uint16_t selector = cpu->segment[insn->reg].selector;
	if (!insn->has_memory) {
		cpu_register_set(cpu, insn, insn->rm, insn->operand_size, selector);
		return CPU_CONTINUE;
	}
	return op_result(op_write_memory(cpu, insn, 2, selector));
}

enum cpu_next cpu_op_push_segment(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (insn->reg >= CPU_SEGMENT_COUNT)
		return cpu_op_ud(cpu, insn);
	struct stack stack = stack_current(cpu);
	if (!stack_push_selector(&stack, cpu->segment[insn->reg].selector, insn->operand_size))
		return CPU_FAULT;
	stack_commit(&stack);
	return CPU_CONTINUE;
}

enum cpu_next cpu_op_pop_segment(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (insn->reg >= CPU_SEGMENT_COUNT || insn->reg == CPU_CS)
		return cpu_op_ud(cpu, insn);
	struct stack stack = stack_current(cpu);
	uint64_t selector;
	if (!stack_pop_selector(&stack, &selector, insn->operand_size) ||
	    !segment_load(cpu, insn->reg, (uint16_t)selector))
		return CPU_FAULT;
	stack_commit(&stack);
	if (insn->reg == CPU_SS)
		cpu->interrupt_shadow = CPU_SHADOW_SS;
	return segment_loaded(cpu, insn);
}

/* LDS, LES, LFS, LGS, LSS. */
enum cpu_next cpu_op_load_far_pointer(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (!insn->has_memory || insn->immediate >= CPU_SEGMENT_COUNT || insn->immediate == CPU_CS)
		return cpu_op_ud(cpu, insn);
	unsigned size = insn->operand_size;
	uint64_t linear, offset, selector;
	if (!cpu_operand_linear(cpu, insn, size + 2, TLB_READ, &linear) || !op_aligned(cpu, linear, size) ||
	    !cpu_read_value(cpu, linear, size, cpu_view(cpu), &offset) ||
	    !cpu_read_value(cpu, linear + size, 2, cpu_view(cpu), &selector) ||
	    !segment_load(cpu, (enum cpu_segment_name)insn->immediate, (uint16_t)selector))
		return CPU_FAULT;
	cpu_register_set(cpu, insn, insn->reg, size, offset);
	return segment_loaded(cpu, insn);
}

static void set_zf(struct cpu *cpu, bool value)
{
	cpu->flags_arithmetic = (cpu->flags_arithmetic & ~FLAG_ZF) | (value ? FLAG_ZF : 0);
}

/* Descriptors that LAR, LSL, VERR and VERW are asked about. *found is false where these clear ZF. False: a page fault.
 */
static bool descriptor_ask(struct cpu *cpu, uint16_t selector, uint64_t *raw, bool *found)
{
	uint64_t linear;
	*found = !SELECTOR_IS_NULL(selector) && descriptor_address(cpu, selector, 8, VECTOR_GP, &linear);
	if (!*found) {
		cpu->pending.valid = false;
		return true;
	}
	return cpu_read_value(cpu, linear, 8, CPU_VIEW_IMPLICIT(cpu), raw);
}

static bool ask_permits(const struct cpu *cpu, uint16_t selector, uint32_t access)
{
	if (access_is_code(access) && (access & SEGMENT_CONFORMING))
		return true;
	unsigned dpl = SEGMENT_DPL(access);
	return cpu->cpl <= dpl && SELECTOR_RPL(selector) <= dpl;
}

/* Which system types LAR and LSL know, one bit for each (SDM 2A, tables in LAR and LSL). */
#define LAR_TYPES 0x1a3eu
#define LAR_TYPES_LONG 0x1a04u
#define LSL_TYPES 0x0a0eu
#define LSL_TYPES_LONG 0x0a04u

static enum cpu_next lar_or_lsl(struct cpu *cpu, const struct cpu_insn *insn, uint32_t types, bool limit)
{
	uint16_t selector;
	uint64_t raw = 0;
	bool found;
	if (cpu_real_or_v86(cpu))
		return cpu_op_ud(cpu, insn);
	if (!operand_read16(cpu, insn, &selector) || !descriptor_ask(cpu, selector, &raw, &found))
		return CPU_FAULT;
	uint32_t access = descriptor_access(raw);
	found = found && ask_permits(cpu, selector, access) &&
		((access & SEGMENT_S) || (types >> (access & SEGMENT_TYPE) & 1));
	set_zf(cpu, found);
	if (found) {
		struct cpu_segment segment;
		segment_from_descriptor(&segment, selector, raw);
		cpu_register_set(cpu, insn, insn->reg, insn->operand_size,
				 limit ? segment.limit : (raw >> 32) & 0x00ffff00); /* limit bits too: undefined */
	}
	return CPU_CONTINUE;
}

enum cpu_next cpu_op_lar(struct cpu *cpu, const struct cpu_insn *insn)
{
	return lar_or_lsl(cpu, insn, cpu_long_mode(cpu) ? LAR_TYPES_LONG : LAR_TYPES, false);
}

enum cpu_next cpu_op_lsl(struct cpu *cpu, const struct cpu_insn *insn)
{
	return lar_or_lsl(cpu, insn, cpu_long_mode(cpu) ? LSL_TYPES_LONG : LSL_TYPES, true);
}

static enum cpu_next verify(struct cpu *cpu, const struct cpu_insn *insn, bool write)
{
	uint16_t selector;
	uint64_t raw = 0;
	bool found;
	if (cpu_real_or_v86(cpu))
		return cpu_op_ud(cpu, insn);
	if (!operand_read16(cpu, insn, &selector) || !descriptor_ask(cpu, selector, &raw, &found))
		return CPU_FAULT;
	uint32_t access = descriptor_access(raw);
	set_zf(cpu, found && ask_permits(cpu, selector, access) &&
			(write ? access_is_writable_data(access) : access_is_readable(access)));
	return CPU_CONTINUE;
}

enum cpu_next cpu_op_verr(struct cpu *cpu, const struct cpu_insn *insn)
{
	return verify(cpu, insn, false);
}

enum cpu_next cpu_op_verw(struct cpu *cpu, const struct cpu_insn *insn)
{
	return verify(cpu, insn, true);
}

/* Reads first; memory whose RPL is high enough need not be writable. */
enum cpu_next cpu_op_arpl(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint16_t selector;
	if (cpu_real_or_v86(cpu))
		return cpu_op_ud(cpu, insn);
	if (!operand_read16(cpu, insn, &selector))
		return CPU_FAULT;
	unsigned rpl = SELECTOR_RPL(cpu->gpr[insn->reg]);
	bool raise = SELECTOR_RPL(selector) < rpl;
	uint64_t value = (selector & 0xfffcu) | rpl;
	if (raise && insn->has_memory && !op_write_memory(cpu, insn, 2, value))
		return CPU_FAULT;
	if (raise && !insn->has_memory)
		cpu_register_set(cpu, insn, insn->rm, 2, value);
	set_zf(cpu, raise);
	return CPU_CONTINUE;
}
