/* SPDX-License-Identifier: MIT */
/*
 * The dispatcher: from one block to the next when translated code cannot find it by itself.
 *
 * Theory of operation. Outside translated code the whole guest state is in struct cpu. Each turn serves events if any
 * are due, finds the block for (rip, page, mode), enters it, and acts on why it came back (enum exit_code). Blocks of
 * one instruction are used where something must happen after it: single-step, instruction breakpoints, an interrupt
 * shadow, bounce buffers.
 *
 * The jump cache is tried first; its entries lead to guarded entries, so they need no flush when mappings change. After
 * a miss the page is walked, the block found or made, and entered behind its guard, which makes progress certain.
 *
 * This file runs with the guest's vector state live and calls libc only after cpu_fpu_park().
 */
#include "cpu/cpuid.h"
#include "cpu/mmu.h"
#include "translate/count.h"
#include "translate/debug.h"
#include "translate/helpers.h"
#include "translate/profile.h"
#include "translate/translate.h"

/* What a turn of the loop carries over to the next. */
struct turn {
	struct link *link; /* to be connected to the block that is found next */
	uint64_t epoch;	   /* engine->epoch when it was seen: the link may be gone since */
	uint64_t own_rip;  /* with own_checks: where */
	bool own_checks;   /* a check that others share failed: each access makes its own */
	bool careful;	   /* run the instruction with bounce buffers */
	bool retry;	   /* the same instruction again: no events in between */
};

uint64_t engine_executed(const struct engine_vcpu *vcpu)
{
	uint64_t end = __atomic_load_n(&vcpu->count_end, __ATOMIC_RELAXED);
	uint64_t budget = (uint64_t)__atomic_load_n(&vcpu->budget, __ATOMIC_RELAXED);
	return end - budget - __atomic_load_n(&vcpu->uncounted, __ATOMIC_RELAXED);
}

void engine_run_until(struct engine_vcpu *vcpu, uint64_t count)
{
	uint64_t now = engine_executed(vcpu);
	if (count > now && count - now > COUNT_FOREVER)
		count = now + COUNT_FOREVER;
	vcpu->budget = (int64_t)(count - now) - vcpu->uncounted;
	vcpu->count_end = count;
}

/* In an exclusive section. */
static void code_written(struct engine_vcpu *vcpu, uint64_t gpa, uint64_t size, size_t number)
{
	struct engine *engine = vcpu->engine;
	world_invalidate(engine->world, gpa, size);
	struct code_page *page = &engine->pages[number];
	uint8_t *flags = &engine->memory->page_flags[number];
	uint64_t now = engine->counted ? engine_executed(vcpu) : ledger_tsc(); /* the same in each run */
	uint32_t window = (uint32_t)(now >> SELF_CHECK_WINDOW_SHIFT);
	if (page->window != window)
		page->writes = 0;
	page->window = window;
	if (!world_has_blocks(engine->world, number)) { /* no code left: plain data until code is read from it again */
		__atomic_and_fetch(flags, (uint8_t)~PAGE_CODE, __ATOMIC_SEQ_CST);
		return;
	}
	if (++page->writes < SELF_CHECK_THRESHOLD)
		return;
	world_invalidate(engine->world, align_down(gpa, PAGE_SIZE), PAGE_SIZE);
	page->writes = 0;
	page->checks = 0;
	cpu_count(&vcpu->cpu, LEDGER_COUNT_CODE_CHECKED);
	__atomic_store_n(flags, PAGE_SELF_CHECK, __ATOMIC_SEQ_CST);
}

void engine_code_write(struct engine_vcpu *vcpu, uint64_t gpa, uint64_t size)
{
	struct engine *engine = vcpu->engine;
	size_t number = ram_page(engine, gpa);
	cpu_count_with(&vcpu->cpu, LEDGER_COUNT_CODE_WRITE, 0, gpa, 0);
	if (number == SIZE_MAX)
		return;
	world_stop(engine->world, vcpu);
	code_written(vcpu, gpa, size, number);
	world_start(engine->world, vcpu);
}

