/* SPDX-License-Identifier: MIT */
/* Inside import.h: for import.c and import-report.c alone. */
#ifndef NFOLD_PLAN_IMPORT_IMPL_H
#define NFOLD_PLAN_IMPORT_IMPL_H

#include <jansson.h>

#include "plan/collect.h"
#include "plan/import.h"
#include "plan/mapping.h"
#include "plan/parse.h"

struct import {
	struct import_options options;
	struct collector *collector;
	struct estate_writer *writer;
	struct mapping mapping;
	int32_t zone;
	struct import_summary summary;
	json_t *files, *lost, *remarks; /* of the report: objects, objects, texts */
};

/* A table of servers: name, cpus, mhz, memory, rating, model, clock_offset. */
bool import_attributes(struct import *import, const char *path, struct error *error);

/* What was met on the way; `what` is a file or a server. */
void import_remark_add(struct import *import, const char *what, const char *text);
void import_file_done(struct import *import, const struct parse *parse, const char *format, uint64_t samples);
void import_file_lost(struct import *import, const char *path, const char *text);
void import_server_lost(struct import *import, const char *name, const char *text);

/* The report as JSON text; the caller frees it. NULL: out of memory. */
char *import_report(const struct import *import);

#endif
