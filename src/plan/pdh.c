/* SPDX-License-Identifier: MIT */
#include "plan/pdh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "plan/value.h"

static bool copy_part(char *to, const char *from, size_t length)
{
	if (length == 0 || length >= PDH_PART_MAX)
		return false;
	memcpy(to, from, length);
	to[length] = '\0';
	return true;
}

/* object(instance)\counter: an instance may hold anything, even ")" and "\". */
static bool read_object(const char *text, struct pdh_counter *counter)
{
	const char *slash = strchr(text, '\\');
	const char *open = strchr(text, '(');
	if (slash == NULL)
		return false;
	if (open != NULL && open < slash) {
		const char *close = NULL;
		for (const char *at = open; (at = strstr(at, ")\\")) != NULL; at++)
			close = at;
		return close != NULL && copy_part(counter->object, text, (size_t)(open - text)) &&
		       copy_part(counter->instance, open + 1, (size_t)(close - open - 1)) &&
		       copy_part(counter->counter, close + 2, strlen(close + 2));
	}
	return copy_part(counter->object, text, (size_t)(slash - text)) &&
	       copy_part(counter->counter, slash + 1, strlen(slash + 1));
}

bool pdh_counter_read(const char *text, struct pdh_counter *counter)
{
	counter->host[0] = counter->instance[0] = '\0';
	if (strncmp(text, "\\\\", 2) == 0) {
		const char *slash = strchr(text + 2, '\\');
		return slash != NULL && copy_part(counter->host, text + 2, (size_t)(slash - text - 2)) &&
		       read_object(slash + 1, counter);
	}
	return text[0] == '\\' && read_object(text + 1, counter);
}

struct pdh {
	struct parse *parse;
	struct rows *rows;
	struct uses uses;
	struct local_clock clock;
	int64_t bias_ms; /* added to local times */
	bool steady;	 /* the zone has no daylight saving time */
	bool comma;	 /* decimal commas can be told from separators */
	size_t fields;
};

/* "(PDH-CSV 4.0) (name)(minutes)"; typeperf leaves the zone out. */
static void read_zone(struct pdh *pdh, const char *text)
{
	struct parse *parse = pdh->parse;
	const char *last = strrchr(text, '(');
	const char *name = strstr(text, ") (");
	int minutes, used = 0;
	if (name != NULL && last != NULL && last > name && sscanf(last, "(%d)%n", &minutes, &used) == 1 && used > 0 &&
	    minutes >= -1080 && minutes <= 1080) {
		pdh->bias_ms = minutes * INT64_C(60000);
		pdh->steady =
		    strncmp(name, ") (UTC)", 7) == 0 || strncmp(name, ") (Coordinated Universal Time)", 30) == 0;
		return;
	}
	pdh->bias_ms = parse->zone * INT64_C(-1000);
	if (!parse->zone_given)
		parse_remark(parse, "its header does not name a time zone: times are taken for UTC (--timezone)");
}

/* What typeperf says when it ends is in the file when its output was redirected. */
static bool is_farewell(const struct rows *rows)
{
	const char *text = rows_field(rows, 0);
	return strncmp(text, "Exiting", 7) == 0 || strncmp(text, "The command completed", 21) == 0;
}

static bool read_row(struct pdh *pdh, struct error *error)
{
	struct parse *parse = pdh->parse;
	uint64_t line = rows_line(pdh->rows);
	struct value_time time;
	bool stepped = false;
	if (rows_count(pdh->rows) <= 2 && is_farewell(pdh->rows))
		return true;
	if (rows_count(pdh->rows) != pdh->fields) {
		/* The collector was stopped within a row. */
		if (input_cut(parse->input)) {
			parse_cut(parse, line);
			return true;
		}
		return parse_bad(parse, line, 0, error, "%zu fields, the header has %zu", rows_count(pdh->rows),
				 pdh->fields);
	}
	if (!value_time_read(rows_field(pdh->rows, 0), &time))
		return parse_bad(parse, line, 1, error, "'%.40s' is not a time", rows_field(pdh->rows, 0));
	int64_t ms = pdh->steady ? time.ms : local_clock_time(&pdh->clock, time.ms, &stepped);
	if (stepped)
		uses_note(&pdh->uses, parse, ESTATE_CLOCK_STEP);
	return uses_row(&pdh->uses, parse, pdh->rows, pdh->comma, ms + pdh->bias_ms, error);
}

static bool read_header(struct pdh *pdh, pdh_resolve *resolve, struct error *error)
{
	struct parse *parse = pdh->parse;
	enum input_result result = rows_next(pdh->rows, error);
	if (result == INPUT_END)
		return error_set(error, ERROR_INPUT, "%s: it is empty", input_path(parse->input));
	if (result != INPUT_LINE)
		return false;
	read_zone(pdh, rows_field(pdh->rows, 0));
	pdh->fields = rows_count(pdh->rows);
	if (!resolve(parse, pdh->rows, &pdh->uses, error))
		return false;
	if (pdh->uses.count == 0)
		return error_set(
		    error, ERROR_INPUT,
		    "%.160s:1: no counter that nfold knows among %zu: names in another language than English "
		    "need a mapping file (--map)",
		    input_path(parse->input), pdh->fields - 1);
	uses_settle(&pdh->uses);
	return true;
}

static bool pdh_open(struct pdh *pdh, struct error *error)
{
	const char *head;
	size_t size;
	if (!input_head(pdh->parse->input, &head, &size, error))
		return false;
	char separator = rows_guess_separator(head, size);
	/* Fields are quoted, so that a comma within one can only be a decimal one. */
	pdh->comma = true;
	pdh->rows = rows_make(pdh->parse->input, separator, error);
	return pdh->rows != NULL;
}

bool pdh_read(struct parse *parse, pdh_resolve *resolve, struct error *error)
{
	struct pdh pdh = {.parse = parse};
	bool good = pdh_open(&pdh, error) && read_header(&pdh, resolve, error);
	while (good) {
		enum input_result result = parse_row(parse, pdh.rows, error);
		if (result == INPUT_END)
			break;
		good = result == INPUT_LINE && read_row(&pdh, error);
	}
	rows_destroy(pdh.rows);
	uses_destroy(&pdh.uses);
	return good;
}
