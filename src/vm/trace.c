/* SPDX-License-Identifier: MIT */
#include "vm/trace.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "ledger/events.h"

#define TRACE_MS 2000
#define TRACE_MS_MAX 60000
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_SECOND UINT64_C(1000000000)

struct tracer {
	struct machine *machine;
	int timer;
	uint64_t until_ns[EVENT_KIND_COUNT]; /* CLOCK_MONOTONIC; 0: not wanted */
};

static uint64_t now_ns(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* What is wanted now, and the timer for when the first of them is not any more. */
static void tracer_update(struct tracer *tracer)
{
	uint64_t wanted = 0, now = now_ns(), first = UINT64_MAX;
	for (unsigned i = 0; i < EVENT_KIND_COUNT; i++) {
		if (tracer->until_ns[i] <= now)
			continue;
		wanted |= UINT64_C(1) << i;
		if (tracer->until_ns[i] < first)
			first = tracer->until_ns[i];
	}
	machine_trace(tracer->machine, wanted);
	struct itimerspec expiry = {0};
	if (wanted != 0)
		expiry.it_value = (struct timespec){.tv_sec = (time_t)(first / NS_PER_SECOND),
						    .tv_nsec = (long)(first % NS_PER_SECOND)};
	(void)timerfd_settime(tracer->timer, TFD_TIMER_ABSTIME, &expiry, NULL);
}

static void timer_expired(void *opaque, int fd, uint32_t events)
{
	uint64_t expirations;
	(void)events;
	if (read(fd, &expirations, sizeof expirations) == (ssize_t)sizeof expirations)
		tracer_update(opaque);
}

struct tracer *tracer_create(struct machine *machine, struct error *error)
{
	struct tracer *tracer = calloc(1, sizeof *tracer);
	if (tracer == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	tracer->machine = machine;
	tracer->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (tracer->timer < 0)
		(void)error_set_errno(error, "cannot create a timer");
	else if (machine_watch(machine, tracer->timer, EPOLLIN, timer_expired, tracer, error))
		return tracer;
	tracer_destroy(tracer);
	return NULL;
}

void tracer_destroy(struct tracer *tracer)
{
	if (tracer == NULL)
		return;
	if (tracer->timer >= 0)
		close(tracer->timer);
	free(tracer);
}

static bool read_kinds(json_t *params, uint64_t *kinds, struct method_error *error)
{
	json_t *list = json_object_get(params, "events"), *name;
	size_t index;
	*kinds = 0;
	json_array_foreach(list, index, name)
	{
		uint64_t named =
		    json_is_string(name) ? events_named(json_string_value(name), json_string_length(name)) : 0;
		if (named == 0)
			return method_fail(error, RPC_INVALID_PARAMS, "events has a name that is none of an event") !=
			       NULL;
		*kinds |= named;
	}
	if (*kinds == 0)
		return method_fail(error, RPC_INVALID_PARAMS, "events must be an array of names of events") != NULL;
	return true;
}

static bool read_ms(json_t *params, json_int_t *ms, struct method_error *error)
{
	json_t *time = json_object_get(params, "ms");
	*ms = time != NULL ? json_integer_value(time) : TRACE_MS;
	if ((time != NULL && !json_is_integer(time)) || *ms < 1 || *ms > TRACE_MS_MAX)
		return method_fail(error, RPC_INVALID_PARAMS, "ms must be a whole number, 1 to 60000") != NULL;
	return true;
}

/* syscall base: fcntl[1=F_DUPFD_CLOEXEC] -- the ring of events for a client */
static bool pass_ring(struct method_context *context, json_t *params, struct method_error *error)
{
	json_t *pass = json_object_get(params, "pass");
	if (pass != NULL && !json_is_boolean(pass))
		return method_fail(error, RPC_INVALID_PARAMS, "pass must be true or false") != NULL;
	if (!json_is_true(pass))
		return true;
	if (context->answer_fd >= 0 || context->answers_unread)
		return method_fail(error, RPC_WRONG_STATE, "one descriptor at a time: read the answer before first") !=
		       NULL;
	context->answer_fd = fcntl(machine_events(context->machine)->fd, F_DUPFD_CLOEXEC, 0);
	if (context->answer_fd < 0)
		return method_fail(error, RPC_INTERNAL_ERROR, "no descriptor is left") != NULL;
	return true;
}

json_t *guest_trace(struct method_context *context, json_t *params, struct method_error *error)
{
	struct tracer *tracer = context->tracer;
	const struct ledger *ledger = machine_ledger(context->machine);
	uint64_t kinds, next = ring_now(machine_events(context->machine)->ring);
	json_int_t ms;
	if (!read_kinds(params, &kinds, error) || !read_ms(params, &ms, error) || !pass_ring(context, params, error))
		return NULL;
	uint64_t until = now_ns() + (uint64_t)ms * NS_PER_MS;
	for (unsigned i = 0; i < EVENT_KIND_COUNT; i++)
		if ((kinds >> i & 1) != 0 && tracer->until_ns[i] < until)
			tracer->until_ns[i] = until;
	tracer_update(tracer);
	return json_pack("{s:i, s:I, s:I, s:I}", "version", (int)EVENTS_VERSION, "next", (json_int_t)next, "tsc_hz",
			 (json_int_t)ledger->tsc_hz, "opened_tsc", (json_int_t)ledger->opened_tsc);
}
