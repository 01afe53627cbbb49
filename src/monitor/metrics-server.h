/* SPDX-License-Identifier: MIT */
/*
 * Serves GET /metrics over HTTP. It has no thread of its own: its owner waits for the descriptor, for no longer than
 * the server says, and lets it serve. Each scrape takes a reading. The format is what the Accept header asks for.
 */
#ifndef NFOLD_MONITOR_METRICS_SERVER_H
#define NFOLD_MONITOR_METRICS_SERVER_H

#include "base/error.h"
#include "monitor/monitor.h"

struct metrics_server;

/* On 127.0.0.1. Port 0: any free one. */
struct metrics_server *metrics_server_create(struct monitor *monitor, unsigned port, struct error *error);
void metrics_server_destroy(struct metrics_server *server);
unsigned metrics_server_port(const struct metrics_server *server);

/* To be polled for input. */
int metrics_server_fd(const struct metrics_server *server);
/* Milliseconds until it must serve in any case; -1: no limit. */
int metrics_server_timeout(const struct metrics_server *server);
/* Never waits for a client. */
void metrics_server_serve(struct metrics_server *server);

#endif
