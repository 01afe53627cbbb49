/* SPDX-License-Identifier: MIT */
/*
 * Real mode: interrupts and returns through the vector table, far transfers, stacks,
 * string instructions, what does not exist there. Limits are in reallimits.c.
 */
#include "real.h"

/* ---- registers and segments ---- */

FRAGMENT16(segments,
	   "mov $0x1234, %ax\n mov %ax, %es\n mov %es, %bx\n mov %es, %ecx\n push %es\n pop %dx\n"
	   "mov $0x3001, %ax\n mov %ax, %fs\n mov %fs:0x10, %si\n mov $0xffff, %ax\n mov %ax, %gs\n mov %gs, %di");
FRAGMENT16(seg_push32, "movl $0xaaaaaaaa, %ss:0xeffc\n pushl %es\n mov %sp, %ax\n popl %ebx\n pushl $0x76543210\n popl "
		       "%fs\n mov %fs, %cx");
FRAGMENT16(
    load_far,
    "movl $0x55667788, 0x20\n movl $0x99aabbcc, 0x24\n lds 0x20, %bx\n mov %ds, %ax\n mov $0x3000, %cx\n"
    "mov %cx, %ds\n lesl 0x21, %edx\n mov %es, %si\n lss 0x20, %di\n mov %ss, %bp\n mov $0x5000, %cx\n mov %cx, %ss");
FRAGMENT16(wide, "mov $0x12345678, %eax\n mov $0x9abcdef0, %ebx\n add %eax, %ebx\n mov %ebx, 0x40\n mov 0x41, %cx\n"
		 "inc %bx\n bswap %ebx\n movzwl %bx, %edx\n cwtl\n cwtd");
FRAGMENT16(high_address, "mov $0xffff, %ax\n mov %ax, %es\n mov %es:0x20, %bx\n movw $0x4242, %es:0x30");
FRAGMENT16(address32, "mov $0x50, %esi\n movl $0x11223344, (%esi)\n mov $8, %ecx\n mov 0x30(%ecx,%ecx,2), %eax\n"
		      "lea 0x12345678(%eax), %bx\n lea -1, %edx\n leal -1(%bx), %edi");

static void basics(void)
{
	fill_bytes(real_data(0), 0x5a, 4096);
	real_data(0)[0x20] = 0x21;
	PROBE("segments", segments);
	fact("segments.bx", real_regs.bx);
	fact("segments.cx", real_regs.cx);
	fact("segments.dx", real_regs.dx);
	fact("segments.si", real_regs.si);
	fact("segments.di", real_regs.di);
	fact("segments.gs", real_regs.gs);
	real_regs_clear();
	PROBE("seg_push32", seg_push32);
	fact("seg_push32.ax", real_regs.ax);
	fact("seg_push32.bx", real_regs.bx & 0xffff);
	fact("seg_push32.cx", real_regs.cx);
	real_regs_clear();
	PROBE("load_far", load_far);
	fact("load_far.bx", real_regs.bx);
	fact("load_far.ax", real_regs.ax);
	fact("load_far.dx", real_regs.dx);
	fact("load_far.si", real_regs.si);
	fact("load_far.di", real_regs.di);
	fact("load_far.bp", real_regs.bp);
	real_regs_clear();
	PROBE("wide", wide);
	fact("wide.ax", real_regs.ax);
	fact("wide.bx", real_regs.bx);
	fact("wide.cx", real_regs.cx);
	fact("wide.dx", real_regs.dx);
	real_regs_clear();
	*(volatile uint16_t *)0x100010 = 0x77aa; /* FFFF:0020, with A20 on */
	uint16_t saved = *(volatile uint16_t *)0x100020;
	PROBE("high_address", high_address);
	fact("high_address.bx", real_regs.bx);
	fact("high_address.written", *(volatile uint16_t *)0x100020);
	*(volatile uint16_t *)0x100020 = saved;
	real_regs_clear();
	PROBE("address32", address32);
	fact("address32.ax", real_regs.ax);
	fact("address32.bx", real_regs.bx);
	fact("address32.dx", real_regs.dx);
	fact("address32.di", real_regs.di);
	real_regs_clear();
}

/* ---- interrupts ---- */

