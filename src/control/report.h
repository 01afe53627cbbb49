/* SPDX-License-Identifier: MIT */
/* How errors reach the person at the terminal: one line each, whatever bytes are in it. */
#ifndef NFOLD_CONTROL_REPORT_H
#define NFOLD_CONTROL_REPORT_H

#include "base/error.h"
#include "control/exit_status.h"

/* Writes "nfold: text" and a newline to stderr with one write. Control characters become '?'. */
void report_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Reports an error and returns the exit status that goes with its kind. */
enum exit_status report_error(const struct error *error);

#endif
