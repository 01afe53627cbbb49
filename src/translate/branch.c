/* SPDX-License-Identifier: MIT */
/*
 * Control transfers: links, indirect branches through the jump cache, polls and guards. See block.h.
 *
 * Polls. Every backward or wrapping direct branch and every indirect one loads cpu.run and leaves when it is zero; a
 * loop has at least one of them. JRCXZ tests without touching the flags, and falls through in the common case.
 */
#include "translate/stack.h"

#define CONDITION_EQUAL 4
#define CONDITION_NOT_EQUAL 5

static bool single(const struct translation *t)
{
	return (t->mode & (MODE_CAREFUL | MODE_STEP)) != 0;
}

static void leave_shadow(struct translation *t)
{
	if (t->clear_shadow && !t->sets_shadow)
		asm_store_byte_immediate(&t->as, rm_frame(FRAME(cpu.interrupt_shadow)), 0);
}

/* R12 is the next guest PC. */
static void emit_leave(struct translation *t)
{
	flags_restore(t);
	leave_shadow(t);
	asm_jump_to(&t->as, t->engine->thunks.next);
	t->ended = true;
}

void emit_next(struct translation *t, uint64_t rip)
{
	asm_mov_immediate(&t->as, REG_ADDRESS, rip);
	emit_leave(t);
}

static uint64_t linear_of(const struct translation *t, uint64_t rip)
{
	return t->code_bytes == 8 ? rip : (uint32_t)(t->cs_base + rip);
}

static void emit_planned(struct translation *t, const struct link_plan *plan)
{
	struct link_plan *link = &t->link[t->link_count++];
	*link = *plan;
	if (link->guarded && guards_take_saved(t->engine)) {
		flags_save(t);
		link->saved = true;
	} else {
		flags_restore(t);
	}
	if (t->clear_shadow) { /* interrupts that arrived while IF was clear did not touch cpu.run */
		asm_load32(&t->as, REG_INDEX, rm_frame(FRAME(cpu.requests)));
		uint8_t *none = asm_jrcxz(&t->as);
		link->event_field32 = asm_jump32(&t->as);
		asm_patch8_here(&t->as, none);
	} else if (link->far || link->target <= t->rip) {
		asm_load32(&t->as, REG_INDEX, rm_frame(FRAME(cpu.run)));
		link->event_field = asm_jrcxz(&t->as);
	}
	asm_align_field(&t->as, 1);
	link->field = asm_jump32(&t->as);
	t->ended = true;
}

static bool leaves_page(const struct translation *t, uint64_t target)
{
	return align_down(linear_of(t, target), PAGE_SIZE) != align_down(t->block->linear, PAGE_SIZE);
}

/*
 * A conditional branch as a way out of the middle of a block, which goes on where the branch is not taken. Forward it
 * is one jump, linked itself. Backward it polls, behind a jump over all that.
 */
static void emit_side_link(struct translation *t, unsigned condition, uint64_t target)
{
	struct assembler *as = &t->as;
	unsigned number = link_next_number(t->engine) + t->link_count;
	struct link_plan *link = &t->link[t->link_count++];
	*link = (struct link_plan){.target = target, .guarded = leaves_page(t, target)};
	if (target > t->rip) {
		asm_align_field(as, 2);
		link->field = asm_jump_if32(as, condition);
		return;
	}
	uint8_t *not_taken = asm_jump_if8(as, condition ^ 1);
	asm_load32(as, REG_INDEX, rm_frame(FRAME(cpu.run)));
	uint8_t *event = asm_jrcxz(as);
	asm_align_field(as, 1);
	link->field = asm_jump32(as);
	asm_patch8_here(as, event);
	asm_mov_immediate(as, REG_INDEX, number);
	asm_jump_to(as, t->engine->thunks.event);
	asm_patch8_here(as, not_taken);
}

