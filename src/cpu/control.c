/* SPDX-License-Identifier: MIT */
/*
 * Control registers: SDM 3A 2.5, 4.1 and 10.8.5; volume 2, MOV to/from control registers.
 *
 * Our TLB entries hold what a page permits under the CR0, CR4 and EFER in force when they were filled. So a change of
 * any bit that enters into a permission or a page's format flushes everything, also where hardware would not.
 */
#include "cpu/control.h"

#include "cpu/cpuid.h"
#include "cpu/op.h"

#define CR0_WRITABLE (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)
#define CR3_NO_FLUSH BIT64(63)

static bool paging_is_pae(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LME);
}

/* What activating long mode needs (SDM 3A 10.8.5.3). */
static bool long_mode_may_start(const struct cpu *cpu)
{
	unsigned type = cpu->tr.access & (SEGMENT_S | SEGMENT_TYPE);

	return (cpu->cr4 & CR4_PAE) && !(cpu->segment[CPU_CS].access & SEGMENT_L) && type != DESCRIPTOR_TSS16 &&
	       type != DESCRIPTOR_TSS16_BUSY;
}

/* Checks that the value as such allows: bits that need each other. */
static bool cr0_is_consistent(const struct cpu *cpu, uint64_t value)
{
	if ((value & CR0_PG) && !(value & CR0_PE))
		return false;
	if ((value & CR0_NW) && !(value & CR0_CD))
		return false;
	if ((cpu->cr0 & CR0_PG) && !(value & CR0_PG))
		return !cpu_code64(cpu) && !(cpu->cr4 & CR4_PCIDE);
	if (!(cpu->cr0 & CR0_PG) && (value & CR0_PG) && (cpu->efer & EFER_LME))
		return long_mode_may_start(cpu);
	return true;
}

bool control_set_cr0(struct cpu *cpu, uint64_t value)
{
	uint64_t changed;

	if ((value >> 32) != 0)
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	value = (value & CR0_WRITABLE) | CR0_ET;
	changed = cpu->cr0 ^ value;
	if (!cr0_is_consistent(cpu, value))
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	if ((changed & (CR0_PG | CR0_CD | CR0_NW)) && paging_is_pae(value, cpu->cr4, cpu->efer) &&
	    !mmu_load_pdpte(cpu, cpu->cr3))
		return false;
	cpu->cr0 = value;
	if (changed & CR0_PG) {
		if ((value & CR0_PG) && (cpu->efer & EFER_LME))
			cpu->efer |= EFER_LMA;
		else
			cpu->efer &= ~EFER_LMA;
	}
	if (changed & (CR0_PG | CR0_WP | CR0_PE)) {
		cpu_count(cpu, LEDGER_COUNT_TLB_FLUSH_MODE);
		mmu_flush_all(cpu, true);
	}
	cpu_mode_update(cpu);
	return true;
}

bool control_set_cr3(struct cpu *cpu, uint64_t value)
{
	bool pcid = (cpu->cr4 & CR4_PCIDE) != 0;
	bool keep = pcid && (value & CR3_NO_FLUSH);

	if (pcid)
		value &= ~CR3_NO_FLUSH;
	if (value >> cpu->model->physical_bits)
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	if (paging_is_pae(cpu->cr0, cpu->cr4, cpu->efer) && !mmu_load_pdpte(cpu, value))
		return false;
	cpu_count_with(cpu, LEDGER_COUNT_CR3_LOAD, 0, 0, value);
	if (keep && value == cpu->cr3)
		return true;
	mmu_load_space(cpu, value, keep);
	return true;
}

static bool cr4_is_consistent(const struct cpu *cpu, uint64_t value)
{
	uint64_t set = value & ~cpu->cr4;

	if (value & ~cpu->model->cr4_allowed)
		return false;
	if (cpu_long_mode(cpu) && !(value & CR4_PAE))
		return false;
	return !(set & CR4_PCIDE) || (cpu_long_mode(cpu) && (cpu->cr3 & TLB_PCID_MASK) == 0);
}

