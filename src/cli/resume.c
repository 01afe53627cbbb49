/* SPDX-License-Identifier: MIT */
#include "cli/command.h"
#include "cli/guest.h"

static int resume_run(const struct command_call *call)
{
	return guest_do(call->argument[0], "guest.resume", NULL);
}

const struct command command_resume = {
    .name = "resume",
    .arguments = "NAME",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "go on after a pause",
    .description = "Lets a paused guest go on. Its clock continues where it stood.",
    .run = resume_run,
};
