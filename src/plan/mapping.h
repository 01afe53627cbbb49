/* SPDX-License-Identifier: MIT */
/*
 * What the columns of any table mean, as a small file says it: lines of "key = value", "#" begins a comment.
 *
 *	time = Timestamp [ms]		the column with the time
 *	time_format = auto		auto: seconds or milliseconds since 1970, or 2026-11-23 18:05:24; or as strptime
 *has it timezone = +01:00		of times that do not say server = Host			the column with the
 *server's name; without it a file is one server's interval = Seconds		the column with the length of a sample
 *	separator = ;			comma, semicolon or "tab"; without it found out
 *	cpu_mhz = CPU usage [MHZ]	what is measured: the name of a series, or of what it can be made of
 *	disk_read = counter Bytes read * 512		a running total; counter32, counter64: where it wraps
 *	cpus = CPU cores		what the server is: cpus, mhz, capacity_mhz, installed, rating
 *
 * A column is given by its name; "*" in it stands for anything, and several columns are added up.
 */
#ifndef NFOLD_PLAN_MAPPING_H
#define NFOLD_PLAN_MAPPING_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "plan/collect.h"

#define MAPPING_TEXT_MAX 160u
#define MAPPING_ITEMS_MAX 64u

/* Beside channels and attributes. */
enum { MAPPING_CAPACITY_MHZ = COLLECT_CHANNEL_COUNT + COLLECT_ATTRIBUTE_COUNT, MAPPING_TARGET_COUNT };

struct mapping_item {
	unsigned target; /* a channel; COLLECT_CHANNEL_COUNT + an attribute; or MAPPING_CAPACITY_MHZ */
	char column[MAPPING_TEXT_MAX];
	double factor;
	bool counter;
	unsigned bits; /* of a counter; 0: found out */
	unsigned line; /* in the mapping file */
};

struct mapping {
	char time[MAPPING_TEXT_MAX], time_format[MAPPING_TEXT_MAX], server[MAPPING_TEXT_MAX],
	    interval[MAPPING_TEXT_MAX];
	char separator; /* 0: found out */
	bool zone_given;
	int32_t zone;
	struct mapping_item item[MAPPING_ITEMS_MAX];
	size_t count;
};

/* `name` is for messages. */
bool mapping_read(const char *text, size_t length, const char *name, struct mapping *mapping, struct error *error);
bool mapping_load(const char *path, struct mapping *mapping, struct error *error);

/* True if a column of this name is meant. */
bool mapping_fits(const char *pattern, const char *column);

#endif
