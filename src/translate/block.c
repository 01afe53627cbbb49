/* SPDX-License-Identifier: MIT */
/* See block.h. Called with guest vector state live: no libc here (compiled with -mgeneral-regs-only). */
#include "translate/block.h"

#include "cpu/mmu.h"

static unsigned hash_of(uint64_t rip, uint64_t gpa, uint32_t mode_id)
{
	uint64_t value = (rip ^ (gpa >> 12 << 3) ^ ((uint64_t)mode_id << 20)) * UINT64_C(0x9e3779b97f4a7c15);
	return (unsigned)(value >> (64 - BLOCK_HASH_BITS));
}

void engine_count(const struct engine *engine, enum ledger_counter counter)
{
	if (engine->vcpu != NULL)
		cpu_count(&engine->vcpu->cpu, counter);
}

uint32_t mode_intern_if_room(struct engine *engine, uint32_t bits, uint64_t cs_base, uint32_t cs_limit)
{
	for (uint32_t i = 1; i < engine->mode_count; i++) {
		const struct mode_key *key = &engine->modes[i];
		if (key->bits == bits && key->cs_base == cs_base && key->cs_limit == cs_limit)
			return i;
	}
	if (engine->mode_count == MODE_MAX)
		return 0;
	uint32_t id = engine->mode_count++;
	engine->modes[id] = (struct mode_key){.bits = bits, .cs_limit = cs_limit, .cs_base = cs_base};
	return id;
}

uint32_t mode_intern(struct engine *engine, uint32_t bits, uint64_t cs_base, uint32_t cs_limit)
{
	uint32_t id = mode_intern_if_room(engine, bits, cs_base, cs_limit);
	if (id != 0)
		return id;
	/* only a guest that makes thousands of code segments gets here */
	engine_count(engine, LEDGER_COUNT_CACHE_FLUSH_MODES);
	blocks_flush(engine);
	engine->mode_count = 1;
	engine->mode_epoch++;
	return mode_intern_if_room(engine, bits, cs_base, cs_limit);
}

struct block *block_find(const struct engine *engine, uint64_t rip, uint64_t gpa, uint32_t mode_id)
{
	for (struct block *block = engine->hash[hash_of(rip, gpa, mode_id)]; block != NULL; block = block->next_hash) {
		if (block->rip == rip && block->gpa == gpa && block->mode_id == mode_id)
			return block;
	}
	return NULL;
}

/* Which of a block's two page links belongs to the list of a page. Both halves may lie in one physical page: then it is
 * linked once, by the first. */
static unsigned page_slot(const struct engine *engine, const struct block *block, size_t number)
{
	return block->gpa2 == NO_PAGE || ram_page(engine, block->gpa) == number ? 0 : 1;
}

static bool needs_second_link(const struct engine *engine, const struct block *block)
{
	return block->gpa2 != NO_PAGE && ram_page(engine, block->gpa2) != ram_page(engine, block->gpa);
}

void page_trace(struct engine *engine, uint64_t gpa)
{
	uint8_t *flags = memory_page_flags(engine->memory, gpa);
	if (flags == NULL || (*flags & (PAGE_CODE | PAGE_SELF_CHECK)) != 0)
		return;
	world_stop(engine->world, engine->vcpu);
	__atomic_or_fetch(flags, PAGE_CODE, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++) {
		const struct engine *other = engine->world->engine[i];
		if (other != NULL && other->vcpu != NULL)
			tlb_revoke_write(&other->vcpu->cpu.tlb, align_down(gpa, PAGE_SIZE));
	}
	world_start(engine->world, engine->vcpu);
}

static void page_link(struct engine *engine, struct block *block, unsigned which, uint64_t gpa)
{
	size_t number = ram_page(engine, gpa);
	if (number == SIZE_MAX)
		return;
	struct code_page *page = &engine->pages[number];
	if (page->blocks != NULL)
		page->blocks->place[page_slot(engine, page->blocks, number)] = &block->next_page[which];
	block->next_page[which] = page->blocks;
	block->place[which] = &page->blocks;
	page->blocks = block;
}

