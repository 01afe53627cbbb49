/* SPDX-License-Identifier: MIT */
/*
 * Vector instructions with an address of their own for each element, or a fault rule for each: masked moves and
 * gathers. And the cache-line instructions, which share nothing with those but that they compute nothing.
 *
 * All of them look at enabled elements only: a disabled one neither faults nor is accessed. Masked stores check every
 * enabled element before they write one. A gather that faults keeps what it has: the elements done are in the
 * destination and their mask elements are clear, so that it goes on where it stopped (SDM volume 2, VPGATHERDD).
 */
#include "cpu/fpu.h"
#include "cpu/op.h"
#include "cpu/x87.h"

#define HALF 16u
#define VECTOR_MAX 32u

/* ---- parked registers ---- */

static void vector_get(const struct cpu *cpu, unsigned number, uint8_t value[VECTOR_MAX])
{
	copy_bytes(value, cpu->xsave + XSAVE_XMM + (number & 15) * HALF, HALF);
	copy_bytes(value + HALF, cpu->xsave + XSAVE_AVX + (number & 15) * HALF, HALF);
}

/* Processors count AVX state as in use after any write of 32 bytes. */
static void vector_set(struct cpu *cpu, unsigned number, unsigned size, const uint8_t value[VECTOR_MAX])
{
	copy_bytes(cpu->xsave + XSAVE_XMM + (number & 15) * HALF, value, HALF);
	copy_bytes(cpu->xsave + XSAVE_AVX + (number & 15) * HALF, value + HALF, HALF);
	cpu_xstate_changed(cpu, size > HALF ? XSTATE_SSE | XSTATE_AVX : XSTATE_SSE);
}

/* The manual's #UD and #NM conditions of VEX and of legacy SSE instructions. Parks the state. */
static bool vector_available(struct cpu *cpu, bool vex)
{
	bool enabled = vex ? (cpu->mode & MODE_AVX) != 0 : (cpu->mode & (MODE_SSE | MODE_FPU_EM)) == MODE_SSE;

	if (!enabled)
		return cpu_fault(cpu, VECTOR_UD);
	if (cpu->mode & MODE_FPU_TS)
		return cpu_fault(cpu, VECTOR_NM);
	cpu_fpu_park(cpu);
	return true;
}

/* ---- masked moves ---- */

/* A vector in memory of which some elements are accessed. */
struct masked {
	enum cpu_segment_name segment;
	uint64_t
	    offset; /* of element 0; with 16-bit addresses too the others do not wrap at 64 KiB: it is one operand */
	unsigned element; /* bytes */
	unsigned count;
	uint32_t enabled; /* one bit for each element */
	uint8_t *data;
};

/* The sign bits of the mask's elements. */
static uint32_t mask_bits(const uint8_t *mask, unsigned element, unsigned count)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < count; i++)
		bits |= (uint32_t)(mask[i * element + element - 1] >> 7) << i;
	return bits;
}

static bool masked_linear(struct cpu *cpu, const struct masked *masked, unsigned index, enum tlb_access access,
			  uint64_t *linear)
{
	uint64_t offset = masked->offset + index * masked->element;

	if (!cpu_code64(cpu))
		offset = (uint32_t)offset;
	return cpu_linear(cpu, masked->segment, offset, masked->element, access, linear);
}

static bool masked_load(struct cpu *cpu, const struct masked *masked)
{
	uint64_t linear;

	for (unsigned i = 0; i < masked->count; i++) {
		uint8_t *element = masked->data + i * masked->element;
		if (!((masked->enabled >> i) & 1))
			continue;
		if (!masked_linear(cpu, masked, i, TLB_READ, &linear) ||
		    !cpu_read(cpu, linear, element, masked->element, cpu_view(cpu)))
			return false;
	}
	return true;
}

