/* SPDX-License-Identifier: MIT */
/* JSON-RPC 2.0: requests to answers, as text, by a table of methods. Knows no sockets. */
#ifndef NFOLD_CONTROL_RPC_H
#define NFOLD_CONTROL_RPC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* JSON-RPC 2.0, section 5.1; from -32000 on our own. */
enum rpc_error_code {
	RPC_PARSE_ERROR = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_METHOD_NOT_FOUND = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_INTERNAL_ERROR = -32603,
	RPC_WRONG_STATE = -32000,
	RPC_ANSWERS_LATER = 1, /* no error: see struct rpc_later */
};

struct method_error {
	int code;
	char text[400];
};

/* What methods act on: each program has its own. */
struct method_context;

/*
 * Answers that come later. A method that may (`allowed`: its request is alone in its message and wants an answer) keeps
 * the ticket and fails with RPC_ANSWERS_LATER; then the request's id is left in `id`, a reference that is the
 * caller's of rpc_answer().
 */
struct rpc_later {
	uint64_t ticket; /* of this message */
	bool allowed;
	json_t *id;
};

#define METHOD_PARAMS_MAX 4

struct method {
	const char *name;
	const char *summary;
	json_t *(*run)(struct method_context *context, json_t *params, struct method_error *error);
	const char *param[METHOD_PARAMS_MAX]; /* the parameters it knows, all optional; others are refused */
};

/* rpc.discover, which lists them, comes with every table. */
struct method_table {
	const char *program, *version;
	const struct method *method;
	size_t count;
};

/* Fills *error and returns NULL, so that methods can `return method_fail(...)`. */
json_t *method_fail(struct method_error *error, int code, const char *text);

/* Serves one request, notification or batch. Returns the answer's text, allocated, or NULL when none is due, or not
 * yet. `later` is NULL where no method answers later. */
char *rpc_answer(const struct method_table *table, struct method_context *context, struct rpc_later *later,
		 const char *text, size_t size);

/* The answer to the request `id`, later. Takes over the result; NULL: the error. */
char *rpc_answer_late(json_t *id, json_t *result, const struct method_error *error);

/* The answer to a request longer than `limit` bytes. */
char *rpc_too_long(size_t limit);

#endif
