/* SPDX-License-Identifier: MIT */
/*
 * Limits of segments from 16-bit code: expand-down of both sizes and granularities, small segments, stacks at their
 * edges, code at the end of its segment. QEMU's translator has no limits.
 */
#include "real.h"

#define CODE16 0x50
#define DATA16 0x58
#define DOWN16 0x60
#define DOWN32 0x68
#define DOWN_PAGES 0x70
#define SMALL 0x78
#define STACK16 0x80
#define STACK_DOWN16 0x88
#define STACK_DOWN32 0x90
#define STACK_SMALL 0x98
#define READ_ONLY_DOWN 0xa0
#define SMALL_CODE 0xa8
#define CODE_ONLY 0xb0

__asm__("data16 = 0x5b\n down16 = 0x63\n down32 = 0x6b\n down_pages = 0x73\n small = 0x7b\n stack16 = 0x83\n"
	"stack_down16 = 0x8b\n stack_down32 = 0x93\n stack_small = 0x9b\n read_only_down = 0xa3\n code_only = 0xb3\n");

struct row {
	const char *name;
	const uint8_t *code, *end;
};
#define ROW(name)                                                                                                      \
	{                                                                                                              \
#name, name, name##_end                                                                                \
	}

#define DS(name) "mov $" #name ", %bx\n mov %bx, %ds\n"
FRAGMENT16(down16_first, DS(down16) "movb 0x1000, %al\n movw 0xfffe, %cx");
FRAGMENT16(down16_below, DS(down16) "movb 0xfff, %al");
FRAGMENT16(down16_across, DS(down16) "movw 0xfff, %ax");
FRAGMENT16(down16_top, DS(down16) "movw 0xffff, %ax");
FRAGMENT16(down16_beyond, DS(down16) "mov $0x10000, %esi\n movb (%esi), %al");
FRAGMENT16(down16_write, DS(down16) "movb $1, 0xfff");
FRAGMENT16(down32_first, DS(down32) "movb 0x1000, %al\n movw 0xffff, %cx\n mov $0x10010, %esi\n movw (%esi), %dx");
FRAGMENT16(down32_below, DS(down32) "movw 0xfff, %ax");
FRAGMENT16(down32_top, DS(down32) "mov $-1, %esi\n movw (%esi), %ax");
FRAGMENT16(pages_first, DS(down_pages) "mov $0x3000, %esi\n movb (%esi), %al");
FRAGMENT16(pages_below, DS(down_pages) "mov $0x2fff, %esi\n movb (%esi), %al");
FRAGMENT16(down_read_only, DS(read_only_down) "movb 0x1000, %al\n movb %al, 0x1000");
FRAGMENT16(small_edge, DS(small) "movb 0x7f, %al\n movw 0x7e, %cx\n movl 0x7c, %edx\n movw 0x7f, %ax");
FRAGMENT16(small_write, DS(small) "movl %eax, 0x7c\n movl %eax, 0x7d");
FRAGMENT16(small_add, DS(small) "incw 0x7f");
FRAGMENT16(small_string, DS(small) "mov %bx, %es\n cld\n mov $0x70, %si\n mov $0x60, %di\n mov $0x20, %cx\n rep movsb");
FRAGMENT16(small_string_down,
	   DS(small) "mov %bx, %es\n std\n mov $0x7f, %si\n mov $0x80, %di\n mov $4, %cx\n rep movsb");
FRAGMENT16(down_string,
	   DS(down16) "mov %bx, %es\n std\n mov $0x1010, %si\n mov $0x1004, %di\n mov $0x20, %cx\n rep movsb");
