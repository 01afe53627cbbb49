/* SPDX-License-Identifier: MIT */
/*
 * Checks that QEMU's translator leaves out and would not survive: limits and types of segments in use, control register
 * combinations, a null task register. Compared with Bochs alone.
 */
#include "guest.h"

static uint32_t scratch[4] __attribute__((aligned(16), used));

FRAGMENT(load_tr, "ltr %ax");
FRAGMENT(load_cr0, "mov " AX ", %cr0");
FRAGMENT(load_cr4, "mov " AX ", %cr4");
FRAGMENT(load_msr, "xor %edx, %edx\n wrmsr");

FRAGMENT(wrmsr_unknown, "mov $0x12345678, %ecx\n wrmsr");
FRAGMENT(rdmsr_unknown, "mov $0x12345678, %ecx\n rdmsr");

FRAGMENT(group1a_1, ".byte 0x8f, 0xc8");

static void with(const char *group, code_function *code, word ax)
{
	regs.ax = ax;
	probe(group, code);
}

static void control_registers(void)
{
	with("gp.cr0_pg_without_pe", load_cr0, 0x80000000);
	with("gp.cr0_nw_without_cd", load_cr0, read_cr0() | 0x20000000);
	with("gp.cr4_bit_15", load_cr4, read_cr4() | 1ul << 15);
	with("gp.cr4_bit_31", load_cr4, read_cr4() | 1ul << 31);
	probe("gp.wrmsr", wrmsr_unknown);
	probe("gp.rdmsr", rdmsr_unknown);
	probe("ud.group1a_1", group1a_1);
	with("gp.tr_null", load_tr, 0);
	regs.cx = MSR_APIC_BASE;
	with("gp.apic_base_low", load_msr, (uint32_t)read_msr(MSR_APIC_BASE) | 1);
	regs.cx = 0x277; /* PAT: memory type 2 */
	with("gp.pat", load_msr, 0x00070402);
}

#ifdef __x86_64__
FRAGMENT(cr0_high, "mov %cr0, %rax\n bts $40, %rax\n mov %rax, %cr0");
FRAGMENT(cr4_high, "mov %cr4, %rax\n bts $40, %rax\n mov %rax, %cr4");
FRAGMENT(pcide_with_pcid,
	 "mov %cr3, %rax\n or $1, %rax\n mov %rax, %cr3\n mov %cr4, %rax\n bts $17, %rax\n mov %rax, %cr4");
FRAGMENT(efer_lme_off, "mov $0xc0000080, %ecx\n rdmsr\n and $~0x100, %eax\n wrmsr");
FRAGMENT(efer_reserved, "mov $0xc0000080, %ecx\n rdmsr\n or $2, %eax\n wrmsr");
FRAGMENT(kernel_gs_bad, "mov $0xc0000102, %ecx\n mov $0x8000, %edx\n xor %eax, %eax\n wrmsr");
FRAGMENT(sysenter_eip_bad, "mov $0x176, %ecx\n mov $0x8000, %edx\n xor %eax, %eax\n wrmsr");
FRAGMENT(push_rax, "push %rax\n ud2");

FRAGMENT(cr3_high, "mov $1, %eax\n shl $62, %rax\n mov %rax, %cr3");
FRAGMENT(efer_bad, "mov $0xc0000080, %ecx\n mov $0x80000000, %edx\n mov $0x500, %eax\n wrmsr");
FRAGMENT(pae_off, "mov %cr4, %rax\n and $~0x20, %rax\n mov %rax, %cr4");
FRAGMENT(lstar_bad, "mov $0xc0000082, %ecx\n mov $0x8000, %edx\n xor %eax, %eax\n wrmsr");
FRAGMENT(gs_base_bad, "mov $0xc0000101, %ecx\n mov $0x8000, %edx\n xor %eax, %eax\n wrmsr");

static void by_width(void)
{
	probe("gp.cr0_high", cr0_high);
	probe("gp.cr4_high", cr4_high);
	probe("gp.cr3", cr3_high);
	probe("gp.efer", efer_bad);
	probe("gp.pae_off", pae_off);
	probe("gp.lstar", lstar_bad);
	probe("gp.gs_base", gs_base_bad);
	probe("gp.efer_lme_off", efer_lme_off);
	probe("gp.efer_reserved", efer_reserved);
	probe("gp.kernel_gs_bad", kernel_gs_bad);
	probe("gp.sysenter_eip_bad", sysenter_eip_bad);
	if (!cpu_has(HAS_PCID))
		absent("pcid");
	else
		probe("pcid.enable_with_pcid", pcide_with_pcid);
	write_cr3(read_cr3() & ~0xffful);
}
#else
#define READ_ONLY (FREE_SELECTOR + 0x00)
#define SMALL (FREE_SELECTOR + 0x08)
#define DOWN (FREE_SELECTOR + 0x10)
#define SMALL_STACK (FREE_SELECTOR + 0x18)
#define SMALL_CODE (FREE_SELECTOR + 0x20)
#define DOWN_STACK (FREE_SELECTOR + 0x28)
#define EXECUTE_ONLY (FREE_SELECTOR + 0x30)

