/* SPDX-License-Identifier: MIT */
/* Values on one grid put on another, by the rule of estate_read. */
#ifndef NFOLD_PLAN_GRID_H
#define NFOLD_PLAN_GRID_H

#include "plan/estate.h"

/* True if all of the grid's times can be computed with without overflow. */
bool grid_valid(const struct estate_grid *grid);

/* The quotient rounded down; divisor > 0. */
int64_t divide_down(int64_t dividend, int64_t divisor);

void grid_resample(const struct estate_grid *from, const float *value, const struct estate_grid *to,
		   enum estate_aggregate aggregate, float *out);

#endif
