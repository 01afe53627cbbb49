/* SPDX-License-Identifier: MIT */
/* The options of nfoldd: `nfold host start` takes the same. */
#ifndef NFOLD_CONTROL_DAEMON_OPTIONS_H
#define NFOLD_CONTROL_DAEMON_OPTIONS_H

#include "control/options.h"

struct daemon_options {
	const char *log; /* NULL: stays on stderr */
	uint64_t slice_ms;
	const char *metrics; /* where to serve them; NULL: nowhere */
	uint64_t ready_fd;   /* where to write a line once the host serves */
};

extern const struct option daemon_option_table[];

#endif