static bool set_cr4(struct cpu *cpu, uint64_t value)
{
	uint64_t changed = cpu->cr4 ^ value;

	if (!cr4_is_consistent(cpu, value))
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	if ((changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) && paging_is_pae(cpu->cr0, value, cpu->efer) &&
	    !mmu_load_pdpte(cpu, cpu->cr3))
		return false;
	cpu->cr4 = value;
	if (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_PCIDE | CR4_SMEP | CR4_SMAP)) {
		cpu_count(cpu, LEDGER_COUNT_TLB_FLUSH_MODE);
		mmu_flush_all(cpu, true);
	}
	cpu_mode_update(cpu);
	return true;
}

static bool set_cr8(struct cpu *cpu, uint64_t value)
{
	if (value > 15)
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	cpu_fpu_park(cpu);
	cpu->controller.cr8_write(cpu->controller.opaque, (uint8_t)value);
	return true;
}

static bool get_control(struct cpu *cpu, unsigned number, uint64_t *value)
{
	switch (number) {
	case 0:
		*value = cpu->cr0;
		break;
	case 2:
		*value = cpu->cr2;
		break;
	case 3:
		*value = cpu->cr3;
		break;
	case 4:
		*value = cpu->cr4;
		break;
	default:
		cpu_fpu_park(cpu);
		*value = cpu->controller.cr8_read(cpu->controller.opaque);
		break;
	}
	return true;
}

static bool set_control(struct cpu *cpu, unsigned number, uint64_t value)
{
	switch (number) {
	case 0:
		return control_set_cr0(cpu, value);
	case 2:
		cpu->cr2 = value;
		return true;
	case 3:
		return control_set_cr3(cpu, value);
	case 4:
		return set_cr4(cpu, value);
	default:
		return set_cr8(cpu, value);
	}
}

/* CR8 exists in 64-bit mode only: elsewhere it cannot be encoded. */
static bool control_exists(const struct cpu *cpu, unsigned number)
{
	return number == 0 || (number >= 2 && number <= 4) || (number == 8 && cpu_code64(cpu));
}

enum cpu_next cpu_op_mov_from_cr(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t value = 0;

	if (!control_exists(cpu, insn->reg))
		return op_fault(cpu, VECTOR_UD);
	if (!op_privileged(cpu) || !get_control(cpu, insn->reg, &value))
		return CPU_FAULT;
	cpu_register_set(cpu, insn, insn->rm, op_system_size(cpu), value);
	return CPU_CONTINUE;
}

enum cpu_next cpu_op_mov_to_cr(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (!control_exists(cpu, insn->reg))
		return op_fault(cpu, VECTOR_UD);
	if (!op_privileged(cpu) || !set_control(cpu, insn->reg, cpu_register(cpu, insn, insn->rm, op_system_size(cpu))))
		return CPU_FAULT;
	return op_exit(cpu, insn);
}

enum cpu_next cpu_op_lmsw(struct cpu *cpu, const struct cpu_insn *insn)
{
	const uint64_t low = CR0_PE | CR0_MP | CR0_EM | CR0_TS;
	uint64_t value;

	if (!op_privileged(cpu) || !op_read_rm(cpu, insn, 2, &value))
		return CPU_FAULT;
	/* PE can be set this way, not cleared. */
	if (!control_set_cr0(cpu, (cpu->cr0 & ~(low & ~CR0_PE)) | (value & low)))
		return CPU_FAULT;
	return op_exit(cpu, insn);
}

enum cpu_next cpu_op_clts(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (!op_privileged(cpu))
		return CPU_FAULT;
	cpu->cr0 &= ~CR0_TS;
	cpu_mode_update(cpu);
	return op_exit(cpu, insn);
}

enum cpu_next cpu_op_invlpg(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t linear;

	if (!op_privileged(cpu))
		return CPU_FAULT;
	/* Neither limits nor canonical form are checked: what names no page flushes none. */
	linear = op_segment_base(cpu, insn->segment) + cpu_effective_address(cpu, insn);
	if (!cpu_code64(cpu))
		linear = (uint32_t)linear;
	if (address_is_canonical(linear))
		mmu_flush_page(cpu, linear);
	return op_exit(cpu, insn);
}

enum invpcid_type { INVPCID_ADDRESS, INVPCID_CONTEXT, INVPCID_ALL_GLOBAL, INVPCID_ALL };

