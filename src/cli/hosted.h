/* SPDX-License-Identifier: MIT */
/* What the commands that talk to the host share. */
#ifndef NFOLD_CLI_HOSTED_H
#define NFOLD_CLI_HOSTED_H

#include <jansson.h>

#include "base/error.h"

/* Calls a method of the host. Takes over params. ERROR_INPUT: no host runs, or it refused. */
json_t *hosted_call(const char *method, json_t *params, struct error *error);
/* The same for a method that passes a descriptor along. */
json_t *hosted_call_fd(const char *method, json_t *params, int *fd, struct error *error);

/* Whether a host runs. */
bool hosted_runs(void);

/* The host's word on a guest (guest.show), or NULL: no host runs, or it knows no such guest. */
json_t *hosted_show(const char *name);
/* A text of an answer, or "". */
const char *hosted_text(const json_t *answer, const char *key);
/* Whether the host says that the guest has a process. */
bool hosted_is_active(const json_t *shown);

/* As hosted_call, for commands that only want it done: reports errors and returns the exit status. */
int hosted_do(const char *method, json_t *params);

/* Waits for the state that stop and kill end in. Returns the exit status. */
int hosted_wait_stopped(const char *name);

#endif
