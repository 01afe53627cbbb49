/* SPDX-License-Identifier: MIT */
/*
 * Every form of access to a memory-mapped register, by many instructions: the local APIC's task priority (8 bits behind
 * 32), its error LVT and destination registers.
 */
#include "apic.h"

/* TPR at (BX). AX in, AX out; the fact is AX and the register afterwards. */
#define FORMS(X)                                                                                                       \
	X(mov_load, "mov (" BX "), %eax")                                                                              \
	X(mov_store, "mov %eax, (" BX ")")                                                                             \
	X(mov_imm, "movl $0x35, (" BX ")")                                                                             \
	X(mov_moffs_load, "mov 0xfee00080, %eax")                                                                      \
	X(add, "addl $0x11, (" BX ")")                                                                                 \
	X(add_reg, "add (" BX "), %eax")                                                                               \
	X(adc, "stc\n adcl $1, (" BX ")")                                                                              \
	X(sub, "subl $3, (" BX ")")                                                                                    \
	X(and, "andl $0xf0, (" BX ")")                                                                                 \
	X(or, "orl $0x0f, (" BX ")")                                                                                   \
	X(xor, "xorl $0xff, (" BX ")")                                                                                 \
	X(inc, "incl (" BX ")")                                                                                        \
	X(dec, "decl (" BX ")")                                                                                        \
	X(neg, "negl (" BX ")")                                                                                        \
	X(not, "notl (" BX ")")                                                                                        \
	X(shl, "shll $1, (" BX ")")                                                                                    \
	X(ror_cl, "mov $4, %cl\n rorl %cl, (" BX ")")                                                                  \
	X(shld, "mov $0xf0000000, %edx\n shld $4, %edx, (" BX ")")                                                     \
	X(cmp, "cmpl $0x40, (" BX ")\n sete %al\n movzbl %al, %eax")                                                   \
	X(test, "testl $0x40, (" BX ")\n setne %al\n movzbl %al, %eax")                                                \
	X(bt, "btl $6, (" BX ")\n setc %al\n movzbl %al, %eax")                                                        \
	X(bts, "btsl $0, (" BX ")")                                                                                    \
	X(btr_reg, "mov $6, %ecx\n btr %ecx, (" BX ")")                                                                \
	X(btc_reg_far, "mov $(32 * 4 + 2), %ecx\n sub $16, " BX "\n btc %ecx, (" BX ")")                               \
	X(xchg, "xchg %eax, (" BX ")")                                                                                 \
	X(xadd, "xadd %eax, (" BX ")")                                                                                 \
	X(lock_xadd, "lock xadd %eax, (" BX ")")                                                                       \
	X(cmpxchg, "mov $0x50, %ecx\n mov $0x40, %eax\n cmpxchg %ecx, (" BX ")")                                       \
	X(lock_cmpxchg_fail, "mov $0x50, %ecx\n mov $0x41, %eax\n lock cmpxchg %ecx, (" BX ")")                        \
	X(lock_or, "lock orl $1, (" BX ")")                                                                            \
	X(movs_from, "mov " BX ", " SI "\n mov $target, " DI "\n movsl\n mov target, %eax")                            \
	X(movs_to, "movl $0x77, target\n mov " BX ", " DI "\n mov $target, " SI "\n movsl")                            \
	X(rep_movs, "mov " BX ", " SI "\n mov $target, " DI "\n mov $1, %ecx\n rep movsl\n mov target, %eax")          \
	X(stos, "mov " BX ", " DI "\n mov $0x66, %eax\n stosl")                                                        \
	X(lods, "mov " BX ", " SI "\n lodsl")                                                                          \
	X(scas, "mov " BX ", " DI "\n mov $0x40, %eax\n scasl\n sete %al\n movzbl %al, %eax")                          \
	X(cmps, "movl $0x40, target\n mov " BX ", " DI "\n mov $target, " SI "\n cmpsl\n sete %al\n movzbl %al, %eax") \
	X(movzx_byte, "movzbl (" BX "), %eax")                                                                         \
	X(movsx_byte, "movsbl (" BX "), %eax")                                                                         \
	X(imul, "mov $3, %eax\n imul (" BX "), %eax")                                                                  \
	X(mul, "mov $3, %eax\n mull (" BX ")")                                                                         \
	X(div, "mov $0x81, %eax\n xor %edx, %edx\n divl (" BX ")")                                                     \
	X(cmov_taken, "xor %eax, %eax\n cmovz (" BX "), %eax")                                                         \
	X(cmov_not, "xor %eax, %eax\n cmovnz (" BX "), %eax")                                                          \
	X(movd_load, "movd (" BX "), %xmm0\n movd %xmm0, %eax")                                                        \
	X(movd_store, "mov $0x23, %eax\n movd %eax, %xmm0\n movd %xmm0, (" BX ")")                                     \
	X(movss_load, "movss (" BX "), %xmm0\n movd %xmm0, %eax")                                                      \
	X(movss_store, "mov $0x24, %eax\n movd %eax, %xmm0\n movss %xmm0, (" BX ")")                                   \
	X(addss, "xorps %xmm0, %xmm0\n addss (" BX "), %xmm0")                                                         \
	X(movnti, "mov $0x25, %eax\n movnti %eax, (" BX ")")                                                           \
	X(mmx_load, "movd (" BX "), %mm0\n movd %mm0, %eax\n emms")                                                    \
	X(cvtsi2sd, "cvtsi2sdl (" BX "), %xmm0\n cvtsd2si %xmm0, %eax")                                                \
	X(fild, "fninit\n fildl (" BX ")\n fistpl target\n mov target, %eax")                                          \
	X(fist, "fninit\n movl $0x26, target\n fildl target\n fistpl (" BX ")")                                        \
	X(fadd, "fninit\n fldz\n fiaddl (" BX ")\n fistpl target\n mov target, %eax")                                  \
	X(pinsrw, "pxor %xmm0, %xmm0\n pinsrw $0, (" BX "), %xmm0\n movd %xmm0, %eax")                                 \
	X(bsf, "bsf (" BX "), %eax")                                                                                   \
	X(bsr, "bsr (" BX "), %eax")                                                                                   \
	X(lea_only, "lea 5(" BX "), " AX)

