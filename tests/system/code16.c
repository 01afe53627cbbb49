/* SPDX-License-Identifier: MIT */
/*
 * 16-bit protected mode: segments with bases, 16-bit stacks, interrupt, trap and call gates of 16 bits, returns of both
 * sizes between rings and between code segments of both sizes, a 16-bit TSS's stacks.
 */
#include "real.h"

#define CODE16 0x50
#define DATA16 0x58
#define EXTRA16 0x60
#define STACK16 0x68
#define STACK32 0x70
#define CODE32 0x78
#define KERNEL_CODE16 0x80
#define KERNEL_STACK16 0x88
#define CALL16 0x90
#define CALL32 0x98
#define CONFORMING16 0xa0
#define TSS16 0xa8
#define GATE16 0x86
#define TRAP16 0x87
#define CALL_GATE16 0x84

#define SELECTORS                                                                                                      \
	"code16 = 0x53\n data16 = 0x5b\n extra16 = 0x63\n stack16 = 0x6b\n stack32 = 0x73\n code32 = 0x7b\n"           \
	"call16 = 0x93\n call32 = 0x9b\n conforming16 = 0xa3\n"
__asm__(SELECTORS);
#define SEGMENTS "movzwl %sp, %esp\n mov $data16, %ax\n mov %ax, %ds\n mov $extra16, %ax\n mov %ax, %es\n"
#define CODE(name, text) FRAGMENT16(name, SEGMENTS text)
#define HANDLER 0x80 /* offset in the segment of fragments: see gates() */

struct row {
	const char *name;
	const uint8_t *code, *end;
};
#define ROW(name)                                                                                                      \
	{                                                                                                              \
#name, name, name##_end                                                                                \
	}

/* A trap may have come on a 16-bit stack; its base is 0 as well. */
static bool leave_stack(struct frame *frame)
{
	(void)frame;
	__asm__ volatile("mov %0, %%ss" : : "r"(KERNEL_DATA));
	return false;
}

static void run16(const char *group, const struct row *row, unsigned ss, word sp)
{
	copy_bytes((void *)(REAL_LINEAR + REAL_FRAGMENT), row->code, (word)(row->end - row->code));
	regs = (struct regs){0};
	run_at(CODE16 | 3, REAL_FRAGMENT, ss | 3, sp);
	fact_of(group, "vector", trap.vector);
	if (trap.error != 0x7777)
		fact_of(group, "error", trap.error);
	fact_of(group, "ip", trap.ip - REAL_FRAGMENT);
	fact_of(group, "cs", trap.cs);
	fact_of(group, "flags", trap.flags & ~FLAG_RF);
	fact_of(group, "sp", trap.sp & 0xffff);
	fact_of(group, "ax", regs.ax);
	fact_of(group, "bx", regs.bx);
	fact_of(group, "cx", regs.cx);
	fact_of(group, "dx", regs.dx);
	fact_of(group, "si", regs.si);
	fact_of(group, "di", regs.di);
	fact_of(group, "bp", regs.bp);
}

static void run_table(const struct row *table, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		for (unsigned k = 0; k < 0x10000; k++) {
			real_data(0)[k] = (uint8_t)(k * 5);
			real_extra(0)[k] = (uint8_t)(k * 3);
		}
		run16(table[i].name, &table[i], STACK16, 0xf000);
	}
}
#define RUN(table) run_table(table, sizeof(table) / sizeof(table[0]))

/* ---- operands, addresses, stacks ---- */

CODE(moves, "mov 0x1234, %ax\n mov %ax, %es:0x4321\n mov %es:0x4320, %ebx\n mov $0xfff0, %si\n mov 0x20(%si), %cx\n"
	    "lea 0x20(%si), %dx\n lea 0x20(%esi), %edi\n xchg %cx, 0x10\n incw 0x10\n mov 0x10, %bp");
CODE(wide_address,
     "mov $0x12340, %ebx\n mov -0x12300(%ebx), %eax\n mov $0x4000, %ecx\n mov (%ecx), %edx\n mov 2(%ecx,%ecx,1), %al");
