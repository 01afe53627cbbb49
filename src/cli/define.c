/* SPDX-License-Identifier: MIT */
/* The commands on definitions: create, set, show, rm. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/hosted.h"
#include "cli/unhosted.h"
#include "control/definition.h"
#include "control/report.h"
#include "control/runtime.h"

_Static_assert(sizeof(struct definition_options) <= COMMAND_OPTIONS_SIZE, "the options fit where main keeps them");

static bool own_folder(char folder[PATH_MAX], struct error *error)
{
	return getcwd(folder, PATH_MAX) != NULL || error_set_errno(error, "cannot tell the current directory");
}

/* Sends the options that were typed, over those of a file if there is one, as a definition. */
static int send_definition(const char *method, const char *name, const struct option_rest *typed, const char *path)
{
	char folder[PATH_MAX];
	struct definition file = {0};
	struct error error = {0};
	json_t *object = NULL;
	if (own_folder(folder, &error) && (path == NULL || definition_read(&file, path, &error)))
		object = definition_from_given(typed, folder, &error);
	if (object == NULL) {
		definition_free(&file);
		return (int)report_error(&error);
	}
	if (file.object != NULL) {
		json_t *whole = json_deep_copy(file.object);
		(void)json_object_del(whole, "name"); /* what is typed counts */
		(void)json_object_update(whole, object);
		json_decref(object);
		object = whole;
	}
	definition_free(&file);
	return hosted_do(method, json_pack("{s:s, s:o}", "name", name, "definition", object));
}

static int create_run(const struct command_call *call)
{
	const struct definition_options *options = call->options;
	const char *path = call->argument_count > 1 ? call->argument[1] : NULL;
	struct error error = {0};
	struct host_policy policy;
	if (!name_check(call->argument[0], &error) || (path == NULL && (!guest_options_check(&options->guest, &error) ||
									!host_options_check(options, &policy, &error))))
		return (int)report_error(&error);
	return send_definition("guest.create", call->argument[0], call->rest, path);
}

static int set_run(const struct command_call *call)
{
	if (call->rest->given_count == 0) {
		report_line("nothing to set: 'nfold set --help' lists the options");
		return STATUS_INPUT;
	}
	return send_definition("guest.set", call->argument[0], call->rest, NULL);
}

static int show_run(const struct command_call *call)
{
	struct error error = {0};
	if (!name_check(call->argument[0], &error))
		return (int)report_error(&error);
	if (!hosted_runs())
		return unhosted_show(call->argument[0]);
	json_t *shown = hosted_call("guest.show", json_pack("{s:s}", "name", call->argument[0]), &error);
	if (shown == NULL)
		return (int)report_error(&error);
	const json_t *object = json_object_get(shown, "definition");
	char *text = object != NULL ? definition_text(object) : NULL;
	if (text != NULL)
		printf("%s", text);
	else
		report_line("%s", hosted_text(shown, "problem"));
	int status = text != NULL ? STATUS_OK : STATUS_INPUT;
	free(text);
	json_decref(shown);
	return status;
}

static int rm_run(const struct command_call *call)
{
	struct error error = {0};
	if (!name_check(call->argument[0], &error))
		return (int)report_error(&error);
	if (!hosted_runs())
		return unhosted_remove(call->argument[0]);
	return hosted_do("guest.remove", json_pack("{s:s}", "name", call->argument[0]));
}

const struct command command_create = {
    .name = "create",
    .arguments = "NAME [FILE.json]",
    .argument_min = 1,
    .argument_max = 2,
    .summary = "define a guest of the host",
    .description =
	"Defines a guest of the host by options, or by a definition file and options that take the place of\n"
	"its keys. 'nfold start' starts it. Amounts of processors are percent of one (50%), a clock (500MHz)\n"
	"or processors (0.5).",
    .options = definition_option_table,
    .run = create_run,
};

const struct command command_set = {
    .name = "set",
    .arguments = "NAME",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "change a guest's definition",
    .description = "Changes the definition of a guest of the host. Shares, reservation, limit, affinity and how it is\n"
		   "scheduled change at once, also while it runs; the rest when it is started the next time.",
    .options = definition_option_table,
    .run = set_run,
};

const struct command command_show = {
    .name = "show",
    .arguments = "NAME",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "print a guest's definition",
    .description = "Prints the definition of a guest of the host, as 'nfold create' and 'nfold run' read it.",
    .run = show_run,
};

const struct command command_rm = {
    .name = "rm",
    .arguments = "NAME",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "remove a guest of the host",
    .description = "Removes a guest that does not run: its definition and logs. Its disks stay.",
    .run = rm_run,
};
