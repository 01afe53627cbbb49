/* SPDX-License-Identifier: MIT */
/*
 * The guest's one virtual clock and the timers on it.
 *
 * All timer devices read this clock and no other. Time is in nanoseconds since the machine was made. While
 * the machine is paused the clock stands still. In mode CLOCK_REAL it follows the host's TSC less the time
 * paused, scaled by a frequency measured once against the host's unslewed clock, so that all the guest's clocks agree
 * with each other for ever; in mode CLOCK_MANUAL (unit tests) it moves only by clock_advance(). In mode CLOCK_COUNTED
 * it is a count that the owner keeps, one nanosecond each (instructions of the only vCPU), and what clock_skip() and
 * clock_charge() added: the same in each run.
 *
 * The guest's TSC is the same clock in other units; a vCPU adds its own offset (IA32_TSC_ADJUST and writes to
 * IA32_TSC). In CLOCK_REAL the engine may read the host's TSC directly with the offset that clock_tsc_offset()
 * gives; a pause changes that offset, so after clock_resume() the machine corrects each vCPU's by the difference.
 *
 * Timers fire once, in order of time, from clock_run() on the event-loop thread with the device lock held.
 * A timer's function may arm it again. `clock->rearm` is called, with the lock held, whenever the earliest deadline
 * changed, so that the event loop can sleep until it.
 */
#ifndef NFOLD_IO_CLOCK_H
#define NFOLD_IO_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum clock_mode { CLOCK_REAL, CLOCK_MANUAL, CLOCK_COUNTED };

struct clock;

struct clock_timer {
	struct clock *clock;
	void (*fire)(void *opaque);
	void *opaque;
	uint64_t deadline; /* ns; valid while armed */
	bool armed;
	struct clock_timer *next; /* sorted list */
};

struct clock {
	enum clock_mode mode;
	bool paused;
	bool firing;		  /* in clock_run(): what happens now, a timer does. Atomic */
	uint64_t now;		  /* CLOCK_MANUAL: the time; CLOCK_COUNTED: what was skipped */
	uint64_t tsc_paused;	  /* CLOCK_REAL: the guest TSC, frozen while paused */
	uint64_t tsc_hz;	  /* frequency of the guest's and the host's TSC */
	uint64_t tsc_host_origin; /* host TSC at virtual time 0, moved by pauses */
	struct clock_timer *timers;
	uint64_t (*count)(void *opaque); /* CLOCK_COUNTED; NULL: 0 */
	void *count_opaque;
	void (*rearm)(void *opaque, uint64_t deadline); /* UINT64_MAX: nothing armed */
	void *rearm_opaque;
};

#define CLOCK_NEVER UINT64_MAX
#define CLOCK_SECOND UINT64_C(1000000000)

/* Measures the host's TSC frequency once (some milliseconds) in CLOCK_REAL; 1 GHz in the other modes. */
void clock_init(struct clock *clock, enum clock_mode mode);
uint64_t clock_now(struct clock *clock);
void clock_advance(struct clock *clock, uint64_t nanoseconds); /* CLOCK_MANUAL: moves and fires in order */
/* CLOCK_COUNTED, nothing runs until a timer fires: moves to the first deadline. False: no timer is armed. */
bool clock_skip(struct clock *clock);
/* CLOCK_COUNTED: lets time pass that the count does not tell of. The owner asks clock_count_at() anew. */
void clock_charge(struct clock *clock, uint64_t nanoseconds);
/* CLOCK_COUNTED: the count at which the clock will show the time. */
uint64_t clock_count_at(const struct clock *clock, uint64_t time);
void clock_pause(struct clock *clock);
void clock_resume(struct clock *clock);

uint64_t clock_tsc(struct clock *clock);			   /* the guest TSC without a vCPU's offset */
uint64_t clock_tsc_offset(struct clock *clock);			   /* guest TSC = host TSC + this, CLOCK_REAL */
uint64_t clock_tsc_to_ns(const struct clock *clock, uint64_t tsc); /* first virtual ns at which clock_tsc() >= tsc */

void clock_timer_init(struct clock_timer *timer, struct clock *clock, void (*fire)(void *opaque), void *opaque);
void clock_timer_set(struct clock_timer *timer, uint64_t deadline); /* arms or moves */
void clock_timer_cancel(struct clock_timer *timer);

/* Time arithmetic for devices: value * multiplier / divisor, rounded down, without overflow in between. UINT64_MAX
 * when the result does not fit. */
static inline uint64_t clock_scale(uint64_t value, uint64_t multiplier, uint64_t divisor)
{
	unsigned __int128 scaled = (unsigned __int128)value * multiplier / divisor;
	return scaled > UINT64_MAX ? UINT64_MAX : (uint64_t)scaled;
}

/* The same, rounded up. */
static inline uint64_t clock_scale_up(uint64_t value, uint64_t multiplier, uint64_t divisor)
{
	unsigned __int128 scaled = ((unsigned __int128)value * multiplier + (divisor - 1)) / divisor;
	return scaled > UINT64_MAX ? UINT64_MAX : (uint64_t)scaled;
}

/* Fires what is due. Returns the next deadline, or CLOCK_NEVER. */
uint64_t clock_run(struct clock *clock);

#endif
