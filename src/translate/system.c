/* SPDX-License-Identifier: MIT */
/*
 * System instructions that need no C: what a kernel runs at each entry and around each access to user memory. Each
 * falls back to C where a condition of its mode does not hold.
 *
 * STAC and CLAC change the view, and so the mode: the block ends with a link into the mode that follows.
 */
#include "cpu/cpuid.h"
#include "translate/stack.h"

static bool is_kernel(const struct translation *t)
{
	return (t->mode & (MODE_REAL | MODE_VM86)) == 0 && (t->mode >> MODE_CPL_SHIFT & 3) == 0;
}

/* SDM 2B, SWAPGS. Flags stay as they are. */
static bool lower_swapgs(struct translation *t)
{
	struct host_rm base =
	    rm_frame(FRAME(cpu.segment) + CPU_GS * sizeof(struct cpu_segment) + offsetof(struct cpu_segment, base));
	struct host_rm kernel = rm_frame(FRAME(cpu.kernel_gs_base));
	if (t->code_bytes != 8 || !is_kernel(t))
		return false;
	asm_load(&t->as, REG_INDEX, base);
	asm_load(&t->as, REG_ADDRESS, kernel);
	asm_store(&t->as, base, REG_ADDRESS);
	asm_store(&t->as, kernel, REG_INDEX);
	return true;
}

static bool clock_is_real(const struct engine *engine)
{
	const struct clock *clock = engine->vcpu->cpu.clock;
	return clock == NULL || clock->mode == CLOCK_REAL;
}

/* rorx to, from, 32 in 64 bits: no flags change. */
static void emit_swap_halves(struct translation *t, unsigned to, unsigned from)
{
	const uint8_t bytes[] = {0xc4, 0xe3, 0xfb, 0xf0, (uint8_t)(0xc0 | to << 3 | from), 32};
	for (size_t i = 0; i < sizeof bytes; i++)
		asm_byte(&t->as, bytes[i]);
}

/*
 * As cpu_tsc() in mode CLOCK_REAL: the host's counter plus an offset, which the machine changes while the vCPU does not
 * run. Uses LEA and RORX for the sum, so that the flags survive; so does the host's RDTSC. RDTSCP waits for the loads
 * before it (SDM 2B), so it is the host's own; what that leaves in ECX is overwritten. A host with BMI2 has it.
 */
static bool lower_rdtsc(struct translation *t, bool with_aux)
{
	struct assembler *as = &t->as;
	if ((t->mode & MODE_TSC_OK) == 0 || !t->engine->has_bmi2 || !clock_is_real(t->engine))
		return false;
	flags_free_rax(t);
	asm_byte(as, 0x0f);
	if (with_aux) {
		asm_byte(as, 0x01);
		asm_byte(as, 0xf9);
	} else {
		asm_byte(as, 0x31);
	}
	emit_swap_halves(t, HOST_RDX, HOST_RDX);
	asm_lea(as, HOST_RAX, rm_indexed(HOST_RAX, HOST_RDX, 1, 0), 8);
	asm_load(as, REG_INDEX, rm_frame(FRAME(cpu.tsc_offset)));
	asm_lea(as, HOST_RAX, rm_indexed(HOST_RAX, REG_INDEX, 1, 0), 8);
	asm_mov32(as, REG_GUEST_RAX, HOST_RAX);
	emit_swap_halves(t, HOST_RDX, HOST_RAX);
	asm_mov32(as, HOST_RDX, HOST_RDX);
	if (with_aux)
		asm_load32(as, REG_GUEST_RCX, rm_frame(FRAME(cpu.tsc_aux)));
	return true;
}

/* To the next instruction, in another view. */
static void emit_change_view(struct translation *t, uint32_t mode, uint32_t mode_id)
{
	asm_store32_immediate(&t->as, rm_frame(FRAME(cpu.mode)), mode);
	emit_mode_link(t, t->next_rip, mode_id);
}

/* Of the mode that differs by the view alone, or 0: no room. */
static uint32_t mode_of_view(const struct translation *t, enum tlb_view view, uint32_t *mode)
{
	*mode = (t->mode & ~(MODE_ENGINE_MASK | 3u << MODE_VIEW_SHIFT)) | (uint32_t)view << MODE_VIEW_SHIFT;
	return mode_intern_if_room(t->engine, *mode, t->cs_base, t->cs_limit);
}

static void emit_access_flag(struct translation *t, bool on)
{
	flags_save(t);
	asm_group_immediate(&t->as, false, on ? 1 : 4, rm_frame(FRAME(cpu.flags_system)),
			    (int32_t)(on ? FLAG_AC : ~FLAG_AC));
	flags_clobbered(t);
}

static bool changes_view_here(const struct translation *t)
{
	return is_kernel(t) && (t->mode & (MODE_STEP | MODE_CAREFUL)) == 0 && !t->clear_shadow && !t->sets_shadow;
}

/* The view with SMAP in force says that AC is clear. In the other one either AC is set or SMAP is off. */
static bool lower_stac(struct translation *t)
{
	uint32_t mode, mode_id = 0;
	bool same = t->view == TLB_VIEW_SUPERVISOR_AC;
	if (!changes_view_here(t))
		return false;
	if (!same)
		mode_id = mode_of_view(t, TLB_VIEW_SUPERVISOR_AC, &mode);
	if (!same && mode_id == 0)
		return false;
	emit_access_flag(t, true);
	if (!same)
		emit_change_view(t, mode, mode_id);
	return true;
}

/* Where AC may be set CR4 is asked whether that makes a difference; if not, C goes on. */
static bool lower_clac(struct translation *t)
{
	uint32_t mode, mode_id;
	if (!changes_view_here(t))
		return false;
	if (t->view == TLB_VIEW_SUPERVISOR)
		return true;
	mode_id = mode_of_view(t, TLB_VIEW_SUPERVISOR, &mode);
	if (mode_id == 0 || !else_begin(t, CPU_OP_clac))
		return false;
	flags_save(t);
	asm_op(&t->as, 0, false, 0xf7, 0, rm_frame(FRAME(cpu.cr4))); /* test */
	asm_word32(&t->as, (uint32_t)CR4_SMAP);
	emit_else(t, asm_jump_if32(&t->as, 4)); /* zero */
	flags_clobbered(t);
	emit_access_flag(t, false);
	emit_change_view(t, mode, mode_id);
	else_end(t);
	return true;
}

bool lower_system(struct translation *t, enum cpu_op op)
{
	if (!engine_uses(t->engine, ENGINE_INLINE_SYSTEM))
		return false;
	switch (op) {
	case CPU_OP_swapgs:
		return lower_swapgs(t);
	case CPU_OP_rdtsc:
		return lower_rdtsc(t, false);
	case CPU_OP_rdtscp:
		return lower_rdtsc(t, true);
	case CPU_OP_stac:
		return lower_stac(t);
	case CPU_OP_clac:
		return lower_clac(t);
	default:
		return false;
	}
}