FRAGMENT16(int_plain, "mov $0x3fd7, %ax\n push %ax\n popf\n int $0x45");
FRAGMENT16(int_three, "int3");
FRAGMENT16(int_cc2, "int $3");
FRAGMENT16(int_one, ".byte 0xf1");
FRAGMENT16(into_taken, "mov $0x7fff, %ax\n inc %ax\n into");
FRAGMENT16(into_not, "xor %ax, %ax\n into");
FRAGMENT16(divide, "xor %bx, %bx\n div %bx");
FRAGMENT16(divide_big, "mov $2, %dx\n mov $1, %bx\n idiv %bx");
FRAGMENT16(bound_bad, "movl $0x00050001, 0x10\n mov $6, %ax\n bound %ax, 0x10");
FRAGMENT16(bound_good, "movl $0x0005ffff, 0x10\n mov $-1, %ax\n bound %ax, 0x10\n movl $-4, 0x10\n movl $7, 0x14\n"
		       "movl $7, %ebx\n boundl %ebx, 0x10");
FRAGMENT16(undefined, "ud2");
FRAGMENT16(single_step, "pushf\n pop %ax\n or $0x100, %ax\n push %ax\n popf\n nop\n nop");
FRAGMENT16(iret_simple,
	   "pushf\n push %cs\n push $0x1020\n mov $0x77, %ax\n iret\n .org iret_simple + 0x20\n mov %sp, %bx");
FRAGMENT16(iret_flags,
	   "push $0x7fd7 - 0x100\n push %cs\n push $0x1020\n iret\n .org iret_flags + 0x20\n pushf\n pop %bx");
FRAGMENT16(iret_32,
	   "pushl $0x247fd7 - 0x100\n pushl %cs\n pushl $0x1030\n iretl\n .org iret_32 + 0x30\n pushfl\n pop %ebx");
FRAGMENT16(popf_32, "pushl $0x3f7ed7\n popfl\n pushfl\n popl %ebx\n pushfl\n popl %ecx\n push $2\n popf");
FRAGMENT16(nt_iret, "pushf\n pop %ax\n or $0x4000, %ax\n push %ax\n push %cs\n push $0x1020\n iret\n .org nt_iret + "
		    "0x20\n pushf\n pop %bx");

#define ROW(name)                                                                                                      \
	{                                                                                                              \
#name, name, name##_end                                                                                \
	}

static void interrupts(void)
{
	static const struct {
		const char *name;
		const uint8_t *code, *end;
	} table[] = {
	    ROW(int_plain),   ROW(int_three),  ROW(int_cc2),   ROW(int_one),	ROW(into_taken), ROW(into_not),
	    ROW(divide),      ROW(divide_big), ROW(bound_bad), ROW(bound_good), ROW(undefined),	 ROW(single_step),
	    ROW(iret_simple), ROW(iret_flags), ROW(iret_32),   ROW(popf_32),	ROW(nt_iret),
	};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		real_probe(table[i].name, table[i].code, table[i].end);
		fact_of(table[i].name, "ax", real_regs.ax);
		fact_of(table[i].name, "bx", real_regs.bx);
		fact_of(table[i].name, "cx", real_regs.cx);
		fact_of(table[i].name, "handler_flags", real_regs.handler_flags);
		real_regs_clear();
	}
}

/* A handler of the guest's own, and the frame it finds; a table elsewhere, and one that is too short. */
FRAGMENT16(own_handler,
	   "int $0x46\n mov %sp, %si\n int $0xfe\n .org own_handler + 0x20\n mov %sp, %bp\n movw (%bp), %ax\n"
	   "movw 2(%bp), %bx\n movw 4(%bp), %cx\n pushf\n pop %dx\n iret");
FRAGMENT16(moved_table, "lidt 0x10\n sidt 0x18\n int $2\n lidtl %cs:0x1040\n int $0xfe\n .org moved_table + 0x20\n"
			"mov $0x4321, %bx\n iret\n .org moved_table + 0x40\n .word 0x3ff\n .long 0");
FRAGMENT16(short_table, "lidtl 0x10\n int $0xfd");
FRAGMENT16(sgdt_here, "sgdt 0x20\n smsw %ax\n smsw %ebx\n smsw 0x30\n mov 0x30, %cx");