/* Volume 2, INVPCID. Entries of PCIDs that are not current are in the TLB's lists. */
static void invalidate(struct cpu *cpu, enum invpcid_type type, unsigned pcid, uint64_t linear)
{
	bool current = pcid == ((cpu->cr4 & CR4_PCIDE) ? cpu->cr3 & TLB_PCID_MASK : 0);

	if (type == INVPCID_ADDRESS) {
		if (current)
			mmu_flush_page(cpu, linear);
		else
			tlb_space_drop_page(&cpu->tlb, pcid, linear);
		return;
	}
	if (type != INVPCID_CONTEXT)
		tlb_space_drop(&cpu->tlb, TLB_EVERY_PCID);
	else if (!current)
		tlb_space_drop(&cpu->tlb, pcid);
	if (type == INVPCID_CONTEXT && !current)
		return;
	cpu_count(cpu, LEDGER_COUNT_TLB_FLUSH_INVPCID);
	mmu_flush_all(cpu, type == INVPCID_ALL_GLOBAL);
}

enum cpu_next cpu_op_invpcid(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t type = cpu_register(cpu, insn, insn->reg, op_system_size(cpu));
	bool enabled = (cpu->cr4 & CR4_PCIDE) != 0;
	uint64_t linear, descriptor[2];

	if (!op_privileged(cpu))
		return CPU_FAULT;
	if (!cpu_operand_linear(cpu, insn, sizeof(descriptor), TLB_READ, &linear) ||
	    !cpu_read(cpu, linear, descriptor, sizeof(descriptor), cpu_view(cpu)))
		return CPU_FAULT;
	if (type > INVPCID_ALL || (descriptor[0] >> 12) != 0)
		return op_gp(cpu);
	if (type <= INVPCID_CONTEXT && !enabled && descriptor[0] != 0)
		return op_gp(cpu);
	if (type == INVPCID_ADDRESS && !address_is_canonical(descriptor[1]))
		return op_gp(cpu);

	invalidate(cpu, (enum invpcid_type)type, (unsigned)descriptor[0], descriptor[1]);
	return op_exit(cpu, insn);
}

/* Guest memory is coherent whatever the guest does to its caches. */
enum cpu_next cpu_op_invd(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	return op_result(op_privileged(cpu));
}

enum cpu_next cpu_op_wbinvd(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	return op_result(op_privileged(cpu));
}

/* No performance counters are presented, so no index is valid. */
enum cpu_next cpu_op_rdpmc(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	return op_gp(cpu);
}

enum cpu_next cpu_op_xgetbv(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	if (!(cpu->cr4 & CR4_OSXSAVE))
		return op_fault(cpu, VECTOR_UD);
	if ((uint32_t)cpu->gpr[CPU_RCX] != 0)
		return op_gp(cpu);
	cpu->gpr[CPU_RAX] = (uint32_t)cpu->xcr0;
	cpu->gpr[CPU_RDX] = cpu->xcr0 >> 32;
	return CPU_CONTINUE;
}

enum cpu_next cpu_op_xsetbv(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t value = (uint32_t)cpu->gpr[CPU_RAX] | cpu->gpr[CPU_RDX] << 32;

	if (!(cpu->cr4 & CR4_OSXSAVE))
		return op_fault(cpu, VECTOR_UD);
	if (!op_privileged(cpu))
		return CPU_FAULT;
	if ((uint32_t)cpu->gpr[CPU_RCX] != 0 || (value & ~cpu->model->xcr0_allowed) || !(value & XCR0_X87))
		return op_gp(cpu);
	if ((value & XCR0_AVX) && !(value & XCR0_SSE))
		return op_gp(cpu);
	cpu->xcr0 = value;
	cpu_mode_update(cpu);
	return op_exit(cpu, insn);
}

/* Of a spin: the gap between two PAUSEs, and how long it may last before the processor is given away (host TSC). A
 * short wait ends sooner than the way to another thread and back would take. */
#define PAUSE_GAP 4096u
#define PAUSE_WINDOW 32768u

/* Only where other vCPUs may hold what this one waits for; else PAUSE is re-emitted. */
enum cpu_next cpu_op_pause(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t now = ledger_tsc();

	if (now - cpu->pause_last > PAUSE_GAP)
		cpu->pause_begin = now;
	cpu->pause_last = now;
	if (now - cpu->pause_begin < PAUSE_WINDOW || cpu->spin == NULL) {
		__builtin_ia32_pause();
		return op_done(cpu, insn);
	}
	cpu->spin(cpu->engine_opaque);
	cpu->pause_last = cpu->pause_begin = ledger_tsc();
	return op_done(cpu, insn);
}