static bool masked_store(struct cpu *cpu, const struct masked *masked)
{
	uint64_t linear;

	for (unsigned i = 0; i < masked->count; i++)
		if (((masked->enabled >> i) & 1) && (!masked_linear(cpu, masked, i, TLB_WRITE, &linear) ||
						     !cpu_check_write(cpu, linear, masked->element, cpu_view(cpu))))
			return false;
	for (unsigned i = 0; i < masked->count; i++) {
		const uint8_t *element = masked->data + i * masked->element;
		if (((masked->enabled >> i) & 1) && (!masked_linear(cpu, masked, i, TLB_WRITE, &linear) ||
						     !cpu_write(cpu, linear, element, masked->element, cpu_view(cpu))))
			return false;
	}
	return true;
}

static enum cpu_next vector_masked_move(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint8_t mask[VECTOR_MAX], data[VECTOR_MAX];
	bool store = insn->immediate != 0;
	struct masked masked = {.segment = (enum cpu_segment_name)insn->segment,
				.offset = cpu_effective_address(cpu, insn),
				.element = insn->operand_size,
				.count = insn->vector_size / insn->operand_size,
				.data = data};

	if (!vector_available(cpu, true))
		return CPU_FAULT;
	vector_get(cpu, insn->vvvv, mask);
	masked.enabled = mask_bits(mask, masked.element, masked.count);
	if (store) {
		vector_get(cpu, insn->reg, data);
		return masked_store(cpu, &masked) ? op_done(cpu, insn) : CPU_FAULT;
	}
	fill_bytes(data, 0, sizeof(data));
	if (!masked_load(cpu, &masked))
		return CPU_FAULT;
	vector_set(cpu, insn->reg, insn->vector_size, data);
	return op_done(cpu, insn);
}

enum cpu_next cpu_op_vmaskmov(struct cpu *cpu, const struct cpu_insn *insn)
{
	return vector_masked_move(cpu, insn);
}

enum cpu_next cpu_op_vpmaskmov(struct cpu *cpu, const struct cpu_insn *insn)
{
	return vector_masked_move(cpu, insn);
}

/* Bytes to (R)DI by the sign bits of a mask of bytes. */
static bool byte_mask_store(struct cpu *cpu, const struct cpu_insn *insn, uint8_t *data, const uint8_t *mask,
			    unsigned count)
{
	struct masked masked = {.segment = (enum cpu_segment_name)insn->segment,
				.offset = cpu->gpr[CPU_RDI] & size_mask(insn->address_size),
				.element = 1,
				.count = count,
				.enabled = mask_bits(mask, 1, count),
				.data = data};

	return masked_store(cpu, &masked);
}

enum cpu_next cpu_op_maskmovdqu(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint8_t mask[VECTOR_MAX], data[VECTOR_MAX];

	if (!vector_available(cpu, insn->vector_size != 0))
		return CPU_FAULT;
	vector_get(cpu, insn->reg, data);
	vector_get(cpu, insn->rm, mask);
	return byte_mask_store(cpu, insn, data, mask, 16) ? op_done(cpu, insn) : CPU_FAULT;
}

/*
 * MMX registers are the significands of the physical x87 registers, which the area holds in stack order. An MMX
 * instruction sets TOP to 0, so that the orders agree, and all tags to valid.
 */
static void mmx_enter(struct cpu *cpu)
{
	uint16_t fsw = (uint16_t)load_le(cpu->xsave + XSAVE_FSW, 2);

	x87_set_control(cpu, (uint16_t)load_le(cpu->xsave + XSAVE_FCW, 2), fsw & 0xc7ff);
	store_le(cpu->xsave + XSAVE_FTW, 0xff, 2);
}

static uint8_t *mmx_register(struct cpu *cpu, unsigned number)
{
	unsigned top = (unsigned)(load_le(cpu->xsave + XSAVE_FSW, 2) >> 11) & 7;

	return cpu->xsave + XSAVE_ST + (((number & 7) - top) & 7) * 16;
}

enum cpu_next cpu_op_maskmovq(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (cpu->mode & MODE_FPU_EM)
		return op_fault(cpu, VECTOR_UD);
	if (!x87_available(cpu))
		return CPU_FAULT;
	cpu_fpu_park(cpu);
	if (!x87_no_pending(cpu) ||
	    !byte_mask_store(cpu, insn, mmx_register(cpu, insn->reg), mmx_register(cpu, insn->rm), 8))
		return CPU_FAULT;
	mmx_enter(cpu);
	return op_done(cpu, insn);
}

