/* SPDX-License-Identifier: MIT */
/* What was covered: forms by class with their counts. A form with no case fails the run. */
#ifndef NFOLD_INSN_REPORT_H
#define NFOLD_INSN_REPORT_H

#include <stdio.h>

#include "harness.h"

/* Lists every form, with its class, encoding and counts. */
void report_forms(const struct harness *harness, FILE *out);

/* The summary by class. Returns the number of forms that had fewer than `minimum` cases in a variant that applies, or
 * whose covering system test does not exist. */
unsigned report_summary(const struct harness *harness, unsigned minimum, FILE *out);

#endif
