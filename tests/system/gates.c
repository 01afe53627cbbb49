/* SPDX-License-Identifier: MIT */
/*
 * Interrupt, trap and call gates, stack switches, privilege checks of gates and far transfers, returns to outer rings,
 * what is pushed.
 */
#include "guest.h"

#define CODE_DPL3_CONFORMING (FREE_SELECTOR + 0x00)
#define CODE_CONFORMING (FREE_SELECTOR + 0x08)
#define CALL_GATE (FREE_SELECTOR + 0x10)  /* 16 bytes in long mode */
#define CALL_GATE3 (FREE_SELECTOR + 0x20) /* DPL 3 */
#define CODE_1 (FREE_SELECTOR + 0x30)
#define DATA_1 (FREE_SELECTOR + 0x38)
#define CALL_GATE16 (FREE_SELECTOR + 0x40)

static uint8_t far[16] __attribute__((aligned(16), used));
static word seen[12] __attribute__((used));

#ifdef __x86_64__
#define W "q"
#define IS_BYTES "8"
#else
#define W "l"
#define IS_BYTES "4"
#endif

FRAGMENT(int_99, "nop\n int $99");
FRAGMENT(int_98, "nop\n int $98");
FRAGMENT(do_ud2, "nop\n ud2");
FRAGMENT(far_call, "lcall *far\n nop");
FRAGMENT(far_jump, "ljmp *far");
FRAGMENT(cli_hlt, "cli");
FRAGMENT(set_flags_int, "push" W " $0x40ed7\n popf" W "\n int $99"); /* all arithmetic flags, DF, IF, TF off, AC */
FRAGMENT(set_nt_int, "pushf" W "\n or" W " $0x4000, (" SP ")\n popf" W "\n int $99");
/* Notes SP, flags and what was pushed; then on to the ordinary end by INT 80h. */
FRAGMENT(note_and_end, "mov " AX ", seen\n mov " SP ", " AX "\n mov " AX ", seen + 1 * " IS_BYTES "\n"
		       "mov (" SP "), " AX "\n mov " AX ", seen + 2 * " IS_BYTES "\n"
		       "mov " IS_BYTES "(" SP "), " AX "\n mov " AX ", seen + 3 * " IS_BYTES "\n"
		       "mov 2 * " IS_BYTES "(" SP "), " AX "\n mov " AX ", seen + 4 * " IS_BYTES "\n"
		       "mov 3 * " IS_BYTES "(" SP "), " AX "\n mov " AX ", seen + 5 * " IS_BYTES "\n"
		       "mov 4 * " IS_BYTES "(" SP "), " AX "\n mov " AX ", seen + 6 * " IS_BYTES "\n"
		       "mov 5 * " IS_BYTES "(" SP "), " AX "\n mov " AX ", seen + 7 * " IS_BYTES "\n"
		       "mov %cs, %eax\n mov " AX ", seen + 8 * " IS_BYTES "\n"
		       "mov %ss, %eax\n mov " AX ", seen + 9 * " IS_BYTES "\n"
		       "pushf" W "\n pop" W " seen + 10 * " IS_BYTES "\n"
		       "int $0x80");

static void far_set(word ip, unsigned selector)
{
	*(uint32_t *)(void *)far = (uint32_t)ip;
	*(uint16_t *)(void *)(far + 4) = (uint16_t)selector;
}

static void call_gate(unsigned selector, word target, unsigned code, unsigned type, unsigned parameters)
{
	struct gate made = gate(target, code, type, parameters);
	gdt_set(selector, made.low);
#ifdef __x86_64__
	gdt_set(selector + 8, made.high);
#endif
}

static void seen_clear(void)
{
	for (unsigned i = 0; i < 12; i++)
		seen[i] = 0xdead;
}

