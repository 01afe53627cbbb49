/* SPDX-License-Identifier: MIT */
#include "cpu/cpuid.h"

#include <stdio.h>
#include <string.h>

#include "base/guest_times.h"
#include "cpu/cpu.h"

/* The least level that has a feature. Levels 1 to 3 are those of the x86-64 psABI. */
enum level { LEVEL_1 = 1, LEVEL_2, LEVEL_3, LEVEL_MAX };

struct level_name {
	const char *name;
	enum level level;
};

static const struct level_name levels[] = {
    {"x86-64", LEVEL_1}, {"x86-64-v2", LEVEL_2}, {"x86-64-v3", LEVEL_3}, {"max", LEVEL_MAX}};

/* What a feature needs of the host: nothing, its own CPUID bit, or that and AVX state. */
enum need { NEED_NOTHING, NEED_BIT, NEED_AVX };

struct feature {
	const char *name;
	enum cpu_cpuid_word word;
	unsigned bit;
	enum level level;
	enum need need;
};

/* NEED_NOTHING is what the engine does itself: system state, and instructions that C executes. */
#define FEATURE(feature, word, bit, level, need)                                                                       \
	[CPU_FEATURE_##feature] = {#feature, CPUID_WORD_##word, bit, LEVEL_##level, NEED_##need}
static const struct feature features[CPU_FEATURE_COUNT] = {
    FEATURE(FPU, 1_EDX, 0, 1, NOTHING),
    FEATURE(VME, 1_EDX, 1, 1, NOTHING),
    FEATURE(DE, 1_EDX, 2, 1, NOTHING),
    FEATURE(PSE, 1_EDX, 3, 1, NOTHING),
    FEATURE(TSC, 1_EDX, 4, 1, NOTHING),
    FEATURE(MSR, 1_EDX, 5, 1, NOTHING),
    FEATURE(PAE, 1_EDX, 6, 1, NOTHING),
    FEATURE(MCE, 1_EDX, 7, 1, NOTHING),
    FEATURE(CX8, 1_EDX, 8, 1, NOTHING),
    FEATURE(APIC, 1_EDX, 9, 1, NOTHING),
    FEATURE(SEP, 1_EDX, 11, 1, NOTHING),
    FEATURE(MTRR, 1_EDX, 12, 1, NOTHING),
    FEATURE(PGE, 1_EDX, 13, 1, NOTHING),
    FEATURE(MCA, 1_EDX, 14, 1, NOTHING),
    FEATURE(CMOV, 1_EDX, 15, 1, NOTHING),
    FEATURE(PAT, 1_EDX, 16, 1, NOTHING),
    FEATURE(PSE36, 1_EDX, 17, 1, NOTHING),
    FEATURE(CLFSH, 1_EDX, 19, 1, NOTHING),
    FEATURE(MMX, 1_EDX, 23, 1, NOTHING),
    FEATURE(FXSR, 1_EDX, 24, 1, NOTHING),
    FEATURE(SSE, 1_EDX, 25, 1, NOTHING),
    FEATURE(SSE2, 1_EDX, 26, 1, NOTHING),
    FEATURE(SSE3, 1_ECX, 0, 2, BIT),
    FEATURE(PCLMULQDQ, 1_ECX, 1, MAX, BIT),
    FEATURE(SSSE3, 1_ECX, 9, 2, BIT),
    FEATURE(FMA, 1_ECX, 12, 3, AVX),
    FEATURE(CX16, 1_ECX, 13, 2, BIT),
    FEATURE(PCID, 1_ECX, 17, MAX, NOTHING),
    FEATURE(SSE41, 1_ECX, 19, 2, BIT),
    FEATURE(SSE42, 1_ECX, 20, 2, BIT),
    FEATURE(X2APIC, 1_ECX, 21, MAX, NOTHING),
    FEATURE(MOVBE, 1_ECX, 22, 3, BIT),
    FEATURE(POPCNT, 1_ECX, 23, 2, BIT),
    FEATURE(TSC_DEADLINE, 1_ECX, 24, MAX, NOTHING),
    FEATURE(AES, 1_ECX, 25, MAX, BIT),
    FEATURE(XSAVE, 1_ECX, 26, 3, BIT),
    FEATURE(AVX, 1_ECX, 28, 3, AVX),
    FEATURE(F16C, 1_ECX, 29, 3, AVX),
    FEATURE(RDRAND, 1_ECX, 30, MAX, BIT),
    FEATURE(HYPERVISOR, 1_ECX, 31, 1, NOTHING),
    FEATURE(ARAT, 6_EAX, 2, MAX, NOTHING),
    FEATURE(FSGSBASE, 7_EBX, 0, MAX, NOTHING),
    FEATURE(TSC_ADJUST, 7_EBX, 1, MAX, NOTHING),
    FEATURE(BMI1, 7_EBX, 3, 3, BIT),
    FEATURE(AVX2, 7_EBX, 5, 3, AVX),
    FEATURE(SMEP, 7_EBX, 7, MAX, NOTHING),
    FEATURE(BMI2, 7_EBX, 8, 3, BIT),
    FEATURE(ERMS, 7_EBX, 9, MAX, BIT),
    FEATURE(INVPCID, 7_EBX, 10, MAX, NOTHING),
    FEATURE(RDSEED, 7_EBX, 18, MAX, BIT),
    FEATURE(ADX, 7_EBX, 19, MAX, BIT),
    FEATURE(SMAP, 7_EBX, 20, MAX, NOTHING),
    FEATURE(CLFLUSHOPT, 7_EBX, 23, MAX, NOTHING),
    FEATURE(CLWB, 7_EBX, 24, MAX, NOTHING),
    FEATURE(SHA, 7_EBX, 29, MAX, BIT),
    FEATURE(UMIP, 7_ECX, 2, MAX, NOTHING),
    FEATURE(GFNI, 7_ECX, 8, MAX, BIT),
    FEATURE(VAES, 7_ECX, 9, MAX, AVX),
    FEATURE(VPCLMULQDQ, 7_ECX, 10, MAX, AVX),
    FEATURE(RDPID, 7_ECX, 22, MAX, NOTHING),
    FEATURE(FSRM, 7_EDX, 4, MAX, BIT),
    FEATURE(XSAVEOPT, D1_EAX, 0, MAX, NOTHING),
    FEATURE(XSAVEC, D1_EAX, 1, MAX, NOTHING),
    FEATURE(LAHF_LM, 80000001_ECX, 0, 2, NOTHING),
    FEATURE(LZCNT, 80000001_ECX, 5, 3, BIT),
    FEATURE(SSE4A, 80000001_ECX, 6, MAX, BIT),
    FEATURE(PREFETCHW, 80000001_ECX, 8, MAX, NOTHING),
    FEATURE(SYSCALL, 80000001_EDX, 11, 1, NOTHING),
    FEATURE(NX, 80000001_EDX, 20, 1, NOTHING),
    FEATURE(PAGE1G, 80000001_EDX, 26, MAX, NOTHING),
    FEATURE(RDTSCP, 80000001_EDX, 27, MAX, NOTHING),
    FEATURE(LM, 80000001_EDX, 29, 1, NOTHING),
    FEATURE(INVARIANT_TSC, 80000007_EDX, 8, MAX, NOTHING),
};

/* Bits of control registers that come with a feature. */
struct control_bits {
	enum cpu_feature feature;
	uint64_t cr4, efer, xcr0;
};

static const struct control_bits control_bits[] = {
    {CPU_FEATURE_VME, CR4_VME | CR4_PVI, 0, 0},
    {CPU_FEATURE_TSC, CR4_TSD, 0, 0},
    {CPU_FEATURE_DE, CR4_DE, 0, 0},
    {CPU_FEATURE_PSE, CR4_PSE, 0, 0},
    {CPU_FEATURE_PAE, CR4_PAE, 0, 0},
    {CPU_FEATURE_MCE, CR4_MCE, 0, 0},
    {CPU_FEATURE_PGE, CR4_PGE, 0, 0},
    {CPU_FEATURE_MMX, CR4_PCE, 0, 0},
    {CPU_FEATURE_FXSR, CR4_OSFXSR, 0, 0},
    {CPU_FEATURE_SSE, CR4_OSXMMEXCPT, 0, 0},
    {CPU_FEATURE_UMIP, CR4_UMIP, 0, 0},
    {CPU_FEATURE_FSGSBASE, CR4_FSGSBASE, 0, 0},
    {CPU_FEATURE_PCID, CR4_PCIDE, 0, 0},
    {CPU_FEATURE_XSAVE, CR4_OSXSAVE, 0, 3},
    {CPU_FEATURE_AVX, 0, 0, 4},
    {CPU_FEATURE_SMEP, CR4_SMEP, 0, 0},
    {CPU_FEATURE_SMAP, CR4_SMAP, 0, 0},
    {CPU_FEATURE_SYSCALL, 0, EFER_SCE, 0},
    {CPU_FEATURE_LM, 0, EFER_LME, 0},
    {CPU_FEATURE_NX, 0, EFER_NXE, 0},
};

/* IA32_ARCH_CAPABILITIES: every flaw that the register can deny is denied; RSBA and RRSBA stay clear. */
#define CPUID_7_2_EDX_BHI_CTRL BIT32(4)
#define ARCH_CAP_RDCL_NO BIT64(0)
#define ARCH_CAP_IBRS_ALL BIT64(1)
#define ARCH_CAP_SKIP_VMENTRY_L1DFLUSH BIT64(3)
#define ARCH_CAP_SSB_NO BIT64(4)
#define ARCH_CAP_MDS_NO BIT64(5)
#define ARCH_CAP_IF_PSCHANGE_MC_NO BIT64(6)
#define ARCH_CAP_TAA_NO BIT64(8)
#define ARCH_CAP_SBDR_SSDP_NO BIT64(13)
#define ARCH_CAP_FBSDP_NO BIT64(14)
#define ARCH_CAP_PSDP_NO BIT64(15)
#define ARCH_CAP_BHI_NO BIT64(20)
#define ARCH_CAP_PBRSB_NO BIT64(24)
#define ARCH_CAP_GDS_NO BIT64(26)
#define ARCH_CAP_RFDS_NO BIT64(27)
#define ARCH_CAP_ITS_NO BIT64(62)
#define ARCH_CAP_PRESENTED                                                                                             \
	(ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_SKIP_VMENTRY_L1DFLUSH | ARCH_CAP_SSB_NO | ARCH_CAP_MDS_NO |   \
	 ARCH_CAP_IF_PSCHANGE_MC_NO | ARCH_CAP_TAA_NO | ARCH_CAP_SBDR_SSDP_NO | ARCH_CAP_FBSDP_NO | ARCH_CAP_PSDP_NO | \
	 ARCH_CAP_BHI_NO | ARCH_CAP_PBRSB_NO | ARCH_CAP_GDS_NO | ARCH_CAP_RFDS_NO | ARCH_CAP_ITS_NO)

/* Leaf 7, EBX, on every model: the x87 data pointer is updated on exceptions only; FPU CS and DS are gone. */
#define CPUID_7_EBX_FDP_EXCPTN_ONLY BIT32(6)
#define CPUID_7_EBX_NO_FPU_SELECTORS BIT32(13)
/* Leaf 7, EDX, Intel: IBRS and IBPB, STIBP, IA32_ARCH_CAPABILITIES, SSBD. */
#define CPUID_7_EDX_SPECULATION (BIT32(26) | BIT32(27) | BIT32(29) | BIT32(31))
/* Leaf 80000008H, EBX, AMD: FPU error pointers always saved, IBPB, IBRS, STIBP, SSBD, SSB_NO, BTC_NO, and IBPB
 * clears return predictions. */
#define CPUID_80000008_EBX_AMD                                                                                         \
	(BIT32(2) | BIT32(12) | BIT32(14) | BIT32(15) | BIT32(24) | BIT32(26) | BIT32(29) | BIT32(30))
/* Leaf 80000021H, AMD: LFENCE serializes, null selectors clear the base, automatic IBRS, SRSO_NO; TSA_SQ_NO and
 * TSA_L1_NO. */
#define CPUID_80000021_EAX_AMD (BIT32(2) | BIT32(6) | BIT32(8) | BIT32(29))
#define CPUID_80000021_ECX_AMD (BIT32(1) | BIT32(2))
#define EFER_AUTO_IBRS BIT64(21)
/* Leaf 80000001H, EDX, AMD: the bits repeated from leaf 1. */
#define CPUID_80000001_EDX_AMD_REPEATED 0x0183f3ffu
#define CPUID_1_EDX_HTT BIT32(28)

/* A Xeon of family 6, model 8FH; an EPYC of family 19H, model 11H. No list of flawed models has them for what is not
 * denied. */
#define SIGNATURE_INTEL 0x000806f8u
#define SIGNATURE_AMD 0x00a10f11u

#define LAST_BASIC_LEAF 0x16u
#define HYPERVISOR_LEAF 0x40000000u
#define HYPERVISOR_TIMING_LEAF 0x40000010u
/* Where KVM's leaves are when others come first; guests look at each multiple of 100H. */
#define KVM_LEAF 0x40000100u
#define KVM_FEATURE_STEAL_TIME 5
#define LAST_EXTENDED_INTEL 0x80000008u
#define LAST_EXTENDED_AMD 0x80000021u
#define PHYSICAL_BITS 40u
#define LINEAR_BITS 48u
#define CLFLUSH_LINE 64u

/* ---- the host ---- */

static void host_cpuid(struct cpu_cpuid_leaf *result)
{
	__asm__ volatile("cpuid"
			 : "=a"(result->eax), "=b"(result->ebx), "=c"(result->ecx), "=d"(result->edx)
			 : "a"(result->leaf), "c"(result->subleaf));
}

/* Zeroes for leaves that the host does not have. */
static struct cpu_cpuid_leaf host_leaf(uint32_t leaf, uint32_t subleaf)
{
	struct cpu_cpuid_leaf last = {.leaf = leaf & 0x80000000u};
	struct cpu_cpuid_leaf result = {.leaf = leaf, .subleaf = subleaf};

	host_cpuid(&last);
	if (last.eax >= leaf)
		host_cpuid(&result);
	return result;
}

static bool host_avx_enabled(const struct cpu_host *host)
{
	uint32_t low, high;

	if (!(host->word[CPUID_WORD_1_ECX] & BIT32(27))) /* OSXSAVE */
		return false;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & 6) == 6;
}