FRAGMENT16(small_far, DS(small) "lds 0x7d, %ax");
FRAGMENT16(small_bound, DS(small) "bound %ax, 0x7d");
FRAGMENT16(small_sse, DS(small) "movups 0x70, %xmm0\n movups 0x71, %xmm0");
FRAGMENT16(small_x87, DS(small) "fninit\n fldl 0x78\n fldl 0x79");
FRAGMENT16(small_cmpxchg, DS(small) "cmpxchg8b 0x78\n lock cmpxchg8b 0x79");
FRAGMENT16(null_read, "xor %bx, %bx\n mov %bx, %ds\n mov 0, %al");
FRAGMENT16(null_string, "xor %bx, %bx\n mov %bx, %ds\n mov $1, %cx\n rep lodsb");
FRAGMENT16(null_string_none, "xor %bx, %bx\n mov %bx, %ds\n xor %cx, %cx\n rep lodsb");
FRAGMENT16(code_only_load, "mov $code_only, %bx\n mov %bx, %ds");
FRAGMENT16(code_write, "mov %cs:0, %ax\n mov %ax, %cs:0");

static const struct row data_table[] = {
    ROW(down16_first),	   ROW(down16_below),	   ROW(down16_across), ROW(down16_top),	 ROW(down16_beyond),
    ROW(down16_write),	   ROW(down32_first),	   ROW(down32_below),  ROW(down32_top),	 ROW(pages_first),
    ROW(pages_below),	   ROW(down_read_only),	   ROW(small_edge),    ROW(small_write), ROW(small_add),
    ROW(small_string),	   ROW(small_string_down), ROW(down_string),   ROW(small_far),	 ROW(small_bound),
    ROW(small_sse),	   ROW(small_x87),	   ROW(small_cmpxchg), ROW(null_read),	 ROW(null_string),
    ROW(null_string_none), ROW(code_only_load),	   ROW(code_write),
};

FRAGMENT16(push_16, "push %ax\n mov %sp, %bx");
FRAGMENT16(push_32, "pushl %eax\n mov %sp, %bx");
FRAGMENT16(pop_16, "pop %ax\n mov %sp, %bx");
FRAGMENT16(call_near, "call 1f\n 1: mov %sp, %bx");
FRAGMENT16(call_far, "lcall $0x53, $0x1005\n mov %sp, %bx");
FRAGMENT16(ret_near, "ret");
FRAGMENT16(ret_far, "lret");
FRAGMENT16(enter_frame, "mov $0x7777, %bp\n enter $8, $0\n mov %sp, %bx");
FRAGMENT16(push_all, "pusha\n mov %sp, %bx");
FRAGMENT16(pop_all, "popa\n mov %sp, %bx");
FRAGMENT16(by_bp, "mov %sp, %bp\n mov (%bp), %ax\n mov -2(%bp), %bx");
FRAGMENT16(by_esp, "mov (%esp), %ax");
FRAGMENT16(push_memory, "mov $data16, %bx\n mov %bx, %ds\n push 0x10\n pop 0x20");
FRAGMENT16(push_flags, "pushf\n mov %sp, %bx");

static const struct row stack_table[] = {
    ROW(push_16),     ROW(push_32),  ROW(pop_16),  ROW(call_near), ROW(call_far), ROW(ret_near),    ROW(ret_far),
    ROW(enter_frame), ROW(push_all), ROW(pop_all), ROW(by_bp),	   ROW(by_esp),	  ROW(push_memory), ROW(push_flags),
};

static void run16(const char *group, const struct row *row, unsigned ss, word sp)
{
	copy_bytes((void *)(REAL_LINEAR + REAL_FRAGMENT), row->code, (word)(row->end - row->code));
	regs = (struct regs){0};
	run_at(CODE16 | 3, REAL_FRAGMENT, ss | 3, sp);
	fact_of(group, "vector", trap.vector);
	if (trap.error != 0x7777)
		fact_of(group, "error", trap.error);
	fact_of(group, "ip", trap.ip - REAL_FRAGMENT);
	fact_of(group, "sp", trap.sp & 0xffff);
	fact_of(group, "ax", regs.ax);
	fact_of(group, "bx", regs.bx);
	fact_of(group, "cx", regs.cx);
	fact_of(group, "si", regs.si);
	fact_of(group, "di", regs.di);
}

static void fill(void)
{
	for (unsigned k = 0; k < 0x10000; k++) {
		real_data(0)[k] = (uint8_t)(k * 5);
		((uint8_t *)(REAL_STACK_SEGMENT << 4))[k] = 0;
	}
}

