/* SPDX-License-Identifier: MIT */
/* What ring 3 may not do: privileged instructions, IOPL, the I/O permission bitmap, UMIP, TSD; and flags that it cannot
 * change. */
#include "guest.h"

#ifdef __x86_64__
#define W "q"
#else
#define W "l"
#endif

static uint8_t memory[64] __attribute__((aligned(64), used));

#define PRIVILEGED(X)                                                                                                  \
	X(hlt, "hlt")                                                                                                  \
	X(clts, "clts")                                                                                                \
	X(invd, "invd")                                                                                                \
	X(wbinvd, "wbinvd")                                                                                            \
	X(invlpg, "invlpg memory")                                                                                     \
	X(lgdt, "lgdt memory")                                                                                         \
	X(lidt, "lidt memory")                                                                                         \
	X(lldt, "xor %eax, %eax\n lldt %ax")                                                                           \
	X(ltr, "mov $0x38, %eax\n ltr %ax")                                                                            \
	X(lmsw, "mov $1, %eax\n lmsw %ax")                                                                             \
	X(mov_from_cr0, "mov %cr0, " AX)                                                                               \
	X(mov_to_cr0, "mov " AX ", %cr0")                                                                              \
	X(mov_from_cr2, "mov %cr2, " AX)                                                                               \
	X(mov_to_cr2, "mov " AX ", %cr2")                                                                              \
	X(mov_from_cr3, "mov %cr3, " AX)                                                                               \
	X(mov_to_cr3, "mov " AX ", %cr3")                                                                              \
	X(mov_from_cr4, "mov %cr4, " AX)                                                                               \
	X(mov_to_cr4, "mov " AX ", %cr4")                                                                              \
	X(mov_from_dr0, "mov %dr0, " AX)                                                                               \
	X(mov_to_dr7, "mov " AX ", %dr7")                                                                              \
	X(rdmsr, "mov $0x10, %ecx\n rdmsr")                                                                            \
	X(wrmsr, "mov $0x10, %ecx\n wrmsr")                                                                            \
	X(in_imm, "in $0x80, %al")                                                                                     \
	X(out_imm, "out %al, $0x80")                                                                                   \
	X(in_dx, "mov $0x80, %edx\n in %dx, %eax")                                                                     \
	X(out_dx, "mov $0x80, %edx\n out %ax, %dx")                                                                    \
	X(insb, "mov $0x80, %edx\n mov $memory, %edi\n insb")                                                          \
	X(outsb, "mov $0x80, %edx\n mov $memory, %esi\n outsb")                                                        \
	X(rep_outsb_zero, "mov $0x80, %edx\n mov $memory, %esi\n xor %ecx, %ecx\n rep outsb")                          \
	X(cli, "cli")                                                                                                  \
	X(sti, "sti")                                                                                                  \
	X(rdpmc, "mov $0, %ecx\n rdpmc")                                                                               \
	X(rdtsc, "rdtsc")                                                                                              \
	X(smsw, "smsw %eax")                                                                                           \
	X(sgdt, "sgdt memory")                                                                                         \
	X(sidt, "sidt memory")                                                                                         \
	X(sldt, "sldt %eax")                                                                                           \
	X(str, "str %eax")                                                                                             \
	X(int_99, "int $99")                                                                                           \
	X(int_80, "int $0x81")

#define X(name, text) FRAGMENT(do_##name, text);
PRIVILEGED(X)
#undef X

static void ring_3(void)
{
	static const struct {
		const char *name;
		code_function *code;
	} table[] = {
#define X(name, text) {"user." #name, do_##name},
	    PRIVILEGED(X)
#undef X
	};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		outcome_user(table[i].name, table[i].code);
}

