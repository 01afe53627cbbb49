/* SPDX-License-Identifier: MIT */
#include "plan/rows.h"

#include <csv.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 100u /* of one row */

struct field {
	size_t at, length;
};

struct rows {
	struct input *input;
	struct csv_parser csv;
	char *text; /* the row's fields, each ended by a zero byte */
	size_t used, room;
	struct field *field;
	size_t count, field_room;
	uint64_t line;
	bool complete, failed; /* the row's end was met; memory is short, or a limit was met */
	bool cut;
};

/* Without it a field could take all memory. */
static void *limited_realloc(void *old, size_t size)
{
	return size <= INPUT_LINE_MAX ? realloc(old, size) : NULL;
}

struct rows *rows_make(struct input *input, char separator, struct error *error)
{
	struct rows *rows = calloc(1, sizeof *rows);
	if (rows == NULL || csv_init(&rows->csv, CSV_STRICT | CSV_STRICT_FINI) != 0) {
		free(rows);
		(void)error_set(error, ERROR_HOST, "%s: out of memory", input_path(input));
		return NULL;
	}
	csv_set_delim(&rows->csv, (unsigned char)separator);
	csv_set_realloc_func(&rows->csv, limited_realloc);
	rows->input = input;
	return rows;
}

void rows_destroy(struct rows *rows)
{
	if (rows == NULL)
		return;
	csv_free(&rows->csv);
	free(rows->text);
	free(rows->field);
	free(rows);
}

static bool rows_grow(struct rows *rows, size_t length)
{
	if (rows->used + length + 1 > rows->room) {
		size_t room = 2 * (rows->used + length + 1) + 1024;
		char *grown = realloc(rows->text, room);
		if (grown == NULL)
			return false;
		rows->text = grown;
		rows->room = room;
	}
	if (rows->count == rows->field_room) {
		size_t room = 2 * rows->field_room + 64;
		struct field *grown = reallocarray(rows->field, room, sizeof *grown);
		if (grown == NULL)
			return false;
		rows->field = grown;
		rows->field_room = room;
	}
	return rows->count < ROW_FIELDS_MAX && rows->used + length < 2u * INPUT_LINE_MAX;
}

/* Quoted fields keep their spaces in libcsv; nobody means them. */
static void take_field(void *bytes, size_t length, void *owner)
{
	struct rows *rows = owner;
	const char *text = bytes;
	if (rows->failed || !rows_grow(rows, length)) {
		rows->failed = true;
		return;
	}
	for (; length > 0 && (*text == ' ' || *text == '\t'); text++)
		length--;
	while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
		length--;
	rows->field[rows->count++] = (struct field){rows->used, length};
	if (length > 0)
		memcpy(rows->text + rows->used, text, length);
	rows->text[rows->used + length] = '\0';
	rows->used += length + 1;
}

static void take_end(int character, void *owner)
{
	(void)character;
	((struct rows *)owner)->complete = true;
}

static enum input_result rows_bad(struct rows *rows, struct error *error, const char *what)
{
	(void)error_set(error, ERROR_INPUT, "%s:%llu:%zu: %s", input_path(rows->input), (unsigned long long)rows->line,
			rows->count + 1, what);
	/* The parser is where it was before the row: the next one can be read. */
	csv_free(&rows->csv);
	unsigned char separator = csv_get_delim(&rows->csv);
	(void)csv_init(&rows->csv, CSV_STRICT | CSV_STRICT_FINI);
	csv_set_delim(&rows->csv, separator);
	csv_set_realloc_func(&rows->csv, limited_realloc);
	return INPUT_ERROR;
}

enum input_result rows_next(struct rows *rows, struct error *error)
{
	rows->used = rows->count = 0;
	rows->complete = rows->failed = false;
	for (unsigned lines = 0; !rows->complete;) {
		char *line;
		size_t length;
		enum input_result result = input_line(rows->input, &line, &length, error);
		if (result == INPUT_END && lines > 0) {
			rows->cut = true;
			return rows_bad(rows, error, "the file ends within quotes");
		}
		if (result != INPUT_LINE)
			return result;
		if (lines == 0)
			rows->line = input_line_number(rows->input);
		line[length] = '\n';
		if (csv_parse(&rows->csv, line, length + 1, take_field, take_end, rows) != length + 1)
			return rows_bad(rows, error,
					csv_error(&rows->csv) == CSV_EPARSE ? "a quote within a field"
									    : "a field that is too long");
		if (rows->failed)
			return rows_bad(rows, error, "too many fields, or too long ones");
		if (length > 0 && ++lines > LINES_MAX)
			return rows_bad(rows, error, "a quote that is not closed");
	}
	return INPUT_LINE;
}

bool rows_cut(const struct rows *rows)
{
	return rows->cut;
}

size_t rows_count(const struct rows *rows)
{
	return rows->count;
}

uint64_t rows_line(const struct rows *rows)
{
	return rows->line;
}

const char *rows_field(const struct rows *rows, size_t index)
{
	return rows->text + rows->field[index].at;
}

size_t rows_length(const struct rows *rows, size_t index)
{
	return rows->field[index].length;
}

char rows_guess_separator(const char *line, size_t length)
{
	static const char candidates[] = ",;\t";
	size_t count[3] = {0};
	bool quoted = false;
	for (size_t i = 0; i < length && line[i] != '\n'; i++) {
		const char *found = memchr(candidates, line[i], 3);
		quoted ^= line[i] == '"';
		if (found != NULL && !quoted)
			count[found - candidates]++;
	}
	/* "a;\tb": the tabs are only spaces. */
	unsigned best = count[1] > count[0] ? 1 : 0;
	return candidates[count[2] > count[best] ? 2 : best];
}
