/* SPDX-License-Identifier: MIT */
/* What runs: a slice is charged when it begins and set right when it ends. */
#include "sched/sched-impl.h"

void deadline_set(struct sched *sched, unsigned processor, uint64_t deadline)
{
	heap_put(&sched->deadlines, &sched->processor[processor].deadline, deadline);
}

/* From the window's quota: enough for the slice, but not all that is left while siblings want some too. */
static uint64_t take_quota(struct sched_guest *guest, uint64_t slice, uint64_t now)
{
	guest_refill(guest, now);
	if (guest->policy.limit == 0)
		return slice;
	unsigned others = guest->wanting - guest->running;
	uint64_t whole =
	    (uint64_t)((unsigned __int128)guest->sched->policy.window_ns * guest->policy.limit / SCHED_PROCESSOR);
	uint64_t part = guest->quota / (others == 0 ? 1 : others), least = whole / CHUNK_SHARE + 1;
	part = part < least && !is_strict(guest) ? min_u64(least, guest->quota) : part;
	part = min_u64(part, slice);
	return min_u64(part, guest->window_end - now);
}

/* Without what is charged in advance. */
static uint64_t virtual_used(const struct sched_guest *guest, uint64_t now)
{
	uint64_t used = guest->virtual;
	for (unsigned i = 0; i < guest->policy.vcpus && guest->running > 0; i++) {
		if (guest->vcpu[i].state != SCHED_RUNNING)
			continue;
		const struct processor *on = &guest->sched->processor[guest->vcpu[i].processor];
		used += to_virtual(guest, now - on->begin) - to_virtual(guest, on->ahead);
	}
	return used;
}

/* What is charged in advance counts, and so does what has run beyond it: who dispatches may be late. */
uint64_t guest_key(const struct sched_guest *guest, uint64_t now)
{
	return later(guest->virtual, virtual_used(guest, now));
}

void run_begin(struct vcpu *vcpu, unsigned processor, bool reserved, uint64_t now)
{
	struct sched_guest *guest = vcpu->guest;
	struct sched *sched = guest->sched;
	struct processor *on = &sched->processor[processor];
	uint64_t room = gang_room(vcpu, now);
	uint64_t slice = take_quota(guest, min_u64(sched->policy.slice_ns, room), now);
	*on = (struct processor){.runs = vcpu,
				 .begin = now,
				 .virtual = virtual_used(guest, now),
				 .ahead = slice,
				 .quota = guest->policy.limit != 0 ? slice : 0,
				 .reserved = reserved,
				 .deadline = on->deadline};
	guest->quota -= on->quota;
	if (!reserved)
		guest->class->now = later(guest->class->now, guest_key(guest, now));
	guest->virtual += to_virtual(guest, slice);
	guest->reserve += to_reserve(guest, slice);
	vcpu_enter(vcpu, SCHED_RUNNING, now);
	vcpu->processor = processor;
	vcpu->co_stopped = false;
	guest->running++;
	sched_set_remove(&sched->idle, processor);
	deadline_set(sched, processor, now + slice);
	guest_requeue(guest, now);
}

void run_end(struct processor *processor, enum sched_state state, uint64_t now)
{
	struct vcpu *vcpu = processor->runs;
	struct sched_guest *guest = vcpu->guest;
	struct sched *sched = guest->sched;
	uint64_t used = now - processor->begin;
	guest->virtual += to_virtual(guest, used) - to_virtual(guest, processor->ahead);
	guest->reserve += to_reserve(guest, used) - to_reserve(guest, processor->ahead);
	if (processor->quota != 0 && now < guest->window_end) /* an old window's is of no use any more */
		guest->quota += processor->quota > used ? processor->quota - used : 0;
	vcpu_enter(vcpu, state, now);
	processor->runs = NULL;
	sched_set_add(&sched->idle, vcpu->processor);
	heap_remove(&sched->deadlines, &processor->deadline);
	vcpu->processor = NO_PROCESSOR;
	guest->running--;
	guest->wanting -= state == SCHED_ASLEEP;
	if (guest->running == 0)
		guest->stopping = false;
}
