/* SPDX-License-Identifier: MIT */
/* Instructions that C executes: the decoder's output in the cpu layer's terms, and the call. */
#include "translate/translation.h"

static uint8_t register_number(ZydisRegister reg)
{
	if (reg == ZYDIS_REGISTER_NONE)
		return CPU_NO_REGISTER;
	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return CPU_RIP_BASE;
	struct gpr_name name = gpr_of(reg);
	return name.is_gpr ? name.number : (uint8_t)ZydisRegisterGetId(reg);
}

static bool has_prefix(const struct translation *t, unsigned value)
{
	for (unsigned i = 0; i < t->insn.raw.prefix_count; i++) {
		if (t->insn.raw.prefixes[i].value == value)
			return true;
	}
	return false;
}

static bool last_repeat_is(const struct translation *t, unsigned value)
{
	unsigned last = 0;
	for (unsigned i = 0; i < t->insn.raw.prefix_count; i++) {
		unsigned prefix = t->insn.raw.prefixes[i].value;
		if (prefix == 0xf2 || prefix == 0xf3)
			last = prefix;
	}
	return last == value;
}

/* The hidden operand of what pushes and pops. */
static bool is_stack(const ZydisDecodedOperand *operand)
{
	uint8_t base = register_number(operand->mem.base);
	return base == CPU_RSP || base == CPU_RBP;
}

static void fill_memory(struct translation *t, struct cpu_insn *insn)
{
	for (unsigned i = 0; i < t->insn.operand_count; i++) {
		const ZydisDecodedOperand *operand = &t->operand[i];
		if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		bool explicit_operand = operand->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT;
		/* Of a string instruction's two operands only the source can be overridden: it is the one that is read
		 * by SI. */
		bool source = operand->mem.base == ZYDIS_REGISTER_RSI || operand->mem.base == ZYDIS_REGISTER_ESI ||
			      operand->mem.base == ZYDIS_REGISTER_SI;
		if (!explicit_operand && (is_stack(operand) || (insn->has_memory && !source)))
			continue;
		insn->has_memory = true;
		insn->segment = access_of(operand).segment;
		insn->base = register_number(operand->mem.base);
		insn->index = register_number(operand->mem.index);
		insn->scale = operand->mem.scale == 0 ? 1 : operand->mem.scale;
		if (operand->mem.index == ZYDIS_REGISTER_NONE)
			insn->index = CPU_NO_REGISTER;
		insn->displacement = operand->mem.disp.has_displacement ? operand->mem.disp.value : 0;
		if (insn->base == CPU_RIP_BASE)
			insn->displacement += t->insn.length;
		if (explicit_operand)
			return;
	}
}

static unsigned modrm_reg(const struct translation *t)
{
	bool vex = t->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX; /* VEX holds the bit inverted */
	return t->insn.raw.modrm.reg | ((vex ? !t->insn.raw.vex.R : t->insn.raw.rex.R) ? 8u : 0u);
}

static unsigned modrm_rm(const struct translation *t)
{
	bool vex = t->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
	return t->insn.raw.modrm.rm | ((vex ? !t->insn.raw.vex.B : t->insn.raw.rex.B) ? 8u : 0u);
}

