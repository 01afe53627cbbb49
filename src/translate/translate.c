/* SPDX-License-Identifier: MIT */
/* One block: decode, lower, lay out, publish. Runs with the guest's vector state parked. */
#include <string.h>

#include "translate/debug.h"
#include "translate/translate.h"
#include "translate/translation.h"

static uint32_t cache_offset_of(const struct translation *t)
{
	return (uint32_t)(t->as.next - t->engine->cache.write);
}

static void decoder_init(struct translation *t)
{
	static const struct {
		ZydisMachineMode mode;
		ZydisStackWidth stack;
	} modes[] = {
	    [MODE_CODE16] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
	    [MODE_CODE32] = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
	    [MODE_CODE64] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
	};
	unsigned code = t->mode & MODE_CODE_MASK;
	ZydisMachineMode machine = modes[code].mode;
	if (code == MODE_CODE16 && (t->mode & (MODE_REAL | MODE_VM86)) != 0)
		machine = ZYDIS_MACHINE_MODE_REAL_16;
	ZydisStackWidth stack = code == MODE_CODE64	   ? ZYDIS_STACK_WIDTH_64
				: (t->mode & MODE_STACK32) ? ZYDIS_STACK_WIDTH_32
							   : ZYDIS_STACK_WIDTH_16;
	bug_if(ZYAN_FAILED(ZydisDecoderInit(&t->decoder, machine, stack)));
	/* What the presented CPUID does not promise decodes as the hint it was before. */
	(void)ZydisDecoderEnableMode(&t->decoder, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
	(void)ZydisDecoderEnableMode(&t->decoder, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
	(void)ZydisDecoderEnableMode(&t->decoder, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
	(void)ZydisDecoderEnableMode(&t->decoder, ZYDIS_DECODER_MODE_WBNOINVD, ZYAN_FALSE);
}

static void translation_init(struct translation *t, struct engine *engine, uint32_t mode, uint32_t mode_id,
			     const struct mode_key *key, uint64_t rip)
{
	memset(t, 0, offsetof(struct translation, insns));
	t->stub_count = 0;
	t->link_count = 0;
	t->member_count = 0;
	t->engine = engine;
	t->model = engine->model;
	t->mode = mode;
	t->mode_id = mode_id;
	t->cs_base = key->cs_base;
	t->cs_limit = key->cs_limit;
	t->code_bytes = 2u << (mode & MODE_CODE_MASK);
	t->stack_bytes = t->code_bytes == 8 ? 8 : (mode & MODE_STACK32) ? 4 : 2;
	t->view = (enum tlb_view)(mode >> MODE_VIEW_SHIFT & 3);
	t->careful = (mode & MODE_CAREFUL) != 0;
	t->rip = rip;
	t->flags = FLAGS_HOST;
	t->as = code_cache_reserve(&engine->cache);
	t->shares = sharing_begin(t);
	decoder_init(t);
}

/* The room that the longest lowering of one instruction, the stubs and the links could need. */
#define WORST_CASE_BYTES 4096

/* With a SIB byte, mod 0 and base 5 there is no base, whatever REX.B says. The decoder (4.0.0) misses that for 32-bit
 * addresses. */
static void mend_base(struct translation *t)
{
	if ((t->insn.attributes & ZYDIS_ATTRIB_HAS_SIB) == 0 || t->insn.raw.modrm.mod != 0 || t->insn.raw.sib.base != 5)
		return;
	for (unsigned i = 0; i < t->insn.operand_count; i++) {
		ZydisDecodedOperand *operand = &t->operand[i];
		if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY || operand->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM)
			continue;
		operand->mem.base = ZYDIS_REGISTER_NONE;
		operand->mem.disp.has_displacement = ZYAN_TRUE;
		operand->mem.disp.value = t->insn.raw.disp.value;
	}
}

/* SYSENTER and SYSEXIT raise #GP in real mode, and virtual-8086 mode may use SYSENTER: to the decoder (4.0.0) they do
 * not exist there. */
static bool decodes_elsewhere(struct translation *t, const uint8_t *bytes, unsigned length)
{
	ZydisDecoder decoder;
	if (t->decoder.machine_mode != ZYDIS_MACHINE_MODE_REAL_16)
		return false;
	bug_if(ZYAN_FAILED(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, t->decoder.stack_width)));
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, length, &t->insn, t->operand)) &&
	       (t->insn.mnemonic == ZYDIS_MNEMONIC_SYSENTER || t->insn.mnemonic == ZYDIS_MNEMONIC_SYSEXIT);
}

