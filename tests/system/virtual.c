/* SPDX-License-Identifier: MIT */
/*
 * Virtual-8086 mode: what IOPL guards, faults and interrupts out of it, IRET into it, the I/O bitmap; and its
 * extensions: VIF and VIP, the interrupt redirection bitmap, protected-mode virtual interrupts.
 */
#include "real.h"

#define CR4_VME 1ul
#define CR4_PVI 2ul
#define HAS_VME (32 + 1)
#define GATE16 0x86
#define CONFORMING (FREE_SELECTOR + 0x00)
#define HANDLER 0x40 /* offset of an 8086 handler in a fragment */
#define VECTOR8086 0x45

#define V86(name, text) FRAGMENT16(name, text "\n hlt")

/* What lies above the ordinary frame. */
struct v86_frame {
	struct frame frame;
	word es, ds, fs, gs;
};
static struct v86_frame seen;

static bool v86_hook(struct frame *frame)
{
	copy_bytes(&seen, frame, sizeof(seen));
	return false;
}

static void show(const char *group)
{
	fact_of(group, "vector", seen.frame.vector);
	if (seen.frame.error != 0x7777)
		fact_of(group, "error", seen.frame.error);
	fact_of(group, "ip", (uint16_t)(seen.frame.ip - REAL_FRAGMENT));
	fact_of(group, "flags", seen.frame.flags & ~FLAG_RF); /* the topics faults and debug look at RF */
	fact_of(group, "sp", seen.frame.sp);
	fact_of(group, "ax", seen.frame.ax);
	fact_of(group, "bx", seen.frame.bx);
}

static void v86_probe(const char *group, const uint8_t *code, const uint8_t *end, uint32_t flags)
{
	fill_bytes(&seen, 0xee, sizeof(seen));
	v86_run_bytes(code, end, flags);
	show(group);
	real_regs_clear();
}

struct row {
	const char *name;
	const uint8_t *code, *end;
};
#define ROW(name)                                                                                                      \
	{                                                                                                              \
#name, name, name##_end                                                                                \
	}

/* ---- what IOPL or the extensions guard ---- */

V86(do_cli, "cli");
V86(do_sti, "sti\n nop");
V86(do_pushf, "pushf\n pop %ax");
V86(do_pushfl, "pushfl\n pop %eax");
V86(do_popf, "push $0x7ed7\n popf\n pushf\n pop %ax");
V86(do_popf_off, "push $0x0002\n popf\n pushf\n pop %ax");
V86(do_popf_tf, "push $0x0302\n popf\n nop\n nop");
V86(do_popfl, "pushl $0x3b7ed7\n popfl\n pushfl\n pop %eax");
V86(do_int, "int $0x45\n mov $1, %bx\n hlt\n .org do_int + 0x40\n mov %sp, %bp\n mov (%bp), %ax\n mov 4(%bp), %bx");
V86(do_int_back, "int $0x45\n pushf\n pop %bx\n hlt\n .org do_int_back + 0x40\n inc %ax\n iret");
V86(do_int_flags, "int $0x45\n hlt\n .org do_int_flags + 0x40\n pushf\n pop %ax");
V86(do_int_3, "int $3");
V86(do_int3, "int3");
V86(do_int1, ".byte 0xf1");
V86(do_into, "mov $0x7fff, %ax\n inc %ax\n into");
V86(do_iret, "push $0x7ed7\n push %cs\n push $0x1020\n iret\n .org do_iret + 0x20\n pushf\n pop %ax");
V86(do_iret_off, "push $2\n push %cs\n push $0x1020\n iret\n .org do_iret_off + 0x20\n pushf\n pop %ax");
V86(do_iret_tf, "push $0x302\n push %cs\n push $0x1020\n iret\n .org do_iret_tf + 0x20\n nop\n nop");
V86(do_iretl, "pushl $0x3b7ed7\n pushl %cs\n pushl $0x1020\n iretl\n .org do_iretl + 0x20\n pushf\n pop %ax");
V86(do_in, "mov $0x3fb, %dx\n in %dx, %al");
V86(do_rdtsc, "rdtsc\n xor %eax, %eax");

