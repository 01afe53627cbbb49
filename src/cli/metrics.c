/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "control/report.h"
#include "control/signals.h"
#include "monitor/metrics-server.h"
#include "monitor/metrics.h"

struct metrics_options {
	const char *listen;
	const char *format;
};

static const char *const format_choices[] = {"openmetrics", "text", NULL};

static const struct option metrics_options[] = {
    {"listen", "WHERE", NULL, "serve /metrics there: PORT of 127.0.0.1 (0: a free one), ADDRESS:PORT or unix:PATH",
     .kind = OPTION_TEXT, .offset = offsetof(struct metrics_options, listen)},
    {"format", "FORMAT", "openmetrics", "of what is printed", .kind = OPTION_CHOICE, .choices = format_choices,
     .offset = offsetof(struct metrics_options, format)},
    {0},
};

static const struct metrics_more nothing_more = {0};

static bool print(struct monitor *monitor, const char *format, struct error *error)
{
	if (!monitor_read(monitor, error))
		return false;
	metrics_write(monitor, &nothing_more, strcmp(format, "text") == 0 ? METRICS_TEXT : METRICS_OPENMETRICS, stdout);
	return true;
}

/* Until a signal comes. */
static bool listen_on(struct monitor *monitor, const char *where, struct error *error)
{
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
	int signals = signals_open(ending, sizeof ending / sizeof ending[0], NULL);
	if (signals < 0)
		return error_set_errno(error, "cannot wait for signals");
	struct metrics_server *server = metrics_server_create(monitor, &nothing_more, where, error);
	bool good = server != NULL;
	if (good) {
		printf("%s\n", metrics_server_url(server));
		good = fflush(stdout) == 0 ? metrics_server_run(server, signals, error)
					   : error_set_errno(error, "cannot write to standard output");
	}
	metrics_server_destroy(server);
	close(signals);
	return good;
}

static int metrics_run(const struct command_call *call)
{
	const struct metrics_options *options = call->options;
	struct error error = {0};
	struct monitor *monitor = monitor_create(&error);
	bool good = monitor != NULL;
	if (good && options->listen == NULL)
		good = print(monitor, options->format, &error);
	else if (good)
		good = listen_on(monitor, options->listen, &error);
	monitor_destroy(monitor);
	return good ? STATUS_OK : (int)report_error(&error);
}

const struct command command_metrics = {
    .name = "metrics",
    .summary = "print or serve metrics of all running guests",
    .description =
	"Prints the ledgers of all running guests of this user as OpenMetrics, or serves them to Prometheus\n"
	"until it is told to end by a signal. docs/ledger.md says what they mean.",
    .options = metrics_options,
    .run = metrics_run,
};
