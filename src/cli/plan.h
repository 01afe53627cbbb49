/* SPDX-License-Identifier: MIT */
/* The commands below `nfold plan`. */
#ifndef NFOLD_CLI_PLAN_H
#define NFOLD_CLI_PLAN_H

#include "cli/command.h"

extern const struct command command_plan_fit, command_plan_report, command_plan_import, command_plan_show,
    command_plan_simulate;

#endif
