/* SPDX-License-Identifier: MIT */
#include "host/methods.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/metrics.h"

#define STOP_TIMEOUT_MAX 86400

/* ---- what every method needs ---- */

static json_t *fail(struct method_error *error, const struct error *host)
{
	return method_fail(error, host->kind == ERROR_INPUT ? RPC_WRONG_STATE : RPC_INTERNAL_ERROR, host->text);
}

/* The parameter `name`, a good name; NULL with *error filled. */
static const char *name_param(json_t *params, struct method_error *error)
{
	const char *name = json_string_value(json_object_get(params, "name"));
	struct error host = {0};
	if (name == NULL)
		(void)method_fail(error, RPC_INVALID_PARAMS, "name must be a string");
	else if (!name_check(name, &host))
		(void)method_fail(error, RPC_INVALID_PARAMS, host.text);
	else
		return name;
	return NULL;
}

/* The guest that the parameter `name` names, as it is now. */
static struct guest *guest_param(struct method_context *context, json_t *params, struct method_error *error)
{
	struct error host = {0};
	char text[160];
	const char *name = name_param(params, error);
	if (name == NULL)
		return NULL;
	if (!guests_refresh(context->host, &host)) {
		(void)fail(error, &host);
		return NULL;
	}
	struct guest *guest = guests_find(context->host, name);
	(void)snprintf(text, sizeof text, "no guest named '%s' is defined: 'nfold list' shows those that are", name);
	if (guest == NULL)
		(void)method_fail(error, RPC_WRONG_STATE, text);
	return guest;
}

