/* SPDX-License-Identifier: MIT */
#include "cli/command.h"
#include "control/report.h"

static int help_run(const struct command_call *call)
{
	if (call->argument_count == 0) {
		command_print_list();
		return STATUS_OK;
	}
	const struct command *command = command_find(call->argument[0]);
	if (command == NULL) {
		report_line("unknown command '%.64s': 'nfold --help' lists the commands", call->argument[0]);
		return STATUS_INPUT;
	}
	command_print_help(command);
	return STATUS_OK;
}

const struct command command_help = {
    .name = "help",
    .arguments = "[COMMAND]",
    .argument_max = 1,
    .summary = "list the commands, or explain one",
    .description = "Lists the commands, or explains one.",
    .run = help_run,
};
