/* SPDX-License-Identifier: MIT */
/* The frequency of the host's TSC, measured. */
#ifndef NFOLD_BASE_TSC_H
#define NFOLD_BASE_TSC_H

#include <stdint.h>
#include <time.h>

/* In Hz, by one of Linux's clocks: CLOCK_MONOTONIC_RAW, or CLOCK_MONOTONIC with what NTP makes of it. Takes 3 ms, good
 * to a few millionths on a machine that does nothing else. Any thread. */
uint64_t tsc_measure_hz(clockid_t clock);

#endif
