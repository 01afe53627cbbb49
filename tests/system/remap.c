/* SPDX-License-Identifier: MIT */
/*
 * Mappings that change under code that has run: the same linear address on different pages and in two address spaces,
 * reached through jmp, call and ret across a page edge, directly and indirectly; an instruction and a block across two
 * pages whose second one is exchanged; code that loses its rights; a stack and data that move.
 */
#include "guest.h"

#define FIRST AREA
#define SECOND (AREA + PAGE)
#define THIRD (AREA + 2 * PAGE)

static word frames[8];

static uint8_t *frame(unsigned index)
{
	return (uint8_t *)frames[index];
}

static void put(uint8_t *at, const char *bytes, unsigned size)
{
	copy_bytes(at, bytes, size);
}

static void put_32(uint8_t *at, uint32_t value)
{
	copy_bytes(at, &value, 4);
}

/* mov $value, %eax; ret */
static void put_constant(uint8_t *at, uint32_t value)
{
	at[0] = 0xb8;
	put_32(at + 1, value);
	at[5] = 0xc3;
}

static word call_at(word linear)
{
	regs.ax = 0;
	run((code_function *)linear);
	return trap.vector == NO_TRAP ? regs.ax & 0xffffffff : 0xbad00000 | trap.vector;
}

#define RWX (PTE_P | PTE_W | PTE_U)

/* Code on FIRST that reaches SECOND in one of these ways. Targets are the start of SECOND. */
enum { JMP, JCC, CALL, INDIRECT_JMP, INDIRECT_CALL, MEMORY_JMP, RET, FALL, LOOP, WAYS };
static const char *const way_names[] = {"jmp",	      "jcc", "call", "indirect_jmp", "indirect_call",
					"memory_jmp", "ret", "fall", "loop"};

static word target_pointer __attribute__((used));

static void put_way(uint8_t *at, word linear, unsigned way)
{
	int32_t distance = (int32_t)(SECOND - linear);

	switch (way) {
	case JMP:
		at[0] = 0xe9;
		put_32(at + 1, (uint32_t)(distance - 5));
		break;
	case JCC: /* test %esp, %esp; jne */
		put(at, "\x85\xe4\x0f\x85", 4);
		put_32(at + 4, (uint32_t)(distance - 8));
		break;
	case CALL: /* call; ret */
		at[0] = 0xe8;
		put_32(at + 1, (uint32_t)(distance - 5));
		at[5] = 0xc3;
		break;
	case INDIRECT_JMP: /* jmp *bx */
		put(at, "\xff\xe3", 2);
		break;
	case INDIRECT_CALL: /* call *bx; ret */
		put(at, "\xff\xd3\xc3", 3);
		break;
	case MEMORY_JMP: /* jmp *target_pointer, by SIB and disp32 in both modes */
		put(at, "\xff\x24\x25", 3);
		put_32(at + 3, (uint32_t)(word)&target_pointer);
		break;
	case RET: /* push bx; ret */
		put(at, "\x53\xc3", 2);
		break;
	case LOOP: /* mov $2, %ecx; loop: backwards over itself, then on to the target by jmp */
		put(at, "\xb9\x03\0\0\0\xe2\xfe\xe9", 8);
		put_32(at + 8, (uint32_t)(distance - 12));
		break;
	default:
		break;
	}
}

static word run_way(word entry)
{
	regs.bx = SECOND;
	target_pointer = SECOND;
	return call_at(entry);
}

/* One address space: SECOND is moved from frame to frame. */
static void one_space(void)
{
	for (unsigned way = 0; way < WAYS; way++) {
		word entry = way == FALL ? SECOND - 3 : FIRST + 0x800;
		fill_bytes(frame(0), 0x90, PAGE);
		map(FIRST, frames[0], RWX);
		put_way(frame(0) + (entry & (PAGE - 1)), entry, way);
		for (unsigned i = 1; i < 4; i++)
			put_constant(frame(i), 0x10 * i);
		map(SECOND, frames[1], RWX);
		word seen = run_way(entry);
		for (unsigned round = 0; round < 6; round++) {
			map(SECOND, frames[1 + (round + 1) % 3], RWX);
			seen = seen * 3 + run_way(entry);
		}
		unmap(SECOND);
		fact_of("absent", way_names[way], run_way(entry));
		map(SECOND, frames[1], RWX);
		fact_of("back", way_names[way], run_way(entry));
		fact_of("moved", way_names[way], seen);
		/* No change of mapping, but of content behind it. */
		put_constant(frame(1), 0x99);
		fact_of("content", way_names[way], run_way(entry));
	}
}

