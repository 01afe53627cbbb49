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
	const struct world *world = opaque;
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++) {
		if (world->engine[i] != NULL)
			engine_queue_code_write(world->engine[i], gpa, size);
	}
}

/* A region of memory moves: what was translated from it is no longer true, and host addresses are not. */
static void region_moving(void *opaque)
{
	world_stop(opaque, signals_vcpu());
}

static void region_leaving(void *opaque, uint64_t gpa, uint64_t size)
{
	const struct world *world = opaque;
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++) {
		struct engine *engine = world->engine[i];
		if (engine != NULL && blocks_invalidate(engine, gpa, size))
			engine_count(engine, LEDGER_COUNT_CODE_MOVED);
	}
}

static void region_changed(void *opaque)
{
	struct world *world = opaque;
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++) {
		const struct engine *engine = world->engine[i];
		if (engine == NULL || engine->vcpu == NULL)
			continue;
		engine_count(engine, LEDGER_COUNT_TLB_FLUSH_MAP);
		mmu_flush_all(&engine->vcpu->cpu, true);
	}
	world_start(world, signals_vcpu());
}

static struct engine *engine_allocate(struct world *world, unsigned index, struct error *error)
{
	struct engine *engine = calloc(1, sizeof *engine);
	if (engine == NULL) {
		error_set(error, ERROR_HOST, "out of memory for the engine");
		return NULL;
	}
	engine->world = world;
	engine->mode_count = 1; /* mode 0 is none */
	world->engine[index] = engine;
	world->engine_count++;
	return engine;
}

static void engine_free(struct engine *engine, unsigned index)
{
	struct world *world = engine->world;
	unmap_table(engine->hash, BLOCK_HASH_SIZE * sizeof *engine->hash);
	unmap_table(engine->list, list_bytes(engine));
	unmap_table(engine->links, links_bytes(engine));
	unmap_table(engine->pages, engine->page_count * sizeof *engine->pages);
	code_cache_destroy(&engine->cache);
	free(engine);
	world->engine[index] = NULL;
	world->engine_count--;
}

/* The cache and its tables, once the options are set. */
static bool engine_fill(struct engine *engine, struct error *error)
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
	if (!code_cache_init(&engine->cache, engine->code_bytes, error) || !make_tables(engine, error))
		return false;
	thunks_make(engine, engine->counted ? &counted : &helpers);
	return true;
}

struct engine *engine_create(struct memory *memory, const struct cpu_model *model, const struct engine_options *options,
			     struct error *error)
{
	struct world *world = calloc(1, sizeof *world);
	struct engine *engine = world == NULL ? NULL : engine_allocate(world, 0, error);
	if (engine == NULL) {
		free(world);
		error_set(error, ERROR_HOST, "out of memory for the engine");
		return NULL;
	}
	engine->memory = memory;
	engine->model = model;
	__builtin_cpu_init();
	engine->off = options != NULL ? options->off : 0;
	engine->counted = options != NULL && options->counted;
	engine->has_bmi2 = __builtin_cpu_supports("bmi2") && engine_uses(engine, ENGINE_BMI2);
	engine->code_bytes =
	    options != NULL && options->code_cache_bytes != 0 ? options->code_cache_bytes : DEFAULT_CODE_BYTES;
	if (!engine_fill(engine, error) || !signals_install(error)) {
		engine_destroy(engine);
		return NULL;
	}
	memory_set_code_notifier(memory, code_written_by_device, world);
	const struct memory_map_notifier regions = {
	    .moving = region_moving, .leaving = region_leaving, .changed = region_changed, .opaque = world};
	memory_set_map_notifier(memory, &regions);
	return engine;
}

/* After its vCPUs. */
void engine_destroy(struct engine *engine)
{
	if (engine == NULL)
		return;
	struct world *world = engine->world;
	memory_set_code_notifier(engine->memory, NULL, NULL);
	memory_set_map_notifier(engine->memory, &(struct memory_map_notifier){0});
	unmap_table(world->samples, sizeof *world->samples);
	engine_free(engine, 0);
	free(world);
}

