/* SPDX-License-Identifier: MIT */
/*
 * Memory operands: effective address, segment base, soft TLB check, and the careful form.
 *
 * The check, with R12 the linear address:
 *     rorx ecx, r12d, 7 ; and ecx, 0x7fe0        byte offset of the TLB entry
 *     sub r12, tag(rcx)                          offset into the page, if it hits
 *     cmp r12, 4096 - size ; ja slow             misses and accesses that leave the page
 *     add r12, host(rcx)
 * A miss goes to a stub behind the block, which restores the address and calls the slow helper. That either refills and
 * comes back behind the check, or gives the instruction up: a guest fault, or EXIT_CAREFUL, and then the dispatcher
 * runs the instruction again as a careful block of its own: its operands go through bounce buffers, which makes any
 * instruction work on MMIO, across pages, and on watched or code pages, without semantics of its own.
 */
#include "translate/translation.h"

_Static_assert(sizeof(struct tlb_entry) == 32, "the check scales its index by 32");

#define ENTRY_SHIFT 5

struct access access_of(const ZydisDecodedOperand *operand)
{
	struct access access = {.size = (uint16_t)(operand->size / 8)};
	access.read = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
	access.write = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
	switch (operand->mem.segment) {
	case ZYDIS_REGISTER_ES:
		access.segment = CPU_ES;
		break;
	case ZYDIS_REGISTER_CS:
		access.segment = CPU_CS;
		break;
	case ZYDIS_REGISTER_SS:
		access.segment = CPU_SS;
		break;
	case ZYDIS_REGISTER_FS:
		access.segment = CPU_FS;
		break;
	case ZYDIS_REGISTER_GS:
		access.segment = CPU_GS;
		break;
	default:
		access.segment = CPU_DS;
		break;
	}
	access.stack = access.segment == CPU_SS;
	return access;
}

const ZydisDecodedOperand *memory_operand_of(const struct translation *t)
{
	for (unsigned i = 0; i < t->insn.operand_count; i++) {
		const ZydisDecodedOperand *operand = &t->operand[i];
		if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    operand->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
			return operand;
	}
	return NULL;
}

static void emit_constant_address(struct translation *t, uint64_t value, unsigned bytes)
{
	asm_mov_immediate(&t->as, REG_ADDRESS, value & size_mask(bytes));
}

void emit_effective_address(struct translation *t, const ZydisDecodedOperand *operand, int32_t rsp_bias)
{
	const ZydisDecodedOperandMem *mem = &operand->mem;
	unsigned bytes = t->insn.address_width / 8u;
	int64_t displacement = mem->disp.has_displacement ? mem->disp.value : 0;
	if (mem->base == ZYDIS_REGISTER_RIP || mem->base == ZYDIS_REGISTER_EIP) {
		emit_constant_address(t, t->next_rip + (uint64_t)displacement, bytes);
		return;
	}
	if (mem->base == ZYDIS_REGISTER_NONE && mem->index == ZYDIS_REGISTER_NONE) {
		emit_constant_address(t, (uint64_t)displacement, bytes);
		return;
	}
	struct host_rm rm = {.is_memory = true, .memory = {.base = HOST_NONE, .index = HOST_NONE, .scale = 1}};
	if (mem->base != ZYDIS_REGISTER_NONE) {
		struct gpr_name base = gpr_of(mem->base);
		rm.memory.base = (uint8_t)register_value(t, base.number, REG_INDEX);
		if (base.number == CPU_RSP)
			displacement += rsp_bias;
	}
	if (mem->index != ZYDIS_REGISTER_NONE && mem->scale != 0) {
		struct gpr_name index = gpr_of(mem->index);
		rm.memory.index = (uint8_t)register_value(t, index.number, REG_ADDRESS);
		rm.memory.scale = mem->scale;
	}
	int32_t beyond = displacement > INT32_MAX ? (int32_t)(displacement - INT32_MAX) : 0; /* only by rsp_bias */
	rm.memory.displacement = (int32_t)(displacement - beyond);
	asm_lea(&t->as, REG_ADDRESS, rm, bytes == 8 ? 8 : 4);
	if (beyond != 0)
		asm_lea(&t->as, REG_ADDRESS, rm_memory(REG_ADDRESS, beyond), bytes == 8 ? 8 : 4);
	if (bytes == 2)
		asm_op(&t->as, 0, false, 0x0fb7, REG_ADDRESS, rm_register(REG_ADDRESS)); /* movzx r12d, r12w */
}