void cpu_host_read(struct cpu_host *host)
{
	struct cpu_cpuid_leaf first = host_leaf(0, 0);

	*host = (struct cpu_host){0};
	memcpy(host->vendor, &first.ebx, 4);
	memcpy(host->vendor + 4, &first.edx, 4);
	memcpy(host->vendor + 8, &first.ecx, 4);
#define X(name, number, sub, register) host->word[CPUID_WORD_##name] = host_leaf(number, sub).register;
	CPU_CPUID_WORDS(X)
#undef X
	host->avx_enabled = host_avx_enabled(host);
	for (unsigned i = 0; i < CPU_HOST_MAX_CACHES; i++) {
		host->cache[i] = host_leaf(4, i);
		if ((host->cache[i].eax & 31) == 0)
			break;
		host->cache_count++;
	}
	host->l1_amd = host_leaf(0x80000005, 0);
	host->l2_amd = host_leaf(0x80000006, 0);
}

static bool host_has(const struct cpu_host *host, const struct feature *feature)
{
	if (feature->need == NEED_NOTHING)
		return true;
	if (feature->need == NEED_AVX && !host->avx_enabled)
		return false;
	return (host->word[feature->word] >> feature->bit) & 1;
}

/* ---- features ---- */

static bool choose_features(struct cpu_model *model, const struct level_name *level, const struct cpu_host *host,
			    struct error *error)
{
	for (unsigned i = 0; i < CPU_FEATURE_COUNT; i++) {
		const struct feature *feature = &features[i];

		if (feature->level > level->level)
			continue;
		model->feature[i] = host_has(host, feature);
		if (!model->feature[i] && level->level != LEVEL_MAX)
			return error_set(
			    error, ERROR_INPUT,
			    "the host's processor lacks %s, which CPU model %s needs: use a lower one or max",
			    feature->name, level->name);
	}
	if (!model->feature[CPU_FEATURE_XSAVE]) {
		static const enum cpu_feature dependent[] = {
		    CPU_FEATURE_XSAVEOPT, CPU_FEATURE_XSAVEC, CPU_FEATURE_AVX,	CPU_FEATURE_AVX2,
		    CPU_FEATURE_FMA,	  CPU_FEATURE_F16C,   CPU_FEATURE_VAES, CPU_FEATURE_VPCLMULQDQ};
		for (unsigned i = 0; i < sizeof(dependent) / sizeof(dependent[0]); i++)
			model->feature[dependent[i]] = false;
	}
	return true;
}

