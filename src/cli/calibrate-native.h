/* SPDX-License-Identifier: MIT */
/* What nfold calibrate measures on the machine itself, without a guest: nanoseconds of processor time for one of each.
 */
#ifndef NFOLD_CLI_CALIBRATE_NATIVE_H
#define NFOLD_CLI_CALIBRATE_NATIVE_H

#include <stdbool.h>
#include <stdint.h>

#define CALIBRATE_NATIVE_COUNT 5

struct calibrate_native {
	const char *key, *what;
	double (*measure)(uint64_t count); /* negative: the host refused something */
	uint64_t count;			   /* that takes some milliseconds */
};

/* compute: a round of the guest's loop; syscall; fault; cycle: of the processor's clock; interrupt.
 * In this order. */
extern const struct calibrate_native calibrate_native[CALIBRATE_NATIVE_COUNT];

#endif
