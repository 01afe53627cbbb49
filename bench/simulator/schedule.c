/* SPDX-License-Identifier: MIT */
#include "schedule.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "base/bits.h"
#include "sched/heap.h"

#define ENDLESS (UINT64_C(1) << 62)
#define NOWHERE UINT32_MAX

struct schedule;

struct event {
	struct heap_node node;
	void (*act)(struct schedule *schedule, struct event *event);
};

struct guest;

struct thread {
	struct event wakes;
	struct guest *guest;
	unsigned index;
	uint32_t processor;
	bool awake, waits; /* `waits`: it woke and has had no processor since */
	uint64_t woke, work, left;
	uint64_t debt; /* of changing to it: it works when that is paid */
};

struct guest {
	struct sched_guest *scheduled;
	const struct schedule_group *group;
	struct schedule_group_result *group_result;
	struct schedule_guest_result *result;
	struct thread *thread;
};

struct processor {
	struct event finish;
	struct thread *runs, *ran;
	uint64_t since;
};

struct schedule {
	const struct schedule_task *task;
	struct schedule_result *result;
	struct sched *sched;
	uint64_t now, random, order;
	struct heap events;
	unsigned guests;
	struct guest *guest;
	struct thread *thread;
	struct processor *processor;
	struct sched_set kicks;
	bool failed; /* out of memory */
};

