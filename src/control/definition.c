/* SPDX-License-Identifier: MIT */
#include "control/definition.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LABEL_MAX 200

struct reader {
	struct definition *definition;
	const char *label, *folder;
	const char *text; /* NULL: there are no lines */
	size_t size;
	struct error *error;
};

/* ---- where in the text ---- */

struct position {
	unsigned line, column;
};

/* The end of the string that begins at `at`, a quote. The text is valid JSON. */
static size_t string_end(const char *text, size_t size, size_t at)
{
	for (at++; at < size && text[at] != '"'; at++)
		at += text[at] == '\\';
	return at;
}

static bool is_key(const char *text, size_t size, size_t end)
{
	for (end++; end < size; end++)
		if (strchr(" \t\r\n", text[end]) == NULL)
			return text[end] == ':';
	return false;
}

static struct position position_of(const char *text, size_t at)
{
	struct position position = {1, 1};
	for (size_t i = 0; i < at; i++) {
		position.column = text[i] == '\n' ? 1 : position.column + 1;
		position.line += text[i] == '\n';
	}
	return position;
}

/* Where the key of the outermost object stands; the text's beginning if it is written with escapes. */
static struct position key_position(const char *text, size_t size, const char *key)
{
	unsigned depth = 0;
	for (size_t at = 0; at < size; at++) {
		depth += text[at] == '{' || text[at] == '[';
		depth -= text[at] == '}' || text[at] == ']';
		if (text[at] != '"')
			continue;
		size_t end = string_end(text, size, at);
		if (depth == 1 && end - at - 1 == strlen(key) && memcmp(text + at + 1, key, strlen(key)) == 0 &&
		    is_key(text, size, end))
			return position_of(text, at);
		at = end;
	}
	return (struct position){1, 1};
}

/* Puts file, line and column in front of a message. The dashes of the option it begins with are not in a file. */
static bool fail_at(const struct reader *reader, const char *key, const char *message)
{
	if (strncmp(message, "--", 2) == 0)
		message += 2;
	if (reader->text == NULL || key == NULL)
		return error_set(reader->error, ERROR_INPUT, "%.*s: %s", LABEL_MAX, reader->label, message);
	struct position position = key_position(reader->text, reader->size, key);
	return error_set(reader->error, ERROR_INPUT, "%.*s:%u:%u: %s", LABEL_MAX, reader->label, position.line,
			 position.column, message);
}

/* A message about several options begins with one of them. */
static bool fail_whole(const struct reader *reader, const struct error *error)
{
	char key[64] = "";
	if (sscanf(error->text, "--%63[a-z-]", key) == 1 && json_object_get(reader->definition->object, key) != NULL)
		return fail_at(reader, key, error->text);
	if (strncmp(error->text, "name ", 5) == 0)
		return fail_at(reader, "name", error->text);
	return fail_at(reader, NULL, error->text);
}

/* ---- names of files ---- */

/* Options whose value begins with a file's name. `except` are values, or beginnings of values that end in a slash,
 * which are something else. */
static const struct file_key {
	const char *key;
	const char *except[4];
	bool may_be_socket, must_be_socket; /* unix:PATH */
} file_keys[] = {
    {"disk", {"nbd://", "nbds://", "nbd+unix://", "nbds+unix://"}, false, false},
    {"cdrom", {NULL}, false, false},
    {"floppy", {NULL}, false, false},
    {"firmware", {NULL}, false, false},
    {"kernel", {NULL}, false, false},
    {"initrd", {NULL}, false, false},
    {"module", {NULL}, false, false},
    {"serial", {"stdio", "none"}, true, false},
    {"debug-console", {NULL}, false, false},
    {"trace-events", {NULL}, false, false},
    {"gdb", {NULL}, true, true},
};

static const struct file_key *file_key_find(const char *key)
{
	for (unsigned i = 0; i < sizeof file_keys / sizeof file_keys[0]; i++)
		if (strcmp(file_keys[i].key, key) == 0)
			return &file_keys[i];
	return NULL;
}

static bool is_exception(const struct file_key *file, const char *value)
{
	for (unsigned i = 0; i < 4 && file->except[i] != NULL; i++) {
		const char *word = file->except[i];
		size_t length = strlen(word);
		if (word[length - 1] == '/' ? strncmp(value, word, length) == 0 : strcmp(value, word) == 0)
			return true;
	}
	return false;
}

