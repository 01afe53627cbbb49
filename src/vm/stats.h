/* SPDX-License-Identifier: MIT */
/* The ledger and the process's memory as JSON. The fields are documented in docs/control-protocol.md. */
#ifndef NFOLD_VM_STATS_H
#define NFOLD_VM_STATS_H

#include <jansson.h>

#include "machine/machine.h"

/* A new reference, or NULL when out of memory. */
json_t *stats_json(const struct machine *machine, const struct machine_config *config);

#endif
