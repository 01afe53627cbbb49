/* SPDX-License-Identifier: MIT */
/* Which columns of a table mean something: for each, the server and channel that it is a part of. */
#ifndef NFOLD_PLAN_USES_H
#define NFOLD_PLAN_USES_H

#include "plan/parse.h"

struct use {
	size_t column, server;
	unsigned channel; /* or COLLECT_CHANNEL_COUNT + an attribute */
	unsigned rank;	  /* of several sources of a channel those of the lowest rank are used */
	bool mean;	  /* several columns are averaged, not summed */
	double factor;
	double highest; /* the channel's value is capped here; 0: not */
};

struct uses {
	struct use *use;
	size_t count, room;
};

bool uses_add(struct uses *uses, const struct use *use, struct error *error);
void uses_destroy(struct uses *uses);
/* All are known: sorts them by server and keeps the best. */
void uses_settle(struct uses *uses);

/* Adds one sample for each server. time: of the row. False: give up. */
bool uses_row(const struct uses *uses, struct parse *parse, const struct rows *rows, bool comma, int64_t time_ms,
	      struct error *error);
void uses_note(const struct uses *uses, struct parse *parse, enum estate_note note);

#endif
