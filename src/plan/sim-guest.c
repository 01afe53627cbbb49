/* SPDX-License-Identifier: MIT */
/* The simulator's guests: bursts come, vCPUs take them, processors run vCPUs. */
#include "plan/sim-impl.h"

#define INTERRUPTS_SHARE 0.5 /* of a guest's processor demand, at most */

static const struct sim_load *load_of(const struct sim *sim, const struct sim_guest *guest)
{
	return &sim->task->load[(size_t)guest->number * sim->task->slots + sim->slot];
}

/* Arrivals from now on. */
static void event_start(struct sim *sim, struct sim_guest *guest, struct sim_event *event, double rate)
{
	if (rate > 0)
		heap_put(&sim->events, &event->node, sim->now + sim_draw_gap(&guest->random, rate));
	else
		heap_remove(&sim->events, &event->node);
}

void sim_guest_rates(struct sim *sim, struct sim_guest *guest)
{
	const struct sim_task *task = sim->task;
	const struct sim_load *load = load_of(sim, guest);
	double wanted = load->processors, requests = 0; /* of all devices, a ns */
	/* More than all its vCPUs cannot be done; its queue would only grow. */
	guest->saturated = guest->saturated || wanted >= guest->vcpus;
	wanted = wanted < guest->vcpus ? wanted : guest->vcpus;
	for (unsigned d = 0; d < SIM_DEVICES; d++) {
		struct sim_source *source = &guest->source[d];
		double rate = load->request[d].rate < SIM_REQUESTS_MAX ? load->request[d].rate : SIM_REQUESTS_MAX;
		source->rate = task->device[d].channels != 0 && rate > 0 ? rate / 1e9 : 0;
		source->service_ns = sim_device_service(&task->device[d], load->request[d].bytes);
		requests += source->rate;
	}
	guest->interrupt_ns = requests > 0 ? wanted * INTERRUPTS_SHARE / requests : 0;
	if (guest->interrupt_ns > task->interrupt_ns)
		guest->interrupt_ns = task->interrupt_ns;
	guest->burst_rate = (wanted - requests * guest->interrupt_ns) / task->burst.mean_ns;
	event_start(sim, guest, &guest->next_burst, guest->burst_rate);
	for (unsigned d = 0; d < SIM_DEVICES; d++)
		event_start(sim, guest, &guest->source[d].next, guest->source[d].rate);
}

/* It has something to do, and is dispatched or will be. */
static void thread_wake(struct sim *sim, struct sim_thread *thread)
{
	thread->awake = true;
	sim->awake++;
	if (thread->processor != NOWHERE) { /* kept for it, by a strict guest */
		struct sim_processor *processor = &sim->processor[thread->processor];
		processor->since = sim->now;
		sim->working++;
		heap_put(&sim->events, &processor->finish.node, sim->now + thread->left);
	}
	sched_wake(thread->guest->scheduled, thread->index, sim->now, &sim->kicks);
}

static void burst_take(struct sim_thread *thread, struct sim_entry burst)
{
	thread->burst = burst;
	thread->has_burst = true;
	thread->left = burst.work;
}

static struct sim_thread *thread_idle(const struct sim_guest *guest)
{
	for (unsigned i = 0; i < guest->vcpus; i++)
		if (!guest->thread[i].awake)
			return &guest->thread[i];
	return NULL;
}

void sim_guest_burst_came(struct sim *sim, struct sim_event *event)
{
	struct sim_guest *guest = container_of(event, struct sim_guest, next_burst);
	struct sim_thread *idle = thread_idle(guest);
	const struct sim_entry burst = {.at = sim->now, .work = sim_draw(&guest->random, &sim->task->burst)};
	guest->asked += (double)burst.work;
	heap_put(&sim->events, &event->node, sim->now + sim_draw_gap(&guest->random, guest->burst_rate));
	if (idle == NULL) {
		sim->failed = sim->failed || !sim_queue_push(&guest->bursts, burst);
		return;
	}
	burst_take(idle, burst);
	thread_wake(sim, idle);
}

/* What its thread has done since it was looked at last. */
static void processor_book(struct sim *sim, struct sim_processor *processor)
{
	struct sim_thread *thread = processor->runs;
	if (thread->awake) {
		uint64_t ran = sim->now - processor->since;
		bug_if(ran > thread->left);
		thread->left -= ran;
		thread->guest->done += (double)ran;
	}
	processor->since = sim->now;
}

void sim_guest_interrupt(struct sim *sim, struct sim_source *source, uint64_t waited)
{
	struct sim_guest *guest = source->guest;
	struct sim_thread *thread = &guest->thread[sim_random(&guest->random) % guest->vcpus];
	uint64_t work = guest->interrupt_ns > 1 ? (uint64_t)guest->interrupt_ns : 1;
	bool runs = thread->processor != NOWHERE;
	guest->asked += (double)work;
	if (runs)
		sim_tally_add(&source->io_delay, waited);
	else if (!sim_queue_push(
		     &thread->interrupts,
		     (struct sim_entry){.at = sim->now, .work = waited, .index = (uint32_t)source->device->kind}))
		sim->failed = true;
	if (!thread->awake) {
		thread->left = work;
		thread_wake(sim, thread);
		return;
	}
	if (runs) {
		struct sim_processor *processor = &sim->processor[thread->processor];
		processor_book(sim, processor);
		heap_put(&sim->events, &processor->finish.node, sim->now + thread->left + work);
	}
	thread->left += work;
}

void sim_processor_start(struct sim *sim, unsigned number, struct sim_thread *thread)
{
	struct sim_processor *processor = &sim->processor[number];
	processor->runs = thread;
	processor->since = sim->now;
	thread->processor = number;
	while (thread->interrupts.count != 0) {
		struct sim_entry entry = sim_queue_pop(&thread->interrupts);
		sim_tally_add(&thread->guest->source[entry.index].io_delay, entry.work + (sim->now - entry.at));
	}
	if (!thread->awake)
		return;
	sim->working++;
	heap_put(&sim->events, &processor->finish.node, sim->now + thread->left);
}

void sim_processor_stop(struct sim *sim, unsigned number)
{
	struct sim_processor *processor = &sim->processor[number];
	struct sim_thread *thread = processor->runs;
	if (thread == NULL)
		return;
	processor_book(sim, processor);
	heap_remove(&sim->events, &processor->finish.node);
	sim->working -= thread->awake;
	thread->processor = NOWHERE;
	processor->runs = NULL;
}

static void burst_end(const struct sim *sim, struct sim_thread *thread)
{
	uint64_t took = sim->now - thread->burst.at;
	sim_tally_add(&thread->guest->burst_delay, took - thread->burst.work);
	if (sim->task->burst_ended != NULL)
		sim->task->burst_ended(sim->task->owner, thread->guest->number, took);
	thread->has_burst = false;
}

void sim_processor_finish(struct sim *sim, struct sim_event *event)
{
	struct sim_processor *processor = container_of(event, struct sim_processor, finish);
	struct sim_thread *thread = processor->runs;
	struct sim_guest *guest = thread->guest;
	processor_book(sim, processor);
	if (thread->has_burst)
		burst_end(sim, thread);
	if (guest->bursts.count != 0) {
		burst_take(thread, sim_queue_pop(&guest->bursts));
		heap_put(&sim->events, &event->node, sim->now + thread->left);
		return;
	}
	heap_remove(&sim->events, &event->node);
	thread->awake = false;
	sim->awake--;
	sim->working--;
	sched_idle(guest->scheduled, thread->index, sim->now, &sim->kicks);
}
