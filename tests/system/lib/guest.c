/* SPDX-License-Identifier: MIT */
#include "guest.h"

uint64_t gdt[GDT_ENTRIES] __attribute__((aligned(16)));
struct gate idt[256] __attribute__((aligned(16)));
struct tss tss __attribute__((aligned(4096)));
struct regs regs;
struct trap trap;
trap_hook_function *trap_hook;
word run_flags = RUN_FLAGS_NONE;

extern char trap_stubs[];
extern word run_code, iret_frame[5];
void run_inside(void);
void run_by_iret(void);
__attribute__((noreturn)) void trap_resume(void);
void trap_entry(struct frame *frame);
void guest_start(void);

/* ---- facts ---- */

#define COM1 0x3f8
#define LINE_STATUS_EMPTY 0x20

static void print_char(char c)
{
	while (!(inb(COM1 + 5) & LINE_STATUS_EMPTY))
		;
	outb(COM1, (uint8_t)c);
}

void print(const char *text)
{
	while (*text)
		print_char(*text++);
}

static void print_hex(uint64_t value)
{
	char digits[17];
	unsigned i = 16;

	digits[16] = 0;
	do {
		digits[--i] = "0123456789abcdef"[value & 15];
		value >>= 4;
	} while (value);
	print("0x");
	print(digits + i);
}

const char *fact_prefix = "";

void fact(const char *name, uint64_t value)
{
	print(fact_prefix);
	print(name);
	print(" ");
	print_hex(value);
	print("\n");
}

void fact_of(const char *group, const char *name, uint64_t value)
{
	print(fact_prefix);
	print(group);
	print(".");
	print(name);
	print(" ");
	print_hex(value);
	print("\n");
}

void check(const char *name, bool holds)
{
	print(fact_prefix);
	print(name);
	print(holds ? " ok\n" : " BAD\n");
}

void absent(const char *group)
{
	print("absent ");
	print(fact_prefix);
	print(group);
	print("\n");
}

static void serial_start(void)
{
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 0x80);
	outb(COM1, 1); /* 115,200 baud */
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 3); /* 8N1 */
	outb(COM1 + 2, 7); /* FIFOs on and empty */
	outb(COM1 + 4, 3);
}

void print_flush(void)
{
	while (!(inb(COM1 + 5) & 0x40)) /* transmitter empty: Bochs would lose the last characters */
		;
}