static void choose_control_bits(struct cpu_model *model)
{
	for (unsigned i = 0; i < sizeof(control_bits) / sizeof(control_bits[0]); i++) {
		const struct control_bits *bits = &control_bits[i];

		if (!cpu_model_has(model, bits->feature))
			continue;
		model->cr4_allowed |= bits->cr4;
		model->efer_allowed |= bits->efer;
		model->xcr0_allowed |= bits->xcr0;
	}
	model->xsave_size = model->xcr0_allowed & 4 ? 576 + 256 : 576;
}

/* The bits of a word that the model's features set. */
static uint32_t word_of(const struct cpu_model *model, enum cpu_cpuid_word word)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < CPU_FEATURE_COUNT; i++)
		if (model->feature[i] && features[i].word == word)
			bits |= BIT32(features[i].bit);
	return bits;
}

/* ---- leaves ---- */

static void add(struct cpu_model *model, struct cpu_cpuid_leaf leaf)
{
	if (model->leaf_count < CPU_MODEL_MAX_LEAVES)
		model->leaf[model->leaf_count++] = leaf;
}

static uint32_t text_word(const char *text, unsigned index)
{
	return (uint32_t)load_le(text + index * 4, 4);
}

/* The least number of bits that holds APIC IDs below count. */
static uint32_t id_bits(unsigned count)
{
	uint32_t bits = 0;

	while ((1u << bits) < count)
		bits++;
	return bits;
}