CODE(address_16_forms,
     "mov $0x100, %bx\n mov $0x20, %si\n mov $3, %di\n mov $0x4000, %bp\n mov (%bx,%si), %al\n mov (%bx,%di), %ah\n"
     "mov %ds:(%bp,%si), %cl\n mov 5(%bp,%di), %ch\n mov -1(%si), %dl\n mov 0x1000(%di), %dh");
CODE(stack_forms, "push $0x1234\n pushl $0x55667788\n push %ds\n pushl %es\n push %sp\n mov %sp, %bx\n pop %ax\n popl "
		  "%ecx\n pop %dx\n popl "
		  "%esi\n pop %di");
CODE(stack_wrap, "mov $0x12340002, %esp\n push %ax\n push %bx\n mov %esp, %ecx\n pop %dx\n pop %dx\n mov %esp, %ebx");
CODE(stack_frame, "mov $0x12348888, %ebp\n enter $6, $2\n mov %sp, %ax\n mov %ebp, %ebx\n leave\n mov %sp, %cx\n "
		  "pusha\n mov %sp, %dx\n popa");
CODE(calls, "call 1f\n mov %sp, %bx\n int $0xfe\n 1: mov %sp, %bp\n mov (%bp), %ax\n sub $0x1000, %ax\n calll 2f\n mov "
	    "%sp, %cx\n ret\n"
	    "2: mov %sp, %bp\n mov (%bp), %edx\n retl");
CODE(far_calls, "lcall $code16, $0x1040\n mov %sp, %bx\n int $0xfe\n .org far_calls + 0x40\n mov %sp, %bp\n mov (%bp), "
		"%ax\n mov 2(%bp), "
		"%cx\n lret");
CODE(far_calls_32, "lcalll $code16, $0x1040\n mov %sp, %bx\n int $0xfe\n .org far_calls_32 + 0x40\n mov %sp, %bp\n mov "
		   "(%bp), %eax\n mov "
		   "4(%bp), %cx\n lretl");
CODE(to_32_and_back, "lcalll $code32, $0x1040\n mov %sp, %bx\n int $0xfe\n .org to_32_and_back + 0x40\n .code32\n mov "
		     "$0x12345678, %eax\n"
		     "push %eax\n pop %ecx\n mov %cs, %edx\n lretl\n .code16");
CODE(jump_32,
     "ljmpl $code32, $0x1040\n .org jump_32 + 0x40\n .code32\n mov $0x12345678, %eax\n ljmpw $code16, $0x1060\n .org "
     "jump_32 + 0x60\n .code16\n mov %cs, %cx");
CODE(conforming,
     "lcall $conforming16, $0x1040\n int $0xfe\n .org conforming + 0x40\n mov %cs, %ax\n mov %cs:0x1040, %bx\n lret");
CODE(load_pointers, "movw $0x1111, 0x20\n movw $data16, 0x22\n movl $0x77778888, 0x24\n movw $extra16, 0x28\n les "
		    "0x20, %cx\n mov %es, %dx\n"
		    "lfsl 0x24, %esi\n mov %fs, %di\n lgs 0x20, %bx");
CODE(lss_32, "mov $0x22, %bp\n movl $0x0000e000, 0x24\n movw $stack32, 0x28\n lssl 0x24, %esp\n pushl $0x1234\n pushl "
	     "$0x5678\n popl %ecx\n mov "
	     "%esp, %ebx\n mov $stack16, %ax\n mov %ax, %ss\n mov $0xf000, %sp");
CODE(stack_32_in_16,
     "mov $stack32, %ax\n mov %ax, %ss\n mov $0xe000, %esp\n push $0x1234\n mov %esp, %ebx\n mov (%esp), %cx\n call "
     "1f\n 1: pop "
     "%dx\n sub $0x1000, %dx\n mov $0xe100, %ebp\n mov $0x4321, %ax\n mov %ax, (%ebp)\n leave\n mov %esp, %edi");
CODE(strings, "mov $0xfffc, %si\n mov $0x10, %di\n mov $8, %cx\n rep movsb\n mov %es:0x14, %eax\n mov $0x12340100, "
	      "%edi\n mov $4, %cx\n rep "
	      "stosl\n mov %es:0x100, %ebx");
