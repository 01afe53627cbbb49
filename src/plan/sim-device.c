/* SPDX-License-Identifier: MIT */
/* The host's disks, and its network: each one queue, in order of arrival, before as many servers as it has channels. */
#include <stdlib.h>

#include "plan/sim-impl.h"

bool sim_device_make(struct sim *sim, enum sim_kind kind)
{
	struct sim_device *device = &sim->device[kind];
	device->is = &sim->task->device[kind];
	device->kind = kind;
	device->channel = calloc((size_t)device->is->channels + 1, sizeof *device->channel);
	if (device->channel == NULL)
		return false;
	for (unsigned i = device->is->channels; i > 0; i--) {
		struct sim_channel *channel = &device->channel[i - 1];
		sim_event_make(sim, &channel->done, sim_device_done);
		channel->next = device->free_channel;
		device->free_channel = channel;
	}
	return true;
}

void sim_device_free(struct sim_device *device)
{
	sim_queue_free(&device->requests);
	free(device->channel);
}

double sim_device_service(const struct sim_device_task *device, double bytes)
{
	double by_count = device->requests > 0 ? 1e9 / device->requests : 0;
	double by_bytes = device->bytes > 0 ? bytes * 1e9 / device->bytes : 0;
	return device->channels * (by_count > by_bytes ? by_count : by_bytes);
}

static void channel_start(struct sim *sim, struct sim_channel *channel, struct sim_source *source, uint64_t waited)
{
	const struct sim_length length = {source->service_ns, source->device->is->cv};
	uint64_t service = sim_draw(&source->guest->random, &length);
	channel->source = source;
	channel->waited = waited;
	sim_tally_add(&source->queue_delay, waited);
	if (sim->task->request_served != NULL)
		sim->task->request_served(sim->task->owner, source->guest->number, source->device->kind, waited);
	heap_put(&sim->events, &channel->done.node, sim->now + service);
}

void sim_device_request_came(struct sim *sim, struct sim_event *event)
{
	struct sim_source *source = container_of(event, struct sim_source, next);
	struct sim_device *device = source->device;
	struct sim_channel *channel = device->free_channel;
	heap_put(&sim->events, &event->node, sim->now + sim_draw_gap(&source->guest->random, source->rate));
	if (channel != NULL) {
		device->free_channel = channel->next;
		device->busy_channels++;
		channel_start(sim, channel, source, 0);
	} else if (!sim_queue_push(&device->requests,
				   (struct sim_entry){.at = sim->now, .index = source->guest->number})) {
		sim->failed = true;
	}
}

void sim_device_done(struct sim *sim, struct sim_event *event)
{
	struct sim_channel *channel = container_of(event, struct sim_channel, done);
	struct sim_source *source = channel->source;
	struct sim_device *device = source->device;
	uint64_t waited = channel->waited;
	heap_remove(&sim->events, &event->node);
	if (device->requests.count != 0) {
		struct sim_entry next = sim_queue_pop(&device->requests);
		channel_start(sim, channel, &sim->guest[next.index].source[device->kind], sim->now - next.at);
	} else {
		device->busy_channels--;
		channel->next = device->free_channel;
		device->free_channel = channel;
	}
	sim_guest_interrupt(sim, source, waited);
}
