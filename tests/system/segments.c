/* SPDX-License-Identifier: MIT */
/* LAR, LSL, VERR, VERW, ARPL over descriptors of every type; the LDT; accessed bits; segment bases; compatibility mode.
 */
#include "guest.h"

#define TEST_SELECTOR FREE_SELECTOR
#define LDT_SELECTOR (FREE_SELECTOR + 0x10) /* 16 bytes in long mode */

FRAGMENT(do_lar, "mov $0xdeadbeef, %ecx\n lar %eax, %ecx");
FRAGMENT(do_lsl, "mov $0xdeadbeef, %ecx\n lsl %eax, %ecx");
FRAGMENT(do_verr, "verr %ax");
FRAGMENT(do_verw, "verw %ax");

static void look(const char *group, unsigned selector, bool user)
{
	static const struct {
		const char *name;
		code_function *code;
	} table[] = {{"lar", do_lar}, {"lsl", do_lsl}, {"verr", do_verr}, {"verw", do_verw}};

	for (unsigned i = 0; i < 4; i++) {
		regs.ax = selector;
		regs.cx = 0;
		if (user)
			run_user(table[i].code);
		else
			run(table[i].code);
		word zero = (user ? trap.flags : regs.flags) >> 6 & 1;
		/* ZF above the register; without ZF the register is as it was. LAR leaves bits 19:16 undefined. */
		fact_of(group, table[i].name,
			(uint64_t)zero << 32 | (i < 2 ? (uint32_t)regs.cx & ~(zero && i == 0 ? 0xf0000u : 0u) : 0));
	}
}

static void types(void)
{
	char name[] = "type.00.kernel";
	static const unsigned accesses[] = {0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b,
					    0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x91, 0x92, 0x93, 0x94, 0x96, 0x98, 0x99,
					    0x9a, 0x9c, 0x9e, 0xf0, 0xf2, 0xf8, 0xfa, 0xfc, 0x12, 0x1a, 0xe2, 0xe9};

	for (unsigned i = 0; i < sizeof(accesses) / sizeof(accesses[0]); i++) {
		unsigned access = accesses[i];
		name[5] = "0123456789abcdef"[access >> 4];
		name[6] = "0123456789abcdef"[access & 15];
		gdt_set(TEST_SELECTOR, descriptor(0x12345678, 0x54321, access, 0xc));
		gdt_set(TEST_SELECTOR + 8, 0);
		copy_bytes(name + 8, "kernel", 7);
		look(name, TEST_SELECTOR, false);
		copy_bytes(name + 8, "user", 5);
		look(name, TEST_SELECTOR | 3, true);
	}
	look("null", 0, false);
	look("outside", 0x1f80, false);
	look("ldt_none", 4, false);
	gdt_set(TEST_SELECTOR, descriptor(0, 0x54321, 0x93, 0x4));
	look("byte_limit", TEST_SELECTOR, false);
}

FRAGMENT(load_ldt, "lldt %ax");
FRAGMENT(load_es, "mov %eax, %es");
FRAGMENT(read_es, "mov %eax, %es\n movl %es:0, %ecx");
FRAGMENT(store_ldt, "sldt %eax");

static uint64_t ldt[4] __attribute__((aligned(8)));
static uint32_t cell = 0x600d600d;

static void ldt_use(void)
{
	uint64_t made = descriptor((uint32_t)(word)ldt, 23, 0x82, 0);

	ldt[1] = descriptor((uint32_t)(word)&cell, 0xfff, 0xf3, 0x4);
	ldt[2] = descriptor(0, 0xfff, 0x13, 0x4);
	ldt[3] = ldt[1];
	gdt_set(LDT_SELECTOR, made);
	gdt_set(LDT_SELECTOR + 8, 0);
	regs.ax = LDT_SELECTOR;
	outcome("ldt.load", load_ldt);
	run(store_ldt);
	fact("ldt.sldt", regs.ax & 0xffff);
	fact("ldt.not_busy", gdt[LDT_SELECTOR >> 3] == made);
	regs.ax = 0x0f;
	outcome("ldt.es", load_es);
	regs.ax = 0x17;
	outcome("ldt.absent", load_es);
	regs.ax = 0x1f;
	outcome("ldt.outside", load_es);
	regs.ax = 0x07; /* index 0 of the LDT is no null selector, but an empty descriptor */
	outcome("ldt.index_0", load_es);
	if (!IS64) {
		regs.ax = 0x0f;
		run(read_es);
		fact("ldt.base", regs.cx);
	}
	look("ldt.look", 0x0f, false);
	regs.ax = 0;
	outcome("ldt.null", load_ldt);
	regs.ax = 0x0f;
	outcome("ldt.gone", load_es);
}

