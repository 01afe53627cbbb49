/* SPDX-License-Identifier: MIT */
/* The tables behind rows.h. The rows themselves are in rows.def. */
#include "translate/rows.h"

#define AS_PLAIN ROW_PLAIN, 0
#define AS_NOP ROW_NOP, 0
#define AS_MOV ROW_MOV, 0
#define AS_BIT ROW_BIT, 0
#define AS_LEA ROW_LEA, 0
#define AS_PUSH ROW_PUSH, 0
#define AS_POP ROW_POP, 0
#define AS_CALL ROW_CALL, 0
#define AS_JMP ROW_JMP, 0
#define AS_RET ROW_RET, 0
#define AS_JCC ROW_JCC, 0
#define AS_LOOP ROW_LOOP, 0
#define AS_JCXZ ROW_JCXZ, 0
#define AS_LEAVE ROW_LEAVE, 0
#define AS_FAR_POINTER ROW_FAR_POINTER, 0
#define AS_PUSHA ROW_PUSHA, 0
#define AS_POPA ROW_POPA, 0
#define AS_PUSHF ROW_PUSHF, 0
#define AS_STI ROW_STI, 0
#define AS_CLI ROW_CLI, 0
#define AS_CLD ROW_CLD, 0
#define AS_STD ROW_STD, 0
#define AS_C(name) ROW_C, CPU_OP_##name
#define ROW_(mnemonic, row_kind, row_op, sizes)                                                                        \
	[ZYDIS_MNEMONIC_##mnemonic] = {.kind = row_kind, .op = row_op, .memory = sizes},
#define ROW(mnemonic, treatment, sizes) ROW_(mnemonic, treatment, sizes)

/* clang-format off */
static const struct row rows[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#include "translate/rows.def"
};

#define ISA(set, needs) [ZYDIS_ISA_SET_##set] = CPU_FEATURE_##needs + 1,
static const uint8_t isa_features[ZYDIS_ISA_SET_MAX_VALUE + 1] = {
	ISA(I86, FPU) ISA(I186, FPU) ISA(I286PROTECTED, FPU) ISA(I286REAL, FPU) ISA(I386, FPU) ISA(I486, FPU)
	ISA(I486REAL, FPU) ISA(PENTIUMREAL, FPU) ISA(PPRO, FPU) ISA(FAT_NOP, FPU) ISA(PREFETCH_NOP, FPU) ISA(PAUSE, FPU)
	ISA(CET, FPU) ISA(CLDEMOTE, FPU) ISA(PREFETCHWT1, FPU) ISA(RDPMC, FPU)
	ISA(LONGMODE, LM) ISA(AMD, SYSCALL) ISA(CMOV, CMOV) ISA(X87, FPU) ISA(FCMOV, CMOV) ISA(SSE3X87, SSE3)
	ISA(PENTIUMMMX, MMX) ISA(SSE, SSE) ISA(SSEMXCSR, SSE) ISA(SSE_PREFETCH, FPU) ISA(FXSAVE, FXSR) ISA(FXSAVE64, FXSR)
	ISA(SSE2, SSE2) ISA(SSE2MMX, SSE2) ISA(SSE3, SSE3) ISA(SSSE3, SSSE3) ISA(SSSE3MMX, SSSE3) ISA(SSE4, SSE41)
	ISA(SSE42, SSE42) ISA(POPCNT, POPCNT) ISA(CMPXCHG16B, CX16) ISA(LAHF, FPU) ISA(MOVBE, MOVBE) ISA(LZCNT, LZCNT)
	ISA(BMI1, BMI1) ISA(BMI2, BMI2) ISA(AVX, AVX) ISA(AVX2, AVX2) ISA(AVX2GATHER, AVX2) ISA(F16C, F16C) ISA(FMA, FMA)
	ISA(AES, AES) ISA(AVXAES, AES) ISA(PCLMULQDQ, PCLMULQDQ) ISA(VAES, VAES) ISA(VPCLMULQDQ, VPCLMULQDQ)
	ISA(GFNI, GFNI) ISA(AVX_GFNI, GFNI) ISA(SHA, SHA) ISA(ADOX_ADCX, ADX) ISA(RDRAND, RDRAND) ISA(RDSEED, RDSEED)
	ISA(XSAVE, XSAVE) ISA(XSAVEC, XSAVEC) ISA(XSAVEOPT, XSAVEOPT) ISA(RDTSCP, RDTSCP) ISA(RDPID, RDPID)
	ISA(RDWRFSGS, FSGSBASE) ISA(INVPCID, INVPCID) ISA(SMAP, SMAP) ISA(CLFSH, CLFSH) ISA(CLFLUSHOPT, CLFLUSHOPT)
	ISA(CLWB, CLWB) ISA(SSE4A, SSE4A)
};
/* clang-format on */

const struct row *row_find(ZydisMnemonic mnemonic)
{
	return &rows[(unsigned)mnemonic <= ZYDIS_MNEMONIC_MAX_VALUE ? mnemonic : ZYDIS_MNEMONIC_INVALID];
}

bool row_isa_feature(ZydisISASet set, ZydisMnemonic mnemonic, enum cpu_feature *feature)
{
	if (mnemonic == ZYDIS_MNEMONIC_VPCLMULQDQ &&
	    set == ZYDIS_ISA_SET_AVX) { /* the 128-bit form needs AVX and this */
		*feature = CPU_FEATURE_PCLMULQDQ;
		return true;
	}
	if ((unsigned)set > ZYDIS_ISA_SET_MAX_VALUE || isa_features[set] == 0)
		return false;
	*feature = (enum cpu_feature)(isa_features[set] - 1);
	return true;
}