static void tables(void)
{
	real_vector_set(0x46, REAL_SEGMENT, REAL_FRAGMENT + 0x20);
	PROBE("own_handler", own_handler);
	fact("own_handler.ax", real_regs.ax);
	fact("own_handler.bx", real_regs.bx);
	fact("own_handler.cx", real_regs.cx);
	fact("own_handler.dx", real_regs.dx);
	fact("own_handler.bp", real_regs.bp);
	fact("own_handler.si", real_regs.si);
	real_regs_clear();
	fill_bytes(real_data(0), 0, 0x100);
	*(uint16_t *)(void *)real_data(0x10) = 11;
	*(uint32_t *)(void *)real_data(0x12) = 0xff030100; /* 24 bits of base with 16-bit operands */
	*(uint32_t *)(void *)real_data(0x108) = REAL_SEGMENT << 16 | (REAL_FRAGMENT + 0x20);
	PROBE("moved_table", moved_table);
	fact("moved_table.bx", real_regs.bx);
	fact("moved_table.limit", *(uint16_t *)(void *)real_data(0x18));
	fact("moved_table.base", *(uint32_t *)(void *)real_data(0x1a));
	real_regs_clear();
	/* #GP for the vector beyond the limit goes through the table that has it. */
	*(uint16_t *)(void *)real_data(0x10) = 0xfd * 4 + 2;
	*(uint32_t *)(void *)real_data(0x12) = 0;
	PROBE("short_table", short_table);
	real_regs_clear();
	PROBE("sgdt", sgdt_here);
	fact("sgdt.limit", *(uint16_t *)(void *)real_data(0x20));
	check("sgdt.base", *(uint32_t *)(void *)real_data(0x22) == (word)gdt);
	fact("sgdt.ax", real_regs.ax);
	fact("sgdt.bx", real_regs.bx);
	fact("sgdt.cx", real_regs.cx);
	real_regs_clear();
}

/* ---- far transfers ---- */

FRAGMENT16(far_call,
	   "lcall $0x2102, $0x20\n mov %sp, %bx\n int $0xfe\n .org far_call + 0x40\n mov %cs, %ax\n mov %sp, %bp\n"
	   "mov (%bp), %cx\n mov 2(%bp), %dx\n lret");
FRAGMENT16(far_call32,
	   "lcalll $0x2102, $0x20\n mov %sp, %bx\n int $0xfe\n .org far_call32 + 0x40\n mov %cs, %ax\n mov %sp, %bp\n"
	   "mov (%bp), %ecx\n mov 4(%bp), %dx\n lretl $4");
FRAGMENT16(far_memory, "movl $0x21020020, 0x10\n lcall *0x10\n mov %sp, %bx\n int $0xfe\n .org far_memory + 0x40\n mov "
		       "%cs, %ax\n lret $6");
FRAGMENT16(far_jump, "ljmp $0x2102, $0x20\n .org far_jump + 0x40\n mov %cs, %ax");
FRAGMENT16(near_calls, "mov $0x1020, %ax\n call *%ax\n mov %sp, %bx\n int $0xfe\n .org near_calls + 0x20\n mov %sp, "
		       "%bp\n mov (%bp), %cx\n ret $2");
FRAGMENT16(near_call32, "calll 1f\n mov %sp, %bx\n int $0xfe\n 1: mov %sp, %bp\n mov (%bp), %ecx\n retl");

static void transfers(void)
{
	static const struct {
		const char *name;
		const uint8_t *code, *end;
	} table[] = {ROW(far_call), ROW(far_call32), ROW(far_memory), ROW(far_jump), ROW(near_calls), ROW(near_call32)};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		real_probe(table[i].name, table[i].code, table[i].end);
		fact_of(table[i].name, "ax", real_regs.ax);
		fact_of(table[i].name, "bx", real_regs.bx);
		fact_of(table[i].name, "cx", real_regs.cx);
		fact_of(table[i].name, "dx", real_regs.dx);
		fact_of(table[i].name, "bp", real_regs.bp);
		real_regs_clear();
	}
}

/* ---- stack frames ---- */

FRAGMENT16(
    frame_enter,
    "mov $0x12345678, %ebp\n enter $0x10, $0\n mov %sp, %ax\n mov %ebp, %ebx\n leave\n mov %sp, %cx\n mov %ebp, %edx");
FRAGMENT16(frame_nested, "mov $0xe000, %bp\n movw $0xaaaa, %ss:0xdffe\n movw $0xbbbb, %ss:0xdffc\n enter $4, $3\n mov "
			 "%sp, %ax\n mov %bp, %bx\n"
			 "pop %cx\n pop %cx\n pop %cx\n pop %dx\n pop %si");
FRAGMENT16(frame_32, "mov $0x12345678, %ebp\n enterl $0x10, $0\n mov %esp, %eax\n mov %ebp, %ebx\n leavel\n mov %sp, "
		     "%cx\n mov %ebp, %edx");
