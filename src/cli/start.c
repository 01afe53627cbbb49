/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "cli/hosted.h"
#include "control/report.h"

#define POLL_NS 10000000

/* What came of it. Returns the exit status, or -1: not yet. */
static int look(const char *name, json_int_t start)
{
	struct error error = {0};
	json_t *shown = hosted_call("guest.show", json_pack("{s:s}", "name", name), &error);
	if (shown == NULL)
		return (int)report_error(&error);
	int status = strcmp(hosted_text(shown, "state"), "starting") == 0 ? -1 : STATUS_OK;
	const json_t *end = json_object_get(shown, "end");
	/* A guest that has powered off by now did run. One that could not be started has a status of ours. */
	json_int_t code = json_integer_value(json_object_get(end, "status"));
	bool failed = json_object_get(end, "signal") != NULL || code == STATUS_INPUT || code == STATUS_HOST;
	if (status == STATUS_OK && !hosted_is_active(shown) && failed &&
	    json_integer_value(json_object_get(end, "starts")) >= start) {
		report_line("guest '%s' did not start: %s", name, hosted_text(end, "reason"));
		status = code == STATUS_INPUT ? STATUS_INPUT : STATUS_HOST;
	}
	json_decref(shown);
	return status;
}

static int start_run(const struct command_call *call)
{
	const char *name = call->argument[0];
	struct error error = {0};
	json_t *started = hosted_call("guest.start", json_pack("{s:s}", "name", name), &error);
	if (started == NULL)
		return (int)report_error(&error);
	json_int_t start = json_integer_value(json_object_get(started, "starts"));
	json_decref(started);
	int status;
	while ((status = look(name, start)) < 0) {
		struct timespec pause = {.tv_nsec = POLL_NS};
		(void)nanosleep(&pause, NULL);
	}
	return status;
}

const struct command command_start = {
    .name = "start",
    .arguments = "NAME",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "start a guest of the host",
    .description = "Starts a guest of the host, and returns when it runs. 'nfold console' is its serial port.",
    .run = start_run,
};
