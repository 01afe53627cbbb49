/* SPDX-License-Identifier: MIT */
/*
 * Guests whose threads work and sleep in turns, on a host that src/sched schedules, on virtual time.
 *
 * Theory of operation. Each virtual processor is one thread: it works, sleeps, and works again. Sleeps begin when work
 * is done and end by themselves, whether the guest has a processor or not, as disks and timers do. So how often a guest
 * gets round depends on how long it waited for a processor: that is what plan/sim.h, where work comes whatever becomes
 * of it, does not show. Work 0 is nothing but sleep, sleep 0 nothing but work.
 *
 * Events lie in one heap: the ends of sleeps and of what each processor does. Between them come the scheduler's own
 * deadlines. A processor that begins another virtual processor than its last one loses `switch_ns` to that.
 */
#ifndef NFOLD_BENCH_SCHEDULE_H
#define NFOLD_BENCH_SCHEDULE_H

#include <stddef.h>

#include "sched/sched.h"

enum schedule_spread { SCHEDULE_CONSTANT, SCHEDULE_UNIFORM, SCHEDULE_EXPONENTIAL };

struct schedule_samples {
	uint64_t *ns;
	size_t count, room;
};

/* Guests of one kind. */
struct schedule_group {
	const char *name;
	unsigned count;
	struct sched_guest_policy policy; /* of each */
	uint64_t work_ns, sleep_ns;	  /* means */
	enum schedule_spread spread;
};

struct schedule_task {
	struct sched_policy policy;
	uint64_t span_ns, switch_ns, seed;
	unsigned groups;
	const struct schedule_group *group;
};

struct schedule_guest_result {
	uint64_t work_ns, rounds;
	uint64_t time_ns[SCHED_STATES]; /* of all its virtual processors together */
};

struct schedule_group_result {
	struct schedule_guest_result *guest;
	/* Of each round that began with a wake-up: until it had a processor, and what it took beyond its work. Sorted.
	 */
	struct schedule_samples wake, late;
};

struct schedule_result {
	struct schedule_group_result *group;
	uint64_t decisions, switches;
	double processor_seconds; /* of this machine, for all of it */
};

/* False: out of memory, or a policy that the scheduler refuses. schedule_result_free() is for both. */
bool schedule_run(const struct schedule_task *task, struct schedule_result *result, struct error *error);
void schedule_result_free(const struct schedule_task *task, struct schedule_result *result);

#endif
