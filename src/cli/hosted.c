/* SPDX-License-Identifier: MIT */
#include "cli/hosted.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/client.h"
#include "control/report.h"

#define POLL_NS 10000000
#define HOST_TIMEOUT_MS 20000 /* the host answers at once, unless the machine is overloaded */

json_t *hosted_call_fd(const char *method, json_t *params, int *fd, struct error *error)
{
	struct runtime runtime;
	*fd = -1;
	if (!runtime_open(&runtime, false, error)) {
		json_decref(params);
		if (error != NULL && error->kind == ERROR_INPUT)
			error_set(error, ERROR_INPUT, "no host runs: 'nfold host start' starts it");
		return NULL;
	}
	json_t *result = client_call_fd(&runtime, RUNTIME_HOST, method, params, HOST_TIMEOUT_MS, fd, error);
	runtime_close(&runtime);
	return result;
}

json_t *hosted_call(const char *method, json_t *params, struct error *error)
{
	int fd;
	json_t *result = hosted_call_fd(method, params, &fd, error);
	if (fd >= 0)
		close(fd);
	return result;
}

bool hosted_runs(void)
{
	struct runtime runtime;
	if (!runtime_open(&runtime, false, NULL))
		return false;
	bool runs = runtime_owner(&runtime, RUNTIME_HOST) != 0;
	runtime_close(&runtime);
	return runs;
}

json_t *hosted_show(const char *name)
{
	return hosted_call("guest.show", json_pack("{s:s}", "name", name), NULL);
}

const char *hosted_text(const json_t *answer, const char *key)
{
	const char *text = json_string_value(json_object_get(answer, key));
	return text != NULL ? text : "";
}

bool hosted_is_active(const json_t *shown)
{
	return json_object_get(shown, "pid") != NULL;
}

int hosted_do(const char *method, json_t *params)
{
	struct error error = {0};
	json_t *result = hosted_call(method, params, &error);
	if (result == NULL)
		return (int)report_error(&error);
	json_decref(result);
	return STATUS_OK;
}

/* A guest whose definition is gone is forgotten with its process; and the host may be gone. */
static bool has_process(const char *name)
{
	struct runtime runtime;
	if (!runtime_open(&runtime, false, NULL))
		return false;
	bool has = runtime_owner(&runtime, name) != 0;
	runtime_close(&runtime);
	return has;
}

/* One look. Returns the exit status, or -1: not yet. */
static int look_stopped(const char *name)
{
	struct error error = {0};
	json_t *shown = hosted_call("guest.show", json_pack("{s:s}", "name", name), &error);
	if (shown == NULL)
		return has_process(name) ? (int)report_error(&error) : STATUS_OK;
	const char *refusal = hosted_text(shown, "refusal");
	int status = hosted_is_active(shown) ? -1 : STATUS_OK;
	if (status < 0 && refusal[0] != '\0') {
		report_line("%s", refusal);
		status = STATUS_INPUT;
	}
	json_decref(shown);
	return status;
}

/* The host has a time limit for it. */
int hosted_wait_stopped(const char *name)
{
	int status;
	while ((status = look_stopped(name)) < 0) {
		struct timespec pause = {.tv_nsec = POLL_NS};
		(void)nanosleep(&pause, NULL);
	}
	return status;
}
