/* SPDX-License-Identifier: MIT */
/* How much of the host's processors: amounts and sets, as people write them. */
#ifndef NFOLD_CONTROL_AMOUNT_H
#define NFOLD_CONTROL_AMOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define AMOUNT_PROCESSOR UINT64_C(1000000) /* a whole one */
#define AMOUNT_PROCESSORS_MAX 256

/*
 * "50%" of a processor, "500MHz" or "1.5GHz" of a host whose processors run at clock_hz, or processors: "2", "0.5".
 * In millionths of a processor, rounded to the next. `option` is for the message.
 */
bool amount_read(const char *option, const char *text, uint64_t clock_hz, uint64_t *millionths, struct error *error);

/* What a processor of this host runs at by its maker's word, without boosts. 0: the host does not say. */
uint64_t amount_host_clock(void);

struct processor_set {
	uint64_t word[AMOUNT_PROCESSORS_MAX / 64];
};

/* "0,2-3": numbers and ranges of processors, with commas between. */
bool processor_set_read(const char *option, const char *text, struct processor_set *set, struct error *error);

#endif
