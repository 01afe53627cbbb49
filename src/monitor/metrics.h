/* SPDX-License-Identifier: MIT */
/*
 * All guests' ledgers as metrics. Names follow Prometheus's conventions: base units, _total for what only grows. The
 * same families in two formats: OpenMetrics 1.0, and Prometheus's older text format 0.0.4 for those who do not ask for
 * it.
 */
#ifndef NFOLD_MONITOR_METRICS_H
#define NFOLD_MONITOR_METRICS_H

#include <stdio.h>

#include "monitor/monitor.h"

enum metrics_format { METRICS_OPENMETRICS, METRICS_TEXT };

extern const char *const metrics_content_type[];

/* A family without labels. */
struct metrics_row {
	const char *name, *type, *unit, *help;
	uint64_t value;
	bool ns; /* the value is in nanoseconds, to be shown in seconds */
};

/* What else whoever serves has to tell: fills at most METRICS_MORE_MAX rows and returns how many. */
#define METRICS_MORE_MAX 16u
struct metrics_more {
	unsigned (*read)(void *opaque, struct metrics_row row[METRICS_MORE_MAX]); /* NULL: nothing */
	void *opaque;
};

/* The monitor's last reading. */
void metrics_write(const struct monitor *monitor, const struct metrics_more *more, enum metrics_format format,
		   FILE *to);

#endif
