/* SPDX-License-Identifier: MIT */
/*
 * Every instruction that touches more than its effective address says, at every edge of memory and of the address
 * space: bit strings with register offsets, gathers, XLAT, masked stores, strings in both directions, state images, far
 * pointers, stacks. Runs at CPL 3 without write access to anything but two pages; the canary and the kernel must stay
 * whole.
 */
#include "hostile.h"

#define FORMS(X)                                                                                                       \
	X(bt, "bt " AX ", (" BX ")")                                                                                   \
	X(bts, "bts " AX ", (" BX ")")                                                                                 \
	X(btr, "lock btr " AX ", (" BX ")")                                                                            \
	X(btc, "btc " AX ", (" BX ")")                                                                                 \
	X(bts_32, "bts %eax, (" BX ")")                                                                                \
	X(bts_16, "bts %ax, (" BX ")")                                                                                 \
	X(btc_scaled, "btc %eax, 0x7fffffff(" BX ", " BX ", 8)")                                                       \
	X(xlat, "xlat")                                                                                                \
	X(xlat_fs, "xlat %fs:(" BX ")")                                                                                \
	X(maskmovdqu, "mov " BX ", " DI "\n pcmpeqd %xmm1, %xmm1\n maskmovdqu %xmm0, %xmm1")                           \
	X(maskmovdqu_none, "mov " BX ", " DI "\n pxor %xmm1, %xmm1\n maskmovdqu %xmm0, %xmm1")                         \
	X(maskmovq, "mov " BX ", " DI "\n pcmpeqd %mm1, %mm1\n maskmovq %mm0, %mm1\n emms")                            \
	X(movs_up, "mov " BX ", " DI "\n mov " BX ", " SI "\n mov " AX ", " CX "\n rep movsb")                         \
	X(movs_down, "mov " BX ", " DI "\n mov " BX ", " SI "\n mov $-1, " CX "\n std\n rep movsl\n cld")              \
	X(stos_up, "mov " BX ", " DI "\n mov $-1, " CX "\n rep stosl")                                                 \
	X(stos_down, "mov " BX ", " DI "\n mov $-1, " CX "\n std\n rep stosb\n cld")                                   \
	X(lods_huge, "mov " BX ", " SI "\n mov " AX ", " CX "\n rep lodsl")                                            \
	X(cmps_down, "mov " BX ", " DI "\n mov " BX ", " SI "\n mov $-1, " CX "\n std\n repe cmpsb\n cld")             \
	X(scas_huge, "mov " BX ", " DI "\n mov $-1, " CX "\n repe scasl")                                              \
	X(fxsave, "fxsave (" BX ")")                                                                                   \
	X(fxrstor, "fxrstor (" BX ")")                                                                                 \
	X(fnsave, "fnsave (" BX ")")                                                                                   \
	X(frstor, "frstor (" BX ")")                                                                                   \
	X(fnstenv, "fnstenv (" BX ")")                                                                                 \
	X(fldenv, "fldenv (" BX ")")                                                                                   \
	X(fnsave_16, "data16 fnsave (" BX ")")                                                                         \
	X(fbstp, "fninit\n fld1\n fbstp (" BX ")")                                                                     \
	X(fstpt, "fninit\n fld1\n fstpt (" BX ")")                                                                     \
	X(xsave, "mov $-1, %eax\n mov $-1, %edx\n xsave (" BX ")")                                                     \
	X(xsavec, "mov $-1, %eax\n mov $-1, %edx\n xsavec (" BX ")")                                                   \
	X(xsaveopt, "mov $7, %eax\n xor %edx, %edx\n xsaveopt (" BX ")")                                               \
	X(xrstor, "mov $-1, %eax\n mov $-1, %edx\n xrstor (" BX ")")                                                   \
	X(cmpxchg8b, "cmpxchg8b (" BX ")")                                                                             \
	X(push, "mov " BX ", " SP "\n push " AX)                                                                       \
	X(push_16, "mov " BX ", " SP "\n pushw %ax")                                                                   \
	X(pop, "mov " BX ", " SP "\n pop " AX)                                                                         \
	X(pop_memory, "mov " BX ", " SP "\n pop (" SP ")")                                                             \
	X(call, "mov " BX ", " SP "\n call 1f\n 1: nop")                                                               \
	X(ret, "mov " BX ", " SP "\n ret $0xffff")                                                                     \
	X(enter, "mov " BX ", " SP "\n mov " AX ", " BP "\n enter $0xffff, $31")                                       \
	X(enter_16, "mov " BX ", " SP "\n enter $0, $0")                                                               \
	X(leave, "mov " BX ", " BP "\n leave")                                                                         \
	X(pushf, "mov " BX ", " SP "\n pushf")                                                                         \
	X(popf, "mov " BX ", " SP "\n popf")                                                                           \
	X(iret, "mov " BX ", " SP "\n iretl")                                                                          \
	X(lret, "mov " BX ", " SP "\n lretl")                                                                          \
	X(jump, "jmp *" BX)                                                                                            \
	X(jump_memory, "jmp *(" BX ")")                                                                                \
	X(far_jump, "ljmp *(" BX ")")                                                                                  \
	X(far_call, "lcall *(" BX ")")                                                                                 \
	X(lfs, "lfs (" BX "), %eax")                                                                                   \
	X(sgdt, "sgdt (" BX ")")                                                                                       \
	X(sidt, "sidt (" BX ")")                                                                                       \
	X(clflush, "clflush (" BX ")")                                                                                 \
	X(prefetch, "prefetcht0 (" BX ")\n prefetchw (" BX ")")                                                        \
	X(movntdq, "movntdq %xmm0, (" BX ")")                                                                          \
	X(movups, "movups (" BX "), %xmm0\n movups %xmm0, (" BX ")")                                                   \
	X(lddqu, "lddqu (" BX "), %xmm0")                                                                              \
	X(gather_dd, "vpcmpeqd %ymm2, %ymm2, %ymm2\n vmovups gather_indices, %ymm1\n vpgatherdd %ymm2, (" BX           \
		     ", %ymm1, 8), %ymm0")                                                                             \
	X(gather_qq, "vpcmpeqd %ymm2, %ymm2, %ymm2\n vmovups gather_indices, %ymm1\n vpgatherqq %ymm2, 0x7fffffff(" BX \
		     ", %ymm1, 8), %ymm0")                                                                             \
	X(gather_dpd, "vpcmpeqd %ymm2, %ymm2, %ymm2\n vmovups gather_indices, %xmm1\n vgatherdpd %ymm2, (" BX          \
		      ", %xmm1, 4), %ymm0")                                                                            \
	X(gather_none,                                                                                                 \
	  "vpxor %ymm2, %ymm2, %ymm2\n vmovups gather_indices, %ymm1\n vpgatherdd %ymm2, (" BX ", %ymm1, 8), %ymm0")   \
	X(vmaskmov, "vpcmpeqd %ymm1, %ymm1, %ymm1\n vmaskmovps %ymm0, %ymm1, (" BX ")")                                \
	X(vpmaskmov_load, "vpxor %ymm1, %ymm1, %ymm1\n vpmaskmovd (" BX "), %ymm1, %ymm0")                             \
	X(vmovups, "vmovups (" BX "), %ymm0\n vmovups %ymm0, (" BX ")")                                                \
	X(movdir64b, "mov " BX ", " AX "\n .byte 0x66, 0x0f, 0x38, 0xf8, 0x03")                                        \
	X(enqcmd, ".byte 0xf2, 0x0f, 0x38, 0xf8, 0x03")                                                                \
	X(clzero, "mov " BX ", " AX "\n .byte 0x0f, 0x01, 0xfc")                                                       \
	X(wrpkru, "xor %ecx, %ecx\n xor %edx, %edx\n xor %eax, %eax\n .byte 0x0f, 0x01, 0xef")                         \
	X(rdpkru, "xor %ecx, %ecx\n .byte 0x0f, 0x01, 0xee")                                                           \
	X(vmcall, "vmcall")                                                                                            \
	X(vmmcall, "vmmcall")                                                                                          \
	X(xsetbv, "xor %ecx, %ecx\n mov $-1, %eax\n xor %edx, %edx\n xsetbv")                                          \
	X(xgetbv, "mov " AX ", " CX "\n xgetbv")                                                                       \
	X(rdpid, ".byte 0xf3, 0x0f, 0xc7, 0xf8")                                                                       \
	X(monitor, "mov " BX ", " AX "\n monitor")                                                                     \
	X(mwait, "mwait")                                                                                              \
	X(umonitor, ".byte 0xf3, 0x0f, 0xae, 0xf3")                                                                    \
	X(tpause, ".byte 0x66, 0x0f, 0xae, 0xf3")                                                                      \
	X(xbegin, ".byte 0xc7, 0xf8, 0, 0, 0, 0")                                                                      \
	X(rdssp, ".byte 0xf3, 0x48, 0x0f, 0x1e, 0xc8")                                                                 \
	X(encls, ".byte 0x0f, 0x01, 0xcf")                                                                             \
	X(enclu, ".byte 0x0f, 0x01, 0xd7")                                                                             \
	X(senduipi, ".byte 0xf3, 0x0f, 0xc7, 0xf3")                                                                    \
	X(syscall, "syscall")                                                                                          \
	X(sysenter, "sysenter")                                                                                        \
	X(rdpmc, "mov " AX ", " CX "\n rdpmc")                                                                         \
	X(loadall, ".byte 0x0f, 0x05, 0x0f, 0x07")

