/* SPDX-License-Identifier: MIT */
/* Guests come, change and go: affinity classes, dedicated processors, and the promise of reservations. */
#include <stdlib.h>

#include "sched/sched-impl.h"

static unsigned set_count(const struct sched_set *set)
{
	unsigned count = 0;
	for (unsigned i = 0; i < SCHED_PROCESSORS_MAX / 64; i++)
		count += (unsigned)__builtin_popcountll(set->word[i]);
	return count;
}

static bool set_equal(const struct sched_set *one, const struct sched_set *other)
{
	for (unsigned i = 0; i < SCHED_PROCESSORS_MAX / 64; i++)
		if (one->word[i] != other->word[i])
			return false;
	return true;
}

static bool set_within(const struct sched_set *inner, const struct sched_set *outer)
{
	for (unsigned i = 0; i < SCHED_PROCESSORS_MAX / 64; i++)
		if ((inner->word[i] & ~outer->word[i]) != 0)
			return false;
	return true;
}

static struct sched_set set_without(struct sched_set set, const struct sched_set *gone)
{
	for (unsigned i = 0; i < SCHED_PROCESSORS_MAX / 64; i++)
		set.word[i] &= ~gone->word[i];
	return set;
}

static struct sched_set all_processors(const struct sched *sched)
{
	struct sched_set set = {0};
	for (unsigned i = 0; i < sched->policy.processors; i++)
		sched_set_add(&set, i);
	return set;
}

static struct sched_set dedicated_processors(const struct sched *sched)
{
	struct sched_set set = {0};
	for (unsigned i = 0; i < sched->classes; i++)
		for (unsigned k = 0; k < SCHED_PROCESSORS_MAX / 64 && sched->class[i].dedicated; k++)
			set.word[k] |= sched->class[i].set.word[k];
	return set;
}

/* What is reserved within a set, and by whom only there: it must fit. `extra` is reserved in `own` besides. */
static bool reservations_fit(const struct sched *sched, const struct sched_set *own, uint64_t extra,
			     const struct sched_set *gone)
{
	for (unsigned i = 0; i <= sched->classes; i++) {
		struct sched_set set = i == sched->classes ? all_processors(sched) : sched->class[i].wanted;
		uint64_t reserved = set_within(own, &set) ? extra : 0;
		set = set_without(set, gone);
		if (i < sched->classes && (sched->class[i].dedicated || sched->class[i].guests == 0))
			continue;
		for (unsigned k = 0; k < sched->classes; k++)
			if (!sched->class[k].dedicated &&
			    set_within(&sched->class[k].wanted, i == sched->classes ? &set : &sched->class[i].wanted))
				reserved += sched->class[k].reserved;
		if (reserved > set_count(&set) * SCHED_PROCESSOR)
			return false;
	}
	struct sched_set rest = set_without(*own, gone);
	return extra <= set_count(&rest) * SCHED_PROCESSOR;
}

static bool policy_check(const struct sched *sched, const struct sched_guest_policy *policy,
			 const struct sched_set *set, struct error *error)
{
	if (policy->vcpus == 0 || policy->vcpus > SCHED_VCPUS_MAX)
		return error_set(error, ERROR_INPUT, "a guest has 1 to %d processors", SCHED_VCPUS_MAX);
	if (policy->shares == 0 || policy->shares > SCHED_SHARES_MAX)
		return error_set(error, ERROR_INPUT, "shares are 1 to %u", SCHED_SHARES_MAX);
	if (policy->reservation > policy->vcpus * SCHED_PROCESSOR)
		return error_set(error, ERROR_INPUT, "the reservation is more than the guest's %u processors can use",
				 policy->vcpus);
	if (policy->limit != 0 && policy->limit < policy->reservation)
		return error_set(error, ERROR_INPUT, "the limit is below the reservation");
	struct sched_set all = all_processors(sched);
	if (!set_within(set, &all) || set_count(set) == 0)
		return error_set(error, ERROR_INPUT, "the affinity names a processor that is not there");
	struct sched_set gone = dedicated_processors(sched), left = set_without(*set, &gone);
	unsigned free_processors = set_count(&left);
	if (free_processors == 0)
		return error_set(error, ERROR_INPUT, "all processors of the affinity are dedicated to other guests");
	if ((policy->dedicated || policy->coscheduling == SCHED_CO_STRICT) && free_processors < policy->vcpus)
		return error_set(error, ERROR_INPUT, "%u processors at a time are wanted, %u are there", policy->vcpus,
				 free_processors);
	if (!policy->dedicated && !reservations_fit(sched, set, policy->reservation, &gone))
		return error_set(error, ERROR_INPUT, "the reservation does not fit beside those of the other guests");
	return true;
}

