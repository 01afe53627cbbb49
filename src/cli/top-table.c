/* SPDX-License-Identifier: MIT */
#include "cli/top-table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIB 1048576.0
#define MBIT 125000.0
#define UNKNOWN ((double)NAN) /* no interval yet, or no value */

/* ---- values ---- */

static void text_name(const struct top_row *row, char text[TOP_TEXT_MAX])
{
	(void)snprintf(text, TOP_TEXT_MAX, "%s", row->guest->name);
}

static double number_vcpus(const struct top_row *row)
{
	return row->guest->vcpu_count;
}

static double number_part(const struct top_row *row)
{
	return row->part;
}

static void text_state(const struct top_row *row, char text[TOP_TEXT_MAX])
{
	(void)snprintf(text, TOP_TEXT_MAX, "%s", ledger_state_key[row->guest->now.vcpu[row->part].state]);
}

/* What a guest is at: its processors' states, the busiest word first. */
static void text_guest_state(const struct top_row *row, char text[TOP_TEXT_MAX])
{
	const char *word = row->guest->ledger == NULL ? "silent"
			   : row->guest->paused	      ? "paused"
			   : !row->guest->settled     ? "silent"
						      : "runs";
	(void)snprintf(text, TOP_TEXT_MAX, "%s", word);
}

static double guest_term(const struct top_row *row, enum monitor_term term)
{
	return row->guest->known ? term_of_guest(row->guest, term) : UNKNOWN;
}

static double vcpu_term(const struct top_row *row, enum monitor_term term)
{
	return row->guest->known ? term_of_vcpu(&row->guest->gain.vcpu[row->part], term) : UNKNOWN;
}

static uint64_t vcpu_events(const struct ledger_reading *gain, uint64_t counters)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < LEDGER_COUNTER_COUNT; i++)
		sum += (counters >> i & 1) != 0 ? gain->count[i] : 0;
	return sum;
}

static double guest_events(const struct top_row *row, uint64_t counters)
{
	uint64_t sum = 0;
	if (!row->guest->known)
		return UNKNOWN;
	for (unsigned i = 0; i < row->guest->vcpu_count; i++)
		sum += vcpu_events(&row->guest->gain.vcpu[i], counters);
	return (double)sum / gain_seconds(row->guest);
}

#define COUNTER(name) (UINT64_C(1) << LEDGER_COUNT_##name)

static double guest_interrupts(const struct top_row *row)
{
	return guest_events(row, COUNTER(INTERRUPT));
}

static double guest_accesses(const struct top_row *row)
{
	return guest_events(row, COUNTER(PORT_READ) | COUNTER(PORT_WRITE) | COUNTER(MMIO_READ) | COUNTER(MMIO_WRITE));
}

static double guest_faults(const struct top_row *row)
{
	return guest_events(row, COUNTER(PAGE_FAULT));
}

static double vcpu_interrupts(const struct top_row *row)
{
	const struct ledger_reading *gain = &row->guest->gain.vcpu[row->part];
	return row->guest->known ? (double)vcpu_events(gain, COUNTER(INTERRUPT)) / gain_seconds(row->guest) : UNKNOWN;
}

/* Microseconds from a request to a halted processor to its thread running, on average. */
static double guest_wake(const struct top_row *row)
{
	uint64_t count = 0, ns = 0;
	for (unsigned i = 0; row->guest->known && i < row->guest->vcpu_count; i++) {
		count += row->guest->gain.vcpu[i].delay[LEDGER_DELAY_WAKE].count;
		ns += row->guest->gain.vcpu[i].delay[LEDGER_DELAY_WAKE].ns;
	}
	return count == 0 ? UNKNOWN : (double)ns / 1e3 / (double)count;
}

static double memory_size(const struct top_row *row)
{
	return (double)row->guest->memory_bytes / MIB;
}

static double memory_resident(const struct top_row *row)
{
	return (double)row->guest->resident_bytes / MIB;
}

static double memory_share(const struct top_row *row)
{
	double size = (double)row->guest->memory_bytes;
	return size > 0 ? 100.0 * (double)row->guest->resident_bytes / size : UNKNOWN;
}

static double memory_overhead(const struct top_row *row)
{
	return (double)row->guest->overhead_bytes / MIB;
}

static struct disk_rate rate_of(const struct top_row *row, uint32_t operations)
{
	if (row->guest->known)
		return disk_rate(row->guest, row->part, operations);
	return (struct disk_rate){UNKNOWN, UNKNOWN, UNKNOWN};
}

static double disk_reads(const struct top_row *row)
{
	return rate_of(row, DISK_READS).operations;
}

