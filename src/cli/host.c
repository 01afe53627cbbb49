/* SPDX-License-Identifier: MIT */
/* nfold host: the daemon. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/hosted.h"
#include "control/daemon_options.h"
#include "control/program.h"
#include "control/report.h"
#include "control/runtime.h"

#define POLL_NS 10000000

/* ---- start ---- */

/* In the child: a session of its own, and errors on our stderr until it is ready. */
static void become_daemon(const struct command_call *call, int ready)
{
	char path[PATH_MAX], text[32];
	char **words = calloc((size_t)call->argc + 3, sizeof *words);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (words != NULL && null >= 0) {
		program_path("nfoldd", path);
		(void)snprintf(text, sizeof text, "--ready-fd=%d", ready);
		words[0] = (char *)(uintptr_t) "nfoldd";
		words[1] = text;
		memcpy(words + 2, call->argv, (size_t)call->argc * sizeof *words);
		(void)setsid();
		(void)fcntl(ready, F_SETFD, 0);
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
		(void)execvp(path, words);
	}
	report_line("cannot start nfoldd: %s; it should be next to nfold or in PATH", strerror(errno));
	_exit(STATUS_HOST);
}

/* The pipe's end without a line: it failed and has said why. */
static int wait_ready(pid_t child, int ready)
{
	char line[16];
	ssize_t got;
	int status;
	do
		got = read(ready, line, sizeof line);
	while (got < 0 && errno == EINTR);
	if (got > 0)
		return STATUS_OK;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return STATUS_HOST;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	report_line("nfoldd was ended by a signal: %s", strsignal(WTERMSIG(status)));
	return STATUS_HOST;
}

static int start_run(const struct command_call *call)
{
	int ready[2];
	pid_t child = -1;
	(void)signal(SIGCHLD, SIG_DFL);
	if (pipe2(ready, O_CLOEXEC) == 0) {
		child = fork();
		if (child == 0)
			become_daemon(call, ready[1]);
		close(ready[1]);
	}
	if (child < 0) {
		report_line("cannot start a process: %s", strerror(errno));
		return STATUS_HOST;
	}
	int status = wait_ready(child, ready[0]);
	close(ready[0]);
	return status;
}

/* ---- stop ---- */

struct stop_options {
	bool guests;
};

static const struct option stop_options[] = {
    {"guests", NULL, NULL, "stop its guests first, as 'nfold stop' does; else they run on", .kind = OPTION_FLAG,
     .offset = offsetof(struct stop_options, guests)},
    {0},
};

static int wait_gone(void)
{
	struct runtime runtime;
	if (!runtime_open(&runtime, false, NULL))
		return STATUS_OK;
	while (runtime_owner(&runtime, RUNTIME_HOST) != 0) {
		struct timespec pause = {.tv_nsec = POLL_NS};
		(void)nanosleep(&pause, NULL);
	}
	runtime_close(&runtime);
	return STATUS_OK;
}

static int stop_run(const struct command_call *call)
{
	const struct stop_options *options = call->options;
	int status = hosted_do("host.stop", json_pack("{s:b}", "guests", options->guests));
	return status == STATUS_OK ? wait_gone() : status;
}

/* ---- status ---- */

static int64_t number(const json_t *answer, const char *key)
{
	return json_integer_value(json_object_get(answer, key));
}

/* What the dispatcher itself costs is a part of all processors. */
static void print_dispatch(void)
{
	struct error error = {0};
	json_t *answer = hosted_call("host.dispatch", NULL, &error);
	if (answer == NULL)
		return;
	double all = (double)number(answer, "wall_ns") * (double)number(answer, "processors");
	printf("processors:  %" PRId64 ", slices of %" PRId64 " ms; the dispatcher takes %.2f %% of them%s\n",
	       number(answer, "processors"), number(answer, "slice_ns") / 1000000,
	       all > 0 ? (double)number(answer, "cpu_ns") / all * 100 : 0,
	       json_is_true(json_object_get(answer, "realtime")) ? "" : " (not in real time: root may)");
	if (number(answer, "withdrawals") > 0)
		printf("preemption:  99 %% of %" PRId64 " within %" PRId64 " us; %" PRId64 " tokens came back late\n",
		       number(answer, "withdrawals"), number(answer, "preemption_p99_us"), number(answer, "late"));
	json_decref(answer);
}

static int status_run(const struct command_call *call)
{
	struct error error = {0};
	json_t *status = hosted_call("host.status", NULL, &error);
	(void)call;
	if (status == NULL)
		return (int)report_error(&error);
	printf("host:        runs, process %" PRId64 ", nfold %s, for %" PRId64 " s\n", number(status, "pid"),
	       hosted_text(status, "version"), number(status, "uptime_ns") / 1000000000);
	printf("guests:      %" PRId64 " defined, %" PRId64 " running\n", number(status, "defined"),
	       number(status, "running"));
	print_dispatch();
	printf("definitions: %s/guests\n", hosted_text(status, "state_directory"));
	if (json_object_get(status, "metrics") != NULL)
		printf("metrics:     %s\n", hosted_text(status, "metrics"));
	json_decref(status);
	return STATUS_OK;
}

static const struct command command_host_start = {
    .name = "host start",
    .summary = "start the host in the background",
    .description =
	"Starts nfoldd, the host, in the background, and with it the guests that say autostart. Returns when\n"
	"it serves. Guests that run already are taken up.",
    .options = daemon_option_table,
    .run = start_run,
};

static const struct command command_host_stop = {
    .name = "host stop",
    .summary = "end the host; its guests run on",
    .description = "Ends the host. Its guests run on, and the next host takes them up, unless --guests is given.",
    .options = stop_options,
    .run = stop_run,
};

static const struct command command_host_status = {
    .name = "host status",
    .summary = "say whether the host runs, and what it has",
    .description = "Says whether the host runs, for how long, how many guests it has, and where their definitions are.",
    .run = status_run,
};

static const struct command *const subcommands[] = {&command_host_start, &command_host_stop, &command_host_status,
						    NULL};

const struct command command_host = {
    .name = "host",
    .summary = "start and stop the host, which keeps guests in the background",
    .description = "The host, nfoldd, keeps guests: it knows their definitions, starts, stops and restarts them, and\n"
		   "divides the processors among them. See nfold(1).",
    .subcommands = subcommands,
};
