/* SPDX-License-Identifier: MIT */
/*
 * Random bytes as 16-bit code: in virtual-8086 mode with and without its extensions, and in protected mode over random
 * segments. The same few pages lie everywhere below 1 MiB, so that code overwrites itself through other addresses.
 */
#include "hostile.h"
#include "real.h"

#define ROUNDS 30000
#define PAGES 16
#define LDT_SELECTOR FREE_SELECTOR
#define CODE16 0x0f /* in the LDT, all with RPL 3 */
#define STACK16 0x17
#define LDT_ENTRIES 32
#define HAS_VME (32 + 1)
#define CR4_VME 1ul

static uint8_t *sandbox;
static uint64_t ldt[LDT_ENTRIES] __attribute__((aligned(8)));
static unsigned vectors_seen[33], watchdog_ends;

static const uint8_t openings[][3] = {
    {0x0f}, {0x66},	  {0x67},	{0x66, 0x67}, {0xf3, 0xa4}, {0xf3, 0xab}, {0x8e},      {0xc4},
    {0xc5}, {0xea},	  {0x9a},	{0xcb},	      {0xcf},	    {0xcd},	  {0x9d},      {0x17},
    {0x1f}, {0x07},	  {0x0f, 0xb2}, {0x0f, 0xb4}, {0x0f, 0xb5}, {0xc8},	  {0x61},      {0x62},
    {0x63}, {0x0f, 0x02}, {0x0f, 0x03}, {0x0f, 0x00}, {0x0f, 0x01}, {0xff},	  {0xe8},      {0xe9},
    {0xeb}, {0xe2},	  {0xe4},	{0xee},	      {0x6c},	    {0xd9},	  {0xdd},      {0xf0},
    {0x36}, {0x2e},	  {0x64},	{0x0f, 0xae}, {0x0f, 0x38}, {0xaa},	  {0xf2, 0xae}};

/* Every page below 1 MiB and the 64 KiB behind it is one of the sandbox's; what follows may be read. */
static void low_memory(void)
{
	uint64_t *table = page_alloc();

	sandbox = page_alloc();
	for (unsigned i = 1; i < PAGES; i++)
		(void)page_alloc();
	for (unsigned i = 0; i < 512; i++)
		table[i] =
		    i < 0x100 ? ((word)sandbox + i % PAGES * PAGE) | PTE_P | PTE_W | PTE_U : i * PAGE | PTE_P | PTE_U;
	entry_write(entry_of(0, 2), (word)table | PTE_P | PTE_W | PTE_U);
	write_cr3(read_cr3());
}

static void fill_code(word at)
{
	word i = 0;

	while (i < 40) {
		unsigned choice = random_below(2 * sizeof(openings) / sizeof(openings[0]));
		if (choice < sizeof(openings) / sizeof(openings[0])) {
			for (unsigned j = 0; j < 3 && openings[choice][j]; j++)
				sandbox[(at + i++) % (PAGES * PAGE)] = openings[choice][j];
		}
		for (unsigned j = random_below(4); j; j--)
			sandbox[(at + i++) % (PAGES * PAGE)] = (uint8_t)random_64();
	}
}

static uint32_t pick(void)
{
	switch (random_below(6)) {
	case 0:
		return (uint32_t)random_64();
	case 1:
		return 0xfff0 + random_below(32);
	case 2:
		return random_below(8);
	default:
		return random_below(0x10000);
	}
}

static uint16_t pick_selector(bool v86)
{
	return (uint16_t)(v86 ? random_below(0x10000) : random_below(LDT_ENTRIES) * 8 | 7);
}

