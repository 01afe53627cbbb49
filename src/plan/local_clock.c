/* SPDX-License-Identifier: MIT */
#include "plan/local_clock.h"

#include "plan/grid.h"

#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)

static bool is_hour_of_steps(int64_t local_ms)
{
	int64_t day = divide_down(local_ms, DAY_MS);
	int64_t weekday = day + 4 - divide_down(day + 4, 7) * 7; /* 1970-01-01 was a Thursday; 0: Sunday */
	return (weekday == 0 || weekday >= 5) && local_ms - day * DAY_MS < 5 * HOUR_MS;
}

static bool is_usual(int64_t distance, int64_t interval)
{
	return 2 * distance > interval && 2 * distance < 3 * interval;
}

int64_t local_clock_time(struct local_clock *clock, int64_t local_ms, bool *stepped)
{
	int64_t distance = local_ms - clock->last_ms;
	*stepped = false;
	if (clock->started && clock->interval_ms > 0 && 2 * clock->interval_ms <= HOUR_MS &&
	    is_hour_of_steps(local_ms)) {
		int64_t step = distance < 0 ? HOUR_MS : -HOUR_MS;
		*stepped = is_usual(distance + step, clock->interval_ms);
		clock->offset_ms += *stepped ? step : 0;
		distance += *stepped ? step : 0;
	}
	if (clock->started && distance > 0)
		clock->interval_ms = distance;
	clock->started = true;
	clock->last_ms = local_ms;
	return local_ms + clock->offset_ms;
}
