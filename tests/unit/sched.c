/* SPDX-License-Identifier: MIT */
/*
 * The scheduling policy on simulated hosts: what it promises, checked at every step of schedules made at random.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs what stands above. */
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sched/sched.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define SLICE (10 * MS)
#define WINDOW (100 * MS)
#define GUESTS_MAX 1024
#define SETTLE_MAX 10000 /* dispatches at one moment; more would be an endless loop */

/* What a vCPU does: `busy` of work, then `rest` of sleep; rest 0: always busy. With jitter both vary from 0 to twice
 * that. */
struct load {
	uint64_t busy, rest;
	bool jitter;
};

struct thread {
	struct load load;
	bool awake;
	uint64_t left;	/* of work */
	uint64_t wakes; /* when asleep */
	uint64_t used;
	uint64_t waits_since, longest_wait;
};

struct guest {
	struct sched_guest *of;
	struct sched_guest_policy policy;
	struct thread thread[8];
	uint64_t window_used, used_before;
};

struct host {
	struct sched *sched;
	unsigned processors, guests;
	uint64_t now, random, window, slice;
	struct guest guest[GUESTS_MAX];
	struct {
		struct guest *guest;
		unsigned vcpu;
	} runs[SCHED_PROCESSORS_MAX];
	struct sched_set kicks;
	uint64_t busy_ns, dispatches;
	void (*check)(struct host *host);
};

