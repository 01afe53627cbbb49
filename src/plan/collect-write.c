/* SPDX-License-Identifier: MIT */
/* The second half of collect.h: servers are read back, made regular and written. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan/collect-impl.h"
#include "plan/regular.h"

static bool spool_read(const struct collector *collector, void *bytes, size_t size, uint64_t offset,
		       struct error *error)
{
	char *at = bytes;
	while (size > 0) {
		ssize_t got = pread(collector->spool, at, size, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return error_set_errno(error, "cannot read the import's temporary file");
		at += got;
		offset += (uint64_t)got;
		size -= (size_t)got;
	}
	return true;
}

static size_t block_size(const struct block *block)
{
	unsigned wide = (unsigned)__builtin_popcount(block->channels & block->counters);
	unsigned narrow = (unsigned)__builtin_popcount(block->channels) - wide;
	return block->rows * (sizeof(int64_t) + sizeof(uint32_t) + wide * sizeof(double) + narrow * sizeof(float));
}

static bool load_block(const struct collector *collector, const struct block *block, struct samples *samples,
		       size_t first, struct error *error)
{
	char bytes[sizeof(struct pending)];
	const char *at = bytes;
	size_t rows = block->rows;
	if (!spool_read(collector, bytes, block_size(block), block->offset, error))
		return false;
	memcpy(samples->time_ms + first, at, rows * sizeof(int64_t));
	at += rows * sizeof(int64_t);
	memcpy(samples->width_ms + first, at, rows * sizeof(uint32_t));
	at += rows * sizeof(uint32_t);
	for (unsigned i = 0; i < COLLECT_CHANNEL_COUNT; i++) {
		if ((block->channels >> i & 1) == 0)
			continue; /* there is no memory for it */
		double *value = samples->value[i] + first;
		if (block->counters >> i & 1) {
			memcpy(value, at, rows * sizeof(double));
			at += rows * sizeof(double);
			continue;
		}
		for (size_t k = 0; k < rows; k++, at += sizeof(float)) {
			float narrow;
			memcpy(&narrow, at, sizeof narrow);
			value[k] = (double)narrow;
		}
	}
	return true;
}

static bool load(const struct collector *collector, const struct server *server, struct samples *samples,
		 struct error *error)
{
	if (!samples_make(samples, server->rows, server->channels))
		return error_set(error, ERROR_HOST, "out of memory");
	size_t first = 0;
	for (size_t i = 0; i < server->block_count; i++) {
		if (!load_block(collector, &server->block[i], samples, first, error)) {
			samples_destroy(samples);
			return false;
		}
		first += server->block[i].rows;
	}
	for (size_t i = 0; i < samples->count; i++)
		samples->time_ms[i] -= server->offset * 1000;
	return true;
}

/* Rates made of counters are judged as rates are. */
static void count_all(struct server *server, struct samples *samples)
{
	for (unsigned i = 0; i < COLLECT_CHANNEL_COUNT; i++) {
		double *value = samples->value[i];
		if (value == NULL || (server->counters >> i & 1) == 0)
			continue;
		samples_count(samples, (enum collect_channel)i, server->bits[i], server->note);
		for (size_t k = 0; k < samples->count; k++)
			if (!isnan(value[k]) && !collect_possible(i, value[k])) {
				server->note[ESTATE_IMPOSSIBLE]++;
				value[k] = NAN;
			}
	}
}

/* Turns a channel into a series; NaN stays NaN, and below 0 is 0. */
static void derive(struct regular *regular, enum collect_channel from, enum estate_series to, double factor,
		   double offset)
{
	float *value = regular->value[from];
	regular->value[to] = value;
	regular->value[from] = NULL;
	for (uint64_t k = 0; k < regular->grid.count; k++) {
		double changed = (double)value[k] * factor + offset;
		value[k] = isnan(changed) || changed > 0 ? (float)changed : 0;
	}
}

static bool derive_cpu(const struct server *server, struct regular *regular, struct error *error)
{
	double cpus = server->attribute[COLLECT_CPUS], clock = server->attribute[COLLECT_CLOCK];
	if (regular->value[ESTATE_CPU] != NULL)
		return true;
	if (regular->value[COLLECT_MHZ] != NULL && cpus > 0 && clock > 0)
		derive(regular, COLLECT_MHZ, (enum estate_series)ESTATE_CPU, 1 / (cpus * clock), 0);
	else if (regular->value[COLLECT_PROCESSORS] != NULL && cpus > 0)
		derive(regular, COLLECT_PROCESSORS, (enum estate_series)ESTATE_CPU, 1 / cpus, 0);
	else if (regular->value[COLLECT_MHZ] != NULL || regular->value[COLLECT_PROCESSORS] != NULL)
		return error_set(error, ERROR_INPUT,
				 "its files do not say how many processors it has%s: give a table with --attributes",
				 regular->value[COLLECT_MHZ] != NULL ? " of which clock" : "");
	return true;
}