static void add_basic(struct cpu_model *model)
{
	uint32_t edx = word_of(model, CPUID_WORD_1_EDX);

	if (model->vcpu_count > 1)
		edx |= CPUID_1_EDX_HTT;
	add(model, (struct cpu_cpuid_leaf){.leaf = 0,
					   .eax = LAST_BASIC_LEAF,
					   .ebx = text_word(model->vendor, 0),
					   .edx = text_word(model->vendor, 1),
					   .ecx = text_word(model->vendor, 2)});
	add(model, (struct cpu_cpuid_leaf){.leaf = 1,
					   .eax = cpu_model_is_intel(model) ? SIGNATURE_INTEL : SIGNATURE_AMD,
					   .ebx = CLFLUSH_LINE / 8 << 8 | model->vcpu_count << 16,
					   .ecx = word_of(model, CPUID_WORD_1_ECX),
					   .edx = edx});
	if (cpu_model_is_intel(model)) /* descriptor FFH: see leaf 4 */
		add(model, (struct cpu_cpuid_leaf){.leaf = 2, .eax = 0x00feff01});
	add(model, (struct cpu_cpuid_leaf){.leaf = 6, .eax = word_of(model, CPUID_WORD_6_EAX)});
	add(model,
	    (struct cpu_cpuid_leaf){
		.leaf = 7,
		.subleaf_matters = true,
		.eax = cpu_model_is_intel(model) ? 2 : 0, /* the last subleaf */
		.ebx = word_of(model, CPUID_WORD_7_EBX) | CPUID_7_EBX_FDP_EXCPTN_ONLY | CPUID_7_EBX_NO_FPU_SELECTORS,
		.ecx = word_of(model, CPUID_WORD_7_ECX),
		.edx = word_of(model, CPUID_WORD_7_EDX) | (cpu_model_is_intel(model) ? CPUID_7_EDX_SPECULATION : 0)});
	/* With BHI_DIS_S to set in IA32_SPEC_CTRL, a guest does without a loop at each system call. */
	if (cpu_model_is_intel(model))
		add(model, (struct cpu_cpuid_leaf){
			       .leaf = 7, .subleaf = 2, .subleaf_matters = true, .edx = CPUID_7_2_EDX_BHI_CTRL});
}

