/* SPDX-License-Identifier: MIT */
/* FXSAVE, XSAVE and their kin: images, headers, checks; XCR0; what AVX needs. */
#include "guest.h"

static uint8_t area[4096] __attribute__((aligned(64), used));
uint32_t vectors[16] __attribute__((aligned(64), used)) = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

FRAGMENT(do_fxsave, "fxsave area");
FRAGMENT(do_fxrstor, "fxrstor area");
FRAGMENT(fxsave_misaligned, "fxsave area + 8");
FRAGMENT(prepare, "fninit\n fld1\n fldpi\n movl $0x1fa0, vectors + 32\n ldmxcsr vectors + 32\n movups vectors, %xmm0\n "
		  "movups vectors + 16, %xmm7");
FRAGMENT(wipe, "fninit\n pxor %xmm0, %xmm0\n pxor %xmm7, %xmm7\n movl $0x1f80, vectors + 32\n ldmxcsr vectors + 32");
FRAGMENT(look,
	 "fnstcw vectors + 48\n fnstsw vectors + 50\n stmxcsr vectors + 52\n movups %xmm0, vectors + 16\n fninit");
FRAGMENT(do_xsave, "xsave area");
FRAGMENT(do_xsaveopt, "xsaveopt area");
FRAGMENT(do_xsavec, "xsavec area");
FRAGMENT(do_xrstor, "xrstor area");
FRAGMENT(xsave_misaligned, "xsave area + 16");
FRAGMENT(do_xgetbv, "xgetbv");
FRAGMENT(do_xsetbv, "xsetbv");
FRAGMENT(avx_load, "vmovups vectors, %ymm0");
FRAGMENT(avx_add, "vpaddd %xmm0, %xmm0, %xmm1");
FRAGMENT(avx_high, "vextractf128 $1, %ymm0, vectors + 16");
FRAGMENT(avx_fill, "vmovups vectors, %ymm0\n vmovups vectors, %ymm7");
FRAGMENT(avx_zeroupper, "vzeroupper");
FRAGMENT(sse_keeps_high, "movups vectors + 16, %xmm0");
FRAGMENT(vex_clears_high, "vmovups vectors + 16, %xmm0");

static uint32_t word_at(unsigned offset)
{
	return *(uint32_t *)(void *)(area + offset);
}

static void fx(void)
{
	fill_bytes(area, 0xee, sizeof(area));
	run(prepare);
	run(do_fxsave);
	fact("fx.control", *(uint16_t *)(void *)area);
	fact("fx.status", *(uint16_t *)(void *)(area + 2));
	fact("fx.tag", area[4]);
	fact("fx.mxcsr", word_at(24));
	fact("fx.mask", word_at(28) & 0xffff); /* bit 17 is AMD's */
	fact("fx.st0_low", word_at(32));
	fact("fx.st0_exponent", word_at(40) & 0xffff);
	fact("fx.st1_exponent", word_at(56) & 0xffff);
	fact("fx.xmm0", word_at(160));
	fact("fx.xmm7", word_at(160 + 7 * 16 + 4));
	fact("fx.reserved", word_at(464)); /* software's bytes: left alone */
	run(wipe);
	run(do_fxrstor);
	run(look);
	fact("fx.restored_status", *(uint16_t *)(void *)((uint8_t *)vectors + 50));
	fact("fx.restored_mxcsr", vectors[13]);
	fact("fx.restored_xmm0", vectors[4]);
	*(uint32_t *)(void *)(area + 24) |= 0x10000;
	outcome("fx.bad_mxcsr", do_fxrstor);
	outcome("fx.misaligned", fxsave_misaligned);
	outcome_user("fx.user", do_fxsave);
	write_cr4(read_cr4() & ~CR4_OSFXSR);
	fill_bytes(area, 0xee, 512);
	run(do_fxsave);
	fact("fx.no_osfxsr_control", *(uint16_t *)(void *)area);
	write_cr4(read_cr4() | CR4_OSFXSR);
	vectors[4] = 5;
	run(wipe);
}

static void set_bv(uint64_t value)
{
	regs.cx = 0;
	regs.ax = (uint32_t)value;
	regs.dx = (uint32_t)(value >> 32);
}

static void xcr0(void)
{
	outcome("xs_off.xgetbv", do_xgetbv);
	outcome("xs_off.xsave", do_xsave);
	outcome("xs_off.avx", avx_load);
	check("xs_off.cpuid", !(cpuid(1, 0).ecx >> 27 & 1));
	write_cr4(read_cr4() | CR4_OSXSAVE);
	check("xcr.cpuid", cpuid(1, 0).ecx >> 27 & 1);
	regs.cx = 0;
	run(do_xgetbv);
	fact("xcr.reset", regs.ax);
	regs.cx = 0;
	outcome_user("xcr.user_read", do_xgetbv);
	set_bv(1);
	outcome_user("xcr.user_write", do_xsetbv);
	outcome("xcr.avx_off", avx_load);
	set_bv(0);
	outcome("xcr.zero", do_xsetbv);
	set_bv(2);
	outcome("xcr.no_x87", do_xsetbv);
	set_bv(5);
	outcome("xcr.avx_without_sse", do_xsetbv);
	set_bv(1ull << 63 | 1);
	outcome("xcr.reserved", do_xsetbv);
	set_bv(1);
	regs.cx = 7;
	outcome("xcr.index", do_xsetbv);
	regs.cx = 7;
	outcome("xcr.read_index", do_xgetbv);
	set_bv(3);
	outcome("xcr.sse", do_xsetbv);
	outcome("xcr.avx_still_off", avx_add);
	if (cpu_has(HAS_AVX)) {
		set_bv(7);
		outcome("avx.enable", do_xsetbv);
		outcome("avx.load", avx_load);
	} else {
		absent("avx");
	}
}

