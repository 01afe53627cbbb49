/* SPDX-License-Identifier: MIT */
/*
 * Signals that end the guest in good order, as events of a descriptor.
 *
 * A signalfd in the event loop would wake the loop's thread for every signal of the process, whoever it is for: the
 * engine's timers send several hundred a second to the vCPUs' threads. So a thread waits for them.
 *
 * Threading: all functions on the thread that runs the event loop.
 */
#ifndef NFOLD_VM_SIGNALS_H
#define NFOLD_VM_SIGNALS_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#include "base/error.h"

struct vm_signals {
	sigset_t set;
	pthread_t thread;
	bool waits;
	bool ends; /* atomic */
	int fd;	   /* an eventfd: readable after a signal */
};

/* Blocks them, before there are threads that could take one. From then on they are kept until somebody waits. */
bool vm_signals_block(struct vm_signals *signals, struct error *error);
bool vm_signals_wait(struct vm_signals *signals, struct error *error);
void vm_signals_end(struct vm_signals *signals);

#endif