static void derive_memory(const struct server *server, struct regular *regular, const struct collect_listener *listener)
{
	double installed = server->attribute[COLLECT_INSTALLED];
	if (regular->value[ESTATE_MEMORY] != NULL)
		return;
	if (regular->value[COLLECT_AVAILABLE] != NULL && installed > 0) {
		derive(regular, COLLECT_AVAILABLE, ESTATE_MEMORY, -1, installed);
	} else if (regular->value[COLLECT_COMMITTED] != NULL) {
		derive(regular, COLLECT_COMMITTED, ESTATE_MEMORY, 1, 0);
		listener->remark(listener->owner, server->name,
				 "memory in use is what was committed: installed memory is not known (--attributes)");
	} else if (regular->value[COLLECT_AVAILABLE] != NULL) {
		listener->remark(
		    listener->owner, server->name,
		    "no memory in use: only what was available is known, not what is installed (--attributes)");
	}
}

static void remark_changes(const struct server *server, const struct collect_listener *listener)
{
	static const char *const text[COLLECT_ATTRIBUTE_COUNT] = {
	    [COLLECT_CPUS] = "the number of its processors changes; the largest is taken",
	    [COLLECT_CLOCK] = "the clock of its processors changes; the highest is taken",
	    [COLLECT_INSTALLED] = "its installed memory changes; the most is taken",
	    [COLLECT_RATING] = "its rating changes; the highest is taken",
	};
	for (unsigned i = 0; i < COLLECT_ATTRIBUTE_COUNT; i++)
		if (server->changed[i] && !server->certain[i])
			listener->remark(listener->owner, server->name, text[i]);
}

static void note_above(struct server *server, const struct regular *regular)
{
	const float *cpu = regular->value[ESTATE_CPU];
	for (uint64_t k = 0; cpu != NULL && k < regular->grid.count; k++)
		server->note[ESTATE_ABOVE] += cpu[k] > 1.0f;
}

static bool write_regular(const struct server *server, const struct regular *regular, struct estate_writer *writer,
			  struct error *error)
{
	char source[4096 + 40];
	(void)snprintf(source, sizeof source, "%s", server->source != NULL ? server->source : "");
	if (server->sources > 1)
		(void)snprintf(source, sizeof source, "%.4000s and %llu more files", server->source,
			       (unsigned long long)server->sources - 1);
	struct estate_server out = {
	    .name = server->name,
	    .source = source,
	    .cpus = server->attribute[COLLECT_CPUS] < 1e6 ? (uint32_t)server->attribute[COLLECT_CPUS] : 0,
	    .mhz = server->attribute[COLLECT_CLOCK],
	    .rating = server->attribute[COLLECT_RATING],
	    .memory = (uint64_t)server->attribute[COLLECT_INSTALLED],
	    .grid = regular->grid,
	};
	memcpy(out.note, server->note, sizeof out.note);
	out.note[ESTATE_CLOCK_OFFSET] = (uint64_t)server->offset;
	const float *column[ESTATE_SERIES_COUNT];
	for (unsigned i = 0; i < ESTATE_SERIES_COUNT; i++)
		column[i] = regular->value[i];
	return estate_writer_add(writer, &out, column, error);
}

static bool write_server(struct collector *collector, struct server *server, struct estate_writer *writer,
			 const struct collect_listener *listener, struct error *error)
{
	struct samples samples = {0};
	struct regular regular = {0};
	if (!collector_flush(collector, server, error) || !load(collector, server, &samples, error))
		return false;
	bool good = samples_sort(&samples, server->note) || error_set(error, ERROR_HOST, "out of memory");
	if (good) {
		count_all(server, &samples);
		samples_widths(&samples, server->note);
		good = samples_regular(&samples, &regular, server->note, error) && derive_cpu(server, &regular, error);
	}
	samples_destroy(&samples);
	if (good) {
		derive_memory(server, &regular, listener);
		remark_changes(server, listener);
		note_above(server, &regular);
		good = write_regular(server, &regular, writer, error);
	}
	regular_destroy(&regular);
	return good;
}

bool collector_write(struct collector *collector, struct estate_writer *writer, const struct collect_listener *listener,
		     struct error *error)
{
	for (size_t i = 0; i < collector->count; i++) {
		struct server *server = collector->server[i];
		struct error why = {.kind = ERROR_INPUT, .text = "it has no values that could be read"};
		bool good = server->rows > 0 && write_server(collector, server, writer, listener, &why);
		free(server->pending);
		server->pending = NULL;
		if (good)
			continue;
		if (why.kind != ERROR_INPUT || !listener->refused(listener->owner, server->name, &why))
			return error_set(error, why.kind, "%.100s: %s", server->name, why.text);
	}
	return true;
}