/* Pages first: a page walk may have written to one since the bytes were read, and then tracing it waits for others, who
 * must not find the block in half of the tables. */
void block_publish(struct engine *engine, struct block *block)
{
	page_trace(engine, block->gpa);
	if (block->gpa2 != NO_PAGE)
		page_trace(engine, block->gpa2);
	unsigned hash = hash_of(block->rip, block->gpa, block->mode_id);
	block->next_hash = engine->hash[hash];
	engine->hash[hash] = block;
	page_link(engine, block, 0, block->gpa);
	if (needs_second_link(engine, block))
		page_link(engine, block, 1, block->gpa2);
	engine->list[block_next_number(engine)] = block;
	code_region_now(&engine->cache)->block_count++;
}

struct block *block_at(const struct engine *engine, uint64_t run_address)
{
	uint64_t offset = run_address - (uint64_t)(uintptr_t)engine->cache.run;
	unsigned region = code_region_of(&engine->cache, offset);
	if (region == engine->cache.region_count)
		return NULL;
	uint32_t first = region * engine->region_blocks;
	uint32_t low = first, high = first + engine->cache.region[region].block_count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (engine->list[middle]->guarded_entry <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == first)
		return NULL;
	struct block *block = engine->list[low - 1];
	return offset < block->code_end ? block : NULL;
}

unsigned block_insn_at(const struct block *block, uint32_t offset)
{
	unsigned found = 0;
	for (unsigned i = 1; i < block->insn_count; i++) {
		if (block->entry + block->insns[i].host_offset > offset)
			break;
		found = i;
	}
	return found;
}

static void set_target(struct engine *engine, uint32_t field, uint32_t target)
{
	uint32_t distance = target - (field + 4);
	__atomic_store_n((uint32_t *)(void *)(engine->cache.write + field), distance, __ATOMIC_RELEASE);
}

/* A link that is not guarded relies on its source's guard: both must lie in the physical page that this one checked.
 * The guest may have changed the mapping since, without a flush so far. */
static bool same_page(const struct block *a, const struct block *b)
{
	return align_down(a->gpa, PAGE_SIZE) == align_down(b->gpa, PAGE_SIZE);
}

void link_connect(struct engine *engine, struct link *link, struct block *to)
{
	if (link->to != NULL || to->dead)
		return;
	link->to = to;
	link->next_in = to->incoming;
	to->incoming = link;
	bool guarded = link->guarded || to->gpa2 != NO_PAGE || to->self_check || !same_page(link->source, to);
	set_target(engine, link->field, !guarded ? to->entry : link->saved ? to->guarded_entry : to->host_entry);
}

/* ---- removal ---- */

static void unlink_incoming(struct engine *engine, struct block *block)
{
	for (struct link *link = block->incoming; link != NULL;) {
		struct link *next = link->next_in;
		set_target(engine, link->field, link->stub);
		link->to = NULL;
		link->next_in = NULL;
		link = next;
	}
	block->incoming = NULL;
}

/* Takes the links of all dead blocks out of the list of a living one. */
static void forget_dead_sources(struct block *block)
{
	for (struct link **place = &block->incoming; *place != NULL;) {
		struct link *link = *place;
		if (!link->source->dead) {
			place = &link->next_in;
			continue;
		}
		*place = link->next_in;
		link->to = NULL;
	}
}

static void unlink_outgoing(struct block *block)
{
	for (unsigned i = 0; i < block->link_count; i++) {
		struct block *to = block->links[i].to;
		if (to != NULL && !to->dead)
			forget_dead_sources(to);
	}
}

static void unlink_page(const struct engine *engine, struct block *block, unsigned which)
{
	struct block *next = block->next_page[which];
	if (block->place[which] == NULL)
		return;
	*block->place[which] = next;
	if (next != NULL)
		next->place[page_slot(engine, next, ram_page(engine, which == 0 ? block->gpa : block->gpa2))] =
		    block->place[which];
	block->place[which] = NULL;
}

static void jump_line_clear(const struct engine *engine, struct engine_vcpu *vcpu, unsigned line)
{
	vcpu->jump_key[line] = 0;
	vcpu->jump_host[line] = (uint64_t)(uintptr_t)engine->thunks.empty;
}

