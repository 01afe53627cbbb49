/* SPDX-License-Identifier: MIT */
/*
 * FXSAVE, FXRSTOR and the XSAVE family on parked state. SDM volume 1, 10.5 and chapter 13.
 *
 * cpu->xsave has the standard format itself, so saving is copying: of the components asked for, cut to eight vector
 * registers outside 64-bit mode, with the x87 pointers replaced (cpu/x87.h). In the compacted format AVX state, the
 * only extended component presented, lies where the standard format has it; the formats differ in header and rules
 * only.
 */
#include "cpu/cpuid.h"
#include "cpu/op.h"
#include "cpu/x87.h"

#define LEGACY_SIZE 512u
#define HEADER_SIZE 64u
#define HEADER_XCOMP 8u
#define XCOMP_COMPACT BIT64(63)
#define MXCSR_MASK 0xffffu
#define VECTOR_BYTES 16u
#define AREA_SIZE (XSAVE_AVX + 16 * VECTOR_BYTES)

/* Bytes of XMM registers, or of upper halves, that exist in the current mode. */
static unsigned vector_bytes(const struct cpu *cpu)
{
	return (cpu_code64(cpu) ? 16 : 8) * VECTOR_BYTES;
}

/* A copy of the state's area as the guest may see it. */
static void image_make(const struct cpu *cpu, uint8_t image[AREA_SIZE], bool wide)
{
	struct x87_pointers pointers = x87_pointers(cpu);

	copy_bytes(image, cpu->xsave, AREA_SIZE);
	store_le(image + XSAVE_FOP, pointers.opcode, 2);
	store_le(image + XSAVE_FIP, wide ? pointers.ip : (uint32_t)pointers.ip, 8);
	store_le(image + XSAVE_FDP, wide ? pointers.dp : (uint32_t)pointers.dp, 8);
	store_le(image + XSAVE_MXCSR_MASK, MXCSR_MASK, 4);
}

static struct x87_pointers image_pointers(const uint8_t *image, bool wide)
{
	unsigned size = wide ? 8 : 4;

	return (struct x87_pointers){load_le(image + XSAVE_FIP, size), load_le(image + XSAVE_FDP, size),
				     (uint16_t)load_le(image + XSAVE_FOP, 2)};
}

static bool mxcsr_is_valid(uint64_t mxcsr)
{
	return ((uint32_t)mxcsr & ~MXCSR_MASK) == 0;
}

static uint64_t parked_mxcsr(const struct cpu *cpu)
{
	return load_le(cpu->xsave + XSAVE_MXCSR, 4);
}

/* ---- FXSAVE, FXRSTOR ---- */

/* The linear address of an area with its alignment; the state is parked afterwards. */
static bool area_operand(struct cpu *cpu, const struct cpu_insn *insn, unsigned size, unsigned alignment,
			 enum tlb_access access, uint64_t *linear)
{
	if (!cpu_operand_linear(cpu, insn, size, access, linear))
		return false;
	if (*linear & (alignment - 1))
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	cpu_fpu_park(cpu);
	return true;
}

/* Every byte of the area must be writable, those that are not written too. */
enum cpu_next cpu_op_fxsave(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint8_t image[AREA_SIZE];
	uint64_t linear;

	if (!x87_available(cpu) || !area_operand(cpu, insn, LEGACY_SIZE, 16, TLB_WRITE, &linear))
		return CPU_FAULT;
	image_make(cpu, image, insn->rex_w);
	if (!x87_check_write(cpu, linear, LEGACY_SIZE) ||
	    !x87_write_block(cpu, linear, image, XSAVE_XMM + vector_bytes(cpu)))
		return CPU_FAULT;
	return op_done(cpu, insn);
}

enum cpu_next cpu_op_fxrstor(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint8_t image[LEGACY_SIZE];
	uint64_t linear;

	if (!x87_available(cpu) || !area_operand(cpu, insn, LEGACY_SIZE, 16, TLB_READ, &linear) ||
	    !x87_read_block(cpu, linear, image, LEGACY_SIZE))
		return CPU_FAULT;
	if (!mxcsr_is_valid(load_le(image + XSAVE_MXCSR, 4)))
		return op_gp(cpu);
	x87_load_image(cpu, image);
	x87_set_pointers(cpu, image_pointers(image, insn->rex_w));
	copy_bytes(cpu->xsave + XSAVE_MXCSR, image + XSAVE_MXCSR, 4);
	copy_bytes(cpu->xsave + XSAVE_XMM, image + XSAVE_XMM, vector_bytes(cpu));
	cpu_xstate_changed(cpu, XSTATE_SSE);
	return op_done(cpu, insn);
}

