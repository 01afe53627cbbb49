/* SPDX-License-Identifier: MIT */
#include "vm/methods.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "ledger/token.h"
#include "vm/agent.h"
#include "vm/ledger.h"
#include "vm/profile.h"
#include "vm/screen.h"
#include "vm/stats.h"
#include "vm/trace.h"
#include "vm/typist.h"

#define STOP_TIMEOUT_MAX 86400
#define CHORDS_MAX 64

static const char *state_name(enum machine_state state)
{
	static const char *const names[] = {
	    [MACHINE_RUNNING] = "running", [MACHINE_PAUSED] = "paused", [MACHINE_ENDED] = "ended"};
	return names[state];
}

static uint64_t monotonic_ns(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static json_t *state_result(struct method_context *context)
{
	return json_pack("{s:s}", "state", state_name(machine_state(context->machine)));
}

static json_t *run_status(struct method_context *context, json_t *params, struct method_error *error)
{
	(void)params;
	(void)error;
	const struct machine_config *config = context->config;
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:I}", "name", config->name, "state",
			 state_name(machine_state(context->machine)), "pid", (json_int_t)getpid(), "memory_bytes",
			 (json_int_t)config->memory_size, "cpus", (json_int_t)config->cpus, "cpu_model",
			 config->cpu_model, "engine", context->engine, "uptime_ns",
			 (json_int_t)(monotonic_ns() - context->started_ns));
}

static json_t *run_pause(struct method_context *context, json_t *params, struct method_error *error)
{
	(void)params;
	(void)error;
	machine_pause(context->machine);
	return state_result(context);
}

static json_t *run_resume(struct method_context *context, json_t *params, struct method_error *error)
{
	(void)params;
	(void)error;
	machine_resume(context->machine);
	return state_result(context);
}

static json_t *run_reset(struct method_context *context, json_t *params, struct method_error *error)
{
	(void)params;
	(void)error;
	machine_reset(context->machine);
	return state_result(context);
}

static bool arm_stop_timer(struct method_context *context, json_int_t seconds)
{
	struct itimerspec expiry = {.it_value.tv_sec = seconds, .it_value.tv_nsec = seconds == 0};
	return timerfd_settime(context->stop_timer, 0, &expiry, NULL) == 0;
}

static json_t *run_stop(struct method_context *context, json_t *params, struct method_error *error)
{
	json_t *timeout = json_object_get(params, "timeout");
	json_int_t seconds = json_integer_value(timeout);
	if (timeout != NULL && (!json_is_integer(timeout) || seconds < 0 || seconds > STOP_TIMEOUT_MAX))
		return method_fail(error, RPC_INVALID_PARAMS, "timeout must be a whole number of seconds, 0 to 86400");
	if (machine_state(context->machine) == MACHINE_PAUSED)
		return method_fail(error, RPC_WRONG_STATE,
				   "it is paused and cannot see its power button: resume it first");
	if (timeout != NULL && !arm_stop_timer(context, seconds))
		return method_fail(error, RPC_INTERNAL_ERROR, "the host refused a timer");
	machine_power_button(context->machine);
	return state_result(context);
}

static json_t *run_kill(struct method_context *context, json_t *params, struct method_error *error)
{
	(void)params;
	(void)error;
	machine_kill(context->machine);
	return json_pack("{s:s}", "state", state_name(MACHINE_ENDED));
}

/* The names of what is on. */
static json_t *confinement_json(const struct confinement *confinement)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < CONFINE_PARTS; i++)
		if ((confinement->parts >> i & 1) != 0)
			(void)json_array_append_new(list, json_string(confine_part_name[i]));
	return list;
}

static json_t *run_stats(struct method_context *context, json_t *params, struct method_error *error)
{
	(void)params;
	json_t *stats = stats_json(context->machine, context->config, &context->stats_files);
	if (stats == NULL)
		return method_fail(error, RPC_INTERNAL_ERROR, "out of memory");
	(void)json_object_set_new(stats, "confinement", confinement_json(context->confinement));
	(void)json_object_set_new(stats, "state", json_string(state_name(machine_state(context->machine))));
	(void)json_object_set_new(stats, "uptime_ns", json_integer((json_int_t)(monotonic_ns() - context->started_ns)));
	return stats;
}