#ifdef __x86_64__
#define FORMS_BY_WIDTH(X)                                                                                              \
	X(cmpxchg16b, "cmpxchg16b (" BX ")")                                                                           \
	X(fxsave64, "fxsave64 (" BX ")")                                                                               \
	X(xsave64, "mov $-1, %eax\n mov $-1, %edx\n xsave64 (" BX ")")                                                 \
	X(wrfsbase, "wrfsbase %rbx\n mov %fs:0, %eax\n mov %fs:-8, %eax")                                              \
	X(wrgsbase, "wrgsbase %rax\n movups %gs:(%rbx), %xmm0")                                                        \
	X(addr32_stos, "mov %rbx, %rdi\n mov $-1, %rcx\n addr32 rep stosb")                                            \
	X(addr32_load, "addr32 mov -1(%ebx, %eax, 8), %edx")                                                           \
	X(addr32_bts, "addr32 bts %rax, (%ebx)")                                                                       \
	X(moffs, "movabs 0x7ffffffffffffffc, %al")                                                                     \
	X(rip_relative, "mov 0x7fffffff(%rip), %eax\n mov -0x80000000(%rip), %eax")
#else
#define FORMS_BY_WIDTH(X)                                                                                              \
	X(pusha, "mov " BX ", " SP "\n pusha")                                                                         \
	X(popa, "mov " BX ", " SP "\n popa")                                                                           \
	X(bound, "bound %eax, (%ebx)")                                                                                 \
	X(les, "les (%ebx), %eax")                                                                                     \
	X(addr16, "addr16 mov (%bx), %eax\n addr16 rep movsl")                                                         \
	X(addr16_bts, "addr16 bts %eax, 0x7fff(%bx, %di)")                                                             \
	X(moffs, "mov 0xfffffffe, %eax")
