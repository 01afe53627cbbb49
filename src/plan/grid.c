/* SPDX-License-Identifier: MIT */
#include "plan/grid.h"

#include <math.h>

bool grid_valid(const struct estate_grid *grid)
{
	return grid->interval >= 1 && grid->interval <= ESTATE_INTERVAL_MAX && grid->count <= ESTATE_COUNT_MAX &&
	       grid->start >= -ESTATE_START_MAX && grid->start <= ESTATE_START_MAX;
}

int64_t divide_down(int64_t dividend, int64_t divisor)
{
	int64_t quotient = dividend / divisor;
	return quotient - (dividend % divisor < 0);
}

/* The first slot whose middle is not before `time`: twice all times, so that middles are whole numbers. */
static int64_t first_middle_from(const struct estate_grid *grid, int64_t time)
{
	int64_t interval = grid->interval;
	return divide_down(2 * (time - grid->start) - interval + 2 * interval - 1, 2 * interval);
}

static int64_t clamp(int64_t value, int64_t highest)
{
	return value < 0 ? 0 : value > highest ? highest : value;
}

static float aggregate_slots(const float *value, int64_t from, int64_t to, enum estate_aggregate aggregate)
{
	double sum = 0;
	float maximum = -INFINITY;
	int64_t present = 0;
	for (int64_t k = from; k < to; k++) {
		if (isnan(value[k]))
			continue;
		present++;
		sum += (double)value[k];
		maximum = value[k] > maximum ? value[k] : maximum;
	}
	if (present == 0)
		return NAN;
	return aggregate == ESTATE_MAXIMUM ? maximum : (float)(sum / (double)present);
}

void grid_resample(const struct estate_grid *from, const float *value, const struct estate_grid *to,
		   enum estate_aggregate aggregate, float *out)
{
	int64_t count = (int64_t)from->count;
	for (uint64_t j = 0; j < to->count; j++) {
		int64_t begin = to->start + (int64_t)j * to->interval;
		int64_t first = first_middle_from(from, begin);
		int64_t end = first_middle_from(from, begin + to->interval);
		if (first == end) {
			int64_t holder =
			    divide_down(2 * (begin - from->start) + to->interval, 2 * (int64_t)from->interval);
			out[j] = holder >= 0 && holder < count ? value[holder] : NAN;
		} else {
			out[j] = aggregate_slots(value, clamp(first, count), clamp(end, count), aggregate);
		}
	}
}
