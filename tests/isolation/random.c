/* SPDX-License-Identifier: MIT */
/*
 * Random bytes as instructions, at CPL 3 with the kernel out of reach, and random state images: each run ends by a
 * fault or by the watchdog. Half the bytes come from a table of openings that lead to rare encodings.
 */
#include "hostile.h"

#define ROUNDS 60000
#define CODE (AREA + 8 * PAGE)
#define DATA (AREA + 12 * PAGE)

static const uint8_t openings[][4] = {{0x0f},
				      {0x66, 0x0f},
				      {0xf2, 0x0f},
				      {0xf3, 0x0f},
				      {0x0f, 0x38},
				      {0x0f, 0x3a},
				      {0xc5},
				      {0xc4, 0xe2},
				      {0xc4, 0xe1},
				      {0xc4, 0xe3},
				      {0x62},
				      {0xf0},
				      {0x48, 0x0f},
				      {0x0f, 0x01},
				      {0x0f, 0xae},
				      {0x0f, 0xc7},
				      {0xd8},
				      {0xd9},
				      {0xdb},
				      {0xdd},
				      {0xdf},
				      {0xf3, 0xa4},
				      {0xf2, 0xae},
				      {0x67},
				      {0x64},
				      {0x65},
				      {0x8f},
				      {0x66, 0x0f, 0x38},
				      {0x66, 0x0f, 0x3a},
				      {0xf3, 0x48, 0x0f},
				      {0x0f, 0x18},
				      {0xfe}};

static uint8_t *code, *data;
static unsigned vectors_seen[33], watchdog_ends;

static word pick(void)
{
	switch (random_below(8)) {
	case 0:
		return (word)random_64();
	case 1:
		return (word)-1 - random_below(64);
	case 2:
		return DATA + PAGE - random_below(80);
	case 3:
		return CODE + random_below(PAGE);
	case 4:
		return random_below(4);
	case 5:
		return (word)0x7ffffffffff0 + random_below(32);
	default:
		return DATA + random_below(PAGE);
	}
}

static void fill_code(word at)
{
	word i = 0;

	while (i < 48) {
		unsigned choice = random_below(2 * sizeof(openings) / sizeof(openings[0]));
		if (choice < sizeof(openings) / sizeof(openings[0])) {
			for (unsigned j = 0; j < 4 && openings[choice][j]; j++)
				code[(at + i++) & (2 * PAGE - 1)] = openings[choice][j];
		}
		for (unsigned j = random_below(6); j; j--)
			code[(at + i++) & (2 * PAGE - 1)] = (uint8_t)random_64();
	}
}

static void one(void)
{
	word at = random_below(4) ? random_below(2 * PAGE - 64) : PAGE - 32 + random_below(32);

	fill_code(at);
	for (unsigned i = 0; i < sizeof(regs) / sizeof(word); i++)
		((word *)&regs)[i] = pick();
	run_flags = RUN_FLAGS_NONE | FLAG_IF | (random_64() & (FLAG_DF | FLAG_CF | FLAG_ZF | FLAG_AC));
	if (!random_below(16))
		run_flags |= FLAG_TF;
	run_at(random_below(8) ? USER_CODE : USER_CODE32, CODE + at, USER_DATA, random_below(2) ? pick() : DATA + 2048);
	if (trap.vector == TIMER)
		watchdog_ends++;
	vectors_seen[trap.vector < 32 ? trap.vector : 32]++;
}

void guest_main(void)
{
	canary_plant();
	ring_3_confine();
	watchdog_start();
	apic_write(APIC_TIMER_INITIAL, 20000);
	write_cr0(read_cr0() | CR0_AM);
	if (IS64 && cpu_has(HAS_FSGSBASE))
		write_cr4(read_cr4() | CR4_FSGSBASE);
	if (cpu_has(HAS_XSAVE)) {
		write_cr4(read_cr4() | CR4_OSXSAVE);
		__asm__ volatile("xsetbv" : : "c"(0), "a"(cpu_has(HAS_AVX) ? 7 : 3), "d"(0));
	}
	code = page_alloc();
	(void)page_alloc();
	data = page_alloc();
	for (word i = 0; i < 2; i++)
		map(CODE + i * PAGE, (word)code + i * PAGE, PTE_P | PTE_U | PTE_W);
	map(DATA, (word)data, PTE_P | PTE_U | PTE_W);
	for (unsigned i = 0; i < ROUNDS; i++)
		one();
	run_flags = RUN_FLAGS_NONE | FLAG_IF;
	canary_check("canary.after_random");
	check("faults.undefined", vectors_seen[6] > ROUNDS / 100);
	check("faults.page", vectors_seen[14] > ROUNDS / 100);
	check("faults.general", vectors_seen[13] > ROUNDS / 100);
	check("faults.mostly_end", watchdog_ends < ROUNDS / 2);
	rest();
}