FRAGMENT(read_flags, "pushf" W "\n pop" W " " AX);
FRAGMENT(popf_all, "push" W " $0x3fd7\n and" W " $~0x100, (" SP ")\n popf" W "\n pushf" W "\n pop" W " " AX);
FRAGMENT(popf_none, "push" W " $2\n popf" W "\n pushf" W "\n pop" W " " AX);
FRAGMENT(popf_high, "mov $0x3c0002, %eax\n push " AX "\n popf" W "\n pushf" W "\n pop" W " " AX);
FRAGMENT(popf_rf, "mov $0x10002, %eax\n push " AX "\n popf" W "\n pushf" W "\n pop" W " " AX);
FRAGMENT(popf_word, "pushw $0x3ed7\n popfw\n pushf" W "\n pop" W " " AX);
FRAGMENT(cli_sti, "sti\n cli");
FRAGMENT(out_80, "out %al, $0x80");

static void iopl(void)
{
	char name[] = "iopl0.x";

	for (unsigned level = 0; level < 4; level++) {
		name[4] = (char)('0' + level);
		run_flags = RUN_FLAGS_NONE | level << 12;
		name[6] = 'c';
		outcome_user(name, cli_sti);
		name[6] = 'i';
		outcome_user(name, out_80);
		name[6] = 'p';
		run_user(popf_all);
		fact(name, regs.ax);
		name[6] = 'n';
		run_user(popf_none);
		fact(name, regs.ax);
		name[6] = 'w';
		run_user(popf_word);
		fact(name, regs.ax);
	}
	run_flags = RUN_FLAGS_NONE | FLAG_IF;
	run_user(popf_none);
	fact("iopl.if_kept", regs.ax);
	run_flags = RUN_FLAGS_NONE;
	run(popf_all);
	fact("kernel.popf", regs.ax);
	run(popf_high);
	fact("kernel.popf_high", regs.ax);
	run_user(popf_high);
	fact("user.popf_high", regs.ax);
	run(popf_rf);
	fact("kernel.popf_rf", regs.ax);
	run(popf_word);
	fact("kernel.popf_word", regs.ax);
}

/* ---- the bitmap ---- */

FRAGMENT(in_8, "in %dx, %al");
FRAGMENT(in_16, "in %dx, %ax");
FRAGMENT(in_32, "in %dx, %eax");
FRAGMENT(rep_ins_3, "mov $3, %ecx\n mov $memory, %edi\n rep insb");

static void deny(unsigned port, bool denied)
{
	uint8_t bit = (uint8_t)(1u << (port & 7));
	if (denied)
		tss.bitmap[port >> 3] |= bit;
	else
		tss.bitmap[port >> 3] &= (uint8_t)~bit;
}

static void at_port(const char *name, code_function *code, unsigned port)
{
	regs.dx = port;
	outcome_user(name, code);
}

static void limit_tss(unsigned limit)
{
	gdt_set(TSS_SELECTOR, descriptor((uint32_t)(word)&tss, limit, 0x89, 0));
	__asm__ volatile("ltr %w0" : : "r"(TSS_SELECTOR));
}

