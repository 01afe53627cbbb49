/* SPDX-License-Identifier: MIT */
/*
 * Page tables of random bits, and CR3 on random memory. Tables of any level are random pages; their targets are RAM
 * (read-only for CPL 3), MMIO, ROM, holes and addresses beyond all; reads, writes and fetches through them end somehow,
 * and RAM keeps its canary.
 */
#include "hostile.h"

static uint64_t *levels[4];
static unsigned vectors_seen[33];

static uint64_t random_target(void)
{
	switch (random_below(7)) {
	case 0:
		return random_64() & 0x000ffffffffff000;
	case 1:
		return 0xfee00000;
	case 2:
		return 0xfec00000;
	case 3:
		return 0xa0000 + (random_64() & 0x5f000);
	case 4:
		return 0x2000000 - PAGE + (random_64() & 0x3000);
	case 6:
		return (word)levels[random_below(4)];
	default:
		return random_64() & 0xfffff000;
	}
}

/* W only where a write does no harm to the guest itself: not in RAM, not on the APIC. Nor is its image ever a table,
 * where accessed bits would be set. */
static uint64_t random_entry(bool leaf)
{
	uint64_t target = random_target();
	if (target >= 0x100000 && target < 0x800000 && target - (word)levels[0] >= 4 * PAGE)
		target |= 0x40000000;
	uint64_t flags = random_64() & 0x8ff0000000000ffcull;

	if (random_below(8))
		flags &= ~0xff0000000000000ull;
	if (random_below(8))
		flags |= PTE_P;
	if (!leaf && random_below(4))
		flags &= ~PTE_PS;
	if (target < 0x2000000 || target == 0xfee00000 || flags & PTE_PS || !leaf)
		flags &= ~PTE_W;
	return target | flags | (random_below(2) ? PTE_P : 0);
}

FRAGMENT(touch_read, "mov (" BX "), %eax\n movups (" BX "), %xmm0");
FRAGMENT(touch_write, "mov %eax, (" BX ")");
FRAGMENT(touch_modify, "lock addl $1, (" BX ")");
FRAGMENT(touch_fetch, "jmp *" BX);
FRAGMENT(touch_string, "mov " BX ", " SI "\n mov $64, %ecx\n rep lodsl");

static code_function *const touches[] = {touch_read, touch_write, touch_modify, touch_fetch, touch_string};

static void random_walks(void)
{
#ifdef __x86_64__
	extern uint64_t pml4[];
	for (unsigned round = 0; round < 300; round++) {
		for (unsigned level = 0; level < 4; level++) {
			for (unsigned i = 0; i < 512; i++)
				levels[level][i] = random_entry(level == 0);
		}
		for (unsigned i = 1; i < 512; i++)
			pml4[i] = random_below(3) ? (word)levels[random_below(4)] | PTE_P | PTE_U : random_entry(false);
		write_cr3((word)pml4);
		for (unsigned i = 0; i < 60; i++) {
			uint64_t linear = random_64() >> 16;
			linear = linear & 1ull << 47 ? linear | 0xffff000000000000 : linear;
			if (linear < 0x8000000000)
				linear += 0x8000000000;
#else
	for (unsigned round = 0; round < 300; round++) {
		for (unsigned level = 0; level < 4; level++) {
			for (unsigned i = 0; i < 512; i++)
				levels[level][i] = random_entry(level == 0);
		}
		for (word at = AREA; at < AREA_END; at += 0x200000)
			entry_write(entry_of(at, 2), random_below(3) ? (word)levels[random_below(4)] | PTE_P | PTE_U
								     : random_entry(false));
		write_cr3(read_cr3());
		for (unsigned i = 0; i < 60; i++) {
			word linear = AREA + ((word)random_64() & (AREA_END - AREA - 1));
#endif
			regs.bx = (word)linear;
			code_function *touch = touches[random_below(5)];
			if ((touch == touch_read || touch == touch_string) &&
			    random_below(2)) /* the kernel could write anywhere */
				run(touch);
			else
				run_user(touch);
			vectors_seen[trap.vector < 32 ? trap.vector : 32]++;
		}
	}
}

/* CR3 on anything: the next fetch faults, and so does its delivery. Loaded only where the machine can come back from:
 * at CPL 0 the load itself is tried with values that must be refused or that share the low table. */
static void random_roots(void)
{
	word good = read_cr3();

	for (unsigned i = 0; i < 200; i++) {
		word root = (word)page_alloc();
		copy_bytes((void *)root, (void *)(good & ~(PAGE - 1)), PAGE);
		for (unsigned j = 64; j < 512 && IS64; j++)
			((uint64_t *)root)[j] = random_64();
		write_cr3(root);
		regs.bx =
		    IS64 ? (word)(0xffff800000000000 | (random_64() >> 17)) : AREA + ((word)random_64() & 0xffffff);
		run(touch_read);
		write_cr3(good);
	}
}

void guest_main(void)
{
	canary_plant();
	ring_3_confine();
	watchdog_start();
	for (unsigned i = 0; i < 4; i++)
		levels[i] = page_alloc();
	random_walks();
	random_roots();
	canary_check("canary.after_tables");
	check("faults.page", vectors_seen[14] > 1000);
	rest();
}
