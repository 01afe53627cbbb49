/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/guest.h"
#include "cli/hosted.h"
#include "cli/unhosted.h"
#include "control/report.h"

/* One guest that does not answer must not keep the others from being shown. */
#define STATUS_TIMEOUT_MS 500
#define HOST_TIMEOUT_MS 5000

struct row {
	char name[NAME_LENGTH_MAX + 1];
	json_t *hosted; /* what the host says of it, or NULL */
	pid_t owner;	/* 0: it has no process */
};

struct rows {
	struct row *row;
	size_t count;
	const struct runtime *runtime; /* NULL: nothing has run yet */
	bool hosted;		       /* a host runs */
};

/* The row of that name, a new one if there is none; NULL: out of memory. */
static struct row *row_of(struct rows *rows, const char *name)
{
	for (size_t i = 0; i < rows->count; i++)
		if (strcmp(rows->row[i].name, name) == 0)
			return &rows->row[i];
	struct row *grown = realloc(rows->row, (rows->count + 1) * sizeof *grown);
	if (grown == NULL)
		return NULL;
	rows->row = grown;
	struct row *row = &grown[rows->count++];
	*row = (struct row){0};
	(void)snprintf(row->name, sizeof row->name, "%s", name);
	return row;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->name, ((const struct row *)b)->name);
}

static void add_running(void *opaque, const char *name, pid_t owner)
{
	struct row *row = row_of(opaque, name);
	if (row != NULL)
		row->owner = owner;
}

static void add_hosted(struct rows *rows)
{
	json_t *answer;
	const json_t *guest;
	size_t i;
	rows->hosted = rows->runtime != NULL && runtime_owner(rows->runtime, RUNTIME_HOST) != 0;
	if (rows->hosted)
		answer = client_call(rows->runtime, RUNTIME_HOST, "host.guests", NULL, HOST_TIMEOUT_MS, NULL);
	else
		answer = unhosted_guests();
	json_array_foreach(json_object_get(answer, "guests"), i, guest)
	{
		struct row *row = row_of(rows, hosted_text(guest, "name"));
		if (row != NULL)
			row->hosted = json_incref((json_t *)(uintptr_t)guest);
	}
	json_decref(answer);
}

static uint64_t number(const json_t *answer, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(answer, key));
}

static void print_uptime(uint64_t seconds)
{
	char text[32] = "";
	if (seconds >= 86400)
		(void)snprintf(text, sizeof text, "%" PRIu64 "d", seconds / 86400);
	printf("%s%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64, text, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
}

static void print_size(const json_t *about)
{
	if (json_object_get(about, "cpus") != NULL)
		printf("%8" PRIu64 "M %4d ", number(about, "memory_bytes") >> 20, (int)number(about, "cpus"));
	else
		printf("%9s %4s ", "-", "-");
}

/* A guest without a process: why it ended, or why it cannot start. */
static void print_idle(const struct row *row)
{
	const char *problem = hosted_text(row->hosted, "problem");
	const char *reason = hosted_text(json_object_get(row->hosted, "end"), "reason");
	printf("%-20s %-12s %8s ", row->name, hosted_text(row->hosted, "state"), "-");
	print_size(row->hosted);
	printf("%-8s", "-");
	printf("%s%s\n", problem[0] != '\0' || reason[0] != '\0' ? " " : "", problem[0] != '\0' ? problem : reason);
}

static void print_running(const struct rows *rows, const struct row *row)
{
	json_t *status = client_call(rows->runtime, row->name, "guest.status", NULL, STATUS_TIMEOUT_MS, NULL);
	if (status == NULL) {
		/* It may have ended between the two looks. */
		if (runtime_owner(rows->runtime, row->name) != 0)
			printf("%-20s %-12s %8d %9s %4s %s\n", row->name, "no-answer", (int)row->owner, "-", "-", "-");
		return;
	}
	const char *state = hosted_text(status, "state");
	bool stopping = strcmp(hosted_text(row->hosted, "state"), "stopping") == 0;
	printf("%-20s %-12s %8d ", row->name, stopping ? "stopping" : state[0] != '\0' ? state : "?", (int)row->owner);
	print_size(status);
	print_uptime(number(status, "uptime_ns") / 1000000000u);
	printf("\n");
	json_decref(status);
}

static bool print_rows(const struct runtime *runtime, struct error *error)
{
	struct rows rows = {.runtime = runtime};
	add_hosted(&rows);
	bool good = runtime == NULL || runtime_visit(runtime, add_running, &rows, error), idle = false;
	if (rows.count > 0)
		qsort(rows.row, rows.count, sizeof *rows.row, by_name);
	for (size_t i = 0; i < rows.count; i++) {
		if (rows.row[i].owner != 0)
			print_running(&rows, &rows.row[i]);
		else if (rows.row[i].hosted != NULL)
			print_idle(&rows.row[i]);
		idle |= rows.row[i].owner == 0;
		json_decref(rows.row[i].hosted);
	}
	free(rows.row);
	if (idle && !rows.hosted) {
		(void)fflush(stdout);
		report_line("no host runs to start these: 'nfold host start' starts it");
	}
	return good;
}

static int list_run(const struct command_call *call)
{
	struct runtime runtime;
	struct error error = {0};
	(void)call;
	printf("%-20s %-12s %8s %9s %4s %s\n", "NAME", "STATE", "PID", "MEMORY", "CPUS", "UPTIME");
	bool there = runtime_open(&runtime, false, &error);
	if (!there && error.kind != ERROR_INPUT)
		return (int)report_error(&error);
	bool good = print_rows(there ? &runtime : NULL, &error); /* without a directory no guest has run yet */
	if (there)
		runtime_close(&runtime);
	return good ? STATUS_OK : (int)report_error(&error);
}

const struct command command_list = {
    .name = "list",
    .summary = "show the guests",
    .description =
	"Shows the running guests of this user: name, state, process, memory, processors and time\n"
	"since the start; and of the host's guests also those that do not run, with the reason of their end,\n"
	"also while no host runs.",
    .run = list_run,
};
