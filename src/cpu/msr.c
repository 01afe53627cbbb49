/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers, the time-stamp counter, and CPUID as the guest executes it. SDM volume 4; APM 2, appendix
 * A.
 *
 * One table lists every register: where its value lives and what a write must satisfy. What is not in the table, or
 * belongs to a feature that is not presented, raises #GP, as on hardware without it.
 */
#include "cpu/msr.h"

#include "cpu/cpuid.h"
#include "cpu/op.h"

#define ANY CPU_FEATURE_COUNT /* no feature needed */
#define EVERY_BIT (~UINT64_C(0))

enum msr_vendor { VENDOR_ANY, VENDOR_INTEL, VENDOR_AMD };

struct msr;
typedef bool msr_read_function(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t *value);
typedef bool msr_write_function(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t value);

struct msr {
	uint32_t first, last;
	uint32_t offset; /* in struct cpu, for read_field and the writes that store */
	uint32_t feature;
	enum msr_vendor vendor;
	uint64_t mask; /* bits that a write may set; read_constant: the value */
	msr_read_function *read;
	msr_write_function *write; /* NULL: read-only, #GP */
};

static uint64_t *field(struct cpu *cpu, const struct msr *msr, uint32_t number)
{
	return (uint64_t *)(void *)((char *)cpu + msr->offset) + (number - msr->first);
}

static bool read_field(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t *value)
{
	*value = *field(cpu, msr, number);
	return true;
}

static bool read_constant(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t *value)
{
	(void)cpu;
	(void)number;
	*value = msr->mask;
	return true;
}

static bool write_masked(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t value)
{
	if (value & ~msr->mask)
		return false;
	*field(cpu, msr, number) = value;
	return true;
}

/* Upper halves that hardware ignores. */
static bool write_low_half(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t value)
{
	*field(cpu, msr, number) = (uint32_t)value;
	return true;
}

static bool write_canonical(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t value)
{
	if (!address_is_canonical(value))
		return false;
	*field(cpu, msr, number) = value;
	return true;
}

/* Commands and settings without effect here: bits outside the mask are reserved. */
static bool write_ignored(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t value)
{
	(void)cpu;
	(void)number;
	return (value & ~msr->mask) == 0;
}

/* A register whose only legal value is the one it has. */
static bool write_same(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t value)
{
	(void)cpu;
	(void)number;
	return value == msr->mask;
}

static bool read_nothing(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t *value)
{
	(void)cpu;
	(void)msr;
	(void)number;
	(void)value;
	return false;
}

/* ---- time-stamp counter ---- */

uint64_t cpu_tsc(struct cpu *cpu)
{
	if (cpu->clock == NULL || cpu->clock->mode == CLOCK_REAL)
		return ledger_tsc() + cpu->tsc_offset;
	cpu_fpu_park(cpu);
	return clock_tsc(cpu->clock) + cpu->tsc_offset;
}

static void tsc_move(struct cpu *cpu, uint64_t by)
{
	cpu->tsc_offset += by;
	cpu->tsc_adjust += by;
	if (cpu->controller.tsc_changed == NULL)
		return;
	cpu_fpu_park(cpu);
	cpu->controller.tsc_changed(cpu->controller.opaque);
}

static bool read_tsc(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t *value)
{
	(void)msr;
	(void)number;
	*value = cpu_tsc(cpu);
	return true;
}

/* A write to IA32_TSC shows in IA32_TSC_ADJUST, and the other way round (SDM 3B 18.17.3). */
static bool write_tsc(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t value)
{
	(void)msr;
	(void)number;
	tsc_move(cpu, value - cpu_tsc(cpu));
	return true;
}

static bool write_tsc_adjust(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t value)
{
	(void)msr;
	(void)number;
	tsc_move(cpu, value - cpu->tsc_adjust);
	return true;
}

/* ---- local APIC ---- */

static bool read_apic(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t *value)
{
	(void)msr;
	cpu_fpu_park(cpu);
	return cpu->controller.msr_read != NULL && cpu->controller.msr_read(cpu->controller.opaque, number, value);
}

static bool write_apic(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t value)
{
	(void)msr;
	cpu_fpu_park(cpu);
	return cpu->controller.msr_write != NULL && cpu->controller.msr_write(cpu->controller.opaque, number, value);
}

/* ---- modes and memory types ---- */

