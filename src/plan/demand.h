/* SPDX-License-Identifier: MIT */
/*
 * What the fit packs: guests, and for each guest and resource one number for every sample of a common time grid.
 * The numbers are read one series at a time, so that 10,000 guests need not lie in memory as floats.
 */
#ifndef NFOLD_PLAN_DEMAND_H
#define NFOLD_PLAN_DEMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* X(name, key, unit) */
/* clang-format off */
#define RESOURCES(X) \
	X(CPU, "cpu", "MHz") \
	X(MEMORY, "memory", "MiB") \
	X(DISK, "disk", "MB/s") \
	X(IOPS, "iops", "operations/s") \
	X(NET, "net", "Mbit/s")
/* clang-format on */

enum resource {
#define X(name, key, unit) RESOURCE_##name,
	RESOURCES(X)
#undef X
	    RESOURCE_COUNT
};

extern const char *const resource_key[RESOURCE_COUNT];
extern const char *const resource_unit[RESOURCE_COUNT];

#define DEMAND_GUESTS_MAX 100000
#define DEMAND_SAMPLES_MAX 1000000

struct demand {
	unsigned guests, samples;
	const char *const *name; /* of each guest */
	int64_t start;		 /* of the first sample, seconds since 1970 */
	unsigned interval;	 /* seconds */
	/* Writes the samples of one series, each finite and not negative. Called by several threads at once. */
	bool (*read)(const struct demand *demand, unsigned guest, enum resource resource, float *to,
		     struct error *error);
	const void *owner;
};

#endif
