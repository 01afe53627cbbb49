/* SPDX-License-Identifier: MIT */
/*
 * What comes from the QEMU guest agent: bytes to answers. Knows no sockets.
 *
 * The agent's protocol is JSON, a command and an answer a line. The channel may still hold answers to commands that
 * nobody waits for any more, so each conversation begins with guest-sync-delimited: the agent's answer to it comes
 * behind a byte FFh, which JSON in UTF-8 never has, and repeats a number of ours. What comes before that is skipped.
 *
 * The guest is hostile, and so is its agent: a line has at most AGENT_LINE_MAX bytes and AGENT_VALUES_MAX values, and
 * what it says of an error is made printable.
 */
#ifndef NFOLD_VM_AGENT_WIRE_H
#define NFOLD_VM_AGENT_WIRE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_LINE_MAX ((size_t)3 << 20)
#define AGENT_VALUES_MAX 16384u
#define AGENT_ERROR_SIZE 200

enum agent_wire_state { AGENT_WIRE_IDLE, AGENT_WIRE_MARK, AGENT_WIRE_SYNC, AGENT_WIRE_ANSWER };

struct agent_wire {
	enum agent_wire_state state;
	json_int_t sync; /* the number that the agent shall repeat */
	char *line;
	size_t used, room;
};

enum agent_event {
	AGENT_WAITS,	/* for more bytes */
	AGENT_SYNCED,	/* what is sent now is answered */
	AGENT_ANSWERED, /* *result has it */
	AGENT_REFUSED,	/* error has why */
	AGENT_BROKEN,	/* an answer that is none; error has why */
};

/* The agent has been asked to repeat `sync`. */
void agent_wire_begin(struct agent_wire *wire, json_int_t sync);
/* Forgets what has come, and skips what will. */
void agent_wire_end(struct agent_wire *wire);

/* Takes bytes up to the first event; returns how many. *result is a new reference. */
size_t agent_wire_take(struct agent_wire *wire, const uint8_t *bytes, size_t count, enum agent_event *event,
		       json_t **result, char error[AGENT_ERROR_SIZE]);

#endif
