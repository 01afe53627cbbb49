/* SPDX-License-Identifier: MIT */
/*
 * The control socket: JSON-RPC 2.0 over a Unix stream socket, one message a line (docs/control-protocol.md).
 *
 * Theory of operation. Everything happens on the machine's event loop, one request in a turn, so that the guest's
 * timers wait for one request at most; and nothing in here ever waits. A client
 * has one buffer for a request that has not ended and one for answers it has not read. While answers wait, the client
 * is not read: a slow client stops itself and costs at most SERVER_REQUEST_MAX plus one request's answers. A line that
 * does not end is answered with an error and the connection closed. When all places are taken, a new client replaces
 * the one that has been silent for longest, so that clients that connect and say nothing cannot lock the owner out.
 */
#ifndef NFOLD_VM_SERVER_H
#define NFOLD_VM_SERVER_H

#include <stdint.h>
#include <sys/un.h>

#include "base/error.h"
#include "machine/machine.h"
#include "vm/methods.h"

#define SERVER_CLIENTS_MAX 16
#define SERVER_REQUEST_MAX (64u << 10)

struct server;

/* Binds and listens at once, so that nobody else gets the address; answers nothing before server_start. */
struct server *server_create(const struct sockaddr_un *address, struct error *error);
void server_destroy(struct server *server);

/* Joins the machine's event loop. The context is what methods act on. */
bool server_start(struct server *server, struct machine *machine, struct method_context *context, struct error *error);

#endif
