/* SPDX-License-Identifier: MIT */
#include "monitor/metrics.h"

#include <inttypes.h>
#include <string.h>

#include "monitor/terms.h"

#define NS_PER_SECOND UINT64_C(1000000000)
/* Of the ledger's buckets, each a power of two, every second is a series: from about a microsecond to a second. */
#define DELAY_FIRST 10u
#define DELAY_LAST 32u
#define DISK_LAST 22u
#define BUCKET_STEP 2u

const char *const metrics_content_type[] = {
    [METRICS_OPENMETRICS] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
    [METRICS_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
};

struct writer {
	const struct monitor *monitor;
	enum metrics_format format;
	FILE *to;
	const char *name; /* of the family */
};

/* A family: its values come from one function for each guest. */
struct family {
	const char *name, *type, *unit, *help;
	void (*write)(const struct writer *writer, const struct monitor_guest *guest);
};

/* ---- samples ---- */

/* As a label's value: backslash, quote and newline are escaped (OpenMetrics 1.0, section 5.1.2). */
static void put_label(const struct writer *writer, const char *key, const char *value, bool first)
{
	fprintf(writer->to, "%s%s=\"", first ? "{" : ",", key);
	for (const char *at = value; *at != '\0'; at++) {
		if (*at == '\\' || *at == '"')
			(void)fputc('\\', writer->to);
		(void)fputc(*at, writer->to);
	}
	(void)fputc('"', writer->to);
}

static void put_guest(const struct writer *writer, const struct monitor_guest *guest, const char *suffix)
{
	fprintf(writer->to, "%s%s", writer->name, suffix);
	put_label(writer, "guest", guest->name, true);
}

static void put_number(const struct writer *writer, const char *key, unsigned number)
{
	fprintf(writer->to, ",%s=\"%u\"", key, number);
}

static void put_value(const struct writer *writer, uint64_t value)
{
	fprintf(writer->to, "} %" PRIu64 "\n", value);
}

static void put_seconds(const struct writer *writer, uint64_t ns)
{
	fprintf(writer->to, "} %" PRIu64 ".%09" PRIu64 "\n", ns / NS_PER_SECOND, ns % NS_PER_SECOND);
}

static void put_simple(const struct writer *writer, const struct monitor_guest *guest, uint64_t value)
{
	put_guest(writer, guest, "");
	put_value(writer, value);
}

/* ---- guests ---- */

static void write_up(const struct writer *writer, const struct monitor_guest *guest)
{
	put_simple(writer, guest, guest->settled);
}

static void write_start(const struct writer *writer, const struct monitor_guest *guest)
{
	put_guest(writer, guest, "");
	put_seconds(writer, guest->started_ns);
}

static void write_vcpus(const struct writer *writer, const struct monitor_guest *guest)
{
	put_simple(writer, guest, guest->vcpu_count);
}

static void write_memory(const struct writer *writer, const struct monitor_guest *guest)
{
	put_simple(writer, guest, guest->memory_bytes);
}

static void write_resident(const struct writer *writer, const struct monitor_guest *guest)
{
	put_simple(writer, guest, guest->resident_bytes);
}

static void write_overhead(const struct writer *writer, const struct monitor_guest *guest)
{
	put_simple(writer, guest, guest->overhead_bytes);
}

static void write_system(const struct writer *writer, const struct monitor_guest *guest)
{
	put_guest(writer, guest, "_total");
	put_seconds(writer, guest->now.system_ns);
}

static void write_states(const struct writer *writer, const struct monitor_guest *guest)
{
	for (unsigned i = 0; i < guest->vcpu_count; i++)
		for (unsigned k = 0; k < LEDGER_STATE_COUNT; k++) {
			put_guest(writer, guest, "_total");
			put_number(writer, "vcpu", i);
			put_label(writer, "state", ledger_state_key[k], false);
			put_seconds(writer, guest->now.vcpu[i].state_ns[k]);
		}
}

static void write_events(const struct writer *writer, const struct monitor_guest *guest)
{
	for (unsigned i = 0; i < guest->vcpu_count; i++)
		for (unsigned k = 0; k < LEDGER_COUNTER_COUNT; k++) {
			put_guest(writer, guest, "_total");
			put_number(writer, "vcpu", i);
			put_label(writer, "event", ledger_counter_key[k], false);
			put_value(writer, guest->now.vcpu[i].count[k]);
		}
}

static void write_ticks(const struct writer *writer, const struct monitor_guest *guest)
{
	for (unsigned i = 0; i < LEDGER_TIMER_COUNT; i++)
		for (unsigned k = 0; k < LEDGER_TICK_COUNTER_COUNT; k++) {
			put_guest(writer, guest, "_total");
			put_label(writer, "timer", ledger_timer_key[i], false);
			put_label(writer, "tick", ledger_tick_key[k], false);
			put_value(writer, guest->now.ticks[i].count[k]);
		}
}

/* ---- histograms ---- */

static void put_bound(const struct writer *writer, uint64_t below_ns, uint64_t count)
{
	if (below_ns == UINT64_MAX)
		put_label(writer, "le", "+Inf", false);
	else
		fprintf(writer->to, ",le=\"%.9g\"", (double)below_ns / 1e9);
	put_value(writer, count);
}

/* Of all vCPUs together. */
static struct ledger_delays delays_of(const struct monitor_guest *guest, unsigned delay)
{
	struct ledger_delays sum = {0};
	for (unsigned i = 0; i < guest->vcpu_count; i++) {
		const struct ledger_delays *of = &guest->now.vcpu[i].delay[delay];
		sum.count += of->count;
		sum.ns += of->ns;
		for (unsigned k = 0; k < LEDGER_DELAY_BUCKETS; k++)
			sum.bucket[k] += of->bucket[k];
	}
	return sum;
}

static void put_delay(const struct writer *writer, const struct monitor_guest *guest, unsigned delay,
		      const char *suffix)
{
	put_guest(writer, guest, suffix);
	put_label(writer, "delay", ledger_delay_key[delay], false);
}

static void write_delays(const struct writer *writer, const struct monitor_guest *guest)
{
	for (unsigned i = 0; i < LEDGER_DELAY_COUNT; i++) {
		struct ledger_delays sum = delays_of(guest, i);
		uint64_t below = 0;
		for (unsigned k = 0; k < LEDGER_DELAY_BUCKETS; k++) {
			bool last = k == LEDGER_DELAY_BUCKETS - 1;
			below += sum.bucket[k];
			if (!last && (k < DELAY_FIRST || k > DELAY_LAST || (k - DELAY_FIRST) % BUCKET_STEP != 0))
				continue;
			put_delay(writer, guest, i, "_bucket");
			put_bound(writer, last ? UINT64_MAX : ledger_bucket_end(guest->ledger, k), below);
		}
		put_delay(writer, guest, i, "_count");
		put_value(writer, below);
		put_delay(writer, guest, i, "_sum");
		put_seconds(writer, sum.ns);
	}
}

static void put_disk(const struct writer *writer, const struct monitor_guest *guest, unsigned disk, unsigned operation,
		     const char *suffix)
{
	put_guest(writer, guest, suffix);
	put_number(writer, "disk", disk);
	put_label(writer, "operation", ledger_disk_key[operation], false);
}

static void write_responses(const struct writer *writer, const struct monitor_guest *guest)
{
	for (unsigned i = 0; i < guest->disk_count * LEDGER_DISK_OPERATION_COUNT; i++) {
		unsigned disk = i / LEDGER_DISK_OPERATION_COUNT, operation = i % LEDGER_DISK_OPERATION_COUNT;
		const struct ledger_disk_line *line = &guest->now.disk[disk].operation[operation];
		uint64_t below = 0;
		for (unsigned k = 0; k < LEDGER_DISK_BUCKETS; k++) {
			bool last = k == LEDGER_DISK_BUCKETS - 1;
			below += line->bucket[k];
			if (!last && (k > DISK_LAST || k % BUCKET_STEP != 0))
				continue;
			put_disk(writer, guest, disk, operation, "_bucket");
			put_bound(writer, last ? UINT64_MAX : UINT64_C(1000) << k, below);
		}
		put_disk(writer, guest, disk, operation, "_count");
		put_value(writer, below);
		put_disk(writer, guest, disk, operation, "_sum");
		put_seconds(writer, line->ns);
	}
}

/* ---- disks and networks ---- */

static void write_disk_words(const struct writer *writer, const struct monitor_guest *guest, size_t offset)
{
	for (unsigned i = 0; i < guest->disk_count * LEDGER_DISK_OPERATION_COUNT; i++) {
		unsigned disk = i / LEDGER_DISK_OPERATION_COUNT, operation = i % LEDGER_DISK_OPERATION_COUNT;
		const char *line = (const char *)&guest->now.disk[disk].operation[operation];
		put_disk(writer, guest, disk, operation, "_total");
		put_value(writer, *(const uint64_t *)(const void *)(line + offset));
	}
}

static void write_disk_bytes(const struct writer *writer, const struct monitor_guest *guest)
{
	write_disk_words(writer, guest, offsetof(struct ledger_disk_line, bytes));
}

static void write_disk_failures(const struct writer *writer, const struct monitor_guest *guest)
{
	write_disk_words(writer, guest, offsetof(struct ledger_disk_line, failed));
}

static void write_network(const struct writer *writer, const struct monitor_guest *guest,
			  enum ledger_network_counter received, enum ledger_network_counter sent)
{
	for (unsigned i = 0; i < guest->network_count * 2; i++) {
		put_guest(writer, guest, "_total");
		put_number(writer, "network", i / 2);
		put_label(writer, "direction", i % 2 == 0 ? "receive" : "send", false);
		put_value(writer, guest->now.network[i / 2][i % 2 == 0 ? received : sent]);
	}
}

static void write_frames(const struct writer *writer, const struct monitor_guest *guest)
{
	write_network(writer, guest, LEDGER_NETWORK_RECEIVED_FRAMES, LEDGER_NETWORK_SENT_FRAMES);
}

static void write_network_bytes(const struct writer *writer, const struct monitor_guest *guest)
{
	write_network(writer, guest, LEDGER_NETWORK_RECEIVED_BYTES, LEDGER_NETWORK_SENT_BYTES);
}

static void write_drops(const struct writer *writer, const struct monitor_guest *guest)
{
	write_network(writer, guest, LEDGER_NETWORK_RECEIVE_DROPS, LEDGER_NETWORK_SEND_DROPS);
}

static const struct family families[] = {
    {"nfold_guest_up", "gauge", NULL, "1 if the guest answered, so that its clocks are settled", write_up},
    {"nfold_guest_start_time_seconds", "gauge", "seconds", "When the guest's ledger was opened, since 1970",
     write_start},
    {"nfold_guest_vcpus", "gauge", NULL, "Virtual processors", write_vcpus},
    {"nfold_guest_memory_bytes", "gauge", "bytes", "Memory that the guest was given", write_memory},
    {"nfold_guest_resident_bytes", "gauge", "bytes", "Of it, in the host's memory", write_resident},
    {"nfold_guest_overhead_bytes", "gauge", "bytes", "Memory of the guest's process beyond the guest's",
     write_overhead},
    {"nfold_guest_system_seconds", "counter", "seconds",
     "Processor time of the guest's process outside its virtual processors", write_system},
    {"nfold_vcpu_state_seconds", "counter", "seconds",
     "Time of a virtual processor in each state; all states sum to the time since the start", write_states},
    {"nfold_vcpu_events", "counter", NULL, "How often what happened on a virtual processor", write_events},
    {"nfold_delay_seconds", "histogram", "seconds", "How long what waited, over all virtual processors", write_delays},
    {"nfold_clock_ticks", "counter", NULL, "What became of the ticks of a guest's periodic timers", write_ticks},
    {"nfold_disk_response_seconds", "histogram", "seconds", "Response times of a guest's disk image", write_responses},
    {"nfold_disk_bytes", "counter", "bytes", "Bytes moved from and to a guest's disk image", write_disk_bytes},
    {"nfold_disk_failures", "counter", NULL, "Requests of a guest's disk image that failed", write_disk_failures},
    {"nfold_network_frames", "counter", NULL, "Frames of a guest's network adapter", write_frames},
    {"nfold_network_bytes", "counter", "bytes", "Bytes in them", write_network_bytes},
    {"nfold_network_drops", "counter", NULL, "Frames of a guest's network adapter that were dropped", write_drops},
    {0},
};

/* ---- families ---- */

/* In the older format the samples of a counter are its family: its name has _total. */
static void put_head(const struct writer *writer, const char *type, const char *unit, const char *help)
{
	bool total = writer->format == METRICS_TEXT && strcmp(type, "counter") == 0;
	fprintf(writer->to, "# TYPE %s%s %s\n", writer->name, total ? "_total" : "", type);
	if (unit != NULL && writer->format == METRICS_OPENMETRICS)
		fprintf(writer->to, "# UNIT %s %s\n", writer->name, unit);
	fprintf(writer->to, "# HELP %s%s %s\n", writer->name, total ? "_total" : "", help);
}

static void write_rows(struct writer *writer, const struct metrics_row *row, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *suffix = strcmp(row[i].type, "counter") == 0 ? "_total" : "";
		writer->name = row[i].name;
		put_head(writer, row[i].type, row[i].unit, row[i].help);
		if (row[i].ns)
			fprintf(writer->to, "%s%s %" PRIu64 ".%09" PRIu64 "\n", row[i].name, suffix,
				row[i].value / NS_PER_SECOND, row[i].value % NS_PER_SECOND);
		else
			fprintf(writer->to, "%s%s %" PRIu64 "\n", row[i].name, suffix, row[i].value);
	}
}