static bool decode(struct translation *t, const uint8_t *bytes, unsigned available, int *exception)
{
	t->bytes = bytes;
	t->examined = 0;
	unsigned length = available < ZYDIS_MAX_INSTRUCTION_LENGTH ? available : ZYDIS_MAX_INSTRUCTION_LENGTH;
	ZyanStatus status = ZydisDecoderDecodeFull(&t->decoder, bytes, length, &t->insn, t->operand);
	*exception = -1;
	if (ZYAN_SUCCESS(status) || decodes_elsewhere(t, bytes, length)) {
		mend_base(t);
		t->examined = t->insn.length;
		t->next_rip = (t->rip + t->insn.length) & rip_mask(t);
		return true;
	}
	if (status == ZYDIS_STATUS_NO_MORE_DATA && length < ZYDIS_MAX_INSTRUCTION_LENGTH)
		return false;
	bool too_long = status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG || status == ZYDIS_STATUS_NO_MORE_DATA;
	*exception = too_long ? VECTOR_GP : VECTOR_UD;
	memset(&t->insn, 0, sizeof t->insn);
	t->insn.length = 1;
	t->examined = length;
	t->insn.address_width = (ZyanU8)(t->code_bytes * 8);
	t->insn.operand_width = 32;
	t->row = row_find(ZYDIS_MNEMONIC_UD2);
	t->next_rip = (t->rip + 1) & rip_mask(t);
	return true;
}

static void begin_insn(struct translation *t, unsigned offset)
{
	t->insns[t->insn_index] = (struct block_insn){.host_offset = (uint16_t)(cache_offset_of(t) - t->block->entry),
						      .guest_offset = offset & 0x7fff};
	t->clear_shadow = t->sets_shadow || (t->mode & (MODE_STEP | MODE_CAREFUL)) != 0;
	t->opened_by_sti = t->opened_by_sti && t->sets_shadow;
	t->sets_shadow = false;
	t->writes_memory = false;
}

static void end_insn(struct translation *t)
{
	if (!t->ended && !engine_uses(t->engine, ENGINE_LAZY_FLAGS)) {
		flags_save(t);
		flags_restore(t);
	}
	if (t->ended || !t->clear_shadow || t->sets_shadow)
		return;
	emit_link(t, t->next_rip); /* stores the end of the shadow; serves interrupts that waited for it */
}

static bool must_stop(const struct translation *t, unsigned offset, unsigned page_left)
{
	if (t->ended || t->failed || t->as.full)
		return true;
	if ((t->mode & (MODE_STEP | MODE_CAREFUL)) != 0)
		return true;
	if ((t->block->self_check && t->writes_memory) || translation_breaks_at(t, t->next_rip))
		return true;
	return t->insn_index == BLOCK_MAX_INSNS || offset >= page_left || t->stub_count + 4 > MAX_STUBS ||
	       t->as.end - t->as.next < WORST_CASE_BYTES;
}

/* Returns the number of guest bytes that the translation depends on. */
static unsigned translate_insns(struct translation *t, const uint8_t *bytes, unsigned available, unsigned page_left)
{
	unsigned offset = 0, end = 0;
	for (;;) {
		int exception;
		if (t->cs_limit != UINT32_MAX && t->code_bytes != 8 && t->rip > t->cs_limit)
			break;
		if (!decode(t, bytes + offset, (offset == 0 || available < page_left ? available : page_left) - offset,
			    &exception))
			break; /* goes on beyond the page: a block of its own */
		begin_insn(t, offset);
		if (t->code_bytes != 8 && t->rip + t->insn.length - 1 > t->cs_limit)
			lower_raise(t, VECTOR_GP); /* it lies across the limit */
		else if (exception >= 0)
			lower_raise(t, (enum cpu_vector)exception);
		else
			lower_insn(t);
		sharing_step(t);
		end_insn(t);
		end = offset + t->examined;
		offset += t->insn.length;
		t->insn_index++;
		if (must_stop(t, offset, page_left))
			break;
		t->rip = t->next_rip;
	}
	return end;
}