static void bitmap(void)
{
	fill_bytes(tss.bitmap, 0xff, sizeof(tss.bitmap));
	tss.io_map = TSS_BITMAP;
	for (unsigned port = 0x80; port < 0x90; port++)
		deny(port, false);
	at_port("bitmap.allowed", in_8, 0x80);
	at_port("bitmap.denied", in_8, 0x90);
	at_port("bitmap.word", in_16, 0x8e);
	at_port("bitmap.word_over", in_16, 0x8f);
	at_port("bitmap.long", in_32, 0x8c);
	at_port("bitmap.long_over", in_32, 0x8d);
	at_port("bitmap.string", rep_ins_3, 0x8f);
	deny(0x83, true);
	at_port("bitmap.long_hole", in_32, 0x80);
	at_port("bitmap.word_hole", in_16, 0x83);
	at_port("bitmap.beside", in_16, 0x84);
	for (unsigned port = 0xfff0; port < 0x10000; port++)
		deny(port, false);
	at_port("bitmap.last", in_8, 0xffff);
	at_port("bitmap.last_word", in_16, 0xfffe);
	/* Two bytes are always read: the one after the last must be inside the limit. */
	limit_tss(TSS_BITMAP + 16 + 1);
	at_port("bitmap.limit_inside", in_8, 0x87);
	at_port("bitmap.limit_edge", in_8, 0x8f);
	limit_tss(TSS_BITMAP + 16);
	at_port("bitmap.limit_inside_2", in_8, 0x80);
	limit_tss(TSS_BITMAP + 17);
	at_port("bitmap.limit_outside", in_8, 0x90);
	limit_tss(0x67);
	at_port("bitmap.none", in_8, 0x80);
	limit_tss(sizeof(tss) - 1);
	tss.io_map = 0xffff;
	at_port("bitmap.base_ffff", in_8, 0x80);
	tss.io_map = sizeof(tss);
	at_port("bitmap.base_beyond", in_8, 0x80);
	run_flags = RUN_FLAGS_NONE | 3 << 12;
	at_port("bitmap.iopl_wins", in_8, 0x80);
	run_flags = RUN_FLAGS_NONE;
}

/* ---- control bits ---- */

FRAGMENT(rdtscp, "rdtscp");

static void control_bits(void)
{
	word cr4 = read_cr4();

	write_cr4(cr4 | CR4_TSD);
	outcome_user("tsd.user", do_rdtsc);
	outcome("tsd.kernel", do_rdtsc);
	if (cpu_has(HAS_RDTSCP))
		outcome_user("tsd.rdtscp_user", rdtscp);
	write_cr4(cr4);
	if (cpu_has(HAS_RDTSCP))
		outcome_user("tsd.rdtscp_allowed", rdtscp);
	if (!cpu_has(HAS_UMIP)) {
		absent("umip");
	} else {
		write_cr4(cr4 | CR4_UMIP);
		outcome_user("umip.sgdt", do_sgdt);
		outcome_user("umip.sidt", do_sidt);
		outcome_user("umip.sldt", do_sldt);
		outcome_user("umip.str", do_str);
		outcome_user("umip.smsw", do_smsw);
		outcome("umip.kernel", do_sgdt);
		write_cr4(cr4);
	}
	/* Unprivileged reads give what is there. */
	run_user(do_str);
	fact("user.str_value", regs.ax & 0xffff);
	run_user(do_smsw);
	fact("user.smsw_value", regs.ax & 0xffff);
	run_user(do_sidt);
	fact("user.sidt_limit", *(uint16_t *)(void *)memory);
}

/* ---- rings 1 and 2 are supervisor for paging, but not privileged ---- */

#define CODE_1 (FREE_SELECTOR + 0x00)
#define DATA_1 (FREE_SELECTOR + 0x08)

static void ring_1(const char *name, code_function *code)
{
	word *stack = (word *)user_stack_top - 1;
	*stack = (word)user_return;
	run_at(CODE_1 | 1, (word)code, DATA_1 | 1, (word)stack);
	fact(name, trap.vector == NO_TRAP ? NO_TRAP : trap.vector << 16 | trap.error);
}

static void other_rings(void)
{
	gdt_set(CODE_1, descriptor(0, 0xfffff, 0xbb, IS64 ? 0xa : 0xc));
	gdt_set(DATA_1, descriptor(0, 0xfffff, 0xb3, 0xc));
	ring_1("ring1.hlt", do_hlt);
	ring_1("ring1.mov_cr0", do_mov_from_cr0);
	ring_1("ring1.cli", do_cli);
	run_flags = RUN_FLAGS_NONE | 1 << 12;
	ring_1("ring1.cli_iopl1", cli_sti);
	ring_1("ring1.out_iopl1", out_80);
	run_flags = RUN_FLAGS_NONE;
}

void guest_main(void)
{
	tss.io_map = sizeof(tss);
	ring_3();
	iopl();
	bitmap();
	control_bits();
	other_rings();
}