CODE(strings_32, "mov $0x100, %esi\n mov $0x200, %edi\n mov $4, %ecx\n addr32 rep movsl\n mov %es:0x20c, %eax\n std\n "
		 "mov $4, %cx\n rep "
		 "lodsb\n cld");
CODE(loops, "mov $0x10003, %ecx\n 1: inc %ax\n loop 1b\n mov $0x10000, %ebx\n mov %ebx, %ecx\n jcxz 2f\n inc %dx\n 2: "
	    "jecxz 3f\n inc %si\n 3:");
CODE(jump_tables, "movw $1f - jump_tables + 0x1000, 0x40\n movl $2f - jump_tables + 0x1000, 0x44\n jmp *0x40\n inc "
		  "%ax\n 1: mov $0x44, %bx\n jmpl "
		  "*(%bx)\n inc %cx\n 2: mov $0x1234, %dx");
CODE(flags, "pushf\n pop %ax\n pushfl\n popl %ebx\n push $0x7fd7 - 0x100\n popf\n pushf\n pop %cx\n pushl $0x3f7ed7 - "
	    "0x20000\n popfl\n pushfl\n "
	    "popl %edx\n push $2\n popf");
CODE(bound_into, "movl $0x00050001, 0x10\n mov $3, %ax\n bound %ax, 0x10\n mov $0x7fff, %bx\n inc %bx\n into");
CODE(looks, "mov $data16, %bx\n lar %bx, %eax\n mov $0xffff, %cx\n lsl %bx, %cx\n lsl %ebx, %edx\n verw %bx\n setz "
	    "%bl\n arpl %bx, %bx\n sldt "
	    "%si\n str %edi");
CODE(x87_env, "fninit\n fld1\n fnstenv 0x40\n mov 0x40, %ax\n mov 0x42, %bx\n mov 0x44, %cx\n mov 0x4e, %dx\n mov "
	      "0x4d, %si\n fnsave 0x80\n fninit\n "
	      "frstor 0x80\n fstps 0x30\n mov 0x30, %edi");

static const struct row operand_table[] = {
    ROW(moves),		 ROW(wide_address), ROW(address_16_forms),
    ROW(stack_forms),	 ROW(stack_wrap),   ROW(stack_frame),
    ROW(calls),		 ROW(far_calls),    ROW(far_calls_32),
    ROW(to_32_and_back), ROW(jump_32),	    ROW(conforming),
    ROW(load_pointers),	 ROW(lss_32),	    ROW(stack_32_in_16),
    ROW(strings),	 ROW(strings_32),   ROW(loops),
    ROW(jump_tables),	 ROW(flags),	    ROW(bound_into),
    ROW(looks),		 ROW(x87_env),
};

/* ---- 16-bit gates ---- */

CODE(int_99, "mov $0x12345678, %ebp\n int $99\n mov $0x7777, %si");
CODE(call_gate, "push $0x1111\n push $0x2222\n lcall $call16, $0\n mov %sp, %di");
CODE(call_gate_32, "pushl $0x1111\n pushl $0x2222\n lcalll $call32, $0\n mov %sp, %di");
/* The handlers, at HANDLER in the code segment: note the stack, and return. */
FRAGMENT16(handler_iret, "mov %esp, %ebp\n mov %ss:(%ebp), %ax\n sub $0x1000, %ax\n mov %ss:2(%ebp), %bx\n mov "
			 "%ss:4(%ebp), %cx\n mov %ss:6(%ebp), "
			 "%dx\n mov %ss:8(%ebp), %di\n pushf\n pop %bp\n iret");
FRAGMENT16(handler_note, "mov %esp, %ebp\n mov %ss:(%ebp), %ax\n sub $0x1000, %ax\n mov %ss:2(%ebp), %bx\n mov "
			 "%ss:4(%ebp), %cx\n mov %ss:6(%ebp), "
			 "%dx\n mov %ss:8(%ebp), %di\n mov %ss, %si\n int $0x80");
FRAGMENT16(handler_lret, "mov %esp, %ebp\n mov %ss:4(%ebp), %ax\n mov %ss:6(%ebp), %bx\n mov %ss:8(%ebp), %cx\n mov "
			 "%ss:10(%ebp), %dx\n lret $4");
