/* SPDX-License-Identifier: MIT */
#include "cli/command.h"
#include "cli/guest.h"
#include "cli/hosted.h"
#include "control/report.h"

#define TIMEOUT_MAX 86400
#define KILL_GRACE_MS 2000

struct stop_options {
	uint64_t timeout;
};

static const struct option stop_options[] = {
    {"timeout", "SECONDS", NULL, "wait so long for the guest to power off, then kill it", .kind = OPTION_NUMBER,
     .maximum = TIMEOUT_MAX, .offset = offsetof(struct stop_options, timeout)},
    {0},
};

/* The guest's own process keeps the time, so that the guest ends even if we do not live to see it. */
static int stop_and_wait(const struct runtime *runtime, const char *name, uint64_t seconds, struct error *error)
{
	json_t *result = client_call(runtime, name, "guest.stop", json_pack("{s:I}", "timeout", (json_int_t)seconds),
				     CLIENT_TIMEOUT_MS, error);
	if (result == NULL)
		return (int)report_error(error);
	json_decref(result);
	if (guest_wait_end(runtime, name, (int)seconds * 1000 + KILL_GRACE_MS))
		return STATUS_OK;
	return guest_kill_hard(runtime, name, KILL_GRACE_MS, error) ? STATUS_OK : (int)report_error(error);
}

/* A guest of the host: it has a time limit in any case. */
static int stop_hosted(const char *name, uint64_t timeout)
{
	json_t *params = json_pack("{s:s}", "name", name);
	if (timeout != OPTION_UNSET)
		(void)json_object_set_new(params, "timeout", json_integer((json_int_t)timeout));
	int status = hosted_do("guest.stop", params);
	return status == STATUS_OK ? hosted_wait_stopped(name) : status;
}

static bool is_hosted(const char *name)
{
	json_t *shown = hosted_show(name);
	json_decref(shown);
	return shown != NULL;
}

static int stop_run(const struct command_call *call)
{
	const struct stop_options *options = call->options;
	const char *name = call->argument[0];
	struct runtime runtime;
	struct error error = {0};
	if (name_check(name, NULL) && is_hosted(name))
		return stop_hosted(name, options->timeout);
	if (options->timeout == OPTION_UNSET)
		return guest_do(name, "guest.stop", NULL);
	if (!name_check(name, &error) || !runtime_open(&runtime, false, &error))
		return (int)report_error(&error);
	int status = stop_and_wait(&runtime, name, options->timeout, &error);
	runtime_close(&runtime);
	return status;
}

const struct command command_stop = {
    .name = "stop",
    .arguments = "NAME",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "press a guest's power button",
    .description = "Presses the ACPI power button of a guest, which asks its operating system to shut down. Returns\n"
		   "at once, unless --timeout is given. A guest of the host is killed when its stop-timeout or\n"
		   "--timeout is over, and the command returns when it has ended.",
    .options = stop_options,
    .run = stop_run,
};
