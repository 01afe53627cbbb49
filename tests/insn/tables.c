/* SPDX-License-Identifier: MIT */
#include "tables.h"

#include <stddef.h>

#include "cpu/cpu.h"

/* ---- which feature promises which instruction ---- */

enum promise { NEVER, ALWAYS, WITH };

struct isa_row {
	const char *group;
	enum promise promise;
	enum cpu_feature first, second; /* both are needed */
};

#define ROW_ALWAYS(group)                                                                                              \
	{                                                                                                              \
		group, ALWAYS, 0, 0                                                                                    \
	}
#define ROW(group, feature)                                                                                            \
	{                                                                                                              \
		group, WITH, CPU_FEATURE_##feature, CPU_FEATURE_##feature                                              \
	}
#define ROW2(group, one, other)                                                                                        \
	{                                                                                                              \
		group, WITH, CPU_FEATURE_##one, CPU_FEATURE_##other                                                    \
	}

/* By the decoder's instruction sets. A set without a row is never promised. Hints that processors without the
 * feature run as NOP (SDM 2B, NOP; 0F 0D and 0F 18 to 0F 1F) count as always there. */
static const struct isa_row isa_rows[ZYDIS_ISA_SET_MAX_VALUE + 1] = {
    [ZYDIS_ISA_SET_I86] = ROW_ALWAYS("integer"),
    [ZYDIS_ISA_SET_I186] = ROW_ALWAYS("integer"),
    [ZYDIS_ISA_SET_I386] = ROW_ALWAYS("integer"),
    [ZYDIS_ISA_SET_I486] = ROW_ALWAYS("system at CPL 3"),
    [ZYDIS_ISA_SET_I486REAL] = ROW_ALWAYS("integer"),
    [ZYDIS_ISA_SET_I286REAL] = ROW_ALWAYS("system at CPL 3"),
    [ZYDIS_ISA_SET_I286PROTECTED] = ROW_ALWAYS("system at CPL 3"),
    [ZYDIS_ISA_SET_AMD] = ROW(/* SYSCALL and SYSRET in legacy mode */ "system at CPL 3", SYSCALL),
    [ZYDIS_ISA_SET_LONGMODE] = ROW("integer", LM),
    [ZYDIS_ISA_SET_PENTIUMREAL] = ROW_ALWAYS("integer"),
    [ZYDIS_ISA_SET_PPRO] = ROW_ALWAYS("integer"),
    [ZYDIS_ISA_SET_PAUSE] = ROW_ALWAYS("integer"),
    [ZYDIS_ISA_SET_RDPMC] = ROW_ALWAYS("system at CPL 3"),
    [ZYDIS_ISA_SET_FAT_NOP] = ROW_ALWAYS("hints"),
    [ZYDIS_ISA_SET_PREFETCH_NOP] = ROW_ALWAYS("hints"),
    [ZYDIS_ISA_SET_PREFETCHWT1] = ROW_ALWAYS("hints"),
    [ZYDIS_ISA_SET_CMOV] = ROW("integer", CMOV),
    [ZYDIS_ISA_SET_LAHF] = ROW_ALWAYS("integer"),
    [ZYDIS_ISA_SET_CMPXCHG16B] = ROW("integer", CX16),
    [ZYDIS_ISA_SET_MOVBE] = ROW("MOVBE", MOVBE),
    [ZYDIS_ISA_SET_POPCNT] = ROW("POPCNT, LZCNT", POPCNT),
    [ZYDIS_ISA_SET_LZCNT] = ROW("POPCNT, LZCNT", LZCNT),
    [ZYDIS_ISA_SET_BMI1] = ROW("BMI1", BMI1),
    [ZYDIS_ISA_SET_BMI2] = ROW("BMI2", BMI2),
    [ZYDIS_ISA_SET_ADOX_ADCX] = ROW("ADX", ADX),
    [ZYDIS_ISA_SET_RDRAND] = ROW("RDRAND, RDSEED", RDRAND),
    [ZYDIS_ISA_SET_RDSEED] = ROW("RDRAND, RDSEED", RDSEED),
    [ZYDIS_ISA_SET_RDTSCP] = ROW("integer", RDTSCP),
    [ZYDIS_ISA_SET_RDPID] = ROW("integer", RDPID),
    [ZYDIS_ISA_SET_RDWRFSGS] = ROW("FSGSBASE", FSGSBASE),
    [ZYDIS_ISA_SET_INVPCID] = ROW("system at CPL 3", INVPCID),
    [ZYDIS_ISA_SET_SMAP] = ROW("system at CPL 3", SMAP),
    [ZYDIS_ISA_SET_CLFSH] = ROW("cache control", CLFSH),
    [ZYDIS_ISA_SET_CLFLUSHOPT] = ROW("cache control", CLFLUSHOPT),
    [ZYDIS_ISA_SET_CLWB] = ROW("cache control", CLWB),
    [ZYDIS_ISA_SET_SSE_PREFETCH] = ROW_ALWAYS("hints"),
    [ZYDIS_ISA_SET_X87] = ROW("x87", FPU),
    [ZYDIS_ISA_SET_FCMOV] = ROW2("x87", FPU, CMOV),
    [ZYDIS_ISA_SET_SSE3X87] = ROW2("x87", FPU, SSE3),
    [ZYDIS_ISA_SET_PENTIUMMMX] = ROW("MMX", MMX),
    [ZYDIS_ISA_SET_SSE2MMX] = ROW2("MMX", MMX, SSE2),
    [ZYDIS_ISA_SET_SSSE3MMX] = ROW2("MMX", MMX, SSSE3),
    [ZYDIS_ISA_SET_FXSAVE] = ROW("FXSAVE", FXSR),
    [ZYDIS_ISA_SET_FXSAVE64] = ROW("FXSAVE", FXSR),
    [ZYDIS_ISA_SET_SSE] = ROW("SSE", SSE),
    [ZYDIS_ISA_SET_SSEMXCSR] = ROW("SSE", SSE),
    [ZYDIS_ISA_SET_SSE2] = ROW("SSE2", SSE2),
    [ZYDIS_ISA_SET_SSE3] = ROW("SSE3", SSE3),
    [ZYDIS_ISA_SET_SSSE3] = ROW("SSSE3", SSSE3),
    [ZYDIS_ISA_SET_SSE4] = ROW("SSE4.1", SSE41),
    [ZYDIS_ISA_SET_SSE42] = ROW("SSE4.2", SSE42),
    [ZYDIS_ISA_SET_SSE4A] = ROW("SSE4A", SSE4A),
    [ZYDIS_ISA_SET_AES] = ROW("AES", AES),
    [ZYDIS_ISA_SET_PCLMULQDQ] = ROW("PCLMULQDQ", PCLMULQDQ),
    [ZYDIS_ISA_SET_SHA] = ROW("SHA", SHA),
    [ZYDIS_ISA_SET_GFNI] = ROW("GFNI", GFNI),
    [ZYDIS_ISA_SET_AVX] = ROW("AVX", AVX),
    [ZYDIS_ISA_SET_AVXAES] = ROW2("AVX", AVX, AES),
    [ZYDIS_ISA_SET_AVX_GFNI] = ROW2("GFNI", AVX, GFNI),
    [ZYDIS_ISA_SET_AVX2] = ROW("AVX2", AVX2),
    [ZYDIS_ISA_SET_AVX2GATHER] = ROW("AVX2", AVX2),
    [ZYDIS_ISA_SET_FMA] = ROW("FMA", FMA),
    [ZYDIS_ISA_SET_F16C] = ROW("F16C", F16C),
    [ZYDIS_ISA_SET_VAES] = ROW2("VAES", AVX, VAES),
    [ZYDIS_ISA_SET_VPCLMULQDQ] = ROW2("VPCLMULQDQ", AVX, VPCLMULQDQ),
    [ZYDIS_ISA_SET_XSAVE] = ROW("XSAVE", XSAVE),
    [ZYDIS_ISA_SET_XSAVEOPT] = ROW("XSAVE", XSAVEOPT),
    [ZYDIS_ISA_SET_XSAVEC] = ROW("XSAVE", XSAVEC),
};