#endif

uint32_t gather_indices[8]
    __attribute__((aligned(32), used)) = {0, 0x7fffffff, 0x80000000, 0xffffffff, 1, 0x10000000, 0xf0000000, 2};

#define X(name, text) FRAGMENT(do_##name, text);
FORMS(X)
FORMS_BY_WIDTH(X)
#undef X

static code_function *const forms[] = {
#define X(name, text) do_##name,
    FORMS(X) FORMS_BY_WIDTH(X)
#undef X
};
#define FORM_COUNT (sizeof(forms) / sizeof(forms[0]))

/* Where to try: RAM here is 32 MiB. */
static const uint64_t places[] = {0,
				  8,
				  0xfff,
				  0x9ffff,
				  0xa0000,
				  0xbfffc,
				  0xc0000,
				  0xffffc,
				  0x1fffff0,
				  0x1ffffff,
				  0x2000000,
				  0x40000000,
				  0x7ffffffc,
				  0x80000000,
				  0xb0000000,
				  0xdffffffc,
				  0xfebffffc,
				  0xfec00000,
				  0xfec00010,
				  0xfee00000,
				  0xfee00080,
				  0xfee00ffc,
				  0xffe00000,
				  0xfffffff0,
				  0xfffffffc,
				  0xffffffff,
				  0x100000000,
				  0x17ffffffc,
				  0x7fffffffff,
				  0x7ffffffffff8,
				  0x7fffffffffff,
				  0x800000000000,
				  0x800000000008,
				  0xffff7fffffffffff,
				  0xffff800000000000,
				  0xffff888000000000,
				  0xffffffff80000000,
				  0xfffffffffffff000,
				  0xfffffffffffffff0,
				  0xfffffffffffffffc,
				  0xffffffffffffffff,
				  0x4000000000000000,
				  0x8000000000000000,
				  0x7fffffffffffffff,
				  0x555555554000,
				  0x7ffff7ff0000};
