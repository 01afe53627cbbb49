/* SPDX-License-Identifier: MIT */
/* Making and unmaking engines and their vCPUs. See engine.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu/cpuid.h"
#include "cpu/mmu.h"
#include "ledger/samples.h"
#include "translate/count.h"
#include "translate/helpers.h"
#include "translate/signals.h"
#include "translate/thunks.h"

#define DEFAULT_CODE_BYTES ((size_t)20 << 20)

static void *map_zeroed(size_t bytes, struct error *error)
{
	void *result = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (result == MAP_FAILED) {
		error_set_errno(error, "cannot map %zu bytes for the engine's tables", bytes);
		return NULL;
	}
	return result;
}

static size_t list_bytes(const struct engine *engine)
{
	return (size_t)engine->cache.region_count * engine->region_blocks * sizeof *engine->list;
}

static size_t links_bytes(const struct engine *engine)
{
	return (size_t)engine->cache.region_count * engine->region_links * sizeof *engine->links;
}

/* After the cache, by whose regions blocks and links are numbered. */
static bool make_tables(struct engine *engine, struct error *error)
{
	const struct code_cache *cache = &engine->cache;
	uint32_t most = BLOCK_LIST_MAX / cache->region_count;
	uint32_t likely = (uint32_t)(cache->region_code / BLOCK_BYTES_MIN);
	engine->region_blocks = likely < most ? likely : most;
	engine->region_links = engine->region_blocks * BLOCK_LINKS_MEAN;
	engine->page_count = engine->memory->host_size / PAGE_SIZE;
	engine->hash = map_zeroed(BLOCK_HASH_SIZE * sizeof *engine->hash, error);
	engine->list = map_zeroed(list_bytes(engine), error);
	engine->links = map_zeroed(links_bytes(engine), error);
	engine->pages = map_zeroed(engine->page_count * sizeof *engine->pages, error);
	return engine->hash != NULL && engine->list != NULL && engine->links != NULL && engine->pages != NULL;
}

static void unmap_table(void *table, size_t bytes)
{
	if (table != NULL)
		munmap(table, bytes);
}

static void code_written_by_device(void *opaque, uint64_t gpa, uint64_t size)
{
	engine_queue_code_write(opaque, gpa, size);
}

/* A region of memory moves: what was translated from it is no longer true, and host addresses are not. Comes from the
 * only vCPU that runs, in a device access, or while none does. */
static void region_leaving(void *opaque, uint64_t gpa, uint64_t size)
{
	if (blocks_invalidate(opaque, gpa, size))
		engine_count(opaque, LEDGER_COUNT_CODE_MOVED);
}

static void region_changed(void *opaque)
{
	struct engine *engine = opaque;
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++)
		if (engine->vcpu[i] != NULL) {
			ledger_count(engine->vcpu[i]->cpu.ledger, LEDGER_COUNT_TLB_FLUSH_MAP);
			mmu_flush_all(&engine->vcpu[i]->cpu, true);
		}
}

struct engine *engine_create(struct memory *memory, const struct cpu_model *model, const struct engine_options *options,
			     struct error *error)
{
	static const struct helpers helpers = {
	    .slow = helper_slow,
	    .bounce_begin = helper_bounce_begin,
	    .bounce_end = helper_bounce_end,
	    .segment = helper_segment,
	    .self_check = helper_self_check,
	    .c_op = helper_c_op,
	};
	static const struct helpers counted = {
	    .slow = helper_slow,
	    .bounce_begin = helper_bounce_begin,
	    .bounce_end = helper_bounce_end,
	    .segment = helper_segment,
	    .self_check = helper_self_check,
	    .c_op = helper_c_op_counted,
	};
	struct engine *engine = calloc(1, sizeof *engine);
	if (engine == NULL) {
		error_set(error, ERROR_HOST, "out of memory for the engine");
		return NULL;
	}
	engine->memory = memory;
	engine->model = model;
	engine->mode_count = 1; /* mode 0 is none */
	__builtin_cpu_init();
	engine->off = options != NULL ? options->off : 0;
	engine->counted = options != NULL && options->counted;
	engine->has_bmi2 = __builtin_cpu_supports("bmi2") && engine_uses(engine, ENGINE_BMI2);
	size_t code_bytes =
	    options != NULL && options->code_cache_bytes != 0 ? options->code_cache_bytes : DEFAULT_CODE_BYTES;
	if (!code_cache_init(&engine->cache, code_bytes, error) || !make_tables(engine, error) ||
	    !signals_install(error)) {
		engine_destroy(engine);
		return NULL;
	}
	thunks_make(engine, engine->counted ? &counted : &helpers);
	memory_set_code_notifier(memory, code_written_by_device, engine);
	const struct memory_map_notifier regions = {
	    .leaving = region_leaving, .changed = region_changed, .opaque = engine};
	memory_set_map_notifier(memory, &regions);
	return engine;
}

