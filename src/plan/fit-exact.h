/* SPDX-License-Identifier: MIT */
/*
 * Small cases exactly: a mixed-integer program, solved by cbc (Debian's coinor-cbc) as a process of its own.
 */
#ifndef NFOLD_PLAN_FIT_EXACT_H
#define NFOLD_PLAN_FIT_EXACT_H

#include "plan/fit.h"

#define FIT_EXACT_GUESTS_MAX 200
#define FIT_EXACT_HOSTS_MAX 40

/*
 * Looks for a placement on fewer hosts until there is none: then plan->bound is plan->hosts, proven by FIT_PROOF_EXACT.
 * Gives up after `nodes` nodes of a search; then the bound may stay below. The plan is replaced when a better one is
 * found. One kind of host, every sample, no pins: anything else is an error, and so is a missing cbc.
 */
bool fit_exact(const struct fit_task *task, struct fit_plan **plan, unsigned nodes, struct error *error);

#endif
