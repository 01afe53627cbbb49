/* SPDX-License-Identifier: MIT */
/* The CPU model: levels, what a host lacks, what a guest's kernel reads to choose its mitigations; MSRs and CPUID. */
#include "cpu-op.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/msr.h"

#define TSC_HZ UINT64_C(2299998000)

/* A host that has everything. */
static struct cpu_host host_complete(const char *vendor)
{
	struct cpu_host host = {.avx_enabled = true};

	memset(host.word, 0xff, sizeof(host.word));
	strcpy(host.vendor, vendor);
	return host;
}

static struct cpu_model build(const char *name, const struct cpu_host *host)
{
	struct cpu_model model;
	struct error error;

	assert_true(cpu_model_build(&model, name, 1, TSC_HZ, host, &error));
	return model;
}

static struct cpu_cpuid_leaf leaf_of(const struct cpu_model *model, uint32_t leaf, uint32_t subleaf)
{
	for (unsigned i = 0; i < model->leaf_count; i++)
		if (model->leaf[i].leaf == leaf && model->leaf[i].subleaf == subleaf)
			return model->leaf[i];
	return (struct cpu_cpuid_leaf){0};
}

/* psABI, "Micro-Architecture Levels". */
static const enum cpu_feature level_2[] = {CPU_FEATURE_CX16,  CPU_FEATURE_LAHF_LM, CPU_FEATURE_POPCNT, CPU_FEATURE_SSE3,
					   CPU_FEATURE_SSE41, CPU_FEATURE_SSE42,   CPU_FEATURE_SSSE3};
static const enum cpu_feature level_3[] = {CPU_FEATURE_AVX,   CPU_FEATURE_AVX2,	 CPU_FEATURE_BMI1,
					   CPU_FEATURE_BMI2,  CPU_FEATURE_F16C,	 CPU_FEATURE_FMA,
					   CPU_FEATURE_LZCNT, CPU_FEATURE_MOVBE, CPU_FEATURE_XSAVE};
static const enum cpu_feature only_max[] = {CPU_FEATURE_AES,	CPU_FEATURE_SHA,    CPU_FEATURE_PCID,  CPU_FEATURE_SMAP,
					    CPU_FEATURE_XSAVEC, CPU_FEATURE_RDRAND, CPU_FEATURE_X2APIC};

static void expect(const struct cpu_model *model, const enum cpu_feature *feature, size_t count, bool present)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal(cpu_model_has(model, feature[i]), present);
}
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_levels(void **state)
{
	static const char *const names[] = {"x86-64", "x86-64-v2", "x86-64-v3", "max"};
	struct cpu_host host = host_complete("GenuineIntel");

	(void)state;
	for (unsigned i = 0; i < COUNT(names); i++) {
		struct cpu_model model = build(names[i], &host);
		assert_true(cpu_model_has(&model, CPU_FEATURE_SSE2) && cpu_model_has(&model, CPU_FEATURE_LM));
		expect(&model, level_2, COUNT(level_2), i >= 1);
		expect(&model, level_3, COUNT(level_3), i >= 2);
		expect(&model, only_max, COUNT(only_max), i >= 3);
		assert_int_equal(model.xcr0_allowed, i >= 2 ? 7 : 0);
		assert_int_equal((model.cr4_allowed & CR4_SMEP) != 0, i >= 3);
	}
}

/* The exact words: a bit in the wrong place promises something else. */
static void test_words(void **state)
{
	struct cpu_host host = host_complete("GenuineIntel");
	struct cpu_model v1 = build("x86-64", &host), v3 = build("x86-64-v3", &host), max = build("max", &host);

	(void)state;
	assert_int_equal(leaf_of(&v1, 1, 0).edx, 0x078bfbff);
	assert_int_equal(leaf_of(&v1, 1, 0).ecx, 0x80000000);
	assert_int_equal(leaf_of(&v3, 1, 0).ecx, 0xb4d83201);
	assert_int_equal(leaf_of(&v3, 7, 0).ebx, 0x00002168);
	assert_int_equal(leaf_of(&max, 1, 0).ecx, 0xf7fa3203);
	assert_int_equal(leaf_of(&max, 7, 0).ebx, 0x219c27eb);
	assert_int_equal(leaf_of(&max, 7, 0).ecx, 0x00400704);
	assert_int_equal(leaf_of(&max, 0x80000001, 0).edx, 0x2c100800);
	assert_int_equal(leaf_of(&max, 0x80000008, 0).eax, 0x3028);
}

