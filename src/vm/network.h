/* SPDX-License-Identifier: MIT */
/* What --net asks for, as the machine wants it. */
#ifndef NFOLD_VM_NETWORK_H
#define NFOLD_VM_NETWORK_H

#include "control/guest_options.h"
#include "control/runtime.h"
#include "machine/machine.h"

/* Names that the machine's configuration points to. */
struct vm_networks {
	char name[GUEST_NETS_MAX][sizeof((struct runtime *)0)->path + GUEST_NET_NAME_MAX + 16];
};

/* Fills the configuration's networks; makes the folders of switches. */
bool vm_networks_configure(struct vm_networks *networks, const struct guest_options *options,
			   const struct runtime *runtime, struct machine_config *config, struct error *error);

#endif
