/* SPDX-License-Identifier: MIT */
/*
 * Sampling: where in the guest the vCPUs are, and what the engine does for it.
 *
 * Theory of operation. Each vCPU's thread has a timer of its own that sends SIGPROF to it, unarmed until somebody asks
 * for a profile. The handler finds out what was interrupted and adds a sample to the ring (ledger/samples.h). It takes
 * no lock, allocates nothing, and does a bounded amount of work, the binary search for a block. Nothing else runs for
 * it: the paths that it samples do not know of it.
 *
 * The timer counts real time. One that counts the thread's processor time would spare sleeping threads, but Linux
 * looks at those only at its ticks, and a guest whose timer has the host's period would always be seen at the same
 * place. The period is no multiple of any likely tick.
 * It stops when it finds its thread asleep, which must not be woken a thousand times a second, and starts
 * again when the thread enters the engine.
 *
 * What was interrupted:
 * - The PC lies in the code cache, behind the thunks: translated code. Its block gives guest PC and mode.
 * - The PC lies in the thunks: registers are being saved or loaded.
 * - The stack is the helpers', below the frame: C that a thunk called. The first words below the frame are return
 *   addresses: one in translated code, which tells the block, and one in the thunk, which tells the helper. For a whole
 *   instruction in C the frame also has its record (make_c_op in thunks.c).
 * - Otherwise C that belongs to no instruction: the ledger's state says what, and struct cpu where the guest is.
 * In all C, the ledger's states DEVICE, TRANSLATE and EXIT go before the helper.
 *
 * The tables may be in the middle of a change, by this thread or another. What is read from them is checked: a block or
 * record must lie in the arena. What lies there may be another object meanwhile, so what is read from it is checked
 * too. The worst is one wrong sample.
 */
#include "translate/profile.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu/mmu.h"
#include "ledger/samples.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid /* glibc before 2.38 has no name for it */
#endif

#define PERIOD_NS 1003009L /* 997 Hz */
#define LINKAGE_WORDS 4u   /* below the frame: the two return addresses and padding */
#define CR3_ADDRESS UINT64_C(0x000ffffffffff000)

static bool in_arena(const struct code_cache *cache, const void *object, size_t size)
{
	uint64_t offset = (uint64_t)(uintptr_t)object - (uint64_t)(uintptr_t)cache->arena;
	return offset < cache->arena_size && size <= cache->arena_size - offset;
}