static void write_host(struct writer *writer)
{
	const struct monitor_host *host = monitor_host(writer->monitor);
	const struct metrics_row row[] = {
	    {"nfold_guests", "gauge", NULL, "Guests that run", monitor_guest_count(writer->monitor), false},
	    {"nfold_host_processors", "gauge", NULL, "Processors of the host", host->processors, false},
	    {"nfold_host_busy_seconds", "counter", "seconds", "Their time spent on anything", host->busy_ns, true},
	    {"nfold_host_steal_seconds", "counter", "seconds", "Their time that a hypervisor below took",
	     host->steal_ns, true},
	    {"nfold_host_memory_bytes", "gauge", "bytes", "Memory of the host", host->memory_bytes, false},
	    {"nfold_host_available_bytes", "gauge", "bytes", "Of it, available", host->available_bytes, false},
	};
	write_rows(writer, row, sizeof row / sizeof row[0]);
}

void metrics_write(const struct monitor *monitor, const struct metrics_more *more, enum metrics_format format, FILE *to)
{
	struct writer writer = {.monitor = monitor, .format = format, .to = to};
	struct metrics_row rows[METRICS_MORE_MAX] = {0};
	write_host(&writer);
	if (more->read != NULL)
		write_rows(&writer, rows, more->read(more->opaque, rows));
	for (const struct family *family = families; family->name != NULL; family++) {
		writer.name = family->name;
		put_head(&writer, family->type, family->unit, family->help);
		for (unsigned i = 0; i < monitor_guest_count(monitor); i++)
			if (monitor_guest(monitor, i)->ledger != NULL)
				family->write(&writer, monitor_guest(monitor, i));
	}
	if (format == METRICS_OPENMETRICS)
		fprintf(to, "# EOF\n");
}
