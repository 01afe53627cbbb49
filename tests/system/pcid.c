/* SPDX-License-Identifier: MIT */
/* PCIDs and INVPCID: entries of one address space do not serve another, and go when they are told to. 64-bit mode only.
 */
#include "guest.h"

#define PAGE_AT AREA
#define GLOBAL_AT (AREA + 0x10000)
#define NO_FLUSH (1ul << 63)

static word frames[4];
static struct {
	uint64_t pcid, linear;
} descriptor_ __attribute__((aligned(16), used));

FRAGMENT(do_invpcid, "invpcid descriptor_, %rax");
FRAGMENT(load_cr3, "mov %rax, %cr3");
FRAGMENT(load_cr4, "mov %rax, %cr4");

static uint32_t at(word linear)
{
	return *(volatile uint32_t *)linear;
}

static void invpcid(word type, uint64_t pcid, uint64_t linear)
{
	descriptor_.pcid = pcid;
	descriptor_.linear = linear;
	regs.ax = type;
	run(do_invpcid);
}

static void set_frame(word space, word linear, word frame, uint64_t flags)
{
	space_select(space);
	entry_write(entry_of(linear, 1), frame | flags | PTE_P | PTE_W);
}

static void spaces(void)
{
	word one = space_current(), two = space_create();

	for (unsigned i = 0; i < 4; i++) {
		frames[i] = (word)page_alloc();
		*(uint32_t *)frames[i] = 0x10 + i;
	}
	set_frame(one, PAGE_AT, frames[0], 0);
	set_frame(two, PAGE_AT, frames[1], 0);
	regs.ax = read_cr4() | CR4_PCIDE;
	outcome("pcid.enable", load_cr4);
	fact("pcid.cr4", read_cr4() >> 17 & 1);
	write_cr3(one | 1);
	fact("pcid.one", at(PAGE_AT));
	write_cr3(two | 2);
	fact("pcid.two", at(PAGE_AT));
	for (unsigned i = 0; i < 4; i++) {
		char name[] = "pcid.switch_0";
		name[12] = (char)('0' + i);
		write_cr3((i & 1 ? two | 2 : one | 1) | NO_FLUSH);
		fact(name, at(PAGE_AT));
	}
	fact("pcid.cr3_reads", read_cr3() - two);
	/* A load without the bit flushes that PCID. */
	write_cr3(one | 1 | NO_FLUSH);
	(void)at(PAGE_AT);
	set_frame(one, PAGE_AT, frames[2], 0);
	write_cr3(one | 1);
	fact("pcid.flushed", at(PAGE_AT));
	/* INVLPG drops the current PCID's entry (and global ones). */
	set_frame(one, PAGE_AT, frames[0], 0);
	invlpg(PAGE_AT);
	fact("pcid.invlpg", at(PAGE_AT));
	/* The same PCID for another root, loaded with a flush. */
	write_cr3(two | 1);
	fact("pcid.reused", at(PAGE_AT));
	write_cr3(one | 1);
	/* Code too. */
	*(uint8_t *)frames[0] = 0xc3;
	space_select(one);
	set_frame(one, GLOBAL_AT, frames[2], 0);
	set_frame(two, GLOBAL_AT, frames[3], 0);
	for (unsigned i = 0; i < 2; i++) { /* mov $n, %eax; ret */
		uint8_t text[6] = {0xb8, (uint8_t)(0x51 + i), 0, 0, 0, 0xc3};
		copy_bytes((void *)frames[2 + i], text, 6);
	}
	for (unsigned i = 0; i < 4; i++) {
		char name[] = "pcid.code_0";
		name[10] = (char)('0' + i);
		write_cr3((i & 1 ? two | 2 : one | 1) | NO_FLUSH);
		invlpg(GLOBAL_AT + (i < 2 ? 0 : PAGE * 64));
		run((code_function *)GLOBAL_AT);
		fact(name, regs.ax & 0xff);
	}
	write_cr3(one | 1);
	/* Reserved and forbidden. */
	regs.ax = one | 1 | 1ul << 62;
	outcome("pcid.cr3_reserved", load_cr3);
	regs.ax = read_cr4() & ~CR4_PCIDE;
	write_cr3(one);
	outcome("pcid.disable", load_cr4);
	regs.ax = one | NO_FLUSH;
	outcome("pcid.bit63_when_off", load_cr3);
	write_cr4(read_cr4() | CR4_PCIDE);

	if (!cpu_has(HAS_INVPCID)) {
		absent("invpcid");
		return;
	}
	/* Type 0: one address of one PCID that is not current. */
	*(uint32_t *)frames[0] = 0x10;
	*(uint32_t *)frames[2] = 0x12;
	*(uint32_t *)frames[3] = 0x13;
	set_frame(one, PAGE_AT, frames[0], 0);
	set_frame(two, PAGE_AT, frames[1], 0);
	write_cr3(two | 2);
	(void)at(PAGE_AT);
	write_cr3(one | 1);
	(void)at(PAGE_AT);
	set_frame(two, PAGE_AT, frames[2], 0);
	invpcid(0, 2, PAGE_AT);
	write_cr3(two | 2 | NO_FLUSH);
	fact("invpcid.address", at(PAGE_AT));
	/* Type 1: all of one PCID. */
	write_cr3(one | 1 | NO_FLUSH);
	set_frame(two, PAGE_AT, frames[3], 0);
	invpcid(1, 2, 0);
	write_cr3(two | 2 | NO_FLUSH);
	fact("invpcid.single", at(PAGE_AT));
	/* Type 3: all but global; type 2: everything. */
	set_frame(two, PAGE_AT, frames[1], 0);
	invpcid(3, 0, 0);
	fact("invpcid.all", at(PAGE_AT));
	write_cr4(read_cr4() | CR4_PGE);
	set_frame(two, PAGE_AT, frames[2], PTE_G);
	invlpg(PAGE_AT);
	(void)at(PAGE_AT);
	set_frame(two, PAGE_AT, frames[3], PTE_G);
	invpcid(2, 0, 0);
	fact("invpcid.all_global", at(PAGE_AT));
	invpcid(4, 0, 0);
	fact("invpcid.bad_type", trap.vector << 16 | trap.error);
	invpcid(1, 0x1000, 0);
	fact("invpcid.bad_pcid", trap.vector << 16 | trap.error);
	invpcid(0, 1, 0x800000000000);
	fact("invpcid.non_canonical", trap.vector << 16 | trap.error);
	outcome_user("invpcid.user", do_invpcid);
	write_cr3(one);
	write_cr4(read_cr4() & ~CR4_PCIDE);
	invpcid(0, 1, 0);
	fact("invpcid.pcid_when_off", trap.vector << 16 | trap.error);
	invpcid(0, 0, PAGE_AT);
	fact("invpcid.zero_when_off", trap.vector);
}

