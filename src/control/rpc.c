/* SPDX-License-Identifier: MIT */
#include "control/rpc.h"

#include <stdio.h>
#include <string.h>

#define BATCH_MAX 32

json_t *method_fail(struct method_error *error, int code, const char *text)
{
	error->code = code;
	(void)snprintf(error->text, sizeof error->text, "%s", text);
	return NULL;
}

/* ---- methods ---- */

static json_t *describe(const char *name, const char *summary, const char *const *param)
{
	json_t *names = json_array();
	for (size_t k = 0; param != NULL && k < METHOD_PARAMS_MAX && param[k] != NULL; k++)
		(void)json_array_append_new(names, json_string(param[k]));
	return json_pack("{s:s, s:s, s:o}", "name", name, "summary", summary, "params", names);
}

static json_t *discover(const struct method_table *table)
{
	json_t *list = json_array();
	for (size_t i = 0; i < table->count; i++)
		(void)json_array_append_new(
		    list, describe(table->method[i].name, table->method[i].summary, table->method[i].param));
	(void)json_array_append_new(list, describe("rpc.discover", "this list", NULL));
	return json_pack("{s:s, s:s, s:i, s:o}", "program", table->program, "version", table->version, "protocol", 1,
			 "methods", list);
}

/* Without a method: none is known. */
static bool params_known(const struct method *method, json_t *params)
{
	const char *key;
	json_t *value;
	json_object_foreach(params, key, value)
	{
		bool known = false;
		for (size_t k = 0; method != NULL && k < METHOD_PARAMS_MAX && method->param[k] != NULL; k++)
			known = known || strcmp(method->param[k], key) == 0;
		if (!known)
			return false;
	}
	return true;
}

static const struct method *method_find(const struct method_table *table, const char *name)
{
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->method[i].name, name) == 0)
			return &table->method[i];
	return NULL;
}

/* params is an object, an empty array or NULL. Returns a new reference, or NULL with *error filled. */
static json_t *method_call(const struct method_table *table, struct method_context *context, const char *name,
			   json_t *params, struct method_error *error)
{
	const struct method *method = method_find(table, name);
	bool about_us = strcmp(name, "rpc.discover") == 0;
	if (method == NULL && !about_us)
		return method_fail(error, RPC_METHOD_NOT_FOUND, "unknown method: rpc.discover lists those known");
	if (!params_known(method, params))
		return method_fail(error, RPC_INVALID_PARAMS, "unknown parameter: rpc.discover lists those known");
	json_t *result = about_us ? discover(table) : method->run(context, params, error);
	if (result == NULL && error->code == 0)
		return method_fail(error, RPC_INTERNAL_ERROR, "out of memory");
	return result;
}

/* ---- requests ---- */

static json_t *error_answer(json_t *id, const struct method_error *error)
{
	return json_pack("{s:s, s:O?, s:{s:i, s:s}}", "jsonrpc", "2.0", "id", id, "error", "code", error->code,
			 "message", error->text);
}

static json_t *error_answer_text(json_t *id, int code, const char *text)
{
	struct method_error error = {.code = code};
	(void)snprintf(error.text, sizeof error.text, "%s", text);
	json_t *answer = error_answer(id, &error);
	return answer;
}

static bool id_is_valid(const json_t *id)
{
	return json_is_string(id) || json_is_number(id) || json_is_null(id);
}

static json_t *any_answer(json_t *id, json_t *result, const struct method_error *error)
{
	return result != NULL ? json_pack("{s:s, s:O, s:O}", "jsonrpc", "2.0", "id", id, "result", result)
			      : error_answer(id, error);
}

/* One request object. Returns NULL for a notification, and where the answer comes later: `later` is NULL where it may
 * not. */
static json_t *serve_one(const struct method_table *table, struct method_context *context, struct rpc_later *later,
			 json_t *request)
{
	json_t *id = json_object_get(request, "id");
	const char *version = json_string_value(json_object_get(request, "jsonrpc"));
	const char *name = json_string_value(json_object_get(request, "method"));
	json_t *params = json_object_get(request, "params");
	struct method_error error = {0};
	if (version == NULL || strcmp(version, "2.0") != 0 || name == NULL || (id != NULL && !id_is_valid(id)))
		return error_answer_text(id_is_valid(id) ? id : NULL, RPC_INVALID_REQUEST,
					 "not a JSON-RPC 2.0 request");
	if (params != NULL && !json_is_object(params) && !(json_is_array(params) && json_array_size(params) == 0)) {
		json_t *answer = error_answer_text(id, RPC_INVALID_PARAMS, "params must be an object");
		if (id != NULL)
			return answer;
		json_decref(answer);
		return NULL;
	}
	if (later != NULL)
		later->allowed = id != NULL;
	json_t *result = method_call(table, context, name, params, &error);
	json_t *answer = NULL;
	if (later != NULL && result == NULL && error.code == RPC_ANSWERS_LATER)
		later->id = json_incref(id);
	else if (id != NULL)
		answer = any_answer(id, result, &error);
	json_decref(result);
	return answer;
}

static json_t *serve_batch(const struct method_table *table, struct method_context *context, json_t *batch)
{
	size_t count = json_array_size(batch);
	if (count == 0 || count > BATCH_MAX)
		return error_answer_text(NULL, RPC_INVALID_REQUEST, "a batch holds 1 to 32 requests");
	json_t *answers = json_array();
	for (size_t i = 0; i < count; i++) {
		json_t *answer = serve_one(table, context, NULL, json_array_get(batch, i));
		if (answer != NULL)
			(void)json_array_append_new(answers, answer);
	}
	if (json_array_size(answers) > 0)
		return answers;
	json_decref(answers);
	return NULL;
}

static char *answer_text(json_t *answer)
{
	char *text = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;
	json_decref(answer);
	return text;
}

char *rpc_answer(const struct method_table *table, struct method_context *context, struct rpc_later *later,
		 const char *text, size_t size)
{
	if (later != NULL) {
		later->allowed = false;
		later->id = NULL;
	}
	json_t *request = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
	json_t *answer;
	if (request == NULL)
		answer = error_answer_text(NULL, RPC_PARSE_ERROR, "not valid JSON");
	else if (json_is_array(request))
		answer = serve_batch(table, context, request);
	else
		answer = serve_one(table, context, later, request);
	json_decref(request);
	return answer_text(answer);
}

char *rpc_answer_late(json_t *id, json_t *result, const struct method_error *error)
{
	char *text = answer_text(any_answer(id, result, error));
	json_decref(result);
	return text;
}

char *rpc_too_long(size_t limit)
{
	char text[80];
	(void)snprintf(text, sizeof text, "a request may have at most %zu bytes", limit);
	return answer_text(error_answer_text(NULL, RPC_INVALID_REQUEST, text));
}