static uint32_t wanted_mode(const struct engine_vcpu *vcpu, const struct turn *turn, bool step)
{
	const struct cpu *cpu = &vcpu->cpu;
	uint32_t mode = cpu->mode & ~MODE_ENGINE_MASK;
	if (turn->careful || (mode & MODE_ALIGN) != 0)
		mode |= MODE_CAREFUL;
	if (step || cpu->debug.step || cpu->debug.pass || cpu->interrupt_shadow != 0 ||
	    (mode & (MODE_TF | MODE_DEBUG)) != 0 || (cpu->flags_system & FLAG_RF) != 0)
		mode |= MODE_STEP;
	if (step && idle_is_looking(&vcpu->idle))
		mode |= MODE_PROBE;
	if (turn->own_checks && cpu->rip == turn->own_rip)
		mode |= MODE_OWN_CHECKS;
	return mode;
}

/* Code size, privilege, view, and the base of CS make the difference, mostly. */
static unsigned mode_memo_line(uint32_t mode, uint64_t cs_base)
{
	unsigned code = mode & MODE_CODE_MASK, cpl = mode >> MODE_CPL_SHIFT & 3, view = mode >> MODE_VIEW_SHIFT & 3;
	unsigned base = (uint32_t)(cs_base >> 4) * 0x9e3779b1u >> 26;
	return (((code & 1) | (cpl & 1) << 1 | view << 2) ^ base) % MODE_MEMO;
}

static void select_mode(struct engine_vcpu *vcpu, uint32_t mode)
{
	const struct cpu_segment *cs = &vcpu->cpu.segment[CPU_CS];
	bool code64 = (mode & MODE_CODE_MASK) == MODE_CODE64;
	uint64_t base = code64 ? 0 : cs->base;
	uint32_t limit = code64 || (mode & MODE_FLAT_CS) != 0 ? UINT32_MAX : cs->limit;
	if (vcpu->mode_id != 0 && mode == vcpu->mode_bits && base == vcpu->mode_cs_base && limit == vcpu->mode_cs_limit)
		return;
	struct engine *engine = vcpu->engine;
	struct mode_memo *memo = &vcpu->mode_memo[mode_memo_line(mode, base)];
	if (memo->id == 0 || memo->bits != mode || memo->cs_base != base || memo->cs_limit != limit ||
	    memo->epoch != engine->mode_epoch)
		*memo = (struct mode_memo){.id = mode_intern(engine, mode, base, limit),
					   .bits = mode,
					   .cs_base = base,
					   .cs_limit = limit,
					   .epoch = engine->mode_epoch};
	vcpu->mode_id = memo->id;
	vcpu->mode_bits = mode;
	vcpu->mode_cs_base = base;
	vcpu->mode_cs_limit = limit;
}

/* The number of the same mode without MODE_OWN_CHECKS. */
static uint32_t select_modes(struct engine_vcpu *vcpu, uint32_t mode)
{
	uint32_t epoch, number;
	do { /* a new mode may make all others be forgotten */
		epoch = vcpu->engine->mode_epoch;
		select_mode(vcpu, mode & ~MODE_OWN_CHECKS);
		number = vcpu->mode_id;
		if ((mode & MODE_OWN_CHECKS) != 0)
			select_mode(vcpu, mode);
	} while (epoch != vcpu->engine->mode_epoch);
	return number;
}

struct fetch {
	struct translate_request request;
	uint8_t buffer[32];
};

/*
 * Translates for a fetch, from the fetch entry where there is one: that spares a page walk, and the rights are those of
 * the entry's view.
 */
static bool fetch_translate(struct engine_vcpu *vcpu, uint64_t linear, struct mmu_page *page)
{
	struct cpu *cpu = &vcpu->cpu;
	bool user = cpu_view(cpu) == TLB_VIEW_USER;
	uint64_t word = cpu->tlb.fetch[user ? 0 : 1][TLB_FETCH_INDEX(linear)];
	uint64_t gpa = ((word & 0xfffffff) - 1) << PAGE_SHIFT | (linear & PAGE_MASK);
	bool canonical = !cpu_code64(cpu) || sign_extend(linear, 48) == linear;
	if (word == 0 || !canonical || tlb_fetch_word(linear, gpa) != word)
		return mmu_translate(cpu, linear, TLB_FETCH, cpu_view(cpu), false, page);
	const uint8_t *host = memory_page(cpu->memory, gpa, NULL);
	*page = (struct mmu_page){.gpa = gpa, .host = host == NULL ? NULL : (uint8_t *)host + (linear & PAGE_MASK)};
	return true;
}

