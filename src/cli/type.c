/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/guest.h"
#include "control/report.h"

/* More than the guest takes at a time, which it says itself; and little enough for one request, however it is quoted.
 */
#define TEXT_MAX 8192
#define INTERVAL_MAX 1000

struct type_options {
	uint64_t interval;
};

static const struct option type_options[] = {
    {"interval", "MS", "30", "time between a key down, the key up and the next", .kind = OPTION_NUMBER, .minimum = 1,
     .maximum = INTERVAL_MAX, .offset = offsetof(struct type_options, interval)},
    {0},
};

/* "\n" and its like, in place. */
static bool text_unescape(char *text, struct error *error)
{
	static const char letters[] = "ntbe\\", characters[] = "\n\t\b\033\\";
	char *to = text;
	for (const char *from = text; *from != '\0'; from++) {
		if (*from != '\\') {
			*to++ = *from;
			continue;
		}
		from++;
		const char *letter = *from != '\0' ? strchr(letters, *from) : NULL;
		if (letter == NULL)
			return error_set(error, ERROR_INPUT,
					 "'\\%.1s' in the text: give \\n, \\t, \\b, \\e, or \\\\ for a backslash",
					 from);
		*to++ = characters[letter - letters];
	}
	*to = '\0';
	return true;
}

static bool text_copy(char *text, const char *word, struct error *error)
{
	if (strlen(word) > TEXT_MAX)
		return error_set(error, ERROR_INPUT, "the text is too long: give it in parts");
	memcpy(text, word, strlen(word) + 1);
	return text_unescape(text, error);
}

static bool text_read(char *text, struct error *error)
{
	size_t used = 0;
	for (;;) {
		ssize_t got = read(STDIN_FILENO, text + used, TEXT_MAX + 1 - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_errno(error, "cannot read standard input");
		if (got == 0)
			break;
		used += (size_t)got;
		if (used > TEXT_MAX)
			return error_set(error, ERROR_INPUT, "the text is too long: give it in parts");
	}
	text[used] = '\0';
	if (strlen(text) != used)
		return error_set(error, ERROR_INPUT, "no key types the character NUL in the text");
	return true;
}

static int type_run(const struct command_call *call)
{
	const struct type_options *options = call->options;
	char text[TEXT_MAX + 2];
	struct error error = {0};
	const char *word = call->argument[1];
	if (!(strcmp(word, "-") == 0 ? text_read(text, &error) : text_copy(text, word, &error)))
		return (int)report_error(&error);
	json_t *value = json_string(text);
	if (value == NULL) {
		report_line("the text is not UTF-8");
		return STATUS_INPUT;
	}
	return guest_do(call->argument[0], "keyboard.type",
			json_pack("{s:o, s:I}", "text", value, "interval_ms", (json_int_t)options->interval));
}

const struct command command_type = {
    .name = "type",
    .arguments = "NAME TEXT",
    .argument_min = 2,
    .argument_max = 2,
    .summary = "type on a guest's keyboard",
    .description =
	"Types a text on a guest's keyboard, which has the US layout; at most 4096 characters. In TEXT, \\n is\n"
	"Enter, \\t Tab, \\b Backspace, \\e Escape and \\\\ a backslash. If TEXT is -, standard input is read and\n"
	"typed as it is. Returns at once: the guest gets the keys as it takes them.",
    .options = type_options,
    .run = type_run,
};
