/* SPDX-License-Identifier: MIT */
/* The host's disks: one queue, in order of arrival, before as many servers as there are channels. */
#include "plan/sim-impl.h"

double sim_disk_service(const struct sim_disk *disk, double bytes)
{
	double by_count = disk->requests > 0 ? 1e9 / disk->requests : 0;
	double by_bytes = disk->bytes > 0 ? bytes * 1e9 / disk->bytes : 0;
	return disk->channels * (by_count > by_bytes ? by_count : by_bytes);
}

static void channel_start(struct sim *sim, struct sim_channel *channel, struct sim_guest *guest, uint64_t waited)
{
	const struct sim_length length = {guest->service_ns, sim->task->disk.cv};
	uint64_t service = sim_draw(&guest->random, &length);
	channel->guest = guest;
	channel->waited = waited;
	sim_tally_add(&guest->disk_delay, waited);
	if (sim->task->request_served != NULL)
		sim->task->request_served(sim->task->owner, guest->number, waited);
	heap_put(&sim->events, &channel->done.node, sim->now + service);
}

void sim_disk_request_came(struct sim *sim, struct sim_event *event)
{
	struct sim_guest *guest = container_of(event, struct sim_guest, next_request);
	struct sim_channel *channel = sim->free_channel;
	heap_put(&sim->events, &event->node, sim->now + sim_draw_gap(&guest->random, guest->request_rate));
	if (channel != NULL) {
		sim->free_channel = channel->next;
		sim->channels_busy++;
		channel_start(sim, channel, guest, 0);
	} else if (!sim_queue_push(&sim->requests, (struct sim_entry){.at = sim->now, .guest = guest->number})) {
		sim->failed = true;
	}
}

void sim_disk_done(struct sim *sim, struct sim_event *event)
{
	struct sim_channel *channel = container_of(event, struct sim_channel, done);
	struct sim_guest *guest = channel->guest;
	uint64_t waited = channel->waited;
	heap_remove(&sim->events, &event->node);
	if (sim->requests.count != 0) {
		struct sim_entry next = sim_queue_pop(&sim->requests);
		channel_start(sim, channel, &sim->guest[next.guest], sim->now - next.at);
	} else {
		sim->channels_busy--;
		channel->next = sim->free_channel;
		sim->free_channel = channel;
	}
	sim_guest_interrupt(sim, guest, waited);
}