bool segment_is_flat(const struct translation *t, unsigned segment)
{
	static const uint32_t flat[CPU_SEGMENT_COUNT] = {
	    [CPU_ES] = MODE_FLAT_ES, [CPU_CS] = MODE_FLAT_CS, [CPU_SS] = MODE_FLAT_SS,
	    [CPU_DS] = MODE_FLAT_DS, [CPU_FS] = MODE_FLAT_FS, [CPU_GS] = MODE_FLAT_GS,
	};
	return (t->mode & flat[segment]) != 0;
}

static uint32_t descriptor_of(const struct translation *t, const struct access *access)
{
	return access->size | (access->write ? ACCESS_WRITE : 0) | (access->read ? ACCESS_READ : 0) |
	       (access->stack ? ACCESS_STACK : 0) | (uint32_t)t->view << ACCESS_VIEW_SHIFT |
	       (uint32_t)access->segment << ACCESS_SEGMENT_SHIFT | (uint32_t)access->buffer << ACCESS_BUFFER_SHIFT |
	       (access->aligned ? ACCESS_ALIGNED : 0) | (access->unaligned_ok ? ACCESS_UNALIGNED_OK : 0) |
	       (access->x87_waits ? ACCESS_X87_WAITS : 0) | (access->result_first ? ACCESS_RESULT_FIRST : 0) |
	       (access->locked ? ACCESS_LOCKED : 0) | t->insn_index << ACCESS_INSN_SHIFT;
}

static void call_helper(struct translation *t, const struct access *access, const uint8_t *thunk)
{
	flags_save(t);
	asm_mov_immediate(&t->as, REG_INDEX, descriptor_of(t, access));
	asm_call_to(&t->as, thunk);
	flags_clobbered(t);
}

static size_t segment_base_field(unsigned segment)
{
	return FRAME(cpu.segment) + segment * sizeof(struct cpu_segment) + offsetof(struct cpu_segment, base);
}

/*
 * The limit of a segment that is not flat, with R12 the offset:
 *     lea rcx, [r12 + size - 1] ; cmp rcx, reach ; jg helper ; add r12d, base
 * In 64 bits, so that neither sum nor limit wraps. A reach of -1 sends everything to the helper.
 */
static void emit_limit(struct translation *t, const struct access *access)
{
	struct assembler *as = &t->as;
	size_t reach = FRAME(cpu.reach) + access->segment * sizeof(struct cpu_reach) +
		       (access->write ? offsetof(struct cpu_reach, write) : offsetof(struct cpu_reach, read));
	bug_if(t->stub_count == MAX_STUBS);
	flags_save(t);
	asm_lea(as, REG_INDEX, rm_memory(REG_ADDRESS, access->size - 1), 8);
	asm_op(as, 0, true, 0x3b, REG_INDEX, rm_frame(reach));
	uint8_t *jump = asm_jump_if32(as, 15);
	asm_op(as, 0, false, 0x03, REG_ADDRESS, rm_frame(segment_base_field(access->segment)));
	t->stub[t->stub_count++] = (struct slow_stub){.jump = jump,
						      .resume = as->next,
						      .thunk = t->engine->thunks.segment,
						      .record = t->record,
						      .descriptor = descriptor_of(t, access)};
	flags_clobbered(t);
}

/* R12: offset -> linear address. */
static void emit_segment(struct translation *t, const struct access *access)
{
	bool base_only = access->segment == CPU_FS || access->segment == CPU_GS;
	bool free_access = segment_is_flat(t, access->segment) && !(access->segment == CPU_CS && access->write);
	if (t->code_bytes == 8 ? !base_only : free_access && !base_only)
		return;
	if (t->code_bytes != 8 && !free_access) {
		if (t->careful || !engine_uses(t->engine, ENGINE_INLINE_LIMITS))
			call_helper(t, access, t->engine->thunks.segment);
		else
			emit_limit(t, access);
		return;
	}
	asm_load(&t->as, REG_INDEX, rm_frame(segment_base_field(access->segment)));
	asm_lea(&t->as, REG_ADDRESS, rm_indexed(REG_ADDRESS, REG_INDEX, 1, 0), t->code_bytes == 8 ? 8 : 4);
}

static void emit_index(struct translation *t)
{
	if (t->engine->has_bmi2) {
		static const uint8_t rorx[] = {0xc4, 0xc3, 0x7b, 0xf0, 0xcc, PAGE_SHIFT - ENTRY_SHIFT};
		for (size_t i = 0; i < sizeof rorx; i++)
			asm_byte(&t->as, rorx[i]); /* rorx ecx, r12d, 7 */
	} else {
		asm_mov32(&t->as, REG_INDEX, REG_ADDRESS);
		asm_op(&t->as, 0, false, 0xc1, 5, rm_register(REG_INDEX));
		asm_byte(&t->as, PAGE_SHIFT - ENTRY_SHIFT);
	}
	asm_group_immediate(&t->as, false, 4, rm_register(REG_INDEX), (TLB_SIZE - 1) << ENTRY_SHIFT);
}

