/* SPDX-License-Identifier: MIT */
/* Signals as events: read from a descriptor, never handled in between. */
#ifndef NFOLD_CONTROL_SIGNALS_H
#define NFOLD_CONTROL_SIGNALS_H

#include <signal.h>
#include <stddef.h>

/*
 * Blocks the signals for this thread and returns a signalfd that has them, or -1 with errno. *before, if not NULL, is
 * the mask as it was. SIGINT, SIGQUIT and SIGHUP stay out of it if our parent had us ignore them, as nohup and shells
 * with background jobs do: a blocked signal would arrive all the same. All others get back their default action.
 */
int signals_open(const int *number, size_t count, sigset_t *before);

#endif
