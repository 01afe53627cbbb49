/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. A profile has no start and no end: a call asks for samples for some time from now on, and gives
 * those that came since a number that an earlier call gave. So several clients can profile at once, and when the
 * last one goes away, sampling ends by itself. An answer holds so many samples at most that the event loop, which the
 * guest's timers share, is not held up; who gets that many asks again.
 */
#include "vm/profile.h"

#include <inttypes.h>
#include <stdio.h>

#include "ledger/samples.h"

#define SAMPLE_MS 2000
#define SAMPLE_MS_MAX 60000
#define ANSWER_MAX 1024

static json_t *address_json(uint64_t address)
{
	char text[24]; /* more than JSON's numbers hold everywhere */
	(void)snprintf(text, sizeof text, "0x%" PRIx64, address);
	return json_string(text);
}

static json_t *sample_json(const struct sample *sample)
{
	json_t *object =
	    json_pack("{s:i, s:s, s:i, s:i, s:o, s:o, s:o}", "vcpu", (int)sample->vcpu, "what",
		      sample_key[sample->what < SAMPLE_WHAT_COUNT ? sample->what : SAMPLE_SWITCH], "cpl",
		      (int)sample->cpl, "bits", (int)sample->bits, "address", address_json(sample->address), "block",
		      address_json(sample->block), "space", address_json(sample->space));
	if (sample->device != NULL)
		(void)json_object_set_new(object, "device", json_string(sample->device));
	return object;
}

/* *full: there may be more. */
static json_t *read_samples(const struct samples *samples, uint64_t *next, uint64_t *lost, bool *full)
{
	struct sample read[ANSWER_MAX];
	json_t *list = json_array();
	unsigned count = samples_read(samples, next, read, ANSWER_MAX, lost);
	for (unsigned i = 0; i < count; i++)
		(void)json_array_append_new(list, sample_json(&read[i]));
	*full = count == ANSWER_MAX;
	return list;
}

static bool params_read(json_t *params, json_int_t *since, json_int_t *ms, struct method_error *error)
{
	json_t *number = json_object_get(params, "since"), *time = json_object_get(params, "sample_ms");
	*since = number != NULL ? json_integer_value(number) : -1;
	*ms = time != NULL ? json_integer_value(time) : SAMPLE_MS;
	if (number != NULL && (!json_is_integer(number) || *since < 0))
		return method_fail(error, RPC_INVALID_PARAMS, "since must be a number that next had") != NULL;
	if ((time != NULL && !json_is_integer(time)) || *ms < 0 || *ms > SAMPLE_MS_MAX)
		return method_fail(error, RPC_INVALID_PARAMS, "sample_ms must be a whole number, 0 to 60000") != NULL;
	return true;
}

json_t *guest_profile(struct method_context *context, json_t *params, struct method_error *error)
{
	struct error host = {0};
	uint64_t next = 0, lost = 0;
	json_int_t since, ms;
	json_t *list = NULL;
	bool full = false;
	if (!params_read(params, &since, &ms, error))
		return NULL;
	if (ms > 0 && !machine_sample(context->machine, (unsigned)ms, &host))
		return method_fail(error, RPC_INTERNAL_ERROR, host.text);
	const struct samples *samples = machine_samples(context->machine);
	if (samples != NULL) {
		next = since >= 0 ? (uint64_t)since : samples_now(samples);
		list = read_samples(samples, &next, &lost, &full);
	}
	return json_pack("{s:I, s:b, s:I, s:o, s:o}", "next", (json_int_t)next, "more", (int)full, "lost",
			 (json_int_t)lost, "syscall_entry", address_json(machine_syscall_entry(context->machine)),
			 "samples", list != NULL ? list : json_array());
}