static void fill_registers(const struct translation *t, struct cpu_insn *insn)
{
	if ((t->insn.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0) {
		insn->reg = (uint8_t)modrm_reg(t);
		insn->rm = (uint8_t)modrm_rm(t);
	}
	for (unsigned i = 0; i < t->insn.operand_count; i++) {
		const ZydisDecodedOperand *operand = &t->operand[i];
		if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		if (operand->encoding == ZYDIS_OPERAND_ENCODING_OPCODE)
			insn->rm = register_number(operand->reg.value);
		else if (operand->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD)
			insn->vvvv = register_number(operand->reg.value);
		else if (ZydisRegisterGetClass(operand->reg.value) == ZYDIS_REGCLASS_SEGMENT &&
			 operand->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN)
			insn->reg = (uint8_t)(operand->reg.value - ZYDIS_REGISTER_ES);
	}
}

static unsigned operand_size_of(const struct translation *t)
{
	if (t->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) { /* element size of gathers and masked moves */
		for (unsigned i = 0; i < t->insn.operand_count; i++) {
			if (t->operand[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
				return t->operand[i].element_size / 8u;
		}
	}
	return t->insn.operand_width / 8u;
}

static void fill_vector(const struct translation *t, struct cpu_insn *insn)
{
	if (t->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
		insn->vector_size = t->insn.raw.vex.L ? 32 : 16;
	else
		insn->vector_size = 0;
}

static unsigned bit_kind(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_BTS:
		return CPU_BIT_SET;
	case ZYDIS_MNEMONIC_BTR:
		return CPU_BIT_RESET;
	case ZYDIS_MNEMONIC_BTC:
		return CPU_BIT_COMPLEMENT;
	default:
		return CPU_BIT_TEST;
	}
}

/* The size of one index of a gather: the letter D or Q before the element's in the mnemonic. */
static unsigned gather_index_size(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_VGATHERQPD:
	case ZYDIS_MNEMONIC_VGATHERQPS:
	case ZYDIS_MNEMONIC_VPGATHERQD:
	case ZYDIS_MNEMONIC_VPGATHERQQ:
		return 8;
	default:
		return 4;
	}
}

static bool has_operand(const struct translation *t, ZydisRegister reg)
{
	for (unsigned i = 0; i < t->insn.operand_count; i++) {
		if (t->operand[i].type == ZYDIS_OPERAND_TYPE_REGISTER && t->operand[i].reg.value == reg)
			return true;
	}
	return false;
}

unsigned loaded_segment(const struct translation *t)
{
	for (unsigned i = 0; i < t->insn.operand_count; i++) {
		ZydisRegister reg = t->operand[i].reg.value;
		if (t->operand[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_SEGMENT)
			return (unsigned)(reg - ZYDIS_REGISTER_ES);
	}
	return CPU_SEGMENT_COUNT;
}

static void fill_far_pointer(const struct translation *t, struct cpu_insn *insn)
{
	if (t->operand[0].type != ZYDIS_OPERAND_TYPE_POINTER)
		return;
	insn->immediate = t->operand[0].ptr.offset;
	insn->immediate2 = t->operand[0].ptr.segment;
}

/* What the cpu layer expects where the encoding alone does not say it; see cpu/insn.h. */
static void fill_special(const struct translation *t, struct cpu_insn *insn, enum cpu_op op)
{
	switch (op) {
	case CPU_OP_bit_memory:
		insn->immediate = bit_kind(t->insn.mnemonic);
		break;
	case CPU_OP_load_far_pointer:
		insn->immediate = loaded_segment(t);
		break;
	case CPU_OP_call_far:
	case CPU_OP_jmp_far:
		fill_far_pointer(t, insn);
		break;
	case CPU_OP_in:
	case CPU_OP_out:
		insn->reg = has_operand(t, ZYDIS_REGISTER_DX) ? CPU_RDX : CPU_NO_REGISTER;
		break;
	case CPU_OP_rdfsbase:
	case CPU_OP_rdgsbase:
	case CPU_OP_wrfsbase:
	case CPU_OP_wrgsbase:
		insn->operand_size = insn->rex_w ? 8 : 4; /* 66H means nothing here */
		break;
	case CPU_OP_vmaskmov:
	case CPU_OP_vpmaskmov:
		insn->immediate = t->operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
		break;
	case CPU_OP_gather:
		insn->immediate = gather_index_size(t->insn.mnemonic);
		break;
	default:
		break;
	}
}

static void fill_insn(struct translation *t, struct cpu_insn *insn, enum cpu_op op)
{
	insn->op = (uint16_t)op;
	insn->length = t->insn.length;
	insn->operand_size = (uint8_t)operand_size_of(t);
	insn->address_size = t->insn.address_width / 8u;
	insn->stack_size = (uint8_t)t->stack_bytes;
	insn->rep = last_repeat_is(t, 0xf3);
	insn->repne = last_repeat_is(t, 0xf2);
	insn->lock = has_prefix(t, 0xf0);
	insn->rex =
	    t->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && (t->insn.attributes & ZYDIS_ATTRIB_HAS_REX) != 0;
	insn->rex_w = t->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? t->insn.raw.vex.W : t->insn.raw.rex.W;
	insn->opcode = t->insn.opcode;
	insn->base = insn->index = CPU_NO_REGISTER;
	insn->scale = 1;
	insn->immediate = t->insn.raw.imm[0].size != 0 ? t->insn.raw.imm[0].value.u : 0;
	insn->immediate2 = t->insn.raw.imm[1].size != 0 ? t->insn.raw.imm[1].value.u : 0;
	fill_registers(t, insn);
	fill_memory(t, insn);
	fill_vector(t, insn);
	fill_special(t, insn, op);
}

static bool clears_trap_flag(unsigned op)
{
	return op == CPU_OP_int_n || op == CPU_OP_int3 || op == CPU_OP_int1 || op == CPU_OP_into ||
	       op == CPU_OP_syscall || op == CPU_OP_sysenter;
}

/* SDM 3A 9.3. The host's own serializing instructions are too slow, and a fence is all that others can see of it. */
static bool is_serializing(unsigned op)
{
	switch (op) {
	case CPU_OP_mov_to_cr:
	case CPU_OP_mov_to_dr:
	case CPU_OP_lmsw:
	case CPU_OP_invlpg:
	case CPU_OP_invpcid:
	case CPU_OP_invd:
	case CPU_OP_wbinvd:
	case CPU_OP_lgdt:
	case CPU_OP_lidt:
	case CPU_OP_lldt:
	case CPU_OP_ltr:
	case CPU_OP_wrmsr:
	case CPU_OP_cpuid:
	case CPU_OP_iret:
		return true;
	default:
		return false;
	}
}

/* Under which kind the ledger counts an instruction. */
static const uint8_t ledger_kinds[CPU_OP_COUNT] = {
#define X(name) [CPU_OP_##name] = LEDGER_KIND_CONTROL,
    CPU_OPS_CONTROL(X)
#undef X
#define X(name) [CPU_OP_##name] = LEDGER_KIND_FLAGS,
	CPU_OPS_FLAGS(X)
#undef X
#define X(name) [CPU_OP_##name] = LEDGER_KIND_MODEL,
	    CPU_OPS_MODEL(X)
#undef X
#define X(name) [CPU_OP_##name] = LEDGER_KIND_TRANSFER,
		CPU_OPS_TRANSFER(X)
#undef X
#define X(name) [CPU_OP_##name] = LEDGER_KIND_STRING,
		    CPU_OPS_STRING(X)
#undef X
#define X(name) [CPU_OP_##name] = LEDGER_KIND_PORT,
			CPU_OPS_PORT(X)
#undef X
#define X(name) [CPU_OP_##name] = LEDGER_KIND_INTEGER,
			    CPU_OPS_LEGACY(X)
#undef X
#define X(name) [CPU_OP_##name] = LEDGER_KIND_VECTOR,
				CPU_OPS_VECTOR(X)
#undef X
};

void emit_c_call(struct translation *t, struct c_insn *record)
{
	flags_save(t);
	sharing_end(t);
	asm_mov_immediate(&t->as, HOST_RCX, (uint64_t)(uintptr_t)record);
	asm_call_to(&t->as, t->engine->thunks.c_op);
	t->flags = FLAGS_BOTH; /* the thunk leaves them in EFLAGS and in RAX */
}

struct c_insn *c_record(struct translation *t, enum cpu_op op)
{
	struct c_insn *record = code_cache_allocate(&t->engine->cache, sizeof *record);
	if (record == NULL) {
		t->failed = true;
		return NULL;
	}
	record->function = cpu_ops[op];
	record->rip = t->rip;
	record->block = t->block;
	record->insn_index = (uint8_t)t->insn_index;
	record->ends_trap = clears_trap_flag(op);
	record->serializes = engine_is_shared(t->engine) && is_serializing(op);
	record->begins_trap = op == CPU_OP_sysret;
	record->ledger_kind = ledger_kinds[op];
	fill_insn(t, &record->insn, op);
	return record;
}

void lower_c(struct translation *t, enum cpu_op op)
{
	struct c_insn *record = c_record(t, op);
	if (record == NULL)
		return;
	emit_c_call(t, record);
	t->writes_memory = true;
}

static enum cpu_next raise_nm(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	cpu_fault(cpu, VECTOR_NM);
	return CPU_FAULT;
}

static enum cpu_next raise_ud(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	cpu_fault(cpu, VECTOR_UD);
	return CPU_FAULT;
}

static enum cpu_next raise_gp(struct cpu *cpu, const struct cpu_insn *insn)
{
	(void)insn;
	cpu_fault_code(cpu, VECTOR_GP, 0);
	return CPU_FAULT;
}

void lower_raise(struct translation *t, enum cpu_vector vector)
{
	struct c_insn *record = code_cache_allocate(&t->engine->cache, sizeof *record);
	if (record == NULL) {
		t->failed = true;
		return;
	}
	record->function = vector == VECTOR_NM ? raise_nm : vector == VECTOR_GP ? raise_gp : raise_ud;
	record->ledger_kind = LEDGER_KIND_TRANSFER;
	record->rip = t->rip;
	record->block = t->block;
	record->insn_index = (uint8_t)t->insn_index;
	emit_c_call(t, record);
	t->ended = true;
}
