/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. The guest is asked for events for two seconds, again and again, and for the ring that they go
 * into. The ring is read out of shared memory a hundred times a second. Whatever ends this program, the guest stops
 * telling by itself. When the guest ends, what it told before is still in the ring.
 *
 * SIGINT and SIGTERM are read from a descriptor, so that the last line is printed. Output is written in pieces that do
 * not block, and waited for together with the signals: whoever holds it up must not keep this program from being ended.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/guest.h"
#include "control/report.h"
#include "control/signals.h"
#include "ledger/events.h"

#define LEASE_MS 2000
#define RENEW_MS 500
#define READ_MS 10
#define BATCH 256u
#define PIECE 4096u /* a pipe that is writable takes so many bytes (pipe(7), PIPE_BUF) */
#define SECONDS_MAX (24 * 60 * 60)
#define DEFAULT_EVENTS "interrupts,exceptions,io,idle,disk,network"

struct trace_options {
	const char *events;
	uint64_t count, seconds;
	bool json;
};

static const struct option trace_options[] = {
    {"events", "LIST", DEFAULT_EVENTS, "groups of events, or single ones, separated by commas", .kind = OPTION_TEXT,
     .offset = offsetof(struct trace_options, events)},
    {"count", "N", NULL, "end after so many", .kind = OPTION_NUMBER, .minimum = 1,
     .offset = offsetof(struct trace_options, count)},
    {"for", "SECONDS", NULL, "end after so long", .kind = OPTION_NUMBER, .minimum = 1, .maximum = SECONDS_MAX,
     .offset = offsetof(struct trace_options, seconds)},
    {"json", NULL, NULL, "print a JSON object for each event", .kind = OPTION_FLAG,
     .offset = offsetof(struct trace_options, json)},
    {0},
};

struct trace_run {
	const char *name;
	const struct trace_options *options;
	json_t *events; /* the names that are asked for */
	uint64_t kinds;
	const uint64_t *ring;
	uint64_t next, seen, lost;
	uint64_t tsc_hz, opened_tsc;
	int signals;  /* signalfd */
	FILE *output; /* to memory: `text` */
	char *text;
	size_t size;
};

static int64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- names ---- */

static bool refuse_name(const char *name, size_t length, struct error *error)
{
	char known[256] = "";
	for (unsigned i = EVENT_GROUP_NONE + 1; i < EVENT_GROUP_COUNT; i++) {
		size_t used = strlen(known);
		(void)snprintf(known + used, sizeof known - used, "%s%s", i > 1 ? ", " : "", event_group_key[i]);
	}
	return error_set(error, ERROR_INPUT,
			 "--events: no event is called \"%.*s\"; there are %s, and the counters of nfold stats by name",
			 (int)(length < 40 ? length : 40), name, known);
}

static bool read_names(struct trace_run *run, struct error *error)
{
	const char *at = run->options->events;
	run->events = json_array();
	for (;;) {
		size_t length = strcspn(at, ",");
		uint64_t kinds = events_named(at, length);
		if (kinds == 0)
			return refuse_name(at, length, error);
		run->kinds |= kinds;
		(void)json_array_append_new(run->events, json_stringn(at, length));
		if (at[length] == '\0')
			return true;
		at += length + 1;
	}
}

/* ---- events ---- */

static uint64_t nanoseconds(const struct trace_run *run, uint64_t cycles)
{
	return (uint64_t)((unsigned __int128)cycles * 1000000000u / run->tsc_hz);
}

static bool is_time(const char *label)
{
	size_t length = strlen(label);
	return length > 3 && strcmp(label + length - 3, "_ns") == 0;
}

/* A number with its label: times and sizes in decimal, all else in hexadecimal. */
static void print_number(const struct trace_run *run, const char *label, uint64_t number)
{
	bool json = run->options->json;
	if (is_time(label))
		fprintf(run->output, json ? ", \"%s\": %" PRIu64 : " %s %" PRIu64, label, nanoseconds(run, number));
	else if (strcmp(label, "bytes") == 0)
		fprintf(run->output, json ? ", \"%s\": %" PRIu64 : " %s %" PRIu64, label, number);
	else
		fprintf(run->output, json ? ", \"%s\": \"0x%" PRIx64 "\"" : " %s 0x%" PRIx64, label, number);
}

