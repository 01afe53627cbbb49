/* SPDX-License-Identifier: MIT */
/* Processors for those that begin to wait: an idle one, or one whose guest is further ahead. */
#include "sched/sched-impl.h"

/* Virtual time at which the guest on a processor stands by what it has used. */
static uint64_t running_virtual(const struct processor *processor, uint64_t now)
{
	return processor->virtual + to_virtual(processor->runs->guest, now - processor->begin);
}

static bool is_free(const struct sched *sched, const struct class *class, unsigned processor,
		    const struct sched_set *taken)
{
	return sched_set_has(&class->set, processor) && !sched_set_has(taken, processor) &&
	       !sched_set_has(&sched->kicked, processor) && sched->processor[processor].held_for == NULL;
}

static unsigned find_idle(const struct sched_guest *guest, const struct sched_set *taken)
{
	const struct sched *sched = guest->sched;
	struct sched_set idle;
	unsigned processor;
	for (unsigned i = 0; i < SCHED_PROCESSORS_MAX / 64; i++)
		idle.word[i] = sched->idle.word[i] & guest->class->set.word[i] & ~taken->word[i];
	while (sched_set_take(&idle, &processor))
		if (is_free(sched, guest->class, processor, taken))
			return processor;
	return NO_PROCESSOR;
}

unsigned place_find(const struct sched_guest *guest, uint64_t now, bool reserved, uint64_t margin,
		    const struct sched_set *taken)
{
	const struct sched *sched = guest->sched;
	unsigned best = find_idle(guest, taken);
	uint64_t furthest = 0, own = guest_key(guest, now) + margin;
	if (best != NO_PROCESSOR)
		return best;
	for (unsigned i = 0; i < sched->policy.processors; i++) {
		const struct processor *processor = &sched->processor[i];
		if (!is_free(sched, guest->class, i, taken) || processor->runs == NULL ||
		    processor->runs->guest == guest || processor->reserved)
			continue;
		uint64_t other = running_virtual(processor, now);
		bool ahead = reserved || (int64_t)(other - own) > 0;
		if (ahead && (best == NO_PROCESSOR || (int64_t)(other - furthest) > 0)) {
			best = i;
			furthest = other;
		}
	}
	return best;
}

/* A preemption costs; what is not further behind than this waits for the end of a slice. */
static uint64_t margin_of(const struct sched_guest *guest)
{
	return to_virtual(guest, guest->sched->policy.slice_ns / 8);
}

void guest_place(struct sched_guest *guest, uint64_t now, struct sched_set *kicks)
{
	struct sched_set none = {0};
	unsigned waiting = guest->wanting - guest->running;
	if (guest->share_node.place == 0)
		return;
	bool reserved = guest->reserve_node.place != 0 && (int64_t)(guest->reserve - now) <= 0;
	for (unsigned i = 0; i < waiting; i++) {
		unsigned processor = place_find(guest, now, reserved, margin_of(guest), &none);
		if (processor == NO_PROCESSOR)
			return;
		kick(guest->sched, processor, kicks);
		if (is_strict(guest))
			return; /* where the first is dispatched the others are gathered */
	}
}
