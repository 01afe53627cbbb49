/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/advice.h"
#include "cli/explain.h"

/* How counters are put together for a reader; what is not here is of the last group. */
enum group { GROUP_MMU, GROUP_CODE, GROUP_EVENTS, GROUP_COUNT };

static const char *const group_title[GROUP_COUNT] = {
    [GROUP_MMU] = "address translation", [GROUP_CODE] = "translated code", [GROUP_EVENTS] = "events and devices"};

static enum group group_of(unsigned counter)
{
	if ((counter >= LEDGER_COUNT_TLB_MISS && counter <= LEDGER_COUNT_CR3_LOAD) ||
	    counter == LEDGER_COUNT_PAGE_FAULT || counter == LEDGER_COUNT_PAGE_FAULT_PRESENT)
		return GROUP_MMU;
	return counter >= LEDGER_COUNT_BLOCK_TRANSLATED || counter == LEDGER_COUNT_EXIT_DISPATCH ||
		       counter == LEDGER_COUNT_EXIT_CAREFUL
		   ? GROUP_CODE
		   : GROUP_EVENTS;
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole > 0 ? 100.0 * (double)part / (double)whole : 0.0;
}

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

/* ---- where it went, and what to do ---- */

/* Of the samples that the busiest processor would have by its time, those of the three hottest places. */
static double hottest_share(const struct explanation *explanation)
{
	const struct profile_gain *gain = &explanation->gain;
	uint64_t ran = 0, samples = 0;
	size_t count = 0;
	for (unsigned i = 0; i < LEDGER_RUNNING_COUNT; i++)
		ran += gain->state_ns[i];
	struct profile_row *row = profile_rows(&explanation->profile, explanation->symbols, &count);
	for (size_t i = 0; row != NULL && i < count && i < 3; i++)
		samples += row[i].samples;
	free(row);
	double its =
	    (double)explanation->profile.samples * (ran > 0 ? (double)gain->busiest_ran_ns / (double)ran : 0.0);
	return its > 0 ? 100.0 * (double)samples / its : 0.0;
}

static struct advice_facts facts_of(const struct explanation *explanation)
{
	const struct profile_gain *gain = &explanation->gain;
	struct advice_facts facts = {.wanted = percent(gain->busiest_wanted_ns, gain->busiest_wall_ns),
				     .hottest = hottest_share(explanation),
				     .samples = explanation->profile.samples,
				     .cache_evictions = gain->count[LEDGER_COUNT_CACHE_EVICTION]};
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++)
		facts.state[i] = percent(gain->state_ns[i], gain->wall_ns);
	for (unsigned i = 0; i < LEDGER_TIMER_COUNT; i++) {
		facts.ticks_due += gain->ticks[i][LEDGER_TICK_DUE];
		facts.ticks_lost += gain->ticks[i][LEDGER_TICK_LOST];
	}
	return facts;
}

/* One line: what a person asks first. The rest of the page divides it. */
static void print_summary(const struct advice_facts *facts)
{
	const double *state = facts->state;
	double used = state[LEDGER_GUEST] + state[LEDGER_EXIT] + state[LEDGER_TRANSLATE] + state[LEDGER_DEVICE];
	printf("of its time %.1f %% used, %.1f ready, %.1f preempted by Linux, %.1f costop, %.1f limited, %.1f paging, "
	       "%.1f blocked, %.1f paused, %.1f idle\n",
	       used, state[LEDGER_READY], state[LEDGER_PREEMPTED], state[LEDGER_COSTOP], state[LEDGER_LIMITED],
	       state[LEDGER_PAGING], state[LEDGER_BLOCKED], state[LEDGER_PAUSED], state[LEDGER_IDLE]);
}

static void print_advice(const struct explanation *explanation)
{
	struct advice_facts facts = facts_of(explanation);
	print_summary(&facts);
	for (size_t i = 0; i < advice_rule_count; i++)
		if (advice_told(&facts, i))
			printf("- %s %s\n", advice_rules[i].found, advice_rules[i].first);
}

static json_t *advice_json(const struct explanation *explanation)
{
	struct advice_facts facts = facts_of(explanation);
	json_t *list = json_array();
	for (size_t i = 0; i < advice_rule_count; i++)
		if (advice_told(&facts, i))
			(void)json_array_append_new(list,
						    json_pack("{s:s, s:s, s:s}", "key", advice_rules[i].key, "found",
							      advice_rules[i].found, "first", advice_rules[i].first));
	return list;
}

/* ---- times ---- */