static void print_place(const struct trace_run *run, const struct event *event)
{
	bool json = run->options->json;
	if (event->vcpu != EVENT_NO_VCPU) {
		if (json)
			fprintf(run->output, ", \"vcpu\": %u, \"rip\": \"0x%" PRIx64 "\", \"cpl\": %u", event->vcpu,
				event->rip, event->cpl);
		else
			fprintf(run->output, " rip 0x%" PRIx64, event->rip);
		return;
	}
	fprintf(run->output, json ? ", \"device\": %" PRIu32 : " %" PRIu32, event->device);
	if (event->kind == EVENT_DISK_DONE && event->size < LEDGER_DISK_OPERATION_COUNT)
		fprintf(run->output, json ? ", \"operation\": \"%s\"" : " %s", ledger_disk_key[event->size]);
}

static void print_event(const struct trace_run *run, const struct event *event)
{
	const struct event_row *row = &event_row[event->kind];
	bool json = run->options->json, accesses = row->group == EVENT_GROUP_IO;
	uint64_t after = event->tsc > run->opened_tsc ? event->tsc - run->opened_tsc : 0;
	double us = (double)nanoseconds(run, after) / 1000;
	if (json)
		fprintf(run->output, "{\"us\": %.3f, \"event\": \"%s\"", us, event_key[event->kind]);
	else if (event->vcpu != EVENT_NO_VCPU)
		fprintf(run->output, "%16.3f vcpu%u %-16s", us, event->vcpu, event_key[event->kind]);
	else
		fprintf(run->output, "%16.3f       %-16s", us, event_key[event->kind]);
	print_place(run, event);
	if (row->address != NULL)
		print_number(run, row->address, event->address);
	if (accesses)
		fprintf(run->output, json ? ", \"size\": %u" : " size %u", event->size);
	if (row->value != NULL)
		print_number(run, row->value, event->value);
	(void)fputs(json ? "}\n" : "\n", run->output);
}

static void print_lost(const struct trace_run *run, uint64_t lost)
{
	fprintf(run->output,
		run->options->json ? "{\"lost\": %" PRIu64 "}\n"
				   : "# %" PRIu64 " events lost: more came than could be read\n",
		lost);
}

static bool full(const struct trace_run *run)
{
	return run->options->count != OPTION_UNSET && run->seen >= run->options->count;
}

/* Others may have asked for other kinds; what is in the ring is another process's word. */
static bool is_wanted(const struct trace_run *run, const struct event *event)
{
	return event->kind < EVENT_KIND_COUNT && (run->kinds >> event->kind & 1) != 0;
}

/* False: nobody takes it. */
static bool write_piece(const struct trace_run *run, const char *text, size_t size, size_t *done)
{
	struct pollfd ready[] = {{.fd = STDOUT_FILENO, .events = POLLOUT}, {.fd = run->signals, .events = POLLIN}};
	if (poll(ready, 2, -1) < 0)
		return errno == EINTR;
	if ((ready[0].revents & POLLOUT) == 0) /* a signal came, or the reader is gone */
		return false;
	ssize_t wrote = write(STDOUT_FILENO, text, size < PIECE ? size : PIECE);
	*done += wrote > 0 ? (size_t)wrote : 0;
	return wrote >= 0 || errno == EINTR || errno == EAGAIN;
}

static bool flush(struct trace_run *run)
{
	size_t done = 0;
	bool good = fflush(run->output) == 0;
	while (good && done < run->size)
		good = write_piece(run, run->text + done, run->size - done, &done);
	rewind(run->output);
	return good;
}

/* What is there now: a guest that tells faster than we print does not keep us here. False: it cannot be printed. */
static bool drain(struct trace_run *run)
{
	struct event event[BATCH];
	uint64_t end = ring_now(run->ring), lost = 0, before = run->lost;
	unsigned count = BATCH;
	while (count == BATCH && run->next < end && !full(run)) {
		count = events_read(run->ring, &run->next, event, BATCH, &lost);
		if (lost > 0)
			print_lost(run, lost);
		run->lost += lost;
		lost = 0;
		for (unsigned i = 0; i < count && !full(run); i++) {
			if (!is_wanted(run, &event[i]))
				continue;
			print_event(run, &event[i]);
			run->seen++;
		}
		if ((count > 0 || run->lost > before) && !flush(run))
			return false;
	}
	return true;
}

/* ---- the guest ---- */

