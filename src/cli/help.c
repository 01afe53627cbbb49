/* SPDX-License-Identifier: MIT */
#include "cli/command.h"
#include "control/report.h"

static int help_run(const struct command_call *call)
{
	if (call->argument_count == 0) {
		command_print_list();
		return STATUS_OK;
	}
	const struct command *command = command_find(command_table, call->argument[0]);
	if (command != NULL && call->argument_count == 2)
		command = command->subcommands != NULL ? command_find(command->subcommands, call->argument[1]) : NULL;
	if (command == NULL) {
		report_line("unknown command '%.64s': 'nfold --help' lists the commands",
			    call->argument[call->argument_count - 1]);
		return STATUS_INPUT;
	}
	command_print_help(command);
	return STATUS_OK;
}

const struct command command_help = {
    .name = "help",
    .arguments = "[COMMAND [SUBCOMMAND]]",
    .argument_max = 2,
    .summary = "list the commands, or explain one",
    .description = "Lists the commands, or explains one.",
    .run = help_run,
};
