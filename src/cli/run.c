/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/child.h"
#include "cli/command.h"
#include "cli/viewer.h"
#include "control/definition.h"
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

static int run_words(const struct guest_options *options, int argc, char *const *argv)
{
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
	    .argc = argc,
	    .argv = argv,
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

/* ---- with a definition file ---- */

/* Whether the word of a definition, --KEY or --KEY=VALUE, stands for an option that was typed as well. */
static bool was_typed(const struct option_rest *rest, const char *word)
{
	char key[64];
	(void)snprintf(key, sizeof key, "%.*s", (int)strcspn(word + 2, "="), word + 2);
	return option_was_given(rest, key);
}

/* The file's words, but for what was typed, and then what was typed, but for the file's name. *count of them,
 * allocated. NULL: out of memory. */
static char **merge_words(const struct command_call *call, const struct definition *definition, int *count)
{
	char **words = calloc(definition->guest_words + (size_t)call->argc + 1, sizeof *words);
	*count = 0;
	for (unsigned i = 0; words != NULL && i < definition->guest_words; i++)
		if (!was_typed(call->rest, definition->word[i]))
			words[(*count)++] = definition->word[i];
	for (int i = 0; words != NULL && i < call->argc; i++)
		if (call->argv[i] != call->argument[0])
			words[(*count)++] = call->argv[i];
	return words;
}

static int run_definition(const struct command_call *call)
{
	struct definition definition;
	struct guest_options options = {0};
	struct option_rest rest;
	struct error error = {0};
	int count, status;
	if (!definition_is_path(call->argument[0]))
		error_set(&error, ERROR_INPUT,
			  "'%.64s': give an option, or a definition file, whose name ends in " DEFINITION_SUFFIX,
			  call->argument[0]);
	if (error.kind != ERROR_NONE || !definition_read(&definition, call->argument[0], &error))
		return (int)report_error(&error);
	char **words = merge_words(call, &definition, &count);
	if (words == NULL)
		error_set(&error, ERROR_HOST, "out of memory");
	if (words != NULL &&
	    options_parse(guest_option_table, OPTIONS_FROM_PERSON, "nfold run", count, words, &options, &rest, &error))
		status = run_words(&options, count, words);
	else
		status = (int)report_error(&error);
	free(words);
	definition_free(&definition);
	return status;
}

static int run_run(const struct command_call *call)
{
	return call->argument_count > 0 ? run_definition(call) : run_words(call->options, call->argc, call->argv);
}

_Static_assert(sizeof(struct guest_options) <= COMMAND_OPTIONS_SIZE, "the options fit where main keeps them");

const struct command command_run = {
    .name = "run",
    .arguments = "[FILE.json]",
    .argument_max = 1,
    .summary = "run a guest in the foreground",
    .description =
	"Runs a guest in the foreground until it powers off. Firmware boots it from a disk, CD-ROM or floppy;\n"
	"or a --kernel is entered directly. Its first serial port is the terminal, unless --serial or\n"
	"--display says otherwise; Ctrl-] q ends it.\n\n"
	"With a FILE.json, the guest's definition, its keys are options; those that are given besides replace\n"
	"the file's. Names of files in it are relative to its folder.\n\n"
	"Exit status: 0 the guest powered off, 2 bad input, 4 the host refused something, 6 triple fault and\n"
	"8 reset with --no-reboot, 10 killed, 12 stopped for a forbidden system call; odd ones come from the\n"
	"guest's --debug-exit port.",
    .options = guest_option_table,
    .run = run_run,
};