struct time_row {
	const char *key, *text;
	uint64_t ns, by_mode[PROFILE_MODES];
	bool divided; /* by_mode is known */
	bool device;
};

#define TIME_ROWS_MAX (SAMPLE_WHAT_COUNT + LEDGER_STATE_COUNT)

struct time_table {
	struct time_row row[TIME_ROWS_MAX];
	unsigned count;
};

/* What samples divide; marks the states that they fell in. */
static void add_divided(const struct explanation *explanation, struct time_table *table, bool *divided)
{
	for (unsigned what = 0; what < SAMPLE_WHAT_COUNT; what++) {
		struct profile_time time =
		    profile_time(&explanation->profile, &explanation->gain, (enum sample_what)what);
		struct time_row row = {.key = sample_key[what],
				       .text = sample_text[what],
				       .ns = time.ns[PROFILE_USER] + time.ns[PROFILE_KERNEL],
				       .by_mode = {time.ns[0], time.ns[1]},
				       .divided = true,
				       .device = what == SAMPLE_DEVICE};
		if (row.ns == 0)
			continue;
		divided[profile_state((enum sample_what)what)] = true;
		table->row[table->count++] = row;
	}
}

/* Sleep, and what ran too short for a sample. */
static void add_states(const struct profile_gain *gain, struct time_table *table, const bool *divided)
{
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++) {
		if (gain->state_ns[i] == 0 || divided[i])
			continue;
		table->row[table->count++] = (struct time_row){
		    .key = ledger_state_key[i], .text = ledger_state_text[i], .ns = gain->state_ns[i]};
	}
}

static int compare_times(const void *a, const void *b)
{
	const struct time_row *one = a, *other = b;
	return one->ns < other->ns ? 1 : one->ns > other->ns ? -1 : strcmp(one->key, other->key);
}

static void print_time(const struct time_row *row, uint64_t wall)
{
	printf("%-12s %10.3f %6.1f ", row->key, seconds(row->ns), percent(row->ns, wall));
	if (row->divided)
		printf("%8.1f %8.1f %s\n", percent(row->by_mode[PROFILE_USER], wall),
		       percent(row->by_mode[PROFILE_KERNEL], wall), row->text);
	else
		printf("%8s %8s %s\n", "", "", row->text);
}

static void print_devices(const struct explanation *explanation)
{
	const struct profile *profile = &explanation->profile;
	const uint64_t *all = profile->by_what[SAMPLE_DEVICE];
	double ns_each =
	    (double)explanation->gain.state_ns[LEDGER_DEVICE] / (double)(all[PROFILE_KERNEL] + all[PROFILE_USER]);
	for (unsigned i = 0; i < profile->device_count; i++) {
		uint64_t ns = (uint64_t)(ns_each * (double)profile->device[i].samples);
		printf("%-12s %10.3f %6.1f %8s %8s   %s\n", "", seconds(ns), percent(ns, explanation->gain.wall_ns), "",
		       "", profile->device[i].name);
	}
}

static void print_times(const struct explanation *explanation)
{
	const struct profile_gain *gain = &explanation->gain;
	struct time_table table = {.count = 0};
	bool divided[LEDGER_STATE_COUNT] = {false};
	add_divided(explanation, &table, divided);
	add_states(gain, &table, divided);
	qsort(table.row, table.count, sizeof table.row[0], compare_times);
	printf("\n%-12s %10s %6s %8s %8s\n", "time", "seconds", "%", "user %", "kernel %");
	for (unsigned i = 0; i < table.count; i++) {
		print_time(&table.row[i], gain->wall_ns);
		if (table.row[i].device)
			print_devices(explanation);
	}
	print_time(&(struct time_row){.key = "total", .ns = gain->wall_ns, .text = "wall time"}, gain->wall_ns);
}

/* ---- code ---- */

static void print_row(const struct profile_row *row, uint64_t samples)
{
	printf("%5.1f %6.1f  %-6s  ", percent(row->samples, samples), percent(row->code, row->samples),
	       row->user ? "user" : "kernel");
	if (row->name != NULL)
		printf("%s\n", row->name);
	else if (row->space != 0)
		printf("%#" PRIx64 " in address space %#" PRIx64 "\n", row->address, row->space);
	else
		printf("%#" PRIx64 "\n", row->address);
}

/* The guest ran kernel code, and the symbols know none of it. */
static bool kernel_is_nameless(const struct profile_row *row, size_t count)
{
	bool seen = false;
	for (size_t i = 0; i < count; i++) {
		seen = seen || !row[i].user;
		if (!row[i].user && row[i].name != NULL)
			return false;
	}
	return seen;
}