/* Never promised, whatever the host has: MWAIT, VMX, TSX, AVX-512, PKU, CET, XSAVES. */
static void test_never_promised(void **state)
{
	struct cpu_host host = host_complete("GenuineIntel");
	struct cpu_model model = build("max", &host);

	(void)state;
	assert_int_equal(leaf_of(&model, 1, 0).ecx & (BIT32(3) | BIT32(5) | BIT32(27)), 0);
	assert_int_equal(leaf_of(&model, 7, 0).ebx & (BIT32(4) | BIT32(11) | BIT32(14) | BIT32(16)), 0);
	assert_int_equal(leaf_of(&model, 7, 0).ecx & (BIT32(3) | BIT32(4) | BIT32(7) | BIT32(16)), 0);
	assert_int_equal(leaf_of(&model, 0xd, 1).eax & ~3u, 0);
}

static void test_host_lacks(void **state)
{
	struct cpu_host host = host_complete("GenuineIntel");
	struct cpu_model model;
	struct error error = {0};

	(void)state;
	host.word[CPUID_WORD_1_ECX] &= ~BIT32(25); /* AES */
	host.word[CPUID_WORD_7_EBX] &= ~BIT32(8);  /* BMI2 */
	model = build("max", &host);
	assert_false(cpu_model_has(&model, CPU_FEATURE_AES));
	assert_false(cpu_model_has(&model, CPU_FEATURE_BMI2));
	assert_int_equal(leaf_of(&model, 1, 0).ecx & BIT32(25), 0);
	assert_true(cpu_model_has(&model, CPU_FEATURE_AVX2));
	assert_false(cpu_model_build(&model, "x86-64-v3", 1, TSC_HZ, &host, &error));
	assert_int_equal(error.kind, ERROR_INPUT);
	assert_non_null(strstr(error.text, "BMI2"));
	assert_true(cpu_model_build(&model, "x86-64-v2", 1, TSC_HZ, &host, &error));
	/* The kernel below does not save the upper halves. */
	host.avx_enabled = false;
	model = build("max", &host);
	assert_false(cpu_model_has(&model, CPU_FEATURE_AVX2));
	assert_false(cpu_model_has(&model, CPU_FEATURE_VAES));
	assert_int_equal(model.xcr0_allowed, 3);
	assert_int_equal(model.xsave_size, 576);
}

static void test_nothing_random(void **state)
{
	static const enum cpu_feature random[] = {CPU_FEATURE_RDRAND, CPU_FEATURE_RDSEED};
	struct cpu_host host = host_complete("GenuineIntel");
	(void)state;
	struct cpu_model before = build("max", &host);
	expect(&before, random, COUNT(random), true);
	cpu_host_hide_random(&host);
	struct cpu_model after = build("max", &host);
	expect(&after, random, COUNT(random), false);
	assert_int_equal(leaf_of(&after, 1, 0).ecx, leaf_of(&before, 1, 0).ecx & ~(1u << 30));
	assert_int_equal(leaf_of(&after, 7, 0).ebx, leaf_of(&before, 7, 0).ebx & ~(1u << 18));
}

static void test_unknown_name(void **state)
{
	struct cpu_model model;
	struct error error = {0};

	(void)state;
	assert_false(cpu_model_init(&model, "x86-64-v4", 1, TSC_HZ, &error));
	assert_int_equal(error.kind, ERROR_INPUT);
	assert_non_null(strstr(error.text, "x86-64-v3"));
	assert_true(cpu_model_init(&model, "max", 1, TSC_HZ, &error));
}

/* TSC = crystal * EBX / EAX, and Linux's 32-bit product must not overflow. */
static void test_tsc_ratio(void **state)
{
	static const uint64_t rates[] = {800000000, 1000000000, TSC_HZ, 2399998765, 3792874123, 4291234567, 5700000000};
	struct cpu_host host = host_complete("GenuineIntel");

	(void)state;
	for (unsigned i = 0; i < COUNT(rates); i++) {
		struct cpu_model model;
		struct error error;
		assert_true(cpu_model_build(&model, "max", 1, rates[i], &host, &error));
		struct cpu_cpuid_leaf leaf = leaf_of(&model, 0x15, 0);
		uint64_t khz = leaf.ecx / 1000;
		int64_t shown = (int64_t)((uint64_t)leaf.ecx * leaf.ebx / leaf.eax);
		int64_t error_ppb = (shown - (int64_t)rates[i]) * 1000000000 / (int64_t)rates[i];
		assert_in_range(khz * leaf.ebx, 0, UINT32_MAX);
		assert_in_range(error_ppb + 1000, 0, 2000);
	}
}