static uint64_t random_next(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t random_below(struct host *host, uint64_t limit)
{
	return random_next(&host->random) % limit;
}

static uint64_t vary(struct host *host, const struct load *load, uint64_t value)
{
	return load->jitter ? random_below(host, 2 * value) + 1 : value;
}

static struct host *host_make(unsigned processors, uint64_t seed)
{
	struct host *host = calloc(1, sizeof *host);
	const struct sched_policy policy = {.processors = processors, .slice_ns = SLICE, .window_ns = WINDOW};
	assert_non_null(host);
	host->sched = sched_create(&policy, NULL);
	assert_non_null(host->sched);
	host->processors = processors;
	host->random = seed;
	host->slice = SLICE;
	return host;
}

static void host_free(struct host *host)
{
	sched_destroy(host->sched);
	free(host);
}

static void wake(struct host *host, struct guest *guest, unsigned vcpu)
{
	struct thread *thread = &guest->thread[vcpu];
	thread->awake = true;
	thread->left = thread->load.rest == 0 ? UINT64_MAX : vary(host, &thread->load, thread->load.busy);
	thread->waits_since = host->now;
	sched_wake(guest->of, vcpu, host->now, &host->kicks);
}

static struct guest *guest_add(struct host *host, const struct sched_guest_policy *policy, struct load load)
{
	struct guest *guest = &host->guest[host->guests++];
	struct error error;
	*guest = (struct guest){.policy = *policy};
	guest->of = sched_guest_add(host->sched, policy, guest, host->now, &error);
	if (guest->of == NULL)
		fail_msg("%s", error.text);
	for (unsigned i = 0; i < policy->vcpus; i++) {
		guest->thread[i].load = load;
		guest->thread[i].wakes = host->now;
	}
	return guest;
}

static void dispatch(struct host *host, unsigned processor)
{
	struct guest *before = host->runs[processor].guest;
	if (before != NULL && before->of != NULL)
		before->thread[host->runs[processor].vcpu].waits_since = host->now;
	struct sched_decision decision = sched_dispatch(host->sched, processor, host->now, &host->kicks);
	host->dispatches++;
	host->runs[processor].guest = decision.guest == NULL ? NULL : sched_guest_owner(decision.guest);
	host->runs[processor].vcpu = decision.vcpu;
	if (decision.guest == NULL)
		return;
	struct thread *thread = &host->runs[processor].guest->thread[decision.vcpu];
	assert_true(thread->awake || host->runs[processor].guest->policy.coscheduling == SCHED_CO_STRICT);
	if (host->now - thread->waits_since > thread->longest_wait)
		thread->longest_wait = host->now - thread->waits_since;
}

static void settle(struct host *host)
{
	unsigned processor, count = 0;
	while (sched_set_take(&host->kicks, &processor)) {
		dispatch(host, processor);
		assert_true(count++ < SETTLE_MAX);
	}
	if (host->check != NULL)
		host->check(host);
}

static uint64_t next_event(struct host *host, uint64_t end)
{
	uint64_t next = sched_next(host->sched);
	for (unsigned i = 0; i < host->guests; i++) {
		struct guest *guest = &host->guest[i];
		for (unsigned k = 0; guest->of != NULL && k < guest->policy.vcpus; k++)
			if (!guest->thread[k].awake && guest->thread[k].wakes < next)
				next = guest->thread[k].wakes;
	}
	for (unsigned i = 0; i < host->processors; i++) {
		struct guest *guest = host->runs[i].guest;
		if (guest != NULL && guest->thread[host->runs[i].vcpu].awake &&
		    guest->thread[host->runs[i].vcpu].left < next - host->now)
			next = host->now + guest->thread[host->runs[i].vcpu].left;
	}
	return next < end ? next : end;
}

static void pass(struct host *host, uint64_t to)
{
	uint64_t span = to - host->now;
	for (unsigned i = 0; i < host->processors; i++) {
		struct guest *guest = host->runs[i].guest;
		if (guest == NULL)
			continue;
		struct thread *thread = &guest->thread[host->runs[i].vcpu];
		guest->window_used += span;
		if (!thread->awake)
			continue; /* it keeps its processor, to no use */
		thread->used += span;
		thread->left -= thread->left == UINT64_MAX ? 0 : span;
		host->busy_ns += span;
	}
	host->now = to;
}

static void check_windows(struct host *host)
{
	for (unsigned i = 0; i < host->guests; i++) {
		struct guest *guest = &host->guest[i];
		uint64_t limit = guest->policy.limit;
		if (limit != 0 && guest->of != NULL)
			assert_true(guest->window_used <= WINDOW * limit / SCHED_PROCESSOR);
		guest->window_used = 0;
	}
}

static void finish_work(struct host *host)
{
	for (unsigned i = 0; i < host->processors; i++) {
		struct guest *guest = host->runs[i].guest;
		unsigned vcpu = host->runs[i].vcpu;
		if (guest == NULL || !guest->thread[vcpu].awake || guest->thread[vcpu].left != 0)
			continue;
		struct thread *thread = &guest->thread[vcpu];
		thread->awake = false;
		thread->wakes = host->now + vary(host, &thread->load, thread->load.rest);
		sched_idle(guest->of, vcpu, host->now, &host->kicks);
		if (sched_set_has(&host->kicks, i))
			host->runs[i].guest = NULL;
	}
	for (unsigned i = 0; i < host->guests; i++) {
		struct guest *guest = &host->guest[i];
		for (unsigned k = 0; guest->of != NULL && k < guest->policy.vcpus; k++)
			if (!guest->thread[k].awake && guest->thread[k].wakes <= host->now)
				wake(host, guest, k);
	}
}

static void run(struct host *host, uint64_t span)
{
	uint64_t end = host->now + span;
	for (;;) {
		finish_work(host);
		sched_advance(host->sched, host->now, &host->kicks);
		settle(host);
		if (host->now >= end)
			return;
		uint64_t window_end = (host->now / WINDOW + 1) * WINDOW;
		uint64_t next = next_event(host, end < window_end ? end : window_end);
		pass(host, next);
		if (next == window_end)
			check_windows(host);
	}
}

static uint64_t used(const struct guest *guest)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < guest->policy.vcpus; i++)
		sum += guest->thread[i].used;
	return sum;
}

static void assert_near(double got, double wanted, double tolerance)
{
	if (fabs(got - wanted) > tolerance)
		fail_msg("got %.4f, wanted %.4f within %.4f", got, wanted, tolerance);
}