static double disk_writes(const struct top_row *row)
{
	return rate_of(row, DISK_WRITES).operations;
}

static double disk_read_mib(const struct top_row *row)
{
	return rate_of(row, DISK_READS).bytes / MIB;
}

static double disk_write_mib(const struct top_row *row)
{
	return rate_of(row, DISK_WRITES).bytes / MIB;
}

static double disk_read_ms(const struct top_row *row)
{
	struct disk_rate rate = rate_of(row, DISK_READS);
	return rate.operations > 0 ? rate.response_ms : UNKNOWN;
}

static double disk_write_ms(const struct top_row *row)
{
	struct disk_rate rate = rate_of(row, DISK_WRITES);
	return rate.operations > 0 ? rate.response_ms : UNKNOWN;
}

static double disk_failed(const struct top_row *row)
{
	return (double)disk_sum(&row->guest->now.disk[row->part], DISK_ALL).failed;
}

static void text_disk(const struct top_row *row, char text[TOP_TEXT_MAX])
{
	const char *path = row->guest->disk[row->part];
	const char *slash = strrchr(path, '/');
	(void)snprintf(text, TOP_TEXT_MAX, "%s", slash != NULL && slash[1] != '\0' ? slash + 1 : path);
}

static void text_network(const struct top_row *row, char text[TOP_TEXT_MAX])
{
	(void)snprintf(text, TOP_TEXT_MAX, "%s", row->guest->network[row->part].kind);
}

static double network_of(const struct top_row *row, enum ledger_network_counter counter)
{
	return row->guest->known ? network_rate(row->guest, row->part, counter) : UNKNOWN;
}

static double net_sent_frames(const struct top_row *row)
{
	return network_of(row, LEDGER_NETWORK_SENT_FRAMES);
}

static double net_sent(const struct top_row *row)
{
	return network_of(row, LEDGER_NETWORK_SENT_BYTES) / MBIT;
}

static double net_received_frames(const struct top_row *row)
{
	return network_of(row, LEDGER_NETWORK_RECEIVED_FRAMES);
}

static double net_received(const struct top_row *row)
{
	return network_of(row, LEDGER_NETWORK_RECEIVED_BYTES) / MBIT;
}

static double net_sent_drops(const struct top_row *row)
{
	return network_of(row, LEDGER_NETWORK_SEND_DROPS);
}

static double net_received_drops(const struct top_row *row)
{
	return network_of(row, LEDGER_NETWORK_RECEIVE_DROPS);
}

/* ---- views ---- */

static unsigned parts_vcpus(const struct monitor_guest *guest)
{
	return guest->vcpu_count;
}

static unsigned parts_disks(const struct monitor_guest *guest)
{
	return guest->disk_count;
}

static unsigned parts_networks(const struct monitor_guest *guest)
{
	return guest->network_count;
}

/* clang-format off */
#define NUMBER(head_, width_, decimals_, number_) \
    {.head = head_, .width = width_, .decimals = decimals_, .number = number_}
#define TEXT(head_, width_, text_) {.head = head_, .width = width_, .text = text_}
#define GUEST(head_, width_, which_) \
    {.head = head_, .width = width_, .decimals = 1, .term = guest_term, .which = which_}
#define VCPU(head_, width_, which_) \
    {.head = head_, .width = width_, .decimals = 1, .term = vcpu_term, .which = which_}
