/* SPDX-License-Identifier: MIT */
/*
 * An estate: servers, and what was measured on them over time. `nfold plan import` writes one; this is how it is read.
 *
 * Each server has a grid of its own: `count` slots of `interval` seconds from `start` on. A series has one value for
 * each slot: the mean over the slot, NaN where nothing was measured. Reading puts a series on any grid, so that servers
 * measured at different times and intervals can be added up: see estate_read.
 *
 * An open estate does not change: any number of threads may read it. The file format is in docs/estate-format.md.
 */
#ifndef NFOLD_PLAN_ESTATE_H
#define NFOLD_PLAN_ESTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* What is measured, in the order of the file. */
enum estate_series {
	ESTATE_CPU, /* share of the server's processors in use, 0 to 1, or more with a faster clock; it holds the next
		       two */
	ESTATE_KERNEL,	       /* share of the processors in kernel mode, interrupts included */
	ESTATE_INTERRUPT,      /* share of the processors in interrupt handlers */
	ESTATE_MEMORY,	       /* bytes in use: what the server could not give to another program */
	ESTATE_PAGING,	       /* pages a second from and to swap space */
	ESTATE_DISK_READ,      /* bytes a second */
	ESTATE_DISK_WRITE,     /* bytes a second */
	ESTATE_DISK_READ_OPS,  /* operations a second */
	ESTATE_DISK_WRITE_OPS, /* operations a second */
	ESTATE_NET_RECEIVE,    /* bytes a second */
	ESTATE_NET_SEND,       /* bytes a second */
	ESTATE_SERIES_COUNT,
};

extern const char *const estate_series_key[ESTATE_SERIES_COUNT];  /* as in JSON and mapping files: "disk_read" */
extern const char *const estate_series_unit[ESTATE_SERIES_COUNT]; /* "bytes/s"; of shares "" */
extern const char *const estate_series_text[ESTATE_SERIES_COUNT]; /* for people */

/* What a host has to offer, in host units: sums of series. */
enum estate_resource {
	ESTATE_MHZ,   /* cpu x cpus x mhz */
	ESTATE_BYTES, /* memory */
	ESTATE_DISK,  /* bytes a second, read and written */
	ESTATE_IOPS,  /* disk operations a second, read and written */
	ESTATE_NETWORK /* bytes a second, received and sent */,
	ESTATE_RESOURCE_COUNT,
};

extern const char *const estate_resource_key[ESTATE_RESOURCE_COUNT];

/* What the import met and how it dealt with it, counted for each server. None of it is silent. */
enum estate_note {
	ESTATE_ROWS,	   /* samples read */
	ESTATE_DUPLICATE,  /* samples dropped: the same time and values as another */
	ESTATE_CONFLICT,   /* samples dropped: the time of another with other values; the one read last counts */
	ESTATE_DISORDER,   /* samples that came after a later one; sorted */
	ESTATE_MISSING,	   /* values that were empty in a row that has others */
	ESTATE_IMPOSSIBLE, /* values dropped: negative, not finite, or beyond what can be */
	ESTATE_ABOVE,	   /* processor shares above 1, by rounding or a faster clock; kept */
	ESTATE_WRAP,	   /* counters that passed their end and began again; made up for */
	ESTATE_RESET,	   /* counters that began again from 0; one sample lost each */
	ESTATE_CLOCK_STEP, /* changes of the clock by an hour between rows, taken for daylight saving time and undone */
	ESTATE_CLOCK_OFFSET, /* seconds by which all times were shifted, as the attribute file says (a signed number) */
	ESTATE_INTERVALS,    /* changes of the interval between samples */
	ESTATE_MERGED,	     /* samples that share their slot with another; averaged */
	ESTATE_HELD,	     /* slots that take the value of a sample longer than a slot */
	ESTATE_GAPS,	     /* runs of slots in which nothing was measured */
	ESTATE_GAP_SLOTS,    /* slots in them */
	ESTATE_NOTE_COUNT,
};

extern const char *const estate_note_key[ESTATE_NOTE_COUNT];
extern const char *const estate_note_text[ESTATE_NOTE_COUNT];

/* Slots of equal length: slot k is [start + k * interval, start + (k + 1) * interval), in seconds since 1970 UTC. */
struct estate_grid {
	int64_t start;
	uint64_t count;
	uint32_t interval;
};

#define ESTATE_INTERVAL_MAX 604800u		 /* a week */
#define ESTATE_COUNT_MAX (UINT64_C(1) << 27)	 /* four years of seconds */
#define ESTATE_START_MAX (INT64_C(253402300800)) /* the year 10000 */

struct estate_summary {
	uint64_t present; /* slots with a value; 0: the series was not measured */
	float minimum, mean, maximum;
};

struct estate_server {
	const char *name, *source; /* UTF-8 without control characters; unique; where it was imported from */
	uint32_t cpus;		   /* 0: unknown */
	double mhz;		   /* clock of one; 0: unknown */
	double rating;		   /* benchmark result of the whole server; 0: unknown */
	uint64_t memory;	   /* installed bytes; 0: unknown */
	struct estate_grid grid;
	struct estate_summary series[ESTATE_SERIES_COUNT];
	uint64_t note[ESTATE_NOTE_COUNT];
};

enum estate_aggregate { ESTATE_MEAN, ESTATE_MAXIMUM };

struct estate;

/* Checks the whole file but the values, whose checksums are checked when they are read. NULL: *error is filled. */
struct estate *estate_open(const char *path, struct error *error);
void estate_close(struct estate *estate); /* NULL: nothing is done */

size_t estate_count(const struct estate *estate);
/* Servers are sorted by name. */
const struct estate_server *estate_server(const struct estate *estate, size_t index);
/* SIZE_MAX: none. */
size_t estate_find(const struct estate *estate, const char *name);
/* What was imported and how, in JSON; "" when the writer gave none. */
const char *estate_report(const struct estate *estate);

/*
 * The slots of `interval` seconds, aligned to multiples of it, that cover all servers. `interval` 0: the longest
 * interval of any server, so that nothing is made up. Count 0: there are no servers.
 */
struct estate_grid estate_common_grid(const struct estate *estate, uint32_t interval);

/*
 * Puts a series on a grid: value[grid->count]. A slot is the mean, or maximum, of those of the server's slots whose
 * middle lies in it; if there is none, because the grid is finer, the server's slot that holds the middle of this one.
 * NaN: nothing was measured. A mean stands for the slots that were.
 */
bool estate_read(const struct estate *estate, size_t index, enum estate_series series, const struct estate_grid *grid,
		 enum estate_aggregate aggregate, float *value, struct error *error);

/*
 * The same in host units. A slot is NaN if none of the resource's series has a value there; MHz are NaN throughout if
 * the server's processors or clock are not known. The maximum of a sum is that of the sums.
 */
bool estate_read_resource(const struct estate *estate, size_t index, enum estate_resource resource,
			  const struct estate_grid *grid, enum estate_aggregate aggregate, float *value,
			  struct error *error);

#endif