static const struct load always = {.busy = 1};

/* What each guest should get of `processors`: by shares, but not more than its vCPUs or limit can use. */
static void water_fill(const struct host *host, double *ideal)
{
	double left = host->processors;
	bool full[GUESTS_MAX] = {0};
	for (bool again = true; again;) {
		double shares = 0;
		again = false;
		for (unsigned i = 0; i < host->guests; i++)
			shares += full[i] ? 0 : host->guest[i].policy.shares;
		for (unsigned i = 0; i < host->guests && !again; i++) {
			const struct sched_guest_policy *policy = &host->guest[i].policy;
			double most = policy->vcpus, part = left * policy->shares / shares;
			if (policy->limit != 0 && (double)policy->limit / 1e6 < most)
				most = (double)policy->limit / 1e6;
			if (full[i])
				continue;
			ideal[i] = part;
			if (part >= most) {
				ideal[i] = most;
				left -= most;
				full[i] = again = true;
			}
		}
	}
}

/* ---- invariants, at every step ---- */

static void nobody_waits_beside_an_idle_processor(struct host *host)
{
	bool idle = false;
	for (unsigned i = 0; i < host->processors; i++)
		idle = idle || host->runs[i].guest == NULL;
	for (unsigned i = 0; idle && i < host->guests; i++)
		for (unsigned k = 0; host->guest[i].of != NULL && k < host->guest[i].policy.vcpus; k++)
			assert_int_not_equal(sched_state_of(host->guest[i].of, k), SCHED_READY);
}

static void gangs_are_whole(struct host *host)
{
	for (unsigned i = 0; i < host->guests; i++) {
		struct guest *guest = &host->guest[i];
		unsigned running = 0;
		if (guest->of == NULL || guest->policy.coscheduling != SCHED_CO_STRICT)
			continue;
		for (unsigned k = 0; k < host->processors; k++)
			running += host->runs[k].guest == guest;
		if (running != 0 && running != guest->policy.vcpus)
			fail_msg("%u of %u run", running, guest->policy.vcpus);
	}
}

/* ---- cases ---- */

static void shares_are_honoured(void **state)
{
	static const uint32_t shares[] = {1000, 2000, 4000, 8000};
	struct host *host = host_make(1, 1);
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		guest_add(host, &(struct sched_guest_policy){.vcpus = 1, .shares = shares[i]}, always);
	run(host, 30 * SECOND);
	for (unsigned i = 0; i < 4; i++)
		assert_near((double)used(&host->guest[i]) / 30e9, shares[i] / 15000.0, 0.01 * shares[i] / 15000.0);
	host_free(host);
}

static void shares_on_any_host(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 150; seed++) {
		struct host *host = host_make(1 + (unsigned)(seed % 9), seed);
		double ideal[GUESTS_MAX];
		unsigned guests = 1 + (unsigned)random_below(host, 24);
		host->check = nobody_waits_beside_an_idle_processor;
		for (unsigned i = 0; i < guests; i++)
			guest_add(host,
				  &(struct sched_guest_policy){.vcpus = 1 + (unsigned)random_below(host, 4),
							       .shares = 100 + (uint32_t)random_below(host, 8000)},
				  always);
		run(host, 2 * SECOND);
		for (unsigned i = 0; i < guests; i++)
			host->guest[i].used_before = used(&host->guest[i]);
		run(host, 60 * SECOND);
		water_fill(host, ideal);
		for (unsigned i = 0; i < guests; i++) {
			struct guest *guest = &host->guest[i];
			assert_near((double)(used(guest) - guest->used_before) / 60e9, ideal[i],
				    0.01 * ideal[i] + 0.001);
		}
		host_free(host);
	}
}

