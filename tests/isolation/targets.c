/* SPDX-License-Identifier: MIT */
/*
 * Where control goes: targets that are made to look like those of other modes, blocks that are as long as they can be,
 * shadows and instructions that end with their page, branches that leave their segment.
 */
#include "hostile.h"

static uint8_t code[4 * 4096] __attribute__((aligned(4096)));
static uint8_t scratch[4096] __attribute__((aligned(4096)));

static void run_offset(unsigned offset)
{
	run((code_function *)(word)(code + offset));
}

/* b8 imm32 c3: returns a constant. */
static void put_constant(uint8_t *at, uint32_t value)
{
	at[0] = 0xb8;
	at[5] = 0xc3;
	copy_bytes(at + 1, &value, 4);
}

/* A fault behind more code than one byte counts. */
static void long_block(void)
{
	static const uint8_t store64[] = {0xc7, 0x04, 0x25}, store32[] = {0xc7, 0x05};
	unsigned prefix = IS64 ? sizeof(store64) : sizeof(store32);
	uint32_t address = (uint32_t)(word)scratch;
	bool exact = true;

	for (unsigned stores = 20; stores < 47; stores++) {
		uint8_t *at = code;
		for (unsigned i = 0; i < stores; i++) {
			copy_bytes(at, IS64 ? store64 : store32, prefix);
			copy_bytes(at + prefix, &address, 4);
			fill_bytes(at + prefix + 4, 0x11, 4);
			at += prefix + 8;
		}
		at[0] = 0x8b; /* mov (bx), %eax */
		at[1] = 0x03;
		at[2] = 0xc3;
		regs.bx = AREA + 0x10000;
		run_offset(0);
		exact &= trap.vector == 14 && trap.ip == (word)at;
	}
	check("long_block.fault", exact);
}

#ifdef __x86_64__
FRAGMENT(jump_bx, "jmp *%rbx");
FRAGMENT(call_bx, "call *%rbx");
FRAGMENT(count_cx, "incl (%rcx)");

/* The upper bits of a target must not pass for a mode: CPL 3 would run code of the kernel with the kernel's rights. */
static void targets_of_modes(void)
{
	volatile uint32_t *counter = (volatile uint32_t *)AREA;
	uint32_t expected = 0;
	bool refused = true, kept = true;

	map(AREA, (word)page_alloc(), PTE_P | PTE_W);
	for (int i = -300; i < 300; i++) {
		if (i == 0)
			continue;
		regs.cx = AREA;
		regs.bx = (word)count_cx;
		run(jump_bx); /* the kernel's: known from here on */
		expected++;
		regs.cx = AREA;
		regs.bx = (word)count_cx + ((word)(int64_t)i << 48);
		run_user(jump_bx);
		refused &= trap.vector == 13;
		kept &= *counter == expected;
	}
	check("modes.refused", refused);
	check("modes.kept", kept);
	refused = true;
	for (word i = 1; i < 4096; i++) { /* what would be nothing once a mode is added */
		regs.bx = 0 - (i << 48);
		run_user(jump_bx);
		refused &= trap.vector == 13;
	}
	check("modes.nothing", refused);
}

/* PC 0 is a target like others. */
static void target_zero(void)
{
	bool returned = true;

	__asm__ volatile("movb $0xc3, 0");
	for (unsigned i = 0; i < 4; i++) {
		regs.bx = 0;
		run(call_bx);
		returned &= trap.vector == NO_TRAP;
	}
	check("zero.returned", returned);
}
#endif

static word interrupted_at;

static bool interrupt_hook(struct frame *frame)
{
	if (frame->vector != LOW)
		return false;
	interrupted_at = frame->ip;
	apic_write(APIC_EOI, 0);
	return true;
}

/* STI ends its page, and the way on was taken before when IF was set already. */
static void shadow_at_edge(void)
{
	static const uint8_t before[] = {0xfb, 0x90, 0xfb}; /* sti; nop; sti */
	/* mov $1000000, %ecx; 1: dec %ecx; jnz 1b; cli; ret */
	static const uint8_t after[] = {0xb9, 0x40, 0x42, 0x0f, 0, 0xff, 0xc9, 0x75, 0xfc, 0xfa, 0xc3};

	copy_bytes(code + 0xffd, before, sizeof(before));
	copy_bytes(code + 0x1000, after, sizeof(after));
	trap_hook = interrupt_hook;
	for (unsigned i = 0; i < 4; i++)
		run_offset(0xffd);
	apic_send_self(LOW);
	interrupted_at = 0;
	run_offset(0xfff);
	check("shadow.edge", interrupted_at == (word)code + 0x1005);
	trap_hook = NULL;
}

/* An instruction that reaches into a page whose writes are not traced any more. */
static void busy_second_page(void)
{
	volatile uint8_t *data = code + 0x2800;

	put_constant(code + 0x2100, 1);
	for (unsigned i = 0; i < 200; i++) {
		run_offset(0x2100);
		*data = (uint8_t)i;
	}
	put_constant(code + 0x1ffe, 0x01010101);
	run_offset(0x1ffe);
	check("busy.before", (uint32_t)regs.ax == 0x01010101);
	for (unsigned i = 0; i < 3; i++) {
		((volatile uint8_t *)code)[0x2000] = (uint8_t)(2 + i); /* the second byte of the constant */
		run_offset(0x1ffe);
		check("busy.after", (uint32_t)regs.ax == 0x01010001 + ((2 + i) << 8));
	}
}

/* Branches beyond the limit of a small 32-bit code segment change nothing. */
static void beyond_limit(void)
{
	word stack = (word)(scratch + 2048);

	gdt_set(FREE_SELECTOR, descriptor((uint32_t)(word)code + 0x3000, 0x1f, 0x9b, 4));
	code[0x3000] = 0xe2; /* loop */
	code[0x3001] = 0x7f;
	code[0x3002] = 0xc3; /* ret */
	regs.cx = 5;
	run_at(FREE_SELECTOR, 0, KERNEL_DATA, stack);
	check("limit.loop", trap.vector == 13 && trap.ip == 0 && (uint32_t)regs.cx == 5);
	*(uint32_t *)(void *)(scratch + 2048) = 0x1000;
	run_at(FREE_SELECTOR, 2, KERNEL_DATA, stack);
	check("limit.ret", trap.vector == 13 && trap.ip == 2 && (!IS64 || trap.sp == stack));
}

void guest_main(void)
{
#ifndef __x86_64__
	paging_start(PAGING_PAE);
#endif
	apic_start();
	canary_plant();
	long_block();
#ifdef __x86_64__
	targets_of_modes();
	target_zero();
#endif
	shadow_at_edge();
	busy_second_page();
	beyond_limit();
	canary_check("canary");
	rest();
}