/* The host's caches; those it shares between processors are shared by all of ours. */
static void add_caches(struct cpu_model *model, const struct cpu_host *host)
{
	uint32_t packages = (1u << id_bits(model->vcpu_count)) - 1;

	if (!cpu_model_is_intel(model))
		return;
	for (unsigned i = 0; i < host->cache_count; i++) {
		struct cpu_cpuid_leaf leaf = host->cache[i];
		uint32_t level = (leaf.eax >> 5) & 7;

		leaf.subleaf_matters = true;
		leaf.eax = (leaf.eax & 0x3fff) | (level >= 3 ? packages << 14 : 0) | packages << 26;
		add(model, leaf);
	}
}

static void add_topology(struct cpu_model *model)
{
	add(model, (struct cpu_cpuid_leaf){
		       .leaf = 0xb, .subleaf = 0, .subleaf_matters = true, .ebx = 1, .ecx = 1 << 8}); /* SMT */
	add(model, (struct cpu_cpuid_leaf){.leaf = 0xb,
					   .subleaf = 1,
					   .subleaf_matters = true,
					   .eax = id_bits(model->vcpu_count),
					   .ebx = model->vcpu_count,
					   .ecx = 2 << 8 | 1}); /* core */
}

static void add_xsave(struct cpu_model *model)
{
	if (!cpu_model_has(model, CPU_FEATURE_XSAVE))
		return;
	add(model, (struct cpu_cpuid_leaf){.leaf = 0xd,
					   .subleaf = 0,
					   .subleaf_matters = true,
					   .eax = (uint32_t)model->xcr0_allowed,
					   .ecx = model->xsave_size});
	add(model, (struct cpu_cpuid_leaf){
		       .leaf = 0xd, .subleaf = 1, .subleaf_matters = true, .eax = word_of(model, CPUID_WORD_D1_EAX)});
	if (model->xcr0_allowed & 4)
		add(model, (struct cpu_cpuid_leaf){
			       .leaf = 0xd, .subleaf = 2, .subleaf_matters = true, .eax = 256, .ebx = 576});
}