static void a_thousand_share(void **state)
{
	struct host *host = host_make(4, 7);
	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		guest_add(host, &(struct sched_guest_policy){.vcpus = 1, .shares = 1000}, always);
	run(host, 50 * SECOND);
	for (unsigned i = 0; i < 1000; i++)
		assert_near((double)used(&host->guest[i]) / 50e9, 0.004, 0.0004);
	host_free(host);
}

/* Guests that come and go have waits that are bounded: nobody starves, no wake-up is lost. */
static void nobody_starves(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 100; seed++) {
		struct host *host = host_make(1 + (unsigned)(seed % 4), seed);
		unsigned guests = 2 + (unsigned)random_below(host, 12);
		host->check = nobody_waits_beside_an_idle_processor;
		for (unsigned i = 0; i < guests; i++) {
			struct load load = {.busy = 1 + random_below(host, 20 * MS),
					    .rest = random_below(host, 30 * MS),
					    .jitter = true};
			guest_add(
			    host,
			    &(struct sched_guest_policy){.vcpus = 1 + (unsigned)random_below(host, 3), .shares = 1000},
			    load);
		}
		run(host, 20 * SECOND);
		for (unsigned i = 0; i < guests; i++)
			for (unsigned k = 0; k < host->guest[i].policy.vcpus; k++) {
				assert_true(host->guest[i].thread[k].used > 0);
				assert_true(host->guest[i].thread[k].longest_wait < guests * 8 * SLICE);
			}
		host_free(host);
	}
}

static void limits_hold_in_every_window(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 100; seed++) {
		struct host *host = host_make(1 + (unsigned)(seed % 4), seed);
		double ideal[GUESTS_MAX];
		unsigned guests = 1 + (unsigned)random_below(host, 6);
		for (unsigned i = 0; i < guests; i++) {
			unsigned vcpus = 1 + (unsigned)random_below(host, 4);
			uint64_t limit = 10000 + random_below(host, vcpus * SCHED_PROCESSOR);
			guest_add(host, &(struct sched_guest_policy){.vcpus = vcpus, .shares = 1000, .limit = limit},
				  always);
		}
		run(host, 20 * SECOND);
		water_fill(host, ideal);
		unsigned vcpus = 0;
		for (unsigned i = 0; i < guests; i++)
			vcpus += host->guest[i].policy.vcpus;
		/* What the limit leaves is had where there is room: a guest that waits at first may be too narrow
		 * afterwards. */
		for (unsigned i = 0; i < guests; i++)
			assert_near((double)used(&host->guest[i]) / 20e9, ideal[i],
				    (vcpus <= host->processors ? 0.01 : 0.25) * ideal[i] + 0.001);
		host_free(host);
	}
}

static void reservations_are_kept(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 100; seed++) {
		unsigned processors = 1 + (unsigned)(seed % 6);
		struct host *host = host_make(processors, seed);
		uint64_t left = processors * SCHED_PROCESSOR * 95 / 100;
		unsigned guests = 3 + (unsigned)random_below(host, 8);
		for (unsigned i = 0; i < guests; i++) {
			unsigned vcpus = 1 + (unsigned)random_below(host, 3);
			uint64_t most = left < vcpus * SCHED_PROCESSOR ? left : vcpus * SCHED_PROCESSOR;
			uint64_t reservation = random_below(host, most * 9 / 10 + 1);
			left -= reservation;
			guest_add(host,
				  &(struct sched_guest_policy){.vcpus = vcpus,
							       .shares = 1 + (uint32_t)random_below(host, 10000),
							       .reservation = reservation},
				  always);
		}
		run(host, SECOND);
		for (unsigned second = 0; second < 10; second++) {
			for (unsigned i = 0; i < guests; i++)
				host->guest[i].used_before = used(&host->guest[i]);
			run(host, SECOND);
			for (unsigned i = 0; i < guests; i++) {
				struct guest *guest = &host->guest[i];
				double got = (double)(used(guest) - guest->used_before) / 1e9;
				double kept = (double)guest->policy.reservation / 1e6;
				if (got < kept - 0.06)
					fail_msg("seed %u: got %.3f of %.3f", (unsigned)seed, got, kept);
			}
		}
		host_free(host);
	}
}

