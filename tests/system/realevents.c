/* SPDX-License-Identifier: MIT */
/*
 * Interrupts, single steps and breakpoints in real and virtual-8086 mode, and code that changes there: written over,
 * run through two segments, lying across pages. QEMU 7.2 crashes over an instruction breakpoint in real mode.
 */
#include "real.h"

#define TIMER_VECTOR 0x20
#define HANDLER 0x100 /* in the fragment */
#define COUNT 0x10    /* in DS */
#define LOG 0x100     /* in ES */
#define LOG_SIZE 48

struct row {
	const char *name;
	const uint8_t *code, *end;
};
#define ROW(name)                                                                                                      \
	{                                                                                                              \
#name, name, name##_end                                                                                \
	}

/* ---- the timer ---- */

static void timer_start(unsigned mode, unsigned count)
{
	outb(0x43, (uint8_t)(0x30 | mode << 1));
	outb(0x40, (uint8_t)count);
	outb(0x40, (uint8_t)(count >> 8));
	outb(0x21, 0xfe);
}

static void timer_stop(void)
{
	outb(0x21, 0xff);
	outb(0x43, 0x30); /* mode 0, never loaded: its output stays low */
	outb(0x20, 0x20);
	outb(0x20, 0x0a);
}

/* Waits until the timer's request stands at the controller. */
static void timer_await(void)
{
	outb(0x20, 0x0a);
	while (!(inb(0x20) & 1))
		;
}

/* Counts, notes the interrupted IP and flags, ends the interrupt. */
#define COUNTING(name)                                                                                                 \
	"int $0xfe\n .org " #name " + 0x100\n push %bp\n mov %sp, %bp\n push %ax\n incw 0x10\n mov 2(%bp), %ax\n sub " \
	"$0x1000, %ax\n mov %ax, 0x12\n"                                                                               \
	"mov 6(%bp), %ax\n mov %ax, 0x14\n mov $0x20, %al\n outb %al, $0x20\n pop %ax\n pop %bp\n iret\n"

FRAGMENT16(irq_loop, "sti\n 1: cmpw $0, 0x10\n je 1b\n cli\n" COUNTING(irq_loop));
FRAGMENT16(irq_halt, "sti\n hlt\n mov $0x77, %bx\n cli\n" COUNTING(irq_halt));
FRAGMENT16(irq_loop_insn,
	   "sti\n 2: mov $0x100, %cx\n 1: loop 1b\n cmpw $0, 0x10\n je 2b\n cli\n" COUNTING(irq_loop_insn));
FRAGMENT16(irq_jump_self,
	   "sti\n movw $1f - irq_jump_self + 0x1000, 0x20\n 1: cmpw $0, 0x10\n jne 2f\n jmp *0x20\n 2: cli\n" COUNTING(
	       irq_jump_self));
FRAGMENT16(irq_shadow, "sti\n cli\n mov 0x10, %bx\n sti\n nop\n cli\n mov 0x10, %cx\n" COUNTING(irq_shadow));
FRAGMENT16(irq_shadow_ss,
	   "mov %ss, %ax\n sti\n nop\n mov %ax, %ss\n mov $0xe000, %sp\n nop\n cli\n" COUNTING(irq_shadow_ss));
FRAGMENT16(irq_popf, "pushf\n pop %ax\n or $0x200, %ax\n push %ax\n popf\n nop\n cli\n" COUNTING(irq_popf));
FRAGMENT16(irq_iret, "pushf\n pop %ax\n or $0x200, %ax\n push %ax\n push %cs\n push $0x1010\n iret\n .org irq_iret + "
		     "0x10\n nop\n cli\n" COUNTING(irq_iret));
/* Long string instructions with the timer running: what they leave must be whole. */
FRAGMENT16(irq_strings,
	   "sti\n cld\n 1: xor %si, %si\n xor %di, %di\n mov $0x7000, %cx\n addw $0x400, %di\n rep movsw\n mov %di, "
	   "%bx\n mov %si, %dx\n xor %di, %di\n "
	   "mov $0x400, %cx\n mov $0x5a, %al\n rep stosb\n cmpw $3, 0x10\n jb 1b\n cli\n" COUNTING(irq_strings));