/* The value with its file's name made absolute, allocated. Empty values stay, for the check to complain about. */
static char *absolute(const char *folder, const char *key, const char *value)
{
	static const char socket_prefix[] = "unix:";
	const struct file_key *file = file_key_find(key);
	bool socket = strncmp(value, socket_prefix, strlen(socket_prefix)) == 0;
	size_t prefix = file != NULL && file->may_be_socket && socket ? strlen(socket_prefix) : 0;
	char *text;
	if (file == NULL || value[prefix] == '\0' || value[prefix] == '/' || is_exception(file, value) ||
	    (file->must_be_socket && !socket))
		return strdup(value);
	return asprintf(&text, "%.*s%s/%s", (int)prefix, value, folder, value + prefix) >= 0 ? text : NULL;
}

/* ---- from values to words ---- */

/* A value as text, allocated; NULL with *problem if it is none. Numbers may be written without quotes. */
static char *value_text(const struct option *option, const json_t *value, const char **problem)
{
	char *text = NULL;
	*problem = "out of memory";
	if (json_is_string(value))
		return strdup(json_string_value(value));
	if (json_is_integer(value)) {
		if (asprintf(&text, "%lld", (long long)json_integer_value(value)) < 0)
			text = NULL;
	} else if (json_is_real(value)) {
		if (asprintf(&text, "%.12g", json_real_value(value)) < 0)
			text = NULL;
	} else {
		*problem = option->kind == OPTION_LIST ? "give a text or an array of texts" : "give a text or a number";
	}
	return text;
}

static bool add_word(struct definition *definition, const char *key, const char *value)
{
	char **grown = realloc(definition->word, (definition->words + 1) * sizeof *grown);
	if (grown == NULL)
		return false;
	definition->word = grown;
	int length = value != NULL ? asprintf(&grown[definition->words], "--%s=%s", key, value)
				   : asprintf(&grown[definition->words], "--%s", key);
	definition->words += length >= 0;
	return length >= 0;
}

static bool no_memory(const struct reader *reader)
{
	return error_set(reader->error, ERROR_HOST, "out of memory");
}

/* *kept: the value with absolute names, to be put in the place of the one that was there. */
static bool add_scalar(const struct reader *reader, const struct option *option, const json_t *value, json_t **kept)
{
	const char *problem;
	char message[128];
	char *text = value_text(option, value, &problem);
	if (text == NULL) {
		(void)snprintf(message, sizeof message, "%s: %s", option->name, problem);
		return fail_at(reader, option->name, message);
	}
	char *full = absolute(reader->folder, option->name, text);
	bool good = full != NULL && add_word(reader->definition, option->name, full);
	if (good)
		*kept = json_is_string(value) ? json_string(full) : json_copy((json_t *)(uintptr_t)value);
	free(text);
	free(full);
	return (good && *kept != NULL) || no_memory(reader);
}

static bool add_list(const struct reader *reader, const struct option *option, const json_t *list)
{
	json_t *kept = json_array();
	bool good = kept != NULL;
	for (size_t i = 0; good && i < json_array_size(list); i++) {
		json_t *item = NULL;
		good = add_scalar(reader, option, json_array_get(list, i), &item);
		if (good)
			good = json_array_append_new(kept, item) == 0 || no_memory(reader);
	}
	if (good)
		return json_object_set_new(reader->definition->object, option->name, kept) == 0 || no_memory(reader);
	json_decref(kept);
	return false;
}

static bool add_flag(const struct reader *reader, const struct option *option, const json_t *value)
{
	char message[128];
	if (json_is_boolean(value))
		return json_is_false(value) || add_word(reader->definition, option->name, NULL) || no_memory(reader);
	(void)snprintf(message, sizeof message, "%s: give true or false", option->name);
	return fail_at(reader, option->name, message);
}

static bool add_key(const struct reader *reader, const struct option *option, const json_t *value)
{
	json_t *kept = NULL;
	if (option->kind == OPTION_FLAG)
		return add_flag(reader, option, value);
	if (option->kind == OPTION_LIST && json_is_array(value))
		return add_list(reader, option, value);
	return add_scalar(reader, option, value, &kept) &&
	       (json_object_set_new(reader->definition->object, option->name, kept) == 0 || no_memory(reader));
}