/* The pushed words, SP relative to the stack it should be on. */
static void seen_facts(const char *group, code_function *code, word stack, unsigned words)
{
	static const char *const names[] = {"word0", "word1", "word2", "word3", "word4", "word5"};

	fact_of(group, "vector", trap.vector);
	fact_of(group, "depth", stack - seen[1]);
	for (unsigned i = 0; i < words; i++) {
		word value = seen[2 + i];
		if (value - (word)code < 64)
			value = 0x1000 + value - (word)code; /* an address in the fragment */
		if (value - (word)(user_stack_top - 64) <= 64)
			value = 0x2000 + (word)user_stack_top - value;
		if (value == (word)user_return)
			value = 0x3000;
		fact_of(group, names[i], value);
	}
	fact_of(group, "cs", seen[8]);
	fact_of(group, "ss", seen[9] & 0xffff);
	fact_of(group, "flags", seen[10]);
}

/* ---- gates of the IDT ---- */

static void idt_gates(void)
{
	struct gate saved = idt[99];

	seen_clear();
	idt[99] = gate((word)note_and_end, KERNEL_CODE, GATE_INTERRUPT | GATE_DPL3, 0);
	run_flags = 0x246;
	run_user(int_99);
	seen_facts("interrupt_gate", int_99, (word)trap_stack_top, 5);
	seen_clear();
	idt[99] = gate((word)note_and_end, KERNEL_CODE, GATE_TRAP | GATE_DPL3, 0);
	run_user(int_99);
	seen_facts("trap_gate", int_99, (word)trap_stack_top, 5);
	seen_clear();
	run_user(set_flags_int);
	seen_facts("flags", set_flags_int, (word)trap_stack_top, 5);
	seen_clear();
	run_user(set_nt_int);
	seen_facts("nested_task", set_nt_int, (word)trap_stack_top, 5);
	run_flags = RUN_FLAGS_NONE;
#ifdef __x86_64__
	/* The stack is aligned to 16 bytes at every delivery, change of ring or not. */
	tss.rsp[0] = (word)trap_stack_top - 5;
	run_user(int_99);
	seen_facts("unaligned_rsp0", int_99, (word)trap_stack_top, 5);
	tss.rsp[0] = (word)trap_stack_top;
	seen_clear();
	idt[99] = gate((word)note_and_end, KERNEL_CODE, GATE_INTERRUPT, 0);
	run(int_99);
	seen_facts("same_ring", int_99, resume_sp, 3);
	tss.ist[6] = (word)trap_stack_top - 2048 - 3;
	idt[99] = gate((word)note_and_end, KERNEL_CODE, GATE_INTERRUPT, 7);
	run(int_99);
	seen_facts("ist", int_99, (word)trap_stack_top - 2048, 3);
	idt[99] = gate((word)note_and_end, KERNEL_CODE, GATE_INTERRUPT | GATE_DPL3, 7);
	run_user(int_99);
	seen_facts("ist_user", int_99, (word)trap_stack_top - 2048, 5);
	tss.ist[6] = 0x800000000000;
	idt[99] = gate((word)note_and_end, KERNEL_CODE, GATE_INTERRUPT, 7);
	probe("ist_non_canonical", int_99);
	idt[99] = gate(0x800000000000, KERNEL_CODE, GATE_INTERRUPT, 1);
	probe("gate_non_canonical", int_99);
	idt[99] = gate((word)note_and_end, KERNEL_CODE32, GATE_INTERRUPT, 1);
	probe("gate_to_32", int_99);
#else
	seen_clear();
	idt[99] = gate((word)note_and_end, KERNEL_CODE, GATE_INTERRUPT, 0);
	run(int_99);
	seen_facts("same_ring", int_99, resume_sp, 3);
	/* A 16-bit gate pushes 16-bit words. */
	seen_clear();
	idt[99] = gate((word)note_and_end & 0xffff, KERNEL_CODE, 0x86 | GATE_DPL3, 0);
	if ((word)note_and_end < 0x10000)
		run_user(int_99);
#endif
	/* To a conforming segment: no change of ring. */
	idt[99] = gate(trap_stub(99), CODE_CONFORMING, GATE_INTERRUPT, 0);
	run(int_99);
	fact("conforming.cs", trap.cs);
	idt[99] = gate((word)int_98, CODE_DPL3_CONFORMING, GATE_INTERRUPT | GATE_DPL3, 0);
	probe("gate_to_outer", int_99);
	idt[99] = gate((word)int_98, USER_CODE, GATE_INTERRUPT | GATE_DPL3, 0);
	probe("gate_to_user", int_99);
	idt[99] = saved;
}