void engine_destroy(struct engine *engine)
{
	if (engine == NULL)
		return;
	memory_set_code_notifier(engine->memory, NULL, NULL);
	memory_set_map_notifier(engine->memory, &(struct memory_map_notifier){0});
	unmap_table(engine->samples, sizeof *engine->samples);
	unmap_table(engine->hash, BLOCK_HASH_SIZE * sizeof *engine->hash);
	unmap_table(engine->list, list_bytes(engine));
	unmap_table(engine->links, links_bytes(engine));
	unmap_table(engine->pages, engine->page_count * sizeof *engine->pages);
	code_cache_destroy(&engine->cache);
	free(engine);
}

static void hook_flush_all(void *opaque, bool global)
{
	(void)opaque; /* fetch entries were flushed with the TLB; guards see it */
	(void)global;
}

static void hook_flush_page(void *opaque, uint64_t linear)
{
	(void)opaque;
	(void)linear;
}

static void hook_code_write(void *opaque, uint64_t gpa, uint64_t size)
{
	engine_code_write(opaque, gpa, size);
}

struct engine_vcpu *engine_vcpu_create(struct engine *engine, unsigned index, struct error *error)
{
	if (index >= LEDGER_MAX_VCPUS || engine->vcpu[index] != NULL) {
		error_set(error, ERROR_HOST, "vCPU %u cannot be created", index);
		return NULL;
	}
	/* A guard page, the helpers' stack, and the frame above it. */
	size_t frame = (size_t)align_up(sizeof(struct engine_vcpu), PAGE_SIZE);
	size_t bytes = PAGE_SIZE + HELPER_STACK_SIZE + frame;
	uint8_t *allocation = map_zeroed(bytes, error);
	if (allocation == NULL)
		return NULL;
	(void)mprotect(allocation, PAGE_SIZE, PROT_NONE);
	struct engine_vcpu *vcpu = (struct engine_vcpu *)(void *)(allocation + PAGE_SIZE + HELPER_STACK_SIZE);
	vcpu->allocation = allocation;
	vcpu->allocation_size = bytes;
	vcpu->engine = engine;
	vcpu->jump_mask = JUMP_MASK;
	engine_run_until(vcpu, UINT64_MAX);
	struct cpu *cpu = &vcpu->cpu;
	cpu->index = index;
	cpu->memory = engine->memory;
	cpu->model = engine->model;
	cpu->flush_all = hook_flush_all;
	cpu->flush_page = hook_flush_page;
	cpu->code_write = hook_code_write;
	cpu->engine_opaque = vcpu;
	tlb_init(&cpu->tlb);
	cpu->tlb.keeps_spaces = engine_uses(engine, ENGINE_SPACES);
	jump_cache_clear(engine, vcpu);
	engine->vcpu[index] = vcpu;
	return vcpu;
}

void engine_vcpu_destroy(struct engine_vcpu *vcpu)
{
	if (vcpu == NULL)
		return;
	vcpu->engine->vcpu[vcpu->cpu.index] = NULL;
	munmap(vcpu->allocation, vcpu->allocation_size);
}

void engine_debugger_changed(struct engine *engine, const struct debugger *debugger)
{
	engine->debugger = debugger;
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++) {
		if (engine->vcpu[i] == NULL)
			continue;
		engine->vcpu[i]->cpu.debug.debugger = debugger;
		mmu_flush_all(&engine->vcpu[i]->cpu, true); /* pages that are watched now, or no longer */
	}
	blocks_flush(engine);
}

struct cpu *engine_vcpu_cpu(struct engine_vcpu *vcpu)
{
	return &vcpu->cpu;
}

uint64_t engine_memory_used(const struct engine *engine)
{
	uint64_t used = sizeof *engine + code_cache_touched(&engine->cache);
	used += BLOCK_HASH_SIZE * sizeof *engine->hash;
	for (unsigned i = 0; i < engine->cache.region_count; i++)
		used += engine->cache.region[i].block_count * sizeof *engine->list +
			engine->cache.region[i].link_count * sizeof *engine->links;
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++)
		used += engine->vcpu[i] != NULL ? engine->vcpu[i]->allocation_size : 0;
	used += engine->samples != NULL ? sizeof *engine->samples : 0;
	return used;
}
