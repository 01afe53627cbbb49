/* SPDX-License-Identifier: MIT */
/*
 * Declarative command-line options. One table row says an option's name, kind, default and help; from it come the
 * parsing into a plain struct, the error messages and the --help text.
 *
 * Both `--option value` and `--option=value` are read, options and arguments in any order, `--` ends the options. Of a
 * repeated option the last one counts, except for OPTION_LIST. Strings are not copied: they belong to argv.
 */
#ifndef NFOLD_CONTROL_OPTIONS_H
#define NFOLD_CONTROL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

enum option_kind {
	OPTION_FLAG,   /* bool; --flag, and --flag=true or --flag=false, in place of what was said before */
	OPTION_TEXT,   /* const char *, NULL when absent */
	OPTION_CHOICE, /* const char *, one of `choices` */
	OPTION_NUMBER, /* uint64_t, decimal or 0x...; OPTION_UNSET when absent */
	OPTION_SIZE,   /* uint64_t, a number of bytes with an optional suffix K, M or G */
	OPTION_LIST,   /* struct option_list, one item each time the option is given */
};

#define OPTION_UNSET UINT64_MAX
#define OPTION_LIST_MAX 16

struct option_list {
	const char *item[OPTION_LIST_MAX];
	unsigned count;
};

struct option {
	const char *name;  /* without the dashes; NULL ends a table, or with `more` goes on in another */
	const char *value; /* what --help calls the value */
	const char *fallback;
	const char *help;
	const char *const *choices; /* NULL-terminated */
	uint64_t minimum, maximum;  /* of numbers and sizes, or items of a list; maximum 0: none */
	size_t offset;		    /* of the field in the struct of values */
	enum option_kind kind;
	bool hidden;		   /* not for people: left out of --help */
	char letter;		   /* -o VALUE means the same; 0: none */
	const struct option *more; /* in the last row: a table whose rows belong to this one, too */
};

#define ARGUMENTS_MAX 4096
#define OPTIONS_GIVEN_MAX 1024

/* An option as it was on the command line. */
struct option_given {
	const struct option *option;
	const char *text; /* of a flag NULL, "true" or "false" */
};

/* What was on the command line beside the values. */
struct option_rest {
	const char *argument[ARGUMENTS_MAX];
	unsigned count;
	bool help;				      /* --help or -h was given: nothing else was checked */
	struct option_given given[OPTIONS_GIVEN_MAX]; /* the options, in order */
	unsigned given_count;
};

/* Who wrote the words: a person, to whom hidden options do not exist, or a program of ours. */
enum option_author { OPTIONS_FROM_PERSON, OPTIONS_FROM_PROGRAM };

/* Fills *values, a struct laid out as the table says, with defaults and then argv[0..argc). `program` is for messages.
 */
bool options_parse(const struct option *table, enum option_author author, const char *program, int argc,
		   char *const *argv, void *values, struct option_rest *rest, struct error *error);

/* The rows of a table and those it goes on with: NULL after the last. */
const struct option *option_first(const struct option *table);
const struct option *option_next(const struct option *option);
/* The row of that name, or NULL. To a person, hidden ones do not exist. */
const struct option *option_named(const struct option *table, enum option_author author, const char *name,
				  size_t length);
/* What a flag was given as. */
bool option_flag_is_on(const char *text);
bool option_was_given(const struct option_rest *rest, const char *name);

void options_print(const struct option *table, FILE *to);

#endif
