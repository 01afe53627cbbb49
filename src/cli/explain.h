/* SPDX-License-Identifier: MIT */
/* What `nfold explain` found, and the two forms in which it is shown. */
#ifndef NFOLD_CLI_EXPLAIN_H
#define NFOLD_CLI_EXPLAIN_H

#include "cli/profile.h"

struct explanation {
	const char *name;
	const char *state; /* of the guest, at the end */
	struct profile profile;
	struct profile_gain gain;
	struct symbols *symbols;
	bool symbols_given;
	bool kernel_found; /* kernel_distance was measured */
	uint64_t kernel_distance;
	unsigned top; /* rows of the hottest code */
};

void explain_print(const struct explanation *explanation);
/* False: out of memory. */
bool explain_print_json(const struct explanation *explanation);

#endif
