/* SPDX-License-Identifier: MIT */
#include "plan/mapping.h"

#include <stdio.h>
#include <string.h>

#include "plan/input.h"
#include "plan/value.h"

static const struct {
	const char *key;
	unsigned target;
} target_table[] = {
    {"cpu_processors", COLLECT_PROCESSORS},
    {"cpu_mhz", COLLECT_MHZ},
    {"memory_available", COLLECT_AVAILABLE},
    {"memory_committed", COLLECT_COMMITTED},
    {"cpus", COLLECT_CHANNEL_COUNT + COLLECT_CPUS},
    {"mhz", COLLECT_CHANNEL_COUNT + COLLECT_CLOCK},
    {"installed", COLLECT_CHANNEL_COUNT + COLLECT_INSTALLED},
    {"rating", COLLECT_CHANNEL_COUNT + COLLECT_RATING},
    {"capacity_mhz", MAPPING_CAPACITY_MHZ},
};

/* MAPPING_TARGET_COUNT: none. */
static unsigned target_find(const char *key)
{
	for (unsigned i = 0; i < ESTATE_SERIES_COUNT; i++)
		if (strcmp(estate_series_key[i], key) == 0)
			return i;
	for (size_t i = 0; i < sizeof target_table / sizeof target_table[0]; i++)
		if (strcmp(target_table[i].key, key) == 0)
			return target_table[i].target;
	return MAPPING_TARGET_COUNT;
}

