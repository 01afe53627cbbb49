/* SPDX-License-Identifier: MIT */
/*
 * Serves GET /metrics over HTTP. It has no thread of its own: whoever wants one gives it one, for metrics_server_run().
 * No client holds up another: descriptors do not block, and a client that is silent for long is dropped. Each scrape
 * takes a reading, which may wait some hundred milliseconds for a guest that does not answer. The format is what the
 * Accept header asks for.
 */
#ifndef NFOLD_MONITOR_METRICS_SERVER_H
#define NFOLD_MONITOR_METRICS_SERVER_H

#include "base/error.h"
#include "monitor/listen.h"
#include "monitor/metrics.h"
#include "monitor/monitor.h"

struct metrics_server;

/* `where` as listen_parse() reads it. */
struct metrics_server *metrics_server_create(struct monitor *monitor, const struct metrics_more *more,
					     const char *where, struct error *error);
void metrics_server_destroy(struct metrics_server *server);

/* Where it is found. */
const char *metrics_server_url(const struct metrics_server *server);

/* Serves until there is something to read from `end_fd`. */
bool metrics_server_run(struct metrics_server *server, int end_fd, struct error *error);

#endif