/* The interval that a call asks for; 0 with *error filled when it is none. */
static unsigned typing_interval(json_t *params, struct method_error *error)
{
	json_t *interval = json_object_get(params, "interval_ms");
	json_int_t ms = json_integer_value(interval);
	if (interval == NULL)
		return TYPIST_INTERVAL_MS;
	if (json_is_integer(interval) && ms >= 1 && ms <= TYPIST_INTERVAL_MAX_MS)
		return (unsigned)ms;
	(void)method_fail(error, RPC_INVALID_PARAMS, "interval_ms must be a whole number, 1 to 1000");
	return 0;
}

static json_t *typed(const struct method_context *context, bool good, unsigned interval, const struct error *host,
		     struct method_error *error)
{
	if (!good)
		return method_fail(error, host->kind == ERROR_INPUT ? RPC_INVALID_PARAMS : RPC_WRONG_STATE, host->text);
	typist_set_interval(context->typist, interval);
	return json_pack("{s:i}", "waiting", (int)typist_waiting(context->typist));
}

/* A deterministic guest takes no input: what comes from outside comes at another moment in each run. */
static bool takes_input(const struct method_context *context, struct method_error *error)
{
	if (!context->config->deterministic)
		return true;
	(void)method_fail(error, RPC_WRONG_STATE, "it runs with --clock deterministic and takes no input");
	return false;
}

static json_t *run_type(struct method_context *context, json_t *params, struct method_error *error)
{
	json_t *text = json_object_get(params, "text");
	struct error host = {0};
	unsigned interval = typing_interval(params, error);
	if (interval == 0 || !takes_input(context, error))
		return NULL;
	if (!json_is_string(text))
		return method_fail(error, RPC_INVALID_PARAMS, "text must be a string");
	bool good = typist_add_text(context->typist, json_string_value(text), json_string_length(text), &host);
	return typed(context, good, interval, &host, error);
}

static json_t *run_key(struct method_context *context, json_t *params, struct method_error *error)
{
	json_t *list = json_object_get(params, "chords");
	const char *chords[CHORDS_MAX];
	size_t count = json_array_size(list);
	struct error host = {0};
	unsigned interval = typing_interval(params, error);
	if (interval == 0 || !takes_input(context, error))
		return NULL;
	if (count == 0 || count > CHORDS_MAX)
		return method_fail(error, RPC_INVALID_PARAMS, "chords must be an array of 1 to 64 strings");
	for (size_t i = 0; i < count; i++) {
		chords[i] = json_string_value(json_array_get(list, i));
		if (chords[i] == NULL)
			return method_fail(error, RPC_INVALID_PARAMS, "chords must be an array of 1 to 64 strings");
	}
	bool good = typist_add_chords(context->typist, chords, count, &host);
	return typed(context, good, interval, &host, error);
}

/* A number of seconds; 0 with *error filled when it is none. */
static unsigned read_seconds(json_t *params, const char *name, unsigned fallback, struct method_error *error)
{
	json_t *value = json_object_get(params, name);
	json_int_t seconds = json_integer_value(value);
	if (value == NULL)
		return fallback;
	if (json_is_integer(value) && seconds >= 1 && seconds <= AGENT_TIMEOUT_MAX)
		return (unsigned)seconds;
	error->code = RPC_INVALID_PARAMS;
	(void)snprintf(error->text, sizeof error->text, "%s must be a whole number of seconds, 1 to %d", name,
		       AGENT_TIMEOUT_MAX);
	return 0;
}

