/* SPDX-License-Identifier: MIT */
/*
 * simulate-schedule <SCENARIO >RESULT: schedule.h, with JSON on both sides.
 *
 *   {"processors": 2, "slice_ms": 10, "seconds": 30, "switch_us": 0, "seed": 1, "guests": [
 *     {"name": "hog", "count": 2, "vcpus": 1, "shares": 1000, "limit": 0, "reservation": 0, "coscheduling": "none",
 *      "skew_ms": 3, "blind": false, "work_us": 1000, "sleep_us": 0, "spread": "constant"}]}
 *
 * All but `guests` and `work_us` may be left out. Amounts are millionths of a processor; spread is constant, uniform
 * (from 0 to twice the mean) or exponential.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schedule.h"

#define GROUPS_MAX 64
#define COUNT_MAX 4096
#define SECONDS_MAX 3600

static bool name_find(const char *const *names, unsigned count, const char *name, const char *what, unsigned *found,
		      struct error *error)
{
	for (*found = 0; *found < count; ++*found)
		if (strcmp(names[*found], name) == 0)
			return true;
	return error_set(error, ERROR_INPUT, "%s cannot be '%s'", what, name);
}

static bool between(double value, double low, double high, const char *what, struct error *error)
{
	return (value >= low && value <= high) ||
	       error_set(error, ERROR_INPUT, "%s is %g; it must be from %g to %g", what, value, low, high);
}

struct group_text {
	const char *coscheduling, *spread;
	double skew_ms, work_us, sleep_us;
	json_int_t count, vcpus, shares, limit, reservation;
	int blind;
};

static bool group_check(const struct group_text *text, struct error *error)
{
	return between((double)text->count, 1, COUNT_MAX, "count", error) &&
	       between((double)text->vcpus, 1, SCHED_VCPUS_MAX, "vcpus", error) &&
	       between((double)text->shares, 1, SCHED_SHARES_MAX, "shares", error) &&
	       between((double)text->limit, 0, 1e9, "limit", error) &&
	       between((double)text->reservation, 0, 1e9, "reservation", error) &&
	       between(text->skew_ms, 0, 1e3, "skew_ms", error) && between(text->work_us, 0, 1e9, "work_us", error) &&
	       between(text->sleep_us, 0, 1e9, "sleep_us", error) &&
	       (text->work_us + text->sleep_us > 0 || error_set(error, ERROR_INPUT, "neither work nor sleep"));
}

static bool group_read(json_t *from, struct schedule_group *group, struct error *error)
{
	static const char *const co[] = {"none", "relaxed", "strict"};
	static const char *const spreads[] = {"constant", "uniform", "exponential"};
	struct group_text text = {
	    .coscheduling = "none", .spread = "constant", .count = 1, .vcpus = 1, .shares = SCHED_SHARES_DEFAULT};
	json_error_t reason;
	unsigned coscheduling, spread;
	*group = (struct schedule_group){.name = "guest"};
	if (json_unpack_ex(from, &reason, JSON_STRICT, "{s?s, s?I, s?I, s?I, s?I, s?I, s?s, s?F, s?b, s:F, s?F, s?s}",
			   "name", &group->name, "count", &text.count, "vcpus", &text.vcpus, "shares", &text.shares,
			   "limit", &text.limit, "reservation", &text.reservation, "coscheduling", &text.coscheduling,
			   "skew_ms", &text.skew_ms, "blind", &text.blind, "work_us", &text.work_us, "sleep_us",
			   &text.sleep_us, "spread", &text.spread) != 0)
		return error_set(error, ERROR_INPUT, "guests: %s", reason.text);
	if (!group_check(&text, error) || !name_find(co, 3, text.coscheduling, "coscheduling", &coscheduling, error) ||
	    !name_find(spreads, 3, text.spread, "spread", &spread, error))
		return false;
	group->count = (unsigned)text.count;
	group->work_ns = (uint64_t)(text.work_us * 1e3);
	group->sleep_ns = (uint64_t)(text.sleep_us * 1e3);
	group->spread = (enum schedule_spread)spread;
	group->policy = (struct sched_guest_policy){.vcpus = (unsigned)text.vcpus,
						    .shares = (uint32_t)text.shares,
						    .limit = (uint64_t)text.limit,
						    .reservation = (uint64_t)text.reservation,
						    .coscheduling = (enum sched_coscheduling)coscheduling,
						    .skew_ns = (uint64_t)(text.skew_ms * 1e6),
						    .blind = text.blind != 0};
	return true;
}

static bool task_read(json_t *from, struct schedule_task *task, struct schedule_group *groups, struct error *error)
{
	double slice_ms = 0, seconds = 10, switch_us = 0;
	json_int_t processors = 1, seed = 1;
	json_t *guests, *each;
	json_error_t reason;
	size_t i;
	if (json_unpack_ex(from, &reason, JSON_STRICT, "{s?I, s?F, s?F, s?F, s?I, s:o}", "processors", &processors,
			   "slice_ms", &slice_ms, "seconds", &seconds, "switch_us", &switch_us, "seed", &seed, "guests",
			   &guests) != 0)
		return error_set(error, ERROR_INPUT, "%s", reason.text);
	if (!between((double)processors, 1, SCHED_PROCESSORS_MAX, "processors", error) ||
	    !between(slice_ms, 0, 1e3, "slice_ms", error) || !between(seconds, 0, SECONDS_MAX, "seconds", error) ||
	    !between(switch_us, 0, 1e3, "switch_us", error) ||
	    !between((double)json_array_size(guests), 1, GROUPS_MAX, "the number of kinds of guests", error))
		return false;
	*task = (struct schedule_task){
	    .policy = {.processors = (unsigned)processors, .slice_ns = (uint64_t)(slice_ms * 1e6)},
	    .span_ns = (uint64_t)(seconds * 1e9),
	    .switch_ns = (uint64_t)(switch_us * 1e3),
	    .seed = (uint64_t)seed,
	    .groups = (unsigned)json_array_size(guests),
	    .group = groups};
	json_array_foreach(guests, i, each)
	{
		if (!group_read(each, &groups[i], error))
			return false;
	}
	return true;
}

static json_t *delay_json(const struct schedule_samples *samples)
{
	static const unsigned points[] = {50, 95, 99, 100};
	static const char *const keys[] = {"p50_us", "p95_us", "p99_us", "longest_us"};
	json_t *object = json_pack("{s:I}", "count", (json_int_t)samples->count);
	double sum = 0;
	for (size_t i = 0; i < samples->count; i++)
		sum += (double)samples->ns[i];
	if (samples->count == 0)
		return object;
	(void)json_object_set_new(object, "mean_us", json_real(sum / (double)samples->count / 1e3));
	for (unsigned i = 0; i < 4; i++) {
		size_t place = (samples->count * points[i] + 99) / 100;
		(void)json_object_set_new(object, keys[i], json_real((double)samples->ns[place - 1] / 1e3));
	}
	return object;
}

static json_t *group_json(const struct schedule_group *group, const struct schedule_group_result *result)
{
	static const char *const keys[SCHED_STATES] = {"idle_s", "ready_s", "costop_s", "limited_s", "running_s"};
	json_t *work = json_array(), *rounds = json_array();
	json_t *object = json_pack("{s:s, s:o, s:o, s:o, s:o}", "name", group->name, "work_s", work, "rounds", rounds,
				   "wake", delay_json(&result->wake), "late", delay_json(&result->late));
	for (unsigned i = 0; i < group->count; i++) {
		(void)json_array_append_new(work, json_real((double)result->guest[i].work_ns / 1e9));
		(void)json_array_append_new(rounds, json_integer((json_int_t)result->guest[i].rounds));
	}
	for (unsigned s = 0; s < SCHED_STATES; s++) {
		double sum = 0;
		for (unsigned i = 0; i < group->count; i++)
			sum += (double)result->guest[i].time_ns[s];
		(void)json_object_set_new(object, keys[s], json_real(sum / 1e9));
	}
	return object;
}

static void print_result(const struct schedule_task *task, const struct schedule_result *result)
{
	json_t *groups = json_array();
	for (unsigned g = 0; g < task->groups; g++)
		(void)json_array_append_new(groups, group_json(&task->group[g], &result->group[g]));
	json_t *all =
	    json_pack("{s:I, s:I, s:f, s:o}", "decisions", (json_int_t)result->decisions, "switches",
		      (json_int_t)result->switches, "processor_seconds", result->processor_seconds, "guests", groups);
	(void)json_dumpf(all, stdout, JSON_COMPACT);
	(void)puts("");
	json_decref(all);
}

int main(void)
{
	struct schedule_group groups[GROUPS_MAX];
	struct schedule_task task = {0};
	struct schedule_result result = {0};
	struct error error = {0};
	json_error_t reason;
	json_t *scenario = json_loadf(stdin, JSON_REJECT_DUPLICATES, &reason);
	bool good = scenario != NULL || error_set(&error, ERROR_INPUT, "%s", reason.text);
	if (good && (good = task_read(scenario, &task, groups, &error))) {
		if ((good = schedule_run(&task, &result, &error)))
			print_result(&task, &result);
		schedule_result_free(&task, &result);
	}
	if (!good)
		(void)fprintf(stderr, "simulate-schedule: %s\n", error.text);
	json_decref(scenario);
	return good ? 0 : 1;
}