/* block_at(), for tables that may be in the middle of a change. */
static const struct block *find_block_at(const struct engine *engine, uint64_t pc)
{
	uint64_t offset = pc - (uint64_t)(uintptr_t)engine->cache.run;
	unsigned region = code_region_of(&engine->cache, offset);
	if (region == engine->cache.region_count)
		return NULL;
	uint32_t count = __atomic_load_n(&engine->cache.region[region].block_count, __ATOMIC_RELAXED);
	uint32_t low = region * engine->region_blocks;
	uint32_t high = low + (count < engine->region_blocks ? count : engine->region_blocks);
	const struct block *found = NULL;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct block *block = engine->list[middle];
		if (!in_arena(&engine->cache, block, sizeof *block))
			return NULL;
		if (block->guarded_entry <= offset) {
			found = block;
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return found != NULL && offset < found->code_end ? found : NULL;
}

static unsigned mode_bits(uint32_t mode)
{
	static const uint8_t bits[] = {[MODE_CODE16] = 16, [MODE_CODE32] = 32, [MODE_CODE64] = 64};
	unsigned code = mode & MODE_CODE_MASK;
	return code < sizeof bits ? bits[code] : 0;
}

static unsigned mode_cpl(uint32_t mode)
{
	return (mode & MODE_VM86) != 0 ? 3 : mode >> MODE_CPL_SHIFT & 3;
}

static void place_in_mode(struct sample *sample, uint32_t mode)
{
	sample->cpl = (uint8_t)mode_cpl(mode);
	sample->bits = (uint8_t)mode_bits(mode);
}

/* In a block; the instruction is known only where `offset`, in the code cache, is in the block's main part. */
static void place_in_block(struct sample *sample, const struct engine *engine, const struct block *block,
			   uint32_t offset)
{
	const struct block seen = *block; /* another thread may change it between check and use */
	uint64_t first = seen.linear;
	uint16_t distance = 0;
	if (offset >= seen.entry && seen.insn_count > 0 &&
	    in_arena(&engine->cache, seen.insns, seen.insn_count * sizeof *seen.insns))
		distance = seen.insns[block_insn_at(&seen, offset)].guest_offset;
	sample->block = first;
	sample->address = first + distance;
	place_in_mode(sample, engine->modes[seen.mode_id % MODE_MAX].bits);
}

static void place_in_cpu(struct sample *sample, const struct cpu *cpu)
{
	sample->block = sample->address = cpu_linear_rip(cpu);
	place_in_mode(sample, cpu->mode);
}

/* ---- C that a thunk called ---- */

struct linkage {
	const struct block *block; /* whose code called the thunk, or NULL */
	uint64_t thunk;		   /* where in the thunks C returns to, or 0 */
};

/* The words between the thread's stack pointer and the frame that are return addresses. */
static struct linkage find_linkage(const struct engine_vcpu *vcpu, uint64_t stack)
{
	const struct engine *engine = vcpu->engine;
	const struct code_cache *cache = &engine->cache;
	uint64_t frame = (uint64_t)(uintptr_t)vcpu;
	struct linkage linkage = {0};
	for (unsigned i = 1; i <= LINKAGE_WORDS && frame - 8u * i >= stack; i++) {
		uint64_t word = *((const uint64_t *)vcpu - i);
		if (!code_cache_holds(cache, word))
			continue;
		bool permanent = word - (uint64_t)(uintptr_t)cache->run < cache->permanent;
		if (!permanent && linkage.block == NULL)
			linkage.block = find_block_at(engine, word - 1);
		else if (permanent && linkage.block != NULL && linkage.thunk == 0)
			linkage.thunk = word;
	}
	return linkage;
}

/* The record of the instruction that C executes, if the frame has it still. */
static const struct c_insn *find_record(const struct engine_vcpu *vcpu, const struct block *block)
{
	const struct c_insn *record = (const struct c_insn *)(uintptr_t)vcpu->scratch[0];
	if (!in_arena(&vcpu->engine->cache, record, sizeof *record) || record->block != block ||
	    record->ledger_kind >= LEDGER_KIND_COUNT)
		return NULL;
	return record;
}

/* The kind of an instruction whose record is gone. */
#define WHOLE_INSTRUCTION (SAMPLE_KIND + LEDGER_KIND_CONTROL)

static unsigned what_of_helper(const struct thunks *thunks, uint64_t thunk)
{
	const struct {
		const uint8_t *start;
		unsigned what;
	} table[] = {{thunks->slow, SAMPLE_KIND + LEDGER_KIND_REFILL},
		     {thunks->bounce_begin, SAMPLE_CAREFUL},
		     {thunks->bounce_end, SAMPLE_CAREFUL},
		     {thunks->segment, SAMPLE_CAREFUL},
		     {thunks->self_check, SAMPLE_CHECK},
		     {thunks->c_op, WHOLE_INSTRUCTION}};
	unsigned what = SAMPLE_SWITCH;
	uint64_t best = 0;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		uint64_t start = (uint64_t)(uintptr_t)table[i].start;
		if (start <= thunk && start > best) {
			best = start;
			what = table[i].what;
		}
	}
	return what;
}

