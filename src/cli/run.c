/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "cli/child.h"
#include "cli/command.h"
#include "cli/viewer.h"
#include "control/guest_options.h"
#include "control/report.h"
#include "control/runtime.h"

/* The guest is named after what it boots. */
static void make_stem(const struct guest_options *options, char stem[NAME_LENGTH_MAX + 1])
{
	const char *given = guest_options_main_file(options), *file = given != NULL ? given : "guest";
	struct guest_disk image;
	if (!guest_disk_read(file, &image, NULL)) /* a kernel's name may look like anything */
		image = (struct guest_disk){.path = file, .length = strlen(file)};
	char *path = strndup(image.path, image.length);
	name_from_path(path != NULL ? path : "guest", stem);
	free(path);
}

static int run_run(const struct command_call *call)
{
	const struct guest_options *options = call->options;
	char stem[NAME_LENGTH_MAX + 1], reset[VIEWER_RESET_SIZE] = "";
	struct error error = {0};
	if (!guest_options_check(options, &error))
		return (int)report_error(&error);
	struct child_request request = {
	    .name = options->name,
	    .console = strcmp(guest_options_serial(options), "stdio") == 0,
	    .screen = guest_options_show_screen(options),
	    .terminal_reset = reset,
	    .firmware = options->kernel == NULL,
	    .argc = call->argc,
	    .argv = call->argv,
	};
	if (request.screen && !viewer_terminal_check(reset, &error))
		return (int)report_error(&error);
	if (options->name == NULL) {
		make_stem(options, stem);
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
	"Runs a guest in the foreground until it powers off. Firmware boots it from a disk, CD-ROM or floppy;\n"
	"or a --kernel is entered directly. Its first serial port is the terminal, unless --serial or\n"
	"--display says otherwise; Ctrl-] q ends it.\n\n"
	"Exit status: 0 the guest powered off, 2 bad input, 4 the host refused something, 6 triple fault and\n"
	"8 reset with --no-reboot, 10 killed; odd ones come from the guest's --debug-exit port.",
    .options = guest_option_table,
    .run = run_run,
};