/* R12: linear address -> host address. The offset into the page may be up to `limit`. */
struct lookup emit_lookup(struct translation *t, int32_t tag, int32_t limit)
{
	int32_t host = (int32_t)(FRAME(cpu.tlb.entry) + (size_t)t->view * sizeof(struct tlb_entry[TLB_SIZE]) +
				 offsetof(struct tlb_entry, host));
	struct assembler *as = &t->as;
	struct lookup lookup;
	emit_index(t);
	asm_op(as, 0, true, 0x2b, REG_ADDRESS, rm_indexed(HOST_RSP, REG_INDEX, 1, tag));
	lookup.tag_field = as->displacement;
	asm_group_immediate(as, true, 7, rm_register(REG_ADDRESS), limit);
	lookup.size_field = as->next - 4;
	lookup.jump = asm_jump_if32(as, 7);
	asm_op(as, 0, true, 0x03, REG_ADDRESS, rm_indexed(HOST_RSP, REG_INDEX, 1, host));
	return lookup;
}

struct slow_stub *emit_check(struct translation *t, const struct access *access)
{
	int32_t entry = (int32_t)(FRAME(cpu.tlb.entry) + (size_t)t->view * sizeof(struct tlb_entry[TLB_SIZE]));
	int32_t tag = entry + (int32_t)(access->write ? offsetof(struct tlb_entry, write_tag)
						      : offsetof(struct tlb_entry, read_tag));
	bug_if(t->stub_count == MAX_STUBS || access->size == 0 || access->size > 64);
	flags_save(t);
	struct lookup lookup = emit_lookup(t, tag, (int32_t)(PAGE_SIZE - access->size));
	struct slow_stub *stub = &t->stub[t->stub_count++];
	*stub = (struct slow_stub){.jump = lookup.jump,
				   .resume = t->as.next,
				   .thunk = t->engine->thunks.slow,
				   .record = t->record,
				   .descriptor = descriptor_of(t, access),
				   .tag = tag,
				   .tag_field = lookup.tag_field,
				   .size_field = lookup.size_field};
	flags_clobbered(t);
	return stub;
}

void emit_access(struct translation *t, const struct access *access)
{
	emit_segment(t, access);
	if (t->careful)
		call_helper(t, access, t->engine->thunks.bounce_begin);
	else
		(void)emit_check(t, access);
	t->writes_memory |= access->write;
}

void emit_commit(struct translation *t, const struct access *access)
{
	if (t->careful && access->write)
		call_helper(t, access, t->engine->thunks.bounce_end);
}

void emit_slow_stubs(struct translation *t)
{
	for (unsigned i = 0; i < t->stub_count; i++) {
		const struct slow_stub *stub = &t->stub[i];
		asm_patch32_here(&t->as, stub->jump);
		if (stub->record != NULL) {
			asm_mov_immediate(&t->as, REG_INDEX, (uint64_t)(uintptr_t)stub->record);
			asm_call_to(&t->as, t->engine->thunks.c_op);
			asm_jump_to(&t->as, stub->resume + t->as.run_offset);
			continue;
		}
		if (stub->followed) {
			emit_shared_stub(t, stub);
			continue;
		}
		if (stub->tag != 0)
			asm_op(&t->as, 0, true, 0x03, REG_ADDRESS, rm_indexed(HOST_RSP, REG_INDEX, 1, stub->tag));
		asm_mov_immediate(&t->as, REG_INDEX, stub->descriptor);
		asm_call_to(&t->as, stub->thunk);
		asm_jump_to(&t->as, stub->resume + t->as.run_offset);
	}
}

bool else_begin(struct translation *t, enum cpu_op op)
{
	t->record = c_record(t, op);
	t->record_stubs = t->stub_count;
	sharing_end(t);
	return t->record != NULL;
}

void emit_else(struct translation *t, uint8_t *jump32)
{
	bug_if(t->stub_count == MAX_STUBS);
	t->stub[t->stub_count++] = (struct slow_stub){.jump = jump32, .record = t->record};
}

void else_end(struct translation *t)
{
	for (unsigned i = t->record_stubs; i < t->stub_count; i++)
		t->stub[i].resume = t->as.next;
	t->record = NULL;
	t->flags = FLAGS_SAVED; /* C leaves them in EFLAGS too */
	t->writes_memory = true;
}

void note_fault_point(struct translation *t)
{
	t->insns[t->insn_index].flags_saved = t->flags == FLAGS_SAVED;
}