void emit_link(struct translation *t, uint64_t target)
{
	if (single(t) || t->sets_shadow) { /* an open shadow: the dispatcher runs the one instruction that it covers */
		emit_next(t, target);
		return;
	}
	leave_shadow(t);
	emit_planned(t, &(struct link_plan){.target = target, .guarded = leaves_page(t, target)});
}

void emit_far_link(struct translation *t, uint64_t target, uint32_t cs_base)
{
	emit_planned(t, &(struct link_plan){.target = target, .guarded = true, .far = true, .cs_base = cs_base});
}

void emit_mode_link(struct translation *t, uint64_t target, uint32_t mode_id)
{
	flags_restore(t);
	emit_planned(t, &(struct link_plan){.target = target, .guarded = leaves_page(t, target), .mode_id = mode_id});
}

static uint32_t cache_offset(const struct translation *t, const uint8_t *write_address)
{
	return (uint32_t)(write_address - t->engine->cache.write);
}

static void emit_link_stub(struct translation *t, unsigned i)
{
	struct engine *engine = t->engine;
	const struct link_plan *plan = &t->link[i];
	uint32_t number = link_next_number(engine) + i;
	if (plan->event_field != NULL)
		asm_patch8_here(&t->as, plan->event_field);
	if (plan->event_field32 != NULL)
		asm_patch32_here(&t->as, plan->event_field32);
	if (plan->event_field != NULL || plan->event_field32 != NULL) {
		if (plan->saved)
			flags_from_rax(&t->as);
		asm_mov_immediate(&t->as, REG_INDEX, number);
		asm_jump_to(&t->as, engine->thunks.event);
	}
	asm_patch32_here(&t->as, plan->field);
	t->block->links[i] = (struct link){.target = plan->target,
					   .source = t->block,
					   .field = cache_offset(t, plan->field),
					   .stub = cache_offset(t, t->as.next),
					   .guarded = plan->guarded,
					   .saved = plan->saved,
					   .own_checks = plan->own_checks,
					   .far = plan->far,
					   .mode_id = plan->mode_id,
					   .cs_base = plan->cs_base};
	if (plan->saved)
		flags_from_rax(&t->as);
	asm_mov_immediate(&t->as, REG_INDEX, number);
	asm_jump_to(&t->as, engine->thunks.link);
}

void emit_link_stubs(struct translation *t)
{
	while (t->block->link_count < t->link_count)
		emit_link_stub(t, t->block->link_count++);
}

bool links_allocate(struct translation *t, unsigned more)
{
	unsigned count = t->link_count + more;
	if (count == 0)
		return true;
	t->block->links = code_cache_allocate(&t->engine->cache, count * sizeof(struct link));
	return t->block->links != NULL;
}

/* R12 is the next guest PC; says which instruction asked for it. */
static void emit_indirect_exit(struct translation *t)
{
	asm_mov_immediate(&t->as, REG_INDEX, INDIRECT_FROM(block_next_number(t->engine), t->insn_index));
	asm_jump_to(&t->as, t->engine->thunks.indirect);
}

/* RCX = the line of the guest PC in R12. */
static void emit_jump_line(struct translation *t)
{
	static const uint8_t pext[] = {0xc4, 0xe2, 0x9a, 0xf5}; /* pext rcx, r12, [rsp + jump_mask] */
	for (size_t i = 0; i < sizeof pext; i++)
		asm_byte(&t->as, pext[i]);
	asm_modrm(&t->as, REG_INDEX, rm_frame(FRAME(jump_mask)));
}

static struct host_rm jump_host(const struct translation *t)
{
	return rm_indexed(HOST_RSP, REG_INDEX, 8, (int32_t)FRAME(jump_host[t->jump_mode_id]));
}

static struct host_rm jump_key_of_line(const struct translation *t)
{
	return rm_indexed(HOST_RSP, REG_INDEX, 8, (int32_t)FRAME(jump_key[t->jump_mode_id]));
}

