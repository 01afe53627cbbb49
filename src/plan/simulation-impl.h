/* SPDX-License-Identifier: MIT */
/* Inside simulation.h: for simulation.c and those beside it alone. */
#ifndef NFOLD_PLAN_SIMULATION_IMPL_H
#define NFOLD_PLAN_SIMULATION_IMPL_H

#include "plan/simulation.h"

struct simulation_window {
	unsigned host, first; /* the first of its samples */
	unsigned slots;
	uint64_t slot_ns;
	unsigned processors;
	double mhz; /* of one */
	struct sim_device_task device[SIM_DEVICES];
	unsigned guests;
	const json_t *members; /* the host's guests */
	struct sched_guest_policy *policy;
	struct sim_load *load;
	struct sim_result result;
	bool good;
	struct error error;
};

/* simulation-guests.c: the policy of each guest of the workload. */
struct sched_guest_policy *simulation_policies(const struct workload *workload,
					       const struct simulation_options *options, struct error *error);

/* simulation-json.c */
json_t *simulation_window_json(const json_t *plan, const struct simulation_window *window, int64_t start);
json_t *simulation_figures_json(const struct simulation_options *options);

#endif
