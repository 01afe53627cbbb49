/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/guest.h"
#include "cli/picture.h"
#include "control/report.h"

struct screen_options {
	const char *png;
};

static const struct option screen_options[] = {
    {"png", "FILE", NULL, "write the screen to FILE as a PNG picture; - is standard output", .kind = OPTION_TEXT,
     .offset = offsetof(struct screen_options, png)},
    {0},
};

/* The row without the blanks at its end. Whatever the guest's process sends, nothing of it controls the terminal: C0
 * controls and DEL, and C1 controls, which are C2h 80h to C2h 9Fh in UTF-8. */
static void print_row(const char *row)
{
	size_t length = strlen(row);
	while (length > 0 && row[length - 1] == ' ')
		length--;
	for (size_t i = 0; i < length; i++) {
		uint8_t byte = (uint8_t)row[i];
		bool control = byte < 0x20 || byte == 0x7f || (byte == 0xc2 && (uint8_t)row[i + 1] < 0xa0);
		i += control && byte == 0xc2;
		(void)putchar(control ? '?' : byte);
	}
	(void)putchar('\n');
}

static int print_text(const char *name, const json_t *screen)
{
	const char *mode = json_string_value(json_object_get(screen, "mode"));
	if (mode != NULL && strcmp(mode, "graphics") == 0) {
		report_line("guest '%s' has a graphics screen, %d x %d: 'nfold screen %s --png FILE' makes a picture",
			    name, (int)json_integer_value(json_object_get(screen, "width")),
			    (int)json_integer_value(json_object_get(screen, "height")), name);
		return STATUS_INPUT;
	}
	if (mode == NULL || strcmp(mode, "text") != 0) {
		report_line("guest '%s': its screen is off", name);
		return STATUS_INPUT;
	}
	size_t index;
	json_t *row;
	json_array_foreach(json_object_get(screen, "text"), index, row)
	{
		if (json_is_string(row))
			print_row(json_string_value(row));
	}
	return STATUS_OK;
}

static int screen_run(const struct command_call *call)
{
	const struct screen_options *options = call->options;
	const char *name = call->argument[0];
	struct error error = {0};
	if (options->png != NULL)
		return picture_save(name, options->png, &error) ? STATUS_OK : (int)report_error(&error);
	json_t *screen = guest_call(name, "screen.text", NULL, &error);
	if (screen == NULL)
		return (int)report_error(&error);
	int status = print_text(name, screen);
	json_decref(screen);
	return status;
}

const struct command command_screen = {
    .name = "screen",
    .arguments = "NAME",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "show a guest's screen",
    .description = "Prints what is on a guest's text screen. A picture of any screen is made with --png.",
    .options = screen_options,
    .run = screen_run,
};
