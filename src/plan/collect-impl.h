/* SPDX-License-Identifier: MIT */
/* Inside collect.h: for collect.c and collect-write.c alone. */
#ifndef NFOLD_PLAN_COLLECT_IMPL_H
#define NFOLD_PLAN_COLLECT_IMPL_H

#include <assert.h>

#include "plan/collect.h"

static_assert(COLLECT_CHANNEL_COUNT <= 16, "a mask of channels has 16 bits");

/* Rows that are not in the spool yet. */
struct pending {
	unsigned count;
	int64_t time_ms[COLLECT_BLOCK_ROWS];
	uint32_t width_ms[COLLECT_BLOCK_ROWS];
	double value[COLLECT_CHANNEL_COUNT][COLLECT_BLOCK_ROWS];
};

/* Rows in the spool: times, widths, then each channel of the mask, of doubles where it is a counter, else of floats. */
struct block {
	uint64_t offset;
	uint16_t rows, channels, counters;
};

struct server {
	size_t index;
	char *name, *source;
	uint64_t sources, last_source; /* numbers of files, from 1 on */
	int64_t last_ms;	       /* of last_source */
	uint64_t last_pass;
	double attribute[COLLECT_ATTRIBUTE_COUNT];
	bool certain[COLLECT_ATTRIBUTE_COUNT], changed[COLLECT_ATTRIBUTE_COUNT];
	int64_t offset;
	uint16_t channels, counters;
	uint8_t bits[COLLECT_CHANNEL_COUNT];
	uint64_t note[ESTATE_NOTE_COUNT];
	struct pending *pending;
	struct block *block;
	size_t block_count, block_room;
	uint64_t rows;
};

struct collector {
	int spool;
	uint64_t spool_size;
	char *source;
	uint64_t source_number, pass;
	struct server **server;
	size_t count, room;
	void *by_name; /* a tree of struct server */
	uint64_t samples;
};

/* Writes a server's pending rows to the spool. */
bool collector_flush(struct collector *collector, struct server *server, struct error *error);
bool collect_possible(unsigned channel, double value);

#endif
