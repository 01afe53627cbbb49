/* SPDX-License-Identifier: MIT */
/* What a definition says to the host about its guest. */
#include <assert.h>
#include <string.h>

#include "control/definition.h"

#define SHARES_MAX 1000000
#define SKEW_MAX_MS 1000
#define ORDER_MAX 1000000
#define STOP_TIMEOUT_MAX 86400

static const char *const coscheduling_names[] = {
    [COSCHEDULING_NONE] = "none", [COSCHEDULING_RELAXED] = "relaxed", [COSCHEDULING_STRICT] = "strict", NULL};
static const char *const restart_names[] = {
    [RESTART_NEVER] = "never", [RESTART_ON_FAILURE] = "on-failure", [RESTART_ALWAYS] = "always", NULL};
static const char *const on_off[] = {"on", "off", NULL};

#define FIELD(field) .offset = offsetof(struct definition_options, field)

/* struct definition_options begins with struct guest_options, so that both tables fill it. */
_Static_assert(offsetof(struct definition_options, guest) == 0, "offsets of guest_option_table hold");

const struct option definition_option_table[] = {
    {"shares", "N", "1000", "share of the processors, beside those of the other guests", .kind = OPTION_NUMBER,
     .minimum = 1, .maximum = SHARES_MAX, FIELD(host.shares)},
    {"reservation", "AMOUNT", NULL,
     "what the guest gets of the processors whenever it wants it: 50% of one, 500MHz, or processors as in 0.5",
     .kind = OPTION_TEXT, FIELD(host.reservation)},
    {"limit", "AMOUNT", NULL, "what the guest never gets more of, as in --reservation", .kind = OPTION_TEXT,
     FIELD(host.limit)},
    {"affinity", "PROCESSORS", NULL, "the processors that it may run on, as in 0,2-3 (default: all)",
     .kind = OPTION_TEXT, FIELD(host.affinity)},
    {"dedicated", NULL, NULL, "a processor for each virtual one, that no other guest gets", .kind = OPTION_FLAG,
     FIELD(host.dedicated)},
    {"coscheduling", "HOW", "relaxed",
     "whether the virtual processors run together: none, relaxed (one may be ahead of the others by --skew) or strict",
     .kind = OPTION_CHOICE, .choices = coscheduling_names, FIELD(host.coscheduling)},
    {"skew", "MILLISECONDS", "3", "how far a virtual processor may be ahead of the others", .kind = OPTION_NUMBER,
     .minimum = 1, .maximum = SKEW_MAX_MS, FIELD(host.skew_ms)},
    {"idle-detection", "on|off", "on", "whether a virtual processor with nothing to do gives its processor back",
     .kind = OPTION_CHOICE, .choices = on_off, FIELD(host.idle_detection)},
    {"autostart", NULL, NULL, "start it with the host", .kind = OPTION_FLAG, FIELD(host.autostart)},
    {"start-order", "N", "0", "guests with a lower number start before those with a higher one", .kind = OPTION_NUMBER,
     .maximum = ORDER_MAX, FIELD(host.start_order)},
    {"restart", "WHEN", "never", "start it again when it has ended by itself: never, on-failure or always",
     .kind = OPTION_CHOICE, .choices = restart_names, FIELD(host.restart)},
    {"stop-timeout", "SECONDS", "60", "how long 'nfold stop' waits for it to power off before it is killed",
     .kind = OPTION_NUMBER, .maximum = STOP_TIMEOUT_MAX, FIELD(host.stop_timeout)},
    {.more = guest_option_table},
};

/* The option parser took one of them. */
static unsigned choice_index(const char *const *names, const char *text)
{
	unsigned i = 0;
	while (names[i] != NULL && strcmp(names[i], text) != 0)
		i++;
	assert(names[i] != NULL);
	return i;
}

static bool amounts_check(const struct host_options *host, uint64_t cpus, struct host_policy *policy,
			  struct error *error)
{
	uint64_t clock = amount_host_clock();
	if (host->reservation != NULL &&
	    !amount_read("reservation", host->reservation, clock, &policy->reservation, error))
		return false;
	if (host->limit != NULL && !amount_read("limit", host->limit, clock, &policy->limit, error))
		return false;
	if (host->limit != NULL && policy->limit == 0)
		return error_set(error, ERROR_INPUT, "--limit %s: with nothing at all it cannot run", host->limit);
	if (policy->reservation > cpus * AMOUNT_PROCESSOR)
		return error_set(error, ERROR_INPUT, "--reservation %s: more than its %llu virtual processors can use",
				 host->reservation, (unsigned long long)cpus);
	if (policy->limit != 0 && policy->reservation > policy->limit)
		return error_set(error, ERROR_INPUT, "--reservation %s: more than its --limit %s", host->reservation,
				 host->limit);
	return true;
}

bool host_options_check(const struct definition_options *options, struct host_policy *policy, struct error *error)
{
	const struct host_options *host = &options->host;
	*policy = (struct host_policy){
	    .shares = (uint32_t)host->shares,
	    .dedicated = host->dedicated,
	    .idle_detection = strcmp(host->idle_detection, "on") == 0,
	    .coscheduling = (enum definition_coscheduling)choice_index(coscheduling_names, host->coscheduling),
	    .skew_ns = host->skew_ms * 1000000u,
	    .restart = (enum definition_restart)choice_index(restart_names, host->restart),
	};
	return amounts_check(host, options->guest.cpus, policy, error) &&
	       (host->affinity == NULL || processor_set_read("affinity", host->affinity, &policy->affinity, error));
}
