/* SPDX-License-Identifier: MIT */
#include "cli/command.h"
#include "cli/guest.h"

static int reset_run(const struct command_call *call)
{
	return guest_do(call->argument[0], "guest.reset", NULL);
}

const struct command command_reset = {
    .name = "reset",
    .arguments = "NAME",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "press a guest's reset button",
    .description = "Resets a guest as its reset button would. What it has not written to a disk is lost.",
    .run = reset_run,
};
