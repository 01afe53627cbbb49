/* SPDX-License-Identifier: MIT */
#include "cli/command.h"
#include "cli/guest.h"

static int key_run(const struct command_call *call)
{
	json_t *chords = json_array();
	for (unsigned i = 1; i < call->argument_count; i++) {
		/* Not valid UTF-8: no key's name either; the empty one is refused as such. */
		json_t *chord = json_string(call->argument[i]);
		(void)json_array_append_new(chords, chord != NULL ? chord : json_string(""));
	}
	return guest_do(call->argument[0], "keyboard.key", json_pack("{s:o}", "chords", chords));
}

const struct command command_key = {
    .name = "key",
    .arguments = "NAME CHORD...",
    .argument_min = 2,
    .argument_max = 33, /* as many chords as one call takes */
    .summary = "press keys of a guest's keyboard",
    .description =
	"Presses keys of a guest's keyboard one after the other. A CHORD is a key, or several that are held\n"
	"together, such as ctrl-alt-delete, shift-f10 or a. nfold(1) lists the names of the keys.",
    .run = key_run,
};
