/* SPDX-License-Identifier: MIT */
/*
 * The gate of address line 20, by port 92h and by the keyboard controller: data, code and strings above 1 MiB seen
 * through it, in real mode and with 32-bit addresses, while it opens and shuts.
 */
#include "real.h"

#define HIGH 0x10ff00 /* FFFF:FF10 */
#define LOW 0x00ff00

__asm__(".macro a20_92 on\n in $0x92, %al\n and $0xfc, %al\n .if \\on\n or $2, %al\n .endif\n out %al, $0x92\n .endm\n"
	".macro a20_wait\n 9: in $0x64, %al\n test $2, %al\n jnz 9b\n .endm\n"
	".macro a20_64 value\n a20_wait\n mov $0xd1, %al\n out %al, $0x64\n a20_wait\n mov $\\value, %al\n out %al, "
	"$0x60\n a20_wait\n mov $0xff, %al\n out "
	"%al, $0x64\n a20_wait\n .endm\n");

#define OFF "a20_92 0\n"
#define ON "a20_92 1\n"
#define OFF64 "a20_64 0xdd\n"
#define ON64 "a20_64 0xdf\n"
#define TOP "mov $0xffff, %ax\n mov %ax, %es\n"

FRAGMENT16(read_through,
	   TOP "mov %es:0xff10, %bx\n" OFF "mov %es:0xff10, %cx\n in $0x92, %al\n and $2, %al\n mov %al, %dl\n" ON
	       "mov %es:0xff10, %si\n in $0x92, %al\n"
	       "and $2, %al\n mov %al, %dh");
FRAGMENT16(write_through,
	   TOP OFF "movw $0x7777, %es:0xff12\n incw %es:0xff14\n" ON
		   "movw $0x6666, %es:0xff16\n xor %bx, %bx\n mov %bx, %ds\n mov 0xff02, %bx\n mov 0xff06, %cx");
FRAGMENT16(read_64, TOP "mov %es:0xff10, %bx\n" OFF64 "mov %es:0xff10, %cx\n" ON64 "mov %es:0xff10, %si");
FRAGMENT16(call_through,
	   "xor %cx, %cx\n mov $3, %cx\n 1: lcall $0xffff, $0xff30\n" OFF "lcall $0xffff, $0xff30\n" ON "loop 1b");
FRAGMENT16(call_64, "mov $3, %cx\n 1: lcall $0xffff, $0xff30\n" OFF64 "lcall $0xffff, $0xff30\n" ON64 "loop 1b");
FRAGMENT16(strings_through, TOP OFF "mov $0xfef0, %di\n mov $0x20, %cx\n mov $0x5a, %al\n rep stosb\n" ON
				    "mov $0xfef0, %si\n mov $0x20, %cx\n xor %bx, %bx\n 1: .byte 0x26, 0xac\n add %al, "
				    "%bl\n adc $0, %bh\n loop 1b");
/* 32-bit addresses: every odd megabyte is the even one below it. */
FRAGMENT16(
    flat,
    "lgdtl 0x10\n mov %cr0, %eax\n or $1, %al\n mov %eax, %cr0\n mov $0x10, %bx\n mov %bx, %fs\n and $0xfe, %al\n mov "
    "%eax, %cr0\n mov $0x2300500, %esi\n"
    "mov %fs:(%esi), %ebx\n" OFF
    "mov %fs:(%esi), %ecx\n sub $0x100000, %esi\n mov %fs:(%esi), %edx\n movl $0x44444444, %fs:0x100004(%esi)\n" ON
    "mov %fs:4(%esi), %edi");

static void bytes_set(word at, uint32_t value)
{
	*(volatile uint32_t *)at = value;
}

static void prepare(void)
{
	static const uint8_t add_low[] = {0x43, 0xcb},
			     add_high[] = {0x83, 0xc3, 0x10, 0xcb}; /* inc %bx; add $16, %bx; lret */

	for (unsigned i = 0; i < 0x20; i += 4) {
		bytes_set(LOW + i, 0x10101010 + i);
		bytes_set(HIGH + i, 0x20202020 + i);
	}
	copy_bytes((void *)(LOW + 0x20), add_low, sizeof(add_low));
	copy_bytes((void *)(HIGH + 0x20), add_high, sizeof(add_high));
	bytes_set(0x2200500, 0x22222222);
	bytes_set(0x2200504, 0);
	bytes_set(0x2300500, 0x23232323);
	bytes_set(0x2300504, 0);
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) pointer = {sizeof(gdt) - 1, (word)gdt};
	copy_bytes(real_data(0x10), &pointer, sizeof(pointer));
}

static uint8_t saved[0x100];

void guest_main(void)
{
	static const struct {
		const char *name;
		const uint8_t *code, *end;
	} table[] = {
#define ROW(name) {#name, name, name##_end}
	    ROW(read_through), ROW(write_through),   ROW(read_64), ROW(call_through),
	    ROW(call_64),      ROW(strings_through), ROW(flat),
	};

	real_start();
	for (unsigned turn = 0; turn < 2; turn++) {
		fact_prefix = turn ? "again." : "";
		for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
			copy_bytes(saved, (void *)HIGH, sizeof(saved)); /* it may be ours */
			prepare();
			real_run_bytes(table[i].code, table[i].end);
			copy_bytes((void *)HIGH, saved, sizeof(saved));
			fact_of(table[i].name, "vector", real_regs.vector);
			fact_of(table[i].name, "bx", real_regs.bx);
			fact_of(table[i].name, "cx", real_regs.cx);
			fact_of(table[i].name, "dx", real_regs.dx);
			fact_of(table[i].name, "si", real_regs.si);
			fact_of(table[i].name, "di", real_regs.di);
			fact_of(table[i].name, "low", *(uint32_t *)(LOW + 4));
			real_regs_clear();
		}
	}
}
