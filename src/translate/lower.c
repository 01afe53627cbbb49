/* SPDX-License-Identifier: MIT */
/* Which lowering an instruction gets: the allow-list, the promises of CPUID, and the gates of CR0, CR4 and XCR0. */
#include "translate/translation.h"

static bool promised(const struct translation *t)
{
	enum cpu_feature feature;
	return row_isa_feature(t->insn.meta.isa_set, t->insn.mnemonic, &feature) && cpu_model_has(t->model, feature);
}

/* Without their promise F3 0F BC and F3 0F BD are BSF and BSR with a prefix that means nothing. */
static bool runs_as_bit_scan(const struct translation *t)
{
	return t->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	       (t->insn.mnemonic == ZYDIS_MNEMONIC_TZCNT || t->insn.mnemonic == ZYDIS_MNEMONIC_LZCNT);
}

/* String and SSE2 instructions share the mnemonics MOVSD and CMPSD. */
static bool is_string(const struct translation *t)
{
	return t->insn.meta.category == ZYDIS_CATEGORY_STRINGOP;
}

enum vector_class { CLASS_NONE, CLASS_X87, CLASS_MMX, CLASS_SSE, CLASS_AVX };

static enum vector_class vector_class(const struct translation *t)
{
	if (t->insn.meta.category == ZYDIS_CATEGORY_X87_ALU) /* FCOMI and FISTTP belong to other ISA sets */
		return CLASS_X87;
	switch (t->insn.meta.isa_set) {
	case ZYDIS_ISA_SET_X87:
	case ZYDIS_ISA_SET_FCMOV:
	case ZYDIS_ISA_SET_SSE3X87:
		return CLASS_X87;
	case ZYDIS_ISA_SET_PENTIUMMMX:
	case ZYDIS_ISA_SET_SSE2MMX:
	case ZYDIS_ISA_SET_SSSE3MMX:
		return CLASS_MMX;
	default:
		break;
	}
	for (unsigned i = 0; i < t->insn.operand_count; i++) {
		if (t->operand[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		ZydisRegisterClass class = ZydisRegisterGetClass(t->operand[i].reg.value);
		if (class == ZYDIS_REGCLASS_XMM || class == ZYDIS_REGCLASS_YMM)
			return t->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? CLASS_AVX : CLASS_SSE;
		if (class == ZYDIS_REGCLASS_MMX)
			return CLASS_MMX;
	}
	switch (t->insn.mnemonic) {
	case ZYDIS_MNEMONIC_LDMXCSR:
	case ZYDIS_MNEMONIC_STMXCSR:
		return CLASS_SSE;
	case ZYDIS_MNEMONIC_VLDMXCSR:
	case ZYDIS_MNEMONIC_VSTMXCSR:
	case ZYDIS_MNEMONIC_VZEROALL:
	case ZYDIS_MNEMONIC_VZEROUPPER:
		return CLASS_AVX;
	default:
		return CLASS_NONE;
	}
}

bool lower_is_vector(const struct translation *t)
{
	return vector_class(t) != CLASS_NONE;
}

/* The exception that the state of the FPU raises before the instruction does anything, or -1. SDM 2A, 2.5 and 3A, 2.5.
 */
static int vector_gate(const struct translation *t)
{
	switch (vector_class(t)) {
	case CLASS_X87:
		if (t->insn.mnemonic == ZYDIS_MNEMONIC_FWAIT)
			return (t->mode & MODE_FPU_MP) != 0 && (t->mode & MODE_FPU_TS) != 0 ? VECTOR_NM : -1;
		return (t->mode & (MODE_FPU_EM | MODE_FPU_TS)) != 0 ? VECTOR_NM : -1;
	case CLASS_MMX:
		if ((t->mode & MODE_FPU_EM) != 0)
			return VECTOR_UD;
		break;
	case CLASS_SSE:
		if ((t->mode & MODE_FPU_EM) != 0 || (t->mode & MODE_SSE) == 0)
			return VECTOR_UD;
		break;
	case CLASS_AVX:
		if ((t->mode & MODE_AVX) == 0)
			return VECTOR_UD;
		break;
	default:
		return -1;
	}
	return (t->mode & MODE_FPU_TS) != 0 ? VECTOR_NM : -1;
}

/* Vector instructions whose 16 or 32 byte operand may lie anywhere. SDM 2A, tables 2-21 to 2-23 and 2-27. */
static bool tolerates_misalignment(const struct translation *t)
{
	bool vex = t->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
	switch (t->insn.mnemonic) {
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_LDDQU:
	case ZYDIS_MNEMONIC_PCMPESTRI:
	case ZYDIS_MNEMONIC_PCMPESTRM:
	case ZYDIS_MNEMONIC_PCMPISTRI:
	case ZYDIS_MNEMONIC_PCMPISTRM:
		return true;
	case ZYDIS_MNEMONIC_VMOVAPS:
	case ZYDIS_MNEMONIC_VMOVAPD:
	case ZYDIS_MNEMONIC_VMOVDQA:
	case ZYDIS_MNEMONIC_VMOVNTPS:
	case ZYDIS_MNEMONIC_VMOVNTPD:
	case ZYDIS_MNEMONIC_VMOVNTDQ:
	case ZYDIS_MNEMONIC_VMOVNTDQA:
		return false;
	default:
		return vex;
	}
}

/* x87 instructions that do not wait for a pending error. */
static bool never_waits(ZydisMnemonic mnemonic)
{
	return mnemonic == ZYDIS_MNEMONIC_FNSTCW || mnemonic == ZYDIS_MNEMONIC_FNSTSW ||
	       mnemonic == ZYDIS_MNEMONIC_FNINIT || mnemonic == ZYDIS_MNEMONIC_FNCLEX;
}

/* SDM 3A 9.1.2: LOCK, and XCHG without it. */
static bool is_locked(const struct translation *t)
{
	return (t->insn.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0 || t->insn.mnemonic == ZYDIS_MNEMONIC_XCHG;
}

void access_demands(const struct translation *t, struct access *access)
{
	enum vector_class class = vector_class(t);
	bool cmpxchg16b = t->insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B;
	access->aligned = access->size >= 16 && (cmpxchg16b || !tolerates_misalignment(t));
	bool half_store = t->insn.mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH;
	access->unaligned_ok = half_store || t->insn.mnemonic == ZYDIS_MNEMONIC_VCVTPH2PS;
	access->result_first = access->write && (half_store || (class == CLASS_X87 && !never_waits(t->insn.mnemonic)));
	access->locked = access->write && is_locked(t);
	access->x87_waits = (class == CLASS_X87 && !never_waits(t->insn.mnemonic)) || class == CLASS_MMX;
}

static void lower_mov(struct translation *t)
{
	for (unsigned i = 0; i < 2; i++) {
		if (t->operand[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		switch (ZydisRegisterGetClass(t->operand[i].reg.value)) {
		case ZYDIS_REGCLASS_CONTROL:
			lower_c(t, i == 0 ? CPU_OP_mov_to_cr : CPU_OP_mov_from_cr);
			return;
		case ZYDIS_REGCLASS_DEBUG:
			lower_c(t, i == 0 ? CPU_OP_mov_to_dr : CPU_OP_mov_from_dr);
			return;
		case ZYDIS_REGCLASS_SEGMENT:
			if (i == 0)
				lower_mov_to_segment(t);
			else
				lower_mov_from_segment(t);
			return;
		case ZYDIS_REGCLASS_TEST:
			lower_raise(t, VECTOR_UD);
			return;
		default:
			break;
		}
	}
	bool offset_form =
	    t->insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && t->insn.opcode >= 0xa0 && t->insn.opcode <= 0xa3;
	if (!offset_form) {
		lower_plain(t);
		return;
	}
	bool store = t->insn.opcode >= 0xa2;
	const ZydisDecodedOperand *operand = &t->operand[store ? 0 : 1];
	struct access access = access_of(operand);
	emit_effective_address(t, operand, 0);
	emit_access(t, &access);
	note_fault_point(t);
	unsigned opcode = (store ? 0x88u : 0x8au) | (access.size == 1 ? 0 : 1);
	asm_op(&t->as, access.size == 2 ? 0x66 : 0, access.size == 8, opcode, REG_GUEST_RAX, rm_memory(REG_ADDRESS, 0));
	emit_commit(t, &access);
}

static void lower_bit(struct translation *t)
{
	bool reaches =
	    t->operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY && t->operand[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
	if (reaches)
		lower_bit_string(t);
	else
		lower_plain(t);
}

static void lower_cli(struct translation *t)
{
	if ((t->mode & MODE_IOPL_OK) != 0)
		asm_store_byte_immediate(&t->as, rm_frame(FRAME(cpu.interrupt_enable)), 0);
	else
		lower_c(t, CPU_OP_cli);
}

static void lower_sti(struct translation *t)
{
	bool after_sti = t->opened_by_sti;
	t->opened_by_sti = false;
	if (after_sti) /* IF is set: this one opens no shadow of its own */
		return;
	if ((t->mode & MODE_IOPL_OK) == 0 || (t->mode & (MODE_STEP | MODE_CAREFUL)) != 0) {
		lower_c(t, CPU_OP_sti);
	} else { /* the shadow holds only if IF was clear: 0 - 1 has its low byte set, 1 - 1 is zero */
		asm_op(&t->as, 0, false, 0x0fb6, REG_INDEX, rm_frame(FRAME(cpu.interrupt_enable)));
		asm_lea(&t->as, REG_INDEX, rm_memory(REG_INDEX, -1), 4);
		asm_op(&t->as, 0, false, 0x88, REG_INDEX, rm_frame(FRAME(cpu.interrupt_shadow)));
		asm_store_byte_immediate(&t->as, rm_frame(FRAME(cpu.interrupt_enable)), 1);
		t->opened_by_sti = true;
	}
	t->sets_shadow = true;
}

static void lower_direction(struct translation *t, bool set)
{
	flags_save(t);
	asm_group_immediate(&t->as, false, set ? 1 : 4, rm_frame(FRAME(cpu.flags_system)),
			    (int32_t)(set ? FLAG_DF : ~FLAG_DF));
	flags_clobbered(t);
}

/* Operations in C after which the block cannot go on: they always leave, or what follows may be another instruction
 * stream. */
static bool c_ends_block(unsigned op)
{
	switch (op) {
	case CPU_OP_int_n:
	case CPU_OP_int3:
	case CPU_OP_int1:
	case CPU_OP_iret:
	case CPU_OP_syscall:
	case CPU_OP_sysret:
	case CPU_OP_sysenter:
	case CPU_OP_sysexit:
	case CPU_OP_hlt:
	case CPU_OP_ud:
		return true;
	default:
		return false;
	}
}

static enum cpu_op string_op(const struct translation *t)
{
	switch (t->insn.mnemonic) {
	case ZYDIS_MNEMONIC_MOVSD:
		return CPU_OP_movs;
	case ZYDIS_MNEMONIC_CMPSD:
		return CPU_OP_cmps;
	default:
		return (enum cpu_op)t->row->op;
	}
}

static void lower_by_row(struct translation *t)
{
	switch ((enum row_kind)t->row->kind) {
	case ROW_PLAIN:
		lower_plain(t);
		break;
	case ROW_C:
		if (lower_system(t, (enum cpu_op)t->row->op))
			break;
		lower_c(t, (enum cpu_op)t->row->op);
		t->ended |= c_ends_block(t->row->op);
		break;
	case ROW_NOP:
		break;
	case ROW_MOV:
		lower_mov(t);
		break;
	case ROW_BIT:
		lower_bit(t);
		break;
	case ROW_LEA:
		lower_lea(t);
		break;
	case ROW_PUSH:
		lower_push(t);
		break;
	case ROW_POP:
		lower_pop(t);
		t->sets_shadow =
		    t->operand[0].type == ZYDIS_OPERAND_TYPE_REGISTER && t->operand[0].reg.value == ZYDIS_REGISTER_SS;
		break;
	case ROW_CALL:
		lower_call(t);
		break;
	case ROW_JMP:
		lower_jmp(t);
		break;
	case ROW_RET:
		lower_ret(t);
		break;
	case ROW_JCC:
		lower_jcc(t);
		break;
	case ROW_LOOP:
		lower_loop(t);
		break;
	case ROW_JCXZ:
		lower_jcxz(t);
		break;
	case ROW_PUSHA:
		lower_pusha(t);
		break;
	case ROW_POPA:
		lower_popa(t);
		break;
	case ROW_PUSHF:
		lower_pushf(t);
		break;
	case ROW_FAR_POINTER:
		lower_load_far_pointer(t, loaded_segment(t));
		break;
	case ROW_LEAVE:
		lower_leave(t);
		break;
	case ROW_STI:
		lower_sti(t);
		break;
	case ROW_CLI:
		lower_cli(t);
		break;
	case ROW_CLD:
		lower_direction(t, false);
		break;
	case ROW_STD:
		lower_direction(t, true);
		break;
	default:
		lower_raise(t, VECTOR_UD);
		break;
	}
}

/* A plain instruction may touch only what its row says. */
static bool memory_allowed(const struct translation *t)
{
	if (t->row->kind != ROW_PLAIN && t->row->kind != ROW_MOV && t->row->kind != ROW_BIT)
		return true;
	const ZydisDecodedOperand *memory = memory_operand_of(t);
	if (memory == NULL)
		return true;
	if (memory->mem.type != ZYDIS_MEMOP_TYPE_MEM)
		return false;
	return (t->row->memory & row_memory_bit(memory->size / 8u)) != 0;
}

/* Operations in C that a loop which waits may have: they touch nothing but memory and the registers that idle.h
 * compares. */
static bool c_may_wait(unsigned op)
{
	static const bool may[CPU_OP_COUNT] = {
	    [CPU_OP_pause] = true,
	    [CPU_OP_stac] = true,
	    [CPU_OP_clac] = true,
	    [CPU_OP_cli] = true,
	    [CPU_OP_sti] = true,
	    [CPU_OP_pushf] = true,
	    [CPU_OP_popf] = true,
	    [CPU_OP_int_n] = true,
	    [CPU_OP_iret] = true,
	    [CPU_OP_call_far] = true,
	    [CPU_OP_jmp_far] = true,
	    [CPU_OP_ret_far] = true,
	    [CPU_OP_mov_to_segment] = true,
	    [CPU_OP_pop_segment] = true,
	    [CPU_OP_load_far_pointer] = true,
	    [CPU_OP_push_segment] = true,
	    [CPU_OP_enter] = true,
	    [CPU_OP_mov_from_segment] = true,
	    [CPU_OP_pusha] = true,
	    [CPU_OP_popa] = true,
	    [CPU_OP_bit_memory] = true,
	    [CPU_OP_leave] = true,
	    [CPU_OP_xlat] = true,
	    [CPU_OP_loopne] = true,
	    [CPU_OP_lahf] = true,
	    [CPU_OP_sahf] = true,
	    [CPU_OP_loop] = true,
	    [CPU_OP_loope] = true,
	};
	return may[op];
}

static bool may_wait(const struct translation *t)
{
	if (t->insn.mnemonic == ZYDIS_MNEMONIC_RDRAND || t->insn.mnemonic == ZYDIS_MNEMONIC_RDSEED)
		return false;
	if (is_string(t))
		return true;
	return vector_class(t) == CLASS_NONE && (t->row->kind != ROW_C || c_may_wait(t->row->op));
}

void lower_insn(struct translation *t)
{
	t->drop_repeat = false;
	t->row = row_find(t->insn.mnemonic);
	if ((t->mode & MODE_PROBE) != 0 && !may_wait(t))
		asm_store_byte_immediate(&t->as, rm_frame(FRAME(idle.tainted)), 1);
	if (!promised(t)) {
		if (!runs_as_bit_scan(t)) {
			lower_raise(t, VECTOR_UD);
			return;
		}
		t->drop_repeat = true;
		flags_restore(t);
	}
	if (is_string(t)) {
		lower_string(t, string_op(t));
		return;
	}
	int gate = vector_gate(t);
	if (t->insn.mnemonic == ZYDIS_MNEMONIC_PAUSE && engine_is_shared(t->engine))
		lower_c(t, CPU_OP_pause);
	else if (t->row->kind == ROW_NONE || !memory_allowed(t))
		lower_raise(t, VECTOR_UD);
	else if (gate >= 0)
		lower_raise(t, (enum cpu_vector)gate);
	else
		lower_by_row(t);
}