/* isa-debug-exit ends nfold and QEMU, the word at port 8900h ends Bochs. */
void finish(void)
{
	const char *word_of_bochs = "Shutdown";

	print("END\n");
	print_flush();
	outb(0xf4, 0);
	while (*word_of_bochs)
		outb(0x8900, (uint8_t)*word_of_bochs++);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* ---- tables ---- */

uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
	return (limit & 0xffffull) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
	       (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

void gdt_set(unsigned selector, uint64_t value)
{
	gdt[selector >> 3] = value;
}

struct gate gate(word target, unsigned selector, unsigned type, unsigned ist)
{
	struct gate result = {0};

	result.low = (target & 0xffff) | (uint64_t)selector << 16 | (uint64_t)ist << 32 | (uint64_t)type << 40 |
		     (uint64_t)(target >> 16 & 0xffff) << 48;
#ifdef __x86_64__
	result.high = target >> 32;
#endif
	return result;
}

word trap_stub(unsigned vector)
{
	return (word)trap_stubs + vector * 16;
}

static void load_tables(void)
{
	struct {
		uint16_t limit;
		word base;
	} __attribute__((packed)) pointer;

	pointer.limit = sizeof(gdt) - 1;
	pointer.base = (word)gdt;
	__asm__ volatile("lgdt %0" : : "m"(pointer));
	pointer.limit = sizeof(idt) - 1;
	pointer.base = (word)idt;
	__asm__ volatile("lidt %0" : : "m"(pointer));
	__asm__ volatile("ltr %w0" : : "r"(TSS_SELECTOR));
	__asm__ volatile("lldt %w0" : : "r"(0)); /* reset leaves one at address 0 (SDM 3A, table 9-1) */
}

static void tables_start(void)
{
	gdt_set(KERNEL_CODE, descriptor(0, 0xfffff, 0x9b, IS64 ? 0xa : 0xc));
	gdt_set(KERNEL_DATA, descriptor(0, 0xfffff, 0x93, 0xc));
	gdt_set(USER_CODE32, descriptor(0, 0xfffff, 0xfb, 0xc));
	gdt_set(USER_DATA, descriptor(0, 0xfffff, 0xf3, 0xc));
	gdt_set(USER_CODE64, descriptor(0, 0xfffff, 0xfb, IS64 ? 0xa : 0xc));
	gdt_set(KERNEL_CODE32, descriptor(0, 0xfffff, 0x9b, 0xc));
	gdt_set(TSS_SELECTOR, descriptor((uint32_t)(word)&tss, sizeof(tss) - 1, 0x89, 0));
	for (unsigned vector = 0; vector < 256; vector++) {
		bool for_users = vector == 3 || vector == 4 || vector == 0x80;
		unsigned type = GATE_INTERRUPT | (for_users ? GATE_DPL3 : 0);
		idt[vector] = gate(trap_stub(vector), KERNEL_CODE, type, IS64 ? 1 : 0);
	}
#ifdef __x86_64__
	tss.rsp[0] = (word)trap_stack_top;
	tss.ist[0] = (word)ist_stack_top;
#else
	tss.stack[0].esp = (word)trap_stack_top;
	tss.stack[0].ss = KERNEL_DATA;
#endif
	tss.io_map = sizeof(tss);
	load_tables();
}

/* ---- traps ---- */

static void regs_take(const struct frame *frame)
{
	regs.ax = frame->ax;
	regs.cx = frame->cx;
	regs.dx = frame->dx;
	regs.bx = frame->bx;
	regs.bp = frame->bp;
	regs.si = frame->si;
	regs.di = frame->di;
#ifdef __x86_64__
	regs.r8 = frame->r8;
	regs.r9 = frame->r9;
	regs.r10 = frame->r10;
	regs.r11 = frame->r11;
	regs.r12 = frame->r12;
	regs.r13 = frame->r13;
	regs.r14 = frame->r14;
	regs.r15 = frame->r15;
#endif
}

static void trap_take(const struct frame *frame)
{
	bool has_stack = IS64 || (frame->cs & 3);

	trap.vector = frame->vector;
	trap.error = frame->error;
	trap.ip = frame->ip;
	trap.cs = frame->cs & 0xffff; /* the upper half of a pushed selector is not defined */
	trap.flags = frame->flags;
	trap.sp = has_stack ? frame->sp : (word)&frame->sp;
	trap.ss = has_stack ? frame->ss & 0xffff : KERNEL_DATA;
	trap.cr2 = read_cr2();
	trap.handler_sp = (word)&frame->vector;
	trap.count++;
	regs.sp = trap.sp;
	regs_take(frame);
}

void trap_entry(struct frame *frame)
{
	if (trap_hook && trap_hook(frame))
		return;
	trap_take(frame);
	if (frame->vector == 0x80 && frame->ip - (word)user_return <= 2)
		trap.vector = NO_TRAP;
	trap_resume();
}

static void trap_clear(void)
{
	trap = (struct trap){.vector = NO_TRAP};
}

void run(code_function *code)
{
	trap_clear();
	run_code = (word)code;
	run_inside();
}

void run_at(unsigned cs, word ip, unsigned ss, word sp)
{
	trap_clear();
	iret_frame[0] = ip;
	iret_frame[1] = cs;
	iret_frame[2] = run_flags;
	iret_frame[3] = sp;
	iret_frame[4] = ss;
	run_by_iret();
}

void run_user(code_function *code)
{
	word *stack = (word *)user_stack_top - 1;

	*stack = (word)user_return;
	run_at(USER_CODE, (word)code, USER_DATA, (word)stack);
}

void trap_facts(const char *group, code_function *code)
{
	fact_of(group, "vector", trap.vector);
	if (trap.vector == NO_TRAP)
		return;
	if (trap.error != 0x7777)
		fact_of(group, "error", trap.error);
	fact_of(group, "ip", trap.ip - (word)code);
	if (trap.vector == 14)
		fact_of(group, "cr2", trap.cr2);
}

void probe(const char *group, code_function *code)
{
	run(code);
	trap_facts(group, code);
}

void probe_user(const char *group, code_function *code)
{
	run_user(code);
	trap_facts(group, code);
}

static void outcome_fact(const char *name)
{
	fact(name, trap.vector == NO_TRAP ? NO_TRAP : trap.vector << 16 | trap.error);
}

void outcome(const char *name, code_function *code)
{
	run(code);
	outcome_fact(name);
}

void outcome_user(const char *name, code_function *code)
{
	run_user(code);
	outcome_fact(name);
}

/* ---- the processor ---- */

struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid result;
	__asm__ volatile("cpuid"
			 : "=a"(result.eax), "=b"(result.ebx), "=c"(result.ecx), "=d"(result.edx)
			 : "a"(leaf), "c"(subleaf));
	return result;
}

static uint32_t cpu_feature_word(unsigned index)
{
	if (index < 2) {
		struct cpuid one = cpuid(1, 0);
		return index ? one.edx : one.ecx;
	}
	if (index < 4) {
		if (cpuid(0, 0).eax < 7)
			return 0;
		struct cpuid seven = cpuid(7, 0);
		return index == 2 ? seven.ebx : seven.ecx;
	}
	if (index < 6) {
		struct cpuid extended = cpuid(0x80000001, 0);
		return index == 4 ? extended.ecx : extended.edx;
	}
	return cpuid(0, 0).eax < 13 ? 0 : cpuid(13, 1).eax;
}

bool cpu_has(unsigned bit)
{
	return cpu_feature_word(bit / 32) >> (bit & 31) & 1;
}

void copy_bytes(void *to, const void *from, word size)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

void fill_bytes(void *to, uint8_t value, word size)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
}

/* The compiler may call these. */
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
void *memcpy(void *to, const void *from, size_t size)
{
	copy_bytes(to, from, size);
	return to;
}
void *memset(void *to, int value, size_t size)
{
	fill_bytes(to, (uint8_t)value, size);
	return to;
}

/* ---- start ---- */

void pic_start(void)
{
	outb(0x20, 0x11);
	outb(0x21, 0x20);
	outb(0x21, 4);
	outb(0x21, 1);
	outb(0xa0, 0x11);
	outb(0xa1, 0x28);
	outb(0xa1, 2);
	outb(0xa1, 1);
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
}

void guest_start(void)
{
	serial_start();
	tables_start();
	pic_start();
	guest_main();
	finish();
}
