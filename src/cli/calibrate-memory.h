/* SPDX-License-Identifier: MIT */
/* The memory that guests and their host take beyond the guests' own, measured on a host of nfold calibrate's own. */
#ifndef NFOLD_CLI_CALIBRATE_MEMORY_H
#define NFOLD_CLI_CALIBRATE_MEMORY_H

#include <stddef.h>

#include "base/error.h"

struct calibrate_memory {
	double in_use_mib; /* of this machine, before: Linux and all that runs on it */
	double host_mib;   /* nfoldd, and what all guests' processes have in common */
	double guest_mib;  /* one more guest, which has hardly any code */
	double code_mib;   /* for its code, when the engine keeps as much of it as it does */
	double ram_share;  /* for each byte of a guest's memory that it uses */
};

/* The image is the guest's, of calibrate-guest.S. Takes a few seconds, in which signals that end us have to wait. */
bool calibrate_memory_measure(struct calibrate_memory *memory, const char *image, size_t size, struct error *error);

#endif
