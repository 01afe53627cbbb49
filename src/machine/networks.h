/* SPDX-License-Identifier: MIT */
/* The networks that a machine's adapters are connected to. */
#ifndef NFOLD_MACHINE_NETWORKS_H
#define NFOLD_MACHINE_NETWORKS_H

#include "ledger/ledger.h"
#include "machine/machine.h"

struct networks {
	struct network *network[MACHINE_MAX_NETWORKS]; /* in the order of the configuration */
	unsigned count;
};

/* Opens them all, and has them count in the ledger. Nothing stays open on failure. */
bool networks_open(struct networks *networks, const struct machine_config *config, const struct network_host *host,
		   struct ledger *ledger, struct error *error);
bool networks_start(struct networks *networks, struct error *error);
/* Before the board goes: no frame comes after it. */
void networks_stop(struct networks *networks);
void networks_close(struct networks *networks);

#endif
