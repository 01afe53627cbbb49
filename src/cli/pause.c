/* SPDX-License-Identifier: MIT */
#include "cli/command.h"
#include "cli/guest.h"

static int pause_run(const struct command_call *call)
{
	return guest_do(call->argument[0], "guest.pause", NULL);
}

const struct command command_pause = {
    .name = "pause",
    .arguments = "NAME",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "stop a guest's processors and clock",
    .description = "Stops the virtual processors and the virtual clock of a guest until 'nfold resume'.",
    .run = pause_run,
};