/* The highest processors of the set, so that none of the others is left with less than it reserved, or nothing. */
static bool choose_dedicated(const struct sched *sched, const struct sched_set *set, unsigned count,
			     struct sched_set *chosen, struct error *error)
{
	struct sched_set gone = dedicated_processors(sched), left = set_without(*set, &gone), none = {0};
	*chosen = (struct sched_set){0};
	for (unsigned i = sched->policy.processors; i-- > 0 && count > 0;) {
		if (!sched_set_has(&left, i))
			continue;
		sched_set_add(chosen, i);
		sched_set_add(&gone, i);
		count--;
	}
	for (unsigned i = 0; i < sched->classes; i++) {
		struct sched_set rest = set_without(sched->class[i].wanted, &gone);
		if (!sched->class[i].dedicated && sched->class[i].guests > 0 && set_count(&rest) == 0)
			return error_set(error, ERROR_INPUT,
					 "dedicating so many processors leaves another guest with none");
	}
	return reservations_fit(sched, &none, 0, &gone) ||
	       error_set(error, ERROR_INPUT, "dedicating so many processors breaks another guest's reservation");
}

static void update_sets(struct sched *sched)
{
	struct sched_set gone = dedicated_processors(sched);
	for (unsigned i = 0; i < sched->classes; i++)
		if (!sched->class[i].dedicated)
			sched->class[i].set = set_without(sched->class[i].wanted, &gone);
}

/* A new class starts where those that share processors with it stand. */
static uint64_t start_time(const struct sched *sched, const struct sched_set *set)
{
	bool found = false;
	uint64_t now = 0;
	for (unsigned i = 0; i < sched->classes; i++) {
		const struct class *class = &sched->class[i];
		struct sched_set apart = set_without(class->set, set);
		if (class->guests == 0 || set_equal(&apart, &class->set))
			continue;
		now = found ? later(now, class->now) : class->now;
		found = true;
	}
	return now;
}

static struct class *class_get(struct sched *sched, const struct sched_set *set, bool dedicated, struct error *error)
{
	struct class *empty = NULL;
	for (unsigned i = 0; i < sched->classes; i++) {
		struct class *class = &sched->class[i];
		if (class->guests == 0)
			empty = empty == NULL ? class : empty;
		else if (!dedicated && !class->dedicated && set_equal(&class->wanted, set))
			return class;
	}
	if (empty == NULL && sched->classes == CLASSES_MAX) {
		error_set(error, ERROR_INPUT, "there are %d different affinities already", CLASSES_MAX);
		return NULL;
	}
	if (empty == NULL)
		empty = &sched->class[sched->classes++];
	empty->now = start_time(sched, set);
	empty->wanted = empty->set = *set;
	empty->dedicated = dedicated;
	empty->reserved = 0;
	return empty;
}

static bool join_class(struct sched_guest *guest, const struct sched_set *set, struct error *error)
{
	struct sched *sched = guest->sched;
	struct class *class = class_get(sched, set, guest->policy.dedicated, error);
	if (class == NULL)
		return false;
	uint32_t room = class->guests + 1;
	if (!heap_reserve(&class->by_share, room) || !heap_reserve(&class->by_reserve, room) ||
	    !heap_reserve(&sched->timers, sched->guest_count + 1))
		return error_set(error, ERROR_HOST, "out of memory");
	class->guests++;
	class->reserved += guest->policy.reservation;
	guest->class = class;
	guest->virtual = class->now;
	update_sets(sched);
	return true;
}

/* Processors whose guests may not be there any more, or that got new ones. */
static void kick_all(struct sched *sched, struct sched_set *kicks)
{
	for (unsigned i = 0; i < sched->policy.processors; i++)
		kick(sched, i, kicks);
}

static void guest_init(struct sched_guest *guest, struct sched *sched, void *owner, uint64_t now)
{
	guest->sched = sched;
	guest->owner = owner;
	guest->reserve = now;
	guest->share_node.order = guest->reserve_node.order = guest->timer_node.order = sched->order++;
	for (unsigned i = 0; i < guest->policy.vcpus; i++)
		guest->vcpu[i] = (struct vcpu){
		    .guest = guest, .index = i, .state = SCHED_ASLEEP, .processor = NO_PROCESSOR, .since = now};
}