/* Words of one key, parsed alone, so that a message is about that key. */
static bool check_key(const struct reader *reader, const struct option *option, unsigned first_word)
{
	const struct definition *definition = reader->definition;
	struct definition_options *options = calloc(1, sizeof *options);
	struct option_rest *rest = malloc(sizeof *rest);
	struct error error = {0};
	char *const *words = definition->words > first_word ? definition->word + first_word : NULL;
	bool good = options != NULL && rest != NULL;
	if (good)
		good = options_parse(definition_option_table, OPTIONS_FROM_PERSON, "nfold create",
				     (int)(definition->words - first_word), words, options, rest, &error);
	else
		error_set(&error, ERROR_HOST, "out of memory");
	free(options);
	free(rest);
	return good || fail_at(reader, option->name, error.text);
}

static bool unknown_key(const struct reader *reader, const char *key)
{
	char message[160];
	(void)snprintf(message, sizeof message, "unknown key '%.64s': 'nfold create --help' lists them all", key);
	return fail_at(reader, key, message);
}

/* A copy of the keys is visited, since values are set meanwhile. The guest's words come before the host's. */
static bool add_keys(const struct reader *reader, const struct option *table, bool host)
{
	struct definition *definition = reader->definition;
	for (const struct option *option = option_first(table); option != NULL; option = option_next(option)) {
		size_t length = strlen(option->name);
		const struct option *guest =
		    option_named(guest_option_table, OPTIONS_FROM_PROGRAM, option->name, length);
		json_t *value = json_object_get(definition->object, option->name);
		unsigned first = definition->words;
		if (value == NULL || option->hidden || (guest == NULL) != host)
			continue;
		if (!add_key(reader, option, value) || !check_key(reader, option, first))
			return false;
	}
	if (!host)
		definition->guest_words = definition->words;
	return true;
}

static bool keys_are_known(const struct reader *reader)
{
	const char *key;
	json_t *value;
	json_object_foreach(reader->definition->object, key, value)
	{
		if (option_named(definition_option_table, OPTIONS_FROM_PERSON, key, strlen(key)) == NULL)
			return unknown_key(reader, key);
	}
	return true;
}

static bool check_whole(const struct reader *reader)
{
	struct definition *definition = reader->definition;
	struct option_rest *rest = malloc(sizeof *rest);
	struct host_policy policy;
	struct error error = {0};
	if (rest == NULL)
		return no_memory(reader);
	bool good = options_parse(definition_option_table, OPTIONS_FROM_PERSON, "nfold create", (int)definition->words,
				  definition->word, &definition->options, rest, &error) &&
		    guest_options_check(&definition->options.guest, &error) &&
		    host_options_check(&definition->options, &policy, &error);
	free(rest);
	return good || fail_whole(reader, &error);
}

static bool parse_text(const struct reader *reader)
{
	json_error_t error;
	char message[JSON_ERROR_TEXT_LENGTH + 64];
	reader->definition->object = json_loadb(reader->text, reader->size, JSON_REJECT_DUPLICATES, &error);
	if (json_is_object(reader->definition->object))
		return true;
	if (reader->definition->object != NULL)
		return fail_at(reader, NULL, "give one object: { \"KEY\": VALUE, ... }");
	(void)snprintf(message, sizeof message, "%d:%d: %s", error.line, error.column > 0 ? error.column : 1,
		       error.text);
	return error_set(reader->error, ERROR_INPUT, "%.*s:%s", LABEL_MAX, reader->label, message);
}

bool definition_parse(struct definition *definition, const char *label, const char *folder, const char *text,
		      size_t size, struct error *error)
{
	const struct reader reader = {
	    .definition = definition, .label = label, .folder = folder, .text = text, .size = size, .error = error};
	*definition = (struct definition){0};
	bool good = parse_text(&reader) && keys_are_known(&reader) &&
		    add_keys(&reader, definition_option_table, false) &&
		    add_keys(&reader, definition_option_table, true) && check_whole(&reader);
	if (!good)
		definition_free(definition);
	return good;
}

/* What the option table cannot know: a guest of the host has no terminal. */
bool definition_fits_host(const char *name, const struct definition_options *options, struct error *error)
{
	const struct guest_options *guest = &options->guest;
	if (guest->name != NULL && strcmp(guest->name, name) != 0)
		return error_set(error, ERROR_INPUT, "name: the definition says '%s', but it is that of '%s'",
				 guest->name, name);
	if (guest->serial != NULL && strcmp(guest->serial, "stdio") == 0)
		return error_set(error, ERROR_INPUT,
				 "serial stdio: a guest of the host has no terminal; leave it out for 'nfold console'");
	return !guest_options_show_screen(guest) ||
	       error_set(error, ERROR_INPUT, "display terminal: a guest of the host has none; leave it out");
}

