/* SPDX-License-Identifier: MIT */
/*
 * One host at scheduling detail: guests whose work arrives at random are scheduled by src/sched, the policy of the
 * running host, on virtual time.
 *
 * Theory of operation. What was measured are means over minutes; how the work lies within them was not. So each guest's
 * processor demand arrives as bursts: a Poisson process, each burst's length drawn from a distribution of given mean
 * and coefficient of variation. A guest has one queue of bursts, in order of arrival, and its vCPUs take from it, as an
 * operating system's scheduler does; a burst stays with the vCPU that took it. A vCPU without work is idle to the
 * host's scheduler.
 *
 * Disk requests are a Poisson process too. A host's disks are a queue with as many servers as requests may be in
 * service at once. So is what guests send and receive over the network, in messages, before one server. When a request
 * or message is done, its guest takes an interrupt on one vCPU: at once if that one runs, else
 * when the host's scheduler dispatches it. Interrupts take a short time each, taken from the guest's demand.
 *
 * Load is given in slots and holds for a slot; at its end the processes start anew with the next one's rates, which for
 * a Poisson process changes nothing else. A simulation starts with an empty host.
 *
 * Events lie in one heap (src/sched/heap.h): the next burst, request and message of each guest, the end of what each
 * processor does, the end of each request in service. Between two of them the scheduler's own deadlines come.
 *
 * Everything is drawn from the seed, a stream for each guest; the same task gives the same figures.
 */
#ifndef NFOLD_PLAN_SIM_H
#define NFOLD_PLAN_SIM_H

#include <stddef.h>

#include "base/error.h"
#include "sched/sched.h"

#define SIM_EVENTS_MAX 4e9   /* that a task may be expected to have */
#define SIM_REQUESTS_MAX 1e6 /* of one guest and device, a second; more is cut to it */

/* Lengths: cv 0 is a constant, 1 exponential, others are lognormal. */
struct sim_length {
	double mean_ns, cv;
};

enum sim_kind { SIM_DISK, SIM_NETWORK, SIM_DEVICES };

struct sim_requests {
	double rate;  /* a second */
	double bytes; /* of one */
};

struct sim_load {
	double processors;			  /* wanted at a time, in the mean */
	struct sim_requests request[SIM_DEVICES]; /* a network's are messages */
};

struct sim_device_task {
	unsigned channels; /* requests in service at once; 0: the device is not simulated */
	double requests;   /* a second, of all channels together; 0: only bytes count */
	double bytes;	   /* a second; 0: only requests count */
	double cv;	   /* of the time in service */
};

struct sim_task {
	struct sched_policy policy;
	unsigned guests;
	const struct sched_guest_policy *guest;
	unsigned slots;
	uint64_t slot_ns;
	const struct sim_load *load; /* [guest][slot] */
	struct sim_length burst;
	double interrupt_ns; /* at most; 0: requests use no processor */
	struct sim_device_task device[SIM_DEVICES];
	uint64_t seed;
	/* For tests: each burst that ends, with the time since it came. NULL: nobody looks. */
	void (*burst_ended)(void *owner, unsigned guest, uint64_t took_ns);
	void (*request_served)(void *owner, unsigned guest, enum sim_kind kind, uint64_t waited_ns); /* for a channel */
	void *owner;
};

/* Delays: how often, their sum, and points of their distribution (the upper edges of buckets of an eighth of an
 * octave). */
struct sim_delay {
	uint64_t count;
	double mean_ns, p95_ns, p99_ns, longest_ns;
};

struct sim_guest_result {
	double time_ns[SCHED_STATES];	  /* of all its vCPUs together */
	double asked_ns, done_ns;	  /* work that came, and that was done */
	struct sim_delay burst;		  /* the time a burst took beyond its own length */
	struct sim_delay io[SIM_DEVICES]; /* from a request's arrival, without its service, to the guest's interrupt */
	struct sim_delay queue[SIM_DEVICES]; /* the part of that in the device's queue */
	bool saturated;			     /* in some slot it wanted all its vCPUs, or more */
};

struct sim_result {
	struct sim_guest_result *guest;
	uint64_t span_ns;
	double busy_ns;			 /* of all processors together */
	double spare_ns;		 /* processors idle while vCPUs wanted one: limits, co-scheduling, affinity */
	double device_busy[SIM_DEVICES]; /* share of the channels */
	uint64_t decisions, events;
};

/* False: out of memory, or a policy that the scheduler refuses; nothing is left in *result. */
bool sim_run(const struct sim_task *task, struct sim_result *result, struct error *error);
void sim_result_free(struct sim_result *result);

#endif
