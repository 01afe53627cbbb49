/* SPDX-License-Identifier: MIT */
/*
 * Giving and taking tokens. A place (a processor) has a holder, whose token is out, and a next, whom sched chose. The
 * next gets its token when the holder's is back, and when its own from another place is.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/dispatcher-impl.h"

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static void publish(struct lent *vcpu, enum token_kind kind)
{
	vcpu->token = token_after(vcpu->token, kind);
	__atomic_store_n(&vcpu->shared->token, vcpu->token, __ATOMIC_SEQ_CST);
	token_ring(vcpu->shared);
}

/* Why it has none. */
static enum token_kind reason(const struct lent *vcpu)
{
	static const enum token_kind kinds[SCHED_STATES] = {[SCHED_ASLEEP] = TOKEN_READY,
							    [SCHED_READY] = TOKEN_READY,
							    [SCHED_CO_STOP] = TOKEN_COSTOP,
							    [SCHED_LIMITED] = TOKEN_LIMITED,
							    [SCHED_RUNNING] = TOKEN_READY};
	return kinds[sched_state_of(vcpu->guest->sched, vcpu->index)];
}

static void count_preemption(struct dispatcher *dispatcher, uint64_t ns)
{
	uint64_t us = ns / 1000;
	unsigned bucket = us == 0 ? 0 : 64 - (unsigned)__builtin_clzll(us);
	dispatcher->report.preemption[bucket < DISPATCHER_BUCKETS ? bucket : DISPATCHER_BUCKETS - 1]++;
}

static void place_advance(struct dispatcher *dispatcher, struct place *place);

static void came_back(struct lent *vcpu, uint64_t now)
{
	struct dispatcher *dispatcher = vcpu->guest->dispatcher;
	struct place *place = &dispatcher->place[vcpu->place];
	if (vcpu->asked)
		count_preemption(dispatcher, now > vcpu->asked_at ? now - vcpu->asked_at : 0);
	if (vcpu->asked && !vcpu->late)
		dispatcher->asked--;
	vcpu->out = vcpu->asked = vcpu->late = false;
	if (place->holder == vcpu)
		place->holder = NULL;
	place_advance(dispatcher, place);
	if (vcpu->waits_for != NO_PLACE)
		place_advance(dispatcher, &dispatcher->place[vcpu->waits_for]);
}

static void take_back(struct lent *vcpu)
{
	struct dispatcher *dispatcher = vcpu->guest->dispatcher;
	publish(vcpu, reason(vcpu));
	if (load(&vcpu->shared->running) == 0) { /* nobody ran */
		came_back(vcpu, 0);
		return;
	}
	dispatcher->report.withdrawals++;
	dispatcher->asked++;
	vcpu->asked = true;
	vcpu->asked_at = token_now();
}

/*
 * The guest says which thread is its vCPU's, so it is looked for among those of its process. Where that cannot be, or
 * Linux does not let us, the guest's threads bind themselves.
 */