FRAGMENT16(
    handler_lret32,
    "mov %esp, %ebp\n mov %ss:8(%ebp), %ax\n mov %ss:12(%ebp), %bx\n mov %ss:16(%ebp), %cx\n mov %ss:20(%ebp), %dx\n "
    "lretl $8");

static void handler(const uint8_t *code, const uint8_t *end)
{
	copy_bytes((void *)(REAL_LINEAR + HANDLER), code, (word)(end - code));
}
#define HANDLE(name) handler(name, name##_end)

static void gates(const char *prefix)
{
	static const struct row with_int = ROW(int_99), with_call = ROW(call_gate), with_call_32 = ROW(call_gate_32);
	struct gate saved = idt[99];

	fact_prefix = prefix;
	idt[99] = gate(HANDLER, KERNEL_CODE16, GATE16 | GATE_DPL3, 0);
	HANDLE(handler_note);
	run_flags = FLAG_IF | 2;
	run16("int_note", &with_int, STACK16, 0xf000);
	HANDLE(handler_iret);
	run16("int_iret", &with_int, STACK16, 0xf000);
	run16("int_iret_32", &with_int, STACK32, 0xf000);
	idt[99] = gate(HANDLER, KERNEL_CODE16, TRAP16 | GATE_DPL3, 0);
	run16("trap_iret", &with_int, STACK16, 0xf000);
	run_flags = RUN_FLAGS_NONE;
	idt[99] = gate(HANDLER, KERNEL_CODE16, GATE_INTERRUPT | GATE_DPL3, 0); /* a 32-bit gate to 16-bit code */
	HANDLE(handler_note);
	run16("int32_note", &with_int, STACK16, 0xf000);
	idt[99] = gate(HANDLER, KERNEL_CODE16, GATE16, 0);
	run16("int_dpl", &with_int, STACK16, 0xf000);
	idt[99] = saved;
	gdt_set(CALL16, gate(HANDLER, KERNEL_CODE16, CALL_GATE16 | GATE_DPL3, 2).low);
	HANDLE(handler_note);
	run16("call_note", &with_call, STACK16, 0xf000);
	HANDLE(handler_lret);
	run16("call_lret", &with_call, STACK16, 0xf000);
	gdt_set(CALL32, gate(HANDLER, KERNEL_CODE16, GATE_CALL | GATE_DPL3, 2).low);
	HANDLE(handler_lret32);
	run16("call32_lret", &with_call_32, STACK16, 0xf000);
	gdt_set(CALL16, gate(HANDLER, KERNEL_CODE16, CALL_GATE16, 2).low);
	run16("call_dpl", &with_call, STACK16, 0xf000);
	gdt_set(CALL16, gate(HANDLER, KERNEL_CODE16, (CALL_GATE16 | GATE_DPL3) & ~0x80u, 2).low);
	run16("call_absent", &with_call, STACK16, 0xf000);
	fact_prefix = "";
}

/* An exception with an error code through a 16-bit gate. */
CODE(bad_selector, "mov $0x1f80, %ax\n mov %ax, %es");

static void error_code(void)
{
	static const struct row row = ROW(bad_selector);
	struct gate saved = idt[13];

	idt[13] = gate(HANDLER, KERNEL_CODE16, GATE16, 0);
	HANDLE(handler_note);
	run16("error16", &row, STACK16, 0xf000);
	idt[13] = saved;
}

/* ---- ring 0 ---- */

FRAGMENT(kernel_call16, "lcall $0x80, $0x80\n mov %esp, %ecx");
FRAGMENT16(kernel_lret,
	   "mov %ss:(%esp), %ebx\n mov %ss:4(%esp), %dx\n smsw %si\n mov %cs, %di\n pushfl\n popl %ebp\n lretl");
FRAGMENT(kernel_int, "int $99");
FRAGMENT(kernel_stack16, "mov %esp, %ebp\n mov %ss, %ebx\n mov $0x88, %eax\n mov %eax, %ss\n mov $0x1234e000, %esp\n "
			 "push $0x77\n mov %esp, %ecx\n"
			 "int $99\n mov %esp, %edx\n mov %ebx, %ss\n mov %ebp, %esp");