static void take_helper(const struct engine_vcpu *vcpu, uint64_t stack, struct sample *sample)
{
	const struct engine *engine = vcpu->engine;
	struct linkage linkage = find_linkage(vcpu, stack);
	if (linkage.block == NULL)
		return;
	place_in_block(sample, engine, linkage.block, 0);
	if (linkage.thunk == 0)
		return;
	sample->what = (uint8_t)what_of_helper(&engine->thunks, linkage.thunk);
	bool whole = sample->what == WHOLE_INSTRUCTION;
	const struct c_insn *record = whole ? find_record(vcpu, linkage.block) : NULL;
	if (record == NULL)
		return;
	sample->what = (uint8_t)(SAMPLE_KIND + record->ledger_kind);
	sample->address = linkage.block->linear + (record->rip - linkage.block->rip);
}

/* ---- when ---- */

static bool is_over(const struct engine *engine)
{
	return ledger_tsc() > __atomic_load_n(&engine->world->sample_until, __ATOMIC_SEQ_CST);
}

/* The first sample comes at a random moment of the period: one that came a whole period after each sleep would never
 * see a guest that works for less than that at a time. */
/* syscall base: timer_settime, timer_gettime, timer_delete -- a vCPU has its timer before the guest runs */
static bool timer_start(const struct engine_vcpu *vcpu)
{
	const struct itimerspec period = {.it_interval.tv_nsec = PERIOD_NS,
					  .it_value.tv_nsec = 1 + (long)(ledger_tsc() % PERIOD_NS)};
	return timer_settime(vcpu->profile_timer, 0, &period, NULL) == 0;
}

/* ---- a sample ---- */

static const char *device_name(const struct cpu *cpu)
{
	const struct io_map *const maps[] = {cpu->ports, cpu->mmio, cpu->mmio != NULL ? cpu->mmio->behind : NULL};
	for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++) {
		const char *name = maps[i] != NULL ? __atomic_load_n(&maps[i]->serving, __ATOMIC_RELAXED) : NULL;
		if (name != NULL)
			return name;
	}
	return NULL;
}

/* C that the ledger knows by its state. */
static void take_state(const struct cpu *cpu, uint64_t state, struct sample *sample)
{
	if (state == LEDGER_GUEST)
		return;
	sample->what = state == LEDGER_DEVICE	   ? SAMPLE_DEVICE
		       : state == LEDGER_TRANSLATE ? SAMPLE_TRANSLATE
						   : SAMPLE_EXIT;
	if (state == LEDGER_DEVICE)
		sample->device = device_name(cpu);
}

static bool in_helper(const struct engine_vcpu *vcpu, uint64_t stack)
{
	uint64_t frame = (uint64_t)(uintptr_t)vcpu;
	return stack < frame && stack >= frame - HELPER_STACK_SIZE;
}

static void take_translated(const struct engine_vcpu *vcpu, const struct profile_moment *moment, struct sample *sample)
{
	const struct engine *engine = vcpu->engine;
	uint32_t offset = (uint32_t)(moment->pc - (uint64_t)(uintptr_t)engine->cache.run);
	if (offset < engine->cache.permanent) {
		if (in_helper(vcpu, moment->stack))
			take_helper(vcpu, moment->stack, sample);
		sample->what = SAMPLE_SWITCH;
		return;
	}
	const struct block *block = find_block_at(engine, moment->pc);
	sample->what = SAMPLE_CODE;
	if (block != NULL)
		place_in_block(sample, engine, block, offset);
}