FRAGMENT16(push_all, "mov $0x11111111, %eax\n mov $0x22222222, %ebx\n pusha\n mov %sp, %cx\n xor %eax, %eax\n xor "
		     "%ebx, %ebx\n popa\n mov %sp, %dx");
FRAGMENT16(push_all32, "mov $0x11111111, %eax\n mov $0x22222222, %ebx\n pushal\n mov %sp, %cx\n xor %eax, %eax\n xor "
		       "%ebx, %ebx\n popal\n mov %sp, %dx");
FRAGMENT16(push_forms, "push $-2\n push $0x1234\n pushl $-3\n pushw 0x10\n push %sp\n mov %sp, %bx\n pop %ax\n pop "
		       "%cx\n popl %edx\n pop %si\n pop %di");
FRAGMENT16(pop_memory, "push $0x6543\n mov %sp, %bp\n popw (%bp)\n mov $0xe000, %esp\n movw $0x99, %ss:0xe000\n popw "
		       "4(%esp)\n mov %ss:0xe006, %ax");
FRAGMENT16(pop_sp, "push $0x4444\n pop %sp\n mov %sp, %ax\n mov $0xf000, %sp");
FRAGMENT16(shadow_ss, "mov $0x5000, %ax\n mov %ax, %ss\n mov $0xe800, %sp\n push %ss\n pop %ss\n mov %sp, %ax");

static void frames(void)
{
	static const struct {
		const char *name;
		const uint8_t *code, *end;
	} table[] = {ROW(frame_enter), ROW(frame_nested), ROW(frame_32), ROW(push_all), ROW(push_all32),
		     ROW(push_forms),  ROW(pop_memory),	  ROW(pop_sp),	 ROW(shadow_ss)};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		real_probe(table[i].name, table[i].code, table[i].end);
		fact_of(table[i].name, "ax", real_regs.ax);
		fact_of(table[i].name, "bx", real_regs.bx);
		fact_of(table[i].name, "cx", real_regs.cx);
		fact_of(table[i].name, "dx", real_regs.dx);
		fact_of(table[i].name, "si", real_regs.si);
		fact_of(table[i].name, "bp", real_regs.bp);
		real_regs_clear();
	}
}

/* ---- string instructions ---- */

FRAGMENT16(movs_wrap, "mov $0xfffe, %si\n mov $0xfff8, %di\n mov $8, %cx\n rep movsb");
FRAGMENT16(movs_high, "mov $0xabcd0010, %esi\n mov $0xabcd0020, %edi\n mov $0xabcd0004, %ecx\n rep movsl");
FRAGMENT16(movs_32, "mov $0x10, %esi\n mov $0x20, %edi\n mov $0x4, %ecx\n addr32 rep movsl");
FRAGMENT16(movs_down, "std\n mov $1, %si\n mov $5, %di\n mov $4, %cx\n rep movsb\n cld");
FRAGMENT16(stos_zero, "mov $0xffff0000, %ecx\n mov $7, %di\n rep stosw");
FRAGMENT16(stos_all, "mov $0xffff, %cx\n mov $1, %di\n mov $0x44, %al\n rep stosb");
FRAGMENT16(scas_find, "mov $0x100, %cx\n mov $0, %di\n mov $0x77, %al\n repne scasb");
FRAGMENT16(cmps_all, "mov $0x40, %cx\n mov $0x80, %di\n mov $0x80, %si\n repe cmpsw");
FRAGMENT16(lods_segment, "mov $0x20, %si\n .byte 0x26, 0xac\n mov %al, %bl\n .byte 0x36, 0x66, 0xad");
FRAGMENT16(loop_count, "mov $0xffff0003, %ecx\n xor %ax, %ax\n 1: inc %ax\n loop 1b\n mov $0x10003, %ecx\n 1: inc "
		       "%bx\n addr32 loop 2f\n 2: jcxz 3f\n inc %dx\n 3: jecxz 4f\n inc %dx\n 4:");
FRAGMENT16(xlat_wrap, "mov $0xfff0, %bx\n mov $0x20, %al\n xlat");
FRAGMENT16(io_string,
	   "mov $0x3fb, %dx\n mov $0x100, %di\n insb\n mov %es:0x100, %al\n mov $0x100, %si\n movb %al, (%si)\n outsb");

