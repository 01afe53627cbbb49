/* SPDX-License-Identifier: MIT */
/*
 * The layout of an estate file, version 1; docs/estate-format.md tells it in prose. Little-endian, as every host that
 * nfold runs on. header | columns, each at a multiple of ESTATE_ALIGN | records, sorted by name | strings.
 */
#ifndef NFOLD_PLAN_ESTATE_FORMAT_H
#define NFOLD_PLAN_ESTATE_FORMAT_H

#include <assert.h>
#include <stdint.h>

#include "plan/estate.h"

#define ESTATE_MAGIC "nfoldEST"
#define ESTATE_VERSION 1u
#define ESTATE_ALIGN 64u

struct estate_file_header {
	char magic[8];
	uint32_t version;
	uint32_t header_size;  /* of this struct */
	uint32_t series_count; /* of a record */
	uint32_t note_count;   /* of a record */
	uint64_t server_count;
	uint64_t table_offset;	 /* of the records */
	uint64_t strings_offset; /* where they end; the strings go on to the end of the file */
	uint64_t file_size;
	uint64_t report;     /* a string: offset from strings_offset */
	uint32_t tables_crc; /* CRC-32 of records and strings */
	uint32_t header_crc; /* CRC-32 of what is before it */
};

struct estate_file_column {
	uint64_t offset;  /* in the file; meaningless when present is 0 */
	uint64_t present; /* values that are not NaN; 0: there is no column */
	float minimum, mean, maximum;
	uint32_t crc; /* CRC-32 of the column */
};

struct estate_file_record {
	uint64_t name, source; /* strings: offsets from strings_offset */
	uint64_t memory;
	double mhz, rating;
	int64_t start;
	uint64_t count;
	uint32_t interval;
	uint32_t cpus;
	struct estate_file_column column[ESTATE_SERIES_COUNT];
	uint64_t note[ESTATE_NOTE_COUNT];
};

static_assert(sizeof(struct estate_file_header) == 72, "the file's layout");
static_assert(sizeof(struct estate_file_column) == 32, "the file's layout");
static_assert(sizeof(struct estate_file_record) == 64 + 11 * 32 + 16 * 8, "the file's layout");

#endif
