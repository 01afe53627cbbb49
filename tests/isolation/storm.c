/* SPDX-License-Identifier: MIT */
/*
 * Self-modifying storms: code that rewrites itself, its neighbours and its aliases at every turn, in one page, across
 * pages, while mappings move; the results are computed along and must be right.
 */
#include "hostile.h"

#define PAGES 8
#define ALIAS (AREA + 0x100000)

static uint8_t *code;
static bool wrong;

/* A random place gets "mov $n, %eax; ret" and must return n, by its own address or by an alias. */
static void rewrite(void)
{
	word at = random_below(PAGES * PAGE - 8);
	uint32_t value = (uint32_t)random_64();
	uint8_t *write = random_below(2) ? code : (uint8_t *)ALIAS;
	word run_base = random_below(2) ? (word)code : ALIAS;

	write[at] = 0xb8;
	switch (random_below(3)) {
	case 0:
		*(uint32_t *)(void *)(write + at + 1) = value;
		break;
	case 1:
		copy_bytes(write + at + 1, &value, 4);
		break;
	default:
		for (unsigned i = 0; i < 4; i++)
			__asm__ volatile("lock andb $0, %0\n lock orb %1, %0"
					 : "+m"(write[at + 1 + i])
					 : "r"((uint8_t)(value >> 8 * i)));
	}
	write[at + 5] = 0xc3;
	run((code_function *)(run_base + at));
	if (trap.vector != NO_TRAP || (uint32_t)regs.ax != value)
		wrong = true;
}

/* Each instruction stores over the one that follows: c6 05/04.. imm -> patches an increment. */
FRAGMENT(chase, "xor %eax, %eax\n mov $200, %ecx\n 1: incb 2f + 1\n 2: mov $0, %dl\n movzbl %dl, %edx\n add %edx, "
		"%eax\n incb 3f + 2\n"
		"3: add $0, %eax\n dec %ecx\n jnz 1b\n movb $0, 2b + 1\n movb $0, 3b + 2");
FRAGMENT(wipe_self, "mov $wipe_end, " DI "\n mov $0x90, %al\n mov $1, %ecx\n rep stosb\n mov $7, %eax\n wipe_end: ud2");

static void remap(void)
{
	word a = (word)page_alloc(), b = (word)page_alloc(), at = AREA + 0x400000;

	for (unsigned i = 0; i < 3000; i++) {
		word frame = random_below(2) ? a : b;
		uint32_t value = (uint32_t)random_64();
		uint8_t *bytes = (uint8_t *)frame;
		bytes[0] = 0xb8;
		copy_bytes(bytes + 1, &value, 4);
		bytes[5] = 0xc3;
		map(at, frame, PTE_P | PTE_W | PTE_U);
		run((code_function *)at);
		if ((uint32_t)regs.ax != value)
			wrong = true;
	}
}

void guest_main(void)
{
	word expected = 0;
	uint8_t low = 0, high = 0;

	canary_plant();
	apic_start();
#ifndef __x86_64__
	paging_start(PAGING_PAE);
#endif
	code = page_alloc();
	for (unsigned i = 1; i < PAGES; i++)
		(void)page_alloc();
	for (word i = 0; i < PAGES; i++)
		map(ALIAS + i * PAGE, (word)code + i * PAGE, PTE_P | PTE_W | PTE_U);
	for (unsigned i = 0; i < 20000; i++)
		rewrite();
	check("rewrite", !wrong);
	for (unsigned i = 0; i < 200; i++) {
		low++;
		high++;
		expected += low;
		expected += (word)(int8_t)high;
	}
	run(chase);
	check("chase", (uint32_t)regs.ax == (uint32_t)expected);
	run(wipe_self);
	check("wipe_self", trap.vector == 6 || trap.vector == 13 || trap.vector == NO_TRAP || trap.vector == 14);
	wrong = false;
	remap();
	check("remap", !wrong);
	canary_check("canary.after_storm");
	rest();
}
