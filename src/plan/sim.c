/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "plan/sim-impl.h"

void sim_event_make(struct sim *sim, struct sim_event *event, void (*act)(struct sim *sim, struct sim_event *event))
{
	event->act = act;
	event->node.order = sim->order++;
}

/* Before memory and time are spent: what will happen, roughly. */
static double events_expected(const struct sim_task *task)
{
	double seconds = (double)task->slot_ns / 1e9, sum = 0;
	for (size_t i = 0; i < (size_t)task->guests * task->slots; i++) {
		const struct sim_load *load = &task->load[i];
		double processors = load->processors < SCHED_VCPUS_MAX ? load->processors : SCHED_VCPUS_MAX;
		sum += seconds * 2 * processors * 1e9 / task->burst.mean_ns;
		for (unsigned d = 0; d < SIM_DEVICES; d++) {
			double rate =
			    load->request[d].rate < SIM_REQUESTS_MAX ? load->request[d].rate : SIM_REQUESTS_MAX;
			sum += task->device[d].channels != 0 ? seconds * 2 * rate : 0;
		}
	}
	return sum;
}

static bool guest_make(struct sim *sim, unsigned number, struct sim_thread *thread, struct error *error)
{
	struct sim_guest *guest = &sim->guest[number];
	const struct sched_guest_policy *policy = &sim->task->guest[number];
	guest->number = number;
	guest->vcpus = policy->vcpus;
	guest->thread = thread;
	guest->random = sim->task->seed + number * UINT64_C(0xd1342543de82ef95);
	guest->random = sim_random(&guest->random);
	for (unsigned i = 0; i < policy->vcpus; i++)
		thread[i] = (struct sim_thread){.guest = guest, .index = i, .processor = NOWHERE};
	sim_event_make(sim, &guest->next_burst, sim_guest_burst_came);
	for (unsigned d = 0; d < SIM_DEVICES; d++) {
		guest->source[d] = (struct sim_source){.guest = guest, .device = &sim->device[d]};
		sim_event_make(sim, &guest->source[d].next, sim_device_request_came);
	}
	guest->scheduled = sched_guest_add(sim->sched, policy, guest, 0, error);
	return guest->scheduled != NULL;
}

static bool sim_make(struct sim *sim, const struct sim_task *task, struct error *error)
{
	unsigned processors = task->policy.processors, channels = 0;
	size_t vcpus = 0;
	for (unsigned g = 0; g < task->guests; g++)
		vcpus += task->guest[g].vcpus;
	*sim = (struct sim){.task = task, .end = task->slots * task->slot_ns};
	if ((sim->sched = sched_create(&task->policy, error)) == NULL)
		return false;
	sim->guest = calloc((size_t)task->guests + 1, sizeof *sim->guest);
	sim->thread = calloc(vcpus + 1, sizeof *sim->thread);
	sim->processor = calloc(processors, sizeof *sim->processor);
	bool good = sim->guest != NULL && sim->thread != NULL && sim->processor != NULL;
	for (unsigned d = 0; d < SIM_DEVICES; d++) {
		good = good && sim_device_make(sim, (enum sim_kind)d);
		channels += task->device[d].channels;
	}
	if (!good || !heap_reserve(&sim->events, task->guests * (1 + SIM_DEVICES) + processors + channels + 1))
		return error_set(error, ERROR_HOST, "out of memory");
	for (unsigned i = 0; i < processors; i++)
		sim_event_make(sim, &sim->processor[i].finish, sim_processor_finish);
	struct sim_thread *thread = sim->thread;
	for (unsigned g = 0; g < task->guests; thread += task->guest[g++].vcpus)
		if (!guest_make(sim, g, thread, error))
			return false;
	return true;
}

static void sim_free(struct sim *sim)
{
	for (struct sim_thread *thread = sim->thread; thread != NULL && thread->guest != NULL; thread++)
		sim_queue_free(&thread->interrupts); /* one more is there, and empty */
	for (unsigned g = 0; sim->guest != NULL && g < sim->task->guests; g++)
		sim_queue_free(&sim->guest[g].bursts);
	for (unsigned d = 0; d < SIM_DEVICES; d++)
		sim_device_free(&sim->device[d]);
	heap_free(&sim->events);
	sched_destroy(sim->sched);
	free(sim->guest);
	free(sim->thread);
	free(sim->processor);
}

