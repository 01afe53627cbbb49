/* SPDX-License-Identifier: MIT */
/*
 * Everything that stores machine state, after everything that leaves guest code: x87 operations on memory, MMIO, across
 * pages and under faults; then each image goes to a place of its own, with all general and vector registers. The driver
 * searches the guest's memory for addresses of the host's process.
 */
#include "hostile.h"

#define SLOT 4096
#define SLOTS 1024
static uint8_t slots[SLOTS * SLOT] __attribute__((aligned(4096)));
static unsigned used;
static bool has_avx;
uint64_t leak_number __attribute__((aligned(8), used)) = 0x3ff0000000000000;

FRAGMENT(x87_memory, "fldl leak_number\n faddl leak_number\n fstpl leak_number");
FRAGMENT(x87_at, "fldl (" BX ")\n fistl (" BX ")");
FRAGMENT(x87_fault, "fldz\n fldl (" BX ")");
FRAGMENT(x87_divide, "fninit\n fld1\n fldz\n fdivrp\n fldl leak_number");
FRAGMENT(sse_at, "movups (" BX "), %xmm3\n paddd (" BX "), %xmm4\n movups %xmm3, (" BX ")");
FRAGMENT(locked_at, "lock incl (" BX ")\n xadd %eax, (" BX ")");
FRAGMENT(string_at, "mov " BX ", " SI "\n mov $leak_number, " DI "\n mov $1, %ecx\n rep movsl");
FRAGMENT(system, "push " BX "\n cpuid\n pop " BX "\n rdtsc\n mov %cr0, " AX "\n mov " AX ", %cr0");
FRAGMENT(system_trap, "fldl leak_number\n int $0x81");
FRAGMENT(divide_fault, "xor %ecx, %ecx\n div %ecx");
FRAGMENT(self_modify, "incb 1f + 1\n 1: mov $1, %eax");
FRAGMENT(indirect, "mov $1f, " AX "\n call *" AX "\n jmp 2f\n 1: ret\n 2: nop");
FRAGMENT(bit_string, "mov $4096, %eax\n bts %eax, (" BX ")");
#ifdef __x86_64__
FRAGMENT(save_fx64, "fxsave64 (%rbx)");
FRAGMENT(save_x64, "mov $-1, %eax\n mov $-1, %edx\n xsave64 (%rbx)");
#endif
FRAGMENT(save_fx, "fxsave (" BX ")");
FRAGMENT(save_fn, "fnsave (" BX ")\n frstor (" BX ")");
FRAGMENT(save_env, "fnstenv (" BX ")\n fldenv (" BX ")");
FRAGMENT(save_env16, "data16 fnstenv (" BX ")");
FRAGMENT(save_x, "mov $-1, %eax\n mov $-1, %edx\n xsave (" BX ")");
FRAGMENT(save_xc, "mov $-1, %eax\n mov $-1, %edx\n xsavec (" BX ")");
FRAGMENT(save_tables, "sgdt (" BX ")\n sidt 16(" BX ")\n sldt 32(" BX ")\n str 34(" BX ")");

static void *slot(void)
{
	return slots + SLOT * (used++ % SLOTS);
}

static void store(code_function *save)
{
	struct regs before = regs;

	copy_bytes(slot(), &before, sizeof(before)); /* as the last run left them */
	regs.bx = (word)slot();
	run(save);
	regs = before;
}

static void store_all(void)
{
	store(save_fx);
	store(save_fn);
	store(save_env);
	store(save_env16);
	store(save_tables);
	if (has_avx)
		store(save_x);
	if (has_avx && cpu_has(HAS_XSAVEC))
		store(save_xc);
#ifdef __x86_64__
	store(save_fx64);
	if (has_avx)
		store(save_x64);
#endif
}

void guest_main(void)
{
	static code_function *const table[] = {x87_memory,  x87_at,    x87_fault, x87_divide,  sse_at,
					       locked_at,   string_at, system,	  system_trap, divide_fault,
					       self_modify, indirect,  bit_string};
	word places[] = {(word)&leak_number, APIC + APIC_TPR, AREA + PAGE - 4, AREA + 16 * PAGE, 0x2000000};

	canary_plant();
	apic_start();
#ifndef __x86_64__
	paging_start(PAGING_PAE);
#endif
	map(AREA, (word)page_alloc(), PTE_P | PTE_W | PTE_U);
	map(AREA + PAGE, (word)page_alloc(), PTE_P | PTE_W | PTE_U);
	if (cpu_has(HAS_AVX)) {
		write_cr4(read_cr4() | CR4_OSXSAVE);
		__asm__ volatile("xsetbv" : : "c"(0), "a"(7), "d"(0));
		has_avx = true;
	}
	for (unsigned user = 0; user < 2; user++) {
		for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
			for (unsigned j = 0; j < 5; j++) {
				regs = (struct regs){.bx = places[j]};
				if (user)
					run_user(table[i]);
				else
					run(table[i]);
				if (!(i % 3) || !(j % 2))
					store_all();
			}
		}
	}
	check("stored", used > 500);
	canary_check("canary.after_leak");
	rest();
}
