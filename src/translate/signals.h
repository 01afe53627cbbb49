/* SPDX-License-Identifier: MIT */
/* Host signals that are guest exceptions; see signals.c. */
#ifndef NFOLD_TRANSLATE_SIGNALS_H
#define NFOLD_TRANSLATE_SIGNALS_H

#include "base/error.h"

/* Installs the process's handlers for SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGPROF. Idempotent. */
bool signals_install(struct error *error);

/* The vCPU that the calling thread is attached to, or NULL. */
struct engine_vcpu;
struct engine_vcpu *signals_vcpu(void);

#endif