/* The bytes of an instruction that goes on in the next page. */
static bool fetch_second_page(struct engine_vcpu *vcpu, struct fetch *fetch)
{
	struct cpu *cpu = &vcpu->cpu;
	struct translate_request *request = &fetch->request;
	unsigned first = PAGE_SIZE - (unsigned)(request->linear & PAGE_MASK);
	uint64_t linear = align_down(request->linear, PAGE_SIZE) + PAGE_SIZE;
	struct mmu_page page;
	if (!cpu_code64(cpu)) {
		linear = (uint32_t)linear;
		if (request->rip + first > request->key->cs_limit) /* comes before what paging says */
			return cpu_fault_code(cpu, VECTOR_GP, 0);
	}
	if (!mmu_translate(cpu, linear, TLB_FETCH, cpu_view(cpu), false, &page))
		return false;
	page_trace(vcpu->engine, page.gpa);
	copy_bytes(fetch->buffer, request->bytes, first);
	if (page.host != NULL)
		copy_bytes(fetch->buffer + first, page.host, 16);
	else
		cpu_physical_read(cpu, page.gpa, fetch->buffer + first, 16);
	request->gpa2 = page.gpa;
	request->bytes = fetch->buffer;
	request->available = first + 16;
	return true;
}

static enum translate_result translate_parked(struct engine_vcpu *vcpu, const struct translate_request *request,
					      struct block **block)
{
	struct cpu *cpu = &vcpu->cpu;
	cpu_fpu_park(cpu);
	enum ledger_state before = ledger_enter(cpu->ledger, LEDGER_TRANSLATE);
	enum translate_result result = translate_block(vcpu->engine, request, block);
	ledger_enter(cpu->ledger, before);
	if (result == TRANSLATE_DONE)
		cpu_count(cpu, LEDGER_COUNT_BLOCK_TRANSLATED);
	return result;
}

/* TRANSLATE_NEEDS_SECOND_PAGE: it cannot be fetched, and the fault is pending. */
static enum translate_result make_block(struct engine_vcpu *vcpu, struct fetch *fetch, struct block **block)
{
	enum translate_result result = translate_parked(vcpu, &fetch->request, block);
	if (result == TRANSLATE_FULL) {
		blocks_evict(vcpu->engine);
		result = translate_parked(vcpu, &fetch->request, block);
		bug_if(result == TRANSLATE_FULL);
	}
	if (result == TRANSLATE_NEEDS_SECOND_PAGE && fetch_second_page(vcpu, fetch))
		return make_block(vcpu, fetch, block);
	return result;
}

/* A block found in the tables may have been made for another second page, or for bytes that are not traced. */
static bool block_still_good(struct engine_vcpu *vcpu, struct block *block, bool *fault)
{
	*fault = false;
	if (block->gpa2 != NO_PAGE) {
		struct mmu_page page;
		uint64_t linear = align_down(block->linear, PAGE_SIZE) + PAGE_SIZE;
		if (!cpu_code64(&vcpu->cpu))
			linear = (uint32_t)linear;
		*fault = !fetch_translate(vcpu, linear, &page);
		if (*fault || page.gpa != block->gpa2)
			return false;
	}
	return !block->self_check || block_is_current(vcpu->engine, block);
}

static struct block *find_existing(struct engine_vcpu *vcpu, uint64_t gpa, bool *fault)
{
	for (;;) {
		struct block *block = block_find(vcpu->engine, vcpu->cpu.rip, gpa, vcpu->mode_id);
		*fault = false;
		if (block == NULL || block_still_good(vcpu, block, fault))
			return block;
		if (*fault)
			return NULL;
		block_discard(vcpu->engine, block);
	}
}

