/* SPDX-License-Identifier: MIT */
/*
 * Accesses that share a check.
 *
 * Theory of operation. Most accesses of a block lie near another one: fields of one structure, a stack frame, pushes
 * and pops in a row. The first of them, the leader, checks the range of all that follow from the same base and index
 * registers, as far as the block is straight and these registers stay as they are, but for known constants that ADD,
 * LEA, PUSH and their kin add to them. The followers address R12 plus a displacement. While R12 still holds the address
 * they need nothing else; else they load it from a slot of the frame, where the leader has then kept it.
 *
 * How far the range goes is known only later. So leaders are emitted with 32-bit fields (the displacement of LEA, the
 * limit of the comparison, the displacement of each access), which are filled when the block is finished, and with a
 * NOP of the size of the store into the slot.
 *
 *     lea r12, [base + low] ; rorx ; and ; sub r12, tag(rcx) ; cmp r12, 4096 - (high - low) ; ja stub ; add r12,
 * host(rcx) nop, or mov [slot], r12 op [r12 + own - low] ... op [r12 + other - low]
 *
 * A check that fails for want of a TLB entry is refilled for the leader's own operand: a fault has the leader's address
 * and rights, and nothing is fetched, marked or reported for accesses that may never happen. When the range crosses a
 * page, though the leader itself need not, the stub is a link: to a block that starts with the same instruction and
 * whose accesses each have a check of their own (MODE_OWN_CHECKS). So a stack frame across two pages costs a jump.
 *
 * A leader that reads can check for writing on behalf of a follower that writes, unless a conditional branch lies
 * between them. The page may be one that can be read and not written; then, after the refill, the stub finds no write
 * tag and takes the link too.
 *
 * Why this is sound. A TLB entry may be used until the guest flushes it or the dispatcher or a C instruction takes it
 * away; C instructions end all sharing in a block. Refills in between can replace the entry, but what it said stays
 * true, unless another vCPU had the world meanwhile: then helper_slow() leaves the block. All addresses lie between R12
 * and R12 + range, in one page, by the comparison at the leader.
 */
#include "base/bits.h"
#include "translate/translation.h"

/* Frames and structures are hardly larger, and longer ranges cross pages more often. */
#define RANGE_MAX 512

#define STORE_KEEP 8 /* bytes of mov [slot], r12 */

/* Where an access goes: displacements count from what base and index would be without the constants that were added
 * to them since the block's begin. Without a base, from the block's first PC. */
struct place {
	uint8_t base, index, scale;
	int32_t displacement;
};

bool sharing_begin(const struct translation *t)
{
	return engine_uses(t->engine, ENGINE_SHARED_CHECKS) && !t->engine->counted && t->code_bytes != 2 &&
	       (t->mode & (MODE_CAREFUL | MODE_STEP | MODE_OWN_CHECKS)) == 0;
}

void sharing_end(struct translation *t)
{
	for (unsigned i = 0; i < SHARE_SLOTS; i++)
		t->share[i].live = false;
}

/* Segments that add nothing. */
static bool is_linear(const struct translation *t, const struct access *access)
{
	if (access->segment == CPU_FS || access->segment == CPU_GS)
		return false;
	return t->code_bytes == 8 ||
	       (segment_is_flat(t, access->segment) && !(access->segment == CPU_CS && access->write));
}

static bool fits(int64_t displacement)
{
	return displacement < (1 << 30) && displacement > -(1 << 30);
}

/* What constants have added to base and index. */
static int64_t place_bias(const struct translation *t, const struct place *place)
{
	int64_t bias = place->base != CPU_NO_REGISTER ? t->delta[place->base] : 0;
	return place->index != CPU_NO_REGISTER ? bias + (int64_t)t->delta[place->index] * place->scale : bias;
}

static bool place_set(const struct translation *t, struct place *place, int64_t displacement)
{
	int64_t bias = place_bias(t, place);
	place->displacement = (int32_t)(displacement + bias);
	return fits(displacement + bias) && fits(bias);
}

static bool place_of(const struct translation *t, const ZydisDecodedOperandMem *mem, struct place *place)
{
	int64_t displacement = mem->disp.has_displacement ? mem->disp.value : 0;
	if (t->insn.address_width != t->code_bytes * 8)
		return false;
	*place = (struct place){.base = CPU_NO_REGISTER, .index = CPU_NO_REGISTER};
	if (mem->base == ZYDIS_REGISTER_RIP)
		return place_set(t, place, (int64_t)(t->next_rip + (uint64_t)displacement - t->block->rip));
	if (mem->base == ZYDIS_REGISTER_NONE)
		return false;
	place->base = gpr_of(mem->base).number;
	if (mem->index != ZYDIS_REGISTER_NONE && mem->scale != 0) {
		place->index = gpr_of(mem->index).number;
		place->scale = mem->scale;
	}
	return place_set(t, place, displacement);
}

