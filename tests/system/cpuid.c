/* SPDX-License-Identifier: MIT */
/*
 * CPUID and the MSRs beside it, checked by rule, since each processor may promise other things: what is promised works,
 * what is not raises #UD or #GP, and leaves agree with each other.
 */
#include "guest.h"

FRAGMENT(do_rdtscp, "rdtscp");
FRAGMENT(do_rdpid, ".byte 0xf3, 0x0f, 0xc7, 0xf8");
FRAGMENT(do_movbe, "movbe vector, %eax");
FRAGMENT(do_popcnt, "popcnt %eax, %eax");
FRAGMENT(do_sse3, "haddps %xmm0, %xmm0");
FRAGMENT(do_ssse3, "pshufb %xmm0, %xmm0");
FRAGMENT(do_sse41, "pmulld %xmm0, %xmm0");
FRAGMENT(do_sse42, "crc32l %eax, %ecx");
FRAGMENT(do_aes, "aesenc %xmm0, %xmm0");
FRAGMENT(do_clmul, "pclmulqdq $0, %xmm0, %xmm0");
FRAGMENT(do_sha, "sha1msg1 %xmm0, %xmm0");
FRAGMENT(do_avx, "vaddps %ymm0, %ymm0, %ymm0");
FRAGMENT(do_avx2, "vpaddd %ymm0, %ymm0, %ymm0");
FRAGMENT(do_fma, "vfmadd132ps %ymm0, %ymm0, %ymm0");
FRAGMENT(do_f16c, "vcvtph2ps %xmm0, %ymm0");
FRAGMENT(do_bmi1, "andn %eax, %ecx, %eax");
FRAGMENT(do_bmi2, "pdep %eax, %ecx, %eax");
FRAGMENT(do_adx, "adcx %eax, %ecx");
FRAGMENT(do_rdrand, "rdrand %eax");
FRAGMENT(do_rdseed, "rdseed %eax");
FRAGMENT(do_clflushopt, "clflushopt vector");
FRAGMENT(do_invpcid, "xor %eax, %eax\n mov $vector, %ecx\n .byte 0x66, 0x0f, 0x38, 0x82, 0x01");
FRAGMENT(do_monitor, "mov $vector, %eax\n xor %ecx, %ecx\n xor %edx, %edx\n monitor");
FRAGMENT(do_stac, "stac\n clac");
FRAGMENT(do_sse4a, "extrq %xmm0, %xmm0");
FRAGMENT(do_gfni, ".byte 0x66, 0x0f, 0x38, 0xcf, 0xc0");
FRAGMENT(do_rdpkru, "xor %ecx, %ecx\n rdpkru");
FRAGMENT(do_wrpkru, "xor %eax, %eax\n xor %ecx, %ecx\n xor %edx, %edx\n wrpkru");
FRAGMENT(do_movdir64b, "mov $vector, %eax\n .byte 0x66, 0x0f, 0x38, 0xf8, 0x00");
FRAGMENT(do_movdiri, "mov $vector, %ecx\n .byte 0x0f, 0x38, 0xf9, 0x01");
FRAGMENT(do_enqcmd, "mov $vector, %eax\n .byte 0xf2, 0x0f, 0x38, 0xf8, 0x00");
FRAGMENT(do_clzero, "mov $vector, %eax\n .byte 0x0f, 0x01, 0xfc");
FRAGMENT(do_vmxon, "vmxon vector");
FRAGMENT(do_encls, "xor %eax, %eax\n .byte 0x0f, 0x01, 0xcf");
FRAGMENT(do_cldemote, ".byte 0x0f, 0x1c, 0x00");    /* a NOP where it is not known */
FRAGMENT(do_endbr, ".byte 0xf3, 0x0f, 0x1e, 0xfa"); /* so is this */
FRAGMENT(do_xsaves, "xor %eax, %eax\n xor %edx, %edx\n xsaves vector");
FRAGMENT(do_lzcnt, "lzcnt %eax, %ecx");
FRAGMENT(do_uintr, ".byte 0xf3, 0x0f, 0x01, 0xee");
uint8_t vector[4096] __attribute__((aligned(64), used));

/* Promised: runs. Not promised: #UD. */
static const struct {
	const char *name;
	unsigned bit;
	code_function *code;
} features[] = {
    {"rdtscp", HAS_RDTSCP, do_rdtscp},
    {"rdpid", 96 + 22, do_rdpid},
    {"movbe", 22, do_movbe},
    {"popcnt", 23, do_popcnt},
    {"sse3", 0, do_sse3},
    {"ssse3", 9, do_ssse3},
    {"sse4_1", 19, do_sse41},
    {"sse4_2", 20, do_sse42},
    {"aes", 25, do_aes},
    {"pclmulqdq", 1, do_clmul},
    {"sha", 64 + 29, do_sha},
    {"avx", 28, do_avx},
    {"avx2", 64 + 5, do_avx2},
    {"fma", 12, do_fma},
    {"f16c", 29, do_f16c},
    {"bmi1", 64 + 3, do_bmi1},
    {"bmi2", 64 + 8, do_bmi2},
    {"adx", 64 + 19, do_adx},
    {"rdrand", 30, do_rdrand},
    {"rdseed", 64 + 18, do_rdseed},
    {"clflushopt", 64 + 23, do_clflushopt},
    {"invpcid", HAS_INVPCID, do_invpcid},
    {"monitor", 3, do_monitor},
    {"smap", HAS_SMAP, do_stac},
    {"sse4a", 128 + 6, do_sse4a},
    {"gfni", 96 + 8, do_gfni},
    {"movdir64b", 96 + 28, do_movdir64b},
    {"movdiri", 96 + 27, do_movdiri},
    {"clzero", 0xffff, do_clzero},
    {"enqcmd", 96 + 29, do_enqcmd},
};

