/* SPDX-License-Identifier: MIT */
/* Any table, by a mapping; and the tables of the Grid Workloads Archive's Bitbrains traces, by a mapping of ours. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/mapping.h"
#include "plan/parse.h"
#include "plan/value.h"

/* Its "ms" are seconds, and its KB 1024 bytes: 8 GB of memory are 8388608. */
static const char bitbrains_mapping[] = "time = Timestamp [ms]\n"
					"separator = ;\n"
					"cpus = CPU cores\n"
					"capacity_mhz = CPU capacity provisioned [MHZ]\n"
					"cpu_mhz = CPU usage [MHZ]\n"
					"installed = Memory capacity provisioned [KB] * 1024\n"
					"memory = Memory usage [KB] * 1024\n"
					"disk_read = Disk read throughput [KB/s] * 1024\n"
					"disk_write = Disk write throughput [KB/s] * 1024\n"
					"net_receive = Network received throughput [KB/s] * 1024\n"
					"net_send = Network transmitted throughput [KB/s] * 1024\n";

#define COLUMNS_MAX 256u

struct table_column {
	size_t column;
	const struct mapping_item *item;
};

struct table {
	struct parse *parse;
	const struct mapping *mapping;
	struct rows *rows;
	size_t fields;
	size_t time, server_column, interval; /* SIZE_MAX: none */
	struct table_column column[COLUMNS_MAX];
	size_t columns;
	bool comma;
	size_t server;
	char server_name[COLLECT_NAME_MAX]; /* of `server` */
	struct local_clock clock;
	bool remarked;
};

static bool find_column(struct table *table, const char *name, size_t *column, struct error *error)
{
	*column = SIZE_MAX;
	if (name[0] == '\0')
		return true;
	for (size_t i = 0; i < table->fields; i++)
		if (mapping_fits(name, rows_field(table->rows, i))) {
			*column = i;
			return true;
		}
	return error_set(error, ERROR_INPUT, "%.160s:%llu: no column '%.80s'", input_path(table->parse->input),
			 (unsigned long long)rows_line(table->rows), name);
}

static bool find_columns(struct table *table, const struct mapping_item *item, struct error *error)
{
	size_t before = table->columns;
	for (size_t i = 0; i < table->fields; i++) {
		if (!mapping_fits(item->column, rows_field(table->rows, i)))
			continue;
		if (table->columns == COLUMNS_MAX)
			return error_set(error, ERROR_INPUT, "%.160s: more than %u columns are meant",
					 input_path(table->parse->input), COLUMNS_MAX);
		table->column[table->columns++] = (struct table_column){i, item};
	}
	return table->columns > before ||
	       error_set(error, ERROR_INPUT, "%.160s:%llu: no column '%.80s' (line %u of the mapping)",
			 input_path(table->parse->input), (unsigned long long)rows_line(table->rows), item->column,
			 item->line);
}

static bool choose_server(struct table *table, const char *name, struct error *error)
{
	if (table->server != SIZE_MAX && strcmp(name, table->server_name) == 0)
		return true;
	size_t server = collector_server(table->parse->collector, name, error);
	if (server == SIZE_MAX)
		return false;
	/* Each server has its own times. */
	table->clock = (struct local_clock){0};
	table->server = server;
	(void)snprintf(table->server_name, sizeof table->server_name, "%.255s", name);
	for (size_t i = 0; i < table->columns; i++)
		if (table->column[i].item->counter)
			collector_counter(table->parse->collector, server,
					  (enum collect_channel)table->column[i].item->target,
					  table->column[i].item->bits);
	return true;
}

