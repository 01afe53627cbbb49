/* SPDX-License-Identifier: MIT */
#include "base/engine_switches.h"

#include <string.h>

static const struct {
	const char *name;
	uint32_t bit;
} switches[] = {
#define X(bit, name, meaning) {"no-" name, ENGINE_##bit},
    ENGINE_SWITCHES(X)
#undef X
};

static uint32_t switch_find(const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++) {
		if (strlen(switches[i].name) == length && memcmp(switches[i].name, name, length) == 0)
			return switches[i].bit;
	}
	return 0;
}

bool engine_switches_read(const char *option, const char *text, uint32_t *off, struct error *error)
{
	*off = 0;
	for (const char *from = text;; from++) {
		size_t length = strcspn(from, ",");
		uint32_t bit = switch_find(from, length);
		if (bit == 0)
			return error_set(error, ERROR_INPUT,
					 "%s: no part is called '%.*s'; there are" ENGINE_SWITCH_LIST, option,
					 (int)(length < 64 ? length : 64), from);
		*off |= bit;
		from += length;
		if (*from == '\0')
			return true;
	}
}
