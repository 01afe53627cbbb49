/* SPDX-License-Identifier: MIT */
/* `nfold top` on a terminal. */
#ifndef NFOLD_CLI_TOP_SCREEN_H
#define NFOLD_CLI_TOP_SCREEN_H

#include "base/error.h"
#include "monitor/monitor.h"

/* Runs until the user quits, a signal ends it, or `count` readings were shown (0: no end). */
bool top_screen_run(struct monitor *monitor, unsigned seconds, unsigned long count, struct error *error);

#endif