static void promises(void)
{
	word cr4 = read_cr4();

	if (cpu_has(HAS_XSAVE)) {
		write_cr4(cr4 | CR4_OSXSAVE);
		if (cpu_has(HAS_AVX))
			__asm__ volatile("xsetbv" : : "c"(0), "a"(7), "d"(0));
	}
	for (unsigned i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		bool promised;
		if (features[i].bit == 0xffff)
			promised = cpuid(0x80000000, 0).eax >= 0x80000008 && (cpuid(0x80000008, 0).ebx & 1);
		else
			promised = cpu_has(features[i].bit);
		run(features[i].code);
		check(features[i].name, promised ? trap.vector == NO_TRAP : trap.vector == 6);
	}
	run(do_rdpkru); /* needs CR4.PKE, which is off */
	check("rdpkru", trap.vector == 6);
	run(do_wrpkru);
	check("wrpkru", trap.vector == 6);
	run(do_vmxon);
	check("vmxon", trap.vector == 6);
	run(do_encls);
	check("encls", trap.vector == 6 || trap.vector == 13);
	run(do_uintr);
	check("uintr", trap.vector == 6);
	run(do_xsaves);
	check("xsaves", cpu_has(192 + 3) ? trap.vector == NO_TRAP : trap.vector == 6);
	run(do_cldemote);
	check("nop_0f1c", trap.vector == NO_TRAP);
	run(do_endbr);
	check("nop_endbr", trap.vector == NO_TRAP);
	run(do_lzcnt);
	check("lzcnt_or_bsr", trap.vector == NO_TRAP);
	write_cr4(cr4);
}

FRAGMENT(load_cr4, "mov " AX ", %cr4");

static bool control_bit(unsigned cr4_bit)
{
	word saved = read_cr4();
	bool sticks;

	regs.ax = saved | 1ul << cr4_bit;
	run(load_cr4);
	sticks = trap.vector == NO_TRAP && (read_cr4() >> cr4_bit & 1);
	write_cr4(saved);
	return sticks;
}

static void leaves(void)
{
	struct cpuid zero = cpuid(0, 0), one = cpuid(1, 0), extended = cpuid(0x80000000, 0);

	check("max_leaf", zero.eax >= 1 && zero.eax < 0x100);
	check("max_extended", extended.eax >= 0x80000004 && extended.eax < 0x80000100);
	check("vendor_same", zero.ebx != 0 && zero.ecx != 0 && zero.edx != 0);
	check("apic_id", one.ebx >> 24 == *(volatile uint32_t *)0xfee00020ul >> 24);
	check("base_features", (one.edx & 0x0380a171) == 0x0380a171);
	check("clflush_size", (one.ebx >> 8 & 0xff) == 8);
	check("physical_bits", extended.eax < 0x80000008 || (cpuid(0x80000008, 0).eax & 0xff) >= 36);
	check("linear_bits", extended.eax < 0x80000008 || !IS64 || (cpuid(0x80000008, 0).eax >> 8 & 0xff) >= 48);
	check("long_mode", !IS64 || cpu_has(160 + 29));
	check("osxsave_off", !(one.ecx >> 27 & 1));
	write_cr4(read_cr4() | (cpu_has(HAS_XSAVE) ? CR4_OSXSAVE : 0));
	check("osxsave_on", !cpu_has(HAS_XSAVE) || (cpuid(1, 0).ecx >> 27 & 1));
	write_cr4(read_cr4() & ~CR4_OSXSAVE);
	if (cpu_has(HAS_XSAVE)) {
		struct cpuid d = cpuid(13, 0);
		check("xsave_mask", (d.eax & 3) == 3 && d.ecx >= 576 && d.ebx >= 576 && d.ebx <= d.ecx);
		check("avx_needs_xsave", !cpu_has(HAS_AVX) || (d.eax & 4));
	} else {
		check("avx_needs_xsave", !cpu_has(HAS_AVX));
	}
	check("avx2_needs_avx", !cpu_has(64 + 5) || cpu_has(HAS_AVX));
	check("fma_needs_avx", !cpu_has(12) || cpu_has(HAS_AVX));
#ifdef __x86_64__
	identity_user(false); /* SMEP */
#endif
	/* CR4 takes what CPUID offers, and nothing else. */
	check("cr4_smep", control_bit(20) == cpu_has(HAS_SMEP));
	check("cr4_fsgsbase", control_bit(16) == cpu_has(HAS_FSGSBASE));
	check("cr4_osxsave", control_bit(18) == cpu_has(HAS_XSAVE));
	check("cr4_umip", control_bit(11) == cpu_has(HAS_UMIP));
#ifdef __x86_64__
	identity_user(true);
#endif
	check("cr4_pke", control_bit(22) == cpu_has(96 + 3));
}

static void time(void)
{
	uint64_t last = read_tsc();
	bool backwards = false;

	for (unsigned i = 0; i < 1000; i++) {
		uint64_t now = read_tsc();
		if (now < last)
			backwards = true;
		last = now;
	}
	check("tsc_monotonic", !backwards);
	if (cpu_has(HAS_RDTSCP)) {
		uint32_t low, high, aux;
		write_msr(0xc0000103, 0x1234);
		__asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(aux));
		check("tsc_aux", aux == 0x1234);
		check("rdtscp_forward", ((uint64_t)high << 32 | low) >= last);
	}
	write_msr(0x10, 0x1000000000ull);
	uint64_t set = read_tsc();
	check("tsc_written", set >= 0x1000000000ull && set < 0x2000000000ull);
}

void guest_main(void)
{
	leaves();
	promises();
	time();
}