void jump_cache_clear(const struct engine *engine, struct engine_vcpu *vcpu)
{
	for (unsigned line = 0; line < JUMP_CACHE_LINES; line++)
		jump_line_clear(engine, vcpu, line);
}

/* The first half of a removal: nobody finds it any more. */
static void block_bury(struct engine *engine, struct block *block)
{
	struct block **place = &engine->hash[hash_of(block->rip, block->gpa, block->mode_id)];
	while (*place != NULL && *place != block)
		place = &(*place)->next_hash;
	if (*place == block)
		*place = block->next_hash;
	unsigned line = jump_line(block->rip, block->mode_id);
	if (engine->vcpu->jump_key[line] == jump_key(engine, block->rip))
		jump_line_clear(engine, engine->vcpu, line);
	block->dead = true;
}

/*
 * The one place where blocks are removed. Several go together, since lists are then gone through once for all of them,
 * and not once for each. Those that are dead already are passed over.
 */
static void blocks_remove(struct engine *engine, struct block *const *blocks, uint32_t count,
			  enum ledger_counter counter)
{
	uint32_t removed = 0;
	for (uint32_t i = 0; i < count; i++) {
		if (blocks[i]->dead)
			continue;
		block_bury(engine, blocks[i]);
		removed++;
	}
	for (uint32_t i = 0; i < count; i++) {
		unlink_page(engine, blocks[i], 0);
		unlink_page(engine, blocks[i], 1);
		unlink_incoming(engine, blocks[i]);
		unlink_outgoing(blocks[i]);
	}
	engine->vcpu->code_changed = 1;
	ledger_add(engine->vcpu->cpu.ledger, counter, removed);
}

static void block_remove(struct engine *engine, struct block *block)
{
	blocks_remove(engine, &block, 1, LEDGER_COUNT_BLOCK_INVALIDATED);
}

void blocks_evict(struct engine *engine)
{
	unsigned oldest = code_cache_oldest(&engine->cache);
	struct code_region *region = &engine->cache.region[oldest];
	if (region->block_count > 0) {
		blocks_remove(engine, &engine->list[oldest * engine->region_blocks], region->block_count,
			      LEDGER_COUNT_BLOCK_EVICTED);
		engine_count(engine, LEDGER_COUNT_CACHE_EVICTION);
	}
	engine->epoch++;
	code_cache_advance(&engine->cache);
}

static bool overlaps(const struct block *block, uint64_t gpa, uint64_t size)
{
	uint64_t first = block->guest_length;
	if (block->gpa2 != NO_PAGE) {
		first = PAGE_SIZE - (block->gpa & PAGE_MASK);
		uint64_t second = block->guest_length - first;
		if (gpa < block->gpa2 + second && block->gpa2 < gpa + size)
			return true;
	}
	return gpa < block->gpa + first && block->gpa < gpa + size;
}

static bool invalidate_in_page(struct engine *engine, uint64_t gpa, uint64_t size)
{
	size_t number = ram_page(engine, gpa);
	if (number == SIZE_MAX)
		return false;
	bool any = false;
	struct block *block = engine->pages[number].blocks;
	while (block != NULL) {
		struct block *next = block->next_page[page_slot(engine, block, number)];
		if (overlaps(block, gpa, size)) {
			block_remove(engine, block);
			any = true;
		}
		block = next;
	}
	return any;
}

bool blocks_invalidate(struct engine *engine, uint64_t gpa, uint64_t size)
{
	bool any = false;
	uint64_t end = gpa + size;
	for (uint64_t at = gpa; at < end; at = align_down(at, PAGE_SIZE) + PAGE_SIZE) {
		uint64_t page_end = align_down(at, PAGE_SIZE) + PAGE_SIZE;
		any |= invalidate_in_page(engine, at, (page_end < end ? page_end : end) - at);
	}
	return any;
}

static bool bytes_equal(const uint8_t *a, const uint8_t *b, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (a[i] != b[i])
			return false;
	}
	return true;
}

