/* SPDX-License-Identifier: MIT */
/*
 * What `esxtop -b` writes: PDH-CSV, one row for each reading, in which each column is a counter's path,
 * \\host\Group Cpu(1:web)\% Used. The columns are those of the guests that run at the first row; a guest that comes
 * later has none, one that has ended leaves its fields empty, and one that was started again under its name and shape
 * goes on in its columns.
 */
#ifndef NFOLD_MONITOR_CSV_H
#define NFOLD_MONITOR_CSV_H

#include <stdio.h>

#include "monitor/monitor.h"

struct csv;

/* Writes the header. NULL: out of memory. */
struct csv *csv_create(const struct monitor *monitor, FILE *to);
void csv_row(struct csv *csv, const struct monitor *monitor, FILE *to);
void csv_destroy(struct csv *csv);

/* Guests that run now and have no columns. */
unsigned csv_strangers(const struct csv *csv, const struct monitor *monitor);

#endif
