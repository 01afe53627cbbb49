/* SPDX-License-Identifier: MIT */
/* What can be asked of a running guest: the methods of the control protocol. */
#ifndef NFOLD_VM_METHODS_H
#define NFOLD_VM_METHODS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "machine/machine.h"

/* JSON-RPC 2.0, section 5.1; from -32000 on our own. */
enum rpc_error_code {
	RPC_PARSE_ERROR = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_METHOD_NOT_FOUND = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_INTERNAL_ERROR = -32603,
	RPC_WRONG_STATE = -32000,
};

struct method_error {
	int code;
	char text[400];
};

struct typist;

struct method_context {
	struct machine *machine;
	const struct machine_config *config;
	const char *engine;
	uint64_t started_ns; /* CLOCK_MONOTONIC */
	int stop_timer;	     /* a timerfd: kills the guest when it expires */
	struct typist *typist;
	/* Of the client whose request is served. */
	bool answers_unread; /* it has not yet read all that was sent to it */
	int answer_fd;	     /* -1, or a descriptor that goes with the answer: the server's from then on */
};

/* Fills *error and returns NULL, so that methods can `return method_fail(...)`. */
json_t *method_fail(struct method_error *error, int code, const char *text);

/* Calls a method by name. params is an object, an empty array or NULL. Returns a new reference, or NULL with *error
 * filled. */
json_t *method_call(struct method_context *context, const char *name, json_t *params, struct method_error *error);

#endif
