/* SPDX-License-Identifier: MIT */
/* What the targets of control protocols share: requests made of methods and parameters that there are, with some slips,
 * and what every answer keeps. */
#ifndef NFOLD_TESTS_FUZZ_RPC_H
#define NFOLD_TESTS_FUZZ_RPC_H

#include "fuzz-rig.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "control/rpc.h"

#define FUZZ_RPC_MAX 4096u

struct fuzz_rpc {
	const struct method_table *table;
	/* Appends a value for the parameter, by a byte of the input, or more. */
	size_t (*append_value)(struct fuzz_rig *rig, uint8_t choice, const char *param, char *text, size_t used,
			       size_t size);
};

static inline size_t fuzz_append(char *text, size_t used, size_t size, const char *more)
{
	size_t length = strlen(more);
	if (used + length >= size)
		return used;
	memcpy(text + used, more, length);
	return used + length;
}

/* One of an array of texts. */
#define FUZZ_APPEND_ONE(array, choice, text, used, size)                                                               \
	fuzz_append(text, used, size, (array)[(choice) % (sizeof(array) / sizeof(array)[0])])

static inline size_t fuzz_append_params(struct fuzz_rig *rig, const struct fuzz_rpc *rpc, const struct method *method,
					char *text, size_t used, size_t size)
{
	used = fuzz_append(text, used, size, ", \"params\": {");
	for (unsigned i = 0; i < METHOD_PARAMS_MAX && method->param[i] != NULL; i++) {
		uint8_t choice = fuzz_byte(rig);
		if ((choice & 0x80) != 0)
			continue;
		used = fuzz_append(text, used, size, text[used - 1] == '{' ? "\"" : ", \"");
		used = fuzz_append(text, used, size, method->param[i]);
		used = fuzz_append(text, used, size, "\": ");
		used = rpc->append_value(rig, choice, method->param[i], text, used, size);
	}
	return fuzz_append(text, used, size, "}");
}

static inline size_t fuzz_append_request(struct fuzz_rig *rig, const struct fuzz_rpc *rpc, char *text, size_t used,
					 size_t size)
{
	static const char *const ids[] = {"1", "\"x\"", "null", "1.5", "[]", "{}", "true", "-9007199254740993"};
	const struct method *method = &rpc->table->method[fuzz_byte(rig) % rpc->table->count];
	uint8_t choice = fuzz_byte(rig);
	used = fuzz_append(text, used, size,
			   (choice & 7) == 0 ? "{\"method\": \"" : "{\"jsonrpc\": \"2.0\", \"method\": \"");
	used = fuzz_append(text, used, size, method->name);
	used = fuzz_append(text, used, size, "\"");
	if ((choice & 0x18) != 0) {
		used = fuzz_append(text, used, size, ", \"id\": ");
		used = FUZZ_APPEND_ONE(ids, fuzz_byte(rig), text, used, size);
	}
	if ((choice & 0x60) != 0)
		used = fuzz_append_params(rig, rpc, method, text, used, size);
	return fuzz_append(text, used, size, "}");
}

/* One request, or a batch, with some slips. Allocated, and of the exact size, for a sanitizer. */
static inline char *fuzz_make_requests(struct fuzz_rig *rig, const struct fuzz_rpc *rpc, size_t *length)
{
	char text[FUZZ_RPC_MAX];
	unsigned count = fuzz_byte(rig) % 4;
	size_t used = fuzz_append(text, 0, sizeof text, count > 0 ? "[" : "");
	used = fuzz_append_request(rig, rpc, text, used, sizeof text);
	for (unsigned i = 0; i < count; i++) {
		used = fuzz_append(text, used, sizeof text, ", ");
		used = fuzz_append_request(rig, rpc, text, used, sizeof text);
	}
	used = fuzz_append(text, used, sizeof text, count > 0 ? "]" : "");
	if (fuzz_byte(rig) > 0xf0)
		text[fuzz_number(rig, 2) % used] = (char)fuzz_byte(rig);
	char *exact = malloc(used);
	assert(exact != NULL);
	memcpy(exact, text, used);
	*length = used;
	return exact;
}

/* What is left of the input, as it is, but no more than `most`. */
static inline char *fuzz_raw_requests(struct fuzz_rig *rig, size_t most, size_t *length)
{
	*length = rig->left < most ? rig->left : most;
	char *exact = malloc(*length != 0 ? *length : 1);
	assert(exact != NULL);
	memcpy(exact, rig->data, *length);
	rig->left -= *length;
	rig->data += *length;
	return exact;
}

static inline void fuzz_check_one(const json_t *answer)
{
	const json_t *error = json_object_get(answer, "error"), *result = json_object_get(answer, "result");
	assert(json_is_object(answer) && json_object_get(answer, "id") != NULL);
	assert(strcmp(json_string_value(json_object_get(answer, "jsonrpc")), "2.0") == 0);
	assert((error == NULL) != (result == NULL));
	assert(error == NULL || (json_is_integer(json_object_get(error, "code")) &&
				 json_string_length(json_object_get(error, "message")) > 0));
}

/* Frees it. */
static inline void fuzz_check_answer(char *text)
{
	if (text == NULL)
		return;
	json_t *answer = json_loads(text, 0, NULL);
	assert(answer != NULL);
	for (size_t i = 0; json_is_array(answer) && i < json_array_size(answer); i++)
		fuzz_check_one(json_array_get(answer, i));
	if (json_is_object(answer))
		fuzz_check_one(answer);
	assert(json_is_object(answer) || json_array_size(answer) > 0);
	json_decref(answer);
	free(text);
}

#endif
