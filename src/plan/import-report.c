/* SPDX-License-Identifier: MIT */
/* The report of an import, which the estate keeps; and the table of attributes that the user gives. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/import-impl.h"
#include "plan/ratings.h"
#include "plan/rows.h"
#include "plan/text.h"
#include "plan/value.h"

#define TEXT_MAX 1024u

/* Paths and messages hold any bytes; JSON holds UTF-8. */
static json_t *clean_json(const char *text)
{
	char clean[TEXT_MAX];
	size_t length = strlen(text);
	if (!text_clean(text, length < TEXT_MAX / 2 ? length : TEXT_MAX / 2, clean, sizeof clean))
		return json_string("?");
	json_t *string = json_string(clean);
	/* A text that was cut within a character. */
	return string != NULL ? string : json_string("?");
}

void import_remark_add(struct import *import, const char *what, const char *text)
{
	char line[TEXT_MAX];
	(void)snprintf(line, sizeof line, "%.200s: %s", what, text);
	(void)json_array_append_new(import->remarks, clean_json(line));
}

void import_file_done(struct import *import, const struct parse *parse, const char *format, uint64_t samples)
{
	import->summary.lines_lost += parse->bad;
	json_t *file = json_pack("{s:o, s:s, s:I, s:I}", "path", clean_json(input_path(parse->input)), "format", format,
				 "samples", (json_int_t)samples, "lines_lost", (json_int_t)parse->bad);
	if (parse->bad > 0) {
		char text[TEXT_MAX];
		(void)snprintf(text, sizeof text, "%llu lines left out, the first: %s", (unsigned long long)parse->bad,
			       parse->first_bad);
		(void)json_object_set_new(file, "first_error", clean_json(parse->first_bad));
		import_remark_add(import, input_path(parse->input), text);
	}
	(void)json_array_append_new(import->files, file);
}

void import_file_lost(struct import *import, const char *path, const char *text)
{
	import->summary.files_lost++;
	(void)json_array_append_new(import->lost,
				    json_pack("{s:o, s:o}", "path", clean_json(path), "error", clean_json(text)));
	(void)json_array_append_new(import->remarks, clean_json(text));
}

void import_server_lost(struct import *import, const char *name, const char *text)
{
	import->summary.servers_lost++;
	(void)json_array_append_new(import->lost,
				    json_pack("{s:o, s:o}", "server", clean_json(name), "error", clean_json(text)));
	import_remark_add(import, name, text);
}

const char *import_remark(const struct import *import, size_t index)
{
	return json_string_value(json_array_get(import->remarks, index));
}

static json_t *text_or_null(const char *text)
{
	return text != NULL ? clean_json(text) : json_null();
}

char *import_report(const struct import *import)
{
	const struct import_options *options = &import->options;
	json_t *report = json_pack("{s:{s:o, s:o, s:o, s:b}, s:O, s:O, s:O}", "options", "map",
				   text_or_null(options->map), "attributes", text_or_null(options->attributes),
				   "timezone", text_or_null(options->zone), "keep_going", options->keep_going, "files",
				   import->files, "lost", import->lost, "remarks", import->remarks);
	char *text = report != NULL ? json_dumps(report, JSON_COMPACT) : NULL;
	json_decref(report);
	return text;
}

/* 16G, 512M, 1T, or bytes. */
static bool read_bytes(const char *text, size_t length, double *value)
{
	static const char suffixes[] = "KMGT";
	const char *suffix = length > 0 ? strchr(suffixes, text[length - 1] & ~0x20) : NULL;
	bool has = suffix != NULL && *suffix != '\0';
	if (value_read(text, length - has, false, value) != VALUE_NUMBER)
		return false;
	for (long i = has ? suffix - suffixes + 1 : 0; i > 0; i--)
		*value *= 1024;
	return true;
}

enum {
	COLUMN_SERVER,
	COLUMN_CPUS,
	COLUMN_MHZ,
	COLUMN_MEMORY,
	COLUMN_RATING,
	COLUMN_OFFSET,
	COLUMN_MODEL,
	COLUMN_COUNT
};

struct attributes {
	struct import *import;
	const char *path;
	struct rows *rows;
	struct ratings *ratings;     /* NULL: none were given */
	size_t column[COLUMN_COUNT]; /* SIZE_MAX: none */
};

