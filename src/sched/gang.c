/* SPDX-License-Identifier: MIT */
/* Co-scheduling; sched.h says what the kinds mean. */
#include "sched/sched-impl.h"

/* How far the least of the siblings that want is. */
static uint64_t least_progress(const struct sched_guest *guest, const struct vcpu *besides, uint64_t now, bool *found)
{
	uint64_t least = UINT64_MAX;
	*found = false;
	for (unsigned i = 0; i < guest->policy.vcpus; i++) {
		const struct vcpu *vcpu = &guest->vcpu[i];
		if (vcpu == besides || vcpu->state == SCHED_ASLEEP)
			continue;
		*found = true;
		least = min_u64(least, progress_of(vcpu, now));
	}
	return least;
}

uint64_t gang_room(const struct vcpu *vcpu, uint64_t now)
{
	bool found;
	if (vcpu->guest->policy.coscheduling != SCHED_CO_RELAXED)
		return SCHED_NEVER;
	uint64_t least = least_progress(vcpu->guest, vcpu, now, &found);
	uint64_t bound = least + vcpu->guest->policy.skew_ns, own = progress_of(vcpu, now);
	return !found ? SCHED_NEVER : own < bound ? bound - own : 0;
}

void gang_bound_siblings(struct sched_guest *guest, uint64_t now)
{
	if (guest->policy.coscheduling != SCHED_CO_RELAXED)
		return;
	for (unsigned i = 0; i < guest->policy.vcpus; i++) {
		struct vcpu *vcpu = &guest->vcpu[i];
		if (vcpu->state != SCHED_RUNNING)
			continue;
		struct heap_node *node = &guest->sched->processor[vcpu->processor].deadline;
		uint64_t room = gang_room(vcpu, now);
		if (node->place != 0 && room < SCHED_NEVER - now && now + room < node->key)
			deadline_set(guest->sched, vcpu->processor, now + room);
	}
}

void gang_stop(struct sched_guest *guest, struct sched_set *kicks)
{
	guest->stopping = guest->running > 0;
	for (unsigned i = 0; i < guest->policy.vcpus; i++) {
		struct vcpu *vcpu = &guest->vcpu[i];
		if (vcpu->state != SCHED_RUNNING)
			continue;
		vcpu->co_stopped = true;
		kick(guest->sched, vcpu->processor, kicks);
	}
}

static void hold(struct sched *sched, unsigned processor, struct vcpu *vcpu, bool reserved, struct sched_set *kicks)
{
	sched->processor[processor].held_reserved = reserved;
	sched->processor[processor].held_for = vcpu;
	kick(sched, processor, kicks);
}

bool gang_gather(struct sched_guest *guest, unsigned processor, bool reserved, uint64_t now, struct sched_set *kicks)
{
	struct sched *sched = guest->sched;
	unsigned found[SCHED_VCPUS_MAX], count = 0, needed = guest->wanting - guest->running - 1;
	struct sched_set taken = {0};
	sched_set_add(&taken, processor);
	while (count < needed) {
		unsigned next = place_find(guest, now, reserved, 0, &taken);
		if (next == NO_PROCESSOR)
			return false;
		sched_set_add(&taken, next);
		found[count++] = next;
	}
	const struct vcpu *first = guest_next_vcpu(guest);
	for (unsigned i = 0; i < guest->policy.vcpus && count > 0; i++)
		if (&guest->vcpu[i] != first && wants(&guest->vcpu[i]))
			hold(sched, found[--count], &guest->vcpu[i], reserved, kicks);
	return true;
}
