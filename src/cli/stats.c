/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/guest.h"
#include "control/report.h"
#include "ledger/ledger.h"

struct stats_options {
	bool json;
};

static const struct option stats_options[] = {
    {"json", NULL, NULL, "print everything as JSON, times in nanoseconds", .kind = OPTION_FLAG,
     .offset = offsetof(struct stats_options, json)},
    {0},
};

static uint64_t number(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

/* Estimates, under the exact clock that holds them. */
static void print_kinds(const json_t *vcpu, double wall)
{
	const json_t *kinds = json_object_get(vcpu, "kinds");
	for (unsigned i = 0; i < LEDGER_KIND_COUNT; i++) {
		const json_t *kind = json_object_get(kinds, ledger_kind_key[i]);
		double ns = (double)number(kind, "estimated_ns");
		if (number(kind, "samples") != 0)
			printf("    of it %-10s about %8.3f s %6.2f %%  %s\n", ledger_kind_key[i], ns / 1e9,
			       wall > 0 ? 100.0 * ns / wall : 0.0, ledger_kind_text[i]);
	}
}

static void print_clocks(const json_t *vcpu)
{
	const json_t *clocks = json_object_get(vcpu, "clocks_ns");
	double wall = (double)number(vcpu, "wall_ns");
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++) {
		double ns = (double)number(clocks, ledger_state_key[i]);
		printf("  %-18s %12.3f s %6.2f %%  %s\n", ledger_state_key[i], ns / 1e9,
		       wall > 0 ? 100.0 * ns / wall : 0.0, ledger_state_text[i]);
		if (i == LEDGER_GUEST)
			print_kinds(vcpu, wall);
	}
	printf("  %-18s %12.3f s           %s\n", "total", wall / 1e9, "wall time");
}

static void print_count(const char *key, uint64_t count, const char *text)
{
	if (count != 0)
		printf("  %-18s %14" PRIu64 "           %s\n", key, count, text);
}

static void print_counts(const json_t *vcpu)
{
	const json_t *kinds = json_object_get(vcpu, "kinds");
	const json_t *counts = json_object_get(vcpu, "counts");
	for (unsigned i = 0; i < LEDGER_KIND_COUNT; i++)
		print_count(ledger_kind_key[i], number(json_object_get(kinds, ledger_kind_key[i]), "count"),
			    ledger_kind_text[i]);
	for (unsigned i = 0; i < LEDGER_COUNTER_COUNT; i++)
		print_count(ledger_counter_key[i], number(counts, ledger_counter_key[i]), ledger_counter_text[i]);
}

static const char *word(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? text : "?";
}

static void print_networks(const json_t *networks)
{
	size_t index;
	json_t *network;
	json_array_foreach(networks, index, network)
	{
		const json_t *counts = json_object_get(network, "counts");
		printf("\nNetwork %zu: %s, %s, %s\n", index, word(network, "network"), word(network, "model"),
		       word(network, "mac"));
		for (unsigned i = 0; i < LEDGER_NETWORK_COUNTER_COUNT; i++)
			print_count(ledger_network_counter_key[i], number(counts, ledger_network_counter_key[i]),
				    ledger_network_counter_text[i]);
	}
}

static void print_disk(const json_t *disk)
{
	const char *name = json_string_value(json_object_get(disk, "name"));
	printf("\ndisk %s\n", name != NULL ? name : "?");
	for (unsigned i = 0; i < LEDGER_DISK_OPERATION_COUNT; i++) {
		const json_t *line = json_object_get(disk, ledger_disk_key[i]);
		uint64_t count = number(line, "count"), failed = number(line, "failed");
		if (count == 0)
			continue;
		printf("  %-18s %14" PRIu64 " %10.1f MiB, %.3f ms each", ledger_disk_text[i], count,
		       (double)number(line, "bytes") / 1048576, (double)number(line, "total_ns") / 1e6 / (double)count);
		if (failed != 0)
			printf(", %" PRIu64 " failed", failed);
		(void)putchar('\n');
	}
}

static void print_ticks(const json_t *ticks)
{
	for (unsigned i = 0; i < LEDGER_TIMER_COUNT; i++) {
		const json_t *counts = json_object_get(ticks, ledger_timer_key[i]);
		if (number(counts, ledger_tick_key[LEDGER_TICK_DUE]) == 0)
			continue;
		printf("\nTicks of %s: %s\n", ledger_timer_key[i], ledger_timer_text[i]);
		for (unsigned k = 0; k < LEDGER_TICK_COUNTER_COUNT; k++)
			print_count(ledger_tick_key[k], number(counts, ledger_tick_key[k]), ledger_tick_text[k]);
	}
}

static void print_stats(const json_t *stats)
{
	const char *name = json_string_value(json_object_get(stats, "name"));
	const char *state = json_string_value(json_object_get(stats, "state"));
	printf("%s: %s, memory %" PRIu64 " MiB, of it resident %.1f MiB, resident beyond it %.1f MiB\n",
	       name != NULL ? name : "?", state != NULL ? state : "?", number(stats, "memory_bytes") >> 20,
	       (double)number(stats, "memory_resident_bytes") / 1048576,
	       (double)number(stats, "beyond_resident_bytes") / 1048576);
	size_t index;
	json_t *vcpu;
	json_array_foreach(json_object_get(stats, "vcpus"), index, vcpu)
	{
		const char *now = json_string_value(json_object_get(vcpu, "state"));
		printf("\nvCPU %zu: %s\n", index, now != NULL ? now : "?");
		print_clocks(vcpu);
		print_counts(vcpu);
	}
	print_ticks(json_object_get(stats, "ticks"));
	print_networks(json_object_get(stats, "networks"));
	json_t *disk;
	json_array_foreach(json_object_get(stats, "disks"), index, disk)
	{
		print_disk(disk);
	}
}

static int stats_run(const struct command_call *call)
{
	const struct stats_options *options = call->options;
	struct error error = {0};
	json_t *stats = guest_call(call->argument[0], "guest.stats", NULL, &error);
	if (stats == NULL)
		return (int)report_error(&error);
	if (options->json) {
		(void)json_dumpf(stats, stdout, JSON_INDENT(2));
		(void)putchar('\n');
	} else {
		print_stats(stats);
	}
	json_decref(stats);
	return STATUS_OK;
}

const struct command command_stats = {
    .name = "stats",
    .arguments = "NAME",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "show where a guest's time goes",
    .description =
	"Shows the ledger of a guest: how long each virtual processor was in each state, which adds up to the\n"
	"time it exists, and how often what happened. Lines with 'about' are estimates from samples.",
    .options = stats_options,
    .run = stats_run,
};
