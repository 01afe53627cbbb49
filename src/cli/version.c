/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "cli/command.h"

static int version_run(const struct command_call *call)
{
	(void)call;
	printf("nfold %s\n", NFOLD_VERSION);
	return STATUS_OK;
}

const struct command command_version = {
    .name = "version",
    .summary = "print the version",
    .description = "Prints the version of nfold.",
    .run = version_run,
};