/* splitmix64: Steele, Lea and Flood, OOPSLA 2014. */
static uint64_t random_next(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* At least 1: nothing takes no time. */
static uint64_t draw(struct schedule *schedule, enum schedule_spread spread, uint64_t mean)
{
	double fraction = ((double)(random_next(&schedule->random) >> 11) + 0.5) * 0x1p-53, ns = (double)mean;
	if (spread == SCHEDULE_UNIFORM)
		ns *= 2 * fraction;
	else if (spread == SCHEDULE_EXPONENTIAL)
		ns *= -log(fraction);
	return ns < 1 ? 1 : (uint64_t)ns;
}

static void sample_add(struct schedule *schedule, struct schedule_samples *samples, uint64_t ns)
{
	if (samples->count == samples->room) {
		size_t room = samples->room == 0 ? 1024 : samples->room * 2;
		uint64_t *more = realloc(samples->ns, room * sizeof *more);
		if (more == NULL) {
			schedule->failed = true;
			return;
		}
		samples->ns = more;
		samples->room = room;
	}
	samples->ns[samples->count++] = ns;
}

static void thread_wake(struct schedule *schedule, struct event *event)
{
	struct thread *thread = container_of(event, struct thread, wakes);
	const struct schedule_group *group = thread->guest->group;
	heap_remove(&schedule->events, &event->node);
	thread->work = group->sleep_ns == 0 ? ENDLESS : draw(schedule, group->spread, group->work_ns);
	thread->left = thread->work;
	thread->woke = schedule->now;
	thread->awake = true;
	thread->waits = thread->processor == NOWHERE;
	if (!thread->waits) { /* its processor was kept for it, by a strict or blind guest */
		struct processor *processor = &schedule->processor[thread->processor];
		processor->since = schedule->now;
		heap_put(&schedule->events, &processor->finish.node, schedule->now + thread->debt + thread->left);
		sample_add(schedule, &thread->guest->group_result->wake, 0);
	}
	sched_wake(thread->guest->scheduled, thread->index, schedule->now, &schedule->kicks);
}

static void thread_sleep(struct schedule *schedule, struct thread *thread)
{
	const struct schedule_group *group = thread->guest->group;
	thread->awake = false;
	heap_put(&schedule->events, &thread->wakes.node,
		 schedule->now + draw(schedule, group->spread, group->sleep_ns));
	sched_idle(thread->guest->scheduled, thread->index, schedule->now, &schedule->kicks);
}

/* What its thread has done since it was looked at last. */
static void processor_book(struct schedule *schedule, struct processor *processor)
{
	struct thread *thread = processor->runs;
	uint64_t ran = schedule->now - processor->since;
	processor->since = schedule->now;
	if (!thread->awake)
		return;
	uint64_t paid = ran < thread->debt ? ran : thread->debt;
	thread->debt -= paid;
	bug_if(ran - paid > thread->left);
	thread->left -= ran - paid;
	thread->guest->result->work_ns += ran - paid;
}

static void processor_finish(struct schedule *schedule, struct event *event)
{
	struct processor *processor = container_of(event, struct processor, finish);
	struct thread *thread = processor->runs;
	processor_book(schedule, processor);
	heap_remove(&schedule->events, &event->node);
	thread->guest->result->rounds++;
	sample_add(schedule, &thread->guest->group_result->late, schedule->now - thread->woke - thread->work);
	thread_sleep(schedule, thread);
}

static void processor_stop(struct schedule *schedule, struct processor *processor)
{
	struct thread *thread = processor->runs;
	if (thread == NULL)
		return;
	processor_book(schedule, processor);
	heap_remove(&schedule->events, &processor->finish.node);
	thread->processor = NOWHERE;
	thread->debt = 0;
	processor->runs = NULL;
}

static void processor_start(struct schedule *schedule, unsigned number, struct thread *thread)
{
	struct processor *processor = &schedule->processor[number];
	processor->runs = thread;
	processor->since = schedule->now;
	thread->processor = number;
	if (processor->ran != thread) {
		thread->debt = schedule->task->switch_ns;
		processor->ran = thread;
		schedule->result->switches++;
	}
	if (thread->waits)
		sample_add(schedule, &thread->guest->group_result->wake, schedule->now - thread->woke);
	thread->waits = false;
	if (thread->awake)
		heap_put(&schedule->events, &processor->finish.node, schedule->now + thread->debt + thread->left);
}

/* Carries out what the scheduler asks for, until it asks no more. */
static void settle(struct schedule *schedule)
{
	unsigned number;
	while (sched_set_take(&schedule->kicks, &number)) {
		processor_stop(schedule, &schedule->processor[number]);
		struct sched_decision decision =
		    sched_dispatch(schedule->sched, number, schedule->now, &schedule->kicks);
		schedule->result->decisions++;
		if (decision.guest == NULL)
			continue;
		struct guest *guest = sched_guest_owner(decision.guest);
		processor_start(schedule, number, &guest->thread[decision.vcpu]);
	}
}

static void simulate(struct schedule *schedule)
{
	while (!schedule->failed) {
		struct heap_node *head = heap_head(&schedule->events);
		uint64_t next = sched_next(schedule->sched), event = head == NULL ? SCHED_NEVER : head->key;
		bool is_event = event <= next;
		if ((is_event ? event : next) >= schedule->task->span_ns)
			break;
		schedule->now = is_event ? event : next;
		if (is_event) {
			struct event *first = container_of(head, struct event, node);
			first->act(schedule, first);
		} else {
			sched_advance(schedule->sched, schedule->now, &schedule->kicks);
		}
		settle(schedule);
	}
	schedule->now = schedule->task->span_ns;
	for (unsigned i = 0; i < schedule->task->policy.processors; i++)
		processor_stop(schedule, &schedule->processor[i]); /* books what was done */
}

static void event_make(struct schedule *schedule, struct event *event,
		       void (*act)(struct schedule *schedule, struct event *event))
{
	event->act = act;
	event->node.order = schedule->order++;
}

/* Threads begin at random in their rounds: all at once would be a schedule of its own. */
static bool guest_make(struct schedule *schedule, struct guest *guest, struct error *error)
{
	const struct schedule_group *group = guest->group;
	guest->scheduled = sched_guest_add(schedule->sched, &group->policy, guest, 0, error);
	if (guest->scheduled == NULL)
		return false;
	for (unsigned i = 0; i < group->policy.vcpus; i++) {
		struct thread *thread = &guest->thread[i];
		*thread = (struct thread){.guest = guest, .index = i, .processor = NOWHERE};
		event_make(schedule, &thread->wakes, thread_wake);
		uint64_t first = draw(schedule, SCHEDULE_UNIFORM, (group->work_ns + group->sleep_ns) / 2);
		if (group->sleep_ns == 0 || group->work_ns != 0)
			heap_put(&schedule->events, &thread->wakes.node, group->sleep_ns == 0 ? 0 : first);
	}
	return true;
}

static bool guests_make(struct schedule *schedule, struct error *error)
{
	struct thread *thread = schedule->thread;
	struct guest *guest = schedule->guest;
	for (unsigned g = 0; g < schedule->task->groups; g++) {
		const struct schedule_group *group = &schedule->task->group[g];
		struct schedule_group_result *result = &schedule->result->group[g];
		if ((result->guest = calloc((size_t)group->count + 1, sizeof *result->guest)) == NULL)
			return error_set(error, ERROR_HOST, "out of memory");
		for (unsigned i = 0; i < group->count; i++, guest++, thread += group->policy.vcpus) {
			*guest = (struct guest){
			    .group = group, .group_result = result, .result = &result->guest[i], .thread = thread};
			if (!guest_make(schedule, guest, error))
				return false;
			schedule->guests++;
		}
	}
	return true;
}

static bool schedule_make(struct schedule *schedule, struct error *error)
{
	const struct schedule_task *task = schedule->task;
	unsigned guests = 0, vcpus = 0, processors = task->policy.processors;
	for (unsigned g = 0; g < task->groups; g++) {
		guests += task->group[g].count;
		vcpus += task->group[g].count * task->group[g].policy.vcpus;
	}
	if ((schedule->sched = sched_create(&task->policy, error)) == NULL)
		return false;
	schedule->result->group = calloc((size_t)task->groups + 1, sizeof *schedule->result->group);
	schedule->guest = calloc((size_t)guests + 1, sizeof *schedule->guest);
	schedule->thread = calloc((size_t)vcpus + 1, sizeof *schedule->thread);
	schedule->processor = calloc(processors, sizeof *schedule->processor);
	if (schedule->result->group == NULL || schedule->guest == NULL || schedule->thread == NULL ||
	    schedule->processor == NULL || !heap_reserve(&schedule->events, vcpus + processors))
		return error_set(error, ERROR_HOST, "out of memory");
	for (unsigned i = 0; i < processors; i++)
		event_make(schedule, &schedule->processor[i].finish, processor_finish);
	return guests_make(schedule, error);
}

static int by_ns(const void *one, const void *other)
{
	uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
	return (a > b) - (a < b);
}

static void samples_sort(struct schedule_samples *samples)
{
	if (samples->count != 0)
		qsort(samples->ns, samples->count, sizeof *samples->ns, by_ns);
}

static void report(struct schedule *schedule)
{
	for (unsigned g = 0; g < schedule->guests; g++) {
		const struct guest *guest = &schedule->guest[g];
		for (unsigned i = 0; i < guest->group->policy.vcpus; i++)
			for (unsigned s = 0; s < SCHED_STATES; s++)
				guest->result->time_ns[s] +=
				    sched_time_in(guest->scheduled, i, (enum sched_state)s, schedule->now);
	}
	for (unsigned g = 0; g < schedule->task->groups; g++) {
		samples_sort(&schedule->result->group[g].wake);
		samples_sort(&schedule->result->group[g].late);
	}
}

static double processor_seconds(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

bool schedule_run(const struct schedule_task *task, struct schedule_result *result, struct error *error)
{
	struct schedule schedule = {.task = task, .result = result, .random = task->seed};
	*result = (struct schedule_result){0};
	bool good = schedule_make(&schedule, error);
	if (good) {
		double began = processor_seconds();
		simulate(&schedule);
		result->processor_seconds = processor_seconds() - began;
		report(&schedule);
		good = !schedule.failed || error_set(error, ERROR_HOST, "out of memory");
	}
	heap_free(&schedule.events);
	sched_destroy(schedule.sched);
	free(schedule.guest);
	free(schedule.thread);
	free(schedule.processor);
	return good;
}

void schedule_result_free(const struct schedule_task *task, struct schedule_result *result)
{
	for (unsigned g = 0; result->group != NULL && g < task->groups; g++) {
		free(result->group[g].guest);
		free(result->group[g].wake.ns);
		free(result->group[g].late.ns);
	}
	free(result->group);
	*result = (struct schedule_result){0};
}