const char *table_group(ZydisISASet set)
{
	return isa_rows[set].group != NULL ? isa_rows[set].group : "not promised";
}

bool table_scans_bits(const ZydisDecodedInstruction *insn)
{
	return insn->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	       (insn->mnemonic == ZYDIS_MNEMONIC_TZCNT || insn->mnemonic == ZYDIS_MNEMONIC_LZCNT);
}

bool table_runs_as_scan(const struct cpu_model *model, const ZydisDecodedInstruction *insn)
{
	return table_scans_bits(insn) &&
	       !cpu_model_has(model, insn->mnemonic == ZYDIS_MNEMONIC_TZCNT ? CPU_FEATURE_BMI1 : CPU_FEATURE_LZCNT);
}

bool table_promised(const struct cpu_model *model, const ZydisDecodedInstruction *insn)
{
	const struct isa_row *row = &isa_rows[insn->meta.isa_set];
	if (table_scans_bits(insn))
		return true;
	if (row->promise != WITH)
		return row->promise == ALWAYS;
	/* VEX.128 VPCLMULQDQ is listed under AVX by the decoder. */
	if (insn->mnemonic == ZYDIS_MNEMONIC_VPCLMULQDQ && !cpu_model_has(model, CPU_FEATURE_PCLMULQDQ))
		return false;
	return cpu_model_has(model, row->first) && cpu_model_has(model, row->second);
}