static bool read_attribute_names(struct attributes *attributes, struct error *error)
{
	static const char *const names[COLUMN_COUNT] = {"server", "cpus",	  "mhz",  "memory",
							"rating", "clock_offset", "model"};
	for (unsigned i = 0; i < COLUMN_COUNT; i++)
		attributes->column[i] = SIZE_MAX;
	for (size_t k = 0; k < rows_count(attributes->rows); k++) {
		unsigned i = 0;
		while (i < COLUMN_COUNT && strcmp(names[i], rows_field(attributes->rows, k)) != 0)
			i++;
		if (i == COLUMN_COUNT)
			return error_set(
			    error, ERROR_INPUT,
			    "%.160s:1:%zu: no column '%.40s': server, cpus, mhz, memory, rating, model, clock_offset",
			    attributes->path, k + 1, rows_field(attributes->rows, k));
		attributes->column[i] = k;
	}
	return attributes->column[COLUMN_SERVER] != SIZE_MAX ||
	       error_set(error, ERROR_INPUT, "%.160s:1: no column 'server'", attributes->path);
}

static void set_attribute(const struct attributes *attributes, size_t server, unsigned column, double value)
{
	static const enum collect_attribute attribute[COLUMN_COUNT] = {[COLUMN_CPUS] = COLLECT_CPUS,
								       [COLUMN_MHZ] = COLLECT_CLOCK,
								       [COLUMN_MEMORY] = COLLECT_INSTALLED,
								       [COLUMN_RATING] = COLLECT_RATING};
	struct collector *collector = attributes->import->collector;
	if (column == COLUMN_OFFSET)
		collector_offset(collector, server, (int64_t)value);
	else
		collector_attribute(collector, server, attribute[column], value, true);
}

/* A model's rating is of a processor, an estate's of the server. */
static bool rate_model(const struct attributes *attributes, size_t server, const char *model, struct error *error)
{
	struct collector *collector = attributes->import->collector;
	double rating = ratings_of_model(attributes->ratings, model);
	double cpus = collector_known(collector, server, COLLECT_CPUS);
	unsigned long long line = (unsigned long long)rows_line(attributes->rows);
	if (!(rating > 0))
		return error_set(error, ERROR_INPUT, "%.160s:%llu: no row of --ratings is of the model '%.60s'",
				 attributes->path, line, model);
	if (!(cpus > 0))
		return error_set(error, ERROR_INPUT,
				 "%.160s:%llu: a model rates each processor, and how many there are is not known: add "
				 "a column cpus",
				 attributes->path, line);
	collector_attribute(collector, server, COLLECT_RATING, rating * cpus, true);
	return true;
}

static bool read_attribute_row(const struct attributes *attributes, struct error *error)
{
	struct rows *rows = attributes->rows;
	unsigned long long line = (unsigned long long)rows_line(rows);
	for (unsigned i = 0; i < COLUMN_COUNT; i++)
		if (attributes->column[i] != SIZE_MAX && attributes->column[i] >= rows_count(rows))
			return error_set(error, ERROR_INPUT, "%.160s:%llu: too few fields", attributes->path, line);
	const char *name = rows_field(rows, attributes->column[COLUMN_SERVER]);
	size_t server = collector_find(attributes->import->collector, name);
	if (server == SIZE_MAX) {
		import_remark_add(attributes->import, name, "it is in the table of attributes, and in no file");
		return true;
	}
	for (unsigned i = COLUMN_CPUS; i < COLUMN_MODEL; i++) {
		size_t column = attributes->column[i];
		double value;
		if (column == SIZE_MAX || rows_length(rows, column) == 0)
			continue;
		if (!read_bytes(rows_field(rows, column), rows_length(rows, column), &value) ||
		    (i != COLUMN_OFFSET && !(value > 0)) || value > 1e18 || value < -1e9)
			return error_set(error, ERROR_INPUT, "%.160s:%llu:%zu: '%.40s' is not such a number",
					 attributes->path, line, column + 1, rows_field(rows, column));
		set_attribute(attributes, server, i, value);
	}
	size_t model = attributes->column[COLUMN_MODEL];
	return attributes->ratings == NULL || model == SIZE_MAX || rows_length(rows, model) == 0 ||
	       rate_model(attributes, server, rows_field(rows, model), error);
}

static bool read_attribute_rows(struct attributes *attributes, struct error *error)
{
	bool header = true;
	for (;;) {
		enum input_result result = rows_next(attributes->rows, error);
		if (result != INPUT_LINE)
			return result == INPUT_END;
		if (!(header ? read_attribute_names(attributes, error) : read_attribute_row(attributes, error)))
			return false;
		header = false;
	}
}

bool import_attributes(struct import *import, const char *path, struct error *error)
{
	struct attributes attributes = {.import = import, .path = path};
	const char *head;
	size_t size;
	if (import->options.ratings != NULL &&
	    (attributes.ratings = ratings_load(import->options.ratings, error)) == NULL)
		return false;
	struct input *input = input_open(path, -1, error);
	bool good = input != NULL && input_head(input, &head, &size, error);
	if (good)
		attributes.rows = rows_make(input, rows_guess_separator(head, size), error);
	good = good && attributes.rows != NULL && read_attribute_rows(&attributes, error);
	ratings_free(attributes.ratings);
	rows_destroy(attributes.rows);
	input_close(input);
	return good;
}