/* Code and data of every type, size and granularity around the sandbox; nothing that leads to another ring. */
static void random_segments(void)
{
	for (unsigned i = 1; i < LDT_ENTRIES; i++) {
		uint32_t base = random_below(0x100000),
			 limit = random_below(4) ? random_below(0x10000) : (uint32_t)random_64();
		unsigned access = 0x90 | (random_below(8) ? 0x60 : random_below(4) << 5) | random_below(16);
		if (!random_below(8))
			access &= ~0x80u;
		if (!random_below(16))
			base = (uint32_t)random_64();
		ldt[i] = descriptor(base, limit, access, random_below(4) ? random_below(2) << 2 : random_below(16));
	}
	ldt[CODE16 >> 3] =
	    descriptor(random_below(0x10000), random_below(2) ? 0xffff : random_below(0x8000) + 0x8000, 0xfb, 0);
	ldt[STACK16 >> 3] = descriptor(random_below(0x10000), random_below(2) ? 0xffff : random_below(0x10000),
				       random_below(4) ? 0xf3 : 0xf7, random_below(2) << 2);
}

static void count(void)
{
	if (trap.vector == TIMER)
		watchdog_ends++;
	vectors_seen[trap.vector < 32 ? trap.vector : 32]++;
}

static void in_v86(void)
{
	uint32_t flags = FLAG_IF | (random_64() & (FLAG_DF | FLAG_CF | FLAG_ZF | FLAG_NT | FLAG_AC | FLAG_VIF));
	volatile uint32_t *state = (volatile uint32_t *)&real_regs;

	if (!random_below(16))
		flags |= FLAG_TF;
	flags |= random_below(3) << 12;
	for (unsigned i = 0; i < 8; i++)
		state[i] = pick();
	real_regs.es = pick_selector(true);
	real_regs.ss = pick_selector(true);
	real_regs.ds = pick_selector(true);
	real_regs.fs = pick_selector(true);
	real_regs.gs = pick_selector(true);
	real_regs.cs = pick_selector(true);
	real_regs.ip = (uint16_t)pick();
	v86_flags = flags | FLAG_VM | 2;
	fill_code(((word)real_regs.cs << 4) + real_regs.ip);
	trap = (struct trap){.vector = NO_TRAP};
	v86_enter();
	count();
}

static void in_segments(void)
{
	word ip = random_below(0x8000);
	uint32_t base;

	random_segments();
	base = (uint32_t)(ldt[CODE16 >> 3] >> 16 & 0xffffff);
	fill_code(base + ip);
	for (unsigned i = 0; i < 8; i++)
		((word *)&regs)[i] = random_below(2) ? pick() : pick_selector(false);
	run_flags = FLAG_IF | 2 | (random_64() & (FLAG_DF | FLAG_CF | FLAG_ZF | FLAG_AC));
	if (!random_below(16))
		run_flags |= FLAG_TF;
	run_at(CODE16, ip, STACK16, pick());
	count();
}

FRAGMENT(load_ldt, "lldt %ax");

void guest_main(void)
{
	canary_plant();
	ring_3_confine();
	low_memory();
	watchdog_start();
	apic_write(APIC_TIMER_INITIAL, 20000);
	write_cr0(read_cr0() | CR0_AM);
	gdt_set(LDT_SELECTOR, descriptor((uint32_t)(word)ldt, sizeof(ldt) - 1, 0x82, 0));
	tss.io_map = TSS_BITMAP + 32;
	fill_bytes(tss.bitmap, 0xff, sizeof(tss.bitmap));
	fill_bytes(tss.bitmap, 0x55, 32);
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (i % 1000 == 500 && cpu_has(HAS_VME))
			write_cr4(read_cr4() ^ CR4_VME);
		in_v86();
	}
	regs.ax = LDT_SELECTOR;
	run_flags = RUN_FLAGS_NONE | FLAG_IF;
	run(load_ldt);
	for (unsigned i = 0; i < ROUNDS; i++)
		in_segments();
	run_flags = RUN_FLAGS_NONE | FLAG_IF;
	canary_check("canary.after_oldmodes");
	check("faults.undefined", vectors_seen[6] > ROUNDS / 100);
	check("faults.general", vectors_seen[13] > ROUNDS / 100);
	check("faults.stack", vectors_seen[12] > ROUNDS / 500);
	check("faults.mostly_end", watchdog_ends < ROUNDS);
	rest();
}