static void print_hottest(const struct explanation *explanation)
{
	size_t count;
	struct profile_row *row = profile_rows(&explanation->profile, explanation->symbols, &count);
	if (row == NULL)
		return;
	printf("\n%5s %6s  %-6s  hottest code (code %%: the part of it in translated code)\n", "%", "code %", "mode");
	for (size_t i = 0; i < count && i < explanation->top; i++)
		print_row(&row[i], explanation->profile.samples);
	if (explanation->symbols_given && kernel_is_nameless(row, count))
		printf("None of the kernel's code has a name: boot it with nokaslr, or give --kaslr.\n");
	if (explanation->kernel_found && explanation->kernel_distance != 0)
		printf("The kernel lies %#" PRIx64 " above its symbols, by its system call entry.\n",
		       explanation->kernel_distance);
	free(row);
}

/* ---- counts ---- */

static void print_group(const struct explanation *explanation, enum group group)
{
	const struct profile_gain *gain = &explanation->gain;
	double wall = gain->vcpus > 0 ? seconds(gain->wall_ns) / gain->vcpus : 0;
	bool titled = false;
	for (unsigned i = 0; i < LEDGER_COUNTER_COUNT; i++) {
		if (gain->count[i] == 0 || group_of(i) != group)
			continue;
		if (!titled)
			printf("\n%-20s %12s %12s\n", group_title[group], "count", "a second");
		titled = true;
		printf("%-20s %12" PRIu64 " %12.0f %s\n", ledger_counter_key[i], gain->count[i],
		       wall > 0 ? (double)gain->count[i] / wall : 0.0, ledger_counter_text[i]);
	}
}

static void print_bound(uint64_t ns)
{
	if (ns == UINT64_MAX)
		printf(" %12s", "no bound");
	else
		printf(" %12.1f", (double)ns / 1e3);
}

static void print_delays(const struct explanation *explanation)
{
	bool titled = false;
	for (unsigned i = 0; i < LEDGER_DELAY_COUNT; i++) {
		const struct profile_delay *delay = &explanation->gain.delay[i];
		if (delay->count == 0)
			continue;
		if (!titled)
			printf("\n%-20s %12s %12s %12s %12s\n", "delays in us", "count", "mean", "50 % below",
			       "99 % below");
		titled = true;
		printf("%-20s %12" PRIu64 " %12.1f", ledger_delay_key[i], delay->count,
		       (double)delay->ns / (double)delay->count / 1e3);
		print_bound(delay->half_below_ns);
		print_bound(delay->most_below_ns);
		printf(" %s\n", ledger_delay_text[i]);
	}
}

static void print_ticks(const struct explanation *explanation)
{
	bool titled = false;
	for (unsigned i = 0; i < LEDGER_TIMER_COUNT; i++) {
		const uint64_t *count = explanation->gain.ticks[i];
		if (count[LEDGER_TICK_DUE] == 0)
			continue;
		if (!titled)
			printf("\n%-20s %12s %12s %12s %12s\n", "clock ticks", "due", "delivered", "lost", "bunched");
		titled = true;
		printf("%-20s %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %s\n", ledger_timer_key[i],
		       count[LEDGER_TICK_DUE], count[LEDGER_TICK_DELIVERED], count[LEDGER_TICK_LOST],
		       count[LEDGER_TICK_BUNCHED], ledger_timer_text[i]);
	}
}

void explain_print(const struct explanation *explanation)
{
	const struct profile *profile = &explanation->profile;
	const struct profile_gain *gain = &explanation->gain;
	printf("%s: %s, %u processor%s watched for %.1f s, %" PRIu64 " samples", explanation->name, explanation->state,
	       gain->vcpus, gain->vcpus == 1 ? "" : "s", gain->vcpus > 0 ? seconds(gain->wall_ns) / gain->vcpus : 0,
	       profile->samples);
	if (profile->lost > 0)
		printf(" and %" PRIu64 " lost", profile->lost);
	(void)putchar('\n');
	print_advice(explanation);
	print_times(explanation);
	print_hottest(explanation);
	for (unsigned group = 0; group < GROUP_COUNT; group++)
		print_group(explanation, (enum group)group);
	print_delays(explanation);
	print_ticks(explanation);
}

/* ---- JSON ---- */