static void strings(void)
{
	static const struct {
		const char *name;
		const uint8_t *code, *end;
	} table[] = {ROW(movs_wrap),	ROW(movs_high),	 ROW(movs_32),	 ROW(movs_down),
		     ROW(stos_zero),	ROW(stos_all),	 ROW(scas_find), ROW(cmps_all),
		     ROW(lods_segment), ROW(loop_count), ROW(xlat_wrap), ROW(io_string)};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint32_t sum = 0;
		for (unsigned k = 0; k < 0x10000; k++) {
			real_data(0)[k] = (uint8_t)(k * 7);
			real_extra(0)[k] = (uint8_t)(k * 7 + (k == 0xa1));
		}
		real_probe(table[i].name, table[i].code, table[i].end);
		for (unsigned k = 0; k < 0x10000; k++)
			sum = sum * 31 + real_extra(0)[k];
		fact_of(table[i].name, "ax", real_regs.ax);
		fact_of(table[i].name, "bx", real_regs.bx);
		fact_of(table[i].name, "cx", real_regs.cx);
		fact_of(table[i].name, "dx", real_regs.dx);
		fact_of(table[i].name, "si", real_regs.si);
		fact_of(table[i].name, "di", real_regs.di);
		fact_of(table[i].name, "sum", sum);
		real_regs_clear();
	}
}

/* ---- what real mode does not have ---- */

FRAGMENT16(no_sldt, "sldt %ax");
FRAGMENT16(no_str, "str %ax");
FRAGMENT16(no_lldt, "lldt %ax");
FRAGMENT16(no_ltr, "ltr %ax");
FRAGMENT16(no_verr, "verr %ax");
FRAGMENT16(no_verw, "verw %ax");
FRAGMENT16(no_lar, "lar %ax, %bx");
FRAGMENT16(no_lsl, "lsl %ax, %bx");
FRAGMENT16(no_arpl, "arpl %ax, %bx");
FRAGMENT16(no_lds_register, ".byte 0xc5, 0xc0, 0, 0, 0");
FRAGMENT16(no_les_register, ".byte 0xc4, 0xe2, 0x78, 0xf2, 0xc0"); /* ANDN elsewhere */
FRAGMENT16(no_vex, ".byte 0xc5, 0xf8, 0x77");			   /* VZEROUPPER elsewhere */
FRAGMENT16(no_syscall, "syscall");
FRAGMENT16(no_sysenter, "sysenter");
FRAGMENT16(no_sysexit, "sysexit");
FRAGMENT16(no_loadall, ".byte 0x0f, 0x07");
FRAGMENT16(no_mov_cs, ".byte 0x8e, 0xc8");
FRAGMENT16(no_segment_6, ".byte 0x8e, 0xf0");
FRAGMENT16(no_lock, ".byte 0xf0, 0x40");
FRAGMENT16(lock_memory, "lock incw 0x10\n lock xadd %ax, 0x10");
FRAGMENT16(no_cr1, ".byte 0x0f, 0x20, 0xc8");
FRAGMENT16(long_insn,
	   ".byte 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x90\n"
	   ".byte 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x90");
FRAGMENT16(old_bytes,
	   ".byte 0x60, 0x61, 0xd6, 0x98, 0x99\n mov $0x1234, %ax\n .byte 0x48, 0x40, 0x40\n aam\n aad\n daa");
FRAGMENT16(privileged, "cli\n sti\n cli\n clts\n invd\n mov %cr0, %eax\n mov %dr7, %ebx\n mov $0x1b, %ecx\n rdmsr\n "
		       "wbinvd\n lmsw %ax\n mov %cr3, %ecx");

static void missing(void)
{
	static const struct {
		const char *name;
		const uint8_t *code, *end;
	} table[] = {
	    ROW(no_sldt),	  ROW(no_str),	  ROW(no_lldt),	     ROW(no_ltr),      ROW(no_verr),
	    ROW(no_verw),	  ROW(no_lar),	  ROW(no_lsl),	     ROW(no_arpl),     ROW(no_lds_register),
	    ROW(no_les_register), ROW(no_vex),	  ROW(no_syscall),   ROW(no_sysenter), ROW(no_sysexit),
	    ROW(no_loadall),	  ROW(no_mov_cs), ROW(no_segment_6), ROW(no_lock),     ROW(lock_memory),
	    ROW(no_cr1),	  ROW(long_insn), ROW(old_bytes),
	};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		real_probe(table[i].name, table[i].code, table[i].end);
		real_regs_clear();
	}
	PROBE("privileged", privileged);
	fact("privileged.bx", real_regs.bx);
	fact("privileged.cr0", real_regs.cr0);
	real_regs_clear();
}

void guest_main(void)
{
	real_start();
	basics();
	interrupts();
	tables();
	transfers();
	frames();
	strings();
	missing();
}
