/* SPDX-License-Identifier: MIT */
/* Definition files: half of them made of keys and values that there are, so that much gets past the parser. What is
 * taken can be written and is then read as the same; what is refused is said in one line that begins with the file. */
#include "fuzz-rig.h"

#include <stdlib.h>
#include <string.h>

#include "control/definition.h"

static size_t append(char *text, size_t used, size_t size, const char *more)
{
	size_t length = strlen(more);
	if (used + length >= size)
		return used;
	memcpy(text + used, more, length);
	return used + length;
}

/* {"KEY": VALUE, ...} with some slips. */
static size_t make_text(struct fuzz_rig *rig, char *text, size_t size)
{
	static const char *const values[] = {
	    "1",	  "2",	      "\"64M\"", "\"50%\"",	  "true", "\"user\"",	"[\"a\", \"b\"]", "0.25",
	    "null",	  "\"\"",     "\"on\"",	 "\"none\"",	  "-1",	  "\"unix:x\"", "\"0-1\"",	  "{}",
	    "\"strict\"", "\"1GHz\"", "[]",	 "\"disk,cdrom\""};
	const struct option *option = option_first(definition_option_table);
	size_t used = append(text, 0, size, "{");
	for (unsigned i = 0; rig->left > 0 && i < 60; i++) {
		for (unsigned skip = fuzz_byte(rig) % 60; skip > 0; skip--) {
			option = option_next(option);
			if (option == NULL)
				option = option_first(definition_option_table);
		}
		uint8_t choice = fuzz_byte(rig);
		const char slip[] = {(char)fuzz_byte(rig), '\0'};
		used = append(text, used, size, i > 0 ? ",\n\"" : "\"");
		used = append(text, used, size, option->name);
		used = append(text, used, size, "\": ");
		used = append(text, used, size, values[choice % (sizeof values / sizeof values[0])]);
		if (choice > 0xf8)
			used = append(text, used, size, slip);
		if ((choice & 0x18) == 0)
			break;
	}
	return append(text, used, size, "}");
}

static void check_again(const struct definition *definition)
{
	struct definition again;
	struct error error = {0};
	char *text = definition_text(definition->object);
	assert(text != NULL);
	assert(definition_parse(&again, "again", "/other", text, strlen(text), &error));
	assert(json_equal(definition->object, again.object));
	free(text);
	definition_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[65536];
	struct definition definition;
	struct error error = {0};
	struct fuzz_rig rig = {.data = data, .left = size};
	size_t length;
	if ((fuzz_byte(&rig) & 1) != 0) {
		length = make_text(&rig, text, sizeof text);
	} else {
		length = rig.left < sizeof text ? rig.left : sizeof text;
		memcpy(text, rig.data, length);
	}
	if (!definition_parse(&definition, "file", "/folder", text, length, &error)) {
		assert(strncmp(error.text, "file:", 5) == 0 && definition.object == NULL && definition.word == NULL);
		return 0;
	}
	check_again(&definition);
	definition_free(&definition);
	return 0;
}
