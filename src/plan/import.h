/* SPDX-License-Identifier: MIT */
/*
 * Import: files of measurements, in the formats that tools write them in, become an estate. The format of a file is
 * found by its content.
 */
#ifndef NFOLD_PLAN_IMPORT_H
#define NFOLD_PLAN_IMPORT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct import_options {
	const char *map;	/* a mapping file, or NULL: see docs/import.md */
	const char *attributes; /* a table of servers, or NULL */
	const char *ratings;	/* a table of benchmark ratings of their models, or NULL */
	const char *zone;	/* of times without one: "+01:00", or NULL: UTC */
	bool keep_going;	/* leave out what cannot be read, and say so */
};

struct import;

/* `output` is written by import_finish. The options' strings must outlive it. */
struct import *import_create(const struct import_options *options, const char *output, struct error *error);
void import_destroy(struct import *import); /* NULL: nothing is done */

/* A file, or a folder with all below it. `format`: the name that its files must have, NULL: any. */
bool import_add(struct import *import, const char *path, const char *format, struct error *error);

struct import_summary {
	uint64_t files, files_lost, lines_lost, servers, servers_lost, samples;
};

/* Writes the estate with its report. Nothing at all to write is an error. */
bool import_finish(struct import *import, struct import_summary *summary, struct error *error);

/* What was left out or guessed, one line each, for people; NULL ends. */
const char *import_remark(const struct import *import, size_t index);

#endif