static void set_number(json_t *object, const char *key, uint64_t value)
{
	(void)json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void set_text(json_t *object, const char *key, const char *text)
{
	if (text != NULL && text[0] != '\0')
		(void)json_object_set_new(object, key, json_string(text));
}

static void describe_policy(json_t *object, const struct guest *guest)
{
	const struct definition_options *options = &guest->definition.options;
	set_number(object, "memory_bytes", options->guest.memory);
	set_number(object, "cpus", options->guest.cpus);
	set_number(object, "shares", guest->policy.shares);
	set_number(object, "reservation_ppm", guest->policy.reservation);
	set_number(object, "limit_ppm", guest->policy.limit);
	set_number(object, "stop_timeout", options->host.stop_timeout);
	set_text(object, "restart", options->host.restart);
	(void)json_object_set_new(object, "autostart", json_boolean(options->host.autostart));
}

/* Its processors' time as the dispatcher has it, since it was taken up. */
static void describe_turns(json_t *object, const struct guest *guest)
{
	static const char *const keys[SCHED_STATES] = {"idle_ns", "ready_ns", "costop_ns", "limited_ns", "running_ns"};
	struct dispatched_report report;
	json_t *turns = json_object();
	dispatched_read(guest->dispatched, &report);
	for (unsigned i = 0; i < SCHED_STATES; i++)
		set_number(turns, keys[i], report.state_ns[i]);
	set_number(turns, "late", report.late);
	set_number(turns, "muted", report.muted);
	(void)json_object_set_new(object, "turns", turns);
}

static json_t *describe(const struct guest *guest)
{
	int64_t now = host_now_ms();
	json_t *object = json_pack("{s:s, s:s}", "name", guest->name, "state", guest_state_name(guest));
	if (guest->definition.object != NULL)
		describe_policy(object, guest);
	set_text(object, "problem", guest->problem);
	set_text(object, "refusal", guest->refusal);
	if (guest->dispatched != NULL)
		describe_turns(object, guest);
	else if (guest->state == GUEST_RUNNING)
		set_text(object, "unscheduled", guest->unscheduled);
	set_number(object, "starts", guest->starts);
	if (guest->state != GUEST_STOPPED) {
		set_number(object, "pid", (uint64_t)guest->pid);
		set_number(object, "uptime_ns", (uint64_t)(now - guest->started_ms) * 1000000u);
		(void)json_object_set_new(object, "adopted", json_boolean(!guest->child));
	} else if (guest->restart_at_ms != HOST_NEVER) {
		set_number(object, "restart_in_ms",
			   guest->restart_at_ms > now ? (uint64_t)(guest->restart_at_ms - now) : 0);
	}
	if (guest->end != NULL)
		(void)json_object_set(object, "end", guest->end);
	return object;
}

/* ---- the host ---- */

static json_t *run_status(struct method_context *context, json_t *params, struct method_error *error)
{
	struct host *host = context->host;
	struct error refused = {0};
	unsigned defined = 0, running = 0;
	(void)params;
	if (!guests_refresh(host, &refused))
		return fail(error, &refused);
	for (const struct guest *guest = host->guests; guest != NULL; guest = guest->next) {
		defined += guest->defined;
		running += guest->state != GUEST_STOPPED;
	}
	return json_pack("{s:s, s:I, s:I, s:s, s:i, s:i, s:I, s:s*}", "version", NFOLD_VERSION, "pid",
			 (json_int_t)getpid(), "uptime_ns", (json_int_t)(host_now_ms() - host->started_ms) * 1000000,
			 "state_directory", host->store.path, "defined", (int)defined, "running", (int)running,
			 "clock_hz", (json_int_t)amount_host_clock(), "metrics", host_metrics_url(host->metrics));
}

static json_t *run_dispatch(struct method_context *context, json_t *params, struct method_error *error)
{
	struct dispatcher_report report;
	(void)params;
	if (context->host->dispatcher == NULL)
		return method_fail(error, RPC_WRONG_STATE, "the host schedules nothing");
	dispatcher_read(context->host->dispatcher, &report);
	json_t *object = json_object(), *buckets = json_array();
	const struct {
		const char *key;
		uint64_t value;
	} numbers[] = {{"processors", report.processors},
		       {"guests", report.guests},
		       {"slice_ns", report.slice_ns},
		       {"wall_ns", report.wall_ns},
		       {"cpu_ns", report.cpu_ns},
		       {"wakes", report.wakes},
		       {"decisions", report.decisions},
		       {"grants", report.grants},
		       {"withdrawals", report.withdrawals},
		       {"late", report.late},
		       {"muted", report.muted},
		       {"preemption_p50_us", dispatcher_percentile(&report, 50)},
		       {"preemption_p99_us", dispatcher_percentile(&report, 99)}};
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		set_number(object, numbers[i].key, numbers[i].value);
	for (unsigned i = 0; i < DISPATCHER_BUCKETS; i++)
		(void)json_array_append_new(buckets, json_integer((json_int_t)report.preemption[i]));
	(void)json_object_set_new(object, "preemption", buckets);
	(void)json_object_set_new(object, "realtime", json_boolean(report.realtime));
	return object;
}

static json_t *run_guests(struct method_context *context, json_t *params, struct method_error *error)
{
	struct error refused = {0};
	(void)params;
	if (!guests_refresh(context->host, &refused))
		return fail(error, &refused);
	json_t *list = json_array();
	for (const struct guest *guest = context->host->guests; guest != NULL; guest = guest->next)
		(void)json_array_append_new(list, describe(guest));
	return json_pack("{s:o}", "guests", list);
}

static json_t *run_host_stop(struct method_context *context, json_t *params, struct method_error *error)
{
	struct host *host = context->host;
	const json_t *guests = json_object_get(params, "guests");
	if (guests != NULL && !json_is_boolean(guests))
		return method_fail(error, RPC_INVALID_PARAMS, "guests must be true or false");
	host->ending = true;
	host->ending_guests = json_is_true(guests);
	for (struct guest *guest = host->guests; host->ending_guests && guest != NULL; guest = guest->next)
		if (guest->state != GUEST_STOPPED)
			(void)guest_stop(guest, guest->definition.options.host.stop_timeout, NULL);
	return json_pack("{s:b}", "guests", host->ending_guests);
}

/* ---- definitions ---- */

static json_t *run_create(struct method_context *context, json_t *params, struct method_error *error)
{
	struct host *host = context->host;
	const char *name = name_param(params, error);
	const json_t *object = json_object_get(params, "definition");
	struct definition definition;
	struct error refused = {0};
	if (name == NULL)
		return NULL;
	if (!json_is_object(object))
		return method_fail(error, RPC_INVALID_PARAMS, "definition must be an object");
	if (!guests_refresh(host, &refused))
		return fail(error, &refused);
	if (guests_find(host, name) != NULL)
		error_set(&refused, ERROR_INPUT, "a guest named '%s' is defined already", name);
	else if (runtime_owner(&host->runtime, name) != 0)
		error_set(&refused, ERROR_INPUT, "a guest named '%s' runs already: choose another name", name);
	else if (guests_check(name, object, &definition, &refused)) {
		bool good = store_write(&host->store, name, definition.object, &refused);
		definition_free(&definition);
		if (good && guests_refresh(host, &refused))
			return json_pack("{s:s}", "state", guest_state_name(guests_find(host, name)));
	}
	return fail(error, &refused);
}

/* The definition with these keys instead of its own; those that are null go. */
static json_t *merged(const struct guest *guest, json_t *changes)
{
	json_t *object = json_copy(guest->definition.object);
	const char *key;
	json_t *value;
	json_object_foreach(changes, key, value)
	{
		if (json_is_null(value))
			(void)json_object_del(object, key);
		else
			(void)json_object_set(object, key, value);
	}
	return object;
}

/* Puts a checked definition, which is taken over, in the place of the guest's. `text`: as it is to stand in the file;
 * NULL: as we write it. */
static json_t *replace(struct guest *guest, struct definition *definition, const char *text, struct method_error *error)
{
	const struct store *store = &guest->host->store;
	struct host_policy policy;
	struct error refused = {0};
	bool good =
	    host_options_check(&definition->options, &policy, &refused) && guest_reschedule(guest, &policy, &refused);
	if (good) {
		good = text != NULL ? store_write_text(store, guest->name, text, strlen(text), &refused)
				    : store_write(store, guest->name, definition->object, &refused);
		if (!good)
			(void)guest_reschedule(guest, &guest->policy, NULL);
	}
	definition_free(definition);
	return good && guests_refresh(guest->host, &refused) ? describe(guest) : fail(error, &refused);
}

static json_t *run_set(struct method_context *context, json_t *params, struct method_error *error)
{
	struct guest *guest = guest_param(context, params, error);
	json_t *changes = json_object_get(params, "definition");
	struct definition definition;
	struct error refused = {0};
	if (guest == NULL)
		return NULL;
	if (!json_is_object(changes))
		return method_fail(error, RPC_INVALID_PARAMS, "definition must be an object");
	if (guest->definition.object == NULL) {
		error_set(&refused, ERROR_INPUT, "mend the file or remove the guest: %s", guest->problem);
		return fail(error, &refused);
	}
	json_t *object = merged(guest, changes);
	bool good = guests_check(guest->name, object, &definition, &refused);
	json_decref(object);
	return good ? replace(guest, &definition, NULL, error) : fail(error, &refused);
}

/* A broken definition is mended by this. Names of files are relative to the folder it is kept in, as in any file. */
static json_t *run_define(struct method_context *context, json_t *params, struct method_error *error)
{
	struct guest *guest = guest_param(context, params, error);
	const char *text = json_string_value(json_object_get(params, "text"));
	char folder[PATH_MAX];
	struct definition definition;
	struct error refused = {0};
	if (guest == NULL)
		return NULL;
	if (text == NULL)
		return method_fail(error, RPC_INVALID_PARAMS, "text must be a string");
	(void)snprintf(folder, sizeof folder, "%s/guests", context->host->store.path);
	if (!definition_parse_for(&definition, guest->name, folder, text, strlen(text), &refused))
		return fail(error, &refused);
	return replace(guest, &definition, text, error);
}

static json_t *run_remove(struct method_context *context, json_t *params, struct method_error *error)
{
	struct guest *guest = guest_param(context, params, error);
	struct error refused = {0};
	if (guest == NULL)
		return NULL;
	if (guest->state != GUEST_STOPPED) {
		error_set(&refused, ERROR_INPUT, "guest '%s' runs: stop it first", guest->name);
		return fail(error, &refused);
	}
	if (!store_remove(&context->host->store, guest->name, &refused) || !guests_refresh(context->host, &refused))
		return fail(error, &refused);
	return json_pack("{s:s}", "state", "removed");
}

static json_t *run_show(struct method_context *context, json_t *params, struct method_error *error)
{
	const struct guest *guest = guest_param(context, params, error);
	if (guest == NULL)
		return NULL;
	json_t *object = describe(guest);
	if (guest->definition.object != NULL)
		(void)json_object_set(object, "definition", guest->definition.object);
	return object;
}

/* ---- lives ---- */

static json_t *run_start(struct method_context *context, json_t *params, struct method_error *error)
{
	struct guest *guest = guest_param(context, params, error);
	struct error refused = {0};
	if (guest == NULL)
		return NULL;
	guest->failures = 0;
	return guest_start(guest, &refused) ? describe(guest) : fail(error, &refused);
}

static json_t *run_stop(struct method_context *context, json_t *params, struct method_error *error)
{
	struct guest *guest = guest_param(context, params, error);
	const json_t *timeout = json_object_get(params, "timeout");
	json_int_t seconds = json_integer_value(timeout);
	struct error refused = {0};
	if (guest == NULL)
		return NULL;
	if (timeout != NULL && (!json_is_integer(timeout) || seconds < 0 || seconds > STOP_TIMEOUT_MAX))
		return method_fail(error, RPC_INVALID_PARAMS, "timeout must be a whole number of seconds, 0 to 86400");
	if (timeout == NULL)
		seconds = (json_int_t)guest->definition.options.host.stop_timeout;
	return guest_stop(guest, (uint64_t)seconds, &refused) ? describe(guest) : fail(error, &refused);
}

static json_t *run_kill(struct method_context *context, json_t *params, struct method_error *error)
{
	struct guest *guest = guest_param(context, params, error);
	struct error refused = {0};
	if (guest == NULL)
		return NULL;
	return guest_kill(guest, &refused) ? describe(guest) : fail(error, &refused);
}

static json_t *run_console(struct method_context *context, json_t *params, struct method_error *error)
{
	struct guest *guest = guest_param(context, params, error);
	struct error refused = {0};
	if (guest == NULL)
		return NULL;
	if (context->host->answer_fd >= 0 || context->host->answers_unread)
		return method_fail(error, RPC_WRONG_STATE, "answers sent before have not been read");
	context->host->answer_fd = console_attach(guest, &refused);
	return context->host->answer_fd >= 0 ? describe(guest) : fail(error, &refused);
}

static const struct method methods[] = {
    {"host.status", "what it is and how it is", run_status, {0}},
    {"host.dispatch", "how processors are lent to guests, and what that costs", run_dispatch, {0}},
    {"host.guests", "the guests that are defined, each as guest.show has it", run_guests, {0}},
    {"host.stop", "ends the host; with guests, stops them first, else they run on", run_host_stop, {"guests"}},
    {"guest.create", "defines a guest", run_create, {"name", "definition"}},
    {"guest.set", "changes keys of a definition; null removes one", run_set, {"name", "definition"}},
    {"guest.define", "puts a definition file's text in the place of the guest's", run_define, {"name", "text"}},
    {"guest.remove", "removes a guest that does not run, with its logs", run_remove, {"name"}},
    {"guest.show", "its definition, its state and why it ended last", run_show, {"name"}},
    {"guest.start", "starts it; does not wait for that", run_start, {"name"}},
    {"guest.stop", "presses its power button, and kills it so many seconds later", run_stop, {"name", "timeout"}},
    {"guest.kill", "ends it at once", run_kill, {"name"}},
    {"guest.console", "its serial port, as the end of a socket that is passed along", run_console, {"name"}},
};

const struct method_table host_methods = {
    .program = "nfoldd", .version = NFOLD_VERSION, .method = methods, .count = sizeof methods / sizeof methods[0]};
