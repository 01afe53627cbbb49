/* SPDX-License-Identifier: MIT */
/*
 * Runs all forms, and random bytes, in a worker process. Where the engine takes the process down, that is one more
 * difference, and another worker goes on with the case after it.
 */
#ifndef NFOLD_INSN_RUN_H
#define NFOLD_INSN_RUN_H

#include "harness.h"

struct run_plan {
	unsigned register_cases, memory_cases; /* of each form, and of each variant of a form that reaches memory */
	uint64_t hostile;		       /* random byte strings, each mode */
	const char *form;		       /* NULL: all */
	bool no_fork;
};

void run_all(struct harness *harness, const struct run_plan *plan);

#endif
