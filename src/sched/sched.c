/* SPDX-License-Identifier: MIT */
/* What happens, and what is decided. */
#include "sched/sched.h"

#include <stdlib.h>

#include "sched/sched-impl.h"

struct sched *sched_create(const struct sched_policy *policy, struct error *error)
{
	if (policy->processors == 0 || policy->processors > SCHED_PROCESSORS_MAX) {
		error_set(error, ERROR_INPUT, "a host has 1 to %d processors", SCHED_PROCESSORS_MAX);
		return NULL;
	}
	struct sched *sched = calloc(1, sizeof *sched + policy->processors * sizeof sched->processor[0]);
	if (sched == NULL || !heap_reserve(&sched->deadlines, policy->processors)) {
		free(sched);
		error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	sched->policy = *policy;
	sched->policy.slice_ns = policy->slice_ns != 0 ? policy->slice_ns : SCHED_SLICE_DEFAULT_NS;
	sched->policy.window_ns = policy->window_ns != 0 ? policy->window_ns : SCHED_WINDOW_DEFAULT_NS;
	for (unsigned i = 0; i < policy->processors; i++) {
		sched_set_add(&sched->idle, i);
		sched->processor[i].deadline.order = i;
	}
	return sched;
}

void sched_destroy(struct sched *sched)
{
	if (sched == NULL)
		return;
	while (sched->guests != NULL) {
		struct sched_guest *guest = sched->guests;
		sched->guests = guest->next;
		free(guest);
	}
	for (unsigned i = 0; i < CLASSES_MAX; i++) {
		heap_free(&sched->class[i].by_share);
		heap_free(&sched->class[i].by_reserve);
	}
	heap_free(&sched->deadlines);
	heap_free(&sched->timers);
	free(sched);
}

/* Being idle was progress. */
static void catch_up(struct vcpu *vcpu, uint64_t now)
{
	const struct sched_guest *guest = vcpu->guest;
	for (unsigned i = 0; i < guest->policy.vcpus; i++)
		if (&guest->vcpu[i] != vcpu && progress_of(&guest->vcpu[i], now) > vcpu->progress)
			vcpu->progress = progress_of(&guest->vcpu[i], now);
}

static void set_awake(struct vcpu *vcpu, bool awake, uint64_t now)
{
	vcpu_enter(vcpu, vcpu->state, now); /* books what was */
	vcpu->awake = awake;
	vcpu->guest->awake += awake ? 1u : UINT32_MAX;
}

static void begin_to_want(struct vcpu *vcpu, uint64_t now)
{
	if (vcpu->guest->wanting++ == 0) /* what the guest left of its reservation is gone */
		vcpu->guest->reserve = later(vcpu->guest->reserve, now - vcpu->guest->sched->policy.slice_ns);
	vcpu_enter(vcpu, SCHED_READY, now);
}

static void cease_to_want(struct vcpu *vcpu, uint64_t now, struct sched_set *kicks)
{
	struct sched *sched = vcpu->guest->sched;
	vcpu->co_stopped = false;
	if (vcpu->state == SCHED_RUNNING) {
		kick(sched, vcpu->processor, kicks);
		run_end(&sched->processor[vcpu->processor], SCHED_ASLEEP, now);
	} else {
		vcpu->guest->wanting--;
		vcpu_enter(vcpu, SCHED_ASLEEP, now);
	}
}

void sched_wake(struct sched_guest *guest, unsigned index, uint64_t now, struct sched_set *kicks)
{
	struct vcpu *vcpu = &guest->vcpu[index];
	if (vcpu->awake)
		return;
	catch_up(vcpu, now);
	set_awake(vcpu, true, now);
	if (vcpu->state != SCHED_ASLEEP)
		return; /* its processor, or its place in the queue, was kept */
	for (unsigned i = 0; i < guest->policy.vcpus; i++)
		if (i == index || is_strict(guest))
			begin_to_want(&guest->vcpu[i], now);
	guest_requeue(guest, now);
	gang_bound_siblings(guest, now);
	guest_place(guest, now, kicks);
}

void sched_idle(struct sched_guest *guest, unsigned index, uint64_t now, struct sched_set *kicks)
{
	struct vcpu *vcpu = &guest->vcpu[index];
	if (!vcpu->awake || guest->policy.blind)
		return;
	set_awake(vcpu, false, now);
	if (is_strict(guest) && guest->awake > 0)
		return;
	for (unsigned i = 0; i < guest->policy.vcpus; i++)
		if (i == index || is_strict(guest))
			cease_to_want(&guest->vcpu[i], now, kicks);
	guest_requeue(guest, now);
	guest_place(guest, now, kicks);
}

uint64_t sched_next(const struct sched *sched)
{
	const struct heap_node *deadline = heap_head(&sched->deadlines), *timer = heap_head(&sched->timers);
	uint64_t next = deadline == NULL ? SCHED_NEVER : deadline->key;
	return timer == NULL ? next : min_u64(next, timer->key);
}

void sched_advance(struct sched *sched, uint64_t now, struct sched_set *kicks)
{
	for (struct heap_node *node = heap_head(&sched->deadlines); node != NULL && node->key <= now;
	     node = heap_head(&sched->deadlines)) {
		struct processor *processor = container_of(node, struct processor, deadline);
		kick(sched, (unsigned)(processor - sched->processor), kicks);
		heap_remove(&sched->deadlines, node); /* said once */
	}
	for (struct heap_node *node = heap_head(&sched->timers); node != NULL && node->key <= now;
	     node = heap_head(&sched->timers)) {
		struct sched_guest *guest = container_of(node, struct sched_guest, timer_node);
		guest_requeue(guest, now); /* its timer is later now, or gone */
		guest_place(guest, now, kicks);
	}
}

/* The vCPU that was on the processor wants it still. Returns its guest. */
static struct sched_guest *take_back(struct sched *sched, unsigned number, uint64_t now, struct sched_set *kicks)
{
	struct processor *processor = &sched->processor[number];
	if (processor->runs == NULL)
		return NULL;
	struct sched_guest *guest = processor->runs->guest;
	run_end(processor, SCHED_READY, now);
	if (is_strict(guest) && guest->running > 0 && !guest->stopping)
		gang_stop(guest, kicks);
	guest_requeue(guest, now);
	gang_bound_siblings(guest, now);
	return guest;
}

/* A strict guest starts only with processors for all: one that cannot steps back, for this decision. */
static struct sched_guest *choose(struct sched *sched, unsigned number, uint64_t now, bool *reserved,
				  struct sched_set *kicks)
{
	struct sched_guest *skipped[SKIPS_MAX], *chosen = NULL;
	unsigned skips = 0;
	while (skips < SKIPS_MAX) {
		struct sched_guest *best = queue_best(sched, number, now, reserved);
		bool strict = best != NULL && is_strict(best) && best->policy.vcpus > 1;
		if (!strict || (best->running == 0 && gang_gather(best, number, *reserved, now, kicks))) {
			chosen = best;
			break;
		}
		guest_dequeue(best);
		skipped[skips++] = best;
	}
	for (unsigned i = 0; i < skips; i++)
		guest_requeue(skipped[i], now);
	return chosen;
}

/* The others of a strict guest follow the first; unless it has been stopped again meanwhile. */
static bool hold_stands(const struct vcpu *held)
{
	return held != NULL && wants(held) && held->guest->running > 0 && !held->guest->stopping;
}

static struct sched_decision decision_of(const struct sched *sched, unsigned number)
{
	const struct processor *processor = &sched->processor[number];
	if (processor->runs == NULL)
		return (struct sched_decision){.until = SCHED_NEVER};
	return (struct sched_decision){
	    .guest = processor->runs->guest, .vcpu = processor->runs->index, .until = processor->deadline.key};
}

struct sched_decision sched_dispatch(struct sched *sched, unsigned number, uint64_t now, struct sched_set *kicks)
{
	struct processor *processor = &sched->processor[number];
	struct vcpu *held = processor->held_for; /* or else the best */
	bool reserved = processor->held_reserved;
	processor->held_for = NULL;
	sched_set_add(&sched->kicked, number); /* nobody is sent here, since the best is taken below */
	struct sched_guest *before = take_back(sched, number, now, kicks);
	if (!hold_stands(held)) {
		struct sched_guest *guest = choose(sched, number, now, &reserved, kicks);
		held = guest == NULL ? NULL : guest_next_vcpu(guest);
	}
	sched_set_remove(&sched->kicked, number);
	sched_set_remove(kicks, number);
	if (held != NULL)
		run_begin(held, number, reserved, now);
	if (before != NULL && (held == NULL || held->guest != before))
		guest_place(before, now, kicks); /* perhaps somewhere else */
	return decision_of(sched, number);
}

struct sched_guest *sched_changed(struct sched *sched)
{
	struct sched_guest *guest = sched->changed;
	if (guest != NULL)
		guest_forget_change(guest);
	return guest;
}

enum sched_state sched_state_of(const struct sched_guest *guest, unsigned vcpu)
{
	return guest->vcpu[vcpu].awake ? guest->vcpu[vcpu].state : SCHED_ASLEEP;
}

uint64_t sched_time_in(const struct sched_guest *guest, unsigned vcpu, enum sched_state state, uint64_t now)
{
	const struct vcpu *of = &guest->vcpu[vcpu];
	return of->time[state] + (sched_state_of(guest, vcpu) == state ? now - of->since : 0);
}