/* Guest flags in EFLAGS: no comparison may change them. */
static void emit_indirect_by_jrcxz(struct translation *t)
{
	struct assembler *as = &t->as;
	asm_load32(as, REG_INDEX, rm_frame(FRAME(cpu.run)));
	uint8_t *event = asm_jrcxz(as);
	emit_jump_line(t);
	asm_load(as, HOST_RAX, jump_host(t));
	asm_load(as, REG_INDEX, jump_key_of_line(t));
	asm_lea(as, REG_INDEX, rm_indexed(REG_INDEX, REG_ADDRESS, 1, 0), 8);
	uint8_t *hit = asm_jrcxz(as);
	asm_patch8_here(as, event);
	emit_indirect_exit(t);
	asm_patch8_here(as, hit);
	asm_op(as, 0, false, 0xff, 4, rm_register(HOST_RAX)); /* jmp rax; an empty line's thunk wants R12 */
}

/* Guest flags in RAX. */
static void emit_indirect_saved(struct translation *t)
{
	struct assembler *as = &t->as;
	asm_group_immediate(as, false, 7, rm_frame(FRAME(cpu.run)), 0);
	uint8_t *event = asm_jump_if8(as, CONDITION_EQUAL);
	emit_jump_line(t);
	asm_op(as, 0, true, 0x3b, REG_ADDRESS, jump_key_of_line(t));
	uint8_t *miss = asm_jump_if8(as, CONDITION_NOT_EQUAL);
	asm_op(as, 0, false, 0xff, 4, jump_host(t)); /* an empty line's thunk wants R12 */
	asm_patch8_here(as, event);
	asm_patch8_here(as, miss);
	flags_from_rax(as);
	emit_indirect_exit(t);
}

/* To the guest PC in R12, found by the vCPU's jump cache. stack_change: what the instruction has added to RSP. */
static void emit_indirect(struct translation *t, int32_t stack_change)
{
	t->insns[t->insn_index].stack_change = stack_change;
	leave_shadow(t);
	t->ended = true;
	if (single(t) || !t->engine->has_bmi2 || !engine_uses(t->engine, ENGINE_JUMP_CACHE)) {
		flags_restore(t);
		emit_indirect_exit(t);
	} else if (guards_take_saved(t->engine)) {
		flags_save(t);
		emit_indirect_saved(t);
	} else {
		flags_restore(t);
		emit_indirect_by_jrcxz(t);
	}
}

static uint64_t branch_target(const struct translation *t)
{
	uint64_t target = t->next_rip + (uint64_t)t->operand[0].imm.value.s;
	if (t->insn.operand_width == 16)
		target &= 0xffff;
	return target & rip_mask(t);
}

/* Direct branches beyond the limit of CS fault before they change anything. */
static bool beyond_limit(const struct translation *t, uint64_t target)
{
	return t->code_bytes != 8 && target > t->cs_limit;
}

static bool is_far(const struct translation *t)
{
	return t->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

/* R12 = the target held in a register or in memory, for JMP. */
static void load_target(struct translation *t)
{
	const ZydisDecodedOperand *operand = &t->operand[0];
	if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		emit_load_operand(t, operand, REG_ADDRESS);
		return;
	}
	struct gpr_name name = gpr_of(operand->reg.value);
	unsigned value = register_value(t, name.number, REG_ADDRESS);
	if (name.bytes == 8)
		asm_mov(&t->as, REG_ADDRESS, value);
	else if (name.bytes == 4)
		asm_mov32(&t->as, REG_ADDRESS, value);
	else
		asm_op(&t->as, 0, false, 0x0fb7, REG_ADDRESS, rm_register(value));
}

static void emit_taken(struct translation *t)
{
	if (beyond_limit(t, branch_target(t)))
		lower_raise(t, VECTOR_GP);
	else
		emit_link(t, branch_target(t));
}