#define NAME TEXT("NAME", 15, text_name)
const struct top_view top_views[] = {
    {'c', "processors by guest", NULL, "no guest runs",
     {NAME, NUMBER("VCPU", 5, 0, number_vcpus), GUEST("%USED", 7, TERM_USED), GUEST("%RUN", 7, TERM_RUN),
      GUEST("%SYS", 6, TERM_SYS), GUEST("%WAIT", 7, TERM_WAIT), GUEST("%RDY", 6, TERM_RDY),
      GUEST("%CSTP", 6, TERM_CSTP), GUEST("%MLMTD", 7, TERM_MLMTD), GUEST("%IDLE", 7, TERM_IDLE),
      GUEST("%SWPWT", 7, TERM_SWPWT)}, 2},
    {'v', "virtual processors", parts_vcpus, "no guest runs",
     {NAME, NUMBER("VCPU", 5, 0, number_part), TEXT("STATE", 10, text_state), VCPU("%RUN", 7, TERM_RUN),
      VCPU("%WAIT", 7, TERM_WAIT), VCPU("%RDY", 7, TERM_RDY), VCPU("%CSTP", 7, TERM_CSTP),
      VCPU("%MLMTD", 7, TERM_MLMTD), VCPU("%IDLE", 7, TERM_IDLE), NUMBER("INTR/s", 8, 0, vcpu_interrupts),
      VCPU("%EXIT", 7, TERM_EXIT), VCPU("%TRANS", 7, TERM_TRANS), VCPU("%DEV", 7, TERM_DEV),
      VCPU("%PRMPT", 7, TERM_PRMPT)}, 3},
    {'o', "overhead by cause", NULL, "no guest runs",
     {NAME, TEXT("STATE", 7, text_guest_state), GUEST("%EXIT", 6, TERM_EXIT),
      GUEST("%TRANS", 7, TERM_TRANS), GUEST("%DEV", 6, TERM_DEV), GUEST("%SYS", 6, TERM_SYS),
      GUEST("%PRMPT", 7, TERM_PRMPT), NUMBER("IO/s", 8, 0, guest_accesses),
      NUMBER("INTR/s", 8, 0, guest_interrupts), NUMBER("FAULT/s", 8, 0, guest_faults),
      NUMBER("WAKEus", 8, 0, guest_wake)}, 2},
    {'m', "memory", NULL, "no guest runs",
     {NAME, TEXT("STATE", 7, text_guest_state), NUMBER("SIZE MiB", 12, 1, memory_size),
      NUMBER("RESIDENT MiB", 14, 1, memory_resident), NUMBER("%RES", 8, 1, memory_share),
      NUMBER("OVERHEAD MiB", 14, 1, memory_overhead)}, 3},
    {'d', "disks", parts_disks, "no guest has a disk",
     {NAME, NUMBER("DISK", 5, 0, number_part), NUMBER("READ/s", 8, 1, disk_reads), NUMBER("WRITE/s", 8, 1, disk_writes),
      NUMBER("MiBRD/s", 8, 2, disk_read_mib), NUMBER("MiBWR/s", 8, 2, disk_write_mib),
      NUMBER("RDms", 8, 3, disk_read_ms), NUMBER("WRms", 8, 3, disk_write_ms), NUMBER("FAIL", 5, 0, disk_failed),
      TEXT("IMAGE", 7, text_disk)}, 2},
    {'n', "networks", parts_networks, "no guest has a network",
     {NAME, NUMBER("NET", 4, 0, number_part), TEXT("KIND", 8, text_network),
      NUMBER("PKTTX/s", 9, 1, net_sent_frames), NUMBER("MbTX/s", 9, 2, net_sent),
      NUMBER("PKTRX/s", 9, 1, net_received_frames), NUMBER("MbRX/s", 9, 2, net_received),
      NUMBER("DRPTX/s", 8, 1, net_sent_drops), NUMBER("DRPRX/s", 8, 1, net_received_drops)}, 3},
    {0},
};
/* clang-format on */

static bool is_number(const struct top_column *column)
{
	return column->text == NULL;
}

static double number_of(const struct top_column *column, const struct top_row *row)
{
	return column->term != NULL ? column->term(row, column->which) : column->number(row);
}

unsigned top_view_columns(const struct top_view *view)
{
	unsigned count = 0;
	while (count < TOP_COLUMNS_MAX && view->column[count].head != NULL)
		count++;
	return count;
}

/* ---- rows ---- */

struct order {
	const struct top_column *column;
	bool reverse;
};

/* What is not known comes last, whatever the order. */
static int compare_numbers(double a, double b, bool reverse)
{
	if (isnan(a) || isnan(b))
		return (int)isnan(a) - (int)isnan(b);
	int result = (a < b) - (a > b);
	return reverse ? -result : result;
}

static int compare_rows(const void *a, const void *b, void *opaque)
{
	const struct top_row *x = a, *y = b;
	const struct order *order = opaque;
	int result = 0;
	if (is_number(order->column)) {
		result = compare_numbers(number_of(order->column, x), number_of(order->column, y), order->reverse);
	} else {
		char one[TOP_TEXT_MAX], two[TOP_TEXT_MAX];
		order->column->text(x, one);
		order->column->text(y, two);
		result = order->reverse ? strcmp(two, one) : strcmp(one, two);
	}
	if (result == 0)
		result = strcmp(x->guest->name, y->guest->name);
	return result != 0 ? result : (x->part > y->part) - (x->part < y->part);
}

static bool rows_add(struct top_rows *rows, const struct monitor_guest *guest, unsigned part)
{
	if (rows->count == rows->room) {
		unsigned room = rows->room * 2 + 64;
		struct top_row *grown = realloc(rows->row, room * sizeof *grown);
		if (grown == NULL)
			return false;
		rows->row = grown;
		rows->room = room;
	}
	rows->row[rows->count++] = (struct top_row){guest, part};
	return true;
}

