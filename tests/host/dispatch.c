/* SPDX-License-Identifier: MIT */
/*
 * The dispatcher alone, on guests that run: for tests and experiments.
 *
 *   dispatch [slice=NS] [processors=N] [bind=0]
 * GUEST[,shares=N][,limit=N][,reservation=N][,co=none|relaxed|strict][,skew=NS][,blind=1]...
 *
 * Amounts are millionths of a processor. Lends the guests of the runtime directory the processors until its input ends,
 * then lets them go and prints what happened as JSON. Says "ready" when all have joined.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/client.h"
#include "control/runtime.h"
#include "host/dispatcher.h"

#define GUESTS_MAX 256

static void fail(const char *what, const struct error *error)
{
	(void)fprintf(stderr, "dispatch: %s: %s\n", what, error->text);
	exit(1);
}

static int passed(const struct runtime *runtime, const char *name, const char *what, unsigned *vcpus)
{
	struct error error;
	int fd;
	json_t *result = client_call_fd(runtime, name, "guest.schedule", json_pack("{s:s}", "pass", what),
					CLIENT_TIMEOUT_MS, &fd, &error);
	if (result == NULL || fd < 0)
		fail(name, &error);
	*vcpus = (unsigned)json_integer_value(json_object_get(result, "cpus"));
	json_decref(result);
	return fd;
}

static void policy_key(struct sched_guest_policy *policy, const char *key, const char *value)
{
	uint64_t number = strtoull(value, NULL, 10);
	if (strcmp(key, "shares") == 0)
		policy->shares = (uint32_t)number;
	else if (strcmp(key, "limit") == 0)
		policy->limit = number;
	else if (strcmp(key, "reservation") == 0)
		policy->reservation = number;
	else if (strcmp(key, "skew") == 0)
		policy->skew_ns = number;
	else if (strcmp(key, "blind") == 0)
		policy->blind = number != 0;
	else if (strcmp(key, "co") == 0)
		policy->coscheduling = strcmp(value, "strict") == 0    ? SCHED_CO_STRICT
				       : strcmp(value, "relaxed") == 0 ? SCHED_CO_RELAXED
								       : SCHED_CO_NONE;
}

static struct dispatched *join(struct dispatcher *dispatcher, const struct runtime *runtime, char *text)
{
	struct sched_guest_policy policy = {0};
	struct error error;
	char *save, *name = strtok_r(text, ",", &save), *pair;
	while ((pair = strtok_r(NULL, ",", &save)) != NULL) {
		char *value = strchr(pair, '=');
		if (value == NULL)
			continue;
		*value = '\0';
		policy_key(&policy, pair, value + 1);
	}
	int tokens = passed(runtime, name, "tokens", &policy.vcpus);
	int doorbell = passed(runtime, name, "doorbell", &policy.vcpus);
	struct dispatched *guest = dispatcher_add(dispatcher, name, tokens, doorbell, -1, &policy, &error);
	if (guest == NULL)
		fail(name, &error);
	return guest;
}

static json_t *guest_json(struct dispatched *guest)
{
	static const char *const keys[SCHED_STATES] = {"idle", "ready", "costop", "limited", "running"};
	struct dispatched_report report;
	dispatched_read(guest, &report);
	json_t *object = json_pack("{s:I, s:I}", "late", (json_int_t)report.late, "muted", (json_int_t)report.muted);
	for (unsigned i = 0; i < SCHED_STATES; i++)
		(void)json_object_set_new(object, keys[i], json_integer((json_int_t)report.state_ns[i]));
	return object;
}

static void print_report(struct dispatcher *dispatcher, struct dispatched **guests, unsigned count)
{
	struct dispatcher_report report;
	dispatcher_read(dispatcher, &report);
	json_t *histogram = json_array(), *list = json_array();
	for (unsigned i = 0; i < DISPATCHER_BUCKETS; i++)
		(void)json_array_append_new(histogram, json_integer((json_int_t)report.preemption[i]));
	for (unsigned i = 0; i < count; i++)
		(void)json_array_append_new(list, guest_json(guests[i]));
	json_t *all =
	    json_pack("{s:i, s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "processors",
		      (int)report.processors, "wall_ns", (json_int_t)report.wall_ns, "cpu_ns",
		      (json_int_t)report.cpu_ns, "realtime", report.realtime, "wakes", (json_int_t)report.wakes,
		      "decisions", (json_int_t)report.decisions, "grants", (json_int_t)report.grants, "withdrawals",
		      (json_int_t)report.withdrawals, "late", (json_int_t)report.late, "muted",
		      (json_int_t)report.muted, "p50_us", (json_int_t)dispatcher_percentile(&report, 50), "p99_us",
		      (json_int_t)dispatcher_percentile(&report, 99), "preemption", histogram, "guests", list);
	(void)json_dumpf(all, stdout, JSON_COMPACT);
	(void)puts("");
	json_decref(all);
}

int main(int argc, char **argv)
{
	struct sched_policy policy = {0};
	struct dispatched *guests[GUESTS_MAX];
	struct runtime runtime;
	struct error error;
	unsigned count = 0;
	char input[64];
	int first = 1;
	for (; first < argc && strchr(argv[first], ',') == NULL && strchr(argv[first], '=') != NULL; first++) {
		uint64_t value = strtoull(strchr(argv[first], '=') + 1, NULL, 10);
		if (strncmp(argv[first], "slice=", 6) == 0)
			policy.slice_ns = value;
		else if (strncmp(argv[first], "processors=", 11) == 0)
			policy.processors = (unsigned)value;
	}
	if (!runtime_open(&runtime, false, &error))
		fail("no runtime directory", &error);
	struct dispatcher *dispatcher = dispatcher_create(&policy, &error);
	if (dispatcher == NULL)
		fail("cannot start", &error);
	for (int i = first; i < argc && count < GUESTS_MAX; i++)
		guests[count++] = join(dispatcher, &runtime, argv[i]);
	(void)puts("ready");
	(void)fflush(stdout);
	while (read(STDIN_FILENO, input, sizeof input) > 0)
		;
	print_report(dispatcher, guests, count);
	dispatcher_destroy(dispatcher);
	runtime_close(&runtime);
	return 0;
}