void lower_jmp(struct translation *t)
{
	if (is_far(t)) {
		lower_far_branch(t, false);
	} else if (t->operand[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		emit_taken(t);
	} else {
		load_target(t);
		emit_indirect(t, 0);
	}
}

void lower_call(struct translation *t)
{
	if (is_far(t)) {
		lower_far_branch(t, true);
		return;
	}
	unsigned bytes = operand_bytes(t);
	if (t->operand[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && beyond_limit(t, branch_target(t))) {
		emit_push_store(t, t->next_rip, bytes); /* whose own faults come first */
		lower_raise(t, VECTOR_GP);
	} else if (t->operand[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		emit_push_immediate(t, t->next_rip, bytes);
		emit_link(t, branch_target(t));
	}
	if (t->ended)
		return;
	load_target(t);
	asm_store(&t->as, rm_frame(FRAME(branch_target)), REG_ADDRESS);
	emit_push_immediate(t, t->next_rip, bytes);
	asm_load(&t->as, REG_ADDRESS, rm_frame(FRAME(branch_target)));
	emit_indirect(t, -(int32_t)bytes);
}

void lower_ret(struct translation *t)
{
	if (is_far(t)) {
		lower_far_return(t);
		return;
	}
	unsigned bytes = operand_bytes(t);
	unsigned extra = t->operand[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? (unsigned)t->operand[0].imm.value.u : 0;
	emit_pop_to(t, REG_ADDRESS, bytes);
	emit_adjust_stack(t, (int32_t)(bytes + extra));
	emit_indirect(t, (int32_t)(bytes + extra));
}

static void two_links(struct translation *t, uint8_t *taken)
{
	enum flags_location flags = t->flags;
	emit_link(t, t->next_rip);
	t->flags = flags; /* as they are where the jump goes */
	asm_patch8_here(&t->as, taken);
	emit_taken(t);
}

void lower_jcc(struct translation *t)
{
	unsigned condition = t->insn.opcode & 15u;
	flags_restore(t);
	/* Blocks that count their instructions run them all. */
	bool may_go_on = engine_uses(t->engine, ENGINE_SIDE_EXITS) && !t->engine->counted;
	if (!may_go_on || single(t) || t->clear_shadow || t->link_count == SIDE_LINKS ||
	    beyond_limit(t, branch_target(t)))
		two_links(t, asm_jump_if8(&t->as, condition));
	else
		emit_side_link(t, condition, branch_target(t));
}

void lower_jcxz(struct translation *t)
{
	flags_restore(t);
	if (t->insn.address_width == 64)
		asm_mov(&t->as, REG_INDEX, REG_GUEST_RCX);
	else if (t->insn.address_width == 32)
		asm_mov32(&t->as, REG_INDEX, REG_GUEST_RCX);
	else
		asm_op(&t->as, 0, false, 0x0fb7, REG_INDEX, rm_register(REG_GUEST_RCX));
	two_links(t, asm_jrcxz(&t->as));
}

void lower_loop(struct translation *t)
{
	if (beyond_limit(t, branch_target(t))) { /* the fault comes before the count changes */
		lower_c(t, t->insn.mnemonic == ZYDIS_MNEMONIC_LOOPE    ? CPU_OP_loope
			   : t->insn.mnemonic == ZYDIS_MNEMONIC_LOOPNE ? CPU_OP_loopne
								       : CPU_OP_loop);
		return;
	}
	flags_restore(t);
	unsigned bytes = t->insn.address_width / 8u;
	if (bytes == 2) {
		asm_lea(&t->as, REG_INDEX, rm_memory(REG_GUEST_RCX, -1), 4);
		asm_op(&t->as, 0x66, false, 0x89, REG_INDEX, rm_register(REG_GUEST_RCX));
		asm_op(&t->as, 0, false, 0x0fb7, REG_INDEX, rm_register(REG_INDEX));
	} else {
		asm_lea(&t->as, REG_GUEST_RCX, rm_memory(REG_GUEST_RCX, -1), bytes);
		asm_mov(&t->as, REG_INDEX, REG_GUEST_RCX);
	}
	uint8_t *done = asm_jrcxz(&t->as);
	uint8_t *condition = NULL;
	if (t->insn.mnemonic == ZYDIS_MNEMONIC_LOOPE)
		condition = asm_jump_if8(&t->as, 5);
	else if (t->insn.mnemonic == ZYDIS_MNEMONIC_LOOPNE)
		condition = asm_jump_if8(&t->as, 4);
	enum flags_location flags = t->flags;
	emit_taken(t);
	t->flags = flags; /* as they are where the jumps go */
	asm_patch8_here(&t->as, done);
	if (condition != NULL)
		asm_patch8_here(&t->as, condition);
	emit_link(t, t->next_rip);
}

static struct host_rm fetch_entry(const struct translation *t, uint64_t linear)
{
	bool supervisor = (t->mode >> MODE_CPL_SHIFT & 3) != 3;
	return rm_frame(FRAME(cpu.tlb.fetch) + (supervisor ? sizeof(uint64_t[TLB_FETCH_SIZE]) : 0) +
			8 * TLB_FETCH_INDEX(linear));
}

static void emit_guard_exit(struct translation *t)
{
	asm_mov_immediate(&t->as, REG_INDEX, block_next_number(t->engine));
	asm_jump_to(&t->as, t->engine->thunks.guard);
}

static uint64_t second_page(const struct translation *t)
{
	uint64_t second = align_down(t->block->linear, PAGE_SIZE) + PAGE_SIZE;
	return t->code_bytes == 8 ? second : (uint32_t)second;
}

static void emit_self_check(struct translation *t)
{
	asm_mov_immediate(&t->as, REG_INDEX, block_next_number(t->engine));
	asm_call_to(&t->as, t->engine->thunks.self_check);
}

/* RCX = 0 when the fetch entry of a linear page names the physical page. Guest flags are in EFLAGS. */
static void emit_page_guard(struct translation *t, uint64_t linear, uint64_t gpa)
{
	asm_mov_immediate(&t->as, REG_INDEX, -tlb_fetch_word(linear, gpa));
	asm_load(&t->as, REG_ADDRESS, fetch_entry(t, linear));
	asm_lea(&t->as, REG_INDEX, rm_indexed(REG_INDEX, REG_ADDRESS, 1, 0), 8);
	uint8_t *same = asm_jrcxz(&t->as);
	emit_guard_exit(t);
	asm_patch8_here(&t->as, same);
}

static void emit_guard_by_jrcxz(struct translation *t)
{
	t->block->host_entry = t->block->guarded_entry = cache_offset(t, t->as.next);
	emit_page_guard(t, t->block->linear, t->block->gpa);
	if (t->block->gpa2 != NO_PAGE)
		emit_page_guard(t, second_page(t), t->block->gpa2);
	if (t->block->self_check) {
		flags_to_rax(&t->as);
		emit_self_check(t);
		flags_from_rax(&t->as);
	}
}

static void emit_page_guard_saved(struct translation *t, uint64_t linear, uint64_t gpa, const uint8_t *exit)
{
	asm_mov_immediate(&t->as, REG_INDEX, tlb_fetch_word(linear, gpa));
	asm_op(&t->as, 0, true, 0x3b, REG_INDEX, fetch_entry(t, linear));
	asm_jump_back_if8(&t->as, CONDITION_NOT_EQUAL, exit);
}

/* Guest flags are in RAX. What happens rarely lies before the entry. */
static void emit_guard_saved(struct translation *t)
{
	const uint8_t *exit = t->as.next;
	flags_from_rax(&t->as);
	emit_guard_exit(t);
	t->block->host_entry = cache_offset(t, t->as.next);
	flags_to_rax(&t->as);
	t->block->guarded_entry = cache_offset(t, t->as.next);
	emit_page_guard_saved(t, t->block->linear, t->block->gpa, exit);
	if (t->block->gpa2 != NO_PAGE)
		emit_page_guard_saved(t, second_page(t), t->block->gpa2, exit);
	if (t->block->self_check)
		emit_self_check(t);
	flags_from_rax(&t->as);
}

void emit_guard(struct translation *t)
{
	if (guards_take_saved(t->engine))
		emit_guard_saved(t);
	else
		emit_guard_by_jrcxz(t);
}
