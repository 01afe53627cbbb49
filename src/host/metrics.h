/* SPDX-License-Identifier: MIT */
/*
 * nfoldd's /metrics: what `nfold metrics` serves, and what lending processors costs.
 *
 * It has a thread of its own, which shares nothing with the event loop but the dispatcher's figures: a scraper that
 * reads slowly and a guest that does not answer hold up neither the loop nor the dispatcher.
 */
#ifndef NFOLD_HOST_METRICS_H
#define NFOLD_HOST_METRICS_H

#include "base/error.h"
#include "host/dispatcher.h"

struct host_metrics;

/* `where` as monitor/listen.h reads it. */
struct host_metrics *host_metrics_create(const char *where, struct dispatcher *dispatcher, struct error *error);
void host_metrics_destroy(struct host_metrics *metrics); /* before the dispatcher */
/* Where it is found; NULL of NULL. */
const char *host_metrics_url(const struct host_metrics *metrics);

#endif