static const struct row guarded_table[] = {
    ROW(do_cli),   ROW(do_sti),	 ROW(do_pushf),	   ROW(do_pushfl),    ROW(do_popf),  ROW(do_popf_off), ROW(do_popf_tf),
    ROW(do_popfl), ROW(do_int),	 ROW(do_int_back), ROW(do_int_flags), ROW(do_int_3), ROW(do_int3),     ROW(do_int1),
    ROW(do_into),  ROW(do_iret), ROW(do_iret_off), ROW(do_iret_tf),   ROW(do_iretl), ROW(do_in),       ROW(do_rdtsc),
};

static void guarded(const char *prefix, uint32_t flags)
{
	fact_prefix = prefix;
	for (unsigned i = 0; i < sizeof(guarded_table) / sizeof(guarded_table[0]); i++)
		v86_probe(guarded_table[i].name, guarded_table[i].code, guarded_table[i].end, flags);
	fact_prefix = "";
}

/* ---- what is the same whatever IOPL is ---- */

V86(do_ud2, "ud2");
V86(do_divide, "xor %bx, %bx\n div %bx");
V86(do_bound, "movl $0x00050001, 0x10\n mov $6, %ax\n bound %ax, 0x10");
V86(do_limit, "movw 0xffff, %ax");
V86(do_limit_stack, "mov $0xffff, %bp\n movw (%bp), %ax");
V86(do_limit_32, "mov $0x10000, %ebx\n movb (%ebx), %al");
V86(do_push_zero, "xor %sp, %sp\n push %sp\n mov %sp, %bx\n pop %ax");
V86(do_push_odd, "mov $1, %sp\n push %ax");
V86(do_segments, "mov $0x1234, %ax\n mov %ax, %es\n mov %es, %bx\n mov %ax, %fs\n mov $0xffff, %ax\n mov %ax, %gs\n"
		 "mov $0x3000, %ax\n mov %ax, %ds\n mov %gs:0x20, %ax");
V86(do_code_write, "movw $0x4d4d, %cs:0x1080\n mov %cs:0x1080, %ax");
V86(do_far, "lcall $0x2102, $0x20\n mov %sp, %bx\n hlt\n .org do_far + 0x40\n mov %cs, %ax\n lret");
V86(do_far_out, ".byte 0x66, 0xea\n .long 0x10000\n .word 0x2000");
V86(do_mov_cr, "mov %cr0, %eax");
V86(do_mov_dr, "mov %dr7, %eax");
V86(do_clts, "clts");
V86(do_lgdt, "lgdt 0x10");
V86(do_sgdt, "sgdt 0x10\n mov 0x10, %ax");
V86(do_smsw, "smsw %ax");
V86(do_lmsw, "lmsw %ax");
V86(do_sldt, "sldt %ax");
V86(do_lldt, "lldt %ax");
V86(do_ltr, "ltr %ax");
V86(do_lar, "lar %ax, %bx");
V86(do_verr, "verr %ax");
V86(do_arpl, "arpl %ax, %bx");
V86(do_rdmsr, "mov $0x1b, %ecx\n rdmsr");
V86(do_invlpg, "invlpg 0x10");
V86(do_wbinvd, "wbinvd");
V86(do_cpuid, "xor %eax, %eax\n cpuid\n xor %ax, %ax\n xor %ebx, %ebx");
V86(do_syscall, "syscall");
V86(do_sysexit, "sysexit");
V86(do_vex, ".byte 0xc5, 0xf8, 0x77");
V86(do_mov_cs, ".byte 0x8e, 0xc8");
V86(do_wide, "mov $0x12345678, %eax\n mov $0x50, %esi\n mov %eax, (%esi)\n mov 2(%esi), %bx\n rep stosl");
V86(do_strings, "mov $0xfff8, %di\n mov $0x10, %cx\n mov $0x77, %al\n rep stosb\n mov %di, %bx");
V86(do_loop, "mov $0x12340002, %ecx\n 1: inc %ax\n loop 1b\n mov %ecx, %ebx");
V86(do_shadow, "mov $0x5000, %ax\n mov %ax, %ss\n mov $0xe000, %sp\n push %ss\n pop %bx");
V86(do_enter, "enter $0x10, $1\n mov %sp, %ax\n mov %bp, %bx\n leave");

