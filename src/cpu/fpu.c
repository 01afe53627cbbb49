/* SPDX-License-Identifier: MIT */
/*
 * Guest vector state between the host's registers and struct cpu.
 *
 * The plain XSAVE is used, not XSAVEOPT: it writes every component even when that has its initial value, so that C may
 * read and change cpu->xsave without a case for it. XSTATE_BV keeps what the host found, since loading
 * zeroes as if they were live upper halves would slow the guest's SSE code.
 */
#include "cpu/fpu.h"

#define CPUID_1_ECX_OSXSAVE BIT32(27)

static void cpuid(uint32_t leaf, uint32_t *eax, uint32_t *ecx)
{
	uint32_t ebx, edx;
	__asm__ volatile("cpuid" : "=a"(*eax), "=b"(ebx), "=c"(*ecx), "=d"(edx) : "a"(leaf), "c"(0));
}

uint64_t cpu_fpu_host_xstate(void)
{
	uint32_t eax, ecx;
	cpuid(1, &eax, &ecx);
	if (!(ecx & CPUID_1_ECX_OSXSAVE))
		return 0;
	uint32_t low, high;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return low & XSTATE_ALL;
}

/* A clean environment for C: no guest exceptions unmasked, x87 stack empty, upper halves clear, DF clear. */
static void host_environment(uint64_t host_xstate)
{
	static const uint32_t mxcsr = MXCSR_DEFAULT;
	__asm__ volatile("fninit\n\tldmxcsr %0\n\tcld" : : "m"(mxcsr));
	if (host_xstate & XSTATE_AVX)
		__asm__ volatile("vzeroupper");
}

void cpu_fpu_park(struct cpu *cpu)
{
	if (!cpu->fpu_live)
		return;
	uint32_t low = (uint32_t)cpu->host_xstate;
	if (low != 0)
		__asm__ volatile("xsave64 %0" : "+m"(cpu->xsave) : "a"(low), "d"(0));
	else
		__asm__ volatile("fxsave64 %0" : "+m"(cpu->xsave));
	host_environment(low);
	cpu->fpu_live = 0;
}

void cpu_fpu_unpark(struct cpu *cpu)
{
	if (cpu->fpu_live)
		return;
	uint32_t low = (uint32_t)cpu->host_xstate;
	if (low != 0)
		__asm__ volatile("xrstor64 %0" : : "m"(cpu->xsave), "a"(low), "d"(0));
	else
		__asm__ volatile("fxrstor64 %0" : : "m"(cpu->xsave));
	cpu->fpu_live = 1;
}

/* SDM 3A table 10-1: after RESET FCW is 40H and every x87 register holds +0.0 as valid. */
void cpu_fpu_reset(struct cpu *cpu)
{
	fill_bytes(cpu->xsave, 0, sizeof(cpu->xsave));
	store_le(cpu->xsave + XSAVE_FCW, 0x40, 2);
	store_le(cpu->xsave + XSAVE_FTW, 0xff, 1);
	store_le(cpu->xsave + XSAVE_MXCSR, MXCSR_DEFAULT, 4);
	store_le(cpu->xsave + XSAVE_BV, XSTATE_X87, 8);
	cpu->fpu_live = 0;
}
