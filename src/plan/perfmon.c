/* SPDX-License-Identifier: MIT */
/* Windows's counters by their English names, from perfmon, relog and typeperf. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "plan/parse.h"
#include "plan/pdh.h"
#include "plan/uses.h"

enum instance {
	ANY,   /* the object has none, or all are wanted but _Total */
	TOTAL, /* "_Total" */
};

/*
 * Of the sources of a channel the one of the lowest rank counts. Interrupt time is that of interrupts and of the
 * deferred calls that they cause.
 */
static const struct perfmon_row {
	const char *object, *counter;
	enum instance instance;
	unsigned channel, rank;
	bool mean;
	double factor;
} perfmon_table[] = {
    {"Processor Information", "% Processor Time", TOTAL, ESTATE_CPU, 0, true, 0.01},
    {"Processor", "% Processor Time", TOTAL, ESTATE_CPU, 1, true, 0.01},
    {"Processor Information", "% Processor Time", ANY, ESTATE_CPU, 2, true, 0.01},
    {"Processor", "% Processor Time", ANY, ESTATE_CPU, 3, true, 0.01},
    {"Processor Information", "% Privileged Time", TOTAL, ESTATE_KERNEL, 0, true, 0.01},
    {"Processor", "% Privileged Time", TOTAL, ESTATE_KERNEL, 1, true, 0.01},
    {"Processor Information", "% Privileged Time", ANY, ESTATE_KERNEL, 2, true, 0.01},
    {"Processor", "% Privileged Time", ANY, ESTATE_KERNEL, 3, true, 0.01},
    {"Processor Information", "% Interrupt Time", TOTAL, ESTATE_INTERRUPT, 0, false, 0.01},
    {"Processor Information", "% DPC Time", TOTAL, ESTATE_INTERRUPT, 0, false, 0.01},
    {"Processor", "% Interrupt Time", TOTAL, ESTATE_INTERRUPT, 1, false, 0.01},
    {"Processor", "% DPC Time", TOTAL, ESTATE_INTERRUPT, 1, false, 0.01},
    {"Processor Information", "Processor Frequency", TOTAL, COLLECT_CHANNEL_COUNT + COLLECT_CLOCK, 0, true, 1},
    {"Memory", "Available Bytes", ANY, COLLECT_AVAILABLE, 0, false, 1},
    {"Memory", "Available KBytes", ANY, COLLECT_AVAILABLE, 1, false, 1024},
    {"Memory", "Available MBytes", ANY, COLLECT_AVAILABLE, 2, false, 1048576},
    {"Memory", "Committed Bytes", ANY, COLLECT_COMMITTED, 0, false, 1},
    {"Memory", "Pages/sec", ANY, ESTATE_PAGING, 0, false, 1},
    {"PhysicalDisk", "Disk Read Bytes/sec", TOTAL, ESTATE_DISK_READ, 0, false, 1},
    {"PhysicalDisk", "Disk Read Bytes/sec", ANY, ESTATE_DISK_READ, 1, false, 1},
    {"LogicalDisk", "Disk Read Bytes/sec", TOTAL, ESTATE_DISK_READ, 2, false, 1},
    {"LogicalDisk", "Disk Read Bytes/sec", ANY, ESTATE_DISK_READ, 3, false, 1},
    {"PhysicalDisk", "Disk Write Bytes/sec", TOTAL, ESTATE_DISK_WRITE, 0, false, 1},
    {"PhysicalDisk", "Disk Write Bytes/sec", ANY, ESTATE_DISK_WRITE, 1, false, 1},
    {"LogicalDisk", "Disk Write Bytes/sec", TOTAL, ESTATE_DISK_WRITE, 2, false, 1},
    {"LogicalDisk", "Disk Write Bytes/sec", ANY, ESTATE_DISK_WRITE, 3, false, 1},
    {"PhysicalDisk", "Disk Reads/sec", TOTAL, ESTATE_DISK_READ_OPS, 0, false, 1},
    {"PhysicalDisk", "Disk Reads/sec", ANY, ESTATE_DISK_READ_OPS, 1, false, 1},
    {"LogicalDisk", "Disk Reads/sec", TOTAL, ESTATE_DISK_READ_OPS, 2, false, 1},
    {"LogicalDisk", "Disk Reads/sec", ANY, ESTATE_DISK_READ_OPS, 3, false, 1},
    {"PhysicalDisk", "Disk Writes/sec", TOTAL, ESTATE_DISK_WRITE_OPS, 0, false, 1},
    {"PhysicalDisk", "Disk Writes/sec", ANY, ESTATE_DISK_WRITE_OPS, 1, false, 1},
    {"LogicalDisk", "Disk Writes/sec", TOTAL, ESTATE_DISK_WRITE_OPS, 2, false, 1},
    {"LogicalDisk", "Disk Writes/sec", ANY, ESTATE_DISK_WRITE_OPS, 3, false, 1},
    {"Network Interface", "Bytes Received/sec", ANY, ESTATE_NET_RECEIVE, 0, false, 1},
    {"Network Adapter", "Bytes Received/sec", ANY, ESTATE_NET_RECEIVE, 1, false, 1},
    {"Network Interface", "Bytes Sent/sec", ANY, ESTATE_NET_SEND, 0, false, 1},
    {"Network Adapter", "Bytes Sent/sec", ANY, ESTATE_NET_SEND, 1, false, 1},
};