/* What Linux reads before it decides for retpolines, return thunks and page-table isolation. */
static void test_mitigations(void **state)
{
	struct cpu_host intel = host_complete("GenuineIntel"), amd = host_complete("AuthenticAMD");
	const uint64_t needed = BIT64(0) | BIT64(1) | BIT64(4) | BIT64(5) | BIT64(6) | BIT64(8) | BIT64(13) |
				BIT64(14) | BIT64(15) | BIT64(20) | BIT64(24) | BIT64(26) | BIT64(27) | BIT64(62);
	const uint64_t harmful = BIT64(2) | BIT64(19); /* RSBA, RRSBA */
	struct cpu_model model = build("x86-64", &intel);

	(void)state;
	assert_true(model.has_arch_capabilities);
	assert_int_equal(model.arch_capabilities & (needed | harmful), needed);
	assert_true(leaf_of(&model, 7, 0).edx & BIT32(29));
	assert_in_range(leaf_of(&model, 7, 0).eax, 2, 2);
	assert_true(leaf_of(&model, 7, 2).edx & BIT32(4)); /* BHI_CTRL: Linux 6.1 does not look at BHI_NO */
	model = build("x86-64", &amd);
	assert_false(model.has_arch_capabilities);
	assert_int_equal(leaf_of(&model, 7, 0).edx & BIT32(29), 0);
	assert_true(leaf_of(&model, 0x80000021, 0).eax & BIT32(8));  /* automatic IBRS */
	assert_true(leaf_of(&model, 0x80000021, 0).eax & BIT32(29)); /* SRSO_NO */
	assert_true(leaf_of(&model, 0x80000008, 0).ebx & BIT32(29)); /* BTC_NO */
	assert_true(model.efer_allowed & BIT64(21));
	assert_string_equal(model.vendor, "AuthenticAMD");
	assert_int_equal(leaf_of(&model, 0x80000000, 0).ebx, leaf_of(&model, 0, 0).ebx);
}

/* ---- CPUID as executed ---- */

static struct fixture *with_model(struct fixture *fixture, const char *name, const char *vendor)
{
	struct cpu_host host = host_complete(vendor);

	fixture->model = build(name, &host);
	start_long(fixture);
	return fixture;
}

static void cpuid(struct fixture *fixture, uint32_t leaf, uint32_t subleaf)
{
	fixture->cpu->gpr[CPU_RAX] = UINT64_C(0xffffffff00000000) | leaf;
	fixture->cpu->gpr[CPU_RCX] = UINT64_C(0xffffffff00000000) | subleaf;
	op_succeeds(fixture, CPU_OP_cpuid, INSN(0));
}

static void test_cpuid_follows_state(void **state)
{
	struct fixture *fixture = with_model(*state, "max", "GenuineIntel");
	struct cpu *cpu = fixture->cpu;

	cpu->index = 3;
	cpuid(fixture, 1, 0);
	assert_int_equal(cpu->gpr[CPU_RBX] >> 24, 3);
	assert_int_equal(cpu->gpr[CPU_RCX] & BIT32(27), 0);
	cpu->cr4 |= CR4_OSXSAVE;
	cpuid(fixture, 1, 0);
	assert_true(cpu->gpr[CPU_RCX] & BIT32(27));
	cpu->xcr0 = 3;
	cpuid(fixture, 0xd, 0);
	assert_int_equal(cpu->gpr[CPU_RBX], 576);
	assert_int_equal(cpu->gpr[CPU_RCX], 832);
	cpu->xcr0 = 7;
	cpuid(fixture, 0xd, 1);
	assert_int_equal(cpu->gpr[CPU_RBX], 832);
	cpuid(fixture, 0xb, 7);
	assert_int_equal(cpu->gpr[CPU_RCX], 7);
	assert_int_equal(cpu->gpr[CPU_RDX], 3);
}