static struct share *share_find(struct translation *t, const struct place *place)
{
	for (unsigned i = 0; i < SHARE_SLOTS; i++) {
		struct share *share = &t->share[i];
		const struct slow_stub *stub = &t->stub[share->stub];
		if (share->live && stub->base == place->base && stub->index == place->index &&
		    stub->scale == place->scale && share->view == t->view)
			return share;
	}
	return NULL;
}

static bool upgrade(struct translation *t, const struct share *share)
{
	struct slow_stub *stub = &t->stub[share->stub];
	if (share->link_count != t->link_count)
		return false;
	stub->write_too = true;
	return true;
}

/* Takes the access into the range, where that is possible. */
static bool share_joins(struct translation *t, const struct share *share, const struct place *place,
			const struct access *access)
{
	struct slow_stub *stub = &t->stub[share->stub];
	int32_t low = place->displacement < stub->low ? place->displacement : stub->low;
	int32_t end = place->displacement + access->size;
	int32_t high = end > stub->high ? end : stub->high;
	if (high - low > RANGE_MAX)
		return false;
	if (access->write && !stub->write && !stub->write_too && !upgrade(t, share))
		return false;
	stub->low = low;
	stub->high = high;
	stub->followed = true;
	return true;
}

static struct host_rm slot_of(const struct translation *t, const struct share *share)
{
	return rm_frame(FRAME(kept) + 8 * (size_t)(share - t->share));
}

static struct host_rm shared_place(struct translation *t, struct share *share, int32_t displacement)
{
	share->r12_used = t->as.r12_used;
	bug_if(t->member_count == MAX_MEMBERS);
	t->member[t->member_count] = (struct member){.stub = (uint16_t)share->stub, .displacement = displacement};
	t->member_pending = true;
	struct host_rm rm = rm_memory(REG_ADDRESS, 0);
	rm.memory.wide = true;
	return rm;
}

/* mov r12, imm64, whatever the value: it is filled later. */
static void emit_constant(struct translation *t, uint64_t value)
{
	t->as.r12_used++;
	asm_byte(&t->as, 0x49);
	asm_byte(&t->as, 0xb8 | (REG_ADDRESS & 7));
	t->as.displacement = t->as.next;
	asm_word64(&t->as, value);
}

static void emit_place(struct translation *t, const struct slow_stub *stub, int32_t displacement)
{
	if (stub->base == CPU_NO_REGISTER) {
		emit_constant(t, t->block->rip + (uint64_t)(int64_t)displacement);
		return;
	}
	struct host_rm rm = {.is_memory = true,
			     .memory = {.index = HOST_NONE, .scale = 1, .displacement = displacement, .wide = true}};
	rm.memory.base = (uint8_t)register_value(t, stub->base, REG_INDEX);
	if (stub->index != CPU_NO_REGISTER) {
		rm.memory.index = (uint8_t)register_value(t, stub->index, REG_ADDRESS);
		rm.memory.scale = stub->scale;
	}
	asm_lea(&t->as, REG_ADDRESS, rm, t->code_bytes == 8 ? 8 : 4);
}

static void emit_nop8(struct assembler *as)
{
	static const uint8_t nop[STORE_KEEP] = {0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00};
	for (size_t i = 0; i < sizeof nop; i++)
		asm_byte(as, nop[i]);
}

static struct share *share_new(struct translation *t, struct share *same)
{
	struct share *share = same != NULL ? same : &t->share[t->share_next++ % SHARE_SLOTS];
	*share = (struct share){.live = true, .view = (uint8_t)t->view, .link_count = (uint8_t)t->link_count};
	return share;
}

static struct host_rm emit_leader(struct translation *t, struct share *same, const struct place *place,
				  const struct access *access)
{
	struct share *share = share_new(t, same);
	struct slow_stub leader = {.base = place->base,
				   .index = place->index,
				   .scale = place->scale,
				   .own = place->displacement,
				   .bias = (int32_t)place_bias(t, place),
				   .rip = t->rip};
	emit_place(t, &leader, 0);
	leader.place_field = t->as.displacement;
	struct slow_stub *stub = emit_check(t, access);
	stub->base = leader.base;
	stub->index = leader.index;
	stub->scale = leader.scale;
	stub->own = stub->low = leader.own;
	stub->high = leader.own + access->size;
	stub->bias = leader.bias;
	stub->rip = leader.rip;
	stub->place_field = leader.place_field;
	stub->write = access->write;
	stub->shares = true;
	stub->keep_field = t->as.next;
	emit_nop8(&t->as);
	share->stub = t->stub_count - 1;
	return shared_place(t, share, place->displacement);
}

