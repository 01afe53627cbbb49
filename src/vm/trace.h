/* SPDX-License-Identifier: MIT */
/*
 * The method guest.trace: events for who asks (ledger/events.h).
 *
 * Theory of operation. As with profiles (vm/profile.h) there is no start and no end: a call asks for kinds of events
 * for some time from now on, and who wants more asks again before it is over. So several clients trace at once, and
 * when the last one goes away, tracing ends by itself. The events are read from the ring's memory, whose descriptor an
 * answer passes along if it is asked to; nothing of them goes through this process's event loop.
 */
#ifndef NFOLD_VM_TRACE_H
#define NFOLD_VM_TRACE_H

#include "vm/methods.h"

struct tracer;

/* Joins the machine's event loop. Lives as long as it. */
struct tracer *tracer_create(struct machine *machine, struct error *error);
void tracer_destroy(struct tracer *tracer);

json_t *guest_trace(struct method_context *context, json_t *params, struct method_error *error);

#endif
