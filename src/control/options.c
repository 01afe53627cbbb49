/* SPDX-License-Identifier: MIT */
#include "control/options.h"

#include <string.h>

#define HELP_COLUMN 26
#define HELP_WIDTH 100

struct parser {
	const struct option *table;
	enum option_author author;
	const char *program;
	int argc;
	char *const *argv;
	int next; /* the next word to read */
	void *values;
	struct option_rest *rest;
	struct error *error;
};

const struct option *option_first(const struct option *table)
{
	while (table->name == NULL && table->more != NULL)
		table = table->more;
	return table->name != NULL ? table : NULL;
}

const struct option *option_next(const struct option *option)
{
	return option_first(option + 1);
}

const struct option *option_named(const struct option *table, enum option_author author, const char *name,
				  size_t length)
{
	for (const struct option *option = option_first(table); option != NULL; option = option_next(option))
		if (!(option->hidden && author == OPTIONS_FROM_PERSON) && strlen(option->name) == length &&
		    memcmp(option->name, name, length) == 0)
			return option;
	return NULL;
}

bool option_flag_is_on(const char *text)
{
	return text == NULL || strcmp(text, "true") == 0;
}

bool option_was_given(const struct option_rest *rest, const char *name)
{
	for (unsigned i = 0; i < rest->given_count; i++)
		if (strcmp(rest->given[i].option->name, name) == 0)
			return true;
	return false;
}

static void *option_field(const struct parser *parser, const struct option *option)
{
	return (char *)parser->values + option->offset;
}

/* Reads digits up to the first other character. Fails on none or on overflow. */
static bool digits_read(const char **text, uint64_t *value)
{
	const char *at = *text;
	unsigned base = 10;
	if (at[0] == '0' && (at[1] == 'x' || at[1] == 'X')) {
		base = 16;
		at += 2;
	}
	const char *start = at;
	uint64_t sum = 0;
	for (;; at++) {
		unsigned digit;
		if (*at >= '0' && *at <= '9')
			digit = (unsigned)(*at - '0');
		else if (base == 16 && (*at | 0x20) >= 'a' && (*at | 0x20) <= 'f')
			digit = (unsigned)((*at | 0x20) - 'a' + 10);
		else
			break;
		if (__builtin_mul_overflow(sum, (uint64_t)base, &sum) ||
		    __builtin_add_overflow(sum, (uint64_t)digit, &sum))
			return false;
	}
	*text = at;
	*value = sum;
	return at != start;
}

static bool number_read(const char *text, uint64_t *value)
{
	return digits_read(&text, value) && *text == '\0' && *value != OPTION_UNSET;
}

static bool size_read(const char *text, uint64_t *value)
{
	static const char suffixes[] = "KMG";
	if (!digits_read(&text, value))
		return false;
	if (*text == '\0')
		return *value != OPTION_UNSET;
	const char *suffix = strchr(suffixes, *text & ~0x20);
	if (suffix == NULL || text[1] != '\0')
		return false;
	unsigned shift = 10 * (unsigned)(suffix - suffixes + 1);
	if (*value > UINT64_MAX >> shift)
		return false;
	*value <<= shift;
	return true;
}

static bool set_number(const struct parser *parser, const struct option *option, const char *text)
{
	uint64_t value;
	if (!number_read(text, &value))
		return error_set(parser->error, ERROR_INPUT, "--%s '%.64s': give a number such as 42 or 0x2a",
				 option->name, text);
	if (value < option->minimum || (option->maximum != 0 && value > option->maximum))
		return error_set(parser->error, ERROR_INPUT, "--%s %s: give a number from %llu to %llu", option->name,
				 text, (unsigned long long)option->minimum, (unsigned long long)option->maximum);
	*(uint64_t *)option_field(parser, option) = value;
	return true;
}

static bool set_size(const struct parser *parser, const struct option *option, const char *text)
{
	uint64_t value;
	if (!size_read(text, &value))
		return error_set(parser->error, ERROR_INPUT,
				 "--%s '%.64s': give a size in bytes or with the suffix K, M or G, such as 512M",
				 option->name, text);
	*(uint64_t *)option_field(parser, option) = value;
	return true;
}

static bool set_choice(const struct parser *parser, const struct option *option, const char *text)
{
	char known[128] = "";
	for (const char *const *choice = option->choices; *choice != NULL; choice++) {
		if (strcmp(*choice, text) == 0) {
			*(const char **)option_field(parser, option) = *choice;
			return true;
		}
		size_t used = strlen(known);
		(void)snprintf(known + used, sizeof known - used, "%s%s", used > 0 ? ", " : "", *choice);
	}
	return error_set(parser->error, ERROR_INPUT, "--%s '%.64s': give one of %s", option->name, text, known);
}

static bool add_item(const struct parser *parser, const struct option *option, const char *text)
{
	struct option_list *list = option_field(parser, option);
	unsigned most = option->maximum != 0 ? (unsigned)option->maximum : OPTION_LIST_MAX;
	if (list->count == most)
		return error_set(parser->error, ERROR_INPUT, "--%s can be given at most %u times", option->name, most);
	list->item[list->count++] = text;
	return true;
}

static bool set_flag(const struct parser *parser, const struct option *option, const char *text)
{
	bool on = option_flag_is_on(text);
	*(bool *)option_field(parser, option) = on;
	return on || (text != NULL && strcmp(text, "false") == 0) ||
	       error_set(parser->error, ERROR_INPUT, "--%s=%.64s: give true or false, or the option alone",
			 option->name, text);
}