static void test_cpuid_out_of_range(void **state)
{
	struct fixture *fixture = with_model(*state, "max", "GenuineIntel");
	struct cpu *cpu = fixture->cpu;
	uint64_t eax;

	cpuid(fixture, 0x16, 0);
	eax = cpu->gpr[CPU_RAX];
	assert_int_not_equal(eax, 0);
	cpuid(fixture, 0x17, 0); /* Intel: as the last basic leaf */
	assert_int_equal(cpu->gpr[CPU_RAX], eax);
	cpuid(fixture, 0x80000009, 0);
	assert_int_equal(cpu->gpr[CPU_RAX], eax);
	cpuid(fixture, 0x40000001, 0); /* within the hypervisor's range: empty */
	assert_int_equal(cpu->gpr[CPU_RAX], 0);
	with_model(fixture, "max", "AuthenticAMD");
	cpuid(fixture, 0x17, 0);
	assert_int_equal(cpu->gpr[CPU_RAX], 0);
}

/* ---- MSRs ---- */

static void wrmsr_gp(struct fixture *fixture, uint32_t number, uint64_t value)
{
	fixture->cpu->gpr[CPU_RCX] = number;
	fixture->cpu->gpr[CPU_RAX] = (uint32_t)value;
	fixture->cpu->gpr[CPU_RDX] = value >> 32;
	op_faults(fixture, CPU_OP_wrmsr, INSN(0), VECTOR_GP, 0);
}

static void wrmsr(struct fixture *fixture, uint32_t number, uint64_t value)
{
	fixture->cpu->gpr[CPU_RCX] = number;
	fixture->cpu->gpr[CPU_RAX] = (uint32_t)value;
	fixture->cpu->gpr[CPU_RDX] = value >> 32;
	op_succeeds(fixture, CPU_OP_wrmsr, INSN(0));
}

static uint64_t rdmsr(struct fixture *fixture, uint32_t number)
{
	fixture->cpu->gpr[CPU_RCX] = number;
	op_succeeds(fixture, CPU_OP_rdmsr, INSN(0));
	assert_int_equal(fixture->cpu->gpr[CPU_RAX] >> 32, 0);
	return fixture->cpu->gpr[CPU_RAX] | fixture->cpu->gpr[CPU_RDX] << 32;
}

static void rdmsr_gp(struct fixture *fixture, uint32_t number)
{
	fixture->cpu->gpr[CPU_RCX] = number;
	op_faults(fixture, CPU_OP_rdmsr, INSN(0), VECTOR_GP, 0);
}

static void test_msr_round_trips(void **state)
{
	static const struct {
		uint32_t number;
		uint64_t value;
	} good[] = {
	    {0x174, 0x10},
	    {0x175, UINT64_C(0xffff888000001000)},
	    {0x176, UINT64_C(0xffffffff81000000)},
	    {0x48, 1},
	    {0x200, 0x80000006},
	    {0x201, UINT64_C(0xff80000800)},
	    {0x20f, UINT64_C(0xfff0000800)},
	    {0x250, UINT64_C(0x0606060606060606)},
	    {0x26f, UINT64_C(0x0505050505050505)},
	    {0x277, UINT64_C(0x0407050600070106)},
	    {0x2ff, 0xc06},
	    {0xc0000081, UINT64_C(0x0023001000000000)},
	    {0xc0000082, UINT64_C(0xffffffff81e00000)},
	    {0xc0000083, UINT64_C(0xffffffff81e01000)},
	    {0xc0000084, 0x257fd5},
	    {0xc0000100, UINT64_C(0x7f0012345678)},
	    {0xc0000101, UINT64_C(0xffff888000000000)},
	    {0xc0000102, UINT64_C(0x7f00)},
	    {0xc0000103, 0xffffffff},
	    {0x8b, 0},
	    {0x1a0, 0x1801},
	};
	struct fixture *fixture = with_model(*state, "max", "GenuineIntel");

	for (unsigned i = 0; i < COUNT(good); i++)
		wrmsr(fixture, good[i].number, good[i].value);
	for (unsigned i = 0; i < COUNT(good); i++)
		assert_int_equal(rdmsr(fixture, good[i].number), good[i].value);
	assert_int_equal(fixture->cpu->segment[CPU_GS].base, UINT64_C(0xffff888000000000));
	assert_int_equal(rdmsr(fixture, 0x10a), fixture->model.arch_capabilities);
	assert_int_equal(rdmsr(fixture, 0xfe), 0x508);
	assert_int_equal(rdmsr(fixture, 0xce) >> 8, 22);
}

