/* SPDX-License-Identifier: MIT */
/*
 * The middle of an import: samples go in, from any number of files in any order; servers on regular grids come out.
 *
 * Theory of operation. Parsers add samples: a server, a time, and values of some channels. A sample is what was true
 * for a while that ends at its time, as perfmon and sar have it. Nobody knows when a server is complete: a machine's
 * data come in a file a day, or all machines in one file. So samples are collected in blocks of COLLECT_BLOCK_ROWS for
 * each server, and full blocks go to an unnamed file beside the estate, column by column, channels without values left
 * out. Memory is thus bounded by the number of servers, not of samples.
 *
 * At the end each server is read back and made regular (see regular.h), its channels become series, and it is written.
 */
#ifndef NFOLD_PLAN_COLLECT_H
#define NFOLD_PLAN_COLLECT_H

#include <math.h>
#include <stdint.h>

#include "plan/estate-write.h"
#include "plan/estate.h"

/* What parsers deliver: the series, and what series can be made of when all of a server is known. */
enum collect_channel {
	COLLECT_PROCESSORS = ESTATE_SERIES_COUNT, /* processors in use, a number of them */
	COLLECT_MHZ,				  /* processors in use, as MHz */
	COLLECT_AVAILABLE,			  /* bytes that programs could still get */
	COLLECT_COMMITTED, /* bytes promised to programs: stands in when nothing better is known */
	COLLECT_CHANNEL_COUNT,
};

#define COLLECT_BLOCK_ROWS 128u
#define COLLECT_NAME_MAX 256u

enum collect_attribute {
	COLLECT_CPUS,
	COLLECT_CLOCK,	   /* MHz */
	COLLECT_INSTALLED, /* bytes of memory */
	COLLECT_RATING,
	COLLECT_ATTRIBUTE_COUNT,
};

struct collect_sample {
	int64_t time_ms;		     /* its end; since 1970 UTC */
	uint32_t width_ms;		     /* 0: unknown */
	double value[COLLECT_CHANNEL_COUNT]; /* NaN: not in this sample */
};

struct collector;

/* The spool goes to the folder of `path`. */
struct collector *collector_create(const char *path, struct error *error);
void collector_destroy(struct collector *collector); /* NULL: nothing is done */

/* From now on samples come from this file. Their order is judged anew. */
bool collector_begin(struct collector *collector, const char *source, struct error *error);
/* The same file starts again at an earlier time, by design. */
void collector_rewind(struct collector *collector);

/* The server of a name, made if need be. The name is cleaned: see text_clean. SIZE_MAX: *error is filled. */
size_t collector_server(struct collector *collector, const char *name, struct error *error);
/* SIZE_MAX: there is none. */
size_t collector_find(const struct collector *collector, const char *name);

/* What is known of a server. The largest value a file gives counts; one that is `certain`, by the user, whatever files
 * say. */
void collector_attribute(struct collector *collector, size_t index, enum collect_attribute attribute, double value,
			 bool certain);
/* 0: not known. */
double collector_known(const struct collector *collector, size_t index, enum collect_attribute attribute);
/* The server's clock is ahead by so many seconds. */
void collector_offset(struct collector *collector, size_t index, int64_t seconds);
/* The channel holds a running total, and rates are wanted: 32 or 64 bits, 0: found out. */
void collector_counter(struct collector *collector, size_t index, enum collect_channel channel, unsigned bits);
void collector_note(struct collector *collector, size_t index, enum estate_note note, uint64_t count);

bool collector_add(struct collector *collector, size_t index, const struct collect_sample *sample, struct error *error);

/* So far. */
size_t collector_servers(const struct collector *collector);
uint64_t collector_samples(const struct collector *collector);

/* Whom the collector tells what it cannot do, or does for want of something better. */
struct collect_listener {
	void *owner;
	/* A server that cannot be written, and why. True: go on without it. */
	bool (*refused)(void *owner, const char *server, const struct error *error);
	void (*remark)(void *owner, const char *server, const char *text);
};

/* Writes all servers that have samples. */
bool collector_write(struct collector *collector, struct estate_writer *writer, const struct collect_listener *listener,
		     struct error *error);

static inline struct collect_sample collect_sample_at(int64_t time_ms)
{
	struct collect_sample sample = {.time_ms = time_ms};
	for (unsigned i = 0; i < COLLECT_CHANNEL_COUNT; i++)
		sample.value[i] = NAN;
	return sample;
}

#endif
