/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "cli/child.h"
#include "cli/command.h"
#include "control/guest_options.h"
#include "control/report.h"
#include "control/runtime.h"

static int run_run(const struct command_call *call)
{
	const struct guest_options *options = call->options;
	char stem[NAME_LENGTH_MAX + 1];
	struct error error = {0};
	if (!guest_options_check(options, &error))
		return (int)report_error(&error);
	struct child_request request = {
	    .name = options->name,
	    .console = strcmp(options->serial, "stdio") == 0,
	    .argc = call->argc,
	    .argv = call->argv,
	};
	if (options->name == NULL) {
		name_from_path(options->kernel, stem);
		request.name = stem;
		request.name_free = true;
	}
	return child_run(&request);
}

_Static_assert(sizeof(struct guest_options) <= COMMAND_OPTIONS_SIZE, "the options fit where main keeps them");

const struct command command_run = {
    .name = "run",
    .arguments = NULL,
    .summary = "run a guest in the foreground",
    .description =
	"Runs a guest in the foreground until it powers off. Its first serial port is the terminal, unless\n"
	"--serial says otherwise; Ctrl-] q ends it.\n\n"
	"Exit status: 0 the guest powered off, 2 bad input, 4 the host refused something, 6 triple fault and\n"
	"8 reset with --no-reboot, 10 killed; odd ones come from the guest's --debug-exit port.",
    .options = guest_option_table,
    .run = run_run,
};
