/* SPDX-License-Identifier: MIT */
/* What is in an estate: for each server its attributes, its time, what the import met, and each series in numbers. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/plan.h"
#include "control/report.h"
#include "plan/estate.h"
#include "plan/report.h"

#define POINTS_MAX 720u /* of a chart */

struct show_options {
	bool json;
	const char *html;
};

static const struct option show_options[] = {
    {"json", NULL, NULL, "print everything as JSON", .kind = OPTION_FLAG,
     .offset = offsetof(struct show_options, json)},
    {"html", "FILE", NULL, "write a page with charts", .kind = OPTION_TEXT,
     .offset = offsetof(struct show_options, html)},
    {0},
};

static const unsigned percentile[] = {50, 90, 95, 99};
#define PERCENTILES (sizeof percentile / sizeof percentile[0])

/* A series' values sorted, without those that are missing. */
struct sorted {
	float *value;
	size_t count;
};

static int compare_floats(const void *a, const void *b)
{
	float left = *(const float *)a, right = *(const float *)b;
	return (left > right) - (left < right);
}

static bool read_sorted(const struct estate *estate, size_t index, enum estate_series series, struct sorted *sorted,
			struct error *error)
{
	const struct estate_grid *grid = &estate_server(estate, index)->grid;
	*sorted = (struct sorted){.value = malloc(grid->count * sizeof(float) + 1)};
	if (sorted->value == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	if (!estate_read(estate, index, series, grid, ESTATE_MEAN, sorted->value, error)) {
		free(sorted->value);
		return false;
	}
	for (uint64_t k = 0; k < grid->count; k++)
		if (!isnan(sorted->value[k]))
			sorted->value[sorted->count++] = sorted->value[k];
	qsort(sorted->value, sorted->count, sizeof(float), compare_floats);
	return true;
}

/* The nearest rank: the smallest value that at least `percent` of 100 values do not exceed. */
static double sorted_percentile(const struct sorted *sorted, unsigned percent)
{
	size_t rank = (sorted->count * percent + 99) / 100;
	return (double)sorted->value[rank > 0 ? rank - 1 : 0];
}

static void format_time(char *text, size_t size, int64_t seconds)
{
	time_t time = (time_t)seconds;
	struct tm parts;
	if (gmtime_r(&time, &parts) == NULL || strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
		(void)snprintf(text, size, "%" PRId64, seconds);
}

static json_t *series_json(const struct estate_server *server, enum estate_series series, const struct sorted *sorted)
{
	const struct estate_summary *summary = &server->series[series];
	json_t *object = json_pack("{s:s, s:I, s:f, s:f, s:f}", "unit", estate_series_unit[series], "values",
				   (json_int_t)summary->present, "minimum", (double)summary->minimum, "mean",
				   (double)summary->mean, "maximum", (double)summary->maximum);
	for (unsigned i = 0; i < PERCENTILES; i++) {
		char key[16];
		(void)snprintf(key, sizeof key, "p%u", percentile[i]);
		(void)json_object_set_new(object, key, json_real(sorted_percentile(sorted, percentile[i])));
	}
	return object;
}

static json_t *notes_json(const struct estate_server *server)
{
	json_t *notes = json_object();
	for (unsigned i = 0; i < ESTATE_NOTE_COUNT; i++)
		(void)json_object_set_new(notes, estate_note_key[i], json_integer((json_int_t)server->note[i]));
	return notes;
}

static json_t *server_json(const struct estate *estate, size_t index, struct error *error)
{
	const struct estate_server *server = estate_server(estate, index);
	char start[40], end[40];
	format_time(start, sizeof start, server->grid.start);
	format_time(end, sizeof end, server->grid.start + (int64_t)server->grid.count * server->grid.interval);
	json_t *all = json_object();
	for (unsigned i = 0; i < ESTATE_SERIES_COUNT; i++) {
		struct sorted sorted;
		if (server->series[i].present == 0)
			continue;
		if (!read_sorted(estate, index, (enum estate_series)i, &sorted, error)) {
			json_decref(all);
			return NULL;
		}
		if (sorted.count != 0)
			(void)json_object_set_new(all, estate_series_key[i],
						  series_json(server, (enum estate_series)i, &sorted));
		free(sorted.value);
	}
	return json_pack("{s:s, s:s, s:I, s:f, s:I, s:f, s:s, s:s, s:I, s:I, s:o, s:o}", "name", server->name, "source",
			 server->source, "cpus", (json_int_t)server->cpus, "mhz", server->mhz, "memory_bytes",
			 (json_int_t)server->memory, "rating", server->rating, "start", start, "end", end, "interval_s",
			 (json_int_t)server->grid.interval, "slots", (json_int_t)server->grid.count, "notes",
			 notes_json(server), "series", all);
}

/* Everything but charts. NULL: *error is filled. */
static json_t *estate_json(const struct estate *estate, struct error *error)
{
	json_t *servers = json_array();
	for (size_t i = 0; i < estate_count(estate); i++) {
		json_t *server = server_json(estate, i, error);
		if (server == NULL) {
			json_decref(servers);
			return NULL;
		}
		(void)json_array_append_new(servers, server);
	}
	json_t *report = json_loads(estate_report(estate), 0, NULL);
	return json_pack("{s:o, s:o}", "import", report != NULL ? report : json_null(), "servers", servers);
}

static bool show_json(const struct estate *estate, struct error *error)
{
	json_t *all = estate_json(estate, error);
	if (all == NULL)
		return false;
	(void)json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	(void)putchar('\n');
	json_decref(all);
	return true;
}

/* The sum of a resource over all servers, as an array; null if no server has it. */
static json_t *total_json(const struct estate *estate, enum estate_resource resource, const struct estate_grid *grid,
			  struct error *error)
{
	double *sum = calloc(grid->count + 1, sizeof *sum);
	float *value = calloc(grid->count + 1, sizeof *value);
	bool good = true, any = false;
	if (sum == NULL || value == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		free(sum);
		free(value);
		return NULL;
	}
	for (size_t i = 0; good && i < estate_count(estate); i++) {
		good = estate_read_resource(estate, i, resource, grid, ESTATE_MEAN, value, error);
		for (uint64_t k = 0; good && k < grid->count; k++) {
			any |= !isnan(value[k]);
			sum[k] += isnan(value[k]) ? 0 : (double)value[k];
		}
	}
	json_t *array = !good ? NULL : any ? json_array() : json_null();
	for (uint64_t k = 0; good && any && k < grid->count; k++)
		(void)json_array_append_new(array, json_real(sum[k]));
	free(sum);
	free(value);
	return array;
}

static json_t *charts_json(const struct estate *estate, const struct estate_grid *grid, struct error *error)
{
	static const char *const text[ESTATE_RESOURCE_COUNT][2] = {[ESTATE_MHZ] = {"Processors", "MHz"},
								   [ESTATE_BYTES] = {"Memory", "bytes"},
								   [ESTATE_DISK] = {"Disks", "bytes/s"},
								   [ESTATE_IOPS] = {"Disks", "operations/s"},
								   [ESTATE_NETWORK] = {"Networks", "bytes/s"}};
	json_t *charts = json_array();
	for (unsigned i = 0; i < ESTATE_RESOURCE_COUNT; i++) {
		json_t *values = total_json(estate, (enum estate_resource)i, grid, error);
		if (values == NULL) {
			json_decref(charts);
			return NULL;
		}
		(void)json_array_append_new(
		    charts, json_pack("{s:s, s:s, s:o}", "text", text[i][0], "unit", text[i][1], "values", values));
	}
	return charts;
}

static json_t *note_texts_json(void)
{
	json_t *texts = json_array();
	for (unsigned i = 0; i < ESTATE_NOTE_COUNT; i++)
		if (i != ESTATE_CLOCK_OFFSET)
			(void)json_array_append_new(
			    texts, json_pack("{s:s, s:s}", "key", estate_note_key[i], "text", estate_note_text[i]));
	return texts;
}

/* So many points as a chart can show. */
static struct estate_grid chart_grid(const struct estate *estate)
{
	struct estate_grid grid = estate_common_grid(estate, 0);
	uint64_t factor = grid.count / POINTS_MAX + 1;
	uint64_t interval = factor * grid.interval;
	return estate_common_grid(estate, interval < ESTATE_INTERVAL_MAX ? (uint32_t)interval : ESTATE_INTERVAL_MAX);
}

static json_t *page_json(const struct estate *estate, struct error *error)
{
	const struct estate_grid grid = chart_grid(estate);
	json_t *charts = charts_json(estate, &grid, error);
	json_t *all = charts != NULL ? estate_json(estate, error) : NULL;
	if (all == NULL) {
		json_decref(charts);
		return NULL;
	}
	(void)json_object_set_new(all, "note_texts", note_texts_json());
	(void)json_object_set_new(all, "totals",
				  json_pack("{s:I, s:I, s:I, s:o}", "start", (json_int_t)grid.start, "interval",
					    (json_int_t)grid.interval, "slots", (json_int_t)grid.count, "charts",
					    charts));
	return all;
}

static bool show_html(const struct estate *estate, const char *path, struct error *error)
{
	json_t *all = page_json(estate, error);
	if (all == NULL)
		return false;
	FILE *file = fopen(path, "w");
	bool good =
	    file != NULL ? report_write_estate(all, file, error) : error_set_errno(error, "cannot write %.200s", path);
	if (file != NULL && fclose(file) != 0 && good)
		good = error_set_errno(error, "cannot write %.200s", path);
	if (file != NULL && !good)
		(void)unlink(path);
	json_decref(all);
	return good;
}

/* 12.3 G and the like; shares as percent. */
static void format_value(char *text, size_t size, enum estate_series series, double value)
{
	static const char prefixes[] = " kMGTPE";
	unsigned power = 0;
	if (estate_series_unit[series][0] == '\0') {
		(void)snprintf(text, size, "%.1f %%", 100 * value);
		return;
	}
	for (; value >= 1000 && prefixes[power + 1] != '\0'; power++)
		value /= 1000;
	(void)snprintf(text, size, "%.*f %c", power > 0 || value >= 100 ? 1 : 2, value, prefixes[power]);
}

static void print_series(const struct estate_server *server, enum estate_series series, const struct sorted *sorted)
{
	const struct estate_summary *summary = &server->series[series];
	double value[PERCENTILES + 2] = {(double)summary->mean};
	for (unsigned i = 0; i < PERCENTILES; i++)
		value[i + 1] = sorted_percentile(sorted, percentile[i]);
	value[PERCENTILES + 1] = (double)summary->maximum;
	printf("  %-15s", estate_series_key[series]);
	for (unsigned i = 0; i < PERCENTILES + 2; i++) {
		char text[32];
		format_value(text, sizeof text, series, value[i]);
		printf(" %9s", text);
	}
	printf("  %s\n", estate_series_unit[series]);
}

static void print_unknown(const char *format, double value, const char *unknown)
{
	if (value > 0)
		printf(format, value);
	else
		printf("%s", unknown);
}

static void print_head(const struct estate_server *server)
{
	char start[40], end[40];
	format_time(start, sizeof start, server->grid.start);
	format_time(end, sizeof end, server->grid.start + (int64_t)server->grid.count * server->grid.interval);
	printf("\n%s: ", server->name);
	print_unknown("%.0f processors", server->cpus, "processors unknown");
	print_unknown(" of %.0f MHz", server->mhz, ", clock unknown");
	print_unknown(", %.1f GiB", (double)server->memory / 1073741824, ", memory unknown");
	print_unknown(", rating %g", server->rating, "");
	printf("\n  %s to %s, %" PRIu64 " slots of %" PRIu32 " s, from %s\n", start, end, server->grid.count,
	       server->grid.interval, server->source);
	for (unsigned i = 0; i < ESTATE_NOTE_COUNT; i++)
		if (server->note[i] != 0)
			printf("  %10" PRId64 " %s\n", (int64_t)server->note[i], estate_note_text[i]);
}

static bool print_server(const struct estate *estate, size_t index, struct error *error)
{
	const struct estate_server *server = estate_server(estate, index);
	print_head(server);
	printf("  %-15s %9s %9s %9s %9s %9s %9s\n", "", "mean", "50 %", "90 %", "95 %", "99 %", "peak");
	for (unsigned i = 0; i < ESTATE_SERIES_COUNT; i++) {
		struct sorted sorted;
		if (server->series[i].present == 0)
			continue;
		if (!read_sorted(estate, index, (enum estate_series)i, &sorted, error))
			return false;
		if (sorted.count != 0)
			print_series(server, (enum estate_series)i, &sorted);
		free(sorted.value);
	}
	return true;
}

static bool show_text(const struct estate *estate, struct error *error)
{
	struct estate_grid grid = estate_common_grid(estate, 0);
	char start[40], end[40];
	format_time(start, sizeof start, grid.start);
	format_time(end, sizeof end, grid.start + (int64_t)grid.count * grid.interval);
	printf("%zu servers, %s to %s, interval up to %" PRIu32 " s\n", estate_count(estate), start, end,
	       grid.interval);
	for (size_t i = 0; i < estate_count(estate); i++)
		if (!print_server(estate, i, error))
			return false;
	return true;
}

static int show_run(const struct command_call *call)
{
	const struct show_options *options = call->options;
	struct error error = {0};
	struct estate *estate = estate_open(call->argument[0], &error);
	bool good = estate != NULL;
	if (good && options->html != NULL)
		good = show_html(estate, options->html, &error);
	else if (good)
		good = options->json ? show_json(estate, &error) : show_text(estate, &error);
	estate_close(estate);
	return good ? STATUS_OK : (int)report_error(&error);
}

const struct command command_plan_show = {
    .name = "plan show",
    .arguments = "ESTATE",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "show what is in an estate",
    .description = "Shows the servers of an estate: what is known of each, when it was measured, what the import met,\n"
		   "and the mean, percentiles and peak of each series. Percentiles are of the slots that have a value.",
    .options = show_options,
    .run = show_run,
};
