/* SPDX-License-Identifier: MIT */
/* The commands below `nfold plan`. */
#ifndef NFOLD_CLI_PLAN_H
#define NFOLD_CLI_PLAN_H

#include <jansson.h>
#include <stdio.h>

#include "base/error.h"
#include "cli/command.h"

extern const struct command command_plan_fit, command_plan_report, command_plan_import, command_plan_show,
    command_plan_simulate;

/* Writes a plan or a simulation: as CSV by the function, or as JSON without one. What could not be written whole is
 * removed. */
typedef bool plan_csv_function(const json_t *json, FILE *to, struct error *error);
bool plan_file_write(const char *path, const json_t *json, plan_csv_function *csv, struct error *error);

#endif