/* ---- what user mode cannot compare ---- */

static bool is_far(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
	(void)operands;
	return insn->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

static bool writes_segment(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
	for (unsigned i = 0; i < insn->operand_count_visible; i++) {
		if (operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(operands[i].reg.value) == ZYDIS_REGCLASS_SEGMENT &&
		    (operands[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			return true;
	}
	return false;
}

#define REASON_KERNEL "enters the host's kernel"
#define REASON_DESCRIPTOR "reads the descriptor tables, which are the host kernel's"
#define REASON_UMIP "the host's kernel answers in its place (UMIP)"

static const struct table_system system_rows[] = {
    {ZYDIS_MNEMONIC_SYSCALL, NULL, REASON_KERNEL, "syscalls", false},
    {ZYDIS_MNEMONIC_SYSENTER, NULL, REASON_KERNEL, "syscalls", false},
    {ZYDIS_MNEMONIC_SYSRET, NULL, "its checks depend on EFER, which is the host kernel's", "syscalls", false},
    {ZYDIS_MNEMONIC_INT, NULL, REASON_KERNEL, "gates", false},
    {ZYDIS_MNEMONIC_INT3, NULL, REASON_KERNEL, "gates", false},
    {ZYDIS_MNEMONIC_INT1, NULL, REASON_KERNEL, "gates", false},
    {ZYDIS_MNEMONIC_INTO, NULL, REASON_KERNEL, "gates", false},
    {ZYDIS_MNEMONIC_IRET, NULL, REASON_DESCRIPTOR, "gates", true},
    {ZYDIS_MNEMONIC_IRETD, NULL, REASON_DESCRIPTOR, "gates", true},
    {ZYDIS_MNEMONIC_IRETQ, NULL, REASON_DESCRIPTOR, "gates", false},
    {ZYDIS_MNEMONIC_CALL, is_far, REASON_DESCRIPTOR, "segments", true},
    {ZYDIS_MNEMONIC_JMP, is_far, REASON_DESCRIPTOR, "segments", true},
    {ZYDIS_MNEMONIC_RET, is_far, REASON_DESCRIPTOR, "segments", true},
    {ZYDIS_MNEMONIC_LDS, NULL, REASON_DESCRIPTOR, "segments", true},
    {ZYDIS_MNEMONIC_LES, NULL, REASON_DESCRIPTOR, "segments", true},
    {ZYDIS_MNEMONIC_LFS, NULL, REASON_DESCRIPTOR, "segments", true},
    {ZYDIS_MNEMONIC_LGS, NULL, REASON_DESCRIPTOR, "segments", true},
    {ZYDIS_MNEMONIC_LSS, NULL, REASON_DESCRIPTOR, "segments", true},
    {ZYDIS_MNEMONIC_MOV, writes_segment, REASON_DESCRIPTOR, "segments", true},
    {ZYDIS_MNEMONIC_POP, writes_segment, REASON_DESCRIPTOR, "segments", true},
    {ZYDIS_MNEMONIC_LAR, NULL, REASON_DESCRIPTOR, "segments", true},
    {ZYDIS_MNEMONIC_LSL, NULL, REASON_DESCRIPTOR, "segments", true},
    {ZYDIS_MNEMONIC_VERR, NULL, REASON_DESCRIPTOR, "segments", true},
    {ZYDIS_MNEMONIC_VERW, NULL, REASON_DESCRIPTOR, "segments", true},
    {ZYDIS_MNEMONIC_SGDT, NULL, REASON_UMIP, "privilege", false},
    {ZYDIS_MNEMONIC_SIDT, NULL, REASON_UMIP, "privilege", false},
    {ZYDIS_MNEMONIC_SLDT, NULL, REASON_UMIP, "privilege", false},
    {ZYDIS_MNEMONIC_STR, NULL, REASON_UMIP, "privilege", false},
    {ZYDIS_MNEMONIC_SMSW, NULL, REASON_UMIP, "privilege", false},
    {ZYDIS_MNEMONIC_CPUID, NULL, "answers from the guest's processor model", "cpuid", false},
    {ZYDIS_MNEMONIC_XGETBV, NULL, "XCR0 is the host kernel's", "xsave", false},
};

const struct table_system *table_system(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
	for (size_t i = 0; i < sizeof system_rows / sizeof system_rows[0]; i++) {
		const struct table_system *row = &system_rows[i];
		if (row->mnemonic == insn->mnemonic && (row->applies == NULL || row->applies(insn, operands)))
			return row;
	}
	return NULL;
}

/* ---- what the manuals leave open ---- */

#define RAX BIT32(0)
#define RCX BIT32(1)
#define RDX BIT32(2)
#define REASON_BLOCK "which part of a block faults first is not defined"
#define REASON_MASKED "which element faults first is not defined (SDM 2C, VMASKMOV)"
#define REASON_GATHER "elements may be gathered in any order before a fault (SDM 2C, VGATHERDPS)"
#define REASON_MMX "whether the x87 tags have changed when an MMX store faults is not defined"
#define REASON_TWO "which of two accesses comes first is not defined"
#define REASON_PARTS "which of its words is read first is not defined"
#define REASON_POPA "registers before the one that faulted may have been loaded"
#define REASON_IMAGE "instruction and data pointers are not emulated (docs/engine.md)"

/* Only what the engine computes in C, or what changes from one execution to the next, needs a row: everything else runs
 * on the same silicon and agrees even where it is undefined. */
static const struct table_open open_rows[] = {
    {ZYDIS_MNEMONIC_DAA, FLAG_OF, 0, 0, 0, "OF undefined: SDM 2A, DAA"},
    {ZYDIS_MNEMONIC_DAS, FLAG_OF, 0, 0, 0, "OF undefined: SDM 2A, DAS"},
    {ZYDIS_MNEMONIC_AAA, FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF, 0, 0, 0, "undefined flags: SDM 2A, AAA"},
    {ZYDIS_MNEMONIC_AAS, FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF, 0, 0, 0, "undefined flags: SDM 2A, AAS"},
    {ZYDIS_MNEMONIC_AAM, FLAG_OF | FLAG_AF | FLAG_CF, 0, 0, 0, "undefined flags: SDM 2A, AAM"},
    {ZYDIS_MNEMONIC_AAD, FLAG_OF | FLAG_AF | FLAG_CF, 0, 0, 0, "undefined flags: SDM 2A, AAD"},
    {ZYDIS_MNEMONIC_RDTSC, 0, RAX | RDX, 0, 0, "time"},
    {ZYDIS_MNEMONIC_RDTSCP, 0, RAX | RDX | RCX, 0, 0, "time, and TSC_AUX is the kernel's"},
    {ZYDIS_MNEMONIC_RDPID, 0, 0, 0, OPEN_DESTINATION, "TSC_AUX is the kernel's"},
    {ZYDIS_MNEMONIC_RDRAND, 0, 0, 0, OPEN_DESTINATION, "random"},
    {ZYDIS_MNEMONIC_RDSEED, FLAG_CF, 0, 0, OPEN_DESTINATION, "random, and may run dry"},
    {ZYDIS_MNEMONIC_FXSAVE, 0, 0, TABLE_MEMORY_FXSAVE, 0, REASON_IMAGE},
    {ZYDIS_MNEMONIC_FXSAVE64, 0, 0, TABLE_MEMORY_FXSAVE, 0, REASON_IMAGE},
    {ZYDIS_MNEMONIC_XSAVE, 0, 0, TABLE_MEMORY_FXSAVE, 0, REASON_IMAGE},
    {ZYDIS_MNEMONIC_XSAVE64, 0, 0, TABLE_MEMORY_FXSAVE, 0, REASON_IMAGE},
    {ZYDIS_MNEMONIC_XSAVEC, 0, 0, TABLE_MEMORY_FXSAVE, 0, REASON_IMAGE},
    {ZYDIS_MNEMONIC_XSAVEC64, 0, 0, TABLE_MEMORY_FXSAVE, 0, REASON_IMAGE},
    {ZYDIS_MNEMONIC_XSAVEOPT, 0, 0, TABLE_MEMORY_FXSAVE, 0, REASON_IMAGE},
    {ZYDIS_MNEMONIC_XSAVEOPT64, 0, 0, TABLE_MEMORY_FXSAVE, 0, REASON_IMAGE},
    {ZYDIS_MNEMONIC_FNSTENV, 0, 0, TABLE_MEMORY_FNSTENV, 0, REASON_IMAGE},
    {ZYDIS_MNEMONIC_FNSAVE, 0, 0, TABLE_MEMORY_FNSTENV, 0, REASON_IMAGE},
    {ZYDIS_MNEMONIC_FXSAVE, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_BLOCK},
    {ZYDIS_MNEMONIC_FXSAVE64, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_BLOCK},
    {ZYDIS_MNEMONIC_XSAVE, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_BLOCK},
    {ZYDIS_MNEMONIC_XSAVE64, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_BLOCK},
    {ZYDIS_MNEMONIC_XSAVEC, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_BLOCK},
    {ZYDIS_MNEMONIC_XSAVEC64, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_BLOCK},
    {ZYDIS_MNEMONIC_XSAVEOPT, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_BLOCK},
    {ZYDIS_MNEMONIC_XSAVEOPT64, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_BLOCK},
    {ZYDIS_MNEMONIC_FNSTENV, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_BLOCK},
    {ZYDIS_MNEMONIC_FNSAVE, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_BLOCK},
    {ZYDIS_MNEMONIC_FXRSTOR, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_BLOCK},
    {ZYDIS_MNEMONIC_FXRSTOR64, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_BLOCK},
    {ZYDIS_MNEMONIC_XRSTOR, 0, 0, 0, OPEN_FAULTED | OPEN_X87 | OPEN_MXCSR | OPEN_VECTORS | OPEN_WHICH | OPEN_ADDRESS,
     REASON_BLOCK},
    {ZYDIS_MNEMONIC_XRSTOR64, 0, 0, 0, OPEN_FAULTED | OPEN_X87 | OPEN_MXCSR | OPEN_VECTORS | OPEN_WHICH | OPEN_ADDRESS,
     REASON_BLOCK},
    {ZYDIS_MNEMONIC_FLDENV, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_BLOCK},
    {ZYDIS_MNEMONIC_FRSTOR, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_BLOCK},
    {ZYDIS_MNEMONIC_MASKMOVQ, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED | OPEN_WHICH | OPEN_OUTCOME | OPEN_ADDRESS,
     REASON_MASKED},
    {ZYDIS_MNEMONIC_MASKMOVDQU, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED | OPEN_WHICH | OPEN_OUTCOME | OPEN_ADDRESS,
     REASON_MASKED},
    {ZYDIS_MNEMONIC_VMASKMOVDQU, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED | OPEN_WHICH | OPEN_OUTCOME | OPEN_ADDRESS,
     REASON_MASKED},
    {ZYDIS_MNEMONIC_VMASKMOVPS, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_MASKED},
    {ZYDIS_MNEMONIC_VMASKMOVPD, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_MASKED},
    {ZYDIS_MNEMONIC_VPMASKMOVD, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_MASKED},
    {ZYDIS_MNEMONIC_VPMASKMOVQ, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_MASKED},
    {ZYDIS_MNEMONIC_VGATHERDPS, 0, 0, 0, OPEN_FAULTED | OPEN_ADDRESS | OPEN_VECTORS, REASON_GATHER},
    {ZYDIS_MNEMONIC_VGATHERDPD, 0, 0, 0, OPEN_FAULTED | OPEN_ADDRESS | OPEN_VECTORS, REASON_GATHER},
    {ZYDIS_MNEMONIC_VGATHERQPS, 0, 0, 0, OPEN_FAULTED | OPEN_ADDRESS | OPEN_VECTORS, REASON_GATHER},
    {ZYDIS_MNEMONIC_VGATHERQPD, 0, 0, 0, OPEN_FAULTED | OPEN_ADDRESS | OPEN_VECTORS, REASON_GATHER},
    {ZYDIS_MNEMONIC_VPGATHERDD, 0, 0, 0, OPEN_FAULTED | OPEN_ADDRESS | OPEN_VECTORS, REASON_GATHER},
    {ZYDIS_MNEMONIC_VPGATHERDQ, 0, 0, 0, OPEN_FAULTED | OPEN_ADDRESS | OPEN_VECTORS, REASON_GATHER},
    {ZYDIS_MNEMONIC_VPGATHERQD, 0, 0, 0, OPEN_FAULTED | OPEN_ADDRESS | OPEN_VECTORS, REASON_GATHER},
    {ZYDIS_MNEMONIC_VPGATHERQQ, 0, 0, 0, OPEN_FAULTED | OPEN_ADDRESS | OPEN_VECTORS, REASON_GATHER},
    {ZYDIS_MNEMONIC_MOVD, 0, 0, 0, OPEN_FAULTED | OPEN_X87, REASON_MMX},
    {ZYDIS_MNEMONIC_MOVQ, 0, 0, 0, OPEN_FAULTED | OPEN_X87, REASON_MMX},
    {ZYDIS_MNEMONIC_MOVNTQ, 0, 0, 0, OPEN_FAULTED | OPEN_X87, REASON_MMX},
    {ZYDIS_MNEMONIC_MASKMOVQ, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED | OPEN_X87, REASON_MMX},
    {ZYDIS_MNEMONIC_VCVTPS2PH, 0, 0, 0, OPEN_FAULTED | OPEN_MXCSR,
     "MXCSR may show the conversion although its store faulted"},
    {ZYDIS_MNEMONIC_CMPSB, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_TWO},
    {ZYDIS_MNEMONIC_CMPSW, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_TWO},
    {ZYDIS_MNEMONIC_CMPSD, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_TWO},
    {ZYDIS_MNEMONIC_CMPSQ, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_TWO},
    {ZYDIS_MNEMONIC_BOUND, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH, REASON_TWO},
    {ZYDIS_MNEMONIC_LDS, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_PARTS},
    {ZYDIS_MNEMONIC_LES, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_PARTS},
    {ZYDIS_MNEMONIC_LFS, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_PARTS},
    {ZYDIS_MNEMONIC_LGS, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_PARTS},
    {ZYDIS_MNEMONIC_LSS, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_PARTS},
    {ZYDIS_MNEMONIC_IRET, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_PARTS},
    {ZYDIS_MNEMONIC_IRETD, 0, 0, 0, OPEN_FAULTED | OPEN_WHICH | OPEN_ADDRESS, REASON_PARTS},
    {ZYDIS_MNEMONIC_POPA, 0, 0xffff, 0, OPEN_FAULTED, REASON_POPA},
    {ZYDIS_MNEMONIC_POPAD, 0, 0xffff, 0, OPEN_FAULTED, REASON_POPA},
    {ZYDIS_MNEMONIC_FBSTP, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED, REASON_BLOCK},
    {ZYDIS_MNEMONIC_FSTP, 0, 0, TABLE_MEMORY_PARTIAL, OPEN_FAULTED, REASON_BLOCK}, /* ten bytes */
};

void table_open_each(const ZydisDecodedInstruction *insn, bool faulted,
		     void (*visit)(void *opaque, const struct table_open *row), void *opaque)
{
	for (size_t i = 0; i < sizeof open_rows / sizeof open_rows[0]; i++) {
		const struct table_open *row = &open_rows[i];
		if (row->mnemonic == insn->mnemonic && (faulted || !(row->what & OPEN_FAULTED)))
			visit(opaque, row);
	}
}