void profile_take(struct engine_vcpu *vcpu, const struct profile_moment *moment)
{
	struct engine *engine = vcpu->engine;
	const struct cpu *cpu = &vcpu->cpu;
	struct samples *samples = __atomic_load_n(&engine->world->samples, __ATOMIC_ACQUIRE);
	uint64_t state = cpu->ledger->state;
	bool over = is_over(engine);
	if (over || state >= LEDGER_RUNNING_COUNT) { /* asleep: the ledger's clocks have that exactly */
		(void)timer_settime(vcpu->profile_timer, 0, &(struct itimerspec){0}, NULL);
		__atomic_store_n(&vcpu->profile_dozes, !over, __ATOMIC_RELAXED);
		return;
	}
	if (samples == NULL)
		return;
	struct sample sample = {
	    .what = SAMPLE_KIND + LEDGER_KIND_DISPATCH, .vcpu = (uint8_t)cpu->index, .space = cpu->cr3 & CR3_ADDRESS};
	place_in_cpu(&sample, cpu);
	if (code_cache_holds(&engine->cache, moment->pc)) {
		take_translated(vcpu, moment, &sample);
	} else {
		if (in_helper(vcpu, moment->stack))
			take_helper(vcpu, moment->stack, &sample);
		take_state(cpu, state, &sample);
	}
	samples_add(samples, &sample);
}

/* ---- timers ---- */

void profile_attach(struct engine_vcpu *vcpu)
{
	struct sigevent event;
	memset(&event, 0, sizeof event);
	event.sigev_notify = SIGEV_THREAD_ID;
	event.sigev_signo = SIGPROF;
	event.sigev_notify_thread_id = gettid();
	bool made = timer_create(CLOCK_MONOTONIC, &event, &vcpu->profile_timer) == 0;
	__atomic_store_n(&vcpu->profile_dozes, false, __ATOMIC_RELAXED);
	/* This before looking at sample_until; engine_sample() the other way round: one of them starts the timer. */
	__atomic_store_n(&vcpu->profile_state, made ? PROFILE_READY : PROFILE_REFUSED, __ATOMIC_SEQ_CST);
	if (made && !is_over(vcpu->engine))
		(void)timer_start(vcpu);
}

void profile_detach(struct engine_vcpu *vcpu)
{
	if (vcpu->profile_state == PROFILE_READY)
		(void)timer_delete(vcpu->profile_timer);
	__atomic_store_n(&vcpu->profile_state, PROFILE_DETACHED, __ATOMIC_SEQ_CST);
}

void profile_wake(struct engine_vcpu *vcpu)
{
	__atomic_store_n(&vcpu->profile_dozes, false, __ATOMIC_RELAXED);
	if (!is_over(vcpu->engine))
		(void)timer_start(vcpu);
}

/* A timer that runs is left alone: starting it anew each time would put its samples off. */
static bool timer_continue(const struct engine_vcpu *vcpu)
{
	struct itimerspec now;
	unsigned state = __atomic_load_n(&vcpu->profile_state, __ATOMIC_SEQ_CST);
	if (state != PROFILE_READY)
		return state != PROFILE_REFUSED;
	if (timer_gettime(vcpu->profile_timer, &now) != 0)
		return false;
	return now.it_value.tv_sec != 0 || now.it_value.tv_nsec != 0 || timer_start(vcpu);
}

static bool make_ring(struct world *world, struct error *error)
{
	if (world->samples != NULL)
		return true;
	void *ring = mmap(NULL, sizeof *world->samples, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ring == MAP_FAILED)
		return error_set_errno(error, "cannot map the ring of samples");
	__atomic_store_n(&world->samples, ring, __ATOMIC_RELEASE);
	return true;
}

bool engine_sample(struct engine *engine, unsigned milliseconds, uint64_t tsc_hz, struct error *error)
{
	uint64_t until = ledger_tsc() + tsc_hz / 1000 * milliseconds;
	struct world *world = engine->world;
	if (!make_ring(world, error))
		return false;
	if (until > world->sample_until)
		__atomic_store_n(&world->sample_until, until, __ATOMIC_SEQ_CST);
	bool good = true;
	for (unsigned i = 0; i < LEDGER_MAX_VCPUS; i++) {
		const struct engine *each = world->engine[i];
		good &= each == NULL || each->vcpu == NULL || timer_continue(each->vcpu);
	}
	return good || error_set(error, ERROR_HOST, "the host refused a timer for sampling");
}

const struct samples *engine_samples(const struct engine *engine)
{
	return engine->world->samples;
}