static void a_reservation_that_does_not_fit_is_refused(void **state)
{
	struct host *host = host_make(2, 1);
	struct error error;
	struct sched_guest_policy policy = {.vcpus = 2, .reservation = 3 * SCHED_PROCESSOR / 2};
	(void)state;
	guest_add(host, &policy, always);
	policy.reservation = SCHED_PROCESSOR * 6 / 10;
	assert_null(sched_guest_add(host->sched, &policy, NULL, 0, &error));
	policy.reservation = SCHED_PROCESSOR * 4 / 10;
	struct sched_guest *other = sched_guest_add(host->sched, &policy, NULL, 0, &error);
	assert_non_null(other);
	assert_false(sched_guest_change(other, 1000, SCHED_PROCESSOR, 0, 0, &host->kicks, &error));
	assert_true(sched_guest_change(other, 1000, SCHED_PROCESSOR / 2, 0, 0, &host->kicks, &error));
	policy.affinity.word[0] = 1;
	policy.reservation = 1;
	assert_null(sched_guest_add(host->sched, &policy, NULL, 0, &error));
	host_free(host);
}

static void affinity_and_dedicated_processors(void **state)
{
	struct host *host = host_make(4, 3);
	struct sched_guest_policy policy = {.vcpus = 1, .shares = 1000};
	(void)state;
	policy.affinity.word[0] = 1;
	for (unsigned i = 0; i < 3; i++)
		guest_add(host, &policy, always);
	policy.affinity.word[0] = 3;
	struct guest *wide = guest_add(host, &policy, always);
	policy.affinity.word[0] = 0;
	policy.vcpus = 2;
	policy.dedicated = true;
	struct guest *own = guest_add(host, &policy, always);
	run(host, 30 * SECOND);
	for (unsigned i = 0; i < 3; i++)
		assert_near((double)used(&host->guest[i]) / 30e9, 1.0 / 3, 0.005);
	assert_near((double)used(wide) / 30e9, 1, 0.01);
	assert_near((double)used(own) / 30e9, 2, 0.0001);
	/* The fourth and the third processor are gone. */
	policy.affinity.word[0] = 12;
	assert_null(sched_guest_add(host->sched, &policy, NULL, host->now, NULL));
	sched_guest_remove(own->of, host->now, &host->kicks);
	own->of = NULL;
	for (unsigned i = 0; i < host->processors; i++)
		if (host->runs[i].guest == own)
			host->runs[i].guest = NULL;
	policy.dedicated = false;
	struct guest *late = guest_add(host, &policy, always);
	run(host, 10 * SECOND);
	assert_near((double)used(late) / 10e9, 2, 0.001);
	host_free(host);
}

/* No vCPU's progress is ahead of a sibling's by more than the skew; seen by what each has used and slept. */
static void relaxed_keeps_the_skew(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 60; seed++) {
		struct host *host = host_make(1 + (unsigned)(seed % 4), seed);
		unsigned guests = 2 + (unsigned)random_below(host, 5);
		for (unsigned i = 0; i < guests; i++)
			guest_add(host,
				  &(struct sched_guest_policy){.vcpus = 1 + (unsigned)random_below(host, 4),
							       .shares = 1000,
							       .coscheduling = SCHED_CO_RELAXED,
							       .skew_ns = 3 * MS},
				  always);
		for (unsigned step = 0; step < 5000; step++) {
			run(host, MS);
			for (unsigned i = 0; i < guests; i++)
				for (unsigned k = 1; k < host->guest[i].policy.vcpus; k++)
					assert_true(llabs((long long)(host->guest[i].thread[k].used -
								      host->guest[i].thread[0].used)) <=
						    (long long)(3 * MS));
		}
		host_free(host);
	}
}