static void plain(void)
{
	static const struct row table[] = {
	    ROW(do_ud2),      ROW(do_divide),	 ROW(do_bound),	   ROW(do_limit),    ROW(do_limit_stack),
	    ROW(do_limit_32), ROW(do_push_zero), ROW(do_push_odd), ROW(do_segments), ROW(do_code_write),
	    ROW(do_far),      ROW(do_far_out),	 ROW(do_mov_cr),   ROW(do_mov_dr),   ROW(do_clts),
	    ROW(do_lgdt),     ROW(do_sgdt),	 ROW(do_smsw),	   ROW(do_lmsw),     ROW(do_sldt),
	    ROW(do_lldt),     ROW(do_ltr),	 ROW(do_lar),	   ROW(do_verr),     ROW(do_arpl),
	    ROW(do_rdmsr),    ROW(do_invlpg),	 ROW(do_wbinvd),   ROW(do_cpuid),    ROW(do_syscall),
	    ROW(do_sysexit),  ROW(do_vex),	 ROW(do_mov_cs),   ROW(do_wide),     ROW(do_strings),
	    ROW(do_loop),     ROW(do_shadow),	 ROW(do_enter),
	};

	*(volatile uint16_t *)0x100010 = 0x77aa; /* FFFF:0020 */
	real_data(0)[0] = 0xf4;			 /* HLT, for who goes there */
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		v86_probe(table[i].name, table[i].code, table[i].end, 0);
}

/* ---- the frame, and gates of other kinds ---- */

static void frame_facts(const char *group)
{
	fact_of(group, "cs", seen.frame.cs & 0xffff);
	fact_of(group, "ss", seen.frame.ss & 0xffff);
	fact_of(group, "es", seen.es & 0xffff);
	fact_of(group, "ds", seen.ds & 0xffff);
	fact_of(group, "fs", seen.fs & 0xffff);
	fact_of(group, "gs", seen.gs & 0xffff);
	fact_of(group, "depth", (word)trap_stack_top - trap.handler_sp);
	/* The handler's own: null. */
	fact_of(group, "handler_ds", seen.frame.ds & 0xffff);
	fact_of(group, "handler_es", seen.frame.es & 0xffff);
	fact_of(group, "handler_fs", seen.frame.fs & 0xffff);
	fact_of(group, "handler_gs", seen.frame.gs & 0xffff);
}

V86(do_int_99, "mov $0x7777, %ax\n mov %ax, %fs\n mov $0x8888, %ax\n mov %ax, %gs\n mov $0x1234eff0, %esp\n int $99");
static uint16_t words[10] __attribute__((used));
/* Notes what a 16-bit gate pushed, then ends as usual: INT 80h at CPL 0. */
FRAGMENT(note16,
	 "mov %esp, %ebp\n xor %ecx, %ecx\n 1: mov %ss:(%ebp,%ecx,2), %ax\n mov %ax, %ss:words(,%ecx,2)\n inc %ecx\n"
	 "cmp $9, %ecx\n jb 1b\n mov %ss, %eax\n mov %eax, %ds\n int $0x80");
FRAGMENT(iret_v86_far,
	 "pushl $0\n pushl $0\n pushl $0\n pushl $0\n pushl $0x5000\n pushl $0xf000\n pushl $0x20002\n pushl "
	 "$0x2000\n pushl $0x11000\n iretl");
FRAGMENT(user_iret_vm, "pushl $0x20002\n pushl %cs\n pushl $1f\n iretl\n 1: pushfl\n pop %eax");

