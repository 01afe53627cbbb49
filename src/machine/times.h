/* SPDX-License-Identifier: MIT */
/*
 * What the ledger says of processors' time, for the guest's port (devices/cputimes.h).
 *
 * The figures are the settled clocks alone: those sum to the time until the settlement, and none of them goes back. A
 * vCPU that was settled more than a millisecond ago is settled first, so that what a guest is told is no older, and one
 * that asks without end costs a settlement of each vCPU a millisecond.
 */
#ifndef NFOLD_MACHINE_TIMES_H
#define NFOLD_MACHINE_TIMES_H

#include "devices/cputimes.h"

/* `opaque` is the machine, which runs. A cputimes_function. */
void machine_processor_times(void *opaque, uint32_t processor, struct cputimes_figures *figures);

#endif