static void strict_runs_all_or_none(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 100; seed++) {
		unsigned processors = 2 + (unsigned)(seed % 5);
		struct host *host = host_make(processors, seed);
		unsigned guests = 2 + (unsigned)random_below(host, 6);
		host->check = gangs_are_whole;
		for (unsigned i = 0; i < guests; i++) {
			unsigned most = processors < 4 ? processors : 4;
			struct load load = {.busy = 1 + random_below(host, 20 * MS),
					    .rest = random_below(host, 3) * MS * 10,
					    .jitter = true};
			guest_add(
			    host,
			    &(struct sched_guest_policy){.vcpus = 1 + (unsigned)random_below(host, most),
							 .shares = 1000,
							 .coscheduling = i % 3 == 0 ? SCHED_CO_NONE : SCHED_CO_STRICT},
			    load);
		}
		run(host, 20 * SECOND);
		for (unsigned i = 0; i < guests; i++)
			for (unsigned k = 0; k < host->guest[i].policy.vcpus; k++)
				assert_true(host->guest[i].thread[k].used > 0);
		host_free(host);
	}
}

/* Two guests of two threads, busy for 55 % of the time each, on two processors: the price of co-scheduling. */
static double shelden(enum sched_coscheduling coscheduling, bool idle_is_seen)
{
	struct host *host = host_make(2, 5);
	struct load load = {.busy = 11 * MS, .rest = 9 * MS, .jitter = true};
	uint64_t span = 200 * SECOND;
	for (unsigned i = 0; i < 2; i++)
		guest_add(host, &(struct sched_guest_policy){.vcpus = 2, .shares = 1000, .coscheduling = coscheduling},
			  idle_is_seen ? load : always);
	run(host, span);
	double busy = (double)host->busy_ns / (double)(2 * span);
	host_free(host);
	return idle_is_seen ? busy : busy * 0.55;
}

static void co_scheduling_has_its_price(void **state)
{
	(void)state;
	double strict = shelden(SCHED_CO_STRICT, true), relaxed = shelden(SCHED_CO_RELAXED, true);
	double none = shelden(SCHED_CO_NONE, true), blind = shelden(SCHED_CO_STRICT, false);
	print_message("busy: strict %.3f, relaxed %.3f, none %.3f, strict without idle detection %.3f\n", strict,
		      relaxed, none, blind);
	assert_true(strict < relaxed && relaxed <= none + 0.01);
	assert_near(blind, 0.55, 0.01);
}

/* One that works briefly and waits for its disk, beside one that never stops, on one processor. */
static void io_is_served_at_once(void **state)
{
	struct host *host = host_make(1, 9);
	struct load io = {.busy = MS / 5, .rest = MS};
	(void)state;
	struct guest *disk = guest_add(host, &(struct sched_guest_policy){.vcpus = 1, .shares = 1000}, io);
	struct guest *hog = guest_add(host, &(struct sched_guest_policy){.vcpus = 1, .shares = 1000}, always);
	run(host, 30 * SECOND);
	assert_true((double)used(disk) / 30e9 > 0.95 / 6);
	assert_true((double)used(hog) / 30e9 > 0.8);
	host_free(host);
}

/* Sleeping for a moment again and again gains nothing. */
static void the_boost_cannot_be_abused(void **state)
{
	struct host *host = host_make(1, 9);
	struct load sly = {.busy = 9 * MS, .rest = 1000};
	(void)state;
	struct guest *abuser = guest_add(host, &(struct sched_guest_policy){.vcpus = 1, .shares = 1000}, sly);
	guest_add(host, &(struct sched_guest_policy){.vcpus = 1, .shares = 1000}, always);
	run(host, 30 * SECOND);
	assert_true((double)used(abuser) / 30e9 < 0.51);
	host_free(host);
}

