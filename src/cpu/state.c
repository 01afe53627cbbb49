/* SPDX-License-Identifier: MIT */
/* RESET, INIT and the recording of faults. SDM 3A 10.1.1 and table 10-1. */
#include "cpu/cpu.h"

#include "cpu/cpuid.h"
#include "cpu/fpu.h"
#include "cpu/mmu.h"
#include "cpu/segment.h"

#define PAT_RESET UINT64_C(0x0007040600070406)
#define DR6_RESET UINT64_C(0xffff0ff0)
#define DR7_RESET UINT64_C(0x400)
#define ACCESS_REAL 0x93u

void cpu_fault_record(struct cpu *cpu, enum cpu_vector vector, bool has_error_code, uint32_t error_code)
{
	cpu->pending.valid = true;
	cpu->pending.vector = (uint8_t)vector;
	cpu->pending.has_error_code = has_error_code;
	cpu->pending.software = false;
	cpu->pending.privileged_software = false;
	cpu->pending.error_code = error_code;
	cpu->pending.dr6 = 0;
}

/* CPUID.1:EAX, which EDX shows after RESET and INIT. */
static uint32_t model_signature(const struct cpu_model *model)
{
	for (unsigned i = 0; i < model->leaf_count; i++) {
		if (model->leaf[i].leaf == 1)
			return model->leaf[i].eax;
	}
	return 0;
}

static void reset_segments(struct cpu *cpu)
{
	for (unsigned i = 0; i < CPU_SEGMENT_COUNT; i++) {
		struct cpu_segment *segment = &cpu->segment[i];
		segment->base = 0;
		segment->limit = 0xffff;
		segment->selector = 0;
		segment->access = ACCESS_REAL;
	}
	cpu->segment[CPU_CS].selector = 0xf000;
	cpu->segment[CPU_CS].base = 0xffff0000;
	cpu->ldtr.base = cpu->tr.base = 0;
	cpu->ldtr.limit = cpu->tr.limit = 0xffff;
	cpu->ldtr.selector = cpu->tr.selector = 0;
	cpu->ldtr.access = SEGMENT_P | DESCRIPTOR_LDT;
	cpu->tr.access = SEGMENT_P | DESCRIPTOR_TSS_BUSY;
	cpu->gdtr.base = cpu->idtr.base = 0;
	cpu->gdtr.limit = cpu->idtr.limit = 0xffff;
}

/* What RESET and INIT have in common. */
static void reset_common(struct cpu *cpu)
{
	for (unsigned i = 0; i < 16; i++)
		cpu->gpr[i] = 0;
	cpu->gpr[CPU_RDX] = model_signature(cpu->model);
	cpu->rip = 0xfff0;
	cpu_rflags_set(cpu, FLAG_FIXED);
	cpu->interrupt_shadow = 0;
	cpu->cpl = 0;
	reset_segments(cpu);
	cpu->cr2 = cpu->cr3 = cpu->cr4 = 0;
	for (unsigned i = 0; i < 4; i++)
		cpu->dr[i] = cpu->pdpte[i] = 0;
	cpu->dr[6] = DR6_RESET;
	cpu->dr[7] = DR7_RESET;
	cpu->efer = 0;
	cpu->halted = false;
	cpu->nmi_blocked = false;
	cpu->shutdown = false;
	cpu->wait_for_sipi = cpu->index != 0;
	cpu->debug_trap = false;
	cpu->debug_dr6 = 0;
	cpu->pending.valid = false;
}

static void reset_msrs(struct cpu *cpu)
{
	cpu->star = cpu->lstar = cpu->cstar = cpu->sfmask = cpu->kernel_gs_base = 0;
	cpu->sysenter_cs = cpu->sysenter_esp = cpu->sysenter_eip = 0;
	cpu->pat = PAT_RESET;
	cpu->misc_enable = 1; /* fast strings */
	cpu->tsc_aux = cpu->tsc_adjust = cpu->debugctl = cpu->spec_ctrl = cpu->bios_sign_id = 0;
	cpu->mtrr_def_type = 0;
	cpu->steal = 0;
	for (unsigned i = 0; i < 11; i++)
		cpu->mtrr_fixed[i] = 0;
	for (unsigned i = 0; i < 16; i++)
		cpu->mtrr_variable[i] = 0;
}

void cpu_reset(struct cpu *cpu)
{
	reset_common(cpu);
	reset_msrs(cpu);
	cpu->cr0 = CR0_CD | CR0_NW | CR0_ET;
	cpu->xcr0 = 1;
	cpu->tsc_offset = clock_tsc_offset(cpu->clock);
	cpu->host_xstate = cpu_fpu_host_xstate();
	cpu_fpu_reset(cpu);
	tlb_init(&cpu->tlb);
	mmu_flush_all(cpu, true);
	cpu_mode_update(cpu);
}

/* INIT keeps the caches' control bits, the vector state, XCR0, the MSRs and the TSC. */
void cpu_init_signal(struct cpu *cpu)
{
	reset_common(cpu);
	cpu->cr0 = (cpu->cr0 & (CR0_CD | CR0_NW)) | CR0_ET;
	mmu_flush_all(cpu, true);
	cpu_mode_update(cpu);
}