static bool write_efer(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t value)
{
	uint64_t changed = (cpu->efer ^ value) & ~EFER_LMA;

	(void)msr;
	(void)number;
	if (value & ~(cpu->model->efer_allowed | EFER_LMA))
		return false;
	if ((changed & EFER_LME) && (cpu->cr0 & CR0_PG))
		return false;
	cpu->efer = (value & ~EFER_LMA) | (cpu->efer & EFER_LMA);
	if (changed & EFER_NXE) {
		cpu_count(cpu, LEDGER_COUNT_TLB_FLUSH_MODE);
		mmu_flush_all(cpu, true);
	}
	cpu_mode_update(cpu);
	return true;
}

static bool memory_type_is_valid(uint64_t type)
{
	return type <= 6 && type != 2 && type != 3;
}

static bool write_memory_types(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t value)
{
	bool pat = msr->first == MSR_PAT; /* which also knows type 7, UC- */

	for (unsigned i = 0; i < 8; i++) {
		uint64_t type = (value >> (i * 8)) & 0xff;
		if (!memory_type_is_valid(type) && !(pat && type == 7))
			return false;
	}
	*field(cpu, msr, number) = value;
	return true;
}

/* Even: base and type. Odd: mask and valid bit. */
static bool write_mtrr_variable(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t value)
{
	uint64_t address = size_mask(8) >> (64 - cpu->model->physical_bits) & ~UINT64_C(0xfff);
	bool is_mask = ((number - msr->first) & 1) != 0;

	if (value & ~(address | (is_mask ? 0x800u : 0xffu)))
		return false;
	if (!is_mask && !memory_type_is_valid(value & 0xff))
		return false;
	*field(cpu, msr, number) = value;
	return true;
}

static bool write_mtrr_default(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t value)
{
	if ((value & ~msr->mask) || !memory_type_is_valid(value & 0xff))
		return false;
	*field(cpu, msr, number) = value;
	return true;
}

static bool read_arch_capabilities(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t *value)
{
	(void)msr;
	(void)number;
	*value = cpu->model->arch_capabilities;
	return cpu->model->has_arch_capabilities;
}

/* KVM's MSR 4B564D03H: bit 0 enables, bits 5:1 are reserved, the rest is where the 64 bytes are. */
static bool read_steal(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t *value)
{
	return cpu->model->steal_time && read_field(cpu, msr, number, value);
}

static bool write_steal(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t value)
{
	if (!cpu->model->steal_time || !write_masked(cpu, msr, number, value))
		return false;
	if (cpu->steal_changed != NULL)
		cpu->steal_changed(cpu->steal_opaque);
	return true;
}

/* The ratio of the TSC to the 100 MHz bus clock, bits 15:8. */
static bool read_platform_info(struct cpu *cpu, const struct msr *msr, uint32_t number, uint64_t *value)
{
	(void)msr;
	(void)number;
	*value = ((cpu->model->tsc_hz / 100000000) & 0xff) << 8;
	return true;
}

#define FIELD(name) offsetof(struct cpu, name)
#define BASE(segment_name) (offsetof(struct cpu, segment) + (segment_name) * sizeof(struct cpu_segment))

/* MTRR capabilities: 8 variable ranges, fixed ranges, write combining. */
#define MTRR_CAP 0x508
#define MTRR_DEFAULT_BITS 0xcff
#define SPEC_CTRL_BITS 0x407 /* IBRS, STIBP, SSBD, BHI_DIS_S: kept, without effect */
#define DEBUGCTL_BITS 3	     /* LBR, BTF */
/* Fast strings, thermal monitor, performance and branch-trace bits; those of absent features are reserved. */
#define MISC_ENABLE_BITS 0x11889
#define AMD_HWCR_TSC_FREQ_SEL BIT64(24)
#define AMD_DE_CFG_LFENCE_SERIALIZE BIT64(1)