/* Loading a segment register sets the accessed bit; looking does not. */
static void accessed(void)
{
	gdt_set(TEST_SELECTOR, descriptor(0, 0xfffff, 0xf2, 0xc));
	look("accessed.look", TEST_SELECTOR, false);
	fact("accessed.after_look", gdt[TEST_SELECTOR >> 3] >> 40 & 0xff);
	regs.ax = TEST_SELECTOR;
	run(load_es);
	fact("accessed.after_load", gdt[TEST_SELECTOR >> 3] >> 40 & 0xff);
}

#ifdef __x86_64__
/* Compatibility mode: 32- and 16-bit code under long mode's paging. */
#define CODE16 (FREE_SELECTOR + 0x20)
#define DATA_BASE (FREE_SELECTOR + 0x28)
#define BOTH_L_D (FREE_SELECTOR + 0x30)
#define END32 "\n int $0x80\n .code64"
FRAGMENT(compat_inc,
	 ".code32\n mov $0x10, %eax\n .byte 0x40\n .byte 0x48\n .byte 0x40" END32); /* INC, DEC, INC: no REX here */
FRAGMENT(compat_push, ".code32\n mov %esp, %ecx\n push $0x12345678\n mov %esp, %edx\n sub %edx, %ecx\n pop %eax" END32);
FRAGMENT(compat_wrap, ".code32\n mov $0xffffffff, %ebx\n mov cell_target + 1(%ebx), %eax" END32);
FRAGMENT(compat_base, ".code32\n push $(0x50 + 0x28 + 3)\n pop %es\n mov %es:4, %eax" END32);
FRAGMENT(compat_into, ".code32\n mov $0x7fffffff, %eax\n inc %eax\n into" END32);
FRAGMENT(compat_bound, ".code32\n mov $9, %eax\n bound %eax, compat_bounds" END32);
FRAGMENT(compat_les, ".code32\n les compat_far, %eax\n mov %es, %ecx" END32);
FRAGMENT(compat_aam, ".code32\n mov $0x7b, %eax\n aam\n daa" END32);
FRAGMENT(compat_pusha, ".code32\n mov %esp, %ecx\n pusha\n sub %esp, %ecx\n popa\n xor %eax, %eax" END32);
FRAGMENT(compat_rip, ".code32\n .byte 0x8b, 0x05\n .long cell_target\n nop" END32); /* disp32 is absolute here */
FRAGMENT(compat_address16, ".code32\n mov $0x8000, %ebx\n movl $0x77, 0x8004\n .byte 0x67, 0x8b, 0x47, 0x04" END32);
FRAGMENT(compat_far_to_64, ".code32\n ljmp $0x2b, $1f\n .code64\n 1: mov $0x1122334455667788, %rax\n int $0x80");
FRAGMENT(compat_call_64, ".code32\n lcall $0x2b, $1f\n mov $5, %edx\n int $0x80\n .code64\n 1: mov $3, %eax\n movl "
			 "(%rsp), %ecx\n sub $compat_call_64, %ecx\n lretl");
FRAGMENT(compat_retf, ".code32\n push %cs\n push $1f\n lret\n 1: mov $6, %eax" END32);
FRAGMENT(compat_high_kept, ".code32\n mov $1, %ebx" END32);
FRAGMENT(compat_limit, ".code32\n push $(0x50 + 0x28 + 3)\n pop %es\n mov %es:0xffe, %eax" END32);
FRAGMENT(compat_null_ds, ".code32\n xor %eax, %eax\n mov %eax, %es\n mov %es:0, %eax" END32);
uint32_t cell_target __attribute__((used)) = 0xce11ce11;
static uint32_t based[4] = {1, 0x2222, 3, 4};
int32_t compat_bounds[2] __attribute__((used)) = {1, 5};
struct {
	uint32_t offset;
	uint16_t selector;
} __attribute__((packed)) compat_far __attribute__((used)) = {0x1234, USER_DATA};

/* Addresses on the stack as distances from its top. */
static word placed(word value)
{
	word below = (word)user_stack_top - (uint32_t)value;
	return below < 4096 ? 0x10000 + below : (uint32_t)value;
}