/* Another vCPU's. The first one's code knows from now on that it is not alone: nothing was translated yet. */
static struct engine *engine_beside(struct engine *first, unsigned index, struct error *error)
{
	struct engine *engine = engine_allocate(first->world, index, error);
	if (engine == NULL)
		return NULL;
	engine->memory = first->memory;
	engine->model = first->model;
	engine->off = first->off;
	engine->counted = first->counted;
	engine->has_bmi2 = first->has_bmi2;
	engine->code_bytes = first->code_bytes;
	if (engine_fill(engine, error))
		return engine;
	engine_free(engine, index);
	return NULL;
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

static void hook_spin(void *opaque)
{
	struct engine_vcpu *vcpu = opaque;
	cpu_count(&vcpu->cpu, LEDGER_COUNT_SPIN);
	world_yield(vcpu);
}

/* A guard page, the helpers' stack, and the frame above it. */
static struct engine_vcpu *frame_create(struct error *error)
{
	size_t frame = (size_t)align_up(sizeof(struct engine_vcpu), PAGE_SIZE);
	size_t bytes = PAGE_SIZE + HELPER_STACK_SIZE + frame;
	uint8_t *allocation = map_zeroed(bytes, error);
	if (allocation == NULL)
		return NULL;
	(void)mprotect(allocation, PAGE_SIZE, PROT_NONE);
	struct engine_vcpu *vcpu = (struct engine_vcpu *)(void *)(allocation + PAGE_SIZE + HELPER_STACK_SIZE);
	vcpu->allocation = allocation;
	vcpu->allocation_size = bytes;
	return vcpu;
}

struct engine_vcpu *engine_vcpu_create(struct engine *engine, unsigned index, struct error *error)
{
	bug_if(engine == NULL);
	const struct engine *there = index < LEDGER_MAX_VCPUS ? engine->world->engine[index] : engine;
	if (there != NULL && (index != 0 || engine->vcpu != NULL)) {
		error_set(error, ERROR_HOST, "vCPU %u cannot be created", index);
		return NULL;
	}
	struct engine_vcpu *vcpu = frame_create(error);
	if (vcpu == NULL)
		return NULL;
	if (index != 0)
		engine = engine_beside(engine, index, error);
	if (engine == NULL) {
		(void)munmap(vcpu->allocation, vcpu->allocation_size);
		return NULL;
	}
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
	cpu->spin = hook_spin;
	cpu->engine_opaque = vcpu;
	tlb_init(&cpu->tlb);
	cpu->tlb.keeps_spaces = engine_uses(engine, ENGINE_SPACES);
	jump_cache_clear(engine, vcpu);
	engine->vcpu = vcpu;
	return vcpu;
}

void engine_vcpu_destroy(struct engine_vcpu *vcpu)
{
	if (vcpu == NULL)
		return;
	struct engine *engine = vcpu->engine;
	unsigned index = vcpu->cpu.index;
	engine->vcpu = NULL;
	munmap(vcpu->allocation, vcpu->allocation_size);
	if (index != 0)
		engine_free(engine, index);
}

void engine_stop_others(struct engine *engine)
{
	world_stop(engine->world, signals_vcpu());
}

void engine_start_others(struct engine *engine)
{
	world_start(engine->world, signals_vcpu());
}

void engine_debugger_changed(struct engine *engine, const struct debugger *debugger)
{
	const struct world *world = engine->world;
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++) {
		struct engine *each = world->engine[i];
		if (each == NULL || each->vcpu == NULL)
			continue;
		each->debugger = debugger;
		each->vcpu->cpu.debug.debugger = debugger;
		mmu_flush_all(&each->vcpu->cpu, true); /* pages that are watched now, or no longer */
		blocks_flush(each);
	}
}

struct cpu *engine_vcpu_cpu(struct engine_vcpu *vcpu)
{
	return &vcpu->cpu;
}

struct engine_nap engine_nap(const struct engine_vcpu *vcpu)
{
	const struct idle *idle = &vcpu->idle;
	return (struct engine_nap){.requests = idle->requests, .number = idle->naps, .cost = idle->lap_cost};
}

static uint64_t memory_of(const struct engine *engine)
{
	uint64_t used = sizeof *engine + code_cache_touched(&engine->cache);
	used += BLOCK_HASH_SIZE * sizeof *engine->hash;
	for (unsigned i = 0; i < engine->cache.region_count; i++)
		used += engine->cache.region[i].block_count * sizeof *engine->list +
			engine->cache.region[i].link_count * sizeof *engine->links;
	return used + (engine->vcpu != NULL ? engine->vcpu->allocation_size : 0);
}

uint64_t engine_memory_used(const struct engine *engine)
{
	const struct world *world = engine->world;
	uint64_t used = world->samples != NULL ? sizeof *world->samples : 0;
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++)
		used += world->engine[i] != NULL ? memory_of(world->engine[i]) : 0;
	return used;
}