static bool may_share(const struct translation *t, const struct access *access)
{
	return t->shares && t->record == NULL && !t->clear_shadow && t->member_count < MAX_MEMBERS &&
	       t->share_links < SHARE_LINKS && is_linear(t, access);
}

static struct host_rm emit_shared(struct translation *t, const struct place *place, const struct access *access)
{
	struct share *share = share_find(t, place);
	t->writes_memory |= access->write;
	if (share == NULL || !share_joins(t, share, place, access)) {
		t->share_links++;
		return emit_leader(t, share, place, access);
	}
	if (share->r12_used != t->as.r12_used) {
		t->stub[share->stub].slot = slot_of(t, share);
		t->stub[share->stub].kept = true;
		asm_load(&t->as, REG_ADDRESS, slot_of(t, share));
	}
	return shared_place(t, share, place->displacement);
}

struct host_rm emit_operand_access(struct translation *t, const ZydisDecodedOperand *operand,
				   const struct access *access)
{
	struct place place;
	if (may_share(t, access) && place_of(t, &operand->mem, &place))
		return emit_shared(t, &place, access);
	emit_effective_address(t, operand, 0);
	emit_access(t, access);
	return rm_memory(REG_ADDRESS, 0);
}

bool emit_stack_shared(struct translation *t, const struct access *access, int32_t bias, struct host_rm *rm)
{
	struct place place = {.base = CPU_RSP, .index = CPU_NO_REGISTER};
	if (!may_share(t, access) || t->stack_bytes != t->code_bytes || !place_set(t, &place, bias))
		return false;
	*rm = emit_shared(t, &place, access);
	return true;
}

void note_place(struct translation *t)
{
	if (t->member_pending)
		t->member[t->member_count++].field = t->as.displacement;
	t->member_pending = false;
}

static bool is_whole(const struct translation *t, const ZydisDecodedOperand *operand)
{
	return operand->type == ZYDIS_OPERAND_TYPE_REGISTER && gpr_of(operand->reg.value).bytes == t->code_bytes;
}

/* PUSH and POP: by how much they change RSP, where that is known. */
static bool stack_step(const struct translation *t, int64_t *step)
{
	const ZydisDecodedOperand *operand = &t->operand[0];
	*step = t->insn.operand_width / 8;
	if (t->insn.mnemonic == ZYDIS_MNEMONIC_PUSH)
		*step = -*step;
	else if (t->insn.mnemonic != ZYDIS_MNEMONIC_POP)
		return false;
	return t->stack_bytes == t->code_bytes &&
	       (operand->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT || t->insn.mnemonic == ZYDIS_MNEMONIC_PUSH ||
		operand->type != ZYDIS_OPERAND_TYPE_REGISTER || gpr_of(operand->reg.value).number != CPU_RSP ||
		!gpr_of(operand->reg.value).is_gpr);
}

/* By how much the instruction changes its first operand, all of a register, where that is a constant. */
static bool register_step(const struct translation *t, unsigned guest, int64_t *step)
{
	const ZydisDecodedOperand *to = &t->operand[0], *from = &t->operand[1];
	if (!is_whole(t, to) || gpr_of(to->reg.value).number != guest)
		return false;
	switch (t->insn.mnemonic) {
	case ZYDIS_MNEMONIC_INC:
		*step = 1;
		return true;
	case ZYDIS_MNEMONIC_DEC:
		*step = -1;
		return true;
	case ZYDIS_MNEMONIC_ADD:
		*step = from->imm.value.s;
		return from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
	case ZYDIS_MNEMONIC_SUB:
		*step = -from->imm.value.s;
		return from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
	case ZYDIS_MNEMONIC_LEA:
		*step = from->mem.disp.value;
		return from->mem.base == to->reg.value && from->mem.index == ZYDIS_REGISTER_NONE &&
		       t->insn.address_width == t->code_bytes * 8;
	default:
		return false;
	}
}

static void register_written(struct translation *t, unsigned guest)
{
	int64_t step;
	bool known = guest == CPU_RSP && stack_step(t, &step);
	if ((known || register_step(t, guest, &step)) && fits(t->delta[guest] + step)) {
		t->delta[guest] += (int32_t)step;
		return;
	}
	for (unsigned i = 0; i < SHARE_SLOTS; i++) {
		const struct slow_stub *stub = &t->stub[t->share[i].stub];
		if (t->share[i].live && (stub->base == guest || stub->index == guest))
			t->share[i].live = false;
	}
}