static void compatibility(void)
{
	static const struct {
		const char *name;
		code_function *code;
	} table[] = {
	    {"compat.inc", compat_inc},
	    {"compat.push", compat_push},
	    {"compat.wrap", compat_wrap},
	    {"compat.base", compat_base},
	    {"compat.into", compat_into},
	    {"compat.bound", compat_bound},
	    {"compat.les", compat_les},
	    {"compat.aam", compat_aam},
	    {"compat.pusha", compat_pusha},
	    {"compat.rip", compat_rip},
	    {"compat.address16", compat_address16},
	    {"compat.far_to_64", compat_far_to_64},
	    {"compat.call_64", compat_call_64},
	    {"compat.retf", compat_retf},
	    {"compat.null", compat_null_ds},
	};

	gdt_set(DATA_BASE, descriptor((uint32_t)(word)based, 0xfff, 0xf3, 0x4));
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		regs = (struct regs){0};
		run_at(USER_CODE32, (word)table[i].code, USER_DATA, (word)user_stack_top - 64);
		fact_of(table[i].name, "vector", trap.vector);
		fact_of(table[i].name, "ip", trap.ip - (word)table[i].code);
		fact_of(table[i].name, "cs", trap.cs);
		fact_of(table[i].name, "ax", regs.ax);
		fact_of(table[i].name, "cx", placed(regs.cx));
		fact_of(table[i].name, "dx", placed(regs.dx));
	}
	run_at(KERNEL_CODE32, (word)compat_inc, KERNEL_DATA, (word)user_stack_top - 64);
	fact("compat.kernel.vector", trap.vector);
	fact("compat.kernel.ax", regs.ax);
	gdt_set(BOTH_L_D, descriptor(0, 0xfffff, 0xfb, 0xe));
	run_at(BOTH_L_D | 3, (word)compat_inc, USER_DATA, (word)user_stack_top - 64);
	fact("compat.both_l_d", trap.vector << 16 | trap.error);
}
#else
FRAGMENT(do_arpl, "arpl %cx, %ax\n setz %dl\n movzbl %dl, %edx");
FRAGMENT(read_based, "mov %eax, %es\n mov %es:4, %ecx\n movl $9, %es:8");
FRAGMENT(read_wrapped, "mov %eax, %es\n mov $0x7ffffffc, %ebx\n mov %es:4(%ebx), %ecx");
FRAGMENT(stos_based, "mov %eax, %es\n xor %edi, %edi\n mov $2, %ecx\n mov $7, %eax\n rep stosl");
FRAGMENT(code16,
	 ".code16\n mov $0x12345, %eax\n mov $0x1234, %bx\n inc %bx\n push %bx\n pop %cx\n int $0x80\n .code32");
FRAGMENT(on_stack16, "mov %esp, %ecx\n push %eax\n mov %esp, %edx\n pop %eax\n int $0x80");
static uint32_t based[4] = {1, 0x2222, 3, 4};

#define DATA_BASE (FREE_SELECTOR + 0x28)
#define CODE16 (FREE_SELECTOR + 0x30)
#define STACK16 (FREE_SELECTOR + 0x38)

static void compatibility(void)
{
	static const unsigned rpl[][2] = {{0x10, 0x13}, {0x13, 0x10}, {0x11, 0x11}, {0x20, 1}};
	char name[] = "arpl.0.ax";

	for (unsigned i = 0; i < 4; i++) {
		regs.ax = rpl[i][0];
		regs.cx = rpl[i][1];
		run(do_arpl);
		name[5] = (char)('0' + i);
		name[7] = 'a';
		fact(name, regs.ax);
		name[7] = 'z';
		fact(name, regs.dx);
	}
	gdt_set(DATA_BASE, descriptor((uint32_t)(word)based, 0xfff, 0xf3, 0x4));
	regs.ax = DATA_BASE;
	run(read_based);
	fact("based.read", regs.cx);
	fact("based.written", based[2]);
	regs.ax = DATA_BASE;
	run(stos_based);
	fact("based.stos", based[0] + based[1] + based[2]);
	/* A base near the top wraps at 4 GiB. */
	based[1] = 0x4444;
	gdt_set(DATA_BASE, descriptor((uint32_t)(word)based - 0x7ffffffc, 0xfffff, 0xf3, 0xc));
	regs.ax = DATA_BASE;
	run(read_wrapped);
	fact("based.wrapped", regs.cx);
	gdt_set(CODE16, descriptor((uint32_t)(word)code16, 0xffff, 0xfb, 0));
	run_at(CODE16 | 3, 0, USER_DATA, (word)user_stack_top - 64);
	fact("code16.vector", trap.vector);
	fact("code16.ax", regs.ax);
	fact("code16.cx", regs.cx & 0xffff);
	fact("code16.ip", trap.ip);
	gdt_set(STACK16, descriptor((uint32_t)(word)user_stack_top - 0x1000, 0xffff, 0xf3, 0));
	run_at(USER_CODE, (word)on_stack16, STACK16 | 3, 0x12340010);
	fact("stack16.sp", trap.sp & 0xffff); /* the upper half is left of the kernel's */
	fact("stack16.dx", regs.dx & 0xffff);
	run_at(USER_CODE, (word)on_stack16, STACK16 | 3, 0x12340000); /* wraps to FFFCh */
	fact("stack16.wrapped", regs.dx & 0xffff);
}
#endif

void guest_main(void)
{
	types();
	ldt_use();
	accessed();
	compatibility();
}
