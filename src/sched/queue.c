/* SPDX-License-Identifier: MIT */
/*
 * Where guests wait. A guest is in its class's queues while it has a vCPU that wants a processor and may have one. Its
 * timer runs while something else than others' use keeps it out: the end of its window, a sibling that has to catch up.
 */
#include "sched/sched-impl.h"

static void note_change(struct sched_guest *guest)
{
	if (guest->changed)
		return;
	guest->changed = true;
	guest->next_changed = guest->sched->changed;
	guest->sched->changed = guest;
}

void guest_forget_change(struct sched_guest *guest)
{
	struct sched_guest **link = &guest->sched->changed;
	if (!guest->changed)
		return;
	while (*link != guest)
		link = &(*link)->next_changed;
	*link = guest->next_changed;
	guest->changed = false;
}

void vcpu_enter(struct vcpu *vcpu, enum sched_state state, uint64_t now)
{
	uint64_t spent = now - vcpu->since;
	vcpu->time[vcpu->awake ? vcpu->state : SCHED_ASLEEP] += spent;
	if (vcpu->state == SCHED_RUNNING)
		vcpu->progress += spent;
	note_change(vcpu->guest);
	vcpu->state = state;
	vcpu->since = now;
}

void guest_refill(struct sched_guest *guest, uint64_t now)
{
	uint64_t window = guest->sched->policy.window_ns;
	if (guest->policy.limit == 0 || now < guest->window_end)
		return;
	guest->window_end = (now / window + 1) * window;
	guest->quota = (uint64_t)((unsigned __int128)window * guest->policy.limit / SCHED_PROCESSOR);
}

/* The one that is least far; among equals the one that waits for longest. */
struct vcpu *guest_next_vcpu(struct sched_guest *guest)
{
	struct vcpu *best = NULL;
	bool by_progress = guest->policy.coscheduling == SCHED_CO_RELAXED;
	for (unsigned i = 0; i < guest->policy.vcpus; i++) {
		struct vcpu *vcpu = &guest->vcpu[i];
		if (!wants(vcpu))
			continue;
		if (best == NULL || (by_progress && vcpu->progress < best->progress) ||
		    ((!by_progress || vcpu->progress == best->progress) && vcpu->since < best->since))
			best = vcpu;
	}
	return best;
}

/* Why the guest's vCPUs wait, and until when nothing changes that. */
static enum sched_state waits_for(struct sched_guest *guest, uint64_t now, uint64_t *until)
{
	*until = SCHED_NEVER;
	guest_refill(guest, now);
	if (guest->policy.limit != 0 && guest->quota < QUOTA_LEAST * guest->policy.vcpus) {
		*until = guest->window_end;
		return SCHED_LIMITED;
	}
	if (guest->stopping)
		return SCHED_CO_STOP;
	if (guest->policy.coscheduling == SCHED_CO_RELAXED && gang_room(guest_next_vcpu(guest), now) == 0) {
		*until = now + guest->policy.skew_ns / 4 + 1;
		return SCHED_CO_STOP;
	}
	return SCHED_READY;
}

void guest_dequeue(struct sched_guest *guest)
{
	heap_remove(&guest->class->by_share, &guest->share_node);
	heap_remove(&guest->class->by_reserve, &guest->reserve_node);
	heap_remove(&guest->sched->timers, &guest->timer_node);
}

static void tell_vcpus(struct sched_guest *guest, enum sched_state state, uint64_t now)
{
	for (unsigned i = 0; i < guest->policy.vcpus; i++) {
		struct vcpu *vcpu = &guest->vcpu[i];
		enum sched_state own = state == SCHED_READY && vcpu->co_stopped ? SCHED_CO_STOP : state;
		if (wants(vcpu) && vcpu->state != own)
			vcpu_enter(vcpu, own, now);
	}
}

/* Neither far behind, by time it did not use, nor so far ahead that it never comes back. */
static void clamp(struct sched_guest *guest, uint64_t now)
{
	uint64_t slice = guest->sched->policy.slice_ns, step = to_virtual(guest, slice), class_now = guest->class->now;
	guest->virtual = later(guest->virtual, class_now - LAG_SLICES * step);
	guest->virtual = earlier(guest->virtual, class_now + LEAD_SLICES * step);
	guest->reserve = later(guest->reserve, now - RESERVE_LAG_SLICES * slice);
	guest->reserve = earlier(guest->reserve, now + to_reserve(guest, slice) * (guest->running + 1));
}

void guest_requeue(struct sched_guest *guest, uint64_t now)
{
	uint64_t until;
	guest_dequeue(guest);
	if (guest->wanting == guest->running)
		return;
	enum sched_state state = waits_for(guest, now, &until);
	tell_vcpus(guest, state, now);
	if (until != SCHED_NEVER)
		heap_put(&guest->sched->timers, &guest->timer_node, until);
	if (state != SCHED_READY)
		return;
	clamp(guest, now);
	heap_put(&guest->class->by_share, &guest->share_node, guest_key(guest, now));
	if (guest->policy.reservation != 0)
		heap_put(&guest->class->by_reserve, &guest->reserve_node, guest->reserve);
}

struct sched_guest *queue_best(struct sched *sched, unsigned processor, uint64_t now, bool *reserved)
{
	struct heap_node *share = NULL, *reserve = NULL;
	for (unsigned i = 0; i < sched->classes; i++) {
		struct class *class = &sched->class[i];
		if (!sched_set_has(&class->set, processor))
			continue;
		struct heap_node *head = heap_head(&class->by_share);
		if (head != NULL && (share == NULL || heap_before(head, share)))
			share = head;
		head = heap_head(&class->by_reserve);
		if (head != NULL && (int64_t)(head->key - now) <= 0 && (reserve == NULL || heap_before(head, reserve)))
			reserve = head;
	}
	*reserved = reserve != NULL;
	if (reserve != NULL)
		return container_of(reserve, struct sched_guest, reserve_node);
	return share == NULL ? NULL : container_of(share, struct sched_guest, share_node);
}
