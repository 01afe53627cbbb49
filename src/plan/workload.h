/* SPDX-License-Identifier: MIT */
/*
 * An estate as the demand of guests: in host units, with growth and the engine's overhead, on one time grid, without
 * gaps. A gap takes the value before it, at the beginning the first one after it.
 */
#ifndef NFOLD_PLAN_WORKLOAD_H
#define NFOLD_PLAN_WORKLOAD_H

#include "plan/demand.h"
#include "plan/estate.h"
#include "plan/overhead.h"

/* X(name, key, what it warns of) */
/* clang-format off */
#define WORKLOAD_FLAGS(X) \
	X(IO_BOUND, "io-bound", "much input and output: each operation runs two driver paths and may wait for its guest to be dispatched") \
	X(INTERRUPTS, "interrupt-heavy", "much time in interrupts, which a guest takes in two stages") \
	X(PAGING, "paging", "pages to disk: give it more memory before it shares a disk") \
	X(OVERHEAD, "overhead", "would cost more than half as much processor again as a guest") \
	X(LARGE, "large", "needs more than half of the largest host at its peak")
/* clang-format on */

enum workload_flag {
#define X(name, key, text) WORKLOAD_##name,
	WORKLOAD_FLAGS(X)
#undef X
	    WORKLOAD_FLAG_COUNT
};

extern const char *const workload_flag_key[WORKLOAD_FLAG_COUNT];
extern const char *const workload_flag_text[WORKLOAD_FLAG_COUNT];

struct workload_guest {
	double peak[RESOURCE_COUNT], mean[RESOURCE_COUNT]; /* of the demand */
	double own_mhz;					   /* mean of its processor use without growth and overhead */
	uint64_t filled;				   /* samples of cpu or memory that were gaps */
	bool kernel_assumed;
	uint32_t flags; /* without WORKLOAD_LARGE, which depends on the hosts */
};

struct workload {
	struct demand demand;
	const struct estate *estate;
	struct estate_grid grid;
	const struct overhead *overhead;
	double growth[RESOURCE_COUNT]; /* 0.1: a tenth more */
	double *mhz;		       /* what each server can do, in host units */
	struct workload_guest *guest;
	const char **name;
};

/*
 * The overhead and the estate must outlive it. interval 0: the longest of any server. rated: what each server can do,
 * in host units; NULL: processors times their clock.
 */
struct workload *workload_create(const struct estate *estate, const struct overhead *overhead,
				 const double growth[RESOURCE_COUNT], uint32_t interval, const double *rated,
				 struct error *error);
void workload_free(struct workload *workload);

#endif
