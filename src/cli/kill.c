/* SPDX-License-Identifier: MIT */
#include "cli/command.h"
#include "cli/guest.h"
#include "control/report.h"

/* Together well under the second that a kill may take. */
#define ASK_MS 250
#define END_MS 300
#define HARD_MS 350

/* A guest's process that is in order ends by itself when asked, and removes its files. */
static bool ask(const struct runtime *runtime, const char *name)
{
	json_t *result = client_call(runtime, name, "guest.kill", NULL, ASK_MS, NULL);
	json_decref(result);
	return result != NULL && guest_wait_end(runtime, name, END_MS);
}

static int kill_in(const struct runtime *runtime, const char *name, struct error *error)
{
	if (runtime_owner(runtime, name) == 0) {
		error_set(error, ERROR_INPUT, "no guest named '%s' runs: 'nfold list' shows those that do", name);
		return (int)report_error(error);
	}
	if (ask(runtime, name) || guest_kill_hard(runtime, name, HARD_MS, error))
		return STATUS_OK;
	return (int)report_error(error);
}

static int kill_run(const struct command_call *call)
{
	struct runtime runtime;
	struct error error = {0};
	if (!name_check(call->argument[0], &error) || !runtime_open(&runtime, false, &error))
		return (int)report_error(&error);
	int status = kill_in(&runtime, call->argument[0], &error);
	runtime_close(&runtime);
	return status;
}

const struct command command_kill = {
    .name = "kill",
    .arguments = "NAME",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "end a guest at once",
    .description = "Ends a guest at once, as pulling its plug would. Works within a second, whatever the guest does.",
    .run = kill_run,
};
