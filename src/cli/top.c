/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "cli/top-screen.h"
#include "cli/top-table.h"
#include "control/report.h"
#include "monitor/csv.h"
#include "monitor/monitor.h"

#define LINE_SIZE 512
#define ONCE_MS 1000

struct top_options {
	bool batch, once;
	uint64_t delay, count;
};

#define AT(field) .offset = offsetof(struct top_options, field)

static const struct option top_options[] = {
    {"batch", NULL, NULL, "write CSV as esxtop -b does, for nfold plan import and other programs", .kind = OPTION_FLAG,
     AT(batch)},
    {"once", NULL, NULL, "watch for a second and print all tables as text", .kind = OPTION_FLAG, AT(once)},
    {"delay", "SECONDS", "2", "between readings", .kind = OPTION_NUMBER, .minimum = 1, .maximum = 3600, .letter = 'd',
     AT(delay)},
    {"count", "N", "0", "readings, then end; 0: until told to end", .kind = OPTION_NUMBER, .maximum = 1000000000,
     .letter = 'n', AT(count)},
    {0},
};

/* To a moment, so that intervals do not grow by what a reading takes. */
static void sleep_until(struct timespec *next, uint64_t milliseconds)
{
	next->tv_sec += (time_t)(milliseconds / 1000);
	next->tv_nsec += (long)(milliseconds % 1000) * 1000000;
	if (next->tv_nsec >= 1000000000) {
		next->tv_nsec -= 1000000000;
		next->tv_sec++;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL) != 0)
		;
}

static void print_view(const struct top_view *view, const struct top_rows *rows)
{
	char line[LINE_SIZE];
	printf("\n%s\n", view->name);
	if (rows->count == 0) {
		printf("%s\n", view->none);
		return;
	}
	top_format_head(view, line, sizeof line);
	printf("%s\n", line);
	for (unsigned i = 0; i < rows->count; i++) {
		top_format_row(view, &rows->row[i], line, sizeof line);
		printf("%s\n", line);
	}
}

static bool print_once(struct monitor *monitor, struct error *error)
{
	char line[LINE_SIZE];
	struct top_rows rows = {0};
	struct timespec next;
	bool good = true;
	(void)clock_gettime(CLOCK_MONOTONIC, &next);
	if (!monitor_read(monitor, error))
		return false;
	sleep_until(&next, ONCE_MS);
	if (!monitor_read(monitor, error))
		return false;
	top_format_summary(monitor, line, sizeof line);
	printf("%s\n", line);
	for (unsigned i = 0; good && top_views[i].name != NULL; i++) {
		good = top_rows_fill(&rows, &top_views[i], top_views[i].first_sort, false, monitor);
		if (good)
			print_view(&top_views[i], &rows);
	}
	top_rows_free(&rows);
	return good || error_set(error, ERROR_HOST, "out of memory");
}

static bool write_rows(struct monitor *monitor, const struct top_options *options, struct csv *csv, struct error *error)
{
	struct timespec next;
	unsigned told = 0;
	(void)clock_gettime(CLOCK_MONOTONIC, &next);
	for (uint64_t i = 0; options->count == 0 || i < options->count; i++) {
		sleep_until(&next, options->delay * 1000);
		if (!monitor_read(monitor, error))
			return false;
		csv_row(csv, monitor, stdout);
		if (fflush(stdout) != 0)
			return error_set_errno(error, "cannot write to standard output");
		unsigned strangers = csv_strangers(csv, monitor);
		if (strangers > told)
			report_line("%u guests came after the first row and have no columns: start again to see them",
				    strangers);
		told = strangers;
	}
	return true;
}

static bool write_batch(struct monitor *monitor, const struct top_options *options, struct error *error)
{
	if (!monitor_read(monitor, error))
		return false;
	struct csv *csv = csv_create(monitor, stdout);
	if (csv == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	bool good = write_rows(monitor, options, csv, error);
	csv_destroy(csv);
	return good;
}

static int top_run(const struct command_call *call)
{
	const struct top_options *options = call->options;
	struct error error = {0};
	if (options->batch && options->once) {
		report_line("--batch and --once are two things: give one of them");
		return STATUS_INPUT;
	}
	struct monitor *monitor = monitor_create(&error);
	bool good = monitor != NULL;
	if (good && options->batch)
		good = write_batch(monitor, options, &error);
	else if (good && options->once)
		good = print_once(monitor, &error);
	else if (good)
		good = top_screen_run(monitor, (unsigned)options->delay, (unsigned long)options->count, &error);
	monitor_destroy(monitor);
	return good ? STATUS_OK : (int)report_error(&error);
}

const struct command command_top = {
    .name = "top",
    .summary = "watch what all running guests use and wait for",
    .description = "Shows all running guests of this user in esxtop's terms: processors by guest and by virtual\n"
		   "processor, overhead by cause, memory, disks and networks. Percent are of one processor. Keys: h\n"
		   "shows them all.",
    .options = top_options,
    .run = top_run,
};
