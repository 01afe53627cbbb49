/* SPDX-License-Identifier: MIT */
/*
 * Self-modifying code: what a store changes is what runs next (SDM 3A 11.6), in the same block, another block, another
 * page, through another linear address of the same page, by every kind of store, with data on the page.
 */
#include "guest.h"

#define ALIAS AREA
#define CODE_PAGES 4

static uint8_t code[CODE_PAGES * 4096] __attribute__((aligned(4096)));

/* Runs what lies at an offset of `code` and gives its AX. */
static word call_at(word offset)
{
	regs.ax = 0;
	run((code_function *)((word)code + offset));
	return trap.vector == NO_TRAP ? regs.ax & 0xffffffff : 0xbad00000 | trap.vector;
}

/* b8 imm32 c3: returns a constant. */
static void put_constant(uint8_t *at, uint32_t value)
{
	at[0] = 0xb8;
	at[5] = 0xc3;
	copy_bytes(at + 1, &value, 4);
}

/* The store changes the immediate of the very next instruction. */
FRAGMENT(next_instruction, "movb $2, 1f + 1\n 1: mov $1, %eax");
FRAGMENT(next_dword, "movl $0x12345678, 1f + 1\n 1: mov $1, %eax");
FRAGMENT(next_opcode, "mov $5, %eax\n movb $0x48 | 0, 2f\n nop\n 2: nop\n nop");
/* A loop that counts: its step is changed after some rounds by the loop itself. */
FRAGMENT(loop_changes, "xor %eax, %eax\n mov $10, %ecx\n 1: add $1, %eax\n cmp $5, %ecx\n jne 2f\n movb $16, 1b + 2\n "
		       "2: dec %ecx\n jnz 1b\n"
		       "movb $1, 1b + 2");
FRAGMENT(by_string, "mov $1f + 1, " DI "\n mov $4, %ecx\n mov $7, %eax\n rep stosb\n 1: mov $1, %eax");
FRAGMENT(by_string_after,
	 "mov $1f + 1, " DI "\n mov $1, %ecx\n mov $7, %eax\n rep stosb\n nop\n nop\n 1: mov $1, %eax");
FRAGMENT(by_locked, "lock incb 1f + 1\n 1: mov $1, %eax");
FRAGMENT(by_cmpxchg, "mov $1, %al\n mov $9, %cl\n lock cmpxchg %cl, 1f + 1\n 1: mov $1, %eax");
FRAGMENT(by_sse, "mov $1f, " BX "\n movups (" BX
		 "), %xmm0\n movups %xmm0, smc_scratch\n movb $6, smc_scratch + 1\n movups smc_scratch, %xmm0\n"
		 "movups %xmm0, (" BX ")\n 1: mov $1, %eax\n .fill 11, 1, 0x90");
FRAGMENT(by_x87, "fninit\n movl $0x3d, smc_scratch\n fildl smc_scratch\n fistps 1f + 1\n nop\n 1: mov $1, %eax");
FRAGMENT(by_call, "mov " SP ", " DX "\n mov $3f, " SP "\n call 1f\n 1: mov " DX ", " SP
		  "\n jmp 2f\n .fill 16, 1, 0x90\n 3: nop\n 2: mov $3, %eax");
FRAGMENT(with_jump, "movb $3, 1f + 1\n jmp 1f\n nop\n 1: mov $1, %eax");
FRAGMENT(with_cpuid, "push " BX "\n movb $4, 1f + 1\n xor %eax, %eax\n cpuid\n pop " BX "\n 1: mov $1, %eax");
FRAGMENT(same_value, "movb $1, 1f + 1\n 1: mov $1, %eax");
uint8_t smc_scratch[16] __attribute__((aligned(16)));

static void twice(const char *name, code_function *fragment)
{
	run(fragment);
	fact_of(name, "first", trap.vector == NO_TRAP ? regs.ax & 0xffffffff : 0xbad00000 | trap.vector);
	run(fragment);
	fact_of(name, "again", trap.vector == NO_TRAP ? regs.ax & 0xffffffff : 0xbad00000 | trap.vector);
}

static void next_instructions(void)
{
	twice("next.byte", next_instruction);
	twice("next.dword", next_dword);
	twice("next.opcode", next_opcode);
	twice("next.loop", loop_changes);
	twice("next.string", by_string);
	twice("next.string_after", by_string_after);
	twice("next.locked", by_locked);
	twice("next.cmpxchg", by_cmpxchg);
	twice("next.sse", by_sse);
	twice("next.x87", by_x87);
	twice("next.call", by_call);
	twice("next.jump", with_jump);
	twice("next.cpuid", with_cpuid);
	twice("next.same_value", same_value);
}

static void other_code(void)
{
	/* Run, change from C, run: on the same page, other pages, across an edge. */
	static const word offsets[] = {0, 0x100, 0x1000, 0x1ffd, 0x2ffb, 0x2fff};
	char name[] = "changed.0";

	for (unsigned i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		name[8] = (char)('0' + i);
		put_constant(code + offsets[i], 0x11);
		fact_of(name, "before", call_at(offsets[i]));
		put_constant(code + offsets[i], 0x22);
		fact_of(name, "after", call_at(offsets[i]));
		code[offsets[i] + 4] = 0x33;
		fact_of(name, "last_byte", call_at(offsets[i]));
	}
	/* Many times: whatever is cached must go each time. */
	word sum = 0;
	for (unsigned i = 0; i < 2000; i++) {
		put_constant(code + 0x80, i);
		sum += call_at(0x80);
	}
	fact("changed.many", sum);
	/* Ping-pong between two places of one page. */
	sum = 0;
	for (unsigned i = 0; i < 500; i++) {
		put_constant(code + 0x1080, i);
		put_constant(code + 0x1800, 3 * i);
		sum += call_at(0x1080) + call_at(0x1800);
	}
	fact("changed.ping_pong", sum);
}