static bool set_value(const struct parser *parser, const struct option *option, const char *text)
{
	switch (option->kind) {
	case OPTION_NUMBER:
		return set_number(parser, option, text);
	case OPTION_SIZE:
		return set_size(parser, option, text);
	case OPTION_CHOICE:
		return set_choice(parser, option, text);
	case OPTION_LIST:
		return add_item(parser, option, text);
	case OPTION_TEXT:
		*(const char **)option_field(parser, option) = text;
		return true;
	case OPTION_FLAG:
		return set_flag(parser, option, text);
	}
	return false;
}

static bool set_defaults(const struct parser *parser)
{
	for (const struct option *option = option_first(parser->table); option != NULL; option = option_next(option)) {
		if (option->fallback != NULL) {
			if (!set_value(parser, option, option->fallback))
				return false;
		} else if (option->kind == OPTION_NUMBER || option->kind == OPTION_SIZE) {
			*(uint64_t *)option_field(parser, option) = OPTION_UNSET;
		}
	}
	return true;
}

static bool unknown_option(const struct parser *parser, const char *word)
{
	return error_set(parser->error, ERROR_INPUT, "unknown option '%.64s': '%s --help' lists the options", word,
			 parser->program);
}

/* An option that was on the command line. */
static bool option_given(const struct parser *parser, const struct option *option, const char *text)
{
	struct option_rest *rest = parser->rest;
	if (rest->given_count == OPTIONS_GIVEN_MAX)
		return error_set(parser->error, ERROR_INPUT, "too many options: '%s --help' shows the usage",
				 parser->program);
	rest->given[rest->given_count++] = (struct option_given){option, text};
	return set_value(parser, option, text);
}

/* The option's value is the next word. */
static bool parse_next(struct parser *parser, const struct option *option)
{
	if (parser->next == parser->argc)
		return error_set(parser->error, ERROR_INPUT, "--%s needs a value: --%s %s", option->name, option->name,
				 option->value);
	return option_given(parser, option, parser->argv[parser->next++]);
}

/* `word` begins with "-" and a letter. */
static bool parse_letter(struct parser *parser, const char *word)
{
	const struct option *option = option_first(parser->table);
	while (option != NULL && (option->letter == 0 || option->letter != word[1] || word[2] != '\0'))
		option = option_next(option);
	if (option == NULL)
		return unknown_option(parser, word);
	return option->kind == OPTION_FLAG ? option_given(parser, option, NULL) : parse_next(parser, option);
}

/* `word` begins with "--". */
static bool parse_option(struct parser *parser, const char *word)
{
	const char *name = word + 2;
	const char *equals = strchr(name, '=');
	size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
	const struct option *option = option_named(parser->table, parser->author, name, length);
	if (option == NULL)
		return unknown_option(parser, word);
	if (option->kind == OPTION_FLAG || equals != NULL)
		return option_given(parser, option, equals != NULL ? equals + 1 : NULL);
	return parse_next(parser, option);
}

static bool add_argument(const struct parser *parser, struct option_rest *rest, const char *word)
{
	if (rest->count == ARGUMENTS_MAX)
		return error_set(parser->error, ERROR_INPUT, "too many arguments: '%s --help' shows the usage",
				 parser->program);
	rest->argument[rest->count++] = word;
	return true;
}

bool options_parse(const struct option *table, enum option_author author, const char *program, int argc,
		   char *const *argv, void *values, struct option_rest *rest, struct error *error)
{
	struct parser parser = {.table = table,
				.author = author,
				.program = program,
				.argc = argc,
				.argv = argv,
				.values = values,
				.rest = rest,
				.error = error};
	bool only_arguments = false;
	*rest = (struct option_rest){0};
	if (!set_defaults(&parser))
		return false;
	while (parser.next < argc) {
		const char *word = argv[parser.next++];
		bool good;
		if (only_arguments || word[0] != '-' || word[1] == '\0') {
			good = add_argument(&parser, rest, word);
		} else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
			rest->help = true;
			return true;
		} else if (strcmp(word, "--") == 0) {
			good = only_arguments = true;
		} else if (word[1] == '-') {
			good = parse_option(&parser, word);
		} else {
			good = parse_letter(&parser, word);
		}
		if (!good)
			return false;
	}
	return true;
}

/* Prints text in words from HELP_COLUMN on. The cursor stands at `column`. */
static void print_wrapped(FILE *to, int column, const char *text)
{
	if (column >= HELP_COLUMN) {
		fputc('\n', to);
		column = 0;
	}
	fprintf(to, "%*s", HELP_COLUMN - column, "");
	column = HELP_COLUMN;
	while (*text != '\0') {
		int length = (int)strcspn(text, " ");
		if (column > HELP_COLUMN && column + length >= HELP_WIDTH) {
			fprintf(to, "\n%*s", HELP_COLUMN, "");
			column = HELP_COLUMN;
		}
		column += fprintf(to, column > HELP_COLUMN ? " %.*s" : "%.*s", length, text);
		text += length;
		text += strspn(text, " ");
	}
	fputc('\n', to);
}

void options_print(const struct option *table, FILE *to)
{
	for (const struct option *option = option_first(table); option != NULL; option = option_next(option)) {
		char help[600];
		if (option->hidden)
			continue;
		int column = fprintf(to, "  --%s", option->name);
		if (option->letter != 0)
			column += fprintf(to, ", -%c", option->letter);
		if (option->value != NULL)
			column += fprintf(to, " %s", option->value);
		(void)snprintf(help, sizeof help, "%s%s%s%s", option->help,
			       option->fallback != NULL ? " (default: " : "",
			       option->fallback != NULL ? option->fallback : "", option->fallback != NULL ? ")" : "");
		print_wrapped(to, column, help);
	}
	print_wrapped(to, fprintf(to, "  --help"), "print this text");
}