/* *temporary: not from RAM, to be dropped after one run. */
static bool find_block_once(struct engine_vcpu *vcpu, uint32_t mode, struct block **result, bool *temporary)
{
	struct cpu *cpu = &vcpu->cpu;
	struct fetch fetch;
	struct mmu_page page;
	bool fault;
	uint64_t linear = cpu_linear_rip(cpu);
	*temporary = false;
	if (!cpu_code64(cpu) && (mode & MODE_FLAT_CS) == 0 && cpu->rip > cpu->segment[CPU_CS].limit)
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	if (!fetch_translate(vcpu, linear, &page))
		return false;
	if (page.host == NULL)
		mode |= MODE_STEP;
	uint32_t jump_mode_id = select_modes(vcpu, mode);
	*result = find_existing(vcpu, page.gpa, &fault);
	if (*result != NULL)
		return true;
	if (fault)
		return false;
	unsigned left = PAGE_SIZE - (unsigned)(linear & PAGE_MASK);
	fetch.request = (struct translate_request){.mode = mode,
						   .mode_id = vcpu->mode_id,
						   .jump_mode_id = jump_mode_id,
						   .rip = cpu->rip,
						   .linear = linear,
						   .key = &vcpu->engine->modes[vcpu->mode_id],
						   .gpa = page.gpa,
						   .gpa2 = NO_PAGE,
						   .bytes = page.host,
						   .available = left};
	page_trace(vcpu->engine, page.gpa);
	if (page.host == NULL) { /* code in MMIO or nowhere: read as data, run once */
		unsigned size = left < 16 ? left : 16;
		cpu_physical_read(cpu, page.gpa, fetch.buffer, size);
		fetch.request.bytes = fetch.buffer;
		fetch.request.available = size;
		*temporary = true;
	}
	return make_block(vcpu, &fetch, result) == TRANSLATE_DONE;
}

/*
 * Finds or makes the block at cs:rip. False: a fault is pending. While it waits, on its way, for others' exclusive
 * sections, bytes that it has read may change, and what it has found may go: then it begins again.
 */
static bool find_block(struct engine_vcpu *vcpu, uint32_t mode, struct block **result, bool *temporary)
{
	for (;;) {
		vcpu->disturbed = 0;
		if (!find_block_once(vcpu, mode, result, temporary))
			return false;
		if (!vcpu->disturbed)
			return true;
		block_discard(vcpu->engine, *result);
	}
}

static enum exit_code enter(struct engine_vcpu *vcpu, const uint8_t *code)
{
	typedef uint32_t enter_function(struct engine_vcpu *, const void *);
	cpu_fpu_unpark(&vcpu->cpu);
	vcpu->helper_failed = 0;
	vcpu->trap_suppressed = 0;
	return (enum exit_code)((enter_function *)(void *)vcpu->engine->thunks.enter)(vcpu, code);
}

static bool leads_into_mode(const struct engine *engine, const struct link *link, uint32_t mode_id)
{
	const struct mode_key *source = &engine->modes[link->source->mode_id], *mode = &engine->modes[mode_id];
	if (link->mode_id != 0)
		return link->mode_id == mode_id;
	if (!link->far && link->source->mode_id == mode_id)
		return true;
	return ((source->bits ^ mode->bits) & ~MODE_OWN_CHECKS) == 0 && source->cs_limit == mode->cs_limit &&
	       (link->far ? link->cs_base : source->cs_base) == mode->cs_base;
}

static void connect(struct engine *engine, struct turn *turn, struct block *block)
{
	struct link *link = turn->link;
	turn->link = NULL;
	if (link == NULL || turn->epoch != engine->epoch || link->source->dead || link->target != block->rip ||
	    !leads_into_mode(engine, link, block->mode_id) || !engine_uses(engine, ENGINE_CHAINING))
		return;
	link_connect(engine, link, block);
}

static bool events_due(const struct cpu *cpu)
{
	return __atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST) != 0 || cpu_lost_token(cpu) || cpu->debug_trap ||
	       cpu->halted || cpu->wait_for_sipi || cpu->shutdown || (cpu->mode & MODE_DEBUG) != 0;
}

/* The guarded entry of the block at cs:rip in a mode, or NULL. */
static const uint8_t *jump_cache_find(struct engine_vcpu *vcpu, uint32_t mode)
{
	select_mode(vcpu, mode);
	if (!engine_uses(vcpu->engine, ENGINE_JUMP_CACHE))
		return NULL;
	unsigned line = jump_line(vcpu->cpu.rip, vcpu->mode_id);
	const uint8_t *host = (const uint8_t *)(uintptr_t)vcpu->jump_host[line];
	return vcpu->jump_key[line] == jump_key(vcpu->engine, vcpu->cpu.rip) && host != vcpu->engine->thunks.empty
		   ? host
		   : NULL;
}