/* Code reached by a jump, a call, an indirect jump from a loop that stays the same. */
static void chained(void)
{
	/* 0: e8 call 0x200; c3.   0x200: jmp 0x400.   0x400: constant */
	static const uint8_t caller[] = {0xe8, 0xfb, 0x01, 0, 0, 0xc3};
	static const uint8_t jumper[] = {0xe9, 0xfb, 0x01, 0, 0};

	copy_bytes(code, caller, sizeof(caller));
	copy_bytes(code + 0x200, jumper, sizeof(jumper));
	put_constant(code + 0x400, 1);
	fact("chain.first", call_at(0));
	put_constant(code + 0x400, 2);
	fact("chain.target", call_at(0));
	put_constant(code + 0x200, 3);
	fact("chain.middle", call_at(0));
	put_constant(code, 4);
	fact("chain.head", call_at(0));
	copy_bytes(code, caller, sizeof(caller));
	fact("chain.restored", call_at(0));
}

/* Data beside code on the page: stores to it neither lose nor break anything. */
static void shared_page(void)
{
	volatile uint32_t *counter = (volatile uint32_t *)(void *)(code + 0x3800);
	/* incl counter; mov counter, %eax; ret */
	uint8_t text[16] = {0xff, 0x05, 0, 0, 0, 0, 0x8b, 0x05, 0, 0, 0, 0, 0xc3};
	uint32_t at_inc = (uint32_t)(word)counter, at_mov = at_inc;

	if (IS64) {
		at_inc -= (uint32_t)(word)(code + 0x3000) + 6;
		at_mov -= (uint32_t)(word)(code + 0x3000) + 12;
	}
	copy_bytes(text + 2, &at_inc, 4);
	copy_bytes(text + 8, &at_mov, 4);
	copy_bytes(code + 0x3000, text, sizeof(text));
	*counter = 0;
	for (unsigned i = 0; i < 1000; i++)
		run((code_function *)(word)(code + 0x3000));
	fact("shared_page.counter", regs.ax);
	*counter = 7;
	fact("shared_page.from_c", call_at(0x3000));
	/* Unaligned store over data that ends where code begins. */
	put_constant(code + 0x3900, 5);
	fact("shared_page.before", call_at(0x3900));
	*(volatile uint32_t *)(void *)(code + 0x38fc) = 0xffffffff;
	fact("shared_page.below", call_at(0x3900));
	*(volatile uint32_t *)(void *)(code + 0x3906) = 0xffffffff;
	fact("shared_page.above", call_at(0x3900));
	*(volatile uint16_t *)(void *)(code + 0x38ff) = 0xb8ff;
	fact("shared_page.overlap", call_at(0x3900));
	*(volatile uint64_t *)(void *)(code + 0x38fc) = 0x000077b8ffffffff;
	fact("shared_page.overlap_8", call_at(0x3900));
}

/* The same memory at a second linear address. */
static void aliases(void)
{
	uint8_t *alias = (uint8_t *)ALIAS;

#ifndef __x86_64__
	paging_start(PAGING_PAE);
#endif
	for (word i = 0; i < CODE_PAGES; i++)
		map(ALIAS + i * PAGE, (word)code + i * PAGE, PTE_P | PTE_W);
	put_constant(code + 0x40, 1);
	fact("alias.first", call_at(0x40));
	put_constant(alias + 0x40, 2);
	fact("alias.written", call_at(0x40));
	fact("alias.run", call_at(ALIAS - (word)code + 0x40));
	put_constant(code + 0x40, 3);
	fact("alias.run_after", call_at(ALIAS - (word)code + 0x40));
	put_constant(alias + 0x1ffe, 4);
	fact("alias.edge", call_at(0x1ffe));
	code[0x2000] = 5; /* a byte of the immediate, on the second page */
	fact("alias.edge_second", call_at(ALIAS - (word)code + 0x1ffe));
	/* A page table that maps code writable only through the alias. */
	map(ALIAS + 0x10000, (word)code, PTE_P);
	put_constant(alias + 0x60, 6);
	fact("alias.read_only", call_at(ALIAS + 0x10000 - (word)code + 0x60));
	put_constant(alias + 0x60, 7);
	fact("alias.read_only_after", call_at(ALIAS + 0x10000 - (word)code + 0x60));
	/* Next instruction through the alias: it need not serialise on old processors, but does here (SDM 3A 11.6 asks
	 * for a jump). */
	static const uint8_t through_alias[] = {0xc6, 0x03, 0x09, 0xeb, 0x00, 0xb8, 0x01, 0, 0, 0, 0xc3};
	copy_bytes(code + 0x300, through_alias, sizeof(through_alias));
	regs.bx = ALIAS + 0x306;
	fact("alias.next", call_at(0x300));
#ifndef __x86_64__
	paging_stop();
#endif
}

/* Code below a stack that grows into it, and code copied over code that runs. */
static void copies(void)
{
	put_constant(code + 0x500, 1);
	put_constant(code + 0x600, 2);
	fact("copy.first", call_at(0x500));
	copy_bytes(code + 0x500, code + 0x600, 16);
	fact("copy.second", call_at(0x500));
	fill_bytes(code + 0x500, 0x90, 32);
	put_constant(code + 0x510, 3);
	fact("copy.nops", call_at(0x500));
	/* A page run, wiped and filled again. */
	fill_bytes(code, 0xcc, 4096);
	fact("copy.wiped", call_at(0x500));
	put_constant(code + 0x500, 4);
	fact("copy.filled", call_at(0x500));
}

void guest_main(void)
{
	next_instructions();
	other_code();
	chained();
	shared_page();
	copies();
	aliases();
}