static bool begin(struct trace_run *run, struct error *error)
{
	int fd = -1;
	json_t *params = json_pack("{s:O, s:i, s:b}", "events", run->events, "ms", LEASE_MS, "pass", 1);
	json_t *answer = guest_call_fd(run->name, "guest.trace", params, &fd, error);
	if (answer == NULL)
		return false;
	run->next = (uint64_t)json_integer_value(json_object_get(answer, "next"));
	run->tsc_hz = (uint64_t)json_integer_value(json_object_get(answer, "tsc_hz"));
	run->opened_tsc = (uint64_t)json_integer_value(json_object_get(answer, "opened_tsc"));
	bool known = json_integer_value(json_object_get(answer, "version")) == EVENTS_VERSION && run->tsc_hz != 0;
	json_decref(answer);
	run->ring = known ? events_map(fd, error) : NULL;
	if (fd >= 0)
		close(fd);
	return known ? run->ring != NULL
		     : error_set(error, ERROR_HOST, "its events are of another release: use programs of one release");
}

/* False: the guest is gone. */
static bool renew(const struct trace_run *run)
{
	struct error error;
	json_t *params = json_pack("{s:O, s:i}", "events", run->events, "ms", LEASE_MS);
	json_t *answer = guest_call(run->name, "guest.trace", params, &error);
	json_decref(answer);
	return answer != NULL;
}

/* Why it ended; NULL: nobody takes what is printed. */
static const char *follow(struct trace_run *run)
{
	int64_t begun = now_ms(), renewed = begun;
	bool timed = run->options->seconds != OPTION_UNSET;
	for (;;) {
		struct pollfd ready = {.fd = run->signals, .events = POLLIN};
		bool ended = poll(&ready, 1, READ_MS) > 0;
		int64_t now = now_ms();
		bool over = timed && now - begun >= (int64_t)run->options->seconds * 1000;
		bool gone = now - renewed >= RENEW_MS && !renew(run);
		if (now - renewed >= RENEW_MS)
			renewed = now;
		if (!drain(run))
			return NULL;
		if (full(run))
			return "count";
		if (gone || ended || over)
			return gone ? "guest" : ended ? "signal" : "time";
	}
}

static void print_end(struct trace_run *run, const char *why)
{
	if (run->options->json)
		fprintf(run->output, "{\"end\": \"%s\", \"events\": %" PRIu64 ", \"lost\": %" PRIu64 "}\n", why,
			run->seen, run->lost);
	else
		fprintf(run->output, "# %" PRIu64 " events, %" PRIu64 " lost%s\n", run->seen, run->lost,
			strcmp(why, "guest") == 0 ? "; the guest has ended" : "");
	(void)flush(run);
}

static bool trace(struct trace_run *run, struct error *error)
{
	static const int numbers[] = {SIGINT, SIGTERM};
	run->output = open_memstream(&run->text, &run->size);
	if (run->output == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	run->signals = signals_open(numbers, sizeof numbers / sizeof numbers[0], NULL);
	if (run->signals < 0)
		return error_set_errno(error, "cannot create a signalfd");
	if (!read_names(run, error) || !begin(run, error))
		return false;
	fprintf(run->output,
		run->options->json ? "{\"begin\": \"%s\"}\n" : "# events of %s; microseconds since it began\n",
		run->name);
	const char *why = flush(run) ? follow(run) : NULL;
	if (why != NULL)
		print_end(run, why);
	return true;
}

static int trace_command(const struct command_call *call)
{
	struct trace_run run = {.name = call->argument[0], .options = call->options, .signals = -1};
	struct error error = {0};
	bool good = trace(&run, &error);
	events_unmap(run.ring);
	json_decref(run.events);
	if (run.signals >= 0)
		close(run.signals);
	if (run.output != NULL)
		(void)fclose(run.output);
	free(run.text);
	return good ? STATUS_OK : (int)report_error(&error);
}

const struct command command_trace = {
    .name = "trace",
    .arguments = "NAME",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "show what happens to a guest, event by event",
    .description = "Shows events of a guest as they come, with the microseconds since it began: exits, interrupts,\n"
		   "exceptions, io, system, tlb, code, idle, disk, network, or single ones by the names that nfold\n"
		   "stats has for its counters. Where more come than can be read, it says how many were lost. Ends\n"
		   "with ctrl-c or with the guest.",
    .options = trace_options,
    .run = trace_command,
};