const uint8_t *engine_next_code(struct engine_vcpu *vcpu)
{
	static const struct turn plain = {0};
	struct cpu *cpu = &vcpu->cpu;
	uint32_t mode = wanted_mode(vcpu, &plain, false);
	if ((vcpu->mode_bits & (MODE_STEP | MODE_CAREFUL)) != 0 || (mode & (MODE_STEP | MODE_CAREFUL)) != 0 ||
	    events_due(cpu))
		return NULL;
	return jump_cache_find(vcpu, mode);
}

/* The host address at which to go on, or NULL: a fault is pending. */
static const uint8_t *find_code(struct engine_vcpu *vcpu, bool step, struct turn *turn, struct block **temporary)
{
	struct engine *engine = vcpu->engine;
	uint32_t mode = wanted_mode(vcpu, turn, step);
	struct block *block;
	bool is_temporary;
	*temporary = NULL;
	if (turn->link == NULL && !turn->retry) {
		const uint8_t *host = jump_cache_find(vcpu, mode);
		if (host != NULL)
			return host;
	}
	if (!find_block(vcpu, mode, &block, &is_temporary))
		return NULL;
	connect(engine, turn, block);
	if (is_temporary) {
		*temporary = block;
	} else if ((mode & MODE_OWN_CHECKS) == 0) {
		unsigned line = jump_line(block->rip, block->mode_id);
		vcpu->jump_key[line] = jump_key(engine, block->rip);
		vcpu->jump_host[line] = (uint64_t)(uintptr_t)(engine->cache.run + block->guarded_entry);
	}
	return engine->cache.run + block->entry;
}

/*
 * A near branch's target is checked against the limit of CS, and by Intel processors for canonical form, before
 * anything changes (AMD's check when they fetch from it). To spare each RET the check, the stack pointer is put back
 * here. True: #GP(0) is pending on the branch.
 */
static bool refuses_target(struct engine_vcpu *vcpu)
{
	struct cpu *cpu = &vcpu->cpu;
	bool refused = cpu_code64(cpu) ? sign_extend(cpu->rip, 48) != cpu->rip && cpu->model->vendor[0] == 'G'
				       : (cpu->mode & MODE_FLAT_CS) == 0 && cpu->rip > cpu->segment[CPU_CS].limit;
	if (!refused)
		return false;
	const struct block *block = vcpu->engine->list[INDIRECT_BLOCK(vcpu->exit_index)];
	const struct block_insn *insn = &block->insns[INDIRECT_INSN(vcpu->exit_index)];
	uint64_t counts = cpu_code64(cpu) ? UINT64_MAX : (cpu->mode & MODE_STACK32) != 0 ? UINT32_MAX : UINT16_MAX;
	uint64_t before = cpu->gpr[CPU_RSP] - (uint64_t)(int64_t)insn->stack_change;
	cpu->gpr[CPU_RSP] = (cpu->gpr[CPU_RSP] & ~counts) | (before & counts);
	cpu->rip = block->rip + insn->guest_offset;
	vcpu->budget++; /* it did not complete */
	cpu_fault_code(cpu, VECTOR_GP, 0);
	return true;
}

