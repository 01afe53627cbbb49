/* SPDX-License-Identifier: MIT */
/*
 * Commands for the QEMU guest agent, which runs inside the guest and listens on a port of its virtio console.
 *
 * Theory of operation. Calls wait in a queue; one at a time has the channel. It begins with a synchronization
 * (agent-wire.h), sends its command and gets one answer, all on the machine's event loop and never waiting in it.
 * Each call has a time limit, its wait in the queue included. One that is over, or whose caller has gone, leaves the
 * channel as it is: the next synchronization skips what still comes.
 *
 * Frozen file systems stop the guest's programs sooner or later, and whoever froze them may forget it or die. So each
 * freeze has a time limit, after which they are thawed from here, again and again until the agent has done it.
 *
 * Threading: the event loop's thread, without the device lock.
 */
#ifndef NFOLD_VM_AGENT_H
#define NFOLD_VM_AGENT_H

#include <jansson.h>
#include <stdint.h>

#include "control/rpc.h"
#include "machine/machine.h"

#define AGENT_CALLS_MAX 16
#define AGENT_TIMEOUT_DEFAULT 10
#define AGENT_TIMEOUT_MAX 3600
#define AGENT_THAW_DEFAULT 60

struct agent;

struct agent_request {
	const char *command;
	json_t *arguments;   /* or NULL; stays the caller's */
	unsigned timeout;    /* seconds */
	unsigned thaw_after; /* seconds, of a freeze */
};

/* What becomes of calls, by the number that they were given: a result (taken over), or NULL and an error. */
typedef void agent_answer_function(void *opaque, uint64_t ticket, json_t *result, const struct method_error *error);

struct agent *agent_create(struct machine *machine, agent_answer_function *answer, void *opaque, struct error *error);
void agent_destroy(struct agent *agent);

/* False with *error filled: it is not even tried. Else the answer comes later, never from within. */
bool agent_call(struct agent *agent, const struct agent_request *request, uint64_t ticket, struct method_error *error);

#endif