static json_t *times_json(const struct explanation *explanation)
{
	json_t *object = json_object();
	for (unsigned what = 0; what < SAMPLE_WHAT_COUNT; what++) {
		struct profile_time time =
		    profile_time(&explanation->profile, &explanation->gain, (enum sample_what)what);
		const uint64_t *by_mode = explanation->profile.by_what[what];
		uint64_t samples = by_mode[PROFILE_USER] + by_mode[PROFILE_KERNEL];
		(void)json_object_set_new(object, sample_key[what],
					  json_pack("{s:I, s:I, s:I}", "samples", (json_int_t)samples, "user_ns",
						    (json_int_t)time.ns[PROFILE_USER], "kernel_ns",
						    (json_int_t)time.ns[PROFILE_KERNEL]));
	}
	return object;
}

static json_t *address_json(uint64_t address)
{
	char text[24];
	(void)snprintf(text, sizeof text, "0x%" PRIx64, address);
	return json_string(text);
}

static json_t *hottest_json(const struct explanation *explanation)
{
	size_t count;
	json_t *list = json_array();
	struct profile_row *row = profile_rows(&explanation->profile, explanation->symbols, &count);
	for (size_t i = 0; i < count && i < explanation->top; i++)
		(void)json_array_append_new(
		    list,
		    json_pack("{s:s, s:s?, s:o, s:o, s:I, s:I}", "mode", row[i].user ? "user" : "kernel", "symbol",
			      row[i].name, "address", address_json(row[i].address), "space", address_json(row[i].space),
			      "samples", (json_int_t)row[i].samples, "code_samples", (json_int_t)row[i].code));
	free(row);
	return list;
}

static json_t *devices_json(const struct profile *profile)
{
	json_t *object = json_object();
	for (unsigned i = 0; i < profile->device_count; i++)
		(void)json_object_set_new(object, profile->device[i].name,
					  json_integer((json_int_t)profile->device[i].samples));
	return object;
}

static json_t *numbers_json(const char *const *keys, const uint64_t *values, unsigned count)
{
	json_t *object = json_object();
	for (unsigned i = 0; i < count; i++)
		(void)json_object_set_new(object, keys[i], json_integer((json_int_t)values[i]));
	return object;
}

static json_t *bound_json(uint64_t ns)
{
	return ns == UINT64_MAX ? json_null() : json_integer((json_int_t)ns);
}

static json_t *delays_json(const struct profile_gain *gain)
{
	json_t *object = json_object();
	for (unsigned i = 0; i < LEDGER_DELAY_COUNT; i++) {
		const struct profile_delay *delay = &gain->delay[i];
		(void)json_object_set_new(object, ledger_delay_key[i],
					  json_pack("{s:I, s:I, s:o, s:o}", "count", (json_int_t)delay->count,
						    "total_ns", (json_int_t)delay->ns, "half_below_ns",
						    bound_json(delay->half_below_ns), "most_below_ns",
						    bound_json(delay->most_below_ns)));
	}
	return object;
}

static json_t *ticks_json(const struct profile_gain *gain)
{
	json_t *object = json_object();
	for (unsigned i = 0; i < LEDGER_TIMER_COUNT; i++)
		(void)json_object_set_new(object, ledger_timer_key[i],
					  numbers_json(ledger_tick_key, gain->ticks[i], LEDGER_TICK_COUNTER_COUNT));
	return object;
}

bool explain_print_json(const struct explanation *explanation)
{
	const struct profile *profile = &explanation->profile;
	const struct profile_gain *gain = &explanation->gain;
	json_t *object = json_pack(
	    "{s:s, s:s, s:i, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", explanation->name,
	    "state", explanation->state, "cpus", (int)gain->vcpus, "wall_ns", (json_int_t)gain->wall_ns, "samples",
	    (json_int_t)profile->samples, "lost", (json_int_t)profile->lost, "kernel_distance",
	    address_json(explanation->kernel_distance), "clocks_ns",
	    numbers_json(ledger_state_key, gain->state_ns, LEDGER_STATE_COUNT), "time", times_json(explanation),
	    "device_samples", devices_json(profile), "counts",
	    numbers_json(ledger_counter_key, gain->count, LEDGER_COUNTER_COUNT), "delays", delays_json(gain), "ticks",
	    ticks_json(gain), "hottest", hottest_json(explanation), "advice", advice_json(explanation));
	if (object == NULL)
		return false;
	bool good = json_dumpf(object, stdout, JSON_INDENT(2)) == 0;
	(void)putchar('\n');
	json_decref(object);
	return good;
}
