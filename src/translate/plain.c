/* SPDX-License-Identifier: MIT */
/*
 * Re-emission: the guest's own instruction with other registers and an already translated memory operand. The real
 * CPU computes its result and flags.
 */
#include "translate/translation.h"

#define NO_ROLE 0xff

/* The places of an encoding that can name a general register. */
enum role { ROLE_REG, ROLE_RM, ROLE_VVVV, ROLE_OPCODE, ROLE_COUNT };

struct general {
	uint8_t guest;
	uint8_t host;
	uint8_t bytes;
	bool present, read, written, spilled;
};

struct plan {
	struct general role[ROLE_COUNT];
	const ZydisDecodedOperand *memory;
	struct host_rm place;			 /* of memory, after its check */
	bool rax, rax_written, rcx, rcx_written; /* implicit */
	bool byte_register;			 /* needs REX for SPL and its like */
	bool high_byte;
	bool direct_slot; /* rm is addressed in its slot */
	uint8_t vvvv;	  /* other register classes */
};

static unsigned fixed_bits(const struct translation *t)
{
	return (unsigned)t->insn.raw.rex.W;
}

/* Vector instructions have no operand size: 66 would select another one. */
static bool has_16_bit_operand(const struct translation *t)
{
	if (t->insn.operand_width != 16 || lower_is_vector(t))
		return false;
	for (unsigned i = 0; i < t->insn.operand_count; i++) {
		const ZydisDecodedOperand *operand = &t->operand[i];
		bool sized = operand->type == ZYDIS_OPERAND_TYPE_MEMORY ||
			     (operand->type == ZYDIS_OPERAND_TYPE_REGISTER && gpr_of(operand->reg.value).is_gpr);
		if (sized && operand->size == 16)
			return true;
	}
	return false;
}

/*
 * The prefixes that still mean something to the host. Outside the one-byte map F2 and F3 select the instruction, and
 * the last one counts; there they are kept whatever the decoder calls them. In the one-byte map only PAUSE has one that
 * matters: the hints of lock elision and of branches must not reach the host.
 */
static void emit_legacy_prefixes(struct translation *t)
{
	bool has_66 = false, mandatory_66 = false, has_lock = false;
	bool one_byte = t->insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT;
	unsigned repeat = 0;
	for (unsigned i = 0; i < t->insn.raw.prefix_count; i++) {
		unsigned value = t->insn.raw.prefixes[i].value;
		ZydisPrefixType type = t->insn.raw.prefixes[i].type;
		has_66 |= value == 0x66;
		mandatory_66 |= value == 0x66 && type == ZYDIS_PREFIX_TYPE_MANDATORY;
		has_lock |= value == 0xf0;
		if ((value == 0xf2 || value == 0xf3) && (!one_byte || type == ZYDIS_PREFIX_TYPE_MANDATORY))
			repeat = value;
	}
	if (t->drop_repeat || has_lock)
		repeat = 0;
	if (t->code_bytes == 2 && !mandatory_66) /* the default is 16 bits there, 32 on the host */
		has_66 = has_16_bit_operand(t);
	if (has_lock)
		asm_byte(&t->as, 0xf0);
	if (has_66)
		asm_byte(&t->as, 0x66);
	if (repeat != 0)
		asm_byte(&t->as, repeat);
}

static unsigned canonical_opcode(const struct translation *t)
{
	unsigned opcode = t->insn.opcode;
	/* 82 is the old alias of 80; it is gone in 64-bit mode. */
	return t->insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && opcode == 0x82 ? 0x80 : opcode;
}

static bool any_operand(const struct translation *t, bool (*matches)(const ZydisDecodedOperand *operand))
{
	for (unsigned i = 0; i < t->insn.operand_count; i++) {
		if (matches(&t->operand[i]))
			return true;
	}
	return false;
}