/* Interfaces that carry nothing to other machines, or only what another carries too. */
static const char *const inner_interfaces[] = {"loopback", "isatap", "teredo", "6to4", "npcap"};

/* "_Total"; of NUMA nodes "0,_Total", which are parts. */
static bool is_part_total(const char *instance)
{
	return strcasestr(instance, "_Total") != NULL;
}

static bool is_inner(const char *instance)
{
	for (size_t i = 0; i < sizeof inner_interfaces / sizeof inner_interfaces[0]; i++)
		if (strcasestr(instance, inner_interfaces[i]) != NULL)
			return true;
	return false;
}

static bool row_fits(const struct perfmon_row *row, const struct pdh_counter *counter)
{
	if (strcasecmp(row->object, counter->object) != 0 || strcasecmp(row->counter, counter->counter) != 0)
		return false;
	if (row->instance == TOTAL)
		return strcasecmp(counter->instance, "_Total") == 0;
	return !is_part_total(counter->instance) && !is_inner(counter->instance);
}

/* Processors: "3" or, of a NUMA node, "0,3". */
static bool is_processor(const struct pdh_counter *counter)
{
	return strncasecmp(counter->object, "Processor", 9) == 0 &&
	       strcasecmp(counter->counter, "% Processor Time") == 0 && isdigit((unsigned char)counter->instance[0]) &&
	       !is_part_total(counter->instance);
}

/* A file may have both objects with all their instances: the larger number is that of processors. */
struct processors {
	size_t server;
	unsigned simple, by_node;
};

struct perfmon {
	struct parse *parse;
	struct uses *uses;
	char host[PDH_PART_MAX]; /* of `server`: columns of one host come together */
	size_t server;
	struct processors count;
};

static void count_done(const struct perfmon *perfmon)
{
	const struct processors *count = &perfmon->count;
	unsigned most = count->simple > count->by_node ? count->simple : count->by_node;
	collector_attribute(perfmon->parse->collector, count->server, COLLECT_CPUS, most, false);
}

static bool take_counter(struct perfmon *perfmon, const struct pdh_counter *counter, size_t column, struct error *error)
{
	struct parse *parse = perfmon->parse;
	const char *host = counter->host[0] != '\0' ? counter->host : parse->stem;
	if (perfmon->server == SIZE_MAX || strcmp(host, perfmon->host) != 0) {
		if (perfmon->server != SIZE_MAX)
			count_done(perfmon);
		(void)snprintf(perfmon->host, sizeof perfmon->host, "%.500s", host);
		perfmon->server = collector_server(parse->collector, host, error);
		if (perfmon->server == SIZE_MAX)
			return false;
		perfmon->count = (struct processors){.server = perfmon->server};
	}
	if (is_processor(counter)) {
		perfmon->count.simple += strcasecmp(counter->object, "Processor") == 0;
		perfmon->count.by_node += strcasecmp(counter->object, "Processor") != 0;
	}
	for (size_t i = 0; i < sizeof perfmon_table / sizeof perfmon_table[0]; i++) {
		const struct perfmon_row *row = &perfmon_table[i];
		const struct use use = {.column = column,
					.server = perfmon->server,
					.channel = row->channel,
					.rank = row->rank,
					.mean = row->mean,
					.factor = row->factor};
		if (row_fits(row, counter) && !uses_add(perfmon->uses, &use, error))
			return false;
	}
	return true;
}

static bool perfmon_resolve(struct parse *parse, const struct rows *header, struct uses *uses, struct error *error)
{
	struct perfmon perfmon = {.parse = parse, .uses = uses, .server = SIZE_MAX};
	for (size_t i = 1; i < rows_count(header); i++) {
		struct pdh_counter counter;
		if (pdh_counter_read(rows_field(header, i), &counter) && !take_counter(&perfmon, &counter, i, error))
			return false;
	}
	if (perfmon.server != SIZE_MAX)
		count_done(&perfmon);
	return true;
}

static bool perfmon_probe(const struct parse *parse, const char *head, size_t size)
{
	(void)parse;
	return head_contains(head, size < 64 ? size : 64, "(PDH-CSV") && !format_esxtop.probe(parse, head, size);
}

static bool perfmon_read(struct parse *parse, struct error *error)
{
	return pdh_read(parse, perfmon_resolve, error);
}

const struct format format_perfmon = {
    .name = "perfmon", .family = "perfmon", .probe = perfmon_probe, .read = perfmon_read};