uint32_t target __attribute__((used));

#define X(name, text) FRAGMENT(do_##name, text);
FORMS(X)
#undef X

static void forms(void)
{
	static const struct {
		const char *name;
		code_function *code;
	} table[] = {
#define X(name, text) {#name, do_##name},
	    FORMS(X)
#undef X
	};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		apic_write(APIC_TPR, 0x40);
		regs.ax = 0x1234567 & 0xff;
		regs.bx = APIC + APIC_TPR;
		run(table[i].code);
		fact_of(table[i].name, "vector", trap.vector);
		fact_of(table[i].name, "ax", regs.ax & 0xffffffff);
		fact_of(table[i].name, "flags",
			regs.flags & 0x41); /* ZF and CF: defined for all of these that set flags */
		fact_of(table[i].name, "register", apic_read(APIC_TPR));
	}
	apic_write(APIC_TPR, 0);
}

/* The same registers through a second linear address with other attributes, and from ring 3. */
FRAGMENT(load, "mov (" BX "), %eax");
FRAGMENT(store, "mov %eax, (" BX ")");

static void mappings(void)
{
#ifndef __x86_64__
	paging_start(PAGING_PAE);
#endif
	map(AREA, APIC, PTE_P | PTE_W | PTE_U | PTE_PCD);
	regs.bx = AREA + APIC_TPR;
	regs.ax = 0x30;
	run_user(store);
	fact("alias.written", apic_read(APIC_TPR));
	run_user(load);
	fact("alias.read", regs.ax);
	fact("alias.ad", entry_read(entry_of(AREA, 1)) & (PTE_A | PTE_D));
	map(AREA, APIC, PTE_P | PTE_U);
	regs.bx = AREA + APIC_TPR;
	outcome_user("alias.read_only", store);
	fact("alias.kept", apic_read(APIC_TPR));
	map(AREA, APIC, PTE_P);
	outcome_user("alias.supervisor", load);
	/* The page becomes memory and MMIO again. */
	word frame = (word)page_alloc();
	*(uint32_t *)(frame + APIC_TPR) = 0x1234;
	map(AREA, frame, PTE_P | PTE_W | PTE_U);
	run_user(load);
	fact("alias.memory", regs.ax);
	map(AREA, APIC, PTE_P | PTE_W | PTE_U);
	run_user(load);
	fact("alias.mmio", regs.ax);
	apic_write(APIC_TPR, 0);
#ifndef __x86_64__
	paging_stop();
#endif
}

void guest_main(void)
{
	apic_start();
	forms();
	mappings();
}
