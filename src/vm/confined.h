/* SPDX-License-Identifier: MIT */
/* What the guest's process confines itself to, by its options. */
#ifndef NFOLD_VM_CONFINED_H
#define NFOLD_VM_CONFINED_H

#include <limits.h>

#include "confine/confine.h"
#include "control/guest_options.h"
#include "control/runtime.h"
#include "machine/machine.h"

struct vm_confinement {
	struct confinement confinement;
	bool off, verbose;
	char folder[CONFINE_FOLDERS_MAX][PATH_MAX];
};

/* First in the process: closes what it was not meant to have. */
void vm_confinement_begin(struct vm_confinement *vm, const struct guest_options *options);

/* When the machine's configuration is whole. */
bool vm_confinement_configure(struct vm_confinement *vm, const struct guest_options *options,
			      const struct machine_config *config, const struct runtime *runtime, struct error *error);

/* When all files are open, and there is one thread. Opens the runtime directory anew. */
bool vm_confinement_isolate(struct vm_confinement *vm, struct runtime *runtime, struct error *error);

/* When there are all threads. */
bool vm_confinement_has(const struct vm_confinement *vm, enum confine_part part);
bool vm_confinement_filter(struct vm_confinement *vm, struct error *error);

#endif