/* What came back, in terms of cpu.rip. Returns true when the instruction, or the run of them, is complete. */
static bool settle(struct engine_vcpu *vcpu, enum exit_code code, struct turn *turn)
{
	struct cpu *cpu = &vcpu->cpu;
	struct engine *engine = vcpu->engine;
	*turn = (struct turn){0};
	count_give_back(vcpu, vcpu->uncounted);
	switch (code) {
	case EXIT_LINK:
		turn->link = engine->links[vcpu->exit_index];
		turn->epoch = engine->epoch;
		turn->own_checks = turn->link->own_checks;
		turn->own_rip = turn->link->target;
		cpu->rip = turn->link->target;
		cpu_count(cpu, LEDGER_COUNT_EXIT_DISPATCH);
		return true;
	case EXIT_EVENT:
		cpu->rip = engine->links[vcpu->exit_index]->target;
		cpu_count(cpu, LEDGER_COUNT_EXIT_EVENT);
		return true;
	case EXIT_GUARD:
		cpu->rip = engine->list[vcpu->exit_index]->rip;
		turn->retry = true;
		return false;
	case EXIT_COUNT:
		cpu->rip = engine->list[vcpu->exit_index]->rip;
		count_give_back(vcpu, engine->list[vcpu->exit_index]->insn_count);
		return false;
	case EXIT_CAREFUL:
		turn->careful = true;
		turn->retry = true;
		cpu_count(cpu, LEDGER_COUNT_EXIT_CAREFUL);
		return false;
	case EXIT_INDIRECT:
		cpu_count(cpu, LEDGER_COUNT_EXIT_DISPATCH);
		return !refuses_target(vcpu);
	case EXIT_NEXT:
		return true;
	case EXIT_RESTART:
		if ((cpu->mode & MODE_DEBUG) != 0) /* its instruction breakpoint has been served */
			cpu->flags_system |= FLAG_RF;
		break;
	case EXIT_FAULT:
		if (vcpu->section_depth > 0) /* of a split locked instruction */
			world_start(engine->world, vcpu);
		break;
	}
	return false;
}

/* A single-step trap follows an instruction that began with TF set. */
static void trap_after(struct engine_vcpu *vcpu, bool trap_flag)
{
	if (!trap_flag || vcpu->trap_suppressed)
		return;
	vcpu->cpu.debug_trap = true;
	vcpu->cpu.debug_dr6 |= DR6_SINGLE_STEP;
}

/* False: the vCPU may not run guest code now. */
static bool serve_events(struct engine_vcpu *vcpu, const struct turn *turn)
{
	struct cpu *cpu = &vcpu->cpu;
	if (turn->retry || !events_due(cpu))
		return true;
	ledger_enter(cpu->ledger, LEDGER_EXIT);
	uint32_t requests = __atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST);
	do {
		if ((requests & CPU_REQUEST_WORLD) != 0)
			world_pass(vcpu);
		if ((requests & CPU_REQUEST_CODE) != 0)
			engine_drain_code_writes(vcpu->engine, vcpu);
		if (debug_holds_events(cpu))
			return true;
		if (!cpu_service_events(cpu))
			return false;
		requests = __atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST);
	} while ((requests & (CPU_REQUEST_WORLD | CPU_REQUEST_CODE)) != 0); /* it has set `run` again */
	return true;
}

/* Is the count reached that somebody waits for? */
static bool count_is_reached(const struct engine_vcpu *vcpu, const struct turn *turn)
{
	return vcpu->engine->counted && vcpu->budget <= 0 && !turn->retry;
}

static enum engine_exit why_not_running(const struct cpu *cpu)
{
	if (cpu->shutdown)
		return ENGINE_SHUTDOWN;
	bool stopped =
	    (__atomic_load_n(&cpu->requests, __ATOMIC_ACQUIRE) & CPU_REQUEST_STOP) != 0 || cpu_lost_token(cpu);
	return stopped ? ENGINE_STOPPED : ENGINE_HALTED;
}

/*
 * What takes long outside translated code is booked as EXIT until the next block is entered: events, faults,
 * instructions to be run again with care. The way from one block to the next is too short for that: it is counted, and
 * timed now and then.
 */
struct gap {
	bool timed;
	uint64_t begin;
};

static void gap_begin(struct engine_vcpu *vcpu, enum exit_code code, struct gap *gap)
{
	struct ledger_vcpu *line = vcpu->cpu.ledger;
	if (code == EXIT_FAULT || code == EXIT_CAREFUL) {
		ledger_enter(line, LEDGER_EXIT);
		return;
	}
	gap->timed = ledger_count_kind(line, LEDGER_KIND_DISPATCH);
	if (gap->timed)
		gap->begin = ledger_sample_begin(line);
}

static void gap_end(struct engine_vcpu *vcpu, struct gap *gap)
{
	struct ledger_vcpu *line = vcpu->cpu.ledger;
	if (gap->timed)
		ledger_sample_end(line, LEDGER_KIND_DISPATCH, gap->begin);
	gap->timed = false;
	ledger_resume(line, LEDGER_GUEST);
}