static json_t *run_agent(struct method_context *context, json_t *params, struct method_error *error)
{
	const struct agent_request request = {.command = json_string_value(json_object_get(params, "command")),
					      .arguments = json_object_get(params, "arguments"),
					      .timeout = read_seconds(params, "timeout", AGENT_TIMEOUT_DEFAULT, error),
					      .thaw_after =
						  read_seconds(params, "thaw_after", AGENT_THAW_DEFAULT, error)};
	if (error->code != 0)
		return NULL;
	if (request.command == NULL || (request.arguments != NULL && !json_is_object(request.arguments)))
		return method_fail(error, RPC_INVALID_PARAMS, "command must be a string, arguments an object");
	if (!context->later.allowed)
		return method_fail(error, RPC_INVALID_REQUEST,
				   "it is answered later: give it an id, and a message of its own");
	if (agent_call(context->agent, &request, context->later.ticket, error))
		error->code = RPC_ANSWERS_LATER;
	return NULL;
}

/* One descriptor goes with one answer. */
static json_t *run_schedule(struct method_context *context, json_t *params, struct method_error *error)
{
	const char *pass = json_string_value(json_object_get(params, "pass"));
	bool page = pass != NULL && strcmp(pass, "tokens") == 0;
	int page_fd, doorbell_fd;
	struct error host = {0};
	if (!page && (pass == NULL || strcmp(pass, "doorbell") != 0))
		return method_fail(error, RPC_INVALID_PARAMS, "pass must be \"tokens\" or \"doorbell\"");
	if (context->answer_fd >= 0 || context->answers_unread)
		return method_fail(error, RPC_WRONG_STATE, "one descriptor at a time: read the answer before first");
	if (!machine_schedule(context->machine, &page_fd, &doorbell_fd, &host))
		return method_fail(error, RPC_INTERNAL_ERROR, host.text);
	int fd = fcntl(page ? page_fd : doorbell_fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return method_fail(error, RPC_INTERNAL_ERROR, "no descriptor is left");
	context->answer_fd = fd;
	return json_pack("{s:i, s:i}", "version", (int)TOKEN_VERSION, "cpus", (int)context->config->cpus);
}

static const struct method methods[] = {
    {"guest.status", "what it is and how it is", run_status, {0}},
    {"guest.pause", "stops the virtual processors and the virtual clock", run_pause, {0}},
    {"guest.resume", "goes on after a pause", run_resume, {0}},
    {"guest.reset", "the reset button", run_reset, {0}},
    {"guest.stop",
     "the ACPI power button; with timeout, kills the guest if it still runs so many seconds later",
     run_stop,
     {"timeout"}},
    {"guest.kill", "ends the guest at once", run_kill, {0}},
    {"guest.schedule",
     "lets the host lend it processors: passes the page of run tokens or the doorbell along",
     run_schedule,
     {"pass"}},
    {"guest.stats", "the ledger: where the time went, and counts", run_stats, {0}},
    {"guest.ledger",
     "the ledger itself, in shared memory that is passed along, and what its lines are of",
     guest_ledger,
     {0}},
    {"guest.settle",
     "settles the ledger's clocks for who reads it himself; with memory, says what memory the process takes",
     guest_settle,
     {"memory"}},
    {"guest.profile",
     "samples where the processors are for sample_ms; gives the samples since a number that next had",
     guest_profile,
     {"since", "sample_ms"}},
    {"guest.trace",
     "tells events of these names, or groups of them, for ms; passes the ring that they go into along",
     guest_trace,
     {"events", "ms", "pass"}},
    {"guest.agent",
     "gives the QEMU guest agent a command; what a freeze froze is thawed after thaw_after seconds",
     run_agent,
     {"command", "arguments", "timeout", "thaw_after"}},
    {"screen.text",
     "a text screen's characters, attributes, colours and cursor; with since, only if it changed",
     screen_text,
     {"since"}},
    {"screen.pixels", "the screen as a picture, in a memfd that is passed along", screen_pixels, {0}},
    {"keyboard.type", "types a text on a US keyboard", run_type, {"text", "interval_ms"}},
    {"keyboard.key", "presses chords of keys, such as ctrl-alt-delete", run_key, {"chords", "interval_ms"}},
};

const struct method_table vm_methods = {
    .program = "nfold-vm", .version = NFOLD_VERSION, .method = methods, .count = sizeof methods / sizeof methods[0]};