static void irqs(void)
{
	static const struct row waiting[] = {ROW(irq_loop), ROW(irq_halt), ROW(irq_loop_insn), ROW(irq_jump_self)};
	static const struct row pending[] = {ROW(irq_shadow), ROW(irq_shadow_ss), ROW(irq_popf), ROW(irq_iret)};

	real_vector_set(TIMER_VECTOR, REAL_SEGMENT, REAL_FRAGMENT + HANDLER);
	for (unsigned i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
		fill_bytes(real_data(0), 0, 0x100);
		timer_start(0, 2000);
		real_probe(waiting[i].name, waiting[i].code, waiting[i].end);
		fact_of(waiting[i].name, "count", *real_data(COUNT));
		fact_of(waiting[i].name, "bx", real_regs.bx);
		timer_stop();
		real_regs_clear();
	}
	for (unsigned i = 0; i < sizeof(pending) / sizeof(pending[0]); i++) {
		fill_bytes(real_data(0), 0, 0x100);
		timer_start(0, 100);
		timer_await();
		real_probe(pending[i].name, pending[i].code, pending[i].end);
		fact_of(pending[i].name, "count", *real_data(COUNT));
		fact_of(pending[i].name, "at", *(uint16_t *)(void *)real_data(COUNT + 2));
		fact_of(pending[i].name, "saved_flags", *(uint16_t *)(void *)real_data(COUNT + 4));
		fact_of(pending[i].name, "bx", real_regs.bx);
		fact_of(pending[i].name, "cx", real_regs.cx);
		timer_stop();
		real_regs_clear();
	}
	for (unsigned k = 0; k < 0x10000; k++)
		real_data(0)[k] = (uint8_t)(k * 7 + (k >> 8));
	*(uint16_t *)(void *)real_data(COUNT) = 0;
	timer_start(2, 1200);
	PROBE("irq_strings", irq_strings);
	timer_stop();
	bool whole = true;
	for (unsigned k = 0x1000; k < 0xe400; k++)
		whole = whole && real_extra(0)[k] == real_data(0)[k - 0x400];
	check("irq_strings.whole", whole);
	fact("irq_strings.bx", real_regs.bx);
	fact("irq_strings.dx", real_regs.dx);
	real_regs_clear();
}

/* ---- single steps and breakpoints ---- */

/* Logs IP and the low half of DR6 in ES:LOG on. */
#define LOGGING(name)                                                                                                  \
	"int $0xfe\n .org " #name " + 0x100\n push %bp\n mov %sp, %bp\n push %eax\n push %di\n mov %cs:0xffc, %di\n "  \
	"mov 2(%bp), %ax\n sub $0x1000, %ax\n"                                                                         \
	"mov %ax, %es:(%di)\n mov %dr6, %eax\n mov %ax, %es:2(%di)\n mov $0xffff0ff0, %eax\n mov %eax, %dr6\n addw "   \
	"$4, %cs:0xffc\n pop %di\n pop %eax\n "                                                                        \
	"pop %bp\n iret\n"
#define TF_ON "pushf\n pop %ax\n or $0x100, %ax\n push %ax\n popf\n"
#define TF_OFF "pushf\n pop %ax\n and $0xfeff, %ax\n push %ax\n popf\n"

FRAGMENT16(step_plain, TF_ON
	   "nop\n mov $3, %cx\n 1: inc %bx\n loop 1b\n jmp 2f\n nop\n 2: call 3f\n jmp 4f\n 3: ret\n 4:" TF_OFF LOGGING(
	       step_plain));
FRAGMENT16(step_string,
	   TF_ON "mov $3, %cx\n xor %si, %si\n mov $0x80, %di\n rep movsb\n nop\n" TF_OFF LOGGING(step_string));
FRAGMENT16(step_segments, TF_ON
	   "mov %ss, %bx\n mov %bx, %ss\n nop\n push %ss\n pop %ss\n nop\n mov %ds, %bx\n mov %bx, %ds\n nop\n" TF_OFF
	       LOGGING(step_segments));
FRAGMENT16(step_int, TF_ON "int $0x45\n nop\n" TF_OFF LOGGING(step_int));
FRAGMENT16(
    step_far, TF_ON
    "ljmp $0x2100, $0x20\n .org step_far + 0x20\n nop\n ljmp $0x2000, $0x1030\n .org step_far + 0x30\n nop\n" TF_OFF
	LOGGING(step_far));
FRAGMENT16(break_data, "mov $0x30020, %eax\n mov %eax, %dr0\n mov $0x50402, %eax\n mov %eax, %dr7\n movb $1, 0x1f\n "
		       "movb $1, 0x20\n movw $1, 0x21\n movb $1, "
		       "0x22\n mov 0x20, %bl\n mov $0x1f, %di\n push %es\n push %ds\n pop %es\n mov $4, %cx\n rep "
		       "stosb\n pop %es\n nop\n xor %eax, %eax\n mov "
		       "%eax, %dr7\n" LOGGING(break_data));
