/* SPDX-License-Identifier: MIT */
/* What the topics about hardware task switches share: task states, their tables, a note of what a task finds. */
#ifndef TASK_H
#define TASK_H

#include "guest.h"

#define TASK (FREE_SELECTOR + 0x00)
#define TASK_GATE (FREE_SELECTOR + 0x08)
#define SECOND (FREE_SELECTOR + 0x10)
#define CODE16 (FREE_SELECTOR + 0x18)
#define LDT (FREE_SELECTOR + 0x20)
#define ODD (FREE_SELECTOR + 0x28) /* what a test makes of it */
#define OUTSIDE 0x1f80
#define TSS_32 0x89
#define TSS_16 0x81

struct tss32 {
	uint32_t link, esp0, ss0, rest[4], cr3, eip, eflags, gpr[8], segment[6], ldt;
	uint16_t trap, io_map;
} __attribute__((packed));

struct tss16 {
	uint16_t link, sp0, ss0, rest[4], ip, flags, gpr[8], segment[4], ldt;
} __attribute__((packed));

static struct tss32 task __attribute__((aligned(256))), second __attribute__((aligned(256)));
static struct tss16 task16 __attribute__((aligned(256)));
static uint32_t seen[24] __attribute__((used));
static uint8_t task_stack[3][4096] __attribute__((aligned(16)));
static uint64_t ldt[2] __attribute__((aligned(8)));

static struct {
	uint32_t ip;
	uint16_t selector;
} __attribute__((packed)) far __attribute__((used));

#define NOTE                                                                                                           \
	"mov %eax, seen\n mov %ecx, seen + 4\n mov %edx, seen + 8\n mov %ebx, seen + 12\n mov %esp, seen + 16\n"       \
	"mov %ebp, seen + 20\n mov %esi, seen + 24\n mov %edi, seen + 28\n pushfl\n popl seen + 32\n"                  \
	"str %eax\n mov %eax, seen + 36\n mov %cr0, %eax\n mov %eax, seen + 40\n mov %cs, %eax\n mov %eax, seen + "    \
	"44\n"                                                                                                         \
	"mov %ss, %eax\n mov %eax, seen + 48\n mov %ds, %eax\n mov %eax, seen + 52\n mov %es, %eax\n"                  \
	"mov %eax, seen + 56\n mov %fs, %eax\n mov %eax, seen + 60\n mov %gs, %eax\n mov %eax, seen + 64\n"            \
	"sldt %eax\n mov %eax, seen + 68\n mov %dr7, %eax\n mov %eax, seen + 76\n mov seen, %eax\n"

FRAGMENT(far_call, "lcall *far");
FRAGMENT(far_jump, "ljmp *far\n nop");
FRAGMENT(int_99, "int $99");
FRAGMENT(iret_nt, "pushfl\n orl $0x4000, (%esp)\n popfl\n iretl");
FRAGMENT(bad_es, "mov %eax, %es\n nop");
FRAGMENT(do_ud2, "ud2");
FRAGMENT(clear_ts, "clts");
FRAGMENT(load_tr, "ltr %ax");
FRAGMENT(load_ldt, "lldt %ax");
FRAGMENT(end_here, "int $0x80");
FRAGMENT(note_iret, NOTE "iretl\n int $0x80");
FRAGMENT(note_jump_back, NOTE "ljmp $0x38, $0\n int $0x80");
FRAGMENT(note_call_second, NOTE "lcall $0x60, $0\n iretl\n int $0x80");
FRAGMENT(second_iret, "str %eax\n mov %eax, seen + 84\n mov second, %eax\n mov %eax, seen + 88\n iretl\n int $0x80");
/* A handler of #GP: takes the error code and returns behind the faulting instruction of two bytes. */
FRAGMENT(note_error, "popl seen + 80\n" NOTE "addl $2, tss + 32\n xor %eax, %eax\n iretl\n int $0x80");
FRAGMENT(note_error16, "xor %eax, %eax\n pop %ax\n mov %eax, seen + 80\n addl $2, tss + 32\n xor %eax, %eax\n iretl");