/*
 * Six spaces with a PCID each. Every one has been seen with one frame and is then given another. A TLB may show the old
 * one until it is told, so each case tells it, in one of the ways there are, and only then looks.
 */
#define SPACE_COUNT 6
static word roots[SPACE_COUNT];

static word cr3_of(unsigned i)
{
	return roots[i] | (i + 1);
}

static void see_all(word frame, uint64_t flags)
{
	for (unsigned i = 0; i < SPACE_COUNT; i++) {
		set_frame(roots[i], PAGE_AT, frame, flags);
		write_cr3(cr3_of(i));
		*(volatile uint32_t *)PAGE_AT = *(volatile uint32_t *)PAGE_AT; /* an entry for stores too */
	}
	for (unsigned i = 0; i < SPACE_COUNT; i++) {
		write_cr3(cr3_of(i) | NO_FLUSH);
		(void)at(PAGE_AT);
	}
}

/* How many of the spaces read what their tables say. */
static uint64_t right_ones(uint32_t value, bool flush)
{
	uint64_t right = 0;

	for (unsigned i = 0; i < SPACE_COUNT; i++) {
		write_cr3(cr3_of(i) | (flush ? 0 : NO_FLUSH));
		right += at(PAGE_AT) == value;
	}
	return right;
}

static void change_all(word frame, uint64_t flags)
{
	for (unsigned i = 0; i < SPACE_COUNT; i++)
		set_frame(roots[i], PAGE_AT, frame, flags);
}