static void gates(void)
{
	struct gate saved = idt[99];

	idt[99] = gate(trap_stub(99), KERNEL_CODE, GATE_INTERRUPT | GATE_DPL3, 0);
	v86_probe("gate", do_int_99, do_int_99_end, FLAG_IOPL | FLAG_IF | FLAG_ID);
	frame_facts("gate");
	idt[99] = gate(trap_stub(99), KERNEL_CODE, GATE_TRAP | GATE_DPL3, 0);
	v86_probe("trap_gate", do_int_99, do_int_99_end, FLAG_IOPL);
	idt[99] = gate(trap_stub(99), KERNEL_CODE, GATE_INTERRUPT, 0);
	v86_probe("gate_dpl0", do_int_99, do_int_99_end, FLAG_IOPL);
	gdt_set(CONFORMING, descriptor(0, 0xfffff, 0x9f, 0xc));
	idt[99] = gate(trap_stub(99), CONFORMING, GATE_INTERRUPT | GATE_DPL3, 0);
	v86_probe("gate_conforming", do_int_99, do_int_99_end, FLAG_IOPL);
	idt[99] = gate(trap_stub(99), USER_CODE, GATE_INTERRUPT | GATE_DPL3, 0);
	v86_probe("gate_user", do_int_99, do_int_99_end, FLAG_IOPL);
	idt[99] = gate(trap_stub(99), KERNEL_CODE, (GATE_INTERRUPT | GATE_DPL3) & ~0x80u, 0);
	v86_probe("gate_absent", do_int_99, do_int_99_end, FLAG_IOPL);
	/* A 16-bit gate; its code segment's base makes up for the offset's missing half. */
	gdt_set(CONFORMING, descriptor((uint32_t)(word)note16, 0xffff, 0x9b, 0x4));
	idt[99] = gate(0, CONFORMING, GATE16 | GATE_DPL3, 0);
	v86_probe("gate16", do_int_99, do_int_99_end, FLAG_IOPL | FLAG_IF);
	for (unsigned i = 0; i < 9; i++) {
		char name[] = "gate16.word0";
		name[11] = (char)('0' + i);
		fact(name, i == 0 ? words[i] - REAL_FRAGMENT : words[i]);
	}
	idt[99] = saved;
	trap_hook = NULL;
	probe("iret_far", iret_v86_far);
	run_user(user_iret_vm);
	fact("user_iret.vector", trap.vector);
	fact("user_iret.flags", regs.ax);
	trap_hook = v86_hook;
}

/* ---- the I/O bitmap ---- */

V86(in_byte, "mov $0x3fb, %dx\n in %dx, %al\n xor %al, %al");
V86(in_immediate, "in $0x61, %al\n xor %al, %al");
V86(in_word, "mov $0x3fa, %dx\n in %dx, %ax\n xor %ax, %ax");
V86(in_dword, "mov $0x3fc, %dx\n in %dx, %eax\n xor %eax, %eax");
V86(in_last, "mov $0xffff, %dx\n in %dx, %al\n xor %al, %al");
V86(in_strings, "mov $0x3fb, %dx\n mov $2, %cx\n mov $0x10, %di\n rep insb\n mov %cx, %ax");

static void ports(const char *prefix, uint32_t flags)
{
	static const struct row table[] = {ROW(in_byte),  ROW(in_immediate), ROW(in_word),
					   ROW(in_dword), ROW(in_last),	     ROW(in_strings)};

	fact_prefix = prefix;
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		v86_probe(table[i].name, table[i].code, table[i].end, flags);
	fact_prefix = "";
}

static void io_bitmap(void)
{
	tss.io_map = TSS_BITMAP;
	fill_bytes(tss.bitmap, 0, 8192);
	tss.bitmap[8192] = 0xff;
	ports("io.open.", 0);
	ports("io.open3.", FLAG_IOPL);
	tss.bitmap[0x3fb / 8] |= 1 << (0x3fb % 8);
	ports("io.one.", 0);
	tss.bitmap[0x3fb / 8] = 0;
	tss.bitmap[0x400 / 8] = 1; /* just behind the double word */
	ports("io.behind.", FLAG_IOPL);
	fill_bytes(tss.bitmap, 0xff, 8192);
	ports("io.shut.", FLAG_IOPL);
	tss.io_map = sizeof(tss);
}