bool mapping_fits(const char *pattern, const char *column)
{
	const char *star = NULL, *retry = NULL;
	/* The last star takes one more character each time that what is behind it does not fit. */
	while (*column != '\0') {
		if (*pattern == '*') {
			star = pattern++;
			retry = column;
		} else if (*pattern == *column) {
			pattern++;
			column++;
		} else if (star != NULL) {
			pattern = star + 1;
			column = ++retry;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

struct reader {
	struct mapping *mapping;
	const char *name;
	unsigned line;
	struct error *error;
};

static bool bad(const struct reader *reader, const char *what, const char *text)
{
	return error_set(reader->error, ERROR_INPUT, "%.160s:%u: %s '%.80s'", reader->name, reader->line, what, text);
}

/* Cuts spaces and a pair of quotes. */
static char *trim(char *text)
{
	text += strspn(text, " \t");
	size_t length = strlen(text);
	while (length > 0 && strchr(" \t\r", text[length - 1]) != NULL)
		text[--length] = '\0';
	if (length >= 2 && text[0] == '"' && text[length - 1] == '"') {
		text[length - 1] = '\0';
		text++;
	}
	return text;
}

static bool copy(const struct reader *reader, char *to, const char *text)
{
	if (text[0] == '\0' || strlen(text) >= MAPPING_TEXT_MAX)
		return bad(reader, "a name that is empty or too long:", text);
	(void)snprintf(to, MAPPING_TEXT_MAX, "%s", text);
	return true;
}

/* "counter NAME", "counter32 NAME", "counter64 NAME" */
static char *read_counter(char *text, struct mapping_item *item)
{
	static const struct {
		const char *word;
		unsigned bits;
	} words[] = {{"counter ", 0}, {"counter32 ", 32}, {"counter64 ", 64}};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strncmp(text, words[i].word, strlen(words[i].word)) == 0) {
			item->counter = true;
			item->bits = words[i].bits;
			return text + strlen(words[i].word);
		}
	return text;
}

/* "NAME * 1024", "NAME / 100": the last of them, if a number is behind it. */
static bool read_factor(const struct reader *reader, char *text, struct mapping_item *item)
{
	item->factor = 1;
	char *at = NULL;
	for (char *next = text; (next = strpbrk(next, "*/")) != NULL; next++)
		if (next > text && next[-1] == ' ' && next[1] == ' ')
			at = next;
	if (at == NULL)
		return true;
	double factor;
	if (value_read(at + 1, strlen(at + 1), false, &factor) != VALUE_NUMBER)
		return true;
	if (!(factor > 0))
		return bad(reader, "a factor must be above 0:", at + 1);
	item->factor = *at == '*' ? factor : 1 / factor;
	*at = '\0';
	return true;
}

static bool read_item(struct reader *reader, unsigned target, char *text)
{
	struct mapping *mapping = reader->mapping;
	if (mapping->count == MAPPING_ITEMS_MAX)
		return bad(reader, "too many columns:", text);
	struct mapping_item *item = &mapping->item[mapping->count];
	*item = (struct mapping_item){.target = target, .line = reader->line};
	text = read_counter(text, item);
	if (item->counter && (target >= COLLECT_CHANNEL_COUNT || target == ESTATE_MEMORY))
		return bad(reader, "this is no rate, and has no counter:", text);
	if (!read_factor(reader, text, item) || !copy(reader, item->column, trim(text)))
		return false;
	mapping->count++;
	return true;
}

static bool read_separator(struct reader *reader, const char *text)
{
	bool tab = strcmp(text, "tab") == 0;
	if (!tab && (text[1] != '\0' || strchr(",;|", text[0]) == NULL))
		return bad(reader, "a separator is one of , ; | and tab, not", text);
	reader->mapping->separator = tab ? '\t' : text[0];
	return true;
}

static bool read_zone(struct reader *reader, const char *text)
{
	reader->mapping->zone_given = true;
	return value_zone_read(text, &reader->mapping->zone) ||
	       bad(reader, "a time zone is UTC or like +01:00, not", text);
}

static bool read_pair(struct reader *reader, const char *key, char *value)
{
	struct mapping *mapping = reader->mapping;
	const struct {
		const char *key;
		char *to;
	} texts[] = {{"time", mapping->time},
		     {"time_format", mapping->time_format},
		     {"server", mapping->server},
		     {"interval", mapping->interval}};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (strcmp(texts[i].key, key) == 0)
			return copy(reader, texts[i].to, value);
	if (value[0] == '\0')
		return bad(reader, "nothing behind", key);
	if (strcmp(key, "separator") == 0)
		return read_separator(reader, value);
	if (strcmp(key, "timezone") == 0)
		return read_zone(reader, value);
	unsigned target = target_find(key);
	return target != MAPPING_TARGET_COUNT ? read_item(reader, target, value) : bad(reader, "unknown key", key);
}

static bool read_line(struct reader *reader, char *line)
{
	line = trim(line);
	if (line[0] == '\0' || line[0] == '#')
		return true;
	char *equals = strchr(line, '=');
	if (equals == NULL)
		return bad(reader, "not a line 'key = value':", line);
	*equals = '\0';
	return read_pair(reader, trim(line), trim(equals + 1));
}

static bool check(const struct reader *reader)
{
	const struct mapping *mapping = reader->mapping;
	if (mapping->time[0] == '\0')
		return error_set(reader->error, ERROR_INPUT, "%.160s: no line 'time = COLUMN'", reader->name);
	for (size_t i = 0; i < mapping->count; i++)
		if (mapping->item[i].target < COLLECT_CHANNEL_COUNT)
			return true;
	return error_set(reader->error, ERROR_INPUT, "%.160s: no line names what is measured, such as 'cpu = COLUMN'",
			 reader->name);
}

static bool read_all(struct reader *reader, struct input *input)
{
	char *line;
	size_t length;
	*reader->mapping = (struct mapping){.time_format = "auto"};
	for (;;) {
		enum input_result result = input_line(input, &line, &length, reader->error);
		if (result == INPUT_ERROR)
			return false;
		if (result == INPUT_END)
			return check(reader);
		reader->line++;
		if (!read_line(reader, line))
			return false;
	}
}

bool mapping_read(const char *text, size_t length, const char *name, struct mapping *mapping, struct error *error)
{
	struct reader reader = {.mapping = mapping, .name = name, .error = error};
	struct input *input = input_from_bytes(name, text, length, error);
	bool good = input != NULL && read_all(&reader, input);
	input_close(input);
	return good;
}

bool mapping_load(const char *path, struct mapping *mapping, struct error *error)
{
	struct reader reader = {.mapping = mapping, .name = path, .error = error};
	struct input *input = input_open(path, -1, error);
	bool good = input != NULL && read_all(&reader, input);
	input_close(input);
	return good;
}
