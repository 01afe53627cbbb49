/* SPDX-License-Identifier: MIT */
/*
 * Code at the edges of everything: the last bytes of RAM, a page whose neighbour is absent, MMIO, ROM and holes, below
 * 4 GiB, the top of the address space, and instructions of every length that begin there.
 */
#include "hostile.h"

static unsigned vectors_seen[33];
static uint8_t scratch[4096] __attribute__((aligned(4096))); /* INT3 all over */

static void run_there(word at, bool user)
{
	for (unsigned i = 0; i < sizeof(regs) / sizeof(word); i++)
		((word *)&regs)[i] = (word)scratch + 1024;
	regs.cx = 3;
	if (user)
		run_user((code_function *)at);
	else
		run((code_function *)at);
	vectors_seen[trap.vector < 32 ? trap.vector : 32]++;
}

static const uint8_t texts[][15] = {
    {0x90},
    {0xb8, 1, 2, 3, 4},
    {0xe9, 0xfb, 0xff, 0xff, 0xff},
    {0xe8, 0, 0, 0, 0},
    {0xff, 0xe0},
    {0xf3, 0xa4},
    {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66},
    {0xc5, 0xfc, 0x10, 0x00},
    {0x0f, 0x0b},
    {0x75, 0x7f},
    {0xc2, 0xff, 0xff},
    {0xcd, 0x80},
    {0xf4}};

/* kernel: also at CPL 0, where what lies behind the edge cannot complete an instruction that runs wild. */
static void at_edge(uint8_t *memory, word run_base, word size, bool kernel)
{
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		for (unsigned inside = 1; inside <= 15; inside++) {
			fill_bytes(memory + size - 64, 0x90, 64);
			copy_bytes(memory + size - inside, texts[i], inside);
			/* Some would take the kernel's own stack or never end at CPL 0. */
			bool user = texts[i][0] == 0xf4 || texts[i][0] == 0xe9 || texts[i][0] == 0xc2 || !kernel ||
				    random_below(2);
			run_there(run_base + size - inside, user);
		}
	}
}

void guest_main(void)
{
	static const word fixed[] = {0x2000000, 0x80000000, 0xfebfffff}; /* holes: nothing there loops */
	uint8_t *page = page_alloc();

	canary_plant();
	fill_bytes(scratch, 0xcc, sizeof(scratch));
	ring_3_confine();
	watchdog_start();
	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		run_there(fixed[i], false);
		run_there(fixed[i] - 1, false);
		run_there(fixed[i] - 7, false);
	}
	/* MMIO, ROM and holes as code of CPL 3. */
	static const uint32_t strange[] = {0xfee00000, 0xfec00000, 0xc0000,   0xf0000,	 0xfffff000,
					   0xa0000,    0x80000000, 0x2000000, 0x1fff000, 0x9f000};
	for (unsigned i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		map(AREA, strange[i], PTE_P | PTE_U);
		unmap(AREA + PAGE);
		for (unsigned at = 0; at < PAGE; at += 0x91)
			run_there(AREA + at, true);
		run_there(AREA + PAGE - 1, true);
		map(AREA + PAGE, strange[i] + PAGE, PTE_P | PTE_U);
		for (unsigned back = 1; back < 16; back++)
			run_there(AREA + PAGE - back, true);
	}
	/* The next page absent, supervisor, not executable, MMIO, a hole. */
	static const uint64_t next[] = {0,
					0x1000 | PTE_P,
					0xfee00000 | PTE_P | PTE_U,
					0x80000000 | PTE_P | PTE_U,
					0x2000000 | PTE_P | PTE_U,
					0xc0000 | PTE_P | PTE_U,
					0x7fffffff000 | PTE_P | PTE_U};
	for (unsigned i = 0; i < sizeof(next) / sizeof(next[0]); i++) {
		map(AREA, (word)page, PTE_P | PTE_W | PTE_U);
		entry_write(entry_of(AREA + PAGE, 1), next[i]);
		invlpg(AREA + PAGE);
		at_edge(page, AREA, PAGE, next[i] == 0);
	}
	/* The end of RAM. */
	map(AREA, 0x1fff000, PTE_P | PTE_W | PTE_U);
	map(AREA + PAGE, 0x2000000, PTE_P | PTE_W | PTE_U);
	at_edge((uint8_t *)0x1fff000, AREA, PAGE, false);
#ifdef __x86_64__
	/* The last page below the hole and the last page of all. */
	map(0x7ffffffff000, (word)page, PTE_P | PTE_W | PTE_U);
	at_edge(page, 0x7ffffffff000, PAGE, true);
	map(0xfffffffffffff000, (word)page, PTE_P | PTE_W | PTE_U);
	at_edge(page, 0xfffffffffffff000, PAGE, false);
	map(0xffff800000000000, (word)page, PTE_P | PTE_W | PTE_U);
	run_there(0xffff7ffffffffff8, true);
	run_there(0xffff800000000000, true);
#else
	map_level(0xffe00000, (word)page & ~0x1fffffu, PTE_P | PTE_W | PTE_U, 2);
	at_edge((uint8_t *)0xffffff00 - 0xf00, 0xfffff000, PAGE, false);
#endif
	canary_check("canary.after_edges");
	check("faults.page", vectors_seen[14] > 100);
	check("faults.any", vectors_seen[6] + vectors_seen[13] > 20);
	rest();
}