static void save_and_restore(void)
{
	/* Everything is live. */
	fill_bytes(area, 0, sizeof(area));
	area[512 + 8] = 0;
	run(prepare);
	set_bv(3);
	run(do_xsave);
	fact("xs.bv", word_at(512) & 3);
	fact("xs.xmm0", word_at(160));
	fact("xs.mxcsr", word_at(24));
	/* Only what the mask asks for; XSTATE_BV of others stays. */
	fill_bytes(area, 0xee, 512);
	set_bv(2);
	run(do_xsave);
	fact("xs.sse_only_control", *(uint16_t *)(void *)area);
	fact("xs.sse_only_xmm", word_at(160));
	fact("xs.sse_only_bv", word_at(512) & 3);
	/* Restoring with a clear bit resets the component. */
	run(prepare);
	set_bv(3);
	run(do_xsave);
	*(uint32_t *)(void *)(area + 512) = 1;
	set_bv(3);
	run(do_xrstor);
	run(look);
	fact("xr.init_xmm0", vectors[4]);
	fact("xr.init_mxcsr", vectors[13]); /* loaded from the image all the same */
	fact("xr.x87_kept", *(uint16_t *)(void *)((uint8_t *)vectors + 50));
	/* Headers that fault. */
	*(uint32_t *)(void *)(area + 512) = 0x3;
	*(uint32_t *)(void *)(area + 520) = 1;
	set_bv(3);
	outcome("xr.bad_comp_bv", do_xrstor);
	*(uint32_t *)(void *)(area + 520) = 0;
	*(uint32_t *)(void *)(area + 516) = 0x40000000;
	outcome("xr.bad_bv", do_xrstor);
	*(uint32_t *)(void *)(area + 516) = 0;
	*(uint32_t *)(void *)(area + 528) = 1;
	outcome("xr.bad_reserved", do_xrstor);
	*(uint32_t *)(void *)(area + 528) = 0;
	*(uint32_t *)(void *)(area + 24) = 0x10000;
	set_bv(3);
	outcome("xr.bad_mxcsr", do_xrstor);
	*(uint32_t *)(void *)(area + 24) = 0x1f80;
	set_bv(3);
	outcome("xr.good", do_xrstor);
	outcome("xs.misaligned", xsave_misaligned);
	write_cr0(read_cr0() | CR0_TS);
	set_bv(3);
	outcome("xs.ts", do_xsave);
	set_bv(3);
	outcome("xr.ts", do_xrstor);
	write_cr0(read_cr0() & ~CR0_TS);
	if (!cpu_has(HAS_XSAVEC)) {
		absent("xsavec");
	} else {
		fill_bytes(area, 0, sizeof(area));
		run(prepare);
		set_bv(3);
		run(do_xsavec);
		fact("xsavec.comp_bv", *(uint64_t *)(void *)(area + 520));
		fact("xsavec.xmm0", word_at(160));
		run(wipe);
		set_bv(3);
		outcome("xsavec.restore", do_xrstor);
		run(look);
		fact("xsavec.restored", vectors[4]);
	}
	if (!cpu_has(HAS_XSAVEOPT)) {
		absent("xsaveopt");
	} else {
		fill_bytes(area, 0, sizeof(area));
		run(prepare);
		set_bv(3);
		run(do_xsaveopt);
		fact("xsaveopt.xmm0", word_at(160));
		fact("xsaveopt.bv", word_at(512) & 3);
	}
}

static void avx(void)
{
	if (!cpu_has(HAS_AVX))
		return;
	for (unsigned i = 0; i < 16; i++)
		vectors[i] = 0x100 + i;
	run(avx_fill);
	run(sse_keeps_high);
	run(avx_high);
	fact("avx.sse_keeps_high", vectors[4]);
	for (unsigned i = 0; i < 16; i++)
		vectors[i] = 0x100 + i;
	run(avx_fill);
	run(vex_clears_high);
	run(avx_high);
	fact("avx.vex_clears_high", vectors[4]);
	for (unsigned i = 0; i < 16; i++)
		vectors[i] = 0x100 + i;
	run(avx_fill);
	fill_bytes(area, 0, sizeof(area));
	set_bv(7);
	run(do_xsave);
	fact("avx.image_bv", word_at(512) & 7);
	fact("avx.image_offset", cpuid(13, 2).ebx);
	fact("avx.image_high", word_at(576));
	run(avx_zeroupper);
	set_bv(4);
	run(do_xrstor);
	run(avx_high);
	fact("avx.restored_high", vectors[4]);
	/* FXRSTOR leaves the upper halves alone; XRSTOR with a clear bit does not. */
	*(uint32_t *)(void *)(area + 512) = 3;
	set_bv(7);
	run(do_xrstor);
	run(avx_high);
	fact("avx.init_high", vectors[4]);
	outcome("avx.user", avx_add);
	write_cr0(read_cr0() | CR0_TS);
	outcome("avx.ts", avx_add);
	write_cr0(read_cr0() & ~CR0_TS);
	check("avx.size", cpuid(13, 0).ebx == 576 + 256);
	set_bv(3);
	run(do_xsetbv);
	check("avx.size_off", cpuid(13, 0).ebx == 576);
	outcome("avx.off_again", avx_add);
	set_bv(7);
	run(do_xsetbv);
	write_cr4(read_cr4() & ~CR4_OSXSAVE);
	outcome("avx.no_osxsave", avx_add);
	write_cr4(read_cr4() | CR4_OSXSAVE);
}

void guest_main(void)
{
	fx();
	if (!cpu_has(HAS_XSAVE)) {
		absent("xs");
		return;
	}
	xcr0();
	save_and_restore();
	avx();
}
