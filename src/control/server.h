/* SPDX-License-Identifier: MIT */
/*
 * The control socket: JSON-RPC 2.0 over a Unix stream socket, one message a line (docs/control-protocol.md).
 *
 * Theory of operation. Everything happens on the program's event loop, one request in a turn, so that its
 * timers wait for one request at most; and nothing in here ever waits. A client
 * has one buffer for a request that has not ended and one for answers it has not read. While answers wait, the client
 * is not read, and neither is it while its request is answered later: a slow client stops itself and costs at most
 * SERVER_REQUEST_MAX plus one request's answers. A line that does not end is answered with an error and the connection
 * closed. When all places are taken, a new client replaces the one that has been silent for longest, so that clients
 * that connect and say nothing cannot lock the owner out.
 */
#ifndef NFOLD_CONTROL_SERVER_H
#define NFOLD_CONTROL_SERVER_H

#include <stdint.h>
#include <sys/un.h>

#include "base/error.h"
#include "control/rpc.h"

#define SERVER_CLIENTS_MAX 16
#define SERVER_REQUEST_MAX (64u << 10)

struct server;

/* Binds and listens at once, so that nobody else gets the address; answers nothing before server_start. */
struct server *server_create(const struct sockaddr_un *address, struct error *error);
void server_destroy(struct server *server);

/* The program's event loop: calls the function with `with`, the descriptor and epoll's events. */
typedef void server_ready_function(void *with, int fd, uint32_t events);
struct server_loop {
	void *opaque;
	bool (*watch)(void *opaque, int fd, uint32_t events, server_ready_function *function, void *with,
		      struct error *error);
	void (*unwatch)(void *opaque, int fd);
};

/* What is served, and what methods learn and say of the client whose request it is. */
struct server_service {
	const struct method_table *methods;
	struct method_context *context;
	bool *answers_unread;	 /* it has not yet read all that was sent to it */
	int *answer_fd;		 /* -1, or a descriptor that goes with the answer: the server's from then on */
	struct rpc_later *later; /* NULL: every method answers at once */
	bool own_users;		 /* the process has a user namespace of its own */
};

/* Answers the request that had the ticket, later: takes over the result; NULL: the error. Nothing happens where its
 * client has gone. */
void server_answer_later(struct server *server, uint64_t ticket, json_t *result, const struct method_error *error);

/* Joins the event loop. */
bool server_start(struct server *server, const struct server_loop *loop, const struct server_service *service,
		  struct error *error);

#endif