/* What was asked for with the defaults, and the processors that it gets. */
static bool policy_admit(const struct sched *sched, struct sched_guest_policy *policy, struct sched_set *set,
			 struct error *error)
{
	const struct sched_set none = {0};
	*set = policy->affinity;
	policy->shares = policy->shares != 0 ? policy->shares : SCHED_SHARES_DEFAULT;
	policy->skew_ns = policy->skew_ns != 0 ? policy->skew_ns : SCHED_SKEW_DEFAULT_NS;
	if (set_equal(set, &none))
		*set = all_processors(sched);
	return policy_check(sched, policy, set, error) &&
	       (!policy->dedicated || choose_dedicated(sched, set, policy->vcpus, set, error));
}

bool sched_admits(const struct sched *sched, const struct sched_guest_policy *asked, struct error *error)
{
	struct sched_guest_policy policy = *asked;
	struct sched_set set;
	return policy_admit(sched, &policy, &set, error);
}

struct sched_guest *sched_guest_add(struct sched *sched, const struct sched_guest_policy *asked, void *owner,
				    uint64_t now, struct error *error)
{
	struct sched_guest_policy policy = *asked;
	struct sched_set set;
	if (!policy_admit(sched, &policy, &set, error))
		return NULL;
	struct sched_guest *guest = calloc(1, sizeof *guest + policy.vcpus * sizeof guest->vcpu[0]);
	if (guest == NULL) {
		error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	guest->policy = policy;
	guest_init(guest, sched, owner, now);
	if (!join_class(guest, &set, error)) {
		free(guest);
		return NULL;
	}
	guest->next = sched->guests;
	if (guest->next != NULL)
		guest->next->previous = guest;
	sched->guests = guest;
	sched->guest_count++;
	return guest;
}

void sched_guest_remove(struct sched_guest *guest, uint64_t now, struct sched_set *kicks)
{
	struct sched *sched = guest->sched;
	guest_dequeue(guest);
	for (unsigned i = 0; i < sched->policy.processors; i++) {
		struct processor *processor = &sched->processor[i];
		if (processor->held_for != NULL && processor->held_for->guest == guest)
			processor->held_for = NULL;
		if (processor->runs != NULL && processor->runs->guest == guest)
			run_end(processor, SCHED_ASLEEP, now);
	}
	guest_dequeue(guest);
	guest->class->guests--;
	guest->class->reserved -= guest->policy.reservation;
	if (guest->class->guests == 0)
		guest->class->dedicated = false;
	update_sets(sched);
	if (guest->next != NULL)
		guest->next->previous = guest->previous;
	if (guest->previous != NULL)
		guest->previous->next = guest->next;
	else
		sched->guests = guest->next;
	sched->guest_count--;
	guest_forget_change(guest);
	kick_all(sched, kicks);
	free(guest);
}

bool sched_guest_change(struct sched_guest *guest, uint32_t shares, uint64_t reservation, uint64_t limit, uint64_t now,
			struct sched_set *kicks, struct error *error)
{
	struct sched_guest_policy policy = guest->policy;
	struct class *class = guest->class;
	uint64_t before = class->reserved;
	policy.shares = shares;
	policy.reservation = reservation;
	policy.limit = limit;
	policy.dedicated = false; /* its processors are its own already */
	class->reserved -= guest->policy.reservation;
	bool good = policy_check(guest->sched, &policy, &class->wanted, class->dedicated ? NULL : error);
	if (class->dedicated)
		good = shares != 0 && shares <= SCHED_SHARES_MAX && reservation <= policy.vcpus * SCHED_PROCESSOR &&
			       (limit == 0 || limit >= reservation)
			   ? true
			   : error_set(error, ERROR_INPUT, "these shares, reservation and limit make no sense");
	class->reserved = before;
	if (!good)
		return false;
	/* Slices that run are charged by the old amounts first. */
	for (unsigned i = 0; i < guest->policy.vcpus; i++)
		if (guest->vcpu[i].state == SCHED_RUNNING)
			run_end(&guest->sched->processor[guest->vcpu[i].processor], SCHED_READY, now);
	class->reserved += reservation - guest->policy.reservation;
	guest->policy.shares = shares;
	guest->policy.reservation = reservation;
	guest->policy.limit = limit;
	guest->window_end = 0;
	guest->reserve = now;
	guest_requeue(guest, now);
	kick_all(guest->sched, kicks);
	return true;
}

void *sched_guest_owner(const struct sched_guest *guest)
{
	return guest->owner;
}