bool top_rows_fill(struct top_rows *rows, const struct top_view *view, unsigned sort, bool reverse,
		   const struct monitor *monitor)
{
	struct order order = {&view->column[sort], reverse};
	rows->count = 0;
	for (unsigned i = 0; i < monitor_guest_count(monitor); i++) {
		const struct monitor_guest *guest = monitor_guest(monitor, i);
		unsigned parts = view->parts != NULL ? view->parts(guest) : 1;
		for (unsigned k = 0; k < parts; k++)
			if (!rows_add(rows, guest, k))
				return false;
	}
	if (rows->count > 0)
		qsort_r(rows->row, rows->count, sizeof *rows->row, compare_rows, &order);
	return true;
}

void top_rows_free(struct top_rows *rows)
{
	free(rows->row);
	*rows = (struct top_rows){0};
}

/* ---- lines ---- */

struct line {
	char *text;
	size_t size, used;
};

/* In a field of `width`, a blank before it but in the first; too long texts are cut, too long numbers push on. */
static void line_add(struct line *line, const char *text, int width, bool right)
{
	bool first = line->used == 0;
	int room = first ? width : width - 1;
	size_t left = line->size - line->used;
	int wrote = snprintf(line->text + line->used, left, "%s%*.*s", first ? "" : " ", right ? room : -room,
			     right ? (int)strlen(text) : room, text);
	line->used += wrote < 0 ? 0 : (size_t)wrote < left ? (size_t)wrote : left - 1;
}

static void line_end(struct line *line)
{
	while (line->used > 0 && line->text[line->used - 1] == ' ')
		line->text[--line->used] = '\0';
}

static bool is_last(const struct top_view *view, unsigned column)
{
	return column + 1 == top_view_columns(view);
}

void top_format_head(const struct top_view *view, char *line, size_t size)
{
	struct line to = {line, size, 0};
	line[0] = '\0';
	for (unsigned i = 0; i < top_view_columns(view); i++)
		line_add(&to, view->column[i].head, view->column[i].width, is_number(&view->column[i]));
	line_end(&to);
}

void top_format_row(const struct top_view *view, const struct top_row *row, char *line, size_t size)
{
	struct line to = {line, size, 0};
	line[0] = '\0';
	for (unsigned i = 0; i < top_view_columns(view); i++) {
		const struct top_column *column = &view->column[i];
		char text[TOP_TEXT_MAX];
		double number = is_number(column) ? number_of(column, row) : 0;
		if (!is_number(column))
			column->text(row, text);
		else if (isnan(number))
			(void)snprintf(text, sizeof text, "-");
		else
			(void)snprintf(text, sizeof text, "%.*f", column->decimals, number);
		line_add(&to, text, is_last(view, i) && !is_number(column) ? (int)size : column->width,
			 is_number(column));
	}
	line_end(&to);
}

void top_column_place(const struct top_view *view, unsigned column, int *start, int *length)
{
	*start = 0;
	for (unsigned i = 0; i < column; i++)
		*start += view->column[i].width;
	*length = view->column[column].width;
	if (column > 0) {
		++*start;
		--*length;
	}
}

void top_format_summary(const struct monitor *monitor, char *line, size_t size)
{
	const struct monitor_host *host = monitor_host(monitor);
	double all = (double)monitor_interval_ns(monitor) * host->processors;
	time_t now = (time_t)(monitor_realtime_ns(monitor) / 1000000000);
	unsigned vcpus = 0;
	struct tm local;
	char clock[16];
	for (unsigned i = 0; i < monitor_guest_count(monitor); i++)
		vcpus += monitor_guest(monitor, i)->vcpu_count;
	(void)localtime_r(&now, &local);
	(void)strftime(clock, sizeof clock, "%H:%M:%S", &local);
	(void)snprintf(
	    line, size, "%s  %u guest%s, %u vCPU%s; %u processors %.0f %% busy, %.0f %% stolen; %.0f MiB free", clock,
	    monitor_guest_count(monitor), monitor_guest_count(monitor) == 1 ? "" : "s", vcpus, vcpus == 1 ? "" : "s",
	    host->processors, all > 0 ? fmin(100.0, 100.0 * (double)host->gain_busy_ns / all) : 0,
	    all > 0 ? fmin(100.0, 100.0 * (double)host->gain_steal_ns / all) : 0, (double)host->available_bytes / MIB);
}