/* Everything at once, in any order: states sum to the time, and nothing goes on for ever. */
static void anything_may_happen(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 200; seed++) {
		struct host *host = host_make(1 + (unsigned)(seed % 8), seed * 77);
		uint64_t born[GUESTS_MAX];
		for (unsigned step = 0; step < 200; step++) {
			unsigned pick = host->guests == 0 ? 0 : (unsigned)random_below(host, host->guests);
			struct guest *guest = &host->guest[pick];
			if (random_below(host, 4) == 0 && host->guests < 60) {
				struct load load = {.busy = 1 + random_below(host, 20 * MS),
						    .rest = random_below(host, 2) * 5 * MS,
						    .jitter = true};
				struct sched_guest_policy policy = {
				    .vcpus = 1 + (unsigned)random_below(host, 4),
				    .shares = 1 + (uint32_t)random_below(host, 5000),
				    .reservation =
					random_below(host, 3) == 0 ? random_below(host, SCHED_PROCESSOR / 4) : 0,
				    .limit = random_below(host, 4) == 0
						 ? SCHED_PROCESSOR / 4 + random_below(host, SCHED_PROCESSOR)
						 : 0,
				    .dedicated = random_below(host, 12) == 0,
				    .coscheduling = (enum sched_coscheduling)random_below(host, 3)};
				if (random_below(host, 3) == 0)
					policy.affinity.word[0] = random_below(host, UINT64_C(1) << host->processors);
				struct error error;
				struct sched_guest *of = sched_guest_add(host->sched, &policy, NULL, host->now, &error);
				if (of != NULL) {
					sched_guest_remove(of, host->now, &host->kicks);
					born[host->guests] = host->now;
					guest_add(host, &policy, load);
				}
			} else if (host->guests > 0 && guest->of != NULL && random_below(host, 8) == 0) {
				for (unsigned i = 0; i < host->processors; i++)
					if (host->runs[i].guest == guest)
						host->runs[i].guest = NULL;
				sched_guest_remove(guest->of, host->now, &host->kicks);
				guest->of = NULL;
			} else if (host->guests > 0 && guest->of != NULL && random_below(host, 4) == 0) {
				uint64_t limit = guest->policy.limit;
				for (unsigned i = 0; i < host->processors; i++)
					if (host->runs[i].guest == guest)
						host->runs[i].guest = NULL;
				(void)sched_guest_change(guest->of, 1 + (uint32_t)random_below(host, 5000), 0, limit,
							 host->now, &host->kicks, NULL);
				guest->window_used = 0;
				host->now = (host->now / WINDOW + 1) * WINDOW; /* a change begins a window of its own */
				for (unsigned i = 0; i < host->guests; i++)
					host->guest[i].window_used = 0;
			}
			run(host, random_below(host, 50 * MS));
		}
		for (unsigned i = 0; i < host->guests; i++)
			for (unsigned k = 0; host->guest[i].of != NULL && k < host->guest[i].policy.vcpus; k++) {
				uint64_t sum = 0;
				for (unsigned each = 0; each < SCHED_STATES; each++)
					sum += sched_time_in(host->guest[i].of, k, (enum sched_state)each, host->now);
				assert_true(sum == host->now - born[i]);
			}
		host_free(host);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(shares_are_honoured),
	    cmocka_unit_test(shares_on_any_host),
	    cmocka_unit_test(a_thousand_share),
	    cmocka_unit_test(nobody_starves),
	    cmocka_unit_test(limits_hold_in_every_window),
	    cmocka_unit_test(reservations_are_kept),
	    cmocka_unit_test(a_reservation_that_does_not_fit_is_refused),
	    cmocka_unit_test(affinity_and_dedicated_processors),
	    cmocka_unit_test(relaxed_keeps_the_skew),
	    cmocka_unit_test(strict_runs_all_or_none),
	    cmocka_unit_test(co_scheduling_has_its_price),
	    cmocka_unit_test(io_is_served_at_once),
	    cmocka_unit_test(the_boost_cannot_be_abused),
	    cmocka_unit_test(anything_may_happen),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