/* Two address spaces with the same code on FIRST and different code on SECOND. CR3 is loaded between the runs. */
static void two_spaces(void)
{
	word one = space_current(), two = space_create();

	for (unsigned way = 0; way < WAYS; way++) {
		word entry = way == FALL ? SECOND - 3 : FIRST + 0x800;
		fill_bytes(frame(0), 0x90, PAGE);
		put_way(frame(0) + (entry & (PAGE - 1)), entry, way);
		put_constant(frame(1), 1);
		put_constant(frame(2), 2);
		space_select(two);
		map(FIRST, frames[0], RWX);
		map(SECOND, frames[2], RWX);
		space_select(one);
		map(FIRST, frames[0], RWX);
		map(SECOND, frames[1], RWX);
		word seen = 0;
		for (unsigned round = 0; round < 6; round++) {
			space_enter(round & 1 ? two : one);
			seen = seen * 16 + run_way(entry);
		}
		fact_of("spaces", way_names[way], seen);
		/* Same linear address, same frame for SECOND, another one for FIRST. */
		space_enter(one);
		copy_bytes(frame(3), frame(0), PAGE);
		fill_bytes(frame(3) + (entry & (PAGE - 1)), 0x90, 3);
		if (way != FALL)
			put_constant(frame(3) + (entry & (PAGE - 1)), 7);
		map(FIRST, frames[3], RWX);
		fact_of("spaces_first", way_names[way], run_way(entry));
		space_enter(two);
		fact_of("spaces_first_other", way_names[way], run_way(entry));
		space_enter(one);
	}
}

/* The caller's page is exchanged while the callee runs: the return lands in the new one. */
static void exchanged_caller(void)
{
	/* FIRST: call SECOND; mov $1, %eax; ret.  In frame 3 the same with 2. */
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *at = frame(i ? 3 : 0);
		at[0] = 0xe8;
		put_32(at + 1, PAGE - 5);
		put_constant(at + 5, i + 1);
	}
	/* SECOND: swaps the entries' low words (BX: entry, CX: new value), invlpg FIRST, ret */
#ifdef __x86_64__
	put(frame(1), "\x48\x89\x0b\x0f\x01\x3e\xc3", 7); /* mov %rcx, (%rbx); invlpg (%rsi); ret */
#else
	put(frame(1), "\x89\x0b\x0f\x01\x3e\xc3", 6);
#endif
	map(SECOND, frames[1], RWX);
	for (unsigned round = 0; round < 4; round++) {
		char name[] = "caller.0";
		name[7] = (char)('0' + round);
		map(FIRST, round & 1 ? frames[3] : frames[0], RWX);
		regs.bx = (word)entry_of(FIRST, 1);
		regs.cx = (round & 1 ? frames[0] : frames[3]) | RWX;
		regs.si = FIRST;
		fact(name, call_at(FIRST));
	}
	/* The page of the running code itself is exchanged: what follows comes from the new page. */
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *at = frame(i ? 3 : 0);
		copy_bytes(at, frame(1), 16);
		put_constant(at + (IS64 ? 6 : 5), 0x50 + i);
	}
	map(FIRST, frames[0], RWX);
	regs.bx = (word)entry_of(FIRST, 1);
	regs.cx = frames[3] | RWX;
	regs.si = FIRST;
	fact("caller.itself", call_at(FIRST));
	regs.cx = frames[0] | RWX;
	fact("caller.itself_back", call_at(FIRST));
}

/* An instruction and a block across FIRST and SECOND; SECOND is exchanged. */
static void straddling(void)
{
	char name[] = "straddle.0";

	for (unsigned inside = 1; inside <= 5; inside++) {
		uint8_t text[6];
		word entry = SECOND - inside;
		name[9] = (char)('0' + inside);
		put_constant(text, 0x04030201);
		copy_bytes(frame(0) + PAGE - inside, text, inside);
		copy_bytes(frame(1), text + inside, 6 - inside);
		put_constant(text, 0x14131211);
		copy_bytes(frame(2), text + inside, 6 - inside);
		map(FIRST, frames[0], RWX);
		map(SECOND, frames[1], RWX);
		fact_of(name, "first", call_at(entry));
		map(SECOND, frames[2], RWX);
		fact_of(name, "second_moved", call_at(entry));
		map(SECOND, frames[1], RWX);
		fact_of(name, "second_back", call_at(entry));
		/* The first page exchanged, second one kept. */
		copy_bytes(frame(3) + PAGE - inside, frame(0) + PAGE - inside, inside);
		if (inside > 1)
			frame(3)[PAGE - inside + 1] = 0x77;
		map(FIRST, frames[3], RWX);
		fact_of(name, "first_moved", call_at(entry));
		unmap(SECOND);
		fact_of(name, "absent", call_at(entry));
		fact_of(name, "absent_cr2", trap.cr2 - FIRST);
		map(SECOND, frames[2], RWX);
		fact_of(name, "again", call_at(entry));
	}
}

/* In two spaces, by a loop of one and the same code that runs often enough to be linked and hot. */
FRAGMENT(hot_caller,
	 "1: push " CX "\n call *" BX "\n pop " CX "\n add " AX ", " DX "\n dec " CX "\n jnz 1b\n mov " DX ", " AX);