static bool read_header(struct table *table, struct error *error)
{
	enum input_result result = rows_next(table->rows, error);
	if (result == INPUT_END)
		return error_set(error, ERROR_INPUT, "%s: it is empty", input_path(table->parse->input));
	if (result != INPUT_LINE)
		return false;
	const struct mapping *mapping = table->mapping;
	table->fields = rows_count(table->rows);
	if (!find_column(table, mapping->time, &table->time, error) ||
	    !find_column(table, mapping->server, &table->server_column, error) ||
	    !find_column(table, mapping->interval, &table->interval, error))
		return false;
	for (size_t i = 0; i < mapping->count; i++)
		if (!find_columns(table, &mapping->item[i], error))
			return false;
	return table->server_column != SIZE_MAX || choose_server(table, table->parse->stem, error);
}

/* A local time becomes UTC. Servers whose rows take turns have steps of the clock that nobody can tell from disorder.
 */
static int64_t to_utc(struct table *table, const struct value_time *time)
{
	const struct mapping *mapping = table->mapping;
	bool stepped = false;
	if (time->zoned)
		return time->ms;
	int64_t ms = table->server_column != SIZE_MAX ? time->ms : local_clock_time(&table->clock, time->ms, &stepped);
	if (stepped)
		collector_note(table->parse->collector, table->server, ESTATE_CLOCK_STEP, 1);
	bool given = mapping->zone_given || table->parse->zone_given;
	if (!given && !table->remarked)
		parse_remark(table->parse, "local times of an unknown zone are taken for UTC (--timezone)");
	table->remarked = true;
	return ms - (mapping->zone_given ? mapping->zone : table->parse->zone) * INT64_C(1000);
}

static bool read_time(struct table *table, int64_t *ms)
{
	const char *text = rows_field(table->rows, table->time);
	const char *format = table->mapping->time_format;
	struct value_time time;
	bool good =
	    strcmp(format, "auto") != 0
		? value_time_format(text, format, &time)
		: value_time_read(text, &time) || value_epoch_read(text, rows_length(table->rows, table->time), &time);
	if (good)
		*ms = to_utc(table, &time);
	return good;
}

struct row_values {
	struct collect_sample sample;
	double attribute[COLLECT_ATTRIBUTE_COUNT];
	double capacity_mhz;
};

static double *value_place(struct row_values *values, unsigned target)
{
	if (target < COLLECT_CHANNEL_COUNT)
		return &values->sample.value[target];
	if (target < COLLECT_CHANNEL_COUNT + COLLECT_ATTRIBUTE_COUNT)
		return &values->attribute[target - COLLECT_CHANNEL_COUNT];
	return &values->capacity_mhz;
}

static bool read_values(struct table *table, struct row_values *values, struct error *error)
{
	struct parse *parse = table->parse;
	for (size_t i = 0; i < table->columns; i++) {
		const struct table_column *column = &table->column[i];
		const char *text = rows_field(table->rows, column->column);
		double *to = value_place(values, column->item->target);
		double value;
		switch (value_read(text, rows_length(table->rows, column->column), table->comma, &value)) {
		case VALUE_NUMBER:
			value *= column->item->factor;
			*to = isnan(*to) ? value : *to + value;
			break;
		case VALUE_MISSING:
			collector_note(parse->collector, table->server, ESTATE_MISSING, 1);
			break;
		case VALUE_BAD:
			if (!parse_bad(parse, rows_line(table->rows), column->column + 1, error,
				       "'%.40s' is not a number", text))
				return false;
		}
	}
	return true;
}

static void take_attributes(struct table *table, const struct row_values *values)
{
	struct collector *collector = table->parse->collector;
	for (unsigned i = 0; i < COLLECT_ATTRIBUTE_COUNT; i++)
		collector_attribute(collector, table->server, (enum collect_attribute)i, values->attribute[i], false);
	if (values->attribute[COLLECT_CPUS] > 0)
		collector_attribute(collector, table->server, COLLECT_CLOCK,
				    values->capacity_mhz / values->attribute[COLLECT_CPUS], false);
}