FRAGMENT(read_ds, "mov %eax, %ds\n mov scratch, %ecx");
FRAGMENT(write_ds, "mov %eax, %ds\n movl $1, scratch");
FRAGMENT(add_ds, "mov %eax, %ds\n addl $1, scratch");
FRAGMENT(read_cs, "mov %cs:scratch, %ecx\n movl $1, %cs:scratch");
FRAGMENT(read_fs_end, "mov %eax, %fs\n movb %fs:0xfff, %cl\n movl %fs:0xffc, %ecx\n movl %fs:0xffd, %ecx");
FRAGMENT(read_es_down, "mov %eax, %es\n movb %es:0x1000, %cl\n movb %es:0xfff, %cl");
FRAGMENT(read_es_down_top, "mov %eax, %es\n movb %es:0xffff, %cl\n movb %es:0x10000, %cl");
FRAGMENT(string_es, "mov %eax, %es\n mov $0xffe, %edi\n mov $4, %ecx\n mov $scratch, %esi\n rep movsb");
FRAGMENT(sse_es, "mov %eax, %es\n movups %es:0xff0, %xmm0\n movups %es:0xff1, %xmm0");
FRAGMENT(read_bp, "mov (%ebp), %ecx\n ud2");
FRAGMENT(push_ax, "push %eax\n ud2");
FRAGMENT(pop_ax, "pop %eax\n ud2");
FRAGMENT(call_near, "call 1f\n 1: ud2");
FRAGMENT(enter_frame, "enter $0x10, $0\n ud2");
FRAGMENT(push_all, "pusha\n ud2");
FRAGMENT(jump_far_out, ".byte 0xe9\n .long 0x2000");
FRAGMENT(jump_indirect_out, "mov $0x2000, %eax\n jmp *%eax");
FRAGMENT(call_out, "mov $0x2000, %eax\n call *%eax");
FRAGMENT(return_out, "push $0x2000\n ret");

static void user_on(const char *group, code_function *code, unsigned ss, word sp)
{
	run_at(USER_CODE, (word)code, ss, sp);
	trap_facts(group, code);
	fact_of(group, "sp", trap.sp);
}

static void user_code(const char *group, code_function *code)
{
	word offset = (word)code - (word)jump_far_out;

	run_at(SMALL_CODE | 3, offset, USER_DATA, (word)user_stack_top);
	fact_of(group, "vector", trap.vector);
	fact_of(group, "error", trap.error);
	fact_of(group, "ip", trap.ip - offset);
	fact_of(group, "sp", (word)user_stack_top - trap.sp);
}

static void by_width(void)
{
	static uint8_t code_page[4096] __attribute__((aligned(4096)));

	gdt_set(READ_ONLY, descriptor(0, 0xfffff, 0x91, 0xc));
	gdt_set(SMALL, descriptor((uint32_t)(word)gdt, 0xfff, 0x93, 0x4));
	gdt_set(DOWN, descriptor(0, 0xfff, 0x97, 0x0));
	gdt_set(SMALL_STACK, descriptor((uint32_t)(word)trap_stack_top - 0x2000, 0xfff, 0xf3, 0x4));
	gdt_set(EXECUTE_ONLY, descriptor(0, 0xfffff, 0x99, 0xc));
	with("gp.null_read", read_ds, 0);
	with("gp.null_write", write_ds, 0);
	with("gp.read_only", write_ds, READ_ONLY);
	with("gp.read_only_add", add_ds, READ_ONLY);
	with("gp.read_only_read", read_ds, READ_ONLY);
	with("gp.code_write", write_ds, KERNEL_CODE);
	with("gp.cs_write", read_cs, 0);
	with("gp.limit", read_fs_end, SMALL);
	with("gp.down", read_es_down, DOWN);
	with("gp.down_top", read_es_down_top, DOWN);
	with("gp.string", string_es, SMALL);
	fact("gp.string.cx", regs.cx);
	fact("gp.string.di", regs.di);
	with("gp.sse", sse_es, SMALL);

	/* At CPL 3: the trap must find a stack. */
	regs.bp = 0xffc;
	user_on("ss.inside", read_bp, SMALL_STACK | 3, 0x800);
	regs.bp = 0xffd;
	user_on("ss.limit", read_bp, SMALL_STACK | 3, 0x800);
	user_on("ss.push", push_ax, SMALL_STACK | 3, 0x1002);
	user_on("ss.push_top", push_ax, SMALL_STACK | 3, 0x1000);
	user_on("ss.push_zero", push_ax, SMALL_STACK | 3, 0);
	user_on("ss.pop", pop_ax, SMALL_STACK | 3, 0xffe);
	user_on("ss.call", call_near, SMALL_STACK | 3, 0x1002);
	user_on("ss.enter", enter_frame, SMALL_STACK | 3, 0x1001);
	user_on("ss.pusha", push_all, SMALL_STACK | 3, 0x1004);

	gdt_set(SMALL_CODE, descriptor((uint32_t)(word)jump_far_out, 0xfff, 0xfb, 0x4));
	user_code("cs.jump", jump_far_out);
	user_code("cs.jump_indirect", jump_indirect_out);
	user_code("cs.call", call_out);
	user_code("cs.return", return_out);
	gdt_set(SMALL_CODE, descriptor((uint32_t)(word)code_page, 0xfff, 0xfb, 0x4));
	code_page[0xfff] = 0x90; /* falls off the end */
	run_at(SMALL_CODE | 3, 0xfff, USER_DATA, (word)user_stack_top);
	fact("cs.fall.vector", trap.vector);
	fact("cs.fall.ip", trap.ip);
	code_page[0xfff] = 0xb8; /* mov $imm32, %eax reaches over it */
	run_at(SMALL_CODE | 3, 0xfff, USER_DATA, (word)user_stack_top);
	fact("cs.straddle.vector", trap.vector);
	fact("cs.straddle.ip", trap.ip);
}
#endif

void guest_main(void)
{
	control_registers();
	by_width();
}
