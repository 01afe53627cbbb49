/* SPDX-License-Identifier: MIT */
/* Demand in memory, and random tasks that are the same in every run. */
#ifndef NFOLD_TESTS_FIT_RIG_H
#define NFOLD_TESTS_FIT_RIG_H

#include "plan/fit.h"

#define RIG_CAPACITY 100.0 /* divides FIT_FULL: whole numbers stay exact in quanta */

struct rig {
	struct demand demand;
	float *value; /* [guest][resource][sample] */
	const char **name;
	struct fit_class host_class[2];
	struct fit_task task;
	uint64_t random;
};

/* Zero demand, one kind of host with RIG_CAPACITY of the first `resources`. */
void rig_start(struct rig *rig, unsigned guests, unsigned samples, unsigned resources);
void rig_end(struct rig *rig);
float *rig_series(const struct rig *rig, unsigned guest, enum resource resource);
unsigned rig_random(struct rig *rig, unsigned limit);
/* Whole numbers from 0 to `most`, in bursts. */
void rig_fill(struct rig *rig, unsigned resources, unsigned most);
/* The fewest hosts, by trying every placement; for a dozen guests at most. Looks at loads and groups. */
unsigned rig_fewest(const struct rig *rig);

#endif
