/* SPDX-License-Identifier: MIT */
/* What can be asked of a running guest: the methods of the control protocol. */
#ifndef NFOLD_VM_METHODS_H
#define NFOLD_VM_METHODS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "confine/confine.h"
#include "control/rpc.h"
#include "machine/machine.h"
#include "vm/stats.h"

struct agent;
struct tracer;
struct typist;

struct method_context {
	struct machine *machine;
	const struct machine_config *config;
	const char *engine;
	uint64_t started_ns; /* CLOCK_MONOTONIC */
	int stop_timer;	     /* a timerfd: kills the guest when it expires */
	struct typist *typist;
	struct stats_files stats_files;
	const struct confinement *confinement;
	struct agent *agent;
	struct tracer *tracer;
	/* Of the client whose request is served. */
	bool answers_unread; /* it has not yet read all that was sent to it */
	int answer_fd;	     /* -1, or a descriptor that goes with the answer: the server's from then on */
	struct rpc_later later;
};

extern const struct method_table vm_methods;

#endif
