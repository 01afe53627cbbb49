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

void guest_main(void)
{
	if (!cpu_has(HAS_PCID)) {
		absent("pcid");
		absent("invpcid");
		regs.ax = read_cr4() | CR4_PCIDE;
		return;
	}
	spaces();
}
