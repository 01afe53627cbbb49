/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/guest.h"
#include "control/report.h"

/* One guest that does not answer must not keep the others from being shown. */
#define STATUS_TIMEOUT_MS 500

static void print_uptime(uint64_t seconds)
{
	if (seconds >= 86400)
		printf("%" PRIu64 "d", seconds / 86400);
	printf("%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 "\n", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
}

static void print_guest(void *opaque, const char *name, pid_t owner)
{
	const struct runtime *runtime = opaque;
	json_t *status = client_call(runtime, name, "guest.status", NULL, STATUS_TIMEOUT_MS, NULL);
	if (status == NULL) {
		/* It may have ended between the two looks. */
		if (runtime_owner(runtime, name) != 0)
			printf("%-20s %-12s %8d %9s %4s %s\n", name, "no-answer", (int)owner, "-", "-", "-");
		return;
	}
	const char *state = json_string_value(json_object_get(status, "state"));
	printf("%-20s %-12s %8d %8" PRIu64 "M %4d ", name, state != NULL ? state : "?", (int)owner,
	       (uint64_t)json_integer_value(json_object_get(status, "memory_bytes")) >> 20,
	       (int)json_integer_value(json_object_get(status, "cpus")));
	print_uptime((uint64_t)json_integer_value(json_object_get(status, "uptime_ns")) / 1000000000u);
	json_decref(status);
}

static int list_run(const struct command_call *call)
{
	struct runtime runtime;
	struct error error = {0};
	(void)call;
	printf("%-20s %-12s %8s %9s %4s %s\n", "NAME", "STATE", "PID", "MEMORY", "CPUS", "UPTIME");
	if (!runtime_open(&runtime, false, &error)) /* no directory: no guest has run yet */
		return error.kind == ERROR_INPUT ? STATUS_OK : (int)report_error(&error);
	bool good = runtime_visit(&runtime, print_guest, &runtime, &error);
	runtime_close(&runtime);
	return good ? STATUS_OK : (int)report_error(&error);
}

const struct command command_list = {
    .name = "list",
    .summary = "show the running guests",
    .description = "Shows the running guests of this user: name, state, process, memory, processors and time\n"
		   "since the start.",
    .run = list_run,
};