/* ---- extensions ---- */

static const struct row redirected_table[] = {ROW(do_int), ROW(do_int_back), ROW(do_int_flags), ROW(do_int_3),
					      ROW(do_int3)};

static void redirected(const char *prefix, uint32_t flags)
{
	fact_prefix = prefix;
	for (unsigned i = 0; i < sizeof(redirected_table) / sizeof(redirected_table[0]); i++)
		v86_probe(redirected_table[i].name, redirected_table[i].code, redirected_table[i].end, flags);
	fact_prefix = "";
}

FRAGMENT(pvi_cli, "cli\n pushfl\n pop %eax");
FRAGMENT(pvi_sti, "sti\n pushfl\n pop %eax");
FRAGMENT(pvi_popf, "pushl $0x202\n popfl\n pushfl\n pop %eax");

static void pvi(const char *prefix, uint32_t flags)
{
	static const struct {
		const char *name;
		code_function *code;
	} table[] = {{"cli", pvi_cli}, {"sti", pvi_sti}, {"popf", pvi_popf}};

	fact_prefix = prefix;
	for (unsigned i = 0; i < 3; i++) {
		run_flags = flags | 2;
		regs.ax = 0;
		probe_user(table[i].name, table[i].code);
		fact_of(table[i].name, "ax", regs.ax);
	}
	run_flags = RUN_FLAGS_NONE;
	fact_prefix = "";
}

static void extensions(void)
{
	if (!cpu_has(HAS_VME)) {
		absent("vme");
		return;
	}
	write_cr4(read_cr4() | CR4_VME);
	/* Every vector through the IDT. */
	tss.io_map = TSS_BITMAP + 32;
	fill_bytes(tss.bitmap, 0xff, sizeof(tss.bitmap));
	guarded("vme.idt.0.", 0);
	guarded("vme.idt.vif.", FLAG_VIF);
	guarded("vme.idt.vip.", FLAG_VIP);
	guarded("vme.idt.3.", FLAG_IOPL | FLAG_IF);
	fact_prefix = "vme.";
	v86_probe("both", do_pushf, do_pushf_end, FLAG_VIF | FLAG_VIP);
	fact_prefix = "";
	/* Every vector to the 8086 program. */
	fill_bytes(tss.bitmap, 0, 32);
	guarded("vme.8086.0.", 0);
	redirected("vme.8086.vif.", FLAG_VIF | FLAG_NT);
	redirected("vme.8086.if.", FLAG_IF);
	redirected("vme.8086.3.", FLAG_IOPL | FLAG_IF);
	tss.bitmap[VECTOR8086 / 8] = 1 << (VECTOR8086 & 7);
	redirected("vme.one.0.", 0);
	redirected("vme.one.3.", FLAG_IOPL);
	/* A map that reaches beyond the TSS. */
	tss.io_map = (uint16_t)(sizeof(tss) + 32);
	redirected("vme.outside.", FLAG_IOPL);
	tss.io_map = sizeof(tss);
	write_cr4(read_cr4() & ~CR4_VME);
	trap_hook = NULL;
	write_cr4(read_cr4() | CR4_PVI);
	pvi("vme.pvi.0.", 0);
	pvi("vme.pvi.vif.", FLAG_VIF);
	pvi("vme.pvi.vip.", FLAG_VIP);
	pvi("vme.pvi.3.", FLAG_IOPL | FLAG_IF);
	write_cr4(read_cr4() & ~CR4_PVI);
}

void guest_main(void)
{
	real_start();
	real_vector_set(VECTOR8086, REAL_SEGMENT, REAL_FRAGMENT + HANDLER);
	real_vector_set(3, REAL_SEGMENT, REAL_FRAGMENT + HANDLER);
	trap_hook = v86_hook;
	guarded("iopl0.", 0);
	guarded("iopl3.", FLAG_IOPL);
	guarded("iopl3_if.", FLAG_IOPL | FLAG_IF);
	plain();
	gates();
	io_bitmap();
	extensions();
}
