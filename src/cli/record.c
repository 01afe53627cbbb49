/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/command.h"
#include "control/report.h"
#include "control/signals.h"
#include "monitor/history.h"
#include "monitor/monitor.h"

#define SECONDS_MAX 300u
#define NS_PER_DAY UINT64_C(86400000000000)

struct record_options {
	const char *every;
	uint64_t keep, count;
};

#define AT(field) .offset = offsetof(struct record_options, field)

static const struct option record_options[] = {
    {"every", "TIME", "10s", "between readings: 1s to 5min", .kind = OPTION_TEXT, AT(every)},
    {"keep", "DAYS", "30", "how long readings are kept", .kind = OPTION_NUMBER, .minimum = 1, .maximum = 36500,
     AT(keep)},
    {"count", "N", "0", "readings, then end; 0: until told to end", .kind = OPTION_NUMBER, .maximum = 1000000000,
     .letter = 'n', AT(count)},
    {0},
};

/* "10", "10s", "5min", "5m". 0: none of these. */
static unsigned seconds_of(const char *text)
{
	char *end;
	if (text[0] < '0' || text[0] > '9')
		return 0;
	errno = 0;
	unsigned long number = strtoul(text, &end, 10);
	bool minutes = strcmp(end, "min") == 0 || strcmp(end, "m") == 0;
	if (errno != 0 || number > SECONDS_MAX || (!minutes && *end != '\0' && strcmp(end, "s") != 0))
		return 0;
	number *= minutes ? 60 : 1;
	return number <= SECONDS_MAX ? (unsigned)number : 0;
}

struct recorder {
	struct monitor *monitor;
	struct history *history;
	unsigned seconds;
	uint64_t keep_ns, count;
	int signals;
	bool troubled; /* the last reading could not be kept, which was said */
};

static int64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* False: a signal came. */
static bool wait_until(const struct recorder *recorder, int64_t deadline)
{
	struct pollfd poll_fd = {.fd = recorder->signals, .events = POLLIN};
	for (;;) {
		int64_t left = deadline - now_ms();
		if (left <= 0)
			return true;
		if (poll(&poll_fd, 1, (int)left) > 0)
			return false;
	}
}

/* A full disk or a locked file may pass: one line says so, another when it has passed. */
static bool keep_reading(struct recorder *recorder, struct error *error)
{
	struct error why = {0};
	enum history_result result = history_write(recorder->history, recorder->monitor, recorder->keep_ns, &why);
	if (result == HISTORY_FAILED)
		return error_set(error, why.kind, "%s", why.text);
	if (result == HISTORY_DONE) {
		if (recorder->troubled)
			report_line("the history is written again");
		recorder->troubled = false;
		return true;
	}
	if (!recorder->troubled)
		report_line("%s: readings are lost until that is mended", why.text);
	recorder->troubled = true;
	return true;
}

static bool record(struct recorder *recorder, struct error *error)
{
	int64_t next = now_ms();
	if (!monitor_read(recorder->monitor, error))
		return false;
	for (uint64_t i = 0; recorder->count == 0 || i < recorder->count; i++) {
		next += (int64_t)recorder->seconds * 1000;
		if (next < now_ms())
			next = now_ms(); /* the process was stopped */
		if (!wait_until(recorder, next))
			return true;
		if (!monitor_read(recorder->monitor, error) || !keep_reading(recorder, error))
			return false;
	}
	return true;
}

static int record_run(const struct command_call *call)
{
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
	const struct record_options *options = call->options;
	struct recorder recorder = {.seconds = seconds_of(options->every),
				    .keep_ns = options->keep * NS_PER_DAY,
				    .count = options->count,
				    .signals = -1};
	struct error error = {0};
	if (recorder.seconds == 0) {
		report_line("--every takes 1s to 5min, not '%.40s'", options->every);
		return STATUS_INPUT;
	}
	recorder.history = history_open(call->argument[0], &error);
	bool good = recorder.history != NULL;
	if (good) {
		recorder.monitor = monitor_create(&error);
		good = recorder.monitor != NULL;
	}
	if (good) {
		recorder.signals = signals_open(ending, sizeof ending / sizeof ending[0], NULL);
		good = recorder.signals >= 0 || error_set_errno(&error, "cannot wait for signals");
	}
	good = good && record(&recorder, &error);
	if (recorder.signals >= 0)
		close(recorder.signals);
	monitor_destroy(recorder.monitor);
	history_close(recorder.history);
	return good ? STATUS_OK : (int)report_error(&error);
}

const struct command command_record = {
    .name = "record",
    .arguments = "FILE",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "keep a history of all running guests",
    .description = "Writes what every running guest of this user used and waited for into an SQLite database, until\n"
		   "it is told to end by a signal. The file is complete after each reading and goes on where it\n"
		   "ended. docs/history.md describes its tables; nfold plan import reads them.",
    .options = record_options,
    .run = record_run,
};
