/* SPDX-License-Identifier: MIT */
/* Numbers and times as text, whatever the locale they were written in; the process's own locale plays no part. */
#ifndef NFOLD_PLAN_VALUE_H
#define NFOLD_PLAN_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum value_result { VALUE_NUMBER, VALUE_MISSING, VALUE_BAD };

/*
 * 12, -1.5, 1e3, and with `comma` 12,5 too. Missing: nothing, "-", and the ways of programs to say that there is no
 * number (NaN, N/A, null, -1.#IND).
 */
enum value_result value_read(const char *text, size_t length, bool comma, double *value);

/* A time, and whether the text says of which zone; if not, it is as if it were UTC. */
struct value_time {
	int64_t ms; /* since 1970 UTC */
	bool zoned;
};

/* 2026-11-23 18:05:24.123 UTC, with T, Z, +01:00 or without a zone; and 11/23/2026 18:05:24.123 as PDH writes it. */
bool value_time_read(const char *text, struct value_time *time);
/* Seconds since 1970, or milliseconds if there are too many of them. */
bool value_epoch_read(const char *text, size_t length, struct value_time *time);
/* As strptime in the C locale has it; %z makes it zoned. */
bool value_time_format(const char *text, const char *format, struct value_time *time);

/* "UTC", "+01:00", "-0530": seconds to add to UTC. */
bool value_zone_read(const char *text, int32_t *seconds);

#endif