/* ---- gathers ---- */

struct gather {
	unsigned element, index_size, count; /* bytes, bytes, elements */
	uint64_t base;			     /* base register and displacement */
	uint8_t mask[VECTOR_MAX], index[VECTOR_MAX], data[VECTOR_MAX];
};

static bool gather_element(struct cpu *cpu, const struct cpu_insn *insn, struct gather *gather, unsigned i)
{
	uint64_t index = load_le(gather->index + i * gather->index_size, gather->index_size);
	uint64_t offset = gather->base + sign_extend(index, gather->index_size * 8) * insn->scale, linear;

	offset &= size_mask(insn->address_size);
	return cpu_linear(cpu, (enum cpu_segment_name)insn->segment, offset, gather->element, TLB_READ, &linear) &&
	       cpu_read(cpu, linear, gather->data + i * gather->element, gather->element, cpu_view(cpu));
}

/* Elements beyond the last and the upper half of a 128-bit form become zero. */
static void gather_finish(struct gather *gather)
{
	unsigned used = gather->count * gather->element;

	fill_bytes(gather->mask, 0, VECTOR_MAX);
	fill_bytes(gather->data + used, 0, VECTOR_MAX - used);
}

static void gather_begin(const struct cpu *cpu, const struct cpu_insn *insn, struct gather *gather)
{
	unsigned larger;

	gather->element = insn->operand_size;
	gather->index_size = insn->immediate == 8 ? 8 : 4;
	larger = gather->element > gather->index_size ? gather->element : gather->index_size;
	gather->count = insn->vector_size / larger;
	gather->base = (uint64_t)insn->displacement;
	if (insn->base != CPU_NO_REGISTER)
		gather->base += cpu->gpr[insn->base & 15];
	vector_get(cpu, insn->vvvv, gather->mask);
	vector_get(cpu, insn->index, gather->index);
	vector_get(cpu, insn->reg, gather->data);
}

/* Before the first access every mask element becomes all ones or zero. */
static void gather_widen_mask(struct gather *gather, uint32_t enabled)
{
	fill_bytes(gather->mask, 0, VECTOR_MAX);
	for (unsigned i = 0; i < gather->count; i++)
		if ((enabled >> i) & 1)
			fill_bytes(gather->mask + i * gather->element, 0xff, gather->element);
}

enum cpu_next cpu_op_gather(struct cpu *cpu, const struct cpu_insn *insn)
{
	struct gather gather;
	uint32_t enabled;
	bool complete = true;

	if (insn->reg == insn->vvvv || insn->reg == insn->index || insn->vvvv == insn->index)
		return op_fault(cpu, VECTOR_UD);
	if (!vector_available(cpu, true))
		return CPU_FAULT;
	gather_begin(cpu, insn, &gather);
	enabled = mask_bits(gather.mask, gather.element, gather.count);
	gather_widen_mask(&gather, enabled);
	for (unsigned i = 0; i < gather.count && complete; i++) {
		if ((enabled >> i) & 1)
			complete = gather_element(cpu, insn, &gather, i);
		if (complete)
			fill_bytes(gather.mask + i * gather.element, 0, gather.element);
	}
	if (complete)
		gather_finish(&gather);
	vector_set(cpu, insn->reg, insn->vector_size, gather.data);
	vector_set(cpu, insn->vvvv, insn->vector_size, gather.mask);
	return complete ? op_done(cpu, insn) : CPU_FAULT;
}

/* ---- cache lines ---- */

/* CLFLUSH, CLFLUSHOPT, CLWB fault as a load of one byte, but execute-only segments will do (SDM 2A, CLFLUSH). */
enum cpu_next cpu_op_clflush(struct cpu *cpu, const struct cpu_insn *insn)
{
	struct mmu_page page;
	uint64_t linear;

	return op_result(cpu_operand_linear(cpu, insn, 1, TLB_FETCH, &linear) &&
			 mmu_translate(cpu, linear, TLB_READ, cpu_view(cpu), insn->segment == CPU_SS, &page));
}
