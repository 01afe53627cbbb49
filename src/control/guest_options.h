/* SPDX-License-Identifier: MIT */
/*
 * The options that describe a guest: one table for `nfold run`, which checks them and names the guest, and `nfold-vm`,
 * which gets the same words on its own command line.
 */
#ifndef NFOLD_CONTROL_GUEST_OPTIONS_H
#define NFOLD_CONTROL_GUEST_OPTIONS_H

#include "control/options.h"

struct guest_options {
	const char *name;
	uint64_t memory;
	uint64_t cpus;
	const char *kernel;
	const char *initrd;
	const char *append;
	struct option_list module;
	const char *serial;
	bool no_reboot;
	uint64_t debug_exit; /* OPTION_UNSET: none */
	const char *engine;
	const char *cpu;
	bool verbose;
	/* Between nfold and nfold-vm only. */
	bool name_free;	      /* `name` is a stem: take the first free of NAME, NAME-2, NAME-3 ... */
	uint64_t ready_fd;    /* where to write the name once the guest is ready to run */
	uint64_t terminal_fd; /* a terminal whose modes to restore should the parent die */
};

extern const struct option guest_option_table[];

/* What can be judged from the words alone and the size of the host. The files are judged where they are opened. */
bool guest_options_check(const struct guest_options *options, struct error *error);

#endif