/* 16-bit frames hold no RF: the handler does not go back. */
FRAGMENT16(break_code, "mov $0x21040, %eax\n mov %eax, %dr1\n mov $0x404, %eax\n mov %eax, %dr7\n jmp 1f\n .org "
		       "break_code + 0x40\n 1: nop\n int $0xfe\n .org break_code + "
		       "0x100\n xor %eax, %eax\n mov %eax, %dr7\n mov %dr6, %eax\n mov %sp, %bp\n mov (%bp), %bx");

static void log_facts(const char *group)
{
	unsigned end = *(volatile uint16_t *)(REAL_LINEAR + 0xffc), count = (end - LOG) / 4;

	fact_of(group, "count", count);
	for (unsigned i = 0; i < count && i < LOG_SIZE; i++) {
		char name[3] = {(char)('a' + i / 10), (char)('0' + i % 10), 0};
		fact_of(group, name, *(uint32_t *)(void *)real_extra(LOG + i * 4));
	}
}

static void traps(void)
{
	static const struct row table[] = {ROW(step_plain), ROW(step_string), ROW(step_segments), ROW(step_int),
					   ROW(step_far),   ROW(break_data),  ROW(break_code)};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		real_vector_set(1, REAL_SEGMENT, REAL_FRAGMENT + HANDLER);
		real_vector_set(0x45, 0x5000, 0xf800);
		*(volatile uint8_t *)(0x50000 + 0xf800) = 0xcf; /* IRET */
		*(volatile uint16_t *)(REAL_LINEAR + 0xffc) = LOG;
		fill_bytes(real_data(0), 0, 0x200);
		fill_bytes(real_extra(0), 0, 0x400);
		write_dr6(0xffff0ff0);
		real_probe(table[i].name, table[i].code, table[i].end);
		log_facts(table[i].name);
		fact_of(table[i].name, "ax", real_regs.ax);
		fact_of(table[i].name, "bx", real_regs.bx);
		write_dr7(0x400);
		real_regs_clear();
	}
}

/* ---- virtual-8086 mode ---- */

static unsigned seen_count;
static word seen_ip[LOG_SIZE], seen_flags;

static bool events_hook(struct frame *frame)
{
	if (frame->vector == TIMER_VECTOR) {
		seen_count++;
		seen_flags = frame->flags;
		*(volatile uint16_t *)(word)real_data(COUNT) += 1;
		outb(0x20, 0x20);
		return true;
	}
	if (frame->vector == 1 && seen_count < LOG_SIZE) {
		seen_ip[seen_count++] = (frame->ip - REAL_FRAGMENT) << 16 | (read_dr6() & 0xffff);
		write_dr6(0xffff0ff0);
		return true;
	}
	return false;
}

FRAGMENT16(v86_wait, "1: cmpw $0, 0x10\n je 1b\n mov $5, %bx\n hlt");
FRAGMENT16(v86_strings, "1: xor %di, %di\n mov $0x7fff, %cx\n rep stosw\n cmpw $3, 0x10\n jb 1b\n mov %di, %bx\n hlt");
FRAGMENT16(v86_step, "mov $2, %cx\n 1: inc %bx\n loop 1b\n mov $3, %cx\n rep lodsb\n mov %ss, %dx\n mov %dx, %ss\n "
		     "nop\n lcall $0x2100, $0x30\n nop\n hlt\n .org "
		     "v86_step + 0x30\n lret");
FRAGMENT16(v86_data, "movw $1, 0x20\n movw $1, 0x22\n mov 0x20, %ax\n nop\n hlt");

static void virtual(const char *group, const uint8_t *code, const uint8_t *end, uint32_t flags)
{
	seen_count = 0;
	fill_bytes(real_data(0), 0, 0x100);
	v86_run_bytes(code, end, flags);
	fact_of(group, "vector", trap.vector);
	fact_of(group, "ip", trap.ip - REAL_FRAGMENT);
	fact_of(group, "flags", trap.flags & ~(FLAG_RF | 0x8d5));
	fact_of(group, "bx", regs.bx);
	real_regs_clear();
}

static void steps_facts(const char *group)
{
	fact_of(group, "count", seen_count);
	for (unsigned i = 0; i < seen_count; i++) {
		char name[3] = {(char)('a' + i / 10), (char)('0' + i % 10), 0};
		fact_of(group, name, seen_ip[i]);
	}
}

