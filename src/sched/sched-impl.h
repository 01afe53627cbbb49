/* SPDX-License-Identifier: MIT */
/* The policy's state. Internal to src/sched. */
#ifndef NFOLD_SCHED_SCHED_IMPL_H
#define NFOLD_SCHED_SCHED_IMPL_H

#include "base/bits.h"
#include "sched/heap.h"
#include "sched/sched.h"

#define CLASSES_MAX 64
#define LAG_SLICES 2 /* that a guest may be behind its class */
#define LEAD_SLICES 1000
#define RESERVE_LAG_SLICES 100
#define SKIPS_MAX 8	 /* strict guests that do not fit, at one decision */
#define CHUNK_SHARE 16	 /* a window's quota is handed out in parts of at least one 16th */
#define QUOTA_LEAST 1000 /* ns for each vCPU: less of a window's quota is not worth a slice */
#define NO_PROCESSOR UINT32_MAX

struct vcpu {
	struct sched_guest *guest;
	unsigned index;
	enum sched_state state; /* IDLE: wants no processor. One of a STRICT guest wants one while a sibling is awake */
	bool awake;
	uint32_t processor; /* where it runs */
	uint64_t since;	    /* it has been in this state */
	uint64_t time[SCHED_STATES];
	uint64_t progress; /* run or idle, up to `since`; for RELAXED */
	bool co_stopped;   /* STRICT: taken off since a sibling had to stop */
};

/* The guests of one affinity set. */
struct class
{
	struct sched_set wanted, set; /* as asked for; without others' dedicated processors */
	bool dedicated;
	unsigned guests;
	uint64_t reserved;
	uint64_t now; /* virtual time */
	struct heap by_share, by_reserve;
};

struct sched_guest {
	struct sched *sched;
	struct class *class;
	void *owner;
	struct sched_guest_policy policy;
	struct sched_guest *next, *previous;
	struct sched_guest *next_changed;
	bool changed; /* is in the list of those */
	/* Virtual time, and the time up to which the reservation is served; both with slices that run charged in full.
	 */
	uint64_t virtual, reserve;
	uint64_t window_end, quota; /* of a limit: what is left until then */
	unsigned awake;		    /* vCPUs that have something to do */
	unsigned wanting, running;  /* that want a processor; of these, on processors */
	bool stopping;		    /* STRICT: starts again when the last has stopped */
	struct heap_node share_node, reserve_node, timer_node;
	struct vcpu vcpu[];
};

struct processor {
	struct vcpu *runs;     /* or NULL */
	struct vcpu *held_for; /* of a strict guest that starts: runs here next */
	bool held_reserved;    /* by the guest's reservation */
	uint64_t begin;	       /* charged since */
	uint64_t virtual;      /* the guest's virtual time at `begin`, by what it had used */
	uint64_t ahead, quota; /* charged in advance: of virtual and reserve; of the window */
	bool reserved;	       /* runs by its reservation: not preempted by shares */
	struct heap_node deadline;
};

struct sched {
	struct sched_policy policy;
	struct class class[CLASSES_MAX];
	unsigned classes;
	struct sched_guest *guests, *changed;
	unsigned guest_count;
	uint64_t order; /* numbers guests */
	struct heap deadlines, timers;
	struct sched_set idle;	 /* processors on which nobody runs */
	struct sched_set kicked; /* and those that will be dispatched anew */
	struct processor processor[];
};

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Of times that may wrap. */
static inline uint64_t later(uint64_t a, uint64_t b)
{
	return (int64_t)(a - b) > 0 ? a : b;
}

static inline uint64_t earlier(uint64_t a, uint64_t b)
{
	return (int64_t)(a - b) < 0 ? a : b;
}

static inline uint64_t to_virtual(const struct sched_guest *guest, uint64_t ns)
{
	return (uint64_t)(((unsigned __int128)ns << 20) / guest->policy.shares);
}

static inline uint64_t to_reserve(const struct sched_guest *guest, uint64_t ns)
{
	uint64_t reservation = guest->policy.reservation;
	return reservation == 0 ? 0 : (uint64_t)((unsigned __int128)ns * SCHED_PROCESSOR / reservation);
}

static inline bool wants(const struct vcpu *vcpu)
{
	return vcpu->state != SCHED_ASLEEP && vcpu->state != SCHED_RUNNING;
}

static inline bool is_strict(const struct sched_guest *guest)
{
	return guest->policy.coscheduling == SCHED_CO_STRICT;
}

static inline uint64_t progress_of(const struct vcpu *vcpu, uint64_t now)
{
	return vcpu->progress + (vcpu->state == SCHED_RUNNING ? now - vcpu->since : 0);
}

static inline void kick(struct sched *sched, unsigned processor, struct sched_set *kicks)
{
	sched_set_add(&sched->kicked, processor);
	sched_set_add(kicks, processor);
}

/* queue.c: where guests wait. */
void guest_forget_change(struct sched_guest *guest);
void vcpu_enter(struct vcpu *vcpu, enum sched_state state, uint64_t now);
void guest_requeue(struct sched_guest *guest, uint64_t now);
void guest_dequeue(struct sched_guest *guest);
void guest_refill(struct sched_guest *guest, uint64_t now);
/* The vCPU of a guest in a queue that runs next. */
struct vcpu *guest_next_vcpu(struct sched_guest *guest);
struct sched_guest *queue_best(struct sched *sched, unsigned processor, uint64_t now, bool *reserved);

/* run.c: what runs. */
/* By what the guest queues. */
uint64_t guest_key(const struct sched_guest *guest, uint64_t now);
void run_begin(struct vcpu *vcpu, unsigned processor, bool reserved, uint64_t now);
/* Takes it back; its state afterwards is `state`. */
void run_end(struct processor *processor, enum sched_state state, uint64_t now);
void deadline_set(struct sched *sched, unsigned processor, uint64_t deadline);

/* gang.c: co-scheduling. */
/* After a vCPU began to want, or stopped running but wants: siblings that run may go on for so long only. */
void gang_bound_siblings(struct sched_guest *guest, uint64_t now);
/* How long the vCPU may run before it is too far ahead. */
uint64_t gang_room(const struct vcpu *vcpu, uint64_t now);
/* STRICT: takes all siblings off their processors. */
void gang_stop(struct sched_guest *guest, struct sched_set *kicks);
/* STRICT: finds processors for all that want besides `processor`. False: there are not enough yet. */
bool gang_gather(struct sched_guest *guest, unsigned processor, bool reserved, uint64_t now, struct sched_set *kicks);

/* place.c: processors for those that wait. */
void guest_place(struct sched_guest *guest, uint64_t now, struct sched_set *kicks);
/* A processor that the guest may have at once: an idle one, or one whose guest is ahead of it. NO_PROCESSOR: none. */
unsigned place_find(const struct sched_guest *guest, uint64_t now, bool reserved, uint64_t margin,
		    const struct sched_set *taken);

#endif
