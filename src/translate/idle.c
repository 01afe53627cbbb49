/* SPDX-License-Identifier: MIT */
/* Finding out whether a vCPU only waits: see idle.h. Runs with the guest's vector state live; no libc. */
#include "translate/idle.h"

#include "translate/block.h"

#define SOON_NS 50000u /* after an event */
#define SOON_TIMES 6u  /* each time twice as long: 3 ms in all */

static void save_state(const struct cpu *cpu, struct idle_state *state)
{
	state->rip = cpu->rip;
	state->rflags = cpu_rflags(cpu);
	state->cr3 = cpu->cr3;
	copy_bytes(state->gpr, cpu->gpr, sizeof state->gpr);
	copy_bytes(state->segment, cpu->segment, sizeof state->segment);
	state->mode = cpu->mode;
	state->tr = cpu->tr.selector;
	state->ldtr = cpu->ldtr.selector;
	state->shadow = cpu->interrupt_shadow;
	state->nmi_blocked = cpu->nmi_blocked;
}

static bool same_words(const void *a, const void *b, size_t bytes)
{
	const uint64_t *x = a, *y = b;
	for (size_t i = 0; i < bytes / sizeof *x; i++) {
		if (x[i] != y[i])
			return false;
	}
	return true;
}

_Static_assert(sizeof(struct cpu_segment) == 16, "no padding: segments are compared by words");

static bool is_state(const struct cpu *cpu, const struct idle_state *state)
{
	return cpu->rip == state->rip && cpu_rflags(cpu) == state->rflags &&
	       same_words(cpu->gpr, state->gpr, sizeof state->gpr) && cpu->cr3 == state->cr3 &&
	       cpu->mode == state->mode && same_words(cpu->segment, state->segment, sizeof state->segment) &&
	       cpu->tr.selector == state->tr && cpu->ldtr.selector == state->ldtr &&
	       cpu->interrupt_shadow == state->shadow && cpu->nmi_blocked == state->nmi_blocked;
}

static uint32_t requests_of(const struct cpu *cpu)
{
	return __atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST);
}

/* An event that will be served now. An interrupt that the guest does not let in is none. */
static bool event_is_due(const struct cpu *cpu)
{
	uint32_t requests = requests_of(cpu);
	if (!cpu->interrupt_enable)
		requests &= ~(uint32_t)CPU_REQUEST_INTERRUPT;
	return requests != 0 || cpu->debug_trap || cpu->halted || cpu->shutdown || cpu->wait_for_sipi;
}

/* ---- pages ---- */

static void watch_page(void *opaque, const struct mmu_page *page, enum tlb_access access)
{
	struct idle *idle = &((struct engine_vcpu *)opaque)->idle;
	if (page->host == NULL) {
		idle->tainted = 1;
		return;
	}
	if (access != TLB_WRITE || idle->phase != IDLE_PROVE || page->read_only_memory)
		return;
	const uint8_t *host = page->host - (page->gpa & PAGE_MASK);
	for (unsigned i = 0; i < idle->page_count; i++) {
		if (idle->page[i] == host)
			return;
	}
	if (idle->page_count == IDLE_PAGES) {
		idle->tainted = 1;
		return;
	}
	copy_bytes(idle->copy[idle->page_count], host, PAGE_SIZE);
	idle->page[idle->page_count++] = host;
}

static bool pages_are_same(const struct idle *idle)
{
	for (unsigned i = 0; i < idle->page_count; i++) {
		if (!same_words(idle->page[i], idle->copy[i], PAGE_SIZE))
			return false;
	}
	return true;
}

static void copy_pages(struct idle *idle)
{
	for (unsigned i = 0; i < idle->page_count; i++)
		copy_bytes(idle->copy[i], idle->page[i], PAGE_SIZE);
}

/* ---- the end of a look ---- */

static void look_again_soon(struct engine_vcpu *vcpu)
{
	struct idle *idle = &vcpu->idle;
	uint64_t ns = (uint64_t)SOON_NS << idle->soon;
	uint64_t least = idle->lap_cost * 4; /* a TSC of 2 GHz: eight times as long as a lap */
	if (!idle->returns || idle->soon++ == SOON_TIMES) {
		idle->returns = false;
		return;
	}
	cpu_fpu_park(&vcpu->cpu);
	idle_ask_soon(vcpu, ns > least ? ns : least);
}

static void look_ends(struct engine_vcpu *vcpu)
{
	vcpu->idle.phase = IDLE_NONE;
	vcpu->cpu.page_watcher = NULL;
}

static void looked_in_vain(struct engine_vcpu *vcpu)
{
	struct idle *idle = &vcpu->idle;
	uint64_t now = ledger_tsc();
	look_ends(vcpu);
	idle->not_before = now + (now - idle->begin) * IDLE_PATIENCE;
	look_again_soon(vcpu);
}