/* ---- IDTR limit ---- */

static void idt_limit(void)
{
	struct {
		uint16_t limit;
		word base;
	} __attribute__((packed)) pointer = {0x62 * sizeof(struct gate) + sizeof(struct gate) - 1, (word)idt};

	__asm__ volatile("lidt %0" : : "m"(pointer));
	probe("idt_limit.beyond", int_99);
	probe("idt_limit.last", int_98);
	pointer.limit = 0x63 * sizeof(struct gate) + 4;
	__asm__ volatile("lidt %0" : : "m"(pointer));
	probe("idt_limit.half", int_99);
	pointer.limit = sizeof(idt) - 1;
	__asm__ volatile("lidt %0" : : "m"(pointer));
}

/* ---- call gates ---- */

static void call_gates(void)
{
	call_gate(CALL_GATE, (word)note_and_end, KERNEL_CODE, GATE_CALL, 0);
	call_gate(CALL_GATE3, (word)note_and_end, KERNEL_CODE, GATE_CALL | GATE_DPL3, 0);
	seen_clear();
	far_set(0xdddddddd, CALL_GATE);
	run(far_call);
	seen_facts("call_gate.same_ring", far_call, resume_sp, 2);
	seen_clear();
	far_set(0, CALL_GATE3 | 3);
	run_user(far_call);
	seen_facts("call_gate.user", far_call, (word)trap_stack_top, 4);
	far_set(0, CALL_GATE | 3);
	probe_user("call_gate.dpl", far_call);
	far_set(0, CALL_GATE3 | 3);
	probe_user("call_gate.jump_inward", far_jump);
	far_set(0, CALL_GATE);
	seen_clear();
	run(far_jump);
	seen_facts("call_gate.jump", far_jump, resume_sp, 0);
	call_gate(CALL_GATE3, (word)note_and_end, KERNEL_DATA, GATE_CALL | GATE_DPL3, 0);
	far_set(0, CALL_GATE3);
	probe("call_gate.data", far_call);
	call_gate(CALL_GATE3, (word)note_and_end, 0, GATE_CALL | GATE_DPL3, 0);
	probe("call_gate.null", far_call);
	call_gate(CALL_GATE3, (word)note_and_end, KERNEL_CODE, (GATE_CALL | GATE_DPL3) & ~0x80u, 0);
	probe("call_gate.absent", far_call);
	call_gate(CALL_GATE3, (word)note_and_end, USER_CODE, GATE_CALL | GATE_DPL3, 0);
	probe("call_gate.outward", far_call);
	far_set(0, TSS_SELECTOR + 0x1f00);
	probe("call_gate.outside", far_call);
#ifdef __x86_64__
	call_gate(CALL_GATE3, (word)note_and_end, KERNEL_CODE32, GATE_CALL | GATE_DPL3, 0);
	far_set(0, CALL_GATE3);
	probe("call_gate.to_32", far_call);
	call_gate(CALL_GATE3, (word)note_and_end, KERNEL_CODE, GATE_CALL | GATE_DPL3, 0);
	gdt[(CALL_GATE3 >> 3) + 1] |= 0xcull << 40; /* the upper half must have type 0 */
	probe("call_gate.upper_half", far_call);
	far_set(0, TSS_SELECTOR);
	probe("call_gate.tss", far_call);
	gdt_set(CALL_GATE16, gate(0x100000, KERNEL_CODE, 0x84, 0).low);
	far_set(0, CALL_GATE16);
	probe("call_gate.16", far_call);
#else
	/* Two parameters are copied. */
	call_gate(CALL_GATE3, (word)note_and_end, KERNEL_CODE, GATE_CALL | GATE_DPL3, 2);
	far_set(0, CALL_GATE3 | 3);
	((word *)user_stack_top)[-1] = 0x11111111;
	seen_clear();
	run_user(far_call);
	seen_facts("call_gate.parameters", far_call, (word)trap_stack_top, 6);
#endif
}

/* ---- far returns and IRET ---- */

