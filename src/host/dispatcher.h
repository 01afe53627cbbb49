/* SPDX-License-Identifier: MIT */
/*
 * The dispatcher: lends the processors to guests' vCPUs as src/sched decides, in real time (ledger/token.h says how).
 *
 * One thread does it for all processors: sched has one caller at a time, a decision takes about a microsecond and a
 * processor needs few hundred of them a second. The thread sleeps in epoll until a guest's doorbell rings or the next
 * slice, window, renewal of leases or overdue token is due. Where the system permits it runs before all ordinary
 * threads (SCHED_FIFO); else with the shortest slice that Linux grants, which makes it preempt guests when it wakes.
 *
 * A processor gets its next vCPU only when the last one's token is back; but one that is not back after
 * DISPATCHER_LATE_NS (its thread is held up in Linux) is counted as late, and waited for no longer.
 *
 * The guest is not trusted: its descriptors are checked for what they are, its doorbell is never read, and one that
 * rings too often is looked at once a millisecond only.
 *
 * Threading: all functions may be called by any thread; they take the dispatcher's lock.
 */
#ifndef NFOLD_HOST_DISPATCHER_H
#define NFOLD_HOST_DISPATCHER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "sched/sched.h"

#define DISPATCHER_LATE_NS UINT64_C(2000000)
#define DISPATCHER_BUCKETS 32

struct dispatcher;
struct dispatched;

/* asked->processors: 0 for all that Linux lets this process use, or so many of them. */
struct dispatcher *dispatcher_create(const struct sched_policy *asked, struct error *error);
/* Lets all guests go: they run on unscheduled. */
void dispatcher_destroy(struct dispatcher *dispatcher);

/*
 * In policies, affinity has Linux's numbers of processors.
 *
 * Takes over the descriptors, whatever comes of it: the page of tokens and the doorbell (an eventfd), as the guest's
 * method guest.schedule passes them, and the folder of the process's threads (/proc/PID/task), by which the dispatcher
 * knows that a thread which it binds to a processor is the guest's; -1: the threads bind themselves. Refused: what
 * sched_guest_add() refuses; descriptors that are something else.
 */
struct dispatched *dispatcher_add(struct dispatcher *dispatcher, const char *name, int token_fd, int event_fd,
				  int tasks_fd, const struct sched_guest_policy *policy, struct error *error);
/* Other amounts, affinity or co-scheduling; the number of vCPUs stays. Refused like the guest itself; then nothing has
 * changed. */
bool dispatcher_change(struct dispatched *guest, const struct sched_guest_policy *policy, struct error *error);
/* Lets it go, if it still runs. */
void dispatcher_remove(struct dispatched *guest);
/* Whether a guest with this policy would be taken now. */
bool dispatcher_admits(struct dispatcher *dispatcher, const struct sched_guest_policy *policy, struct error *error);

/* Since it was created. */
struct dispatcher_report {
	unsigned processors, guests;
	uint64_t slice_ns, wall_ns;
	uint64_t cpu_ns; /* of its thread */
	bool realtime;	 /* it runs before ordinary threads */
	uint64_t wakes, decisions, grants, withdrawals, late, muted;
	/* From asking for a token back to seeing it back. Bucket i counts what took less than 2^i us that the one
	 * before does not; the last one all others. */
	uint64_t preemption[DISPATCHER_BUCKETS];
};
void dispatcher_read(struct dispatcher *dispatcher, struct dispatcher_report *report);
/* Below which so many percent of the preemptions stayed, in us; 0: there was none. */
uint64_t dispatcher_percentile(const struct dispatcher_report *report, unsigned percent);

/* Of a guest: times that it did not give a token back in time; its vCPUs' time in each state, together. */
struct dispatched_report {
	uint64_t late, muted;
	uint64_t state_ns[SCHED_STATES];
};
void dispatched_read(struct dispatched *guest, struct dispatched_report *report);

#endif