void sharing_step(struct translation *t)
{
	uint32_t written = 0; /* once, however often an operand names it */
	for (unsigned i = 0; t->shares && i < t->insn.operand_count; i++) {
		const ZydisDecodedOperand *operand = &t->operand[i];
		if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER ||
		    (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0)
			continue;
		struct gpr_name name = gpr_of(operand->reg.value);
		if (name.is_gpr && (written & BIT32(name.number)) == 0)
			register_written(t, name.number);
		if (name.is_gpr)
			written |= BIT32(name.number);
	}
}

static void fill32(const struct translation *t, uint8_t *field, int32_t value)
{
	if (!t->as.full)
		store_le(field, (uint32_t)value, 4);
}

static void fill_place(const struct translation *t, const struct slow_stub *stub)
{
	if (stub->base != CPU_NO_REGISTER)
		fill32(t, stub->place_field, stub->low - stub->bias);
	else if (!t->as.full)
		store_le(stub->place_field, t->block->rip + (uint64_t)(int64_t)stub->low, 8);
}

/* mov [slot], r12 in place of the NOP. */
static void fill_keep(const struct translation *t, const struct slow_stub *stub)
{
	struct assembler as = t->as;
	as.next = stub->keep_field;
	asm_store(&as, stub->slot, REG_ADDRESS);
	bug_if(as.next != stub->keep_field + STORE_KEEP);
}

unsigned sharing_finish(struct translation *t)
{
	unsigned links = 0;
	for (unsigned i = 0; i < t->member_count; i++)
		fill32(t, t->member[i].field, t->member[i].displacement - t->stub[t->member[i].stub].low);
	for (unsigned i = 0; i < t->stub_count; i++) {
		struct slow_stub *stub = &t->stub[i];
		if (!stub->shares)
			continue;
		fill_place(t, stub);
		fill32(t, stub->size_field, (int32_t)PAGE_SIZE - (stub->high - stub->low));
		if (stub->write_too) {
			stub->tag +=
			    (int32_t)(offsetof(struct tlb_entry, write_tag) - offsetof(struct tlb_entry, read_tag));
			fill32(t, stub->tag_field, stub->tag);
		}
		if (stub->kept && !t->as.full)
			fill_keep(t, stub);
		links += stub->followed;
	}
	return links;
}

/* Behind the leader: the instruction again, in a block of its own. */
static void plan_own_checks(struct translation *t, const struct slow_stub *stub)
{
	flags_from_rax(&t->as);
	asm_align_field(&t->as, 1);
	t->link[t->link_count++] =
	    (struct link_plan){.field = asm_jump32(&t->as), .target = stub->rip, .own_checks = true};
}

/*
 *     the linear address of the range again ; does it cross the page? to the link
 *     the leader's own access, refilled ; to the main part
 * or, where followers write: the check for writing once more, and if it fails, the link.
 */
void emit_shared_stub(struct translation *t, const struct slow_stub *stub)
{
	struct assembler *as = &t->as;
	int32_t limit = (int32_t)PAGE_SIZE - (stub->high - stub->low);
	asm_op(as, 0, true, 0x03, REG_ADDRESS, rm_indexed(HOST_RSP, REG_INDEX, 1, stub->tag));
	asm_mov32(as, REG_INDEX, REG_ADDRESS);
	asm_group_immediate(as, false, 4, rm_register(REG_INDEX), PAGE_MASK);
	asm_group_immediate(as, false, 7, rm_register(REG_INDEX), limit);
	uint8_t *crosses = asm_jump_if32(as, 7), *read_only = NULL;
	if (stub->own != stub->low)
		asm_lea(as, REG_ADDRESS, rm_memory(REG_ADDRESS, stub->own - stub->low), t->code_bytes == 8 ? 8 : 4);
	asm_mov_immediate(as, REG_INDEX, stub->descriptor);
	asm_call_to(as, stub->thunk);
	if (stub->write_too) {
		emit_place(t, stub, stub->low - stub->bias);
		read_only = emit_lookup(t, stub->tag, limit).jump;
	} else if (stub->own != stub->low) {
		asm_lea(as, REG_ADDRESS, rm_memory(REG_ADDRESS, stub->low - stub->own), 8);
	}
	asm_jump_to(as, stub->resume + as->run_offset);
	asm_patch32_here(as, crosses);
	if (read_only != NULL)
		asm_patch32_here(as, read_only);
	plan_own_checks(t, stub);
}