FRAGMENT16(kernel_iret16, "mov %esp, %esi\n iret");

static void kernel(void)
{
	struct gate saved = idt[99];

	HANDLE(kernel_lret);
	run(kernel_call16);
	fact("kernel.call.vector", trap.vector);
	fact("kernel.call.ip", regs.bx - (word)kernel_call16);
	fact("kernel.call.cs", regs.dx);
	fact("kernel.call.si", regs.si);
	fact("kernel.call.di", regs.di);
	fact("kernel.call.depth", resume_sp - regs.cx);
	/* The frame's IP has 16 bits: the code is reached through a base, so that it returns. */
	HANDLE(kernel_iret16);
	idt[99] = gate(HANDLER, KERNEL_CODE16, GATE_INTERRUPT, 0);
	copy_bytes((void *)(REAL_LINEAR + HANDLER), "\x89\xe6\x66\xcf", 4); /* mov %sp, %si; iretl */
	run(kernel_stack16);
	fact("kernel.stack16.vector", trap.vector);
	fact("kernel.stack16.cx", regs.cx);
	fact("kernel.stack16.dx", regs.dx);
	fact("kernel.stack16.si", regs.si & 0xffff);
	idt[99] = saved;
}

/* ---- a 16-bit TSS gives the inner stack ---- */

static struct {
	uint16_t link, sp0, ss0, rest[19];
} __attribute__((packed)) tss16 = {.sp0 = 0xd000, .ss0 = KERNEL_STACK16};
FRAGMENT(load_tr, "ltr %ax\n str %ecx");

static void stacks_of_16(void)
{
	static const struct row in_port = ROW(int_99);

	gdt_set(TSS16, descriptor((word)&tss16, sizeof(tss16) - 1, 0x81, 0));
	regs.ax = TSS16;
	run(load_tr);
	fact("tss16.tr", regs.cx);
	fact("tss16.type", gdt[TSS16 >> 3] >> 40 & 0xff);
	gates("tss16.");
	run16("tss16.plain", &in_port, STACK16, 0xf000);
	gdt_set(TSS_SELECTOR, descriptor((uint32_t)(word)&tss, sizeof(tss) - 1, 0x89, 0));
	regs.ax = TSS_SELECTOR;
	run(load_tr);
}

void guest_main(void)
{
	real_start();
	gdt_set(CODE16, descriptor(REAL_LINEAR, 0xffff, 0xfb, 0));
	gdt_set(DATA16, descriptor(REAL_DATA_SEGMENT << 4, 0xffff, 0xf3, 0));
	gdt_set(EXTRA16, descriptor(REAL_EXTRA_SEGMENT << 4, 0xffff, 0xf3, 0));
	gdt_set(STACK16, descriptor(REAL_STACK_SEGMENT << 4, 0xffff, 0xf3, 0));
	gdt_set(STACK32, descriptor(REAL_STACK_SEGMENT << 4, 0xffff, 0xf3, 4));
	gdt_set(CODE32, descriptor(REAL_LINEAR, 0xffff, 0xfb, 4));
	gdt_set(KERNEL_CODE16, descriptor(REAL_LINEAR, 0xffff, 0x9b, 0));
	gdt_set(KERNEL_STACK16, descriptor(0, 0xffff, 0x93, 0));
	gdt_set(CONFORMING16, descriptor(REAL_LINEAR, 0xffff, 0x9f, 0));
	idt[0xfe] = gate(trap_stub(0xfe), KERNEL_CODE, GATE_INTERRUPT | GATE_DPL3, 0);
	trap_hook = leave_stack;
	RUN(operand_table);
	tss.stack[0].ss = KERNEL_DATA;
	gates("tss32.");
	/* A 16-bit inner stack. */
	tss.stack[0].ss = KERNEL_STACK16;
	tss.stack[0].esp = 0xc000;
	gates("stack16.");
	error_code();
	stacks_of_16();
	tss.stack[0].ss = KERNEL_DATA;
	tss.stack[0].esp = (word)trap_stack_top;
	kernel();
}
