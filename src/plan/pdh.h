/* SPDX-License-Identifier: MIT */
/*
 * PDH-CSV, the text format of Windows's performance data helper: perfmon, relog and typeperf write it, and esxtop does.
 * The first field of the first row has the zone, "(PDH-CSV 4.0) (W. Europe Standard Time)(-60)": minutes that make
 * local times UTC. The others are counters, "\\host\object(instance)\counter".
 */
#ifndef NFOLD_PLAN_PDH_H
#define NFOLD_PLAN_PDH_H

#include "plan/parse.h"
#include "plan/uses.h"

#define PDH_PART_MAX 512u

struct pdh_counter {
	char host[PDH_PART_MAX], object[PDH_PART_MAX], instance[PDH_PART_MAX], counter[PDH_PART_MAX];
};

/* False: the text is no counter's name. */
bool pdh_counter_read(const char *text, struct pdh_counter *counter);

/* Reads a file; `resolve` finds what the columns of the header mean. */
typedef bool pdh_resolve(struct parse *parse, const struct rows *header, struct uses *uses, struct error *error);
bool pdh_read(struct parse *parse, pdh_resolve *resolve, struct error *error);

#endif
