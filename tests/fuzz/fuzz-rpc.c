/* SPDX-License-Identifier: MIT */
/* The control protocol: requests of any bytes, and requests made of methods and parameters that there are, to a machine
 * without a processor. Each has one answer at most, which is JSON with a result or an error for each request, and a
 * descriptor that goes with it is open. */
#include "fuzz-rpc.h"

#include <fcntl.h>
#include <unistd.h>

#include "vm/agent.h"
#include "vm/methods.h"
#include "vm/trace.h"
#include "vm/typist.h"

static size_t append_value(struct fuzz_rig *rig, uint8_t choice, const char *param, char *text, size_t used,
			   size_t size)
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
	(void)rig;
	(void)param;
	return FUZZ_APPEND_ONE(values, choice, text, used, size);
}

static void ask(struct fuzz_rig *rig, struct method_context *context)
{
	static const struct fuzz_rpc rpc = {.table = &vm_methods, .append_value = append_value};
	uint8_t kind = fuzz_byte(rig);
	size_t length;
	char *text =
	    (kind & 3) != 0 ? fuzz_make_requests(rig, &rpc, &length) : fuzz_raw_requests(rig, FUZZ_RPC_MAX, &length);
	context->answers_unread = (kind & 0x40) != 0;
	context->later = (struct rpc_later){.ticket = 1};
	fuzz_check_answer(rpc_answer(&vm_methods, context, &context->later, text, length));
	if (context->later.id != NULL) /* it is answered once, here */
		fuzz_check_answer(rpc_answer_late(context->later.id, json_true(), NULL));
	context->later.id = NULL;
	free(text);
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
