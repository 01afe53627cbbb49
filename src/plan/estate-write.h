/* SPDX-License-Identifier: MIT */
/*
 * Writes an estate, one server after another: what stays in memory is a record of 600 bytes for each. The file gets its
 * name at the end, so that a failed import leaves an older one as it was.
 */
#ifndef NFOLD_PLAN_ESTATE_WRITE_H
#define NFOLD_PLAN_ESTATE_WRITE_H

#include "plan/estate.h"

struct estate_writer;

struct estate_writer *estate_writer_create(const char *path, struct error *error);

/* column[series] has server->grid.count values, or is NULL. server->series is not read: the summary is made here. */
bool estate_writer_add(struct estate_writer *writer, const struct estate_server *server,
		       const float *const column[ESTATE_SERIES_COUNT], struct error *error);

/* Both end the writer. report: JSON, or NULL. Two servers of one name are an error. */
bool estate_writer_finish(struct estate_writer *writer, const char *report, struct error *error);
void estate_writer_discard(struct estate_writer *writer); /* NULL: nothing is done */

#endif