/*
 * The TSC's frequency as a fraction of the APIC timer's. Linux multiplies the crystal's kHz by the numerator in 32
 * bits, so that is kept below 4295; the best such fraction is within 0.3 ppm.
 */
static void tsc_ratio(uint64_t tsc_hz, uint32_t *numerator, uint32_t *denominator)
{
	const uint64_t limit = UINT32_MAX / (CPU_APIC_TIMER_HZ / 1000);
	uint64_t best = UINT64_MAX;

	*numerator = *denominator = 1;
	for (uint64_t d = 1; d <= limit; d++) {
		uint64_t n = (tsc_hz * d + CPU_APIC_TIMER_HZ / 2) / CPU_APIC_TIMER_HZ;
		uint64_t shown, distance;

		if (n == 0 || n > limit)
			continue;
		shown = n * CPU_APIC_TIMER_HZ / d;
		distance = shown > tsc_hz ? shown - tsc_hz : tsc_hz - shown;
		if (distance < best) {
			best = distance;
			*numerator = (uint32_t)n;
			*denominator = (uint32_t)d;
		}
	}
}

static void add_timing(struct cpu_model *model)
{
	uint32_t numerator, denominator, mhz = (uint32_t)((model->tsc_hz + 500000) / 1000000);

	tsc_ratio(model->tsc_hz, &numerator, &denominator);
	add(model,
	    (struct cpu_cpuid_leaf){.leaf = 0x15, .eax = denominator, .ebx = numerator, .ecx = CPU_APIC_TIMER_HZ});
	add(model, (struct cpu_cpuid_leaf){.leaf = 0x16, .eax = mhz, .ebx = mhz, .ecx = 100});
	add(model, (struct cpu_cpuid_leaf){.leaf = HYPERVISOR_LEAF,
					   .eax = HYPERVISOR_TIMING_LEAF,
					   .ebx = text_word(GUEST_TIMES_SIGNATURE, 0),
					   .ecx = text_word(GUEST_TIMES_SIGNATURE, 1),
					   .edx = text_word(GUEST_TIMES_SIGNATURE, 2)});
	add(model, (struct cpu_cpuid_leaf){.leaf = HYPERVISOR_TIMING_LEAF,
					   .eax = (uint32_t)(model->tsc_hz / 1000),
					   .ebx = CPU_APIC_TIMER_HZ / 1000});
}

void cpu_model_offer_steal_time(struct cpu_model *model)
{
	static const char signature[12] = "KVMKVMKVM";

	model->steal_time = true;
	add(model, (struct cpu_cpuid_leaf){.leaf = KVM_LEAF,
					   .eax = KVM_LEAF + 1,
					   .ebx = text_word(signature, 0),
					   .ecx = text_word(signature, 1),
					   .edx = text_word(signature, 2)});
	add(model, (struct cpu_cpuid_leaf){.leaf = KVM_LEAF + 1, .eax = BIT32(KVM_FEATURE_STEAL_TIME)});
}

void cpu_model_offer_times(struct cpu_model *model, uint32_t port, uint32_t bytes)
{
	add(model, (struct cpu_cpuid_leaf){.leaf = GUEST_TIMES_LEAF, .eax = port, .ebx = bytes});
}

static void add_brand(struct cpu_model *model)
{
	static const char brand[48] = "nfold virtual x86-64 processor";

	for (uint32_t i = 0; i < 3; i++)
		add(model, (struct cpu_cpuid_leaf){.leaf = 0x80000002 + i,
						   .eax = text_word(brand, i * 4),
						   .ebx = text_word(brand, i * 4 + 1),
						   .ecx = text_word(brand, i * 4 + 2),
						   .edx = text_word(brand, i * 4 + 3)});
}

