/* SPDX-License-Identifier: MIT */
/*
 * A plan's riskiest windows, simulated: reads what the plan was made of again, gives each host's guests their measured
 * demand, and says what they would feel. docs/planner.md has the assumptions.
 */
#ifndef NFOLD_PLAN_SIMULATION_H
#define NFOLD_PLAN_SIMULATION_H

#include <jansson.h>
#include <stdio.h>

#include "plan/sim.h"
#include "plan/workload.h"

#define SIMULATION_FORMAT "nfold-simulation"
#define SIMULATION_VERSION 1
#define SIMULATION_WINDOWS_MAX 1000

/* X(key, unit, built-in value, lowest, highest, what it is, source) */
/* clang-format off */
#define SIMULATION_FIGURES(X) \
	X(burst_ms, "ms", 10, 0.01, 60000, "mean length of a burst of processor work", "assumption") \
	X(burst_cv, "", 1, 0, 10, "its coefficient of variation: 1 is exponential", "assumption: independent lengths without memory") \
	X(interrupt_us, "us", 20, 0, 10000, "processor time of an interrupt of disk or network, part of the demand", "assumption") \
	X(disk_channels, "", 32, 1, 4096, "requests in service at once", "assumption: arrays' operations a second are stated with 32 outstanding") \
	X(disk_cv, "", 1, 0, 10, "coefficient of variation of the time in service", "assumption") \
	X(request_kib, "KiB", 64, 0.5, 65536, "size of a request where only bytes were measured", "assumption") \
	X(message_kib, "KiB", 64, 0.5, 65536, "what one network interrupt brings", "assumption: with segmentation offload an adapter joins frames up to 64 KiB") \
	X(network_cv, "", 1, 0, 10, "coefficient of variation of its time on the wire", "assumption") \
	X(slice_ms, "ms", 10, 0.1, 1000, "the host's time slice", "docs/scheduling.md") \
	X(minutes, "min", 10, 0.01, 1440, "simulated around each riskiest moment", "--minutes")
/* clang-format on */

enum simulation_figure {
#define X(key, unit, value, lowest, highest, text, source) SIMULATION_##key,
	SIMULATION_FIGURES(X)
#undef X
	    SIMULATION_FIGURE_COUNT
};

extern const char *const simulation_key[SIMULATION_FIGURE_COUNT];
extern const double simulation_default[SIMULATION_FIGURE_COUNT];

struct simulation_options {
	double figure[SIMULATION_FIGURE_COUNT];
	enum sched_coscheduling coscheduling;
	const char *guests; /* a file: vCPUs, shares, limits of guests; NULL: none */
	unsigned windows;   /* of the plan's risks, the riskiest first */
	uint64_t seed;
	unsigned threads; /* the result does not depend on it */
};

/* False: the value is not within what the figure may be. */
bool simulation_figure_set(struct simulation_options *options, enum simulation_figure figure, double value,
			   struct error *error);

/* `plan` is what report_load gave; `estate` the path of the estate, NULL: the one the plan names. */
json_t *simulation_make(const json_t *plan, const char *estate, const struct simulation_options *options,
			struct error *error);

void simulation_print(const json_t *simulation, FILE *to);
/* One row for each guest and window. */
bool simulation_csv(const json_t *simulation, FILE *to, struct error *error);

/* What simulation_make made, from a file, and of this plan. */
json_t *simulation_load(const char *path, const json_t *plan, struct error *error);

#endif