/* Carries out what the scheduler asks for, until it asks no more. */
static void settle(struct sim *sim)
{
	unsigned number;
	while (sched_set_take(&sim->kicks, &number)) {
		sim_processor_stop(sim, number);
		struct sched_decision decision = sched_dispatch(sim->sched, number, sim->now, &sim->kicks);
		sim->decisions++;
		if (decision.guest == NULL)
			continue;
		struct sim_guest *guest = sched_guest_owner(decision.guest);
		sim_processor_start(sim, number, &guest->thread[decision.vcpu]);
	}
}

static void pass(struct sim *sim, uint64_t to)
{
	double span = (double)(to - sim->now);
	unsigned processors = sim->task->policy.processors, waiting = sim->awake - sim->working;
	unsigned idle = processors - sim->working; /* a processor kept for an idle vCPU counts as idle */
	sim->busy += span * sim->working;
	sim->spare += span * (idle < waiting ? idle : waiting);
	for (unsigned d = 0; d < SIM_DEVICES; d++)
		sim->device[d].busy += span * sim->device[d].busy_channels;
	sim->now = to;
}

static void slot_run(struct sim *sim, uint64_t end)
{
	for (unsigned g = 0; g < sim->task->guests; g++)
		sim_guest_rates(sim, &sim->guest[g]);
	while (!sim->failed) {
		struct heap_node *head = heap_head(&sim->events);
		uint64_t next = sched_next(sim->sched), event = head == NULL ? SCHED_NEVER : head->key;
		bool is_event = event <= next;
		if ((is_event ? event : next) >= end)
			break;
		pass(sim, is_event ? event : next);
		if (is_event) {
			struct sim_event *first = container_of(head, struct sim_event, node);
			sim->count++;
			first->act(sim, first);
		} else {
			sched_advance(sim->sched, sim->now, &sim->kicks);
		}
		settle(sim);
	}
	pass(sim, end);
}

static void guest_report(const struct sim *sim, const struct sim_guest *guest, struct sim_guest_result *result)
{
	*result = (struct sim_guest_result){.asked_ns = guest->asked,
					    .done_ns = guest->done,
					    .burst = sim_tally_delay(&guest->burst_delay),
					    .saturated = guest->saturated};
	for (unsigned d = 0; d < SIM_DEVICES; d++) {
		result->io[d] = sim_tally_delay(&guest->source[d].io_delay);
		result->queue[d] = sim_tally_delay(&guest->source[d].queue_delay);
	}
	for (unsigned i = 0; i < guest->vcpus; i++)
		for (unsigned s = 0; s < SCHED_STATES; s++)
			result->time_ns[s] += (double)sched_time_in(guest->scheduled, i, (enum sched_state)s, sim->now);
}

static bool result_make(struct sim *sim, struct sim_result *result, struct error *error)
{
	for (unsigned i = 0; i < sim->task->policy.processors; i++)
		sim_processor_stop(sim, i); /* books what was done */
	*result = (struct sim_result){.guest = calloc((size_t)sim->task->guests + 1, sizeof *result->guest),
				      .span_ns = sim->now,
				      .busy_ns = sim->busy,
				      .spare_ns = sim->spare,
				      .decisions = sim->decisions,
				      .events = sim->count};
	if (result->guest == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	for (unsigned d = 0; d < SIM_DEVICES; d++)
		if (sim->device[d].is->channels != 0 && sim->now != 0)
			result->device_busy[d] = sim->device[d].busy / ((double)sim->now * sim->device[d].is->channels);
	for (unsigned g = 0; g < sim->task->guests; g++)
		guest_report(sim, &sim->guest[g], &result->guest[g]);
	return true;
}

bool sim_run(const struct sim_task *task, struct sim_result *result, struct error *error)
{
	struct sim sim;
	double expected = events_expected(task);
	*result = (struct sim_result){0};
	if (!(expected <= SIM_EVENTS_MAX))
		return error_set(error, ERROR_INPUT,
				 "about %.2g events are too many to simulate: make the window shorter or bursts longer",
				 expected);
	bool good = sim_make(&sim, task, error);
	for (; good && sim.slot < task->slots && !sim.failed; sim.slot++)
		slot_run(&sim, (sim.slot + 1) * task->slot_ns);
	good =
	    good && (!sim.failed || error_set(error, ERROR_HOST, "out of memory")) && result_make(&sim, result, error);
	sim_free(&sim);
	return good;
}

void sim_result_free(struct sim_result *result)
{
	free(result->guest);
	*result = (struct sim_result){0};
}
