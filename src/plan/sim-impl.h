/* SPDX-License-Identifier: MIT */
/* Inside the simulator. */
#ifndef NFOLD_PLAN_SIM_IMPL_H
#define NFOLD_PLAN_SIM_IMPL_H

#include "base/bits.h"
#include "plan/sim.h"
#include "sched/heap.h"

struct sim;

struct sim_event {
	struct heap_node node;
	void (*act)(struct sim *sim, struct sim_event *event);
};

/* Something that waits: since when, and how much work it is or has waited before. */
struct sim_entry {
	uint64_t at, work;
	uint32_t index; /* of a guest, or of a kind of device */
};

struct sim_queue {
	struct sim_entry *entry;
	uint32_t first, count, room; /* room is a power of two */
};

/* sim-stat.c */
#define TALLY_BUCKETS 512
struct sim_tally {
	uint64_t count, longest;
	double sum;
	uint32_t bucket[TALLY_BUCKETS];
};

void sim_tally_add(struct sim_tally *tally, uint64_t ns);
struct sim_delay sim_tally_delay(const struct sim_tally *tally);
uint64_t sim_random(uint64_t *state);
/* Both at least 1. */
uint64_t sim_draw(uint64_t *state, const struct sim_length *length);
uint64_t sim_draw_gap(uint64_t *state, double rate_per_ns);
bool sim_queue_push(struct sim_queue *queue, struct sim_entry entry); /* false: out of memory */
struct sim_entry sim_queue_pop(struct sim_queue *queue);	      /* there is one */
void sim_queue_free(struct sim_queue *queue);

#define NOWHERE UINT32_MAX

struct sim_thread {
	struct sim_guest *guest;
	unsigned index;
	bool awake, has_burst;
	uint32_t processor;
	uint64_t left; /* work in hand: its burst and interrupts */
	struct sim_entry burst;
	struct sim_queue interrupts; /* that came while it did not run */
};

/* What a guest asks of a device. */
struct sim_source {
	struct sim_guest *guest;
	struct sim_device *device;
	struct sim_event next;
	double rate, service_ns; /* requests a ns; time in service of one */
	struct sim_tally io_delay, queue_delay;
};

struct sim_guest {
	struct sched_guest *scheduled;
	unsigned number, vcpus;
	uint64_t random;
	struct sim_thread *thread;
	struct sim_queue bursts;
	struct sim_event next_burst;
	double burst_rate; /* per ns */
	double interrupt_ns;
	double asked, done;
	bool saturated;
	struct sim_tally burst_delay;
	struct sim_source source[SIM_DEVICES];
};

struct sim_processor {
	struct sim_event finish;
	struct sim_thread *runs; /* or NULL */
	uint64_t since;
};

struct sim_channel {
	struct sim_event done;
	struct sim_source *source;
	uint64_t waited;
	struct sim_channel *next; /* in the list of free ones */
};

struct sim_device {
	const struct sim_device_task *is;
	enum sim_kind kind;
	struct sim_channel *channel, *free_channel;
	unsigned busy_channels;
	struct sim_queue requests;
	double busy; /* channels, times ns */
};

struct sim {
	const struct sim_task *task;
	struct sched *sched;
	uint64_t now, end;
	unsigned slot;
	struct heap events;
	uint64_t order;
	struct sim_guest *guest;
	struct sim_thread *thread;
	struct sim_processor *processor;
	struct sim_device device[SIM_DEVICES];
	struct sched_set kicks;
	unsigned awake, working; /* vCPUs that have work, and those of them that are on a processor */
	uint64_t decisions, count;
	double busy, spare;
	bool failed; /* out of memory */
};

void sim_event_make(struct sim *sim, struct sim_event *event, void (*act)(struct sim *sim, struct sim_event *event));

/* sim-guest.c: what guests do. */
void sim_guest_rates(struct sim *sim, struct sim_guest *guest);
void sim_guest_burst_came(struct sim *sim, struct sim_event *event);
void sim_guest_interrupt(struct sim *sim, struct sim_source *source, uint64_t waited);
void sim_processor_start(struct sim *sim, unsigned number, struct sim_thread *thread);
void sim_processor_stop(struct sim *sim, unsigned number);
void sim_processor_finish(struct sim *sim, struct sim_event *event);

/* sim-device.c */
bool sim_device_make(struct sim *sim, enum sim_kind kind); /* false: out of memory */
void sim_device_free(struct sim_device *device);
void sim_device_request_came(struct sim *sim, struct sim_event *event);
void sim_device_done(struct sim *sim, struct sim_event *event);
/* Time in service of a request of so many bytes. */
double sim_device_service(const struct sim_device_task *device, double bytes);

#endif