bool block_is_current(const struct engine *engine, const struct block *block)
{
	size_t first = block->guest_length;
	if (block->gpa2 != NO_PAGE)
		first = PAGE_SIZE - (block->gpa & PAGE_MASK);
	const uint8_t *page = memory_page(engine->memory, block->gpa, NULL);
	if (page == NULL || !bytes_equal(page + (block->gpa & PAGE_MASK), block->bytes, first))
		return false;
	if (block->gpa2 == NO_PAGE)
		return true;
	page = memory_page(engine->memory, block->gpa2, NULL);
	return page != NULL && bytes_equal(page, block->bytes + first, block->guest_length - first);
}

void block_discard(struct engine *engine, struct block *block)
{
	if (!block->dead)
		block_remove(engine, block);
}

static void queue_acquire(struct code_queue *queue)
{
	while (__atomic_exchange_n(&queue->busy, 1, __ATOMIC_ACQUIRE) != 0)
		__builtin_ia32_pause();
}

static void queue_release(struct code_queue *queue)
{
	__atomic_store_n(&queue->busy, 0, __ATOMIC_RELEASE);
}

void engine_queue_code_write(struct engine *engine, uint64_t gpa, uint64_t size)
{
	struct code_queue *queue = &engine->queue;
	queue_acquire(queue);
	if (queue->count < CODE_QUEUE_SIZE) {
		queue->range[queue->count].gpa = gpa;
		queue->range[queue->count++].size = size;
	} else {
		queue->overflow = true;
	}
	queue_release(queue);
	if (engine->vcpu == NULL)
		return;
	__atomic_or_fetch(&engine->vcpu->cpu.requests, CPU_REQUEST_CODE, __ATOMIC_SEQ_CST);
	__atomic_store_n(&engine->vcpu->cpu.run, 0, __ATOMIC_SEQ_CST);
}

void engine_drain_code_writes(struct engine *engine, struct engine_vcpu *vcpu)
{
	struct code_queue *queue = &engine->queue;
	__atomic_and_fetch(&vcpu->cpu.requests, ~(uint32_t)CPU_REQUEST_CODE, __ATOMIC_SEQ_CST);
	queue_acquire(queue);
	for (unsigned i = 0; i < queue->count; i++) {
		cpu_count(&vcpu->cpu, LEDGER_COUNT_CODE_WRITE_DEVICE);
		blocks_invalidate(engine, queue->range[i].gpa, queue->range[i].size);
	}
	bool overflow = queue->overflow;
	queue->count = 0;
	queue->overflow = false;
	queue_release(queue);
	if (overflow) {
		engine_count(engine, LEDGER_COUNT_CACHE_FLUSH_DEVICE);
		blocks_flush(engine);
	}
}

/* While others run, the page's flags stay: it may hold code of theirs. The next write finds out. */
static void forget_page(struct engine *engine, uint64_t gpa)
{
	size_t number = ram_page(engine, gpa);
	if (number == SIZE_MAX)
		return;
	engine->pages[number] = (struct code_page){0};
	if (engine_is_shared(engine))
		return;
	__atomic_and_fetch(&engine->memory->page_flags[number], (uint8_t) ~(PAGE_CODE | PAGE_SELF_CHECK),
			   __ATOMIC_SEQ_CST);
}

static void forget_region(struct engine *engine, unsigned number)
{
	struct block *const *list = &engine->list[number * engine->region_blocks];
	for (uint32_t i = 0; i < engine->cache.region[number].block_count; i++) {
		forget_page(engine, list[i]->gpa);
		if (list[i]->gpa2 != NO_PAGE)
			forget_page(engine, list[i]->gpa2);
	}
}

void blocks_flush(struct engine *engine)
{
	for (unsigned i = 0; i < engine->cache.region_count; i++)
		forget_region(engine, i);
	fill_bytes(engine->hash, 0, BLOCK_HASH_SIZE * sizeof engine->hash[0]);
	if (engine->vcpu != NULL) {
		jump_cache_clear(engine, engine->vcpu);
		engine->vcpu->code_changed = 1;
	}
	engine_count(engine, LEDGER_COUNT_CACHE_FLUSH);
	engine->epoch++;
	code_cache_flush(&engine->cache);
}