/* ---- XSAVE, XSAVEOPT, XSAVEC ---- */

static bool is_zero(const uint8_t *bytes, unsigned size)
{
	for (unsigned i = 0; i < size; i += 8)
		if (load_le(bytes + i, 8) != 0)
			return false;
	return true;
}

/* Which components hold other than their initial values, by these: what the host's XSTATE_BV says may depend on when
 * the host last switched threads. */
static uint64_t components_changed(const struct cpu *cpu)
{
	const uint8_t *image = cpu->xsave;
	bool x87 = load_le(image + XSAVE_FCW, 2) != 0x37f || load_le(image + XSAVE_FSW, 2) != 0 ||
		   image[XSAVE_FTW] != 0 || !is_zero(image + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
	bool sse = !is_zero(image + XSAVE_XMM, 256), avx = !is_zero(image + XSAVE_AVX, 256);
	return (x87 ? XSTATE_X87 : 0) | (sse ? XSTATE_SSE : 0) | (avx ? XSTATE_AVX : 0);
}

/* Which components hold other than their initial values, as far as the host tells. */
static uint64_t components_in_use(const struct cpu *cpu)
{
	if (cpu->host_xstate == 0)
		return XSTATE_X87 | XSTATE_SSE;
	if (cpu->clock != NULL && cpu->clock->mode == CLOCK_COUNTED)
		return components_changed(cpu) & cpu->host_xstate;
	return load_le(cpu->xsave + XSAVE_BV, 8) & XSTATE_ALL;
}

static bool xsave_available(struct cpu *cpu)
{
	if (!(cpu->mode & MODE_OSXSAVE))
		return cpu_fault(cpu, VECTOR_UD);
	return !(cpu->mode & MODE_FPU_TS) || cpu_fault(cpu, VECTOR_NM);
}

/* The requested-feature bitmap. */
static uint64_t requested(const struct cpu *cpu)
{
	return ((uint32_t)cpu->gpr[CPU_RAX] | cpu->gpr[CPU_RDX] << 32) & cpu->xcr0;
}

static unsigned area_size(uint64_t components)
{
	return components & XSTATE_AVX ? AREA_SIZE : LEGACY_SIZE + HEADER_SIZE;
}

static bool write_part(struct cpu *cpu, uint64_t linear, const uint8_t *image, unsigned from, unsigned size)
{
	return x87_write_block(cpu, x87_block_address(cpu, linear, from), image + from, size);
}

/* Writes the data of components. MXCSR and its mask follow `mxcsr`. */
static bool write_components(struct cpu *cpu, uint64_t linear, const uint8_t *image, uint64_t components, bool mxcsr)
{
	if ((components & XSTATE_X87) && (!write_part(cpu, linear, image, 0, XSAVE_MXCSR) ||
					  !write_part(cpu, linear, image, XSAVE_ST, XSAVE_XMM - XSAVE_ST)))
		return false;
	if (mxcsr && !write_part(cpu, linear, image, XSAVE_MXCSR, 8))
		return false;
	if ((components & XSTATE_SSE) && !write_part(cpu, linear, image, XSAVE_XMM, vector_bytes(cpu)))
		return false;
	return !(components & XSTATE_AVX) || write_part(cpu, linear, image, XSAVE_AVX, vector_bytes(cpu));
}

/* Common start: checks, and every page of the area writable before anything is written. What lies below
 * the header counts if one of the components in `legacy` is asked for. */
static bool xsave_begin(struct cpu *cpu, const struct cpu_insn *insn, uint64_t legacy, uint8_t *image, uint64_t *linear)
{
	unsigned size = area_size(requested(cpu)), from = (requested(cpu) & legacy) != 0 ? 0 : XSAVE_BV;

	if (!xsave_available(cpu) || !area_operand(cpu, insn, size, 64, TLB_WRITE, linear) ||
	    !x87_check_write(cpu, x87_block_address(cpu, *linear, from), size - from))
		return false;
	image_make(cpu, image, insn->rex_w);
	return true;
}

/* XSAVE writes all it is asked for; XSAVEOPT leaves out what has its initial value. Bits not asked for stay in the
 * header. */
static enum cpu_next save_standard(struct cpu *cpu, const struct cpu_insn *insn, bool optimize)
{
	uint64_t components = requested(cpu), linear, header, old, in_use;
	uint8_t image[AREA_SIZE];

	if (!xsave_begin(cpu, insn, XSTATE_ALL, image, &linear))
		return CPU_FAULT;
	header = x87_block_address(cpu, linear, XSAVE_BV);
	if (!cpu_read_value(cpu, header, 8, cpu_view(cpu), &old))
		return CPU_FAULT;
	in_use = components_in_use(cpu) & components;
	if (!write_components(cpu, linear, image, optimize ? in_use : components,
			      (components & (XSTATE_SSE | XSTATE_AVX)) != 0) ||
	    !cpu_write_value(cpu, header, 8, cpu_view(cpu), (old & ~components) | in_use))
		return CPU_FAULT;
	return op_done(cpu, insn);
}

enum cpu_next cpu_op_xsave(struct cpu *cpu, const struct cpu_insn *insn)
{
	return save_standard(cpu, insn, false);
}

enum cpu_next cpu_op_xsaveopt(struct cpu *cpu, const struct cpu_insn *insn)
{
	return save_standard(cpu, insn, true);
}

/* Compacted: MXCSR belongs to SSE, which counts as in use when MXCSR has not its initial value (SDM 1, 13.10). */
enum cpu_next cpu_op_xsavec(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t components = requested(cpu), linear, in_use, header[2];
	uint8_t image[AREA_SIZE];

	if (!xsave_begin(cpu, insn, XSTATE_X87 | XSTATE_SSE, image, &linear))
		return CPU_FAULT;
	in_use = components_in_use(cpu);
	if (parked_mxcsr(cpu) != MXCSR_DEFAULT)
		in_use |= XSTATE_SSE;
	in_use &= components;
	header[0] = in_use;
	header[1] = components | XCOMP_COMPACT;
	if (!write_components(cpu, linear, image, in_use, (in_use & XSTATE_SSE) != 0) ||
	    !cpu_write(cpu, x87_block_address(cpu, linear, XSAVE_BV), header, sizeof(header), cpu_view(cpu)))
		return CPU_FAULT;
	return op_done(cpu, insn);
}

/* ---- XRSTOR ---- */

struct restore {
	uint64_t requested, present; /* components: asked for, and of those with data in the area */
	bool compact;
	uint8_t image[AREA_SIZE];
};

/* SDM volume 2, XRSTOR: what makes a header invalid. */
static bool header_is_valid(const struct cpu *cpu, const uint8_t *header)
{
	uint64_t state = load_le(header, 8), compaction = load_le(header + HEADER_XCOMP, 8);

	if (!(compaction & XCOMP_COMPACT))
		return (state & ~cpu->xcr0) == 0 && is_zero(header + 8, 16);
	if (!cpu_model_has(cpu->model, CPU_FEATURE_XSAVEC))
		return false;
	compaction &= ~XCOMP_COMPACT;
	return (compaction & ~cpu->xcr0) == 0 && (state & ~compaction) == 0 && is_zero(header + 16, 48);
}

static bool read_part(struct cpu *cpu, uint64_t linear, uint8_t *image, unsigned from, unsigned size)
{
	return x87_read_block(cpu, x87_block_address(cpu, linear, from), image + from, size);
}

/* Where MXCSR comes from the area: with SSE or AVX in the standard format, with SSE data in the compacted one. */
static bool restores_mxcsr(const struct restore *restore)
{
	if (restore->compact)
		return (restore->present & XSTATE_SSE) != 0;
	return (restore->requested & (XSTATE_SSE | XSTATE_AVX)) != 0;
}

static bool restore_read(struct cpu *cpu, const struct cpu_insn *insn, struct restore *restore)
{
	unsigned size = vector_bytes(cpu);
	uint8_t *image = restore->image;
	uint64_t linear;

	if (!area_operand(cpu, insn, area_size(restore->requested), 64, TLB_READ, &linear) ||
	    !read_part(cpu, linear, image, LEGACY_SIZE, HEADER_SIZE))
		return false;
	if (!header_is_valid(cpu, image + LEGACY_SIZE))
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	restore->present = restore->requested & load_le(image + XSAVE_BV, 8);
	restore->compact = (load_le(image + XSAVE_BV + HEADER_XCOMP, 8) & XCOMP_COMPACT) != 0;
	if ((restore->present & XSTATE_X87) && !read_part(cpu, linear, image, 0, XSAVE_XMM))
		return false;
	if (restores_mxcsr(restore)) {
		if (!read_part(cpu, linear, image, XSAVE_MXCSR, 8))
			return false;
		if (!mxcsr_is_valid(load_le(image + XSAVE_MXCSR, 4)))
			return cpu_fault_code(cpu, VECTOR_GP, 0);
	}
	if ((restore->present & XSTATE_SSE) && !read_part(cpu, linear, image, XSAVE_XMM, size))
		return false;
	return !(restore->present & XSTATE_AVX) || read_part(cpu, linear, image, XSAVE_AVX, size);
}

/* Vector registers from the area, or zeroes. Outside 64-bit mode the upper eight stay, so the component stays in use.
 */
static void restore_vectors(struct cpu *cpu, const struct restore *restore, uint64_t component, unsigned at)
{
	unsigned size = vector_bytes(cpu);
	uint64_t in_use = load_le(cpu->xsave + XSAVE_BV, 8);

	if (!(restore->requested & component))
		return;
	if (restore->present & component)
		copy_bytes(cpu->xsave + at, restore->image + at, size);
	else
		fill_bytes(cpu->xsave + at, 0, size);
	if ((restore->present & component) || !cpu_code64(cpu))
		in_use |= component;
	else
		in_use &= ~component;
	store_le(cpu->xsave + XSAVE_BV, in_use, 8);
}

static void restore_x87(struct cpu *cpu, const struct restore *restore, bool wide)
{
	if (!(restore->requested & XSTATE_X87))
		return;
	if (restore->present & XSTATE_X87) {
		x87_load_image(cpu, restore->image);
		x87_set_pointers(cpu, image_pointers(restore->image, wide));
		return;
	}
	x87_init(cpu);
	fill_bytes(cpu->xsave + XSAVE_ST, 0, XSAVE_XMM - XSAVE_ST);
	store_le(cpu->xsave + XSAVE_BV, load_le(cpu->xsave + XSAVE_BV, 8) & ~(uint64_t)XSTATE_X87, 8);
}

enum cpu_next cpu_op_xrstor(struct cpu *cpu, const struct cpu_insn *insn)
{
	struct restore restore;

	restore.requested = requested(cpu);
	if (!xsave_available(cpu) || !restore_read(cpu, insn, &restore))
		return CPU_FAULT;
	restore_x87(cpu, &restore, insn->rex_w);
	if (restores_mxcsr(&restore))
		copy_bytes(cpu->xsave + XSAVE_MXCSR, restore.image + XSAVE_MXCSR, 4);
	else if (restore.requested & XSTATE_SSE)
		store_le(cpu->xsave + XSAVE_MXCSR, MXCSR_DEFAULT, 4);
	restore_vectors(cpu, &restore, XSTATE_SSE, XSAVE_XMM);
	restore_vectors(cpu, &restore, XSTATE_AVX, XSAVE_AVX);
	return op_done(cpu, insn);
}

/* ---- LDMXCSR, STMXCSR, with and without VEX ---- */

static bool mxcsr_available(struct cpu *cpu, const struct cpu_insn *insn)
{
	bool enabled =
	    insn->vector_size != 0 ? (cpu->mode & MODE_AVX) != 0 : (cpu->mode & (MODE_SSE | MODE_FPU_EM)) == MODE_SSE;

	if (!enabled)
		return cpu_fault(cpu, VECTOR_UD);
	return !(cpu->mode & MODE_FPU_TS) || cpu_fault(cpu, VECTOR_NM);
}

enum cpu_next cpu_op_ldmxcsr(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t value;

	if (!mxcsr_available(cpu, insn) || !op_read_rm(cpu, insn, 4, &value))
		return CPU_FAULT;
	if (!mxcsr_is_valid(value))
		return op_gp(cpu);
	cpu_fpu_park(cpu);
	store_le(cpu->xsave + XSAVE_MXCSR, value, 4);
	cpu_xstate_changed(cpu, XSTATE_SSE);
	return op_done(cpu, insn);
}

enum cpu_next cpu_op_stmxcsr(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (!mxcsr_available(cpu, insn))
		return CPU_FAULT;
	cpu_fpu_park(cpu);
	return op_write_memory(cpu, insn, 4, parked_mxcsr(cpu)) ? op_done(cpu, insn) : CPU_FAULT;
}
