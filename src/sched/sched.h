/* SPDX-License-Identifier: MIT */
/*
 * Which virtual processor runs where, and for how long: policy alone. No threads, no clock, no system call: whoever
 * uses it tells it the time and what happened, and carries out what it decides. So the host's dispatcher and the
 * planner's simulator share it, and it is tested on millions of simulated schedules.
 *
 * Theory of operation.
 *
 * Shares. A guest has a virtual time that advances by what it uses, divided by its shares (start-time fair queueing:
 * Goyal, Guo and Vin, OSDI '96). The guest that is furthest behind runs next. Use is charged ahead when a slice begins
 * and set right when it ends, so that several processors do not all pick the same guest. A guest cannot save up time:
 * one that slept, or that cannot use what its shares would give because it has too few vCPUs (Chandra and others, OSDI
 * '00), is pulled up to within LAG_SLICES slices of the others. That is also the boost of one that wakes: it is behind
 * by what it left unused, runs at once in front of those that did not sleep, and gains nothing by sleeping more often,
 * since all it uses is charged.
 *
 * Reservations. A second tag advances by use divided by the reservation, in real time (mClock: Gulati, Merchant and
 * Varman, OSDI '10). A guest whose tag is not in the future has got less than reserved, and goes first.
 *
 * Limits. Windows of a fixed length. A slice takes its time from the window's quota when it begins and gives back what
 * it did not use, so that no window is ever exceeded, by whatever number of vCPUs.
 *
 * Affinity. Guests with the same set of processors form a class, with queues and a virtual time of its own. A processor
 * takes the best of the heads of its classes. Dedicated processors belong to one guest and leave all other sets.
 *
 * Co-scheduling (of guests with several vCPUs). NONE: each vCPU for itself. RELAXED: a vCPU may be ahead of its slowest
 * sibling by the skew at most, where running and being idle are progress and waiting is not; one that is further ahead
 * stops until the other has caught up. STRICT: while any vCPU has something to do, all get processors at the same time
 * or none does; one that is idle keeps its processor until the last is.
 *
 * Cost. n guests, p processors, v vCPUs of one guest, c affinity classes: a decision takes O(log n + v + c), a wake-up
 * that finds no idle processor O(log n + p).
 *
 * Use. sched_next() says when to call sched_advance() if nothing happens before. Calls that take `kicks` set the bits
 * of processors that have to be looked at: the user makes the vCPU stop there, if one runs, and then calls
 * sched_dispatch(). A kick may come again for the same processor; what runs goes on, and is charged, until its
 * processor is dispatched anew.
 *
 * Units: nanoseconds of the caller's clock, which never goes back; amounts of processor in millionths of one.
 * Threading: none; one caller at a time.
 */
#ifndef NFOLD_SCHED_SCHED_H
#define NFOLD_SCHED_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define SCHED_PROCESSORS_MAX 256
#define SCHED_VCPUS_MAX 32 /* of one guest */
#define SCHED_SHARES_MAX 1000000u
#define SCHED_SHARES_DEFAULT 1000u
#define SCHED_PROCESSOR UINT64_C(1000000) /* a whole one */
#define SCHED_NEVER UINT64_MAX

struct sched_set {
	uint64_t word[SCHED_PROCESSORS_MAX / 64];
};

enum sched_coscheduling { SCHED_CO_NONE, SCHED_CO_RELAXED, SCHED_CO_STRICT };

struct sched_policy {
	unsigned processors;
	uint64_t slice_ns;  /* 0: SCHED_SLICE_DEFAULT_NS */
	uint64_t window_ns; /* of limits; 0: SCHED_WINDOW_DEFAULT_NS */
};
#define SCHED_SLICE_DEFAULT_NS UINT64_C(10000000)
#define SCHED_WINDOW_DEFAULT_NS UINT64_C(100000000)
#define SCHED_SKEW_DEFAULT_NS UINT64_C(3000000)

struct sched_guest_policy {
	unsigned vcpus;
	uint32_t shares;	   /* 0: SCHED_SHARES_DEFAULT */
	uint64_t reservation;	   /* of the guest, not of each vCPU */
	uint64_t limit;		   /* the same; 0: none */
	struct sched_set affinity; /* empty: all processors */
	bool dedicated;		   /* a processor for each vCPU, of those in `affinity`, that nobody else gets */
	enum sched_coscheduling coscheduling;
	uint64_t skew_ns; /* SCHED_CO_RELAXED; 0: SCHED_SKEW_DEFAULT_NS */
	bool blind; /* idle vCPUs are not noticed: once awake, they keep their turns. To measure what that costs */
};

