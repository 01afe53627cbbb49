/* SPDX-License-Identifier: MIT */
/*
 * What stands out in a guest's time, and the first thing to do about it: a table of rules over a few figures. Pure.
 */
#ifndef NFOLD_CLI_ADVICE_H
#define NFOLD_CLI_ADVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledger/ledger.h"

struct advice_facts {
	double state[LEDGER_STATE_COUNT]; /* percent of the time of all vCPUs together */
	double wanted;			  /* percent of its time that the busiest vCPU ran or wanted to run */
	double hottest; /* of the samples that this vCPU would have, percent in the three hottest functions or blocks */
	uint64_t samples, cache_evictions;
	uint64_t ticks_due, ticks_lost;
};

struct advice_rule {
	const char *key;
	bool (*applies)(const struct advice_facts *facts);
	const char *found, *first; /* what it is; the first thing to do */
};

/* In the order in which they are told; the last one always applies, and is told alone. */
extern const struct advice_rule advice_rules[];
extern const size_t advice_rule_count;

/* Whether a rule is to be told: it applies, and of the last one, no other does. */
bool advice_told(const struct advice_facts *facts, size_t rule);

#endif