static bool is_general(const ZydisDecodedOperand *operand)
{
	return operand->type == ZYDIS_OPERAND_TYPE_REGISTER && gpr_of(operand->reg.value).is_gpr;
}

static bool is_is4(const ZydisDecodedOperand *operand)
{
	return operand->encoding == ZYDIS_OPERAND_ENCODING_IS4;
}

static void emit_immediates(struct translation *t)
{
	if (t->insn.raw.imm[0].size == 0)
		return;
	/* Outside 64-bit mode bit 7 of a register byte means nothing; on the host it would. */
	unsigned mask = t->code_bytes != 8 && any_operand(t, is_is4) ? 0x7f : 0xff;
	for (unsigned i = t->insn.raw.imm[0].offset; i < t->insn.length; i++)
		asm_byte(&t->as, t->bytes[i] & mask);
}

static void emit_legacy(struct translation *t, unsigned reg, struct host_rm rm, unsigned opcode_reg, bool force_rex)
{
	bool has_modrm = (t->insn.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
	emit_legacy_prefixes(t);
	unsigned rex = fixed_bits(t) ? 8u : 0u;
	if (has_modrm)
		rex |= asm_rex_bits(reg, rm);
	else if (opcode_reg != NO_ROLE && opcode_reg >= 8)
		rex |= 1;
	if (rex != 0 || force_rex)
		asm_byte(&t->as, 0x40 | rex);
	switch (t->insn.opcode_map) {
	case ZYDIS_OPCODE_MAP_0F:
		asm_byte(&t->as, 0x0f);
		break;
	case ZYDIS_OPCODE_MAP_0F38:
		asm_byte(&t->as, 0x0f);
		asm_byte(&t->as, 0x38);
		break;
	case ZYDIS_OPCODE_MAP_0F3A:
		asm_byte(&t->as, 0x0f);
		asm_byte(&t->as, 0x3a);
		break;
	default:
		break;
	}
	unsigned opcode = canonical_opcode(t);
	if (opcode_reg != NO_ROLE) {
		opcode = (opcode & ~7u) | (opcode_reg & 7);
		t->as.r12_used += opcode_reg == HOST_R12;
	}
	asm_byte(&t->as, opcode);
	if (has_modrm)
		asm_modrm(&t->as, reg, rm);
	emit_immediates(t);
}

/* Would VEX.W widen a general register, or a memory operand in its place? */
static bool widens_general(const struct translation *t)
{
	switch (t->insn.mnemonic) {
	case ZYDIS_MNEMONIC_VMOVD:
	case ZYDIS_MNEMONIC_VPINSRD:
	case ZYDIS_MNEMONIC_VPEXTRD:
	case ZYDIS_MNEMONIC_VCVTSI2SS:
	case ZYDIS_MNEMONIC_VCVTSI2SD:
		return true;
	default:
		return any_operand(t, is_general);
	}
}

static void emit_vex(struct translation *t, unsigned reg, struct host_rm rm, unsigned vvvv)
{
	const ZydisDecodedInstructionRawVex *vex = &t->insn.raw.vex;
	unsigned rex = asm_rex_bits(reg, rm);
	unsigned map = vex->size == 2 ? 1 : vex->m_mmmm;
	/* Outside 64-bit mode VEX.W does not widen general registers; on the host it would. */
	t->as.r12_used += vvvv == HOST_R12;
	bool w = vex->size == 3 && vex->W != 0 && (t->code_bytes == 8 || !widens_general(t));
	asm_byte(&t->as, 0xc4);
	asm_byte(&t->as, ((rex & 4) ? 0 : 0x80u) | ((rex & 2) ? 0 : 0x40u) | ((rex & 1) ? 0 : 0x20u) | map);
	asm_byte(&t->as, (w ? 0x80u : 0u) | (~vvvv & 15u) << 3 | (unsigned)vex->L << 2 | vex->pp);
	asm_byte(&t->as, t->insn.opcode);
	if ((t->insn.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0)
		asm_modrm(&t->as, reg, rm);
	emit_immediates(t);
}

void emit_reencoded(struct translation *t, unsigned reg, struct host_rm rm, unsigned vvvv, unsigned opcode_reg,
		    bool force_rex)
{
	if (t->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
		emit_vex(t, reg, rm, vvvv);
	else
		emit_legacy(t, reg, rm, opcode_reg, force_rex);
}

static enum role role_of(const ZydisDecodedOperand *operand)
{
	switch (operand->encoding) {
	case ZYDIS_OPERAND_ENCODING_MODRM_REG:
		return ROLE_REG;
	case ZYDIS_OPERAND_ENCODING_MODRM_RM:
		return ROLE_RM;
	case ZYDIS_OPERAND_ENCODING_NDSNDD:
		return ROLE_VVVV;
	case ZYDIS_OPERAND_ENCODING_OPCODE:
		return ROLE_OPCODE;
	default:
		return ROLE_COUNT;
	}
}

static void plan_general(struct plan *plan, const ZydisDecodedOperand *operand, struct gpr_name name)
{
	bool read = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
	bool written = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
	plan->high_byte |= name.high;
	enum role role = role_of(operand);
	if (role != ROLE_COUNT && operand->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
		struct general *general = &plan->role[role];
		general->present = true;
		general->guest = name.number;
		general->bytes = name.bytes;
		general->read |= read;
		general->written |= written;
		plan->byte_register |= name.bytes == 1;
		return;
	}
	if (name.number == CPU_RAX) {
		plan->rax = true;
		plan->rax_written |= written;
	} else if (name.number == CPU_RCX) {
		plan->rcx = true;
		plan->rcx_written |= written;
	}
	/* Implicit RDX, RBX, RBP, RSI and RDI are at home. RSP never is: such instructions have lowerings of their own.
	 */
	bug_if(name.number == CPU_RSP || name.number >= CPU_R8);
}

static void make_plan(const struct translation *t, struct plan *plan)
{
	*plan = (struct plan){.vvvv = 0};
	for (unsigned i = 0; i < t->insn.operand_count; i++) {
		const ZydisDecodedOperand *operand = &t->operand[i];
		if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY) {
			plan->memory = operand;
			continue;
		}
		if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		struct gpr_name name = gpr_of(operand->reg.value);
		if (name.is_gpr)
			plan_general(plan, operand, name);
		else if (operand->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD)
			plan->vvvv = (uint8_t)ZydisRegisterGetId(operand->reg.value);
	}
}

static unsigned arithmetic(ZydisAccessedFlagsMask mask)
{
	return mask & FLAGS_ARITHMETIC;
}

static bool count_may_be_zero(const struct translation *t)
{
	switch (t->insn.mnemonic) {
	case ZYDIS_MNEMONIC_SHL:
	case ZYDIS_MNEMONIC_SHR:
	case ZYDIS_MNEMONIC_SAR:
	case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHRD:
	case ZYDIS_MNEMONIC_ROL:
	case ZYDIS_MNEMONIC_ROR:
	case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR:
		return true;
	default:
		return false;
	}
}

/* AF is undefined after these, and every processor clears it: nothing of the old flags is left. */
static bool overwrites_flags(const struct translation *t)
{
	switch (t->insn.mnemonic) {
	case ZYDIS_MNEMONIC_AND:
	case ZYDIS_MNEMONIC_OR:
	case ZYDIS_MNEMONIC_XOR:
	case ZYDIS_MNEMONIC_TEST:
		return engine_uses(t->engine, ENGINE_LOGIC_FLAGS);
	default:
		return false;
	}
}

/* Must the guest's flags be in EFLAGS before the instruction? */
static bool needs_flags(const struct translation *t)
{
	const ZydisAccessedFlags *flags = t->insn.cpu_flags;
	if (flags == NULL || overwrites_flags(t))
		return false;
	unsigned written = arithmetic(flags->modified | flags->set_0 | flags->set_1 | flags->undefined);
	if (arithmetic(flags->tested) != 0 || count_may_be_zero(t))
		return true;
	/* "Undefined" may mean unchanged. */
	unsigned defined = arithmetic(flags->modified | flags->set_0 | flags->set_1) & ~arithmetic(flags->undefined);
	return written != 0 && defined != FLAGS_ARITHMETIC;
}

static bool writes_flags(const struct translation *t)
{
	const ZydisAccessedFlags *flags = t->insn.cpu_flags;
	return flags != NULL && arithmetic(flags->modified | flags->set_0 | flags->set_1 | flags->undefined) != 0;
}

/* Does it do the same to 8 bytes of memory as to a register? XCHG and its kin would lock. */
static bool works_on_slot(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
	case ZYDIS_MNEMONIC_ADD:
	case ZYDIS_MNEMONIC_SUB:
	case ZYDIS_MNEMONIC_AND:
	case ZYDIS_MNEMONIC_OR:
	case ZYDIS_MNEMONIC_XOR:
	case ZYDIS_MNEMONIC_INC:
	case ZYDIS_MNEMONIC_DEC:
	case ZYDIS_MNEMONIC_NEG:
	case ZYDIS_MNEMONIC_NOT:
		return true;
	default:
		return false;
	}
}

/* A spilled operand in ModRM.rm can be read where it lies, and written where all of it is. */
static bool can_address_slot(const struct translation *t, const struct plan *plan)
{
	const struct general *rm = &plan->role[ROLE_RM];
	if (!rm->present || !rm->spilled || plan->memory != NULL || t->row->kind == ROW_BIT ||
	    t->insn.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return false;
	if (rm->written && !engine_uses(t->engine, ENGINE_IN_SLOTS))
		return false;
	return rm->written ? rm->bytes == 8 && works_on_slot(t->insn.mnemonic) : rm->bytes >= 4;
}

/* Is the register's old value lost? Writes of 32 bits clear the upper half. */
static bool is_overwritten(const struct translation *t, const struct plan *plan, const struct general *general)
{
	if (general->read || general->bytes < 4 || !engine_uses(t->engine, ENGINE_IN_SLOTS))
		return false;
	for (unsigned i = 0; i < ROLE_COUNT; i++) {
		const struct general *other = &plan->role[i];
		if (other != general && other->present && other->guest == general->guest)
			return false;
	}
	switch (t->insn.mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
	case ZYDIS_MNEMONIC_MOVZX:
	case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD:
	case ZYDIS_MNEMONIC_IMUL: /* with an immediate: the other forms read it */
		return true;
	default:
		return false;
	}
}

/* One guest register named twice is one host register too. */
static bool share_register(struct plan *plan, unsigned which)
{
	struct general *general = &plan->role[which];
	for (unsigned i = 0; i < which; i++) {
		const struct general *other = &plan->role[i];
		if (other->present && other->spilled && other->guest == general->guest && other->host != SPILLED) {
			general->host = other->host;
			return true;
		}
	}
	return false;
}

static void assign_registers(struct translation *t, struct plan *plan)
{
	bool rcx_free = !plan->rcx, address_free = plan->memory == NULL;
	for (unsigned i = 0; i < ROLE_COUNT; i++) {
		struct general *general = &plan->role[i];
		if (!general->present)
			continue;
		general->host = (uint8_t)register_home(general->guest);
		if (plan->rax && general->guest == CPU_RAX) /* CMPXCHG RAX, r: both are the one that was loaded */
			general->host = HOST_RAX;
		general->spilled = general->host == SPILLED;
	}
	plan->direct_slot = can_address_slot(t, plan);
	for (unsigned i = 0; i < ROLE_COUNT; i++) {
		struct general *general = &plan->role[i];
		if (!general->present || !general->spilled || (i == ROLE_RM && plan->direct_slot))
			continue;
		if (share_register(plan, i))
			continue;
		if (rcx_free) {
			general->host = REG_INDEX;
			rcx_free = false;
		} else if (address_free) {
			general->host = REG_ADDRESS;
			address_free = false;
		} else {
			bug_if(plan->rax);
			flags_free_rax(t);
			general->host = HOST_RAX;
		}
		if (!is_overwritten(t, plan, general))
			asm_load(&t->as, general->host, register_slot(general->guest));
	}
}

static void load_implicit(struct translation *t, const struct plan *plan)
{
	if (plan->rax) {
		flags_free_rax(t);
		asm_mov(&t->as, HOST_RAX, REG_GUEST_RAX);
	}
	if (plan->rcx)
		asm_mov(&t->as, HOST_RCX, REG_GUEST_RCX);
}

static void write_back(struct translation *t, const struct plan *plan)
{
	if (plan->rax_written)
		asm_mov(&t->as, REG_GUEST_RAX, HOST_RAX);
	if (plan->rcx_written)
		asm_mov(&t->as, REG_GUEST_RCX, HOST_RCX);
	for (unsigned i = 0; i < ROLE_COUNT; i++) {
		const struct general *general = &plan->role[i];
		if (general->present && general->spilled && general->written && !(i == ROLE_RM && plan->direct_slot))
			asm_store(&t->as, register_slot(general->guest), general->host);
	}
}

static bool is_inc_dec_short(const struct translation *t)
{
	return t->code_bytes != 8 && t->insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && t->insn.opcode >= 0x40 &&
	       t->insn.opcode <= 0x4f && t->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
}

/* 40-4F are REX prefixes on the host: INC and DEC become FF /0 and FF /1. */
static void emit_inc_dec(struct translation *t, unsigned host)
{
	unsigned prefix = t->insn.operand_width == 16 ? 0x66 : 0;
	asm_op(&t->as, prefix, false, 0xff, t->insn.opcode >= 0x48, rm_register(host));
}

/* Bit 3 of a register number: VEX holds it inverted. */
static unsigned extended(const struct translation *t, unsigned rex_bit, unsigned vex_bit)
{
	bool vex = t->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
	return (vex ? vex_bit == 0 : rex_bit != 0) ? 8u : 0u;
}

static void emit_operation(struct translation *t, const struct plan *plan)
{
	struct host_rm rm;
	unsigned reg = t->insn.raw.modrm.reg;
	reg |= extended(t, t->insn.raw.rex.R, t->insn.raw.vex.R);
	if (plan->role[ROLE_REG].present)
		reg = plan->role[ROLE_REG].host;
	if (plan->memory != NULL) {
		rm = plan->place;
	} else if (plan->direct_slot) {
		rm = register_slot(plan->role[ROLE_RM].guest);
	} else if (plan->role[ROLE_RM].present) {
		rm = rm_register(plan->role[ROLE_RM].host);
	} else {
		rm = rm_register(t->insn.raw.modrm.rm | extended(t, t->insn.raw.rex.B, t->insn.raw.vex.B));
	}
	unsigned vvvv = plan->role[ROLE_VVVV].present ? plan->role[ROLE_VVVV].host : plan->vvvv;
	unsigned opcode_reg = plan->role[ROLE_OPCODE].present ? plan->role[ROLE_OPCODE].host : NO_ROLE;
	if (is_inc_dec_short(t))
		emit_inc_dec(t, opcode_reg);
	else
		emit_reencoded(t, reg, rm, vvvv, opcode_reg, plan->byte_register);
}

void lower_plain(struct translation *t)
{
	struct plan plan;
	make_plan(t, &plan);
	if (plan.high_byte) {
		lower_high_byte(t);
		return;
	}
	struct access access = {0};
	if (plan.memory != NULL) {
		access = access_of(plan.memory);
		access_demands(t, &access);
		if (t->insn.mnemonic == ZYDIS_MNEMONIC_MOVSXD && t->insn.operand_width == 16)
			access.size = 2; /* Intel: MOVSXD r16, r/m16; the upper half would be thrown away */
		plan.place = emit_operand_access(t, plan.memory, &access);
	}
	if (needs_flags(t) || plan.rax)
		flags_restore(t);
	load_implicit(t, &plan);
	assign_registers(t, &plan);
	note_fault_point(t);
	emit_operation(t, &plan);
	if (plan.memory != NULL)
		note_place(t);
	if (writes_flags(t))
		t->flags = FLAGS_HOST;
	write_back(t, &plan);
	if (plan.memory != NULL)
		emit_commit(t, &access);
}

/*
 * AH, CH, DH and BH cannot be named beside a REX prefix, so the operands go to where the encoding has them: RAX and RCX
 * get their guest values, and an address moves to whichever of the two is free. Without REX only registers 0-7 occur.
 */
void lower_high_byte(struct translation *t)
{
	struct plan plan;
	make_plan(t, &plan);
	struct access access = {0};
	if (plan.memory != NULL) {
		access = access_of(plan.memory);
		access_demands(t, &access);
		emit_effective_address(t, plan.memory, 0);
		emit_access(t, &access);
	}
	flags_free_rax(t);
	bool uses_rax = plan.rax, uses_rcx = plan.rcx, writes_rax = plan.rax_written, writes_rcx = plan.rcx_written;
	unsigned address = HOST_NONE;
	unsigned wide = NO_ROLE; /* MOVZX and MOVSX into ESP: through RCX */
	for (unsigned i = 0; i < ROLE_COUNT; i++) {
		struct general *general = &plan.role[i];
		if (!general->present)
			continue;
		general->host = general->guest;
		uses_rax |= general->guest == CPU_RAX;
		uses_rcx |= general->guest == CPU_RCX;
		writes_rax |= general->guest == CPU_RAX && general->written;
		writes_rcx |= general->guest == CPU_RCX && general->written;
		if (general->guest == CPU_RSP && general->bytes > 1)
			wide = i;
	}
	if (uses_rax)
		asm_mov(&t->as, HOST_RAX, REG_GUEST_RAX);
	if (uses_rcx)
		asm_mov(&t->as, HOST_RCX, REG_GUEST_RCX);
	if (wide != NO_ROLE) {
		plan.role[wide].host = uses_rcx ? HOST_RAX : HOST_RCX;
		asm_mov(&t->as, plan.role[wide].host, REG_GUEST_RSP);
	}
	struct host_rm rm = rm_register(t->insn.raw.modrm.rm);
	if (plan.memory != NULL) {
		address = !uses_rcx ? HOST_RCX : !uses_rax ? HOST_RAX : HOST_RBX;
		if (address == HOST_RBX) /* CMPXCHG m8, CH: both are taken, and RBX is not an operand */
			asm_store(&t->as, register_slot(CPU_RBX), HOST_RBX);
		asm_mov(&t->as, address, REG_ADDRESS);
		rm = rm_memory(address, 0);
	}
	unsigned reg = t->insn.raw.modrm.reg;
	if (wide != NO_ROLE && wide == ROLE_REG)
		reg = plan.role[wide].host;
	note_fault_point(t);
	unsigned opcode_reg = plan.role[ROLE_OPCODE].present ? t->insn.opcode & 7u : NO_ROLE;
	emit_reencoded(t, reg, rm, 0, opcode_reg, false);
	if (address == HOST_RBX)
		asm_load(&t->as, HOST_RBX, register_slot(CPU_RBX));
	if (writes_rax)
		asm_mov(&t->as, REG_GUEST_RAX, HOST_RAX);
	if (writes_rcx)
		asm_mov(&t->as, REG_GUEST_RCX, HOST_RCX);
	if (wide != NO_ROLE)
		asm_mov(&t->as, REG_GUEST_RSP, plan.role[wide].host);
	if (plan.memory != NULL)
		emit_commit(t, &access);
}