bool definition_parse_for(struct definition *definition, const char *name, const char *folder, const char *text,
			  size_t size, struct error *error)
{
	char label[NAME_MAX + 1];
	(void)snprintf(label, sizeof label, "%s" DEFINITION_SUFFIX, name);
	if (!definition_parse(definition, label, folder, text, size, error))
		return false;
	if (definition_fits_host(name, &definition->options, error))
		return true;
	definition_free(definition);
	return false;
}

void definition_free(struct definition *definition)
{
	for (unsigned i = 0; i < definition->words; i++)
		free(definition->word[i]);
	free(definition->word);
	json_decref(definition->object);
	*definition = (struct definition){0};
}

/* ---- files ---- */

bool definition_is_path(const char *path)
{
	size_t length = strlen(path), suffix = strlen(DEFINITION_SUFFIX);
	return length > suffix && strcmp(path + length - suffix, DEFINITION_SUFFIX) == 0;
}

/* The folder that a file lies in, absolute and allocated. */
static char *folder_of(const char *path)
{
	char *full = realpath(path, NULL);
	char *slash = full != NULL ? strrchr(full, '/') : NULL;
	if (slash != NULL)
		slash[slash == full] = '\0';
	return full;
}

char *definition_file_text(const char *path, size_t *size, struct error *error)
{
	struct stat status;
	char *text = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &status) != 0) {
		error_set(error, ERROR_INPUT, "cannot open %.*s: %s", LABEL_MAX, path, strerror(errno));
	} else if (!S_ISREG(status.st_mode) || status.st_size > DEFINITION_SIZE_MAX) {
		error_set(error, ERROR_INPUT, "%.*s is not a definition: a file of at most %u bytes", LABEL_MAX, path,
			  DEFINITION_SIZE_MAX);
	} else if ((text = malloc(DEFINITION_SIZE_MAX)) == NULL) {
		error_set(error, ERROR_HOST, "out of memory");
	} else {
		ssize_t got = read(fd, text, DEFINITION_SIZE_MAX);
		*size = got >= 0 ? (size_t)got : 0;
		if (got < 0) {
			error_set(error, ERROR_INPUT, "cannot read %.*s: %s", LABEL_MAX, path, strerror(errno));
			free(text);
			text = NULL;
		}
	}
	if (fd >= 0)
		close(fd);
	return text;
}

bool definition_read(struct definition *definition, const char *path, struct error *error)
{
	size_t size = 0;
	*definition = (struct definition){0};
	char *text = definition_file_text(path, &size, error);
	if (text == NULL)
		return false;
	char *folder = folder_of(path);
	bool good = folder != NULL ? definition_parse(definition, path, folder, text, size, error)
				   : error_set_errno(error, "cannot find the folder of %.*s", LABEL_MAX, path);
	free(folder);
	free(text);
	return good;
}

char *definition_text(const json_t *object)
{
	char *text = json_dumps(object, JSON_INDENT(2) | JSON_PRESERVE_ORDER), *line = NULL;
	if (text != NULL && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	free(text);
	return line;
}

/* ---- from a command line ---- */

static bool set_given(json_t *object, const struct option_given *given, const char *folder)
{
	const char *key = given->option->name;
	json_t *value;
	if (given->option->kind == OPTION_FLAG)
		return json_object_set_new(object, key, json_boolean(option_flag_is_on(given->text))) == 0;
	char *text = absolute(folder, key, given->text);
	value = text != NULL ? json_string(text) : NULL;
	free(text);
	if (given->option->kind != OPTION_LIST)
		return json_object_set_new(object, key, value) == 0;
	if (json_object_get(object, key) == NULL)
		(void)json_object_set_new(object, key, json_array());
	return json_array_append_new(json_object_get(object, key), value) == 0;
}

json_t *definition_from_given(const struct option_rest *rest, const char *folder, struct error *error)
{
	json_t *object = json_object();
	for (unsigned i = 0; i < rest->given_count; i++) {
		if (set_given(object, &rest->given[i], folder))
			continue;
		/* jansson takes UTF-8 alone. */
		error_set(error, ERROR_INPUT, "--%s: this text is not UTF-8 and cannot be in a definition",
			  rest->given[i].option->name);
		json_decref(object);
		return NULL;
	}
	return object;
}
