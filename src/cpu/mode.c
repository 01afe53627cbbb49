/* SPDX-License-Identifier: MIT */
#include "cpu/segment.h"

#include "cpu/mmu.h"

#define MODE_FLAT_ALL (MODE_FLAT_DS | MODE_FLAT_ES | MODE_FLAT_SS | MODE_FLAT_CS | MODE_FLAT_FS | MODE_FLAT_GS)

static uint32_t bit_if(bool condition, uint32_t bit)
{
	return condition ? bit : 0;
}

static bool segment_is_unchecked(const struct cpu_segment *segment)
{
	uint32_t required = SEGMENT_P | SEGMENT_S | SEGMENT_WRITABLE;
	uint32_t considered = required | SEGMENT_CODE | SEGMENT_DOWN;
	return segment->limit == 0xffffffff && (segment->access & considered) == required;
}

static bool segment_is_flat(const struct cpu_segment *segment)
{
	return segment->base == 0 && segment_is_unchecked(segment);
}

static bool code_is_flat(const struct cpu_segment *segment)
{
	return segment->base == 0 && segment->limit == 0xffffffff && (segment->access & SEGMENT_P) &&
	       access_is_readable(segment->access);
}

static uint32_t mode_segments(const struct cpu *cpu)
{
	const struct cpu_segment *segment = cpu->segment;
	if (cpu_long_mode(cpu) && (segment[CPU_CS].access & SEGMENT_L))
		return MODE_CODE64 | MODE_STACK32 | MODE_FLAT_ALL; /* stale segments must not split the mode */
	uint32_t sizes = bit_if(segment[CPU_CS].access & SEGMENT_DB, MODE_CODE32) |
			 bit_if(segment[CPU_SS].access & SEGMENT_DB, MODE_STACK32);
	/* Real and virtual-8086 mode: loading a segment register leaves the mode alone. */
	if (!(cpu->cr0 & CR0_PE) || (cpu->flags_system & FLAG_VM))
		return sizes;
	return sizes | bit_if(segment_is_flat(&segment[CPU_DS]), MODE_FLAT_DS) |
	       bit_if(segment_is_flat(&segment[CPU_ES]), MODE_FLAT_ES) |
	       bit_if(segment_is_flat(&segment[CPU_SS]), MODE_FLAT_SS) |
	       bit_if(code_is_flat(&segment[CPU_CS]), MODE_FLAT_CS) |
	       bit_if(segment_is_unchecked(&segment[CPU_FS]), MODE_FLAT_FS) |
	       bit_if(segment_is_unchecked(&segment[CPU_GS]), MODE_FLAT_GS);
}

#define REACH_READ 1u
#define REACH_WRITE 2u

/* By type and S. Expand-down segments, whose limit is the lower one, are for cpu_linear(). */
static const uint8_t reach_rights[32] = {
    [0x10] = REACH_READ,
    [0x11] = REACH_READ,
    [0x12] = REACH_READ | REACH_WRITE,
    [0x13] = REACH_READ | REACH_WRITE,
    [0x1a] = REACH_READ,
    [0x1b] = REACH_READ,
    [0x1e] = REACH_READ,
    [0x1f] = REACH_READ,
};

static void reach_update(struct cpu *cpu)
{
	unsigned always = cpu_real_or_v86(cpu) ? REACH_READ | REACH_WRITE : 0;
	for (unsigned i = 0; i < CPU_SEGMENT_COUNT; i++) {
		const struct cpu_segment *segment = &cpu->segment[i];
		unsigned rights = (segment->access & SEGMENT_P) ? reach_rights[segment->access & 31] : 0;
		rights |= always;
		cpu->reach[i].read = (rights & REACH_READ) ? (int64_t)segment->limit : -1;
		cpu->reach[i].write = (rights & REACH_WRITE) ? (int64_t)segment->limit : -1;
	}
}

static uint32_t mode_privilege(const struct cpu *cpu)
{
	unsigned cpl = cpu->cpl;
	bool alignment = (cpu->flags_system & FLAG_AC) != 0;
	enum tlb_view view = TLB_VIEW_USER;
	if (cpl != 3)
		view = (cpu->cr4 & CR4_SMAP) && !alignment ? TLB_VIEW_SUPERVISOR : TLB_VIEW_SUPERVISOR_AC;
	return cpl << MODE_CPL_SHIFT | (uint32_t)view << MODE_VIEW_SHIFT |
	       bit_if(alignment && cpl == 3 && (cpu->cr0 & CR0_AM), MODE_ALIGN) |
	       bit_if(cpl <= (cpu->flags_system & FLAG_IOPL) >> 12, MODE_IOPL_OK) |
	       bit_if(cpl == 0 || !(cpu->cr4 & CR4_TSD), MODE_TSC_OK);
}

/* Instruction breakpoints, and I/O ones where CR4.DE gives them meaning. */
static bool debug_is_armed(const struct cpu *cpu)
{
	uint64_t dr7 = cpu->dr[7];
	if (!(dr7 & 0xff))
		return false;
	for (unsigned i = 0; i < 4; i++) {
		unsigned kind = (unsigned)(dr7 >> (16 + 4 * i)) & 3;
		if ((dr7 >> (2 * i) & 3) && (kind == 0 || (kind == 2 && (cpu->cr4 & CR4_DE))))
			return true;
	}
	return false;
}

static uint32_t mode_control(const struct cpu *cpu)
{
	bool osxsave = (cpu->cr4 & CR4_OSXSAVE) != 0;
	return bit_if(cpu->flags_system & FLAG_TF, MODE_TF) | bit_if(cpu->cr0 & CR0_TS, MODE_FPU_TS) |
	       bit_if(cpu->cr0 & CR0_EM, MODE_FPU_EM) | bit_if(cpu->cr0 & CR0_MP, MODE_FPU_MP) |
	       bit_if(cpu->cr0 & CR0_NE, MODE_NE) | bit_if(cpu->cr4 & CR4_OSFXSR, MODE_SSE) |
	       bit_if(osxsave, MODE_OSXSAVE) | bit_if(osxsave && (cpu->xcr0 & 6) == 6, MODE_AVX) |
	       bit_if(cpu->cr4 & CR4_OSXMMEXCPT, MODE_OSXMMEXCPT) | bit_if(!(cpu->cr0 & CR0_PE), MODE_REAL) |
	       bit_if(cpu->flags_system & FLAG_VM, MODE_VM86) | bit_if(debug_is_armed(cpu), MODE_DEBUG);
}

/* What a transfer within 64-bit code can change. */
#define MODE_BY_TRANSFER                                                                                               \
	(3u << MODE_CPL_SHIFT | 3u << MODE_VIEW_SHIFT | MODE_ALIGN | MODE_IOPL_OK | MODE_TSC_OK | MODE_TF)

void cpu_mode_update_transfer(struct cpu *cpu)
{
	bool stays64 = cpu_code64(cpu) && cpu_long_mode(cpu) && (cpu->segment[CPU_CS].access & SEGMENT_L);
	if (!stays64) {
		cpu_mode_update(cpu);
		return;
	}
	cpu->mode =
	    (cpu->mode & ~MODE_BY_TRANSFER) | mode_privilege(cpu) | bit_if(cpu->flags_system & FLAG_TF, MODE_TF);
}

void cpu_mode_update(struct cpu *cpu)
{
	cpu->mode = (cpu->mode & MODE_ENGINE_MASK) | mode_segments(cpu) | mode_privilege(cpu) | mode_control(cpu);
	if (!cpu_code64(cpu))
		reach_update(cpu);
}
