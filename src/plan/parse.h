/* SPDX-License-Identifier: MIT */
/* What the parsers of all formats share: one file on its way into the collector. */
#ifndef NFOLD_PLAN_PARSE_H
#define NFOLD_PLAN_PARSE_H

#include "plan/collect.h"
#include "plan/input.h"
#include "plan/local_clock.h"
#include "plan/rows.h"

struct mapping;

struct parse {
	struct collector *collector;
	struct input *input;
	const char *stem;	       /* the file's name without what is behind its dots */
	const struct mapping *mapping; /* NULL: none was given */
	int32_t zone;		       /* seconds ahead of UTC of times that do not say */
	bool zone_given, keep_going;
	uint64_t bad; /* lines left out */
	char first_bad[400];
	void *owner;
	void (*remark)(void *owner, const char *path, const char *text);
};

/* A format: its own probe says by a file's first bytes whether it is one, its parser reads all of it. */
struct format {
	const char *name;
	const char *family; /* the tool that writes it, as the user may name it */
	bool (*probe)(const struct parse *parse, const char *head, size_t size);
	bool (*read)(struct parse *parse, struct error *error);
};

extern const struct format format_perfmon, format_esxtop, format_sadf, format_sadf_json, format_sar, format_bitbrains,
    format_history, format_mapped;

/*
 * A line that cannot be read: "path:line:field: why". True: it is left out, because the user wants to go on. field 0:
 * the whole line.
 */
bool parse_bad(struct parse *parse, uint64_t line, size_t field, struct error *error, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Something the user should know of this file. */
void parse_remark(struct parse *parse, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The last line of a file that was being written. */
void parse_cut(struct parse *parse, uint64_t line);

/* The next row of a table. INPUT_ERROR: give up; bad rows were left out if the user wants to go on. */
enum input_result parse_row(struct parse *parse, struct rows *rows, struct error *error);

/* Text found in a file's head. */
bool head_contains(const char *head, size_t size, const char *text);

#endif