/* Sorted by number. */
static const struct msr msrs[] = {
    {0x000, 0x001, 0, ANY, VENDOR_ANY, 0, read_constant, write_ignored}, /* P5 machine check */
    {0x010, 0x010, 0, CPU_FEATURE_TSC, VENDOR_ANY, 0, read_tsc, write_tsc},
    {0x017, 0x017, 0, ANY, VENDOR_INTEL, 0, read_constant, NULL}, /* IA32_PLATFORM_ID */
    {0x01b, 0x01b, 0, CPU_FEATURE_APIC, VENDOR_ANY, 0, read_apic, write_apic},
    {0x034, 0x034, 0, ANY, VENDOR_INTEL, 0, read_constant, NULL}, /* SMI count: there are none */
    {0x03b, 0x03b, FIELD(tsc_adjust), CPU_FEATURE_TSC_ADJUST, VENDOR_ANY, 0, read_field, write_tsc_adjust},
    {0x048, 0x048, FIELD(spec_ctrl), ANY, VENDOR_ANY, SPEC_CTRL_BITS, read_field, write_masked},
    {0x049, 0x049, 0, ANY, VENDOR_ANY, 1, read_nothing, write_ignored}, /* IA32_PRED_CMD: IBPB */
    {0x08b, 0x08b, FIELD(bios_sign_id), ANY, VENDOR_INTEL, EVERY_BIT, read_field, write_masked},
    {0x08b, 0x08b, FIELD(bios_sign_id), ANY, VENDOR_AMD, 0, read_field, NULL}, /* patch level */
    {0x0ce, 0x0ce, 0, ANY, VENDOR_INTEL, 0, read_platform_info, NULL},
    {0x0fe, 0x0fe, 0, CPU_FEATURE_MTRR, VENDOR_ANY, MTRR_CAP, read_constant, NULL},
    {0x10a, 0x10a, 0, ANY, VENDOR_INTEL, 0, read_arch_capabilities, NULL},
    {0x174, 0x174, FIELD(sysenter_cs), CPU_FEATURE_SEP, VENDOR_ANY, 0, read_field, write_low_half},
    {0x175, 0x176, FIELD(sysenter_esp), CPU_FEATURE_SEP, VENDOR_ANY, 0, read_field, write_canonical},
    {0x179, 0x179, 0, CPU_FEATURE_MCA, VENDOR_ANY, 0, read_constant, NULL}, /* IA32_MCG_CAP: no banks */
    {0x17a, 0x17a, 0, CPU_FEATURE_MCA, VENDOR_ANY, 0, read_constant, write_same},
    {0x1a0, 0x1a0, FIELD(misc_enable), ANY, VENDOR_INTEL, MISC_ENABLE_BITS, read_field, write_masked},
    {0x1d9, 0x1d9, FIELD(debugctl), ANY, VENDOR_ANY, DEBUGCTL_BITS, read_field, write_masked},
    {0x200, 0x20f, FIELD(mtrr_variable), CPU_FEATURE_MTRR, VENDOR_ANY, 0, read_field, write_mtrr_variable},
    {0x250, 0x250, FIELD(mtrr_fixed), CPU_FEATURE_MTRR, VENDOR_ANY, 0, read_field, write_memory_types},
    {0x258, 0x259, FIELD(mtrr_fixed[1]), CPU_FEATURE_MTRR, VENDOR_ANY, 0, read_field, write_memory_types},
    {0x268, 0x26f, FIELD(mtrr_fixed[3]), CPU_FEATURE_MTRR, VENDOR_ANY, 0, read_field, write_memory_types},
    {MSR_PAT, MSR_PAT, FIELD(pat), CPU_FEATURE_PAT, VENDOR_ANY, 0, read_field, write_memory_types},
    {0x2ff, 0x2ff, FIELD(mtrr_def_type), CPU_FEATURE_MTRR, VENDOR_ANY, MTRR_DEFAULT_BITS, read_field,
     write_mtrr_default},
    {0x6e0, 0x6e0, 0, CPU_FEATURE_TSC_DEADLINE, VENDOR_ANY, 0, read_apic, write_apic},
    {0x800, 0x8ff, 0, CPU_FEATURE_X2APIC, VENDOR_ANY, 0, read_apic, write_apic},
    {0x4b564d03, 0x4b564d03, FIELD(steal), ANY, VENDOR_ANY, ~UINT64_C(0x3e), read_steal, write_steal},
    {0xc0000080, 0xc0000080, FIELD(efer), CPU_FEATURE_LM, VENDOR_ANY, 0, read_field, write_efer},
    {0xc0000081, 0xc0000081, FIELD(star), CPU_FEATURE_SYSCALL, VENDOR_ANY, EVERY_BIT, read_field, write_masked},
    {0xc0000082, 0xc0000083, FIELD(lstar), CPU_FEATURE_SYSCALL, VENDOR_ANY, 0, read_field, write_canonical},
    {0xc0000084, 0xc0000084, FIELD(sfmask), CPU_FEATURE_SYSCALL, VENDOR_ANY, 0, read_field, write_low_half},
    {0xc0000100, 0xc0000100, BASE(CPU_FS), CPU_FEATURE_LM, VENDOR_ANY, 0, read_field, write_canonical},
    {0xc0000101, 0xc0000101, BASE(CPU_GS), CPU_FEATURE_LM, VENDOR_ANY, 0, read_field, write_canonical},
    {0xc0000102, 0xc0000102, FIELD(kernel_gs_base), CPU_FEATURE_LM, VENDOR_ANY, 0, read_field, write_canonical},
    {0xc0000103, 0xc0000103, FIELD(tsc_aux), CPU_FEATURE_RDTSCP, VENDOR_ANY, 0xffffffff, read_field, write_masked},
    {0xc0010010, 0xc0010010, 0, ANY, VENDOR_AMD, 0, read_constant, write_same}, /* SYSCFG */
    {0xc0010015, 0xc0010015, 0, ANY, VENDOR_AMD, AMD_HWCR_TSC_FREQ_SEL, read_constant, write_same},
    {0xc001001f, 0xc001001f, 0, ANY, VENDOR_AMD, 0, read_constant, write_same}, /* NB_CFG1 */
    {0xc0011029, 0xc0011029, 0, ANY, VENDOR_AMD, AMD_DE_CFG_LFENCE_SERIALIZE, read_constant, write_same},
};

