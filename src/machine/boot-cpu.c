/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "machine/boot.h"
#include "machine/layout.h"

/* Hidden parts of flat segments as struct cpu_segment keeps them (SDM 3A 3.4.5): limit 4 GiB, accessed. */
#define ACCESS_CODE64 0xa09bu
#define ACCESS_CODE32 0xc09bu
#define ACCESS_DATA 0xc093u

#define MTRR_ENABLED BIT32(11)
#define MTRR_WRITE_BACK 6u
#define MTRR_UNCACHEABLE 0u
#define MTRR_VALID BIT32(11)
#define MTRR_MASK_1G UINT64_C(0xffc0000000) /* of 40 address bits */

/* All memory is write-back but for the last GiB below 4 GiB (SDM 3A 12.11). */
void boot_prepare(struct cpu *cpu)
{
	cpu->mtrr_def_type = MTRR_ENABLED | MTRR_WRITE_BACK;
	cpu->mtrr_variable[0] = LAYOUT_LOW_LIMIT | MTRR_UNCACHEABLE;
	cpu->mtrr_variable[1] = MTRR_MASK_1G | MTRR_VALID;
}

void boot_apply(const struct boot_state *state, struct cpu *cpu)
{
	static const enum cpu_segment_name data[] = {CPU_DS, CPU_ES, CPU_SS, CPU_FS, CPU_GS};
	bool wide = state->mode == BOOT_LONG;

	for (unsigned i = 0; i < sizeof data / sizeof data[0]; i++)
		cpu->segment[data[i]] = (struct cpu_segment){
		    .selector = BOOT_DATA_SELECTOR, .base = 0, .limit = UINT32_MAX, .access = ACCESS_DATA};
	cpu->segment[CPU_CS] = (struct cpu_segment){.selector = BOOT_CODE_SELECTOR,
						    .base = 0,
						    .limit = UINT32_MAX,
						    .access = wide ? ACCESS_CODE64 : ACCESS_CODE32};
	cpu->gdtr = (struct cpu_table){.base = state->gdt, .limit = BOOT_GDT_SIZE - 1};
	cpu->idtr = (struct cpu_table){.base = 0, .limit = 0};

	cpu->cr0 = CR0_PE | CR0_ET | (wide ? CR0_PG : 0);
	cpu->cr4 = wide ? CR4_PAE : 0;
	cpu->cr3 = wide ? state->cr3 : 0;
	cpu->efer = wide ? EFER_LME | EFER_LMA : 0;
	cpu->cpl = 0;

	boot_prepare(cpu);
	memset(cpu->gpr, 0, sizeof cpu->gpr);
	cpu->gpr[CPU_RAX] = state->rax;
	cpu->gpr[CPU_RBX] = state->rbx;
	cpu->gpr[CPU_RSI] = state->rsi;
	cpu->rip = state->rip;
	cpu_rflags_set(cpu, FLAG_FIXED);
	cpu_mode_update(cpu);
}
