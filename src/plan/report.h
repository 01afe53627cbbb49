/* SPDX-License-Identifier: MIT */
/* A plan as one HTML page that needs nothing else: style, script, charts and figures are in it. */
#ifndef NFOLD_PLAN_REPORT_H
#define NFOLD_PLAN_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "base/error.h"

/* Reads plan.json and checks that all is there that the page shows. NULL: *error is filled. */
json_t *report_load(const char *path, struct error *error);

/* The same for bytes in memory; `name` is for messages. */
json_t *report_parse(const char *bytes, size_t length, const char *name, struct error *error);

bool report_write(const json_t *plan, FILE *to, struct error *error);

/* The same for what is in an estate, as `nfold plan show` makes it. */
bool report_write_estate(const json_t *estate, FILE *to, struct error *error);

#endif
