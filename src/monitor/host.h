/* SPDX-License-Identifier: MIT */
/* The machine below, from /proc/stat and /proc/meminfo. */
#ifndef NFOLD_MONITOR_HOST_H
#define NFOLD_MONITOR_HOST_H

#include "monitor/monitor.h"

/* What cannot be read is 0. `first`: there is nothing to take a difference from. */
void host_read(struct monitor_host *host, bool first);

#endif
