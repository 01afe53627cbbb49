/* SPDX-License-Identifier: MIT */
/*
 * The answer of a fit as JSON (plan.json, described in docs/planner.md) and CSV. The report is made from the JSON
 * alone.
 */
#ifndef NFOLD_PLAN_ANSWER_H
#define NFOLD_PLAN_ANSWER_H

#include <jansson.h>
#include <stdio.h>

#include "plan/fit.h"
#include "plan/host-spec.h"
#include "plan/workload.h"

#define ANSWER_FORMAT "nfold-plan"
#define ANSWER_VERSION 1

/* Another way to run the same workloads. */
struct answer_choice {
	unsigned machines; /* 0: no fit */
	double cost;
	bool has_cost;
};

struct answer {
	const char *estate; /* its path */
	const struct workload *workload;
	const struct fit_task *task;
	const struct fit_plan *plan;
	const struct host_spec *spec; /* by class */
	const double *headroom;	      /* by resource */
	bool rated;		      /* processors count by benchmark ratings, not by clocks */
	bool cost_known;	      /* --host said what one costs */
	struct answer_choice native, one_os, virtual;
};

json_t *answer_json(const struct answer *answer, struct error *error);

/* One row for each guest. `answer` is what answer_json made, or was read from a file. */
bool answer_csv(const json_t *answer, FILE *to, struct error *error);

#endif
