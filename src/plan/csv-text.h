/* SPDX-License-Identifier: MIT */
#ifndef NFOLD_PLAN_CSV_TEXT_H
#define NFOLD_PLAN_CSV_TEXT_H

#include <stdio.h>

/* A field with quotes (RFC 4180); a leading '=', '+', '-' or '@' would be a formula to a spreadsheet. */
void csv_text(FILE *to, const char *text);

#endif
