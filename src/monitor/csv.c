/* SPDX-License-Identifier: MIT */
#include "monitor/csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "monitor/terms.h"

#define MIB 1048576.0
#define MBIT 125000.0

/* What the header says of a guest. */
struct column_owner {
	char name[NAME_LENGTH_MAX + 1];
	unsigned group; /* esxtop's number of a scheduling group */
	unsigned vcpus, disks, networks;
};

struct csv {
	char host[sizeof((struct monitor_host *)0)->name];
	unsigned count;
	struct column_owner owner[];
};

/* ---- counters of each kind; a NULL guest is one that does not run ---- */

typedef double guest_counter(const struct monitor_guest *guest, unsigned part);

static double memory_size(const struct monitor_guest *guest, unsigned part)
{
	(void)part;
	return (double)guest->memory_bytes / MIB;
}

static double memory_consumed(const struct monitor_guest *guest, unsigned part)
{
	(void)part;
	return (double)guest->resident_bytes / MIB;
}

static double memory_overhead(const struct monitor_guest *guest, unsigned part)
{
	(void)part;
	return (double)guest->overhead_bytes / MIB;
}

static double disk_reads(const struct monitor_guest *guest, unsigned part)
{
	return disk_rate(guest, part, DISK_READS).operations;
}

static double disk_writes(const struct monitor_guest *guest, unsigned part)
{
	return disk_rate(guest, part, DISK_WRITES).operations;
}

static double disk_commands(const struct monitor_guest *guest, unsigned part)
{
	return disk_rate(guest, part, DISK_ALL).operations;
}

static double disk_read_bytes(const struct monitor_guest *guest, unsigned part)
{
	return disk_rate(guest, part, DISK_READS).bytes / MIB;
}

static double disk_write_bytes(const struct monitor_guest *guest, unsigned part)
{
	return disk_rate(guest, part, DISK_WRITES).bytes / MIB;
}

static double disk_read_ms(const struct monitor_guest *guest, unsigned part)
{
	return disk_rate(guest, part, DISK_READS).response_ms;
}

static double disk_write_ms(const struct monitor_guest *guest, unsigned part)
{
	return disk_rate(guest, part, DISK_WRITES).response_ms;
}

static double net_received(const struct monitor_guest *guest, unsigned part)
{
	return network_rate(guest, part, LEDGER_NETWORK_RECEIVED_BYTES) / MBIT;
}

static double net_sent(const struct monitor_guest *guest, unsigned part)
{
	return network_rate(guest, part, LEDGER_NETWORK_SENT_BYTES) / MBIT;
}

static double net_received_frames(const struct monitor_guest *guest, unsigned part)
{
	return network_rate(guest, part, LEDGER_NETWORK_RECEIVED_FRAMES);
}

static double net_sent_frames(const struct monitor_guest *guest, unsigned part)
{
	return network_rate(guest, part, LEDGER_NETWORK_SENT_FRAMES);
}

struct counter {
	const char *name;
	guest_counter *value;
};

static const struct counter memory_counters[] = {{"Memory Size MBytes", memory_size},
						 {"Memory Consumed Size MBytes", memory_consumed},
						 {"Overhead MBytes", memory_overhead}};
static const struct counter disk_counters[] = {{"Commands/sec", disk_commands},
					       {"Reads/sec", disk_reads},
					       {"Writes/sec", disk_writes},
					       {"MBytes Read/sec", disk_read_bytes},
					       {"MBytes Written/sec", disk_write_bytes},
					       {"Average MilliSec/Read", disk_read_ms},
					       {"Average MilliSec/Write", disk_write_ms}};
static const struct counter network_counters[] = {{"Packets Transmitted/sec", net_sent_frames},
						  {"MBits Transmitted/sec", net_sent},
						  {"Packets Received/sec", net_received_frames},
						  {"MBits Received/sec", net_received}};

#define LENGTH(table) (sizeof(table) / sizeof(table)[0])

/* ---- the header ---- */

static void head(const struct csv *csv, FILE *to, const char *object, const char *instance, const char *counter)
{
	fprintf(to, ",\"\\\\%s\\%s", csv->host, object);
	if (instance[0] != '\0')
		fprintf(to, "(%s)", instance);
	fprintf(to, "\\%s\"", counter);
}

static void head_counters(const struct csv *csv, FILE *to, const char *object, const char *instance,
			  const struct counter *counters, size_t count)
{
	for (size_t i = 0; i < count; i++)
		head(csv, to, object, instance, counters[i].name);
}

static void head_guest(const struct csv *csv, const struct column_owner *owner, FILE *to)
{
	char instance[NAME_LENGTH_MAX + 128];
	(void)snprintf(instance, sizeof instance, "%u:%s", owner->group, owner->name);
	for (unsigned i = 0; i < TERM_COUNT; i++)
		head(csv, to, "Group Cpu", instance, monitor_term[i].counter);
	head_counters(csv, to, "Group Memory", instance, memory_counters, LENGTH(memory_counters));
	for (unsigned i = 0; i < owner->vcpus; i++) {
		(void)snprintf(instance, sizeof instance, "%u:%s:%u:vcpu-%u", owner->group, owner->name,
			       owner->group + 1 + i, i);
		for (unsigned k = 0; k < TERM_COUNT; k++)
			head(csv, to, "Vcpu", instance, monitor_term[k].counter);
	}
	for (unsigned i = 0; i < owner->disks; i++) {
		(void)snprintf(instance, sizeof instance, "%s:disk%u", owner->name, i);
		head_counters(csv, to, "Virtual Disk", instance, disk_counters, LENGTH(disk_counters));
	}
	for (unsigned i = 0; i < owner->networks; i++) {
		(void)snprintf(instance, sizeof instance, "nfold:%u:%u:%s.eth%u", owner->group + i, owner->group,
			       owner->name, i);
		head_counters(csv, to, "Network Port", instance, network_counters, LENGTH(network_counters));
	}
}