static void read_width(struct table *table, struct collect_sample *sample)
{
	double seconds;
	if (table->interval != SIZE_MAX &&
	    value_read(rows_field(table->rows, table->interval), rows_length(table->rows, table->interval),
		       table->comma, &seconds) == VALUE_NUMBER &&
	    seconds > 0 && seconds <= ESTATE_INTERVAL_MAX)
		sample->width_ms = (uint32_t)(seconds * 1000);
}

static bool read_server(struct table *table, struct error *error)
{
	struct error why = {0};
	const char *name = rows_field(table->rows, table->server_column);
	if (choose_server(table, name, &why))
		return true;
	*error = why;
	return false;
}

static bool read_row(struct table *table, struct error *error)
{
	struct parse *parse = table->parse;
	uint64_t line = rows_line(table->rows);
	if (rows_count(table->rows) != table->fields) {
		if (!input_cut(parse->input))
			return parse_bad(parse, line, 0, error, "%zu fields, the header has %zu",
					 rows_count(table->rows), table->fields);
		parse_cut(parse, line);
		return true;
	}
	struct error why = {0};
	if (table->server_column != SIZE_MAX && !read_server(table, &why)) {
		if (why.kind == ERROR_INPUT)
			return parse_bad(parse, line, table->server_column + 1, error, "%s", why.text);
		*error = why;
		return false;
	}
	int64_t ms;
	if (!read_time(table, &ms))
		return parse_bad(parse, line, table->time + 1, error, "'%.40s' is not a time",
				 rows_field(table->rows, table->time));
	struct row_values values = {
	    .sample = collect_sample_at(ms), .attribute = {NAN, NAN, NAN, NAN}, .capacity_mhz = NAN};
	if (!read_values(table, &values, error))
		return false;
	take_attributes(table, &values);
	read_width(table, &values.sample);
	return collector_add(parse->collector, table->server, &values.sample, error);
}

static bool table_open(struct table *table, struct error *error)
{
	const char *head;
	size_t size;
	if (!input_head(table->parse->input, &head, &size, error))
		return false;
	char separator = table->mapping->separator;
	if (separator == 0)
		separator = rows_guess_separator(head, size);
	/* With commas between fields, one within a field was quoted, and can only be a decimal one. */
	table->comma = true;
	table->rows = rows_make(table->parse->input, separator, error);
	return table->rows != NULL;
}

static bool table_read(struct parse *parse, const struct mapping *mapping, struct error *error)
{
	struct table *table = calloc(1, sizeof *table);
	if (table == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	table->parse = parse;
	table->mapping = mapping;
	table->server = SIZE_MAX;
	bool good = table_open(table, error) && read_header(table, error);
	while (good) {
		enum input_result result = parse_row(parse, table->rows, error);
		if (result == INPUT_END)
			break;
		good = result == INPUT_LINE && read_row(table, error);
	}
	rows_destroy(table->rows);
	free(table);
	return good;
}

static bool mapped_probe(const struct parse *parse, const char *head, size_t size)
{
	(void)head;
	return parse->mapping != NULL && size > 0;
}

static bool mapped_read(struct parse *parse, struct error *error)
{
	return table_read(parse, parse->mapping, error);
}

static bool bitbrains_probe(const struct parse *parse, const char *head, size_t size)
{
	(void)parse;
	return head_contains(head, size < 64 ? size : 64, "Timestamp [ms];") &&
	       head_contains(head, size, "CPU capacity provisioned [MHZ]");
}

static bool bitbrains_read(struct parse *parse, struct error *error)
{
	struct mapping mapping;
	return mapping_read(bitbrains_mapping, sizeof bitbrains_mapping - 1, "bitbrains", &mapping, error) &&
	       table_read(parse, &mapping, error);
}

const struct format format_bitbrains = {
    .name = "bitbrains", .family = "csv", .probe = bitbrains_probe, .read = bitbrains_read};
const struct format format_mapped = {.name = "mapped", .family = "csv", .probe = mapped_probe, .read = mapped_read};
