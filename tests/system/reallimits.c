/* SPDX-License-Identifier: MIT */
/* Segment limits in real mode: #GP and #SS without error code, wrap-around of addresses. QEMU's translator has none. */
#include "real.h"

/* ---- limits ---- */

FRAGMENT16(limit_byte, "movb 0xffff, %al\n movb $0x99, 0xffff\n xor %bx, %bx\n movb -1(%bx), %cl");
FRAGMENT16(limit_word, "nop\n movw 0xffff, %ax");
FRAGMENT16(limit_write, "nop\n movw %ax, 0xffff");
FRAGMENT16(limit_dword, "nop\n mov $0xfffd, %bx\n addl $1, (%bx)");
FRAGMENT16(limit_stack, "nop\n mov $0xffff, %bp\n movw (%bp), %ax");
FRAGMENT16(limit_ss, "nop\n movw %ss:0xffff, %ax");
FRAGMENT16(limit_32, "mov $0x10000, %ebx\n movb (%ebx), %al");
FRAGMENT16(limit_32_inside, "mov $0xfffe, %ebx\n movw (%ebx), %ax\n mov 1(%bx), %cl");
FRAGMENT16(limit_32_minus, "mov $-1, %ebx\n movb (%ebx), %al");
FRAGMENT16(limit_esp, "mov $0x1effe, %ebp\n movw (%ebp), %ax");
FRAGMENT16(limit_wrap, "mov $0xfff0, %bx\n mov $0x18, %si\n movw $0x7654, (%bx,%si)\n movw 0x28(%bx), %ax");
FRAGMENT16(limit_sse, "nop\n movups 0xfff1, %xmm0");
FRAGMENT16(limit_x87, "nop\n fldt 0xfff7");
FRAGMENT16(push_all_wrap, "mov $6, %sp\n pusha\n mov %sp, %bx");
FRAGMENT16(push_all_odd, "mov $11, %sp\n pusha\n mov %sp, %bx");
FRAGMENT16(iret_out, "pushf\n push %cs\n pushf\n push %cs\n pushl $0x11020\n iretl");
FRAGMENT16(movs_limit, "mov $0xfffb, %si\n mov $0x10, %di\n mov $4, %cx\n rep movsw");
FRAGMENT16(movs_32_limit, "mov $0xfff8, %esi\n mov $0x20, %edi\n mov $0x4, %ecx\n addr32 rep movsl");
FRAGMENT16(no_pg, "mov %cr0, %eax\n btr $0, %eax\n bts $31, %eax\n mov %eax, %cr0");
FRAGMENT16(limit_code, "nop\n mov %cs:0xffff, %ax");
FRAGMENT16(push_zero, "xor %sp, %sp\n mov $0x1234, %ax\n push %ax\n mov %sp, %bx\n pop %cx");
FRAGMENT16(pop_top, "mov $0xfffe, %sp\n pop %ax\n mov %sp, %bx\n mov $0xf000, %sp");
FRAGMENT16(push_dword_2, "mov $0x12340002, %esp\n pushl %eax");
FRAGMENT16(pop_dword_top, "mov $0xfffe, %sp\n popl %eax");
FRAGMENT16(jump_out, "nop\n .byte 0x66, 0xe9\n .long 0x10000");
FRAGMENT16(jump_indirect, "mov $0x12345, %eax\n jmpl *%eax");
FRAGMENT16(jump_wraps, "mov $0x2000, %ax\n jmp 1f - 0x10000\n mov $1, %ax\n 1:");
FRAGMENT16(call_out, "mov $0x10000, %eax\n calll *%eax");
FRAGMENT16(far_out, "ljmpl $0x2000, $0x10000");
FRAGMENT16(ret_out, "pushl $0x10000\n retl");
FRAGMENT16(fall_off, "movb $0x90, %cs:0xffff\n movb $0x90, %cs:0xfffe\n mov $0xfffe, %ax\n jmp *%ax");
FRAGMENT16(straddle, "movb $0xb0, %cs:0xffff\n mov $0xffff, %ax\n jmp *%ax");
FRAGMENT16(
    loop_wraps,
    "mov $2, %cx\n movb $0xe2, %cs:0xf000\n movb $0, %cs:0xf001\n movb $0xcd, %cs:0xf002\n movb $0xfe, %cs:0xf003\n"
    "mov $0xf000, %ax\n jmp *%ax");

#define ROW(name)                                                                                                      \
	{                                                                                                              \
#name, name, name##_end                                                                                \
	}

static void limits(void)
{
	static const struct {
		const char *name;
		const uint8_t *code, *end;
	} table[] = {
	    ROW(limit_byte),	ROW(limit_word), ROW(limit_write),     ROW(limit_dword),    ROW(limit_stack),
	    ROW(limit_ss),	ROW(limit_32),	 ROW(limit_32_inside), ROW(limit_32_minus), ROW(limit_esp),
	    ROW(limit_wrap),	ROW(limit_sse),	 ROW(limit_x87),       ROW(limit_code),	    ROW(push_all_wrap),
	    ROW(push_all_odd),	ROW(iret_out),	 ROW(movs_limit),      ROW(movs_32_limit),  ROW(no_pg),
	    ROW(push_zero),	ROW(pop_top),	 ROW(push_dword_2),    ROW(pop_dword_top),  ROW(jump_out),
	    ROW(jump_indirect), ROW(jump_wraps), ROW(call_out),	       ROW(far_out),	    ROW(ret_out),
	    ROW(fall_off),	ROW(straddle),	 ROW(loop_wraps),
	};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		fill_bytes(real_data(0), 0x5a, 0x10000);
		real_extra(0)[0] = 0x66;
		real_probe(table[i].name, table[i].code, table[i].end);
		fact_of(table[i].name, "ax", real_regs.ax);
		fact_of(table[i].name, "bx", real_regs.bx);
		fact_of(table[i].name, "cx", real_regs.cx);
		fact_of(table[i].name, "top", real_data(0)[0xffff]);
		real_regs_clear();
	}
	fact("limit_wrap.low", *(uint16_t *)(void *)real_data(8));
}

void guest_main(void)
{
	real_start();
	limits();
}
