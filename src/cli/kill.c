/* SPDX-License-Identifier: MIT */
#include <time.h>

#include "cli/command.h"
#include "cli/guest.h"
#include "control/report.h"

/* Together well under the second that a kill may take. */
#define ASK_MS 250
#define END_MS 300
#define HARD_MS 350
#define POLL_MS 5

/* A guest's process that is in order ends by itself when asked, and removes its files. */
static bool ask(const struct runtime *runtime, const char *name)
{
	json_t *result = client_call(runtime, name, "guest.kill", NULL, ASK_MS, NULL);
	json_decref(result);
	return result != NULL && guest_wait_end(runtime, name, END_MS);
}

/* So that it does not start it again. The host may be busy: that must not keep us from killing. */
static bool tell_host(const struct runtime *runtime, const char *name)
{
	if (runtime_owner(runtime, RUNTIME_HOST) == 0)
		return false;
	json_t *told = client_call(runtime, RUNTIME_HOST, "guest.kill", json_pack("{s:s}", "name", name), ASK_MS, NULL);
	json_decref(told);
	return told != NULL;
}

/* The name is free a moment before the process is gone. Whoever starts the guest again now should not be told that it
 * runs. */
static void host_wait_end(const struct runtime *runtime, const char *name)
{
	bool ends = true;
	for (unsigned i = 0; ends && i < END_MS / POLL_MS; i++) {
		struct timespec pause = {.tv_nsec = POLL_MS * 1000000};
		json_t *shown =
		    client_call(runtime, RUNTIME_HOST, "guest.show", json_pack("{s:s}", "name", name), ASK_MS, NULL);
		ends = json_object_get(shown, "pid") != NULL;
		json_decref(shown);
		if (ends)
			(void)nanosleep(&pause, NULL);
	}
}

static int kill_in(const struct runtime *runtime, const char *name, struct error *error)
{
	bool told = tell_host(runtime, name);
	if (told && guest_wait_end(runtime, name, END_MS)) {
		host_wait_end(runtime, name);
		return STATUS_OK;
	}
	if (!told && runtime_owner(runtime, name) == 0) {
		error_set(error, ERROR_INPUT, "no guest named '%s' runs: 'nfold list' shows those that do", name);
		return (int)report_error(error);
	}
	if ((!told && ask(runtime, name)) || guest_kill_hard(runtime, name, HARD_MS, error))
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
