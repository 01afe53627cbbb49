/* SPDX-License-Identifier: MIT */
#include "cli/plan.h"

static const struct command *const plan_table[] = {&command_plan_import,   &command_plan_show,	 &command_plan_fit,
						   &command_plan_simulate, &command_plan_report, NULL};

const struct command command_plan = {
    .name = "plan",
    .summary = "fold many servers into few hosts, by what was measured on them",
    .description = "Plans which servers can run as guests of which hosts, by what was measured on them over time.",
    .subcommands = plan_table,
};
