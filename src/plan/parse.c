/* SPDX-License-Identifier: MIT */
#include "plan/parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool lose_line(struct parse *parse, const struct error *error)
{
	if (parse->bad++ == 0)
		(void)snprintf(parse->first_bad, sizeof parse->first_bad, "%s", error->text);
	return true;
}

bool parse_bad(struct parse *parse, uint64_t line, size_t field, struct error *error, const char *format, ...)
{
	char text[200], place[32] = "";
	va_list args;
	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	/* A quoted field may hold the ends of lines, and more. */
	for (char *at = text; *at != '\0'; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
	if (field > 0)
		(void)snprintf(place, sizeof place, "%zu:", field);
	struct error bad = {0};
	(void)error_set(&bad, ERROR_INPUT, "%.160s:%llu:%s %s", input_path(parse->input), (unsigned long long)line,
			place, text);
	if (parse->keep_going)
		return lose_line(parse, &bad);
	if (error != NULL)
		*error = bad;
	return false;
}

void parse_remark(struct parse *parse, const char *format, ...)
{
	char text[400];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	parse->remark(parse->owner, input_path(parse->input), text);
}

void parse_cut(struct parse *parse, uint64_t line)
{
	parse_remark(parse, "line %llu, the last, ends too early and was left out", (unsigned long long)line);
}

enum input_result parse_row(struct parse *parse, struct rows *rows, struct error *error)
{
	for (;;) {
		struct error bad = {0};
		uint64_t before = input_line_number(parse->input);
		enum input_result result = rows_next(rows, &bad);
		if (result != INPUT_ERROR)
			return result;
		/* A collector that was stopped leaves half a row. One row in a hundred lines is no such row. */
		if (rows_cut(rows) && input_line_number(parse->input) == rows_line(rows)) {
			parse_cut(parse, rows_line(rows));
			return INPUT_END;
		}
		/* Of an error of the file itself there is no end: no line was read. */
		if (!parse->keep_going || bad.kind != ERROR_INPUT || input_line_number(parse->input) == before) {
			*error = bad;
			return INPUT_ERROR;
		}
		(void)lose_line(parse, &bad);
	}
}

bool head_contains(const char *head, size_t size, const char *text)
{
	return memmem(head, size, text, strlen(text)) != NULL;
}
