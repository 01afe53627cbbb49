/* SPDX-License-Identifier: MIT */
/* The control protocol: requests of any bytes, and requests made of methods and parameters that there are, to a machine
 * without a processor. Each has one answer at most, which is JSON with a result or an error for each request, and a
 * descriptor that goes with it is open. */
#include "fuzz-rig.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vm/agent.h"
#include "vm/methods.h"
#include "vm/trace.h"
#include "vm/typist.h"

static size_t append(char *text, size_t used, size_t size, const char *more)
{
	size_t length = strlen(more);
	if (used + length >= size)
		return used;
	memcpy(text + used, more, length);
	return used + length;
}

static size_t append_params(struct fuzz_rig *rig, const struct method *method, char *text, size_t used, size_t size)
{
	static const char *const values[] = {"1",
					     "0",
					     "-1",
					     "\"ls\\n\"",
					     "[\"ctrl-alt-delete\"]",
					     "null",
					     "1e9",
					     "[\"a\", \"\"]",
					     "\"\\u20ac\"",
					     "86400",
					     "true",
					     "18446744073709551616",
					     "{}",
					     "[[]]",
					     "\"\\u0000\"",
					     "30"};
	used = append(text, used, size, ", \"params\": {");
	for (unsigned i = 0; i < METHOD_PARAMS_MAX && method->param[i] != NULL; i++) {
		uint8_t choice = fuzz_byte(rig);
		if ((choice & 0x80) != 0)
			continue;
		used = append(text, used, size, text[used - 1] == '{' ? "\"" : ", \"");
		used = append(text, used, size, method->param[i]);
		used = append(text, used, size, "\": ");
		used = append(text, used, size, values[choice % (sizeof values / sizeof values[0])]);
	}
	return append(text, used, size, "}");
}

static size_t append_request(struct fuzz_rig *rig, char *text, size_t used, size_t size)
{
	static const char *const ids[] = {"1", "\"x\"", "null", "1.5", "[]", "{}", "true", "-9007199254740993"};
	const struct method *method = &vm_methods.method[fuzz_byte(rig) % vm_methods.count];
	uint8_t choice = fuzz_byte(rig);
	used =
	    append(text, used, size, (choice & 7) == 0 ? "{\"method\": \"" : "{\"jsonrpc\": \"2.0\", \"method\": \"");
	used = append(text, used, size, method->name);
	used = append(text, used, size, "\"");
	if ((choice & 0x18) != 0) {
		used = append(text, used, size, ", \"id\": ");
		used = append(text, used, size, ids[fuzz_byte(rig) % (sizeof ids / sizeof ids[0])]);
	}
	if ((choice & 0x60) != 0)
		used = append_params(rig, method, text, used, size);
	return append(text, used, size, "}");
}

/* One request, or a batch, with some slips. */
static size_t make_text(struct fuzz_rig *rig, char *text, size_t size)
{
	unsigned count = fuzz_byte(rig) % 4;
	size_t used = append(text, 0, size, count > 0 ? "[" : "");
	used = append_request(rig, text, used, size);
	for (unsigned i = 0; i < count; i++) {
		used = append(text, used, size, ", ");
		used = append_request(rig, text, used, size);
	}
	used = append(text, used, size, count > 0 ? "]" : "");
	if (fuzz_byte(rig) > 0xf0)
		text[fuzz_number(rig, 2) % used] = (char)fuzz_byte(rig);
	return used;
}

static void check_one(const json_t *answer)
{
	const json_t *error = json_object_get(answer, "error"), *result = json_object_get(answer, "result");
	assert(json_is_object(answer) && json_object_get(answer, "id") != NULL);
	assert(strcmp(json_string_value(json_object_get(answer, "jsonrpc")), "2.0") == 0);
	assert((error == NULL) != (result == NULL));
	assert(error == NULL || (json_is_integer(json_object_get(error, "code")) &&
				 json_string_length(json_object_get(error, "message")) > 0));
}

static void check_answer(char *text)
{
	if (text == NULL)
		return;
	json_t *answer = json_loads(text, 0, NULL);
	assert(answer != NULL);
	for (size_t i = 0; json_is_array(answer) && i < json_array_size(answer); i++)
		check_one(json_array_get(answer, i));
	if (json_is_object(answer))
		check_one(answer);
	assert(json_is_object(answer) || json_array_size(answer) > 0);
	json_decref(answer);
	free(text);
}

static void ask(struct fuzz_rig *rig, struct method_context *context)
{
	char text[4096];
	uint8_t kind = fuzz_byte(rig);
	size_t length;
	if ((kind & 3) != 0) {
		length = make_text(rig, text, sizeof text);
	} else {
		length = rig->left < sizeof text ? rig->left : sizeof text;
		memcpy(text, rig->data, length);
		rig->left -= length;
		rig->data += length;
	}
	context->answers_unread = (kind & 0x40) != 0;
	char *exact = malloc(length != 0 ? length : 1); /* of the exact size, for a sanitizer */
	assert(exact != NULL);
	memcpy(exact, text, length);
	context->later = (struct rpc_later){.ticket = 1};
	check_answer(rpc_answer(&vm_methods, context, &context->later, exact, length));
	if (context->later.id != NULL) /* it is answered once, here */
		check_answer(rpc_answer_late(context->later.id, json_true(), NULL));
	context->later.id = NULL;
	free(exact);
	if (context->answer_fd >= 0)
		assert(close(context->answer_fd) == 0);
	context->answer_fd = -1;
}

/* The double has no agent: what it was asked is answered when it is destroyed, at the latest. */
static void agent_answered(void *opaque, uint64_t ticket, json_t *result, const struct method_error *error)
{
	(void)opaque;
	assert(ticket == 1 && (result == NULL) == (error != NULL));
	json_decref(result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct machine_config config = {
	    .name = "fuzz", .memory_size = 1 << 20, .cpus = 1, .cpu_model = "max", .serial_fd_out = -1};
	static const struct confinement confinement = {.parts = 3};
	struct fuzz_rig rig = {.data = data, .left = size};
	struct error error = {0};
	struct method_context context = {.machine = machine_create(&config, &error),
					 .config = &config,
					 .engine = "none",
					 .stop_timer = -1,
					 .confinement = &confinement,
					 .answer_fd = -1};
	assert(context.machine != NULL);
	context.typist = typist_create(context.machine, &error);
	context.agent = agent_create(context.machine, agent_answered, NULL, &error);
	context.tracer = tracer_create(context.machine, &error);
	assert(context.typist != NULL && context.agent != NULL && context.tracer != NULL);
	for (unsigned i = 0; rig.left > 0 && i < 16; i++)
		ask(&rig, &context);
	agent_destroy(context.agent);
	tracer_destroy(context.tracer);
	typist_destroy(context.typist);
	machine_destroy(context.machine);
	return 0;
}
