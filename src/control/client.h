/* SPDX-License-Identifier: MIT */
/*
 * The client's side of the control protocol (docs/control-protocol.md): one guest, or the host (whose name is
 * RUNTIME_HOST), one connection, one call at a time.
 *
 * client_call() does all of it at once. Who has other descriptors to look after opens a connection, sends a call, waits
 * for client_fd() to become readable and receives until there is a result.
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

/* The same for a method that passes a descriptor along: *fd is it, the caller's to close, or -1. */
json_t *client_call_fd(const struct runtime *runtime, const char *name, const char *method, json_t *params,
		       int timeout_ms, int *fd, struct error *error);

struct client;

struct client *client_open(const struct runtime *runtime, const char *name, int timeout_ms, struct error *error);
void client_close(struct client *client);
int client_fd(const struct client *client);

/* Takes over params. Fails when the guest does not take the request within the connection's timeout. */
bool client_send(struct client *client, const char *method, json_t *params, struct error *error);

/* The descriptor that came with the last answer, the caller's to close, or -1. */
int client_take_fd(struct client *client);

enum client_state { CLIENT_WAITS, CLIENT_ANSWERED, CLIENT_REFUSED, CLIENT_BROKEN };

/* Reads what is there, without waiting. CLIENT_ANSWERED: *result is a new reference. CLIENT_REFUSED: the guest's
 * answer is an error. CLIENT_BROKEN: the connection is of no use any more. */
enum client_state client_receive(struct client *client, json_t **result, struct error *error);

#endif