static void stacks(const char *prefix, unsigned ss, word sp)
{
	fact_prefix = prefix;
	for (unsigned i = 0; i < sizeof(stack_table) / sizeof(stack_table[0]); i++) {
		fill();
		run16(stack_table[i].name, &stack_table[i], ss, sp);
	}
	fact_prefix = "";
}

/* ---- code at the end of its segment ---- */

static void code_end(const char *name, const char *bytes, unsigned size, word ip)
{
	uint8_t *end = (uint8_t *)REAL_LINEAR + 0x1080;

	fill_bytes(end - 16, 0x90, 32);
	copy_bytes(end - size, bytes, size);
	regs = (struct regs){0};
	run_at(SMALL_CODE | 3, ip, STACK16 | 3, 0xf000);
	fact_of(name, "vector", trap.vector);
	fact_of(name, "error", trap.error);
	fact_of(name, "ip", trap.ip);
	fact_of(name, "ax", regs.ax);
}

void guest_main(void)
{
	uint32_t data = REAL_DATA_SEGMENT << 4, stack = REAL_STACK_SEGMENT << 4;

	real_start();
	gdt_set(CODE16, descriptor(REAL_LINEAR, 0xffff, 0xfb, 0));
	gdt_set(DATA16, descriptor(data, 0xffff, 0xf3, 0));
	gdt_set(DOWN16, descriptor(data, 0xfff, 0xf7, 0));
	gdt_set(DOWN32, descriptor(data, 0xfff, 0xf7, 4));
	gdt_set(DOWN_PAGES, descriptor(data, 2, 0xf7, 0xc));
	gdt_set(SMALL, descriptor(data, 0x7f, 0xf3, 0));
	gdt_set(STACK16, descriptor(stack, 0xffff, 0xf3, 0));
	gdt_set(STACK_DOWN16, descriptor(stack, 0xfff, 0xf7, 0));
	gdt_set(STACK_DOWN32, descriptor(stack, 0xfff, 0xf7, 4));
	gdt_set(STACK_SMALL, descriptor(stack, 0x7ff, 0xf3, 0));
	gdt_set(READ_ONLY_DOWN, descriptor(data, 0xfff, 0xf5, 0));
	gdt_set(SMALL_CODE, descriptor(REAL_LINEAR + 0x1000, 0x7f, 0xfb, 0));
	gdt_set(CODE_ONLY, descriptor(data, 0xffff, 0xf9, 0));
	idt[0xfe] = gate(trap_stub(0xfe), KERNEL_CODE, GATE_INTERRUPT | GATE_DPL3, 0);
	for (unsigned i = 0; i < sizeof(data_table) / sizeof(data_table[0]); i++) {
		fill();
		run16(data_table[i].name, &data_table[i], STACK16, 0xf000);
	}
	stacks("down16.bottom.", STACK_DOWN16, 0x1000);
	stacks("down16.above.", STACK_DOWN16, 0x1002);
	stacks("down16.top.", STACK_DOWN16, 0xfffe);
	stacks("down16.zero.", STACK_DOWN16, 0);
	stacks("down32.bottom.", STACK_DOWN32, 0x1000);
	stacks("down32.above.", STACK_DOWN32, 0x1004);
	stacks("small.top.", STACK_SMALL, 0x800);
	stacks("small.top_odd.", STACK_SMALL, 0x7ff);
	stacks("small.beyond.", STACK_SMALL, 0x802);
	stacks("small.zero.", STACK_SMALL, 0);
	code_end("code.inside", "\xb0\x11\xcd\xfe", 4, 0x7c);
	code_end("code.falls", "\xb0\x12", 2, 0x7e);
	code_end("code.straddles", "\xb0", 1, 0x7f);
	code_end("code.jump", "\xeb\x10", 2, 0x7e);
	code_end("code.jump_back", "\xeb\xfe", 2, 0x80);
	code_end("code.call", "\xe8\x10\x00", 3, 0x7d);
	code_end("code.jump_taken_not", "\x75\x10", 2, 0x7e);
	code_end("code.loop", "\xe2\x10", 2, 0x7e);
}
