/* SPDX-License-Identifier: MIT */
/* What the commands that talk to a running guest share. */
#ifndef NFOLD_CLI_GUEST_H
#define NFOLD_CLI_GUEST_H

#include <jansson.h>

#include "base/error.h"
#include "control/client.h"

/* Opens the runtime directory for one call. Returns the result (a new reference) or NULL. Takes over params. */
json_t *guest_call(const char *name, const char *method, json_t *params, struct error *error);

/* The same for a method that passes a descriptor along: *fd is it, or -1. */
json_t *guest_call_fd(const char *name, const char *method, json_t *params, int *fd, struct error *error);

/* As guest_call, for commands that only want it done: reports errors and returns the exit status. */
int guest_do(const char *name, const char *method, json_t *params);

/*
 * Ends a guest by SIGKILL and removes what it left. The process is the one that holds the name's lock, checked again
 * after it was pinned by a pidfd, so that a pid that was used again is never hit. True also if the guest ended by
 * itself meanwhile.
 */
bool guest_kill_hard(const struct runtime *runtime, const char *name, int timeout_ms, struct error *error);

/* Waits until nobody holds the name's lock. False when the time is up. */
bool guest_wait_end(const struct runtime *runtime, const char *name, int timeout_ms);

#endif