enum engine_exit engine_run(struct engine_vcpu *vcpu)
{
	struct cpu *cpu = &vcpu->cpu;
	struct turn turn = {0};
	struct gap gap = {0};
	enum engine_exit why;
	if (__atomic_load_n(&vcpu->profile_dozes, __ATOMIC_RELAXED))
		profile_wake(vcpu);
	world_enter(vcpu);
	for (;;) {
		struct block *temporary;
		if (!turn.retry) /* else requests are not looked at, and what they clear must stay */
			__atomic_store_n(&cpu->run, 1, __ATOMIC_SEQ_CST);
		if (count_is_reached(vcpu, &turn)) {
			why = ENGINE_COUNTED;
			break;
		}
		if (vcpu->idle.asked | vcpu->idle.phase && !turn.retry && idle_turn(vcpu)) {
			why = ENGINE_NAPPING;
			break;
		}
		if (cpu->debug.debugger != NULL && !turn.retry && debug_stops(vcpu)) {
			why = ENGINE_DEBUG;
			break;
		}
		if (!serve_events(vcpu, &turn)) {
			why = why_not_running(cpu);
			break;
		}
		bool near_count = vcpu->engine->counted && vcpu->budget < BLOCK_MAX_INSNS;
		bool step = near_count || idle_is_looking(&vcpu->idle);
		const uint8_t *code = find_code(vcpu, step, &turn, &temporary);
		if (code == NULL) {
			turn = (struct turn){0};
			vcpu->idle.tainted = 1;
			ledger_enter(cpu->ledger, LEDGER_EXIT);
			cpu_deliver_pending(cpu);
			debug_turned(vcpu, true, false);
			continue;
		}
		bool trap_flag = (cpu->mode & MODE_TF) != 0;
		cpu->flags_system &= ~FLAG_RF;
		gap_end(vcpu, &gap);
		enum exit_code exit_code = enter(vcpu, code);
		gap_begin(vcpu, exit_code, &gap);
		bool complete = settle(vcpu, exit_code, &turn), faulted = !complete && cpu->pending.valid;
		vcpu->idle.tainted |= faulted && !cpu->pending.software; /* INT n comes this way too */
		if (complete)
			trap_after(vcpu, trap_flag);
		else if (faulted)
			cpu_deliver_pending(cpu);
		if (cpu->debug.debugger != NULL)
			debug_turned(vcpu, complete || faulted, exit_code == EXIT_RESTART);
		if (temporary != NULL)
			block_discard(vcpu->engine, temporary);
	}
	world_leave(vcpu);
	cpu_fpu_park(cpu);
	ledger_enter(cpu->ledger, LEDGER_EXIT);
	return why;
}

static enum engine_step step_once(struct engine_vcpu *vcpu)
{
	struct cpu *cpu = &vcpu->cpu;
	struct turn turn = {0};
	engine_drain_code_writes(vcpu->engine, vcpu);
	for (;;) {
		struct block *temporary;
		__atomic_store_n(&cpu->run, 1, __ATOMIC_SEQ_CST);
		const uint8_t *code = find_code(vcpu, true, &turn, &temporary);
		if (code == NULL) {
			cpu_fpu_park(cpu);
			return ENGINE_STEP_FETCH_FAULT;
		}
		enum exit_code exit_code = enter(vcpu, code);
		bool done = settle(vcpu, exit_code, &turn);
		if (temporary != NULL)
			block_discard(vcpu->engine, temporary);
		if (done || cpu->pending.valid) {
			cpu_fpu_park(cpu);
			return done ? ENGINE_STEP_DONE : ENGINE_STEP_FAULT;
		}
	}
}

enum engine_step engine_step(struct engine_vcpu *vcpu)
{
	world_enter(vcpu);
	enum engine_step result = step_once(vcpu);
	world_leave(vcpu);
	return result;
}

void engine_step_aside(struct engine_vcpu *vcpu)
{
	world_leave(vcpu);
}

void engine_step_back(struct engine_vcpu *vcpu)
{
	world_enter(vcpu);
}