/* READY, CO_STOP and LIMITED: it wants a processor and has none; because others run, its siblings do not, or by its
 * limit. */
enum sched_state { SCHED_ASLEEP, SCHED_READY, SCHED_CO_STOP, SCHED_LIMITED, SCHED_RUNNING, SCHED_STATES };

struct sched;
struct sched_guest;

struct sched_decision {
	struct sched_guest *guest; /* NULL: nobody; the processor is idle */
	unsigned vcpu;
	uint64_t until; /* when sched_advance() will want it back, if nothing happens before */
};

/* NULL: out of memory, or a policy that makes no sense (error says). */
struct sched *sched_create(const struct sched_policy *policy, struct error *error);
void sched_destroy(struct sched *sched);

/*
 * Adds a guest, all its vCPUs idle. Refused: a reservation that cannot be kept beside those of the others, by any
 * affinity set or all processors together; dedicated processors that are not to be had; STRICT with fewer processors
 * than vCPUs. `owner` is the caller's.
 */
struct sched_guest *sched_guest_add(struct sched *sched, const struct sched_guest_policy *asked, void *owner,
				    uint64_t now, struct error *error);
/* Whether it would be taken now. */
bool sched_admits(const struct sched *sched, const struct sched_guest_policy *asked, struct error *error);
void sched_guest_remove(struct sched_guest *guest, uint64_t now, struct sched_set *kicks);
/* Other shares, reservation and limit. Refused like the guest itself; then nothing has changed. */
bool sched_guest_change(struct sched_guest *guest, uint32_t shares, uint64_t reservation, uint64_t limit, uint64_t now,
			struct sched_set *kicks, struct error *error);
void *sched_guest_owner(const struct sched_guest *guest);

/* The vCPU wants to run. No effect on one that does already. */
void sched_wake(struct sched_guest *guest, unsigned index, uint64_t now, struct sched_set *kicks);
/* The vCPU has nothing to do: HLT, PAUSE or a loop that was found to be idle. Its processor is free if it is kicked. */
void sched_idle(struct sched_guest *guest, unsigned index, uint64_t now, struct sched_set *kicks);

/* When sched_advance() has to be called at the latest; SCHED_NEVER: nothing happens by itself. */
uint64_t sched_next(const struct sched *sched);
/* Slices that are over, windows that begin. */
void sched_advance(struct sched *sched, uint64_t now, struct sched_set *kicks);
/* What runs on the processor of that number from now on; what ran there until now is taken back. */
struct sched_decision sched_dispatch(struct sched *sched, unsigned number, uint64_t now, struct sched_set *kicks);

/* A guest with a vCPU whose sched_state_of() may be another than when the guest was named here last; NULL: none left.
 */
struct sched_guest *sched_changed(struct sched *sched);
enum sched_state sched_state_of(const struct sched_guest *guest, unsigned vcpu);
/* Time spent in a state so far; all together are the time since the guest was added. */
uint64_t sched_time_in(const struct sched_guest *guest, unsigned vcpu, enum sched_state state, uint64_t now);

static inline bool sched_set_has(const struct sched_set *set, unsigned processor)
{
	return (set->word[processor / 64] >> (processor % 64) & 1) != 0;
}

static inline void sched_set_add(struct sched_set *set, unsigned processor)
{
	set->word[processor / 64] |= UINT64_C(1) << (processor % 64);
}

static inline void sched_set_remove(struct sched_set *set, unsigned processor)
{
	set->word[processor / 64] &= ~(UINT64_C(1) << (processor % 64));
}

/* Takes the lowest out. False: the set is empty. */
static inline bool sched_set_take(struct sched_set *set, unsigned *processor)
{
	for (unsigned i = 0; i < SCHED_PROCESSORS_MAX / 64; i++) {
		if (set->word[i] == 0)
			continue;
		*processor = i * 64 + (unsigned)__builtin_ctzll(set->word[i]);
		set->word[i] &= set->word[i] - 1;
		return true;
	}
	return false;
}

#endif