static const uint64_t offsets[] = {0,
				   1,
				   63,
				   0x7fff,
				   0x8000,
				   0x7fffffff,
				   0x80000000,
				   0xffffffff,
				   0x7fffffffffffffff,
				   0x8000000000000000,
				   0xffffffffffffffff,
				   0x3ffffffffff8,
				   0xfffffc0000000000};

static unsigned vectors_seen[33];

static void attempt(code_function *form, word place, word offset)
{
	for (unsigned i = 0; i < sizeof(regs) / sizeof(word); i++)
		((word *)&regs)[i] = offset;
	regs.bx = place;
	regs.ax = offset;
	run_user(form);
	vectors_seen[trap.vector < 32 ? trap.vector : 32]++;
}

void guest_main(void)
{
	word edge;
	uint8_t *page;

	canary_plant();
	ring_3_confine();
	watchdog_start();
	if (IS64 && cpu_has(HAS_FSGSBASE))
		write_cr4(read_cr4() | CR4_FSGSBASE);
	if (cpu_has(HAS_XSAVE)) {
		write_cr4(read_cr4() | CR4_OSXSAVE);
		__asm__ volatile("xsetbv" : : "c"(0), "a"(cpu_has(HAS_AVX) ? 7 : 3), "d"(0));
	}
	/* One page that CPL 3 may write, nothing around it. */
	page = page_alloc();
	map(AREA + 16 * PAGE, (word)page, PTE_P | PTE_W | PTE_U);
	edge = AREA + 17 * PAGE;
	for (unsigned i = 0; i < FORM_COUNT; i++) {
		for (unsigned j = 0; j < sizeof(places) / sizeof(places[0]); j++) {
			if (!IS64 && places[j] >> 32)
				continue;
			for (unsigned k = 0; k < sizeof(offsets) / sizeof(offsets[0]); k += 1 + random_below(3))
				attempt(forms[i], (word)places[j], (word)offsets[k]);
		}
		for (int back = -8; back < 600; back += 1 + (int)random_below(40))
			attempt(forms[i], edge - (word)back, (word)offsets[random_below(13)]);
	}
	canary_check("canary.after_reach");
	check("faults.page", vectors_seen[14] > 100);
	check("faults.general", !IS64 || vectors_seen[13] > 100);
	check("faults.undefined", vectors_seen[6] > 10);
	check("faults.none", vectors_seen[32] > 10);
	rest();
}