static inline unsigned type_of(unsigned selector)
{
	return (unsigned)(gdt[selector >> 3] >> 40) & 15;
}

/* Addresses as distances from what is the same for all three. */
static inline word placed(word value, code_function *code)
{
	if (value - (word)code < 256)
		return 0x1000 + value - (word)code;
	if (value - (word)task_stack < sizeof(task_stack))
		return 0x20000 + value - (word)task_stack;
	if (resume_sp - value < 64)
		return 0x3000 + resume_sp - value;
	return value;
}

/* Back in the first task after whatever happened. */
static inline void tasks_reset(void)
{
	gdt_set(TSS_SELECTOR, descriptor((uint32_t)(word)&tss, sizeof(tss) - 1, TSS_32, 0));
	regs = (struct regs){.ax = TSS_SELECTOR};
	run(load_tr);
	regs.ax = 0;
	run(load_ldt);
	run(clear_ts);
	write_dr7(0x400);
	write_dr6(0xffff0ff0);
	tss.link = 0;
	tss.trap = 0;
	gdt_set(TASK, descriptor((uint32_t)(word)&task, sizeof(task) - 1, TSS_32, 0));
	gdt_set(SECOND, descriptor((uint32_t)(word)&second, sizeof(second) - 1, TSS_32, 0));
	gdt_set(CODE16, descriptor(0, 0xfffff, 0x9b, 0x8));
	gdt_set(LDT, descriptor((uint32_t)(word)ldt, sizeof(ldt) - 1, 0x82, 0));
	gdt_set(TASK_GATE, gate(0, TASK, GATE_TASK, 0).low);
	fill_bytes(seen, 0xee, sizeof(seen));
	regs = (struct regs){.ax = 0xa1a1a1a1,
			     .cx = 0xc1c1c1c1,
			     .dx = 0xd1d1d1d1,
			     .bx = 0xb1b1b1b1,
			     .bp = 0xb2b2b2b2,
			     .si = 0x51515151,
			     .di = 0xd2d2d2d2};
}

static inline void task_make(struct tss32 *made, code_function *code, uint8_t *stack)
{
	*made = (struct tss32){.link = 0xdeadbeef,
			       .esp0 = (word)trap_stack_top - 4096,
			       .ss0 = KERNEL_DATA,
			       .cr3 = read_cr3(),
			       .eip = (word)code,
			       .eflags = 0x8d7 & ~FLAG_TF,
			       .gpr = {0x10, 0x11, 0x12, 0x13, (word)stack + 4096, 0x15, 0x16, 0x17},
			       .segment = {KERNEL_DATA, KERNEL_CODE, KERNEL_DATA, KERNEL_DATA, KERNEL_DATA, USER_DATA},
			       .io_map = sizeof(*made)};
}

/* A 16-bit instruction pointer reaches the code by its segment's base. */
static inline void task16_make(code_function *code)
{
	task16 = (struct tss16){.link = 0xdead,
				.sp0 = 0xfff0,
				.ss0 = KERNEL_DATA,
				.ip = 0,
				.flags = 0x8d7 & ~FLAG_TF,
				.gpr = {0x8010, 0x8011, 0x8012, 0x8013, 0x1000, 0x8015, 0x8016, 0x8017},
				.segment = {KERNEL_DATA, CODE16, ODD, KERNEL_DATA}};
	gdt_set(CODE16, descriptor((uint32_t)(word)code, 0xfff, 0x9b, 0x4));
	gdt_set(ODD, descriptor((uint32_t)(word)task_stack[0], 0xffff, 0x93, 0));
	gdt_set(TASK, descriptor((uint32_t)(word)&task16, sizeof(task16) - 1, TSS_16, 0));
}

#endif
