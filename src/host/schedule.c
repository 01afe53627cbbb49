/* SPDX-License-Identifier: MIT */
/*
 * A guest's processors. When it runs it is asked for its page of run tokens and its doorbell, one after the other, and
 * the dispatcher lends it processors from then on. A guest that does not answer, or whose definition does not fit
 * beside the others any more, runs unscheduled, and says so.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/report.h"
#include "host/host.h"

static void to_policy(const struct host_policy *host, unsigned vcpus, struct sched_guest_policy *policy)
{
	static const enum sched_coscheduling modes[] = {[COSCHEDULING_NONE] = SCHED_CO_NONE,
							[COSCHEDULING_RELAXED] = SCHED_CO_RELAXED,
							[COSCHEDULING_STRICT] = SCHED_CO_STRICT};
	_Static_assert(sizeof policy->affinity == sizeof host->affinity, "both hold the same processors");
	*policy = (struct sched_guest_policy){.vcpus = vcpus,
					      .shares = host->shares,
					      .reservation = host->reservation,
					      .limit = host->limit,
					      .dedicated = host->dedicated,
					      .coscheduling = modes[host->coscheduling],
					      .skew_ns = host->skew_ns,
					      .blind = !host->idle_detection};
	memcpy(&policy->affinity, &host->affinity, sizeof policy->affinity);
}

bool guest_admitted(const struct guest *guest, struct error *error)
{
	struct sched_guest_policy policy;
	if (guest->host->dispatcher == NULL)
		return true;
	to_policy(&guest->policy, (unsigned)guest->definition.options.guest.cpus, &policy);
	return dispatcher_admits(guest->host->dispatcher, &policy, error);
}

bool guest_reschedule(struct guest *guest, const struct host_policy *to, struct error *error)
{
	struct sched_guest_policy policy;
	if (guest->dispatched == NULL)
		return true;
	to_policy(to, guest->scheduled_cpus, &policy);
	return dispatcher_change(guest->dispatched, &policy, error);
}

static void runs_unscheduled(struct guest *guest, const char *why)
{
	(void)snprintf(guest->unscheduled, sizeof guest->unscheduled, "%s", why);
	report_line("guest '%s' runs unscheduled: %s", guest->name, why);
}

static void drop_tokens(struct guest *guest)
{
	if (guest->token_fd >= 0)
		close(guest->token_fd);
	guest->token_fd = -1;
}

static int answer_fd(struct guest *guest, enum client_state state, const struct error *error)
{
	int fd = guest->passed_fd;
	guest->passed_fd = -1;
	if (state == CLIENT_ANSWERED && fd >= 0)
		return fd;
	runs_unscheduled(guest, state == CLIENT_ANSWERED ? "it passed no descriptor" : error->text);
	if (fd >= 0)
		close(fd);
	return -1;
}

/* The process is the guest's: its pidfd is open, and it has just answered. */
static int open_tasks(const struct guest *guest)
{
	char path[64];
	(void)snprintf(path, sizeof path, "/proc/%ld/task", (long)guest->pid);
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void doorbell_came(struct guest *guest, enum client_state state, json_t *result, const struct error *error)
{
	struct sched_guest_policy policy;
	struct error refused = {0};
	int tokens = guest->token_fd, doorbell = answer_fd(guest, state, error);
	json_int_t cpus = json_integer_value(json_object_get(result, "cpus"));
	if (doorbell < 0 || guest->dispatched != NULL || cpus < 1 || cpus > SCHED_VCPUS_MAX) {
		drop_tokens(guest);
		if (doorbell >= 0)
			close(doorbell);
		return;
	}
	guest->token_fd = -1;
	guest->scheduled_cpus = (unsigned)cpus;
	to_policy(&guest->policy, guest->scheduled_cpus, &policy);
	guest->dispatched = dispatcher_add(guest->host->dispatcher, guest->name, tokens, doorbell, open_tasks(guest),
					   &policy, &refused);
	if (guest->dispatched == NULL)
		runs_unscheduled(guest, refused.text);
}

static void tokens_came(struct guest *guest, enum client_state state, json_t *result, const struct error *error)
{
	struct error refused = {0};
	(void)result;
	drop_tokens(guest);
	guest->token_fd = answer_fd(guest, state, error);
	if (guest->token_fd >= 0 &&
	    !guest_ask(guest, "guest.schedule", json_pack("{s:s}", "pass", "doorbell"), doorbell_came, &refused))
		runs_unscheduled(guest, refused.text);
}

void guest_schedule(struct guest *guest)
{
	struct error refused = {0};
	guest->unscheduled[0] = '\0';
	if (guest->host->dispatcher != NULL &&
	    !guest_ask(guest, "guest.schedule", json_pack("{s:s}", "pass", "tokens"), tokens_came, &refused))
		runs_unscheduled(guest, refused.text);
}

void guest_unschedule(struct guest *guest)
{
	drop_tokens(guest);
	if (guest->dispatched != NULL)
		dispatcher_remove(guest->dispatched);
	guest->dispatched = NULL;
}