FRAGMENT(iret_to, "mov %esp, %ebp\n"
#ifdef __x86_64__
		  "push %rsi\n push %rbp\n push %rdx\n push %rcx\n push %rbx\n iretq"
#else
		  "push %esi\n push %ebp\n push %edx\n push %ecx\n push %ebx\n iretl"
#endif
);
#ifdef __x86_64__
FRAGMENT(lret_to, "push %rcx\n push %rbx\n lretq");
FRAGMENT(lret_out, "push %rsi\n push %rbp\n push %rcx\n push %rbx\n lretq");
FRAGMENT(lret_16, "push %rcx\n push %rbx\n lretq $16");
#else
FRAGMENT(lret_to, "push %ecx\n push %ebx\n lretl");
FRAGMENT(lret_out, "push %esi\n push %ebp\n push %ecx\n push %ebx\n lretl");
FRAGMENT(lret_16, "push %ecx\n push %ebx\n lretl $16");
#endif
FRAGMENT(landing, "mov %cs, %eax\n mov %ss, %ecx\n mov " SP ", " DX "\n pushf" W "\n pop" W " " BX "\n int $0x80");

static void iret_probe(const char *group, word ip, unsigned cs, word flags, unsigned ss)
{
	regs = (struct regs){0};
	regs.bx = ip;
	regs.cx = cs;
	regs.dx = flags;
	regs.si = ss;
	run(iret_to);
	fact_of(group, "vector", trap.vector);
	if (trap.error != 0x7777)
		fact_of(group, "error", trap.error);
	if (trap.vector == 0x80) {
		fact_of(group, "cs", regs.ax & 0xffff);
		fact_of(group, "ss", regs.cx & 0xffff);
		fact_of(group, "flags", regs.bx);
	} else {
		check(group, trap.ip - (word)iret_to < 32);
	}
}

static void returns(void)
{
	iret_probe("iret.same", (word)landing, KERNEL_CODE, 2, KERNEL_DATA);
	iret_probe("iret.flags", (word)landing, KERNEL_CODE, 0x243ed7 & ~0x100, KERNEL_DATA);
	iret_probe("iret.user", (word)landing, USER_CODE, 0x3002, USER_DATA);
	iret_probe("iret.null_cs", (word)landing, 0, 2, KERNEL_DATA);
	iret_probe("iret.data_cs", (word)landing, KERNEL_DATA, 2, KERNEL_DATA);
	iret_probe("iret.outside", (word)landing, 0x1f80, 2, KERNEL_DATA);
	iret_probe("iret.rpl_dpl", (word)landing, KERNEL_CODE | 3, 2, USER_DATA);
	iret_probe("iret.dpl3_rpl0", (word)landing, USER_CODE & ~3u, 2, KERNEL_DATA);
	iret_probe("iret.user_ss_kernel", (word)landing, USER_CODE, 2, KERNEL_DATA);
	iret_probe("iret.user_ss_null", (word)landing, USER_CODE, 2, 0);
	iret_probe("iret.user_ss_null3", (word)landing, USER_CODE, 2, 3);
	iret_probe("iret.user_ss_code", (word)landing, USER_CODE, 2, USER_CODE);
	iret_probe("iret.ring1", (word)landing, CODE_1 | 1, 2, DATA_1 | 1);
	iret_probe("iret.conforming", (word)landing, CODE_CONFORMING | 3, 2, USER_DATA);
	if (IS64) {
		iret_probe("iret.same_ss_null", (word)landing, KERNEL_CODE, 2, 0);
		iret_probe("iret.compatibility", (word)landing, USER_CODE32, 2, USER_DATA);
		iret_probe("iret.kernel_compatibility", (word)landing, KERNEL_CODE32, 2, KERNEL_DATA);
		iret_probe("iret.nt_clear", (word)landing, KERNEL_CODE, 2, KERNEL_DATA);
	}
	/* Far returns. */
	regs = (struct regs){0};
	regs.bx = (word)landing;
	regs.cx = KERNEL_CODE;
	run(lret_to);
	fact("lret.same.vector", trap.vector);
	fact("lret.same.depth", resume_sp - regs.dx);
	regs.bx = (word)landing;
	regs.cx = KERNEL_CODE;
	run(lret_16);
	fact("lret.16.depth", resume_sp - regs.dx);
	regs.bx = (word)landing;
	regs.cx = USER_CODE;
	regs.si = USER_DATA;
	regs.bp = (word)user_stack_top;
	run(lret_out);
	fact("lret.out.vector", trap.vector);
	fact("lret.out.cs", trap.cs);
	fact("lret.out.depth", (word)user_stack_top - regs.dx);
	regs.bx = (word)landing;
	regs.cx = KERNEL_CODE;
	probe_user("lret.inward", lret_to);
	regs.bx = (word)landing;
	regs.cx = 0;
	probe("lret.null", lret_to);
	regs.cx = KERNEL_DATA;
	probe("lret.data", lret_to);
	/* Far jumps and calls between code segments. */
	far_set((word)landing, CODE_CONFORMING);
	run_user(far_call);
	fact("far.conforming.vector", trap.vector);
	fact("far.conforming.cs", regs.ax & 0xffff);
	far_set((word)landing, KERNEL_CODE);
	probe_user("far.nonconforming_user", far_call);
	far_set((word)landing, CODE_DPL3_CONFORMING);
	probe("far.conforming_outer", far_call);
	far_set((word)landing, KERNEL_CODE | 3);
	probe("far.rpl", far_call);
	far_set((word)landing, KERNEL_CODE);
	run(far_call);
	fact("far.call.vector", trap.vector);
	fact("far.call.depth", resume_sp - regs.dx);
}