static void in_v86(void)
{
	trap_hook = events_hook;
	timer_start(0, 2000);
	virtual("v86.wait", v86_wait, v86_wait_end, FLAG_IF);
	fact("v86.wait.count", seen_count);
	fact("v86.wait.saved_flags", seen_flags & ~(FLAG_RF | 0x8d5));
	timer_stop();
	timer_start(2, 1200);
	virtual("v86.strings", v86_strings, v86_strings_end, FLAG_IF);
	check("v86.strings.count", seen_count >= 3);
	timer_stop();
	virtual("v86.step", v86_step, v86_step_end, FLAG_TF);
	steps_facts("v86.step");
	write_dr0(0x30020);
	write_dr7(0x50401);
	virtual("v86.data", v86_data, v86_data_end, 0);
	steps_facts("v86.data");
	write_dr0(0x21003);
	write_dr7(0x401);
	virtual("v86.break", v86_step, v86_step_end, 0);
	steps_facts("v86.break");
	write_dr7(0x400);
	trap_hook = NULL;
}

/* ---- code that changes, and code seen through several segments ---- */

FRAGMENT16(patch_ahead,
	   "movb $0x42, %cs:0x1010\n jmp 1f\n .org patch_ahead + 0x0f\n 1: .byte 0xb3, 0x11\n"); /* mov $0x42, %bl */
FRAGMENT16(patch_loop, "mov $5, %cx\n xor %bx, %bx\n 1: mov $1, %al\n add %al, %bl\n incb %cs:(2f - patch_loop + "
		       "0x1001)\n 2: mov $0x10, %al\n add %al, %bh\n loop 1b");
FRAGMENT16(patch_other, "mov $0x4000, %ax\n mov %ax, %es\n movl $0xcb11b3, %es:0\n lcall $0x4000, $0\n mov %bl, %cl\n "
			"movb $0x22, %es:1\n lcall $0x4000, $0\n mov %bl, "
			"%ch\n movb $0x33, %es:1\n lcall $0x3ff0, $0x100\n mov %bl, %dl");
FRAGMENT16(two_segments, "lcall $0x2000, $0x1080\n mov %bx, %cx\n lcall $0x2100, $0x80\n mov %bx, %dx\n lcall $0x2108, "
			 "$0\n mov %bx, %si\n int $0xfe\n .org two_segments + "
			 "0x80\n call 1f\n 1: pop %bx\n lret");
/* An instruction across a page, from segments that are not aligned to pages. */
FRAGMENT16(across_pages, "mov $0x4000, %ax\n mov %ax, %es\n movl $0x5678b866, %es:0xffd\n movl $0x90cb1234, "
			 "%es:0x1001\n lcall $0x4000, $0xffd\n mov %eax, %ebx\n movb $0x99, "
			 "%es:0x1000\n lcall $0x40ff, $0xd\n mov %eax, %ecx\n movb $0x77, %es:0xfff\n lcall $0x3fff, "
			 "$0x100d\n mov %eax, %edx");

/* The same bytes through more than four thousand segments, twice. */
FRAGMENT16(many_segments, "xor %bx, %bx\n mov $2, %di\n 2: mov $0x1108, %dx\n 1: inc %dx\n mov $0x108, %cx\n sub %dx, "
			  "%cx\n add $0x2000, %cx\n shl $4, %cx\n movw %cx, 0x10\n mov "
			  "%dx, 0x12\n lcall *0x10\n cmp $0x2108, %dx\n jne 1b\n dec %di\n jnz 2b\n int $0xfe\n .org "
			  "many_segments + 0x80\n call 1f\n 1: pop %ax\n add %ax, "
			  "%bx\n incw 0x20\n lret");

static void code(void)
{
	static const struct row table[] = {ROW(patch_ahead),  ROW(patch_loop),	 ROW(patch_other),
					   ROW(two_segments), ROW(across_pages), ROW(many_segments)};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		for (unsigned turn = 0; turn < 3; turn++) {
			char name[24];
			unsigned length = 0;
			for (const char *c = table[i].name; *c; c++)
				name[length++] = *c;
			name[length++] = '.';
			name[length++] = (char)('0' + turn);
			name[length] = 0;
			real_probe(name, table[i].code, table[i].end);
			fact_of(name, "ax", real_regs.ax);
			fact_of(name, "bx", real_regs.bx);
			fact_of(name, "cx", real_regs.cx);
			fact_of(name, "dx", real_regs.dx);
			fact_of(name, "si", real_regs.si);
			real_regs_clear();
		}
	}
}

void guest_main(void)
{
	real_start();
	irqs();
	traps();
	in_v86();
	code();
}