static void test_msr_gp(void **state)
{
	static const struct {
		uint32_t number;
		uint64_t value;
	} bad[] = {
	    {0x12345678, 0},
	    {0x10a, 0},			       /* read-only */
	    {0xfe, 0x508},		       /* read-only */
	    {0x48, 8},			       /* reserved */
	    {0x49, 2},			       /* reserved */
	    {0x175, UINT64_C(0x800000000000)}, /* not canonical */
	    {0xc0000082, UINT64_C(0x1000000000000)},
	    {0xc0000101, UINT64_C(0xffff000000000000)},
	    {0xc0000103, UINT64_C(0x100000000)},
	    {0x277, 2},			      /* no such memory type */
	    {0x250, 7},			      /* UC- is the PAT's only */
	    {0x200, UINT64_C(0x10000000000)}, /* beyond the physical address */
	    {0x200, 2},
	    {0x2ff, 0x1000},
	    {0xc0000080, BIT64(0) | BIT64(63)},
	    {0xc0000080, BIT64(14)}, /* FFXSR is not offered */
	    {0x1a0, BIT64(34)},
	    {0xc0010015, 0}, /* another vendor's */
	};
	struct fixture *fixture = with_model(*state, "max", "GenuineIntel");

	for (unsigned i = 0; i < COUNT(bad); i++)
		wrmsr_gp(fixture, bad[i].number, bad[i].value);
	rdmsr_gp(fixture, 0x49); /* write-only */
	rdmsr_gp(fixture, 0x606);
	rdmsr_gp(fixture, 0xc0010015);
	enter_user(fixture, SEL_USER64);
	rdmsr_gp(fixture, 0x174);
	wrmsr_gp(fixture, 0x174, 0);
}

/* Registers of features that are not presented do not exist. */
static void test_msr_features(void **state)
{
	struct fixture *fixture = with_model(*state, "x86-64", "AuthenticAMD");

	rdmsr_gp(fixture, 0x3b);
	rdmsr_gp(fixture, 0xc0000103);
	rdmsr_gp(fixture, 0x10a);
	rdmsr_gp(fixture, 0xce);
	assert_int_equal(rdmsr(fixture, 0xc0011029), 2);
	assert_int_equal(rdmsr(fixture, 0xc0010015), BIT64(24));
}

static void test_efer(void **state)
{
	struct fixture *fixture = with_model(*state, "max", "GenuineIntel");
	struct cpu *cpu = fixture->cpu;
	unsigned flushes = fixture->flushes;

	wrmsr_gp(fixture, 0xc0000080, EFER_SCE);	 /* LME under paging */
	wrmsr(fixture, 0xc0000080, EFER_SCE | EFER_LME); /* NXE off; LMA cannot be written */
	assert_int_equal(cpu->efer, EFER_SCE | EFER_LME | EFER_LMA);
	assert_true(fixture->flushes > flushes);
}

static void count_tsc_change(void *opaque)
{
	struct fixture *fixture = opaque;
	fixture->tsc_changes++;
}

/* IA32_TSC and IA32_TSC_ADJUST move together, and the interrupt controller hears of it. */
static void test_tsc(void **state)
{
	struct fixture *fixture = with_model(*state, "max", "GenuineIntel");
	struct cpu *cpu = fixture->cpu;

	clock_advance(&fixture->clock, 1000000);
	cpu->controller.tsc_changed = count_tsc_change;
	uint64_t before = rdmsr(fixture, 0x10);
	wrmsr(fixture, 0x3b, 5000);
	assert_int_equal(rdmsr(fixture, 0x10), before + 5000);
	wrmsr(fixture, 0x10, 77);
	assert_int_equal(rdmsr(fixture, 0x3b), 77 - before);
	assert_int_equal(fixture->tsc_changes, 2);
	op_succeeds(fixture, CPU_OP_rdtsc, INSN(0));
	assert_int_equal(cpu->gpr[CPU_RAX], 77);
	wrmsr(fixture, 0xc0000103, 42);
	op_succeeds(fixture, CPU_OP_rdtscp, INSN(0));
	assert_int_equal(cpu->gpr[CPU_RCX], 42);
	op_succeeds(fixture, CPU_OP_rdpid, INSN(.rm = CPU_RSI));
	assert_int_equal(cpu->gpr[CPU_RSI], 42);
	enter_user(fixture, SEL_USER64);
	op_succeeds(fixture, CPU_OP_rdtsc, INSN(0));
	cpu->cr4 |= CR4_TSD;
	cpu_mode_update(cpu);
	op_faults(fixture, CPU_OP_rdtsc, INSN(0), VECTOR_GP, 0);
	op_faults(fixture, CPU_OP_rdtscp, INSN(0), VECTOR_GP, 0);
}