static void bind_thread(struct lent *vcpu, uint32_t processor)
{
	char name[16];
	struct stat status;
	cpu_set_t set;
	struct token_page *page = vcpu->guest->page;
	uint32_t thread = load(&vcpu->shared->thread);
	if (vcpu->guest->tasks_fd < 0 || vcpu->bound == processor + 1 || thread == 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	(void)snprintf(name, sizeof name, "%" PRIu32, thread);
	if (fstatat(vcpu->guest->tasks_fd, name, &status, 0) == 0 &&
	    sched_setaffinity((pid_t)thread, sizeof set, &set) == 0) {
		vcpu->bound = processor + 1;
		return;
	}
	close(vcpu->guest->tasks_fd);
	vcpu->guest->tasks_fd = -1;
	__atomic_store_n(&page->bind, 1, __ATOMIC_RELAXED);
}

static void grant(struct dispatcher *dispatcher, struct place *place, struct lent *vcpu)
{
	place->holder = vcpu;
	vcpu->out = true;
	vcpu->asked = vcpu->late = false;
	vcpu->place = (unsigned)(place - dispatcher->place);
	vcpu->waits_for = NO_PLACE;
	dispatcher->report.grants++;
	bind_thread(vcpu, place->number);
	__atomic_store_n(&vcpu->shared->processor, place->number, __ATOMIC_RELAXED);
	publish(vcpu, TOKEN_RUN);
}

static void place_advance(struct dispatcher *dispatcher, struct place *place)
{
	struct lent *holder = place->holder;
	if (holder != NULL && !holder->asked) {
		if (holder == place->next)
			return;
		take_back(holder);
	}
	struct lent *next = place->next;
	if (place->holder == NULL && next != NULL && (!next->out || next->late))
		grant(dispatcher, place, next);
}

static void place_choose(struct dispatcher *dispatcher, unsigned number, struct lent *next)
{
	struct place *place = &dispatcher->place[number];
	if (place->next != NULL && place->next->waits_for == number)
		place->next->waits_for = NO_PLACE;
	if (next != NULL && next->waits_for != NO_PLACE)
		dispatcher->place[next->waits_for].next = NULL; /* which is decided anew, too */
	place->next = next;
	if (next != NULL && (next != place->holder || next->asked))
		next->waits_for = number;
	place_advance(dispatcher, place);
}

/* What waits is told why, if that is another reason now. */
static void tell_reasons(struct dispatched *guest)
{
	for (unsigned i = 0; i < guest->policy.vcpus; i++) {
		struct lent *vcpu = &guest->vcpu[i];
		if (vcpu->awake && !vcpu->out && vcpu->waits_for == NO_PLACE && token_kind(vcpu->token) != reason(vcpu))
			publish(vcpu, reason(vcpu));
	}
}

void tokens_settle(struct dispatcher *dispatcher, uint64_t now)
{
	struct sched_guest *changed;
	unsigned number;
	while (sched_set_take(&dispatcher->kicks, &number)) {
		struct sched_decision decision = sched_dispatch(dispatcher->sched, number, now, &dispatcher->kicks);
		struct dispatched *guest = decision.guest == NULL ? NULL : sched_guest_owner(decision.guest);
		dispatcher->report.decisions++;
		place_choose(dispatcher, number, guest == NULL ? NULL : &guest->vcpu[decision.vcpu]);
	}
	while ((changed = sched_changed(dispatcher->sched)) != NULL)
		tell_reasons(sched_guest_owner(changed));
}

static void look_at_vcpu(struct lent *vcpu, uint64_t now)
{
	struct dispatched *guest = vcpu->guest;
	struct dispatcher *dispatcher = guest->dispatcher;
	bool awake = (load(&vcpu->shared->want) & TOKEN_MASK) != TOKEN_IDLE;
	if (awake && !vcpu->awake)
		sched_wake(guest->sched, vcpu->index, now, &dispatcher->kicks);
	else if (!awake && vcpu->awake)
		sched_idle(guest->sched, vcpu->index, now, &dispatcher->kicks);
	vcpu->awake = awake;
	if (vcpu->asked && load(&vcpu->shared->running) == 0)
		came_back(vcpu, now);
}

void tokens_look(struct dispatched *guest, uint64_t now)
{
	for (unsigned i = 0; i < guest->policy.vcpus; i++)
		look_at_vcpu(&guest->vcpu[i], now);
}

static void give_up(struct lent *vcpu)
{
	struct dispatcher *dispatcher = vcpu->guest->dispatcher;
	struct place *place = &dispatcher->place[vcpu->place];
	dispatcher->asked--;
	dispatcher->report.late++;
	vcpu->guest->late++;
	vcpu->late = true;
	place->holder = NULL;
	place_advance(dispatcher, place);
	if (vcpu->waits_for != NO_PLACE)
		place_advance(dispatcher, &dispatcher->place[vcpu->waits_for]);
}

uint64_t tokens_overdue(struct dispatcher *dispatcher, uint64_t now)
{
	uint64_t next = SCHED_NEVER;
	for (unsigned i = 0; i < dispatcher->places && dispatcher->asked > 0; i++) {
		struct lent *holder = dispatcher->place[i].holder;
		if (holder == NULL || !holder->asked)
			continue;
		uint64_t due = holder->asked_at + DISPATCHER_LATE_NS;
		if (load(&holder->shared->running) == 0)
			came_back(holder, now);
		else if (due <= now)
			give_up(holder);
		else if (due < next)
			next = due;
	}
	return next;
}

/* Nothing is out, or waited for. */
static void forget(struct dispatched *guest)
{
	struct dispatcher *dispatcher = guest->dispatcher;
	for (unsigned i = 0; i < guest->policy.vcpus; i++) {
		struct lent *vcpu = &guest->vcpu[i];
		if (vcpu->asked && !vcpu->late)
			dispatcher->asked--;
		vcpu->out = vcpu->asked = vcpu->late = false;
		vcpu->waits_for = NO_PLACE;
	}
	for (unsigned i = 0; i < dispatcher->places; i++) {
		struct place *place = &dispatcher->place[i];
		if (place->holder != NULL && place->holder->guest == guest)
			place->holder = NULL;
		if (place->next != NULL && place->next->guest == guest)
			place->next = NULL;
	}
}

/* The lease before the tokens: who finds another token finds that it is scheduled. */
void tokens_attach(struct dispatched *guest)
{
	struct token_page *page = guest->page;
	uint64_t epoch = __atomic_load_n(&page->epoch, __ATOMIC_SEQ_CST);
	forget(guest);
	__atomic_store_n(&page->bind, guest->tasks_fd < 0, __ATOMIC_RELAXED);
	__atomic_store_n(&page->lease_until, guest->dispatcher->lease_until, __ATOMIC_SEQ_CST);
	__atomic_store_n(&page->epoch, (epoch | 1) + 2, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < guest->policy.vcpus; i++) {
		struct lent *vcpu = &guest->vcpu[i];
		vcpu->token = load(&vcpu->shared->token);
		vcpu->bound = 0; /* without a host it went where it liked */
		publish(vcpu, TOKEN_READY);
	}
}

void tokens_release(struct dispatched *guest)
{
	struct token_page *page = guest->page;
	uint64_t epoch = __atomic_load_n(&page->epoch, __ATOMIC_SEQ_CST);
	forget(guest);
	__atomic_store_n(&page->epoch, (epoch | 1) + 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < guest->policy.vcpus; i++)
		publish(&guest->vcpu[i], TOKEN_READY);
}