static void hot(void)
{
	word sum = 0;

	put_way(frame(0) + 0x800, FIRST + 0x800, CALL);
	map(FIRST, frames[0], RWX);
	put_constant(frame(1), 1);
	put_constant(frame(2), 0x10000);
	for (unsigned i = 0; i < 4; i++) {
		map(SECOND, i & 1 ? frames[2] : frames[1], RWX);
		regs.bx = FIRST + 0x800;
		regs.cx = 3000;
		regs.dx = 0;
		run(hot_caller);
		sum += regs.ax;
	}
	fact("hot.sum", sum);
	/* Hot, then taken away in the middle by its own 100th call: too late by none. */
	fact("hot.before", call_at(FIRST + 0x800));
	unmap(SECOND);
	regs.cx = 10;
	regs.dx = 0;
	run(hot_caller);
	fact("hot.gone", trap.vector << 16 | trap.error);
	fact("hot.gone_cr2", trap.cr2 - FIRST);
}

/* Rights of code that has run: NX, supervisor, both undone. */
static void rights(void)
{
	put_constant(frame(1), 1);
	map(SECOND, frames[1], RWX);
	run_user((code_function *)SECOND);
	fact("rights.user", trap.vector);
	map(SECOND, frames[1], PTE_P | PTE_W);
	run_user((code_function *)SECOND);
	fact("rights.supervisor", trap.vector << 16 | trap.error);
	fact("rights.kernel", call_at(SECOND));
	map(SECOND, frames[1], RWX);
	run_user((code_function *)SECOND);
	fact("rights.user_again", trap.vector);
	if (!cpu_has(HAS_NX)) {
		absent("rights.nx");
		return;
	}
	map(SECOND, frames[1], RWX | PTE_NX);
	fact("rights.nx.fetch", call_at(SECOND));
	fact("rights.nx.error", trap.error);
	map(SECOND, frames[1], RWX);
	fact("rights.nx.again", call_at(SECOND));
}

/* Data and stack that move under loops of hot code. */
FRAGMENT(sum_loop, "xor %eax, %eax\n mov $100, %ecx\n 1: add (" BX "), %eax\n dec %ecx\n jnz 1b");
FRAGMENT(push_pop, "mov " SP ", " DX "\n mov " BX ", " SP "\n mov $50, %ecx\n 1: push " CX "\n pop " AX
		   "\n dec %ecx\n jnz 1b\n mov " DX ", " SP);
FRAGMENT(store_loop, "mov $100, %ecx\n 1: mov %ecx, (" BX ")\n dec %ecx\n jnz 1b");

static void data(void)
{
	word one = space_current(), two = space_create();

	put_32(frame(4), 3);
	put_32(frame(5), 5);
	map(THIRD, frames[4], RWX);
	regs.bx = THIRD;
	run(sum_loop);
	fact("data.first", regs.ax);
	map(THIRD, frames[5], RWX);
	run(sum_loop);
	fact("data.moved", regs.ax);
	space_select(two);
	map(THIRD, frames[4], RWX);
	space_enter(two);
	run(sum_loop);
	fact("data.other_space", regs.ax);
	run(store_loop);
	space_enter(one);
	space_select(one);
	run(sum_loop);
	fact("data.first_space", regs.ax);
	fact("data.stored", *(uint32_t *)frames[4]);
	map(THIRD, frames[4], PTE_P);
	write_cr0(read_cr0() | CR0_WP);
	run(store_loop);
	fact("data.read_only", trap.vector << 16 | trap.error);
	write_cr0(read_cr0() & ~CR0_WP);
	run(store_loop);
	fact("data.wp_off", trap.vector);
	/* A stack page that moves. */
	map(THIRD, frames[4], RWX);
	regs.bx = THIRD + PAGE;
	run(push_pop);
	map(THIRD, frames[5], RWX);
	run(push_pop);
	fact("stack.old", *(uint32_t *)(frames[4] + PAGE - sizeof(word)));
	fact("stack.new", *(uint32_t *)(frames[5] + PAGE - sizeof(word)));
	/* Code becomes data and a page table. */
	put_constant(frame(6), 1);
	map(THIRD, frames[6], RWX);
	fact("recycled.code", call_at(THIRD));
	unmap(THIRD);
	fill_bytes(frame(6), 0, PAGE);
	put_constant(frame(6), 2);
	map(THIRD, frames[6], RWX);
	fact("recycled.again", call_at(THIRD));
}

void guest_main(void)
{
	for (unsigned i = 0; i < 8; i++)
		frames[i] = (word)page_alloc();
#ifndef __x86_64__
	if (cpu_has(HAS_NX))
		write_msr(MSR_EFER, read_msr(MSR_EFER) | EFER_NXE);
	paging_start(PAGING_PAE);
#endif
	one_space();
	two_spaces();
	exchanged_caller();
	straddling();
	hot();
	rights();
	data();
}
