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

/* The monitor's last reading. */
void metrics_write(const struct monitor *monitor, enum metrics_format format, FILE *to);

#endif