/* DS, ES, FS, GS become null on the way out when their DPL is below the new CPL. */
FRAGMENT(out_with_segments, "mov $0x10, %eax\n mov %eax, %es\n mov %eax, %fs\n mov $0x23, %eax\n mov %eax, %gs\n"
#ifdef __x86_64__
			    "push %rsi\n push %rbp\n push %rcx\n push %rbx\n lretq"
#else
			    "push %esi\n push %ebp\n push %ecx\n push %ebx\n lretl"
#endif
);
FRAGMENT(read_segments, "mov %es, %eax\n mov %fs, %ecx\n mov %gs, %edx\n mov %ds, %ebx\n int $0x80");

static void segments_on_return(void)
{
	regs.bx = (word)read_segments;
	regs.cx = USER_CODE;
	regs.si = USER_DATA;
	regs.bp = (word)user_stack_top;
	run(out_with_segments);
	fact("outward.es", regs.ax & 0xffff);
	fact("outward.fs", regs.cx & 0xffff);
	fact("outward.gs", regs.dx & 0xffff);
	fact("outward.ds", regs.bx & 0xffff);
}

/* ---- what a trap leaves in the frame ---- */

static void ring_1(void)
{
#ifdef __x86_64__
	tss.rsp[1] = (word)trap_stack_top - 4096;
#else
	tss.stack[1].ss = DATA_1 | 1;
	tss.stack[1].esp = (word)trap_stack_top - 4096;
#endif
	struct gate saved = idt[99];
	seen_clear();
	idt[99] = gate((word)note_and_end, CODE_1, GATE_INTERRUPT | GATE_DPL3, 0);
	run_user(int_99);
	seen_facts("ring1", int_99, (word)trap_stack_top - 4096, 5);
	idt[99] = saved;
}

void guest_main(void)
{
	gdt_set(CODE_DPL3_CONFORMING, descriptor(0, 0xfffff, 0xff, IS64 ? 0xa : 0xc));
	gdt_set(CODE_CONFORMING, descriptor(0, 0xfffff, 0x9f, IS64 ? 0xa : 0xc));
	gdt_set(CODE_1, descriptor(0, 0xfffff, 0xbb, IS64 ? 0xa : 0xc));
	gdt_set(DATA_1, descriptor(0, 0xfffff, 0xb3, 0xc));
	idt[0x80] = gate(trap_stub(0x80), KERNEL_CODE, GATE_INTERRUPT | GATE_DPL3, IS64 ? 1 : 0);
	idt_gates();
	idt_limit();
	call_gates();
	returns();
	segments_on_return();
	ring_1();
}