static void toggle_cr4(uint64_t bit)
{
	write_cr4(read_cr4() ^ bit);
	write_cr4(read_cr4() ^ bit);
}

static void many(void)
{
	word self = space_current();

	for (unsigned i = 0; i < SPACE_COUNT; i++)
		roots[i] = i == 0 ? self : space_create();
	for (unsigned i = 0; i < 4; i++)
		*(uint32_t *)frames[i] = 0x20 + i;
	write_cr3(self);
	write_cr4(read_cr4() | CR4_PCIDE | CR4_PGE);
	see_all(frames[0], 0);
	fact("pcid.many_seen", right_ones(0x20, false));
	change_all(frames[1], 0);
	fact("pcid.many_by_cr3", right_ones(0x21, true));
	see_all(frames[0], 0);
	change_all(frames[1], 0);
	toggle_cr4(CR4_PGE);
	fact("pcid.many_by_pge", right_ones(0x21, false));
	see_all(frames[0], 0);
	change_all(frames[1], 0);
	write_cr3(self);
	toggle_cr4(CR4_PCIDE);
	fact("pcid.many_by_pcide", right_ones(0x21, false));
	/* A global entry is every PCID's: INVLPG under one drops it for all. */
	see_all(frames[0], PTE_G);
	change_all(frames[1], PTE_G);
	invlpg(PAGE_AT);
	fact("pcid.many_global", right_ones(0x21, false));
	toggle_cr4(CR4_PGE);
	/* A store under a PCID that was away makes no entry dirty that has not been written since its D bit was cleared
	 * and the PCID flushed. */
	see_all(frames[0], 0);
	change_all(frames[0], 0);
	write_cr3(cr3_of(3));
	*(volatile uint32_t *)PAGE_AT = 0x20;
	space_select(roots[3]);
	fact("pcid.dirty", entry_read(entry_of(PAGE_AT, 1)) & (PTE_A | PTE_D));
	/* Code that another space writes, through an entry that was kept. */
	see_all(frames[2], 0);
	for (unsigned i = 0; i < 4; i++) { /* mov $n, %eax; ret */
		static const char *const names[] = {"pcid.smc_0", "pcid.smc_1", "pcid.smc_2", "pcid.smc_3"};
		uint8_t text[6] = {0xb8, (uint8_t)(0x61 + i), 0, 0, 0, 0xc3};
		write_cr3(cr3_of(i & 1) | NO_FLUSH);
		for (unsigned n = 0; n < 6; n++)
			((volatile uint8_t *)PAGE_AT)[n] = text[n];
		write_cr3(cr3_of(2 + (i & 1)) | NO_FLUSH);
		run((code_function *)PAGE_AT);
		fact(names[i], regs.ax & 0xff);
	}
	*(uint32_t *)frames[2] = 0x22;
	if (!cpu_has(HAS_INVPCID))
		return;
	see_all(frames[0], 0);
	change_all(frames[1], 0);
	for (unsigned i = 0; i < SPACE_COUNT; i++)
		invpcid(0, i + 1, PAGE_AT + 0x123);
	fact("invpcid.many_address", right_ones(0x21, false));
	see_all(frames[0], 0);
	change_all(frames[1], 0);
	for (unsigned i = 0; i < SPACE_COUNT; i++)
		invpcid(1, i + 1, 0);
	fact("invpcid.many_single", right_ones(0x21, false));
	see_all(frames[0], 0);
	change_all(frames[1], 0);
	invpcid(3, 0, 0);
	fact("invpcid.many_all", right_ones(0x21, false));
	see_all(frames[0], PTE_G);
	change_all(frames[1], PTE_G);
	invpcid(2, 0, 0);
	fact("invpcid.many_all_global", right_ones(0x21, false));
	write_cr3(self);
}

void guest_main(void)
{
	if (!cpu_has(HAS_PCID)) {
		absent("pcid");
		absent("invpcid");
		regs.ax = read_cr4() | CR4_PCIDE;
		return;
	}
	spaces();
	many();
}
