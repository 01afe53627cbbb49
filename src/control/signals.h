/* SPDX-License-Identifier: MIT */
/* Signals as events: read from a descriptor, never handled in between. */
#ifndef NFOLD_CONTROL_SIGNALS_H
#define NFOLD_CONTROL_SIGNALS_H

#include <signal.h>
#include <stddef.h>

/*
 * Blocks the signals for this thread. *set is those that may arrive; *before, if not NULL, the mask as it was. Signals
 * that our parent had us ignore, as nohup and shells with background jobs do, stay ignored: blocked, they would arrive
 * all the same. Only SIGTERM and SIGCHLD get back their default action.
 */
void signals_block(const int *number, size_t count, sigset_t *set, sigset_t *before);
/* The same, and returns a signalfd that has them, or -1 with errno. */
int signals_open(const int *number, size_t count, sigset_t *before);

#endif
