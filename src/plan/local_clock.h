/* SPDX-License-Identifier: MIT */
/*
 * Local times in the order of a file: when daylight saving time begins or ends within it, they jump by an hour and the
 * zone of its header is no longer true. Such a step is undone.
 *
 * It is taken for one only if the next time is an hour off from the interval of the rows before, and if it is
 * between midnight and five on a Friday, Saturday or Sunday, as nearly everywhere. An hour-long gap in just that hour
 * is the one mistake that this can make; steps are noted.
 */
#ifndef NFOLD_PLAN_LOCAL_CLOCK_H
#define NFOLD_PLAN_LOCAL_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct local_clock {
	bool started;
	int64_t last_ms, interval_ms; /* of local times */
	int64_t offset_ms;	      /* of all steps until now */
};

/* The time without steps. *stepped: there was one before this row. */
int64_t local_clock_time(struct local_clock *clock, int64_t local_ms, bool *stepped);

#endif
