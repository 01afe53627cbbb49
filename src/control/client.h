/* SPDX-License-Identifier: MIT */
/* The client's side of the control protocol (docs/control-protocol.md): one guest, one connection, one call at a time.
 */
#ifndef NFOLD_CONTROL_CLIENT_H
#define NFOLD_CONTROL_CLIENT_H

#include <jansson.h>

#include "base/error.h"
#include "control/runtime.h"

#define CLIENT_TIMEOUT_MS 5000

/*
 * Calls a method of the guest `name` and returns its result (a new reference), or NULL. Takes over the reference to
 * params, which may be NULL. Nothing takes longer than timeout_ms. ERROR_INPUT: there is no such guest, or it refused;
 * ERROR_HOST: it did not answer.
 */
json_t *client_call(const struct runtime *runtime, const char *name, const char *method, json_t *params, int timeout_ms,
		    struct error *error);

#endif