static bool keep_tables(struct translation *t, const uint8_t *bytes)
{
	struct block *block = t->block;
	block->insn_count = (uint8_t)t->insn_index;
	block->insns = code_cache_allocate(&t->engine->cache, t->insn_index * sizeof(struct block_insn));
	if (block->insns == NULL)
		return false;
	memcpy(block->insns, t->insns, t->insn_index * sizeof(struct block_insn));
	if (block->self_check) {
		block->bytes = code_cache_allocate(&t->engine->cache, block->guest_length);
		if (block->bytes == NULL)
			return false;
		memcpy(block->bytes, bytes, block->guest_length);
	}
	return true;
}

static bool self_checks(const struct engine *engine, uint64_t gpa)
{
	const uint8_t *flags = gpa == NO_PAGE ? NULL : memory_page_flags(engine->memory, gpa);
	return flags != NULL && (*flags & PAGE_SELF_CHECK) != 0;
}

static bool lists_full(const struct engine *engine)
{
	const struct code_region *region = &engine->cache.region[engine->cache.current];
	return region->block_count >= engine->region_blocks ||
	       region->link_count + SIDE_LINKS + 2 + SHARE_LINKS > engine->region_links ||
	       code_cache_room(&engine->cache) < 2 * WORST_CASE_BYTES;
}

/* What lies behind the main part: links first, which polls reach by 8 bits. */
static void emit_ways_out(struct translation *t)
{
	if (!links_allocate(t, sharing_finish(t))) {
		t->failed = true;
		return;
	}
	emit_link_stubs(t);
	emit_slow_stubs(t);
	emit_link_stubs(t);
	if (t->engine->counted)
		emit_count_stub(t);
}

enum translate_result translate_block(struct engine *engine, const struct translate_request *request,
				      struct block **result)
{
	struct translation t;
	if (lists_full(engine))
		return TRANSLATE_FULL;
	translation_init(&t, engine, request->mode, request->mode_id, request->key, request->rip);
	t.jump_mode_id = request->jump_mode_id;
	t.block = code_cache_allocate(&engine->cache, sizeof *t.block);
	if (t.block == NULL)
		return TRANSLATE_FULL;
	struct block *block = t.block;
	block->rip = request->rip;
	block->linear = request->linear;
	block->gpa = request->gpa;
	block->gpa2 = request->gpa2;
	block->mode_id = request->mode_id;
	unsigned page_left = PAGE_SIZE - (unsigned)(request->linear & PAGE_MASK);
	/* A copy: a device may write to the page meanwhile, and the block must be of one mind about its bytes. */
	uint8_t bytes[BLOCK_MAX_BYTES];
	unsigned available = request->available < sizeof bytes ? request->available : sizeof bytes;
	memcpy(bytes, request->bytes, available);
	/* Whether the first instruction lies across the edge is known only after decoding it. */
	int exception;
	if (!decode(&t, bytes, available, &exception))
		return TRANSLATE_NEEDS_SECOND_PAGE;
	if (t.examined <= page_left)
		block->gpa2 = NO_PAGE;
	block->self_check = self_checks(engine, block->gpa) || self_checks(engine, block->gpa2);
	emit_guard(&t);
	block->entry = cache_offset_of(&t);
	if (engine->counted)
		emit_count(&t);
	if (translation_breaks_at(&t, t.rip)) {
		emit_next(&t, t.rip);
		block->guest_length = (uint16_t)t.examined;
	} else {
		block->guest_length = (uint16_t)translate_insns(&t, bytes, available, page_left);
	}
	if (!t.ended)
		emit_link(&t, t.insn_index == 0 ? t.rip : t.next_rip);
	emit_ways_out(&t);
	if (t.failed || t.as.full || !keep_tables(&t, bytes))
		return TRANSLATE_FULL;
	for (unsigned i = 0; i < t.link_count; i++)
		engine->links[link_next_number(engine) + i] = &block->links[i];
	code_region_now(&engine->cache)->link_count += t.link_count;
	block->code_end = code_cache_commit(&engine->cache, &t.as);
	block_publish(engine, block);
	*result = block;
	return TRANSLATE_DONE;
}
