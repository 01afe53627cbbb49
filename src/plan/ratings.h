/* SPDX-License-Identifier: MIT */
/*
 * A table of benchmark ratings: what a processor of a model does, by any benchmark, such as SPEC CPU rate divided by
 * the processors. Patterns are those of the shell, without regard to case; the first that matches counts.
 */
#ifndef NFOLD_PLAN_RATINGS_H
#define NFOLD_PLAN_RATINGS_H

#include "plan/estate.h"

#define RATING_MAX 1e9

struct ratings;

/* A table with the columns `rating`, and `model` or `server` or both; a row has one of them. */
struct ratings *ratings_load(const char *path, struct error *error);
void ratings_free(struct ratings *ratings); /* NULL: nothing is done */

/* Of one processor; 0: no row matches. */
double ratings_of_model(const struct ratings *ratings, const char *model);
double ratings_of_server(const struct ratings *ratings, const char *server);

/*
 * What each server can do, in MHz of a processor that does `mhz_of_one` MHz for each unit of rating. A server's rating
 * is its row's in the table (`ratings` may be NULL), else that of the estate. The caller frees the array. NULL: a
 * server has none.
 */
double *ratings_servers(const struct ratings *ratings, const struct estate *estate, double mhz_of_one,
			struct error *error);

#endif
