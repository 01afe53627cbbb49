/* SPDX-License-Identifier: MIT */
/* The history of all guests in an SQLite database. docs/history.md is its contract. */
#ifndef NFOLD_MONITOR_HISTORY_H
#define NFOLD_MONITOR_HISTORY_H

#include "base/error.h"
#include "monitor/monitor.h"

struct history;

/* Opens a database of ours, or makes one. One of another program or version is refused and not changed. */
struct history *history_open(const char *path, struct error *error);
void history_close(struct history *history);

/*
 * Writes the monitor's last reading, which has an interval, and drops what is older than keep_ns, as one transaction:
 * on failure nothing of it is kept, and the database is as it was. HISTORY_FULL: there is no room, which may pass;
 * HISTORY_BUSY: somebody else kept it locked for too long. Both leave *error filled and the history usable.
 */
enum history_result { HISTORY_DONE, HISTORY_FULL, HISTORY_BUSY, HISTORY_FAILED };
enum history_result history_write(struct history *history, const struct monitor *monitor, uint64_t keep_ns,
				  struct error *error);

#endif
