/* SPDX-License-Identifier: MIT */
/*
 * `sadf -d`: rows with semicolons. A section for each activity, which begins with a line of names, "#
 * hostname;interval; timestamp;CPU;%user;..."; activities of parts have a row for each part and time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/parse.h"
#include "plan/sar.h"
#include "plan/value.h"

#define FIELDS_MAX 64u
#define HOST_MAX 256u

enum section { SECTION_NONE, SECTION_MACHINE, SECTION_CPU, SECTION_DISK, SECTION_INTERFACE };

struct sadf {
	struct parse *parse;
	struct rows *rows;
	enum section section;
	enum sar_field field[FIELDS_MAX]; /* of the section's columns */
	size_t fields;
	bool any; /* a field that matters was met */
	/* The sample that is being put together. */
	bool open;
	struct sar_sample sample;
	size_t server;
	int64_t time_ms;
	double interval;
	char host[HOST_MAX], time_text[64], interval_text[32];
	double cpus;   /* of the server, by the numbers of its processors */
	size_t totals; /* the server whose disks have come as totals */
	struct local_clock clock;
	bool remarked;
};

static bool flush_sample(struct sadf *sadf, struct error *error)
{
	if (!sadf->open)
		return true;
	sadf->open = false;
	return sar_sample_add(sadf->parse, sadf->server, &sadf->sample, sadf->time_ms, sadf->interval, error);
}

/* The server's last row was read. */
static void end_server(struct sadf *sadf)
{
	if (sadf->server != SIZE_MAX)
		collector_attribute(sadf->parse->collector, sadf->server, COLLECT_CPUS, sadf->cpus, false);
	sadf->cpus = 0;
}

static enum section section_of(const char *name)
{
	if (strcmp(name, "CPU") == 0)
		return SECTION_CPU;
	if (strcmp(name, "DEV") == 0)
		return SECTION_DISK;
	return strcmp(name, "IFACE") == 0 ? SECTION_INTERFACE : SECTION_MACHINE;
}

static bool section_has(enum section section, enum sar_field field)
{
	static const enum sar_part part[] = {[SECTION_MACHINE] = SAR_MACHINE,
					     [SECTION_CPU] = SAR_MACHINE,
					     [SECTION_DISK] = SAR_DISK,
					     [SECTION_INTERFACE] = SAR_INTERFACE};
	return sar_field_part(field) == part[section];
}

/* "%idle[...]": with -h, the next activity follows in the same row. */
static enum sar_field field_of(const char *name)
{
	char plain[32];
	(void)snprintf(plain, sizeof plain, "%.*s", (int)strcspn(name, "["), name);
	return sar_field_find(plain, false);
}

static bool read_names(struct sadf *sadf, struct error *error)
{
	if (!flush_sample(sadf, error))
		return false;
	sadf->fields = rows_count(sadf->rows);
	sadf->section = SECTION_NONE;
	if (sadf->fields < 4 || sadf->fields > FIELDS_MAX)
		return true;
	enum section section = section_of(rows_field(sadf->rows, 3));
	for (size_t i = 0; i < sadf->fields; i++) {
		enum sar_field field = i < 3 ? SAR_FIELD_COUNT : field_of(rows_field(sadf->rows, i));
		bool fits = field != SAR_FIELD_COUNT && section_has(section, field);
		sadf->field[i] = fits ? field : SAR_FIELD_COUNT;
		if (fits)
			sadf->section = section;
	}
	sadf->any |= sadf->section != SECTION_NONE;
	sadf->clock = (struct local_clock){0};
	sadf->time_text[0] = '\0';
	collector_rewind(sadf->parse->collector);
	return true;
}

/* "LINUX-RESTART	(4 CPU)": how many processors there are from then on. */
static void read_restart(struct sadf *sadf, const char *text)
{
	const char *open = strchr(text, '(');
	unsigned count = 0;
	if (open != NULL && sscanf(open, "(%u CPU)", &count) == 1)
		collector_attribute(sadf->parse->collector, sadf->server, COLLECT_CPUS, count, false);
}

static bool read_time(struct sadf *sadf, const char *text, int64_t *time_ms)
{
	struct value_time time;
	bool stepped;
	if (!value_time_read(text, &time) && !value_epoch_read(text, strlen(text), &time))
		return false;
	*time_ms = time.ms;
	if (time.zoned)
		return true;
	*time_ms = local_clock_time(&sadf->clock, time.ms, &stepped) - sadf->parse->zone * INT64_C(1000);
	if (stepped)
		collector_note(sadf->parse->collector, sadf->server, ESTATE_CLOCK_STEP, 1);
	if (!sadf->parse->zone_given && !sadf->remarked)
		parse_remark(sadf->parse, "local times of an unknown zone are taken for UTC (--timezone)");
	sadf->remarked = true;
	return true;
}

static bool read_host(struct sadf *sadf, const char *host, struct error *error)
{
	if (strcmp(host, sadf->host) == 0)
		return true;
	if (!flush_sample(sadf, error))
		return false;
	end_server(sadf);
	(void)snprintf(sadf->host, sizeof sadf->host, "%s", host);
	sadf->server = collector_server(sadf->parse->collector, host, error);
	return sadf->server != SIZE_MAX;
}