/* Groups are numbered so that those of their processors and ports lie between. */
static void take_owner(struct column_owner *owner, const struct monitor_guest *guest, unsigned index)
{
	(void)snprintf(owner->name, sizeof owner->name, "%s", guest->name);
	owner->group = (index + 1) * 100;
	owner->vcpus = guest->vcpu_count;
	owner->disks = guest->disk_count;
	owner->networks = guest->network_count;
}

struct csv *csv_create(const struct monitor *monitor, FILE *to)
{
	unsigned count = monitor_guest_count(monitor);
	struct csv *csv = calloc(1, sizeof *csv + count * sizeof csv->owner[0]);
	if (csv == NULL)
		return NULL;
	csv->count = count;
	(void)snprintf(csv->host, sizeof csv->host, "%s", monitor_host(monitor)->name);
	fprintf(to, "\"(PDH-CSV 4.0) (UTC)(0)\"");
	head(csv, to, "Memory", "", "Machine MBytes");
	head(csv, to, "Memory", "", "Free MBytes");
	head(csv, to, "Physical Cpu", "_Total", "% Processor Time");
	for (unsigned i = 0; i < count; i++) {
		take_owner(&csv->owner[i], monitor_guest(monitor, i), i);
		head_guest(csv, &csv->owner[i], to);
	}
	fprintf(to, "\n");
	return csv;
}

void csv_destroy(struct csv *csv)
{
	free(csv);
}

/* ---- rows ---- */

/* An unknown value is an empty field. */
static void field(FILE *to, bool known, double value)
{
	if (known)
		fprintf(to, ",\"%.3f\"", value);
	else
		fprintf(to, ",\"\"");
}

static void row_counters(FILE *to, const struct monitor_guest *guest, bool known, unsigned part,
			 const struct counter *counters, size_t count)
{
	for (size_t i = 0; i < count; i++)
		field(to, known, known ? counters[i].value(guest, part) : 0);
}

static void row_guest(const struct column_owner *owner, const struct monitor_guest *guest, FILE *to)
{
	bool known = guest != NULL && guest->known;
	for (unsigned i = 0; i < TERM_COUNT; i++)
		field(to, known, known ? term_of_guest(guest, (enum monitor_term)i) : 0);
	row_counters(to, guest, known, 0, memory_counters, LENGTH(memory_counters));
	for (unsigned i = 0; i < owner->vcpus; i++)
		for (unsigned k = 0; k < TERM_COUNT; k++)
			field(to, known, known ? term_of_vcpu(&guest->gain.vcpu[i], (enum monitor_term)k) : 0);
	for (unsigned i = 0; i < owner->disks; i++)
		row_counters(to, guest, known, i, disk_counters, LENGTH(disk_counters));
	for (unsigned i = 0; i < owner->networks; i++)
		row_counters(to, guest, known, i, network_counters, LENGTH(network_counters));
}

static bool fits(const struct column_owner *owner, const struct monitor_guest *guest)
{
	return strcmp(owner->name, guest->name) == 0 && owner->vcpus == guest->vcpu_count &&
	       owner->disks == guest->disk_count && owner->networks == guest->network_count;
}

static const struct monitor_guest *guest_of(const struct column_owner *owner, const struct monitor *monitor)
{
	for (unsigned i = 0; i < monitor_guest_count(monitor); i++)
		if (fits(owner, monitor_guest(monitor, i)))
			return monitor_guest(monitor, i);
	return NULL;
}

unsigned csv_strangers(const struct csv *csv, const struct monitor *monitor)
{
	unsigned count = monitor_guest_count(monitor);
	for (unsigned i = 0; i < csv->count; i++)
		count -= guest_of(&csv->owner[i], monitor) != NULL;
	return count;
}

static void row_time(uint64_t realtime_ns, FILE *to)
{
	time_t seconds = (time_t)(realtime_ns / 1000000000);
	char text[64];
	struct tm utc;
	(void)gmtime_r(&seconds, &utc);
	(void)strftime(text, sizeof text, "%m/%d/%Y %H:%M:%S", &utc);
	fprintf(to, "\"%s.%03u\"", text, (unsigned)(realtime_ns / 1000000 % 1000));
}

void csv_row(struct csv *csv, const struct monitor *monitor, FILE *to)
{
	const struct monitor_host *host = monitor_host(monitor);
	double processors_ns = (double)monitor_interval_ns(monitor) * host->processors;
	row_time(monitor_realtime_ns(monitor), to);
	field(to, true, (double)host->memory_bytes / MIB);
	field(to, true, (double)host->available_bytes / MIB);
	field(to, processors_ns > 0,
	      processors_ns > 0 ? fmin(100.0, 100.0 * (double)host->gain_busy_ns / processors_ns) : 0);
	for (unsigned i = 0; i < csv->count; i++)
		row_guest(&csv->owner[i], guest_of(&csv->owner[i], monitor), to);
	fprintf(to, "\n");
}
