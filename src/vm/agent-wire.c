/* SPDX-License-Identifier: MIT */
#include "vm/agent-wire.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK 0xffu
#define SYNC_LINE_MAX 256u
#define FIRST_ROOM 4096u

void agent_wire_begin(struct agent_wire *wire, json_int_t sync)
{
	agent_wire_end(wire);
	wire->state = AGENT_WIRE_MARK;
	wire->sync = sync;
}

void agent_wire_end(struct agent_wire *wire)
{
	free(wire->line);
	wire->line = NULL;
	*wire = (struct agent_wire){.state = AGENT_WIRE_IDLE};
}

/* ---- lines ---- */

static bool line_add(struct agent_wire *wire, const uint8_t *bytes, size_t count, size_t limit)
{
	if (count == 0)
		return true; /* there may be no memory yet */
	if (count > limit - wire->used)
		return false;
	if (wire->used + count > wire->room) {
		size_t room = wire->room == 0 ? FIRST_ROOM : wire->room;
		while (room < wire->used + count)
			room *= 2;
		char *grown = realloc(wire->line, room);
		if (grown == NULL)
			return false;
		wire->line = grown;
		wire->room = room;
	}
	memcpy(wire->line + wire->used, bytes, count);
	wire->used += count;
	return true;
}

/* An upper bound of the values: a parser needs much more memory for one than JSON needs bytes. */
static bool values_are_few(const char *line, size_t size)
{
	unsigned values = 0;
	for (size_t i = 0; i < size; i++)
		values += line[i] == ',' || line[i] == '[' || line[i] == '{';
	return values <= AGENT_VALUES_MAX;
}

static bool line_is_blank(const struct agent_wire *wire)
{
	for (size_t i = 0; i < wire->used; i++)
		if (wire->line[i] != ' ' && wire->line[i] != '\r' && wire->line[i] != '\t')
			return false;
	return true;
}

/* ---- what they say ---- */

/* Control characters of a terminal are not the guest's to send. */
static void make_printable(char error[AGENT_ERROR_SIZE], const char *text)
{
	(void)snprintf(error, AGENT_ERROR_SIZE, "%s", text);
	for (char *at = error; *at != '\0'; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
}

static enum agent_event broken(struct agent_wire *wire, char error[AGENT_ERROR_SIZE], const char *text)
{
	agent_wire_end(wire);
	make_printable(error, text);
	return AGENT_BROKEN;
}

static enum agent_event read_answer(struct agent_wire *wire, json_t **result, char error[AGENT_ERROR_SIZE])
{
	if (!values_are_few(wire->line, wire->used))
		return broken(wire, error, "the guest agent's answer has too many values");
	json_t *answer = json_loadb(wire->line, wire->used, JSON_REJECT_DUPLICATES, NULL);
	json_t *refusal = json_object_get(answer, "error");
	const char *why = json_string_value(json_object_get(refusal, "desc"));
	enum agent_event event = AGENT_ANSWERED;
	*result = json_incref(json_object_get(answer, "return"));
	if (refusal != NULL) {
		json_decref(*result);
		*result = NULL;
		make_printable(error, why != NULL ? why : "no reason given");
		event = AGENT_REFUSED;
	} else if (*result == NULL) {
		make_printable(error, "the guest agent's answer is not of its protocol");
		event = AGENT_BROKEN;
	}
	json_decref(answer);
	agent_wire_end(wire);
	return event;
}

static bool is_our_sync(const struct agent_wire *wire)
{
	json_t *answer = values_are_few(wire->line, wire->used)
			     ? json_loadb(wire->line, wire->used, JSON_REJECT_DUPLICATES, NULL)
			     : NULL;
	const json_t *number = json_object_get(answer, "return");
	bool good = json_is_integer(number) && json_integer_value(number) == wire->sync;
	json_decref(answer);
	return good;
}

/* A line has ended. */
static enum agent_event line_end(struct agent_wire *wire, json_t **result, char error[AGENT_ERROR_SIZE])
{
	if (line_is_blank(wire)) {
		wire->used = 0;
		return AGENT_WAITS;
	}
	if (wire->state == AGENT_WIRE_ANSWER)
		return read_answer(wire, result, error);
	bool ours = is_our_sync(wire);
	wire->used = 0;
	wire->state = ours ? AGENT_WIRE_ANSWER : AGENT_WIRE_MARK;
	return ours ? AGENT_SYNCED : AGENT_WAITS;
}

/* ---- bytes ---- */

/* Up to the mark and with it; all, if there is none. */
static size_t skip(struct agent_wire *wire, const uint8_t *bytes, size_t count)
{
	const uint8_t *mark = memchr(bytes, MARK, count);
	if (mark == NULL)
		return count;
	wire->state = AGENT_WIRE_SYNC;
	wire->used = 0;
	return (size_t)(mark - bytes) + 1;
}

size_t agent_wire_take(struct agent_wire *wire, const uint8_t *bytes, size_t count, enum agent_event *event,
		       json_t **result, char error[AGENT_ERROR_SIZE])
{
	size_t at = 0;
	*event = AGENT_WAITS;
	*result = NULL;
	while (at < count && *event == AGENT_WAITS) {
		const uint8_t *from = bytes + at;
		const uint8_t *mark = wire->state == AGENT_WIRE_SYNC ? memchr(from, MARK, count - at) : NULL;
		const uint8_t *end = memchr(from, '\n', count - at);
		size_t limit = wire->state == AGENT_WIRE_SYNC ? SYNC_LINE_MAX : AGENT_LINE_MAX;
		size_t length = end != NULL ? (size_t)(end - from) : count - at;
		if (wire->state == AGENT_WIRE_IDLE)
			return count;
		if (wire->state == AGENT_WIRE_MARK || (mark != NULL && (end == NULL || mark < end))) {
			at += skip(wire, from, count - at);
		} else if (!line_add(wire, from, length, limit)) {
			if (wire->state == AGENT_WIRE_ANSWER)
				*event = broken(wire, error, "the guest agent's answer is longer than 3 MiB");
			else
				wire->state = AGENT_WIRE_MARK;
			at += length;
		} else {
			at += length + (end != NULL);
			if (end != NULL)
				*event = line_end(wire, result, error);
		}
	}
	return at;
}
