/* SPDX-License-Identifier: MIT */
/*
 * The processor model a guest is shown: CPUID leaves and the fixed MSRs that go with them.
 *
 * A model is the named level (x86-64, x86-64-v2, x86-64-v3, max) cut down to what the host's processor has
 * and what the engine implements. One table gives each feature: its CPUID bit, its level, and the host bit it needs.
 * The engine asks cpu_model_has() before it runs an instruction: what is not promised raises #UD.
 *
 * The family, model and capability bits are those of a real processor of the host's vendor on which an operating system
 * needs no retpoline, no return thunk and no page-table isolation: what speculation does is the host CPU's business,
 * and code that works around it in the guest only costs.
 *
 * Setup only; these functions may call libc.
 */
#ifndef NFOLD_CPU_CPUID_H
#define NFOLD_CPU_CPUID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* X(name): features an instruction or a control bit can depend on. */
/* clang-format off */
#define CPU_FEATURES(X) \
	X(FPU) X(VME) X(DE) X(PSE) X(TSC) X(MSR) X(PAE) X(CX8) X(APIC) X(SEP) X(MTRR) X(PGE) X(CMOV) X(PAT) X(PSE36) \
	X(CLFSH) X(MMX) X(FXSR) X(SSE) X(SSE2) X(SSE3) X(PCLMULQDQ) X(SSSE3) X(FMA) X(CX16) X(PCID) X(SSE41) \
	X(SSE42) X(X2APIC) X(MOVBE) X(POPCNT) X(TSC_DEADLINE) X(AES) X(XSAVE) X(AVX) X(F16C) X(RDRAND) X(HYPERVISOR) \
	X(FSGSBASE) X(TSC_ADJUST) X(BMI1) X(AVX2) X(SMEP) X(BMI2) X(ERMS) X(INVPCID) X(RDSEED) X(ADX) X(SMAP) \
	X(CLFLUSHOPT) X(CLWB) X(SHA) X(UMIP) X(RDPID) X(GFNI) X(VAES) X(VPCLMULQDQ) X(FSRM) X(XSAVEOPT) X(XSAVEC) \
	X(LAHF_LM) X(LZCNT) X(PREFETCHW) X(SYSCALL) X(NX) X(PAGE1G) X(RDTSCP) X(LM) X(SSE4A) X(ARAT) \
	X(INVARIANT_TSC) X(MCE) X(MCA)
/* clang-format on */

enum cpu_feature {
#define X(name) CPU_FEATURE_##name,
	CPU_FEATURES(X)
#undef X
	    CPU_FEATURE_COUNT
};

struct cpu_cpuid_leaf {
	uint32_t leaf, subleaf;
	bool subleaf_matters;
	uint32_t eax, ebx, ecx, edx;
};

#define CPU_MODEL_MAX_LEAVES 64

/* The local APIC's timer counts at this rate (divide by 1). CPUID leaf 15H promises it. */
#define CPU_APIC_TIMER_HZ 1000000000u

/* X(name, leaf, subleaf, register): the CPUID words that features live in. */
/* clang-format off */
#define CPU_CPUID_WORDS(X) \
	X(1_ECX, 1, 0, ecx) X(1_EDX, 1, 0, edx) X(6_EAX, 6, 0, eax) X(7_EBX, 7, 0, ebx) X(7_ECX, 7, 0, ecx) \
	X(7_EDX, 7, 0, edx) X(D1_EAX, 0xd, 1, eax) X(80000001_ECX, 0x80000001, 0, ecx) \
	X(80000001_EDX, 0x80000001, 0, edx) X(80000007_EDX, 0x80000007, 0, edx)
/* clang-format on */

enum cpu_cpuid_word {
#define X(name, leaf, subleaf, register) CPUID_WORD_##name,
	CPU_CPUID_WORDS(X)
#undef X
	    CPUID_WORD_COUNT
};

#define CPU_HOST_MAX_CACHES 8

/* What the host's processor says of itself. Tests make their own. */
struct cpu_host {
	char vendor[13];
	uint32_t word[CPUID_WORD_COUNT];
	bool avx_enabled;				  /* the host's operating system saves the upper halves */
	struct cpu_cpuid_leaf cache[CPU_HOST_MAX_CACHES]; /* leaf 4 */
	unsigned cache_count;
	struct cpu_cpuid_leaf l1_amd, l2_amd; /* leaves 80000005H and 80000006H */
};

struct cpu_model {
	bool feature[CPU_FEATURE_COUNT];
	struct cpu_cpuid_leaf leaf[CPU_MODEL_MAX_LEAVES];
	unsigned leaf_count;
	bool steal_time;	    /* cpu_model_offer_steal_time() */
	uint64_t arch_capabilities; /* IA32_ARCH_CAPABILITIES */
	bool has_arch_capabilities;
	uint64_t cr4_allowed, efer_allowed, xcr0_allowed;
	uint64_t tsc_hz;
	unsigned physical_bits; /* 40 */
	unsigned vcpu_count;
	unsigned xsave_size; /* of the largest area XCR0 allows */
	char vendor[13];
};

void cpu_host_read(struct cpu_host *host);
/* Takes away what gives other values in each run: RDRAND and RDSEED. */
void cpu_host_hide_random(struct cpu_host *host);

/* As cpu_model_init() for a host already read. */
bool cpu_model_build(struct cpu_model *model, const char *name, unsigned vcpu_count, uint64_t tsc_hz,
		     const struct cpu_host *host, struct error *error);

/* Fails with ERROR_INPUT on an unknown name, listing those known, or when the host lacks what the level needs (except
 * max). */
bool cpu_model_init(struct cpu_model *model, const char *name, unsigned vcpu_count, uint64_t tsc_hz,
		    struct error *error);

/*
 * Offers what KVM calls steal time (docs/guest-interface.md): its leaves, behind our own at 40000100H, and its MSR. For
 * a model that is made, and a machine whose vCPUs have `steal_changed`.
 */
void cpu_model_offer_steal_time(struct cpu_model *model);

/* Says where the port of processor times is (docs/guest-interface.md), and how many bytes. The same holds. */
void cpu_model_offer_times(struct cpu_model *model, uint32_t port, uint32_t bytes);

static inline bool cpu_model_has(const struct cpu_model *model, enum cpu_feature feature)
{
	return model->feature[feature];
}

static inline bool cpu_model_is_intel(const struct cpu_model *model)
{
	return model->vendor[0] == 'G';
}

#endif