static void event_came(struct engine_vcpu *vcpu)
{
	look_ends(vcpu);
	vcpu->idle.soon = 0;
	look_again_soon(vcpu);
}

/* ---- the look ---- */

static void seek_begins(struct engine_vcpu *vcpu)
{
	struct idle *idle = &vcpu->idle;
	uint32_t known = 4 * idle->lap + 64; /* it went round there before */
	cpu_count(&vcpu->cpu, LEDGER_COUNT_IDLE_LOOK);
	idle->phase = IDLE_SEEK;
	idle->tainted = 0;
	idle->steps = 0;
	idle->power = 1;
	if (idle->limit < IDLE_SEEK_MIN)
		idle->limit = IDLE_SEEK_MIN;
	if (idle->returns)
		idle->limit = known < IDLE_SEEK_MAX ? known : IDLE_SEEK_MAX;
	idle->begin = ledger_tsc();
	save_state(&vcpu->cpu, &idle->head);
	idle->lap_steps = 0;
	vcpu->cpu.page_watcher = watch_page;
}

static void lap_begins(struct engine_vcpu *vcpu)
{
	struct idle *idle = &vcpu->idle;
	idle->lap_steps = 0;
	idle->requests = requests_of(&vcpu->cpu);
	idle->lap_begin = ledger_tsc();
	copy_pages(idle);
}

static void prove_begins(struct engine_vcpu *vcpu)
{
	struct idle *idle = &vcpu->idle;
	idle->phase = IDLE_PROVE;
	idle->lap = idle->lap_steps;
	idle->laps = 0;
	idle->naps = 0;
	idle->page_count = 0;
	tlb_revoke_writes(&vcpu->cpu.tlb);
	lap_begins(vcpu);
}

static bool seek(struct engine_vcpu *vcpu)
{
	struct idle *idle = &vcpu->idle;
	idle->lap_steps++;
	if (is_state(&vcpu->cpu, &idle->head)) {
		prove_begins(vcpu);
		return false;
	}
	if (++idle->steps >= idle->limit) {
		if (!idle->returns && idle->limit < IDLE_SEEK_MAX)
			idle->limit *= 2;
		looked_in_vain(vcpu);
	} else if (idle->lap_steps == idle->power) {
		idle->power *= 2;
		idle->lap_steps = 0;
		save_state(&vcpu->cpu, &idle->head);
	}
	return false;
}

static bool prove(struct engine_vcpu *vcpu)
{
	struct idle *idle = &vcpu->idle;
	if (++idle->lap_steps < idle->lap)
		return false;
	bool same = is_state(&vcpu->cpu, &idle->head), unchanged = same && pages_are_same(idle);
	idle->lap_cost = ledger_tsc() - idle->lap_begin;
	if (unchanged && requests_of(&vcpu->cpu) == idle->requests) {
		idle->phase = IDLE_ASLEEP;
		idle->naps++;
		idle->limit = IDLE_SEEK_MIN;
		cpu_count(&vcpu->cpu, LEDGER_COUNT_IDLE_NAP);
		return true;
	}
	if (same && ++idle->laps < IDLE_LAPS)
		lap_begins(vcpu);
	else
		looked_in_vain(vcpu);
	return false;
}

static bool wants_look(struct engine_vcpu *vcpu)
{
	struct idle *idle = &vcpu->idle;
	if (!idle->asked)
		return false;
	__atomic_store_n(&idle->asked, 0, __ATOMIC_RELAXED);
	return (idle->returns || ledger_tsc() >= idle->not_before) && !event_is_due(&vcpu->cpu) &&
	       vcpu->cpu.debug.debugger == NULL;
}

/* After a nap. */
static void wake(struct engine_vcpu *vcpu)
{
	struct idle *idle = &vcpu->idle;
	idle->returns = true;
	if (requests_of(&vcpu->cpu) != idle->requests || !is_state(&vcpu->cpu, &idle->head)) {
		event_came(vcpu);
		return;
	}
	idle->phase = IDLE_PROVE;
	idle->laps = 0;
	idle->tainted = 0;
	idle->begin = ledger_tsc();
	idle->soon = 0;
	lap_begins(vcpu);
}

bool idle_turn(struct engine_vcpu *vcpu)
{
	struct idle *idle = &vcpu->idle;
	if (!idle_is_looking(idle)) {
		if (idle->phase == IDLE_ASLEEP)
			wake(vcpu);
		else if (wants_look(vcpu))
			seek_begins(vcpu);
		return false;
	}
	if (event_is_due(&vcpu->cpu)) {
		event_came(vcpu);
		return false;
	}
	if (idle->tainted) {
		looked_in_vain(vcpu);
		return false;
	}
	return idle->phase == IDLE_SEEK ? seek(vcpu) : prove(vcpu);
}