static int setup(void **state)
{
	*state = fixture_new();
	return 0;
}

static int teardown(void **state)
{
	fixture_free(*state);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void count_call(void *opaque)
{
	++*(unsigned *)opaque;
}

/* Without it there is neither leaf nor MSR: of deterministic guests, and of machines that cannot tell. */
static void test_steal_time(void **state)
{
	struct fixture *fixture = with_model(*state, "max", "GenuineIntel");
	struct cpu *cpu = fixture->cpu;
	unsigned calls = 0;

	wrmsr_gp(fixture, 0x4b564d03, 0x1001);
	cpuid(fixture, 0x40000100, 0);
	assert_int_not_equal(cpu->gpr[CPU_RBX], 0x4b4d564b);
	cpu_model_offer_steal_time(&fixture->model);
	cpu->steal_changed = count_call;
	cpu->steal_opaque = &calls;
	cpuid(fixture, 0x40000100, 0);
	assert_int_equal(cpu->gpr[CPU_RAX], 0x40000101);
	assert_int_equal(cpu->gpr[CPU_RBX], 0x4b4d564b); /* KVMK */
	assert_int_equal(cpu->gpr[CPU_RCX], 0x564b4d56); /* VMKV */
	assert_int_equal(cpu->gpr[CPU_RDX], 0x4d);	 /* M */
	cpuid(fixture, 0x40000101, 0);
	assert_int_equal(cpu->gpr[CPU_RAX], 1 << 5);
	cpuid(fixture, 0x40000000, 0); /* ours stays the first */
	assert_int_equal(cpu->gpr[CPU_RAX], 0x40000010);
	wrmsr(fixture, 0x4b564d03, 0x1001);
	assert_int_equal(cpu->steal, 0x1001);
	assert_int_equal(calls, 1);
	for (unsigned bit = 1; bit < 6; bit++)
		wrmsr_gp(fixture, 0x4b564d03, 0x1001 | 1u << bit);
	cpu_reset(cpu);
	assert_int_equal(cpu->steal, 0);
}

static void test_processor_times(void **state)
{
	struct fixture *fixture = with_model(*state, "max", "AuthenticAMD");
	struct cpu *cpu = fixture->cpu;

	cpuid(fixture, 0x40000001, 0);
	assert_int_equal(cpu->gpr[CPU_RBX], 0); /* until it is offered */
	cpu_model_offer_times(&fixture->model, 0x780, 48);
	cpuid(fixture, 0x40000001, 0);
	assert_int_equal(cpu->gpr[CPU_RAX], 0x780);
	assert_int_equal(cpu->gpr[CPU_RBX], 48);
	assert_int_equal(cpu->gpr[CPU_RCX] | cpu->gpr[CPU_RDX], 0);
	cpuid(fixture, 0x40000000, 0);
	assert_int_equal(cpu->gpr[CPU_RAX], 0x40000010);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_levels),
	    cmocka_unit_test(test_words),
	    cmocka_unit_test(test_never_promised),
	    cmocka_unit_test(test_host_lacks),
	    cmocka_unit_test(test_nothing_random),
	    cmocka_unit_test(test_unknown_name),
	    cmocka_unit_test(test_tsc_ratio),
	    cmocka_unit_test(test_mitigations),
	    TEST(test_cpuid_follows_state),
	    TEST(test_cpuid_out_of_range),
	    TEST(test_steal_time),
	    TEST(test_processor_times),
	    TEST(test_msr_round_trips),
	    TEST(test_msr_gp),
	    TEST(test_msr_features),
	    TEST(test_efer),
	    TEST(test_tsc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