/* The row's part is wanted; of processors, the sum of all, which sar calls -1. */
static bool row_counts(struct sadf *sadf)
{
	const char *name = rows_field(sadf->rows, 3);
	if (sadf->section == SECTION_CPU && strcmp(name, "-1") != 0 && strcmp(name, "all") != 0) {
		double number;
		if (value_read(name, strlen(name), false, &number) == VALUE_NUMBER && number >= sadf->cpus)
			sadf->cpus = number + 1;
		return false;
	}
	if (sadf->section == SECTION_DISK)
		return sadf->server != sadf->totals && sar_part_counts(SAR_DISK, name);
	return sadf->section != SECTION_INTERFACE || sar_part_counts(SAR_INTERFACE, name);
}

static bool take_values(struct sadf *sadf, struct error *error)
{
	for (size_t i = 3; i < sadf->fields; i++) {
		const char *text = rows_field(sadf->rows, i);
		double value;
		if (sadf->field[i] == SAR_FIELD_COUNT)
			continue;
		switch (value_read(text, rows_length(sadf->rows, i), true, &value)) {
		case VALUE_NUMBER:
			sar_sample_take(&sadf->sample, sadf->field[i], value);
			if (sadf->field[i] == SAR_BLOCKS_READ)
				sadf->totals = sadf->server;
			break;
		case VALUE_MISSING:
			collector_note(sadf->parse->collector, sadf->server, ESTATE_MISSING, 1);
			break;
		case VALUE_BAD:
			if (!parse_bad(sadf->parse, rows_line(sadf->rows), i + 1, error, "'%.40s' is not a number",
				       text))
				return false;
		}
	}
	return true;
}

static bool read_values(struct sadf *sadf, struct error *error)
{
	struct parse *parse = sadf->parse;
	uint64_t line = rows_line(sadf->rows);
	const char *interval_text = rows_field(sadf->rows, 1), *time_text = rows_field(sadf->rows, 2);
	/* Of parts, rows of one time belong together; of two collectors within a second, only those of one interval. */
	bool parts = sadf->section == SECTION_DISK || sadf->section == SECTION_INTERFACE;
	if ((!parts || strcmp(time_text, sadf->time_text) != 0 || strcmp(interval_text, sadf->interval_text) != 0) &&
	    !flush_sample(sadf, error))
		return false;
	(void)snprintf(sadf->interval_text, sizeof sadf->interval_text, "%.30s", interval_text);
	if (strcmp(time_text, sadf->time_text) != 0) {
		if (!read_time(sadf, time_text, &sadf->time_ms))
			return parse_bad(parse, line, 3, error, "'%.40s' is not a time", time_text);
		(void)snprintf(sadf->time_text, sizeof sadf->time_text, "%.60s", time_text);
	}
	if (!row_counts(sadf))
		return true;
	if (!sadf->open) {
		sar_sample_clear(&sadf->sample);
		sadf->open = true;
		if (value_read(interval_text, rows_length(sadf->rows, 1), true, &sadf->interval) != VALUE_NUMBER)
			sadf->interval = 0;
	}
	return take_values(sadf, error);
}

static bool read_row(struct sadf *sadf, struct error *error)
{
	struct parse *parse = sadf->parse;
	uint64_t line = rows_line(sadf->rows);
	if (rows_field(sadf->rows, 0)[0] == '#')
		return read_names(sadf, error);
	if (rows_count(sadf->rows) < 4)
		return (input_cut(parse->input) && sadf->any) ||
		       parse_bad(parse, line, 0, error, "not a row of sadf -d: %zu fields", rows_count(sadf->rows));
	if (rows_length(sadf->rows, 0) >= HOST_MAX)
		return parse_bad(parse, line, 1, error, "a host's name of more than %u bytes", HOST_MAX - 1);
	struct error why = {0};
	if (!read_host(sadf, rows_field(sadf->rows, 0), &why)) {
		sadf->host[0] = '\0';
		if (why.kind == ERROR_INPUT)
			return parse_bad(parse, line, 1, error, "%s", why.text);
		*error = why;
		return false;
	}
	/* Restarts and comments have the interval -1. */
	if (strcmp(rows_field(sadf->rows, 1), "-1") == 0) {
		read_restart(sadf, rows_field(sadf->rows, 3));
		return true;
	}
	if (sadf->section == SECTION_NONE)
		return true;
	if (rows_count(sadf->rows) == sadf->fields)
		return read_values(sadf, error);
	if (input_cut(parse->input)) {
		parse_cut(parse, line);
		return true;
	}
	return parse_bad(parse, line, 0, error, "%zu fields, the names above it are %zu", rows_count(sadf->rows),
			 sadf->fields);
}

static bool sadf_read(struct parse *parse, struct error *error)
{
	struct sadf sadf = {.parse = parse, .server = SIZE_MAX, .totals = SIZE_MAX};
	sadf.rows = rows_make(parse->input, ';', error);
	bool good = sadf.rows != NULL;
	while (good) {
		enum input_result result = parse_row(parse, sadf.rows, error);
		if (result == INPUT_END)
			break;
		good = result == INPUT_LINE && read_row(&sadf, error);
	}
	good = good && flush_sample(&sadf, error);
	end_server(&sadf);
	if (good && !sadf.any)
		good = error_set(error, ERROR_INPUT,
				 "%.160s: no activity that nfold knows: give sadf -d -- -u -r ALL -b -n DEV",
				 input_path(parse->input));
	rows_destroy(sadf.rows);
	return good;
}

static bool sadf_probe(const struct parse *parse, const char *head, size_t size)
{
	(void)parse;
	return head_contains(head, size, "# hostname;interval;timestamp");
}

const struct format format_sadf = {.name = "sadf", .family = "sar", .probe = sadf_probe, .read = sadf_read};