_Static_assert(offsetof(struct cpu, sysenter_eip) == offsetof(struct cpu, sysenter_esp) + 8, "one row has both");
_Static_assert(offsetof(struct cpu, cstar) == offsetof(struct cpu, lstar) + 8, "one row has both");
_Static_assert(offsetof(struct cpu_segment, base) == 0, "BASE() names the segment");

static bool msr_is_present(const struct cpu_model *model, const struct msr *msr)
{
	bool intel = cpu_model_is_intel(model);

	if (msr->vendor != VENDOR_ANY && (msr->vendor == VENDOR_INTEL) != intel)
		return false;
	return msr->feature == ANY || cpu_model_has(model, (enum cpu_feature)msr->feature);
}

static const struct msr *msr_find(const struct cpu *cpu, uint32_t number)
{
	for (size_t i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
		if (number >= msrs[i].first && number <= msrs[i].last && msr_is_present(cpu->model, &msrs[i]))
			return &msrs[i];
	return NULL;
}

bool cpu_msr_read(struct cpu *cpu, uint32_t number, uint64_t *value)
{
	const struct msr *msr = msr_find(cpu, number);

	return msr != NULL && msr->read(cpu, msr, number, value);
}

bool cpu_msr_write(struct cpu *cpu, uint32_t number, uint64_t value)
{
	const struct msr *msr = msr_find(cpu, number);

	return msr != NULL && msr->write != NULL && msr->write(cpu, msr, number, value);
}

static void set_edx_eax(struct cpu *cpu, uint64_t value)
{
	cpu->gpr[CPU_RAX] = (uint32_t)value;
	cpu->gpr[CPU_RDX] = value >> 32;
}

enum cpu_next cpu_op_rdmsr(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t value = 0;

	if (!op_privileged(cpu))
		return CPU_FAULT;
	cpu_count_with(cpu, LEDGER_COUNT_MSR_READ, 0, (uint32_t)cpu->gpr[CPU_RCX], 0);
	if (!cpu_msr_read(cpu, (uint32_t)cpu->gpr[CPU_RCX], &value))
		return op_gp(cpu);
	set_edx_eax(cpu, value);
	return op_done(cpu, insn);
}

/* EFER and the APIC's registers can change modes and raise interrupts. */
enum cpu_next cpu_op_wrmsr(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t value = (uint32_t)cpu->gpr[CPU_RAX] | cpu->gpr[CPU_RDX] << 32;

	if (!op_privileged(cpu))
		return CPU_FAULT;
	cpu_count_with(cpu, LEDGER_COUNT_MSR_WRITE, 0, (uint32_t)cpu->gpr[CPU_RCX], value);
	if (!cpu_msr_write(cpu, (uint32_t)cpu->gpr[CPU_RCX], value))
		return op_gp(cpu);
	return op_exit(cpu, insn);
}

static bool tsc_is_readable(struct cpu *cpu)
{
	return !(cpu->cr4 & CR4_TSD) || cpu->cpl == 0 || cpu_fault_code(cpu, VECTOR_GP, 0);
}

enum cpu_next cpu_op_rdtsc(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	if (!tsc_is_readable(cpu))
		return CPU_FAULT;
	set_edx_eax(cpu, cpu_tsc(cpu));
	return CPU_CONTINUE;
}

/* It waits for earlier loads (SDM 2B): a time that another vCPU took before it wrote what they read is not later. */
enum cpu_next cpu_op_rdtscp(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	if (!tsc_is_readable(cpu))
		return CPU_FAULT;
	__asm__ volatile("lfence" : : : "memory");
	set_edx_eax(cpu, cpu_tsc(cpu));
	cpu->gpr[CPU_RCX] = (uint32_t)cpu->tsc_aux;
	return CPU_CONTINUE;
}

enum cpu_next cpu_op_rdpid(struct cpu *cpu, const struct cpu_insn *insn)
{
	cpu_register_set(cpu, insn, insn->rm, op_system_size(cpu), cpu->tsc_aux);
	return CPU_CONTINUE;
}

enum cpu_next cpu_op_cpuid(struct cpu *cpu, const struct cpu_insn *insn)
{
	struct cpu_cpuid_leaf leaf;

	(void)insn;
	cpu_cpuid(cpu, (uint32_t)cpu->gpr[CPU_RAX], (uint32_t)cpu->gpr[CPU_RCX], &leaf);
	cpu->gpr[CPU_RAX] = leaf.eax;
	cpu->gpr[CPU_RBX] = leaf.ebx;
	cpu->gpr[CPU_RCX] = leaf.ecx;
	cpu->gpr[CPU_RDX] = leaf.edx;
	return CPU_CONTINUE;
}

/* ---- CPUID: the model's leaves, and the few fields that follow the processor's state ---- */

#define CPUID_1_ECX_OSXSAVE BIT32(27)
#define CPUID_81_EDX_SYSCALL BIT32(11)

/* Leaf 0DH, EBX: the size of an area for the components in XCR0. AVX lies directly behind the header in both formats.
 */
static uint32_t xsave_area_size(uint64_t xcr0)
{
	return xcr0 & 4 ? 576 + 256 : 576;
}

static void cpuid_follow_state(const struct cpu *cpu, struct cpu_cpuid_leaf *leaf)
{
	switch (leaf->leaf) {
	case 1:
		leaf->ebx |= cpu->index << 24;
		if (cpu->cr4 & CR4_OSXSAVE)
			leaf->ecx |= CPUID_1_ECX_OSXSAVE;
		break;
	case 0xb:
		leaf->edx = cpu->index;
		break;
	case 0xd:
		if (leaf->subleaf == 0 || (leaf->subleaf == 1 && cpu_model_has(cpu->model, CPU_FEATURE_XSAVEC)))
			leaf->ebx = xsave_area_size(cpu->xcr0);
		break;
	case 0x80000001:
		if (cpu_model_is_intel(cpu->model) && !cpu_code64(cpu)) /* SYSCALL exists in 64-bit mode only */
			leaf->edx &= ~CPUID_81_EDX_SYSCALL;
		break;
	default:
		break;
	}
}

static const struct cpu_cpuid_leaf *cpuid_find(const struct cpu_model *model, uint32_t leaf, uint32_t subleaf)
{
	for (unsigned i = 0; i < model->leaf_count; i++) {
		const struct cpu_cpuid_leaf *row = &model->leaf[i];
		if (row->leaf == leaf && (!row->subleaf_matters || row->subleaf == subleaf))
			return row;
	}
	return NULL;
}

/* Leaves beyond the last: Intel's processors answer with the last basic one, AMD's with zeroes. */
static uint32_t cpuid_clamp(const struct cpu_model *model, uint32_t leaf)
{
	uint32_t last_basic = model->leaf[0].eax;
	/* Of hypervisors' leaves, each 100H can be an interface of its own. */
	uint32_t range = leaf >> 16 == 0x4000 ? 0xffffff00 : 0xffff0000;
	const struct cpu_cpuid_leaf *first = cpuid_find(model, leaf & range, 0);

	if (!cpu_model_is_intel(model) || (first != NULL && leaf <= first->eax))
		return leaf;
	return last_basic;
}

void cpu_cpuid(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf, struct cpu_cpuid_leaf *result)
{
	const struct cpu_cpuid_leaf *row;

	leaf = cpuid_clamp(cpu->model, leaf);
	row = cpuid_find(cpu->model, leaf, subleaf);
	if (row == NULL) {
		*result = (struct cpu_cpuid_leaf){.leaf = leaf, .subleaf = subleaf};
		if (leaf == 0xb) /* levels beyond the last still show the subleaf and the APIC ID */
			result->ecx = subleaf & 0xff;
	} else {
		*result = *row;
		result->subleaf = subleaf;
	}
	cpuid_follow_state(cpu, result);
}