static void add_extended(struct cpu_model *model, const struct cpu_host *host)
{
	bool intel = cpu_model_is_intel(model);
	uint32_t edx = word_of(model, CPUID_WORD_80000001_EDX);
	struct cpu_cpuid_leaf first = {.leaf = 0x80000000, .eax = intel ? LAST_EXTENDED_INTEL : LAST_EXTENDED_AMD};

	if (!intel) {
		first.ebx = text_word(model->vendor, 0);
		first.edx = text_word(model->vendor, 1);
		first.ecx = text_word(model->vendor, 2);
		edx |= word_of(model, CPUID_WORD_1_EDX) & CPUID_80000001_EDX_AMD_REPEATED;
	}
	add(model, first);
	add(model, (struct cpu_cpuid_leaf){.leaf = 0x80000001,
					   .eax = intel ? 0 : SIGNATURE_AMD,
					   .ecx = word_of(model, CPUID_WORD_80000001_ECX),
					   .edx = edx});
	add_brand(model);
	if (!intel)
		add(model, host->l1_amd);
	add(model, host->l2_amd);
	add(model, (struct cpu_cpuid_leaf){.leaf = 0x80000007, .edx = word_of(model, CPUID_WORD_80000007_EDX)});
	add(model,
	    (struct cpu_cpuid_leaf){.leaf = 0x80000008,
				    .eax = LINEAR_BITS << 8 | model->physical_bits,
				    .ebx = intel ? 0 : CPUID_80000008_EBX_AMD,
				    .ecx = intel ? 0 : id_bits(model->vcpu_count) << 12 | (model->vcpu_count - 1)});
	if (!intel)
		add(model, (struct cpu_cpuid_leaf){
			       .leaf = 0x80000021, .eax = CPUID_80000021_EAX_AMD, .ecx = CPUID_80000021_ECX_AMD});
}

/* ---- the model ---- */

static const struct level_name *level_find(const char *name, struct error *error)
{
	for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (strcmp(levels[i].name, name) == 0)
			return &levels[i];
	error_set(error, ERROR_INPUT, "unknown CPU model '%s': use one of x86-64, x86-64-v2, x86-64-v3, max", name);
	return NULL;
}

/* Vendors with processors of another maker's design are shown as that maker's. */
static const char *vendor_of(const struct cpu_host *host)
{
	if (strcmp(host->vendor, "AuthenticAMD") == 0 || strcmp(host->vendor, "HygonGenuine") == 0)
		return "AuthenticAMD";
	return "GenuineIntel";
}

void cpu_host_hide_random(struct cpu_host *host)
{
	static const enum cpu_feature hidden[] = {CPU_FEATURE_RDRAND, CPU_FEATURE_RDSEED};
	for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++)
		host->word[features[hidden[i]].word] &= ~BIT32(features[hidden[i]].bit);
}

bool cpu_model_build(struct cpu_model *model, const char *name, unsigned vcpu_count, uint64_t tsc_hz,
		     const struct cpu_host *host, struct error *error)
{
	const struct level_name *level = level_find(name, error);

	if (level == NULL)
		return false;
	*model = (struct cpu_model){.tsc_hz = tsc_hz, .physical_bits = PHYSICAL_BITS, .vcpu_count = vcpu_count};
	(void)snprintf(model->vendor, sizeof model->vendor, "%s", vendor_of(host));
	if (!choose_features(model, level, host, error))
		return false;
	choose_control_bits(model);
	model->has_arch_capabilities = cpu_model_is_intel(model);
	if (cpu_model_is_intel(model))
		model->arch_capabilities = ARCH_CAP_PRESENTED;
	else
		model->efer_allowed |= EFER_AUTO_IBRS;
	add_basic(model);
	add_caches(model, host);
	add_topology(model);
	add_xsave(model);
	add_timing(model);
	add_extended(model, host);
	return true;
}

bool cpu_model_init(struct cpu_model *model, const char *name, unsigned vcpu_count, uint64_t tsc_hz,
		    struct error *error)
{
	struct cpu_host host;

	cpu_host_read(&host);
	return cpu_model_build(model, name, vcpu_count, tsc_hz, &host, error);
}
