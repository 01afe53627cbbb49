/* SPDX-License-Identifier: MIT */
/*
 * What a guest's agent sends, in pieces: marks, lines, good and broken answers, any bytes. An answer comes only after a
 * synchronization, an error's text is printable, and what is kept is bounded.
 */
#undef NDEBUG
#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "vm/agent-wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_printable(const char *text)
{
	for (; *text != '\0'; text++)
		assert(*text >= ' ' && *text <= '~');
}

static void take(struct agent_wire *wire, const uint8_t *bytes, size_t count)
{
	for (size_t at = 0; at < count;) {
		char error[AGENT_ERROR_SIZE] = "";
		enum agent_event event;
		json_t *result;
		enum agent_wire_state before = wire->state;
		size_t taken = agent_wire_take(wire, bytes + at, count - at, &event, &result, error);
		assert(taken > 0 && taken <= count - at);
		assert((event == AGENT_ANSWERED) == (result != NULL));
		assert(before != AGENT_WIRE_IDLE || event == AGENT_WAITS);
		assert(wire->used <= AGENT_LINE_MAX && wire->used <= wire->room);
		check_printable(error);
		json_decref(result);
		if (event != AGENT_WAITS && event != AGENT_SYNCED)
			agent_wire_begin(wire, 1);
		at += taken;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const parts[] = {"\xff",
					    "{\"return\": 1}\n",
					    "\xff{\"return\": 1}\n",
					    "{\"error\": {\"desc\": \"",
					    "\"}}\n",
					    "{\"return\": {\"a\": [",
					    "]}}\n",
					    "\n"};
	struct agent_wire wire = {0};
	agent_wire_begin(&wire, 1);
	for (size_t at = 0; at < size;) {
		uint8_t choice = data[at++];
		if (choice < 0x80) {
			const char *part = parts[choice & 7];
			take(&wire, (const uint8_t *)part, strlen(part));
			continue;
		}
		size_t count = choice & 0x1f;
		if (count > size - at)
			count = size - at;
		take(&wire, data + at, count);
		at += count;
	}
	agent_wire_end(&wire);
	return 0;
}
