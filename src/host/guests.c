/* SPDX-License-Identifier: MIT */
/* All guests of the host: those defined, and those that run. */
#include <stdlib.h>
#include <string.h>

#include "control/report.h"
#include "host/host.h"

struct guest *guests_find(const struct host *host, const char *name)
{
	struct guest *guest = host->guests;
	while (guest != NULL && strcmp(guest->name, name) != 0)
		guest = guest->next;
	return guest;
}

/* The place of a name in the list. */
static struct guest **place_of(struct host *host, const char *name)
{
	struct guest **place = &host->guests;
	while (*place != NULL && strcmp((*place)->name, name) < 0)
		place = &(*place)->next;
	return place;
}

static struct guest *guest_find_or_make(struct host *host, const char *name)
{
	struct guest **place = place_of(host, name);
	if (*place != NULL && strcmp((*place)->name, name) == 0)
		return *place;
	struct guest *guest = calloc(1, sizeof *guest);
	if (guest == NULL)
		return NULL;
	guest->host = host;
	(void)snprintf(guest->name, sizeof guest->name, "%s", name);
	guest->pidfd = guest->ready_fd = guest->token_fd = guest->passed_fd = -1;
	guest->kill_at_ms = guest->restart_at_ms = HOST_NEVER;
	guest->end = store_read_end(&host->store, name);
	guest->starts = (uint64_t)json_integer_value(json_object_get(guest->end, "starts"));
	guest->next = *place;
	*place = guest;
	return guest;
}

static void guest_free(struct guest *guest)
{
	guest_let_go(guest);
	definition_free(&guest->definition);
	json_decref(guest->end);
	free(guest);
}

/* ---- definitions ---- */

bool guests_check(const char *name, const json_t *object, struct definition *definition, struct error *error)
{
	char *text = definition_text(object);
	if (text == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	bool good = definition_parse(definition, "definition", "/", text, strlen(text), error);
	free(text);
	if (!good || definition_fits_host(name, &definition->options, error))
		return good;
	definition_free(definition);
	return false;
}

static void guest_load(struct guest *guest, const struct store_stamp *stamp)
{
	struct error error = {0};
	const struct definition_options *options = &guest->definition.options;
	definition_free(&guest->definition);
	guest->stamp = *stamp;
	guest->problem[0] = '\0';
	if (store_read(&guest->host->store, guest->name, &guest->definition, &error)) {
		if (definition_fits_host(guest->name, options, &error) &&
		    host_options_check(options, &guest->policy, &error)) {
			if (!guest_reschedule(guest, &guest->policy, &error))
				report_line("guest '%s' keeps its processors as they were: %s", guest->name,
					    error.text);
			return;
		}
		definition_free(&guest->definition);
	}
	(void)snprintf(guest->problem, sizeof guest->problem, "%s", error.text);
}

static void visit_definition(void *opaque, const char *name)
{
	struct host *host = opaque;
	struct store_stamp stamp;
	struct guest *guest = guest_find_or_make(host, name);
	if (guest == NULL || !store_stamp(&host->store, name, &stamp))
		return;
	guest->defined = true;
	if (!store_stamp_is_same(&guest->stamp, &stamp))
		guest_load(guest, &stamp);
}

/* ---- what runs ---- */

/* Guests of `nfold run` that nobody defined are none of ours. */
static void visit_running(void *opaque, const char *name, pid_t owner)
{
	const struct host *host = opaque;
	struct guest *guest = guests_find(host, name);
	if (guest != NULL && guest->state == GUEST_STOPPED)
		guest_adopt(guest, owner);
}

/* Those whose definition is gone and which do not run. */
static void drop_gone(struct host *host)
{
	struct guest **place = &host->guests;
	while (*place != NULL) {
		struct guest *guest = *place;
		if (guest->defined || guest->state != GUEST_STOPPED) {
			place = &guest->next;
			continue;
		}
		*place = guest->next;
		guest_free(guest);
	}
}

bool guests_refresh(struct host *host, struct error *error)
{
	for (struct guest *guest = host->guests; guest != NULL; guest = guest->next)
		guest->defined = false;
	if (!store_visit(&host->store, visit_definition, host, error)) {
		for (struct guest *guest = host->guests; guest != NULL; guest = guest->next)
			guest->defined = true;
		return false;
	}
	drop_gone(host);
	return runtime_visit(&host->runtime, visit_running, host, error);
}

void guests_forget(struct host *host)
{
	while (host->guests != NULL) {
		struct guest *guest = host->guests;
		host->guests = guest->next;
		guest_free(guest);
	}
}

bool guests_any_active(const struct host *host)
{
	for (const struct guest *guest = host->guests; guest != NULL; guest = guest->next)
		if (guest->state != GUEST_STOPPED)
			return true;
	return false;
}

/* ---- in time ---- */

static struct guest *next_to_start(const struct host *host)
{
	struct guest *best = NULL;
	for (struct guest *guest = host->guests; guest != NULL; guest = guest->next)
		if (guest->autostart_due && (best == NULL || guest->definition.options.host.start_order <
								 best->definition.options.host.start_order))
			best = guest;
	return best;
}

void guests_autostart(struct host *host)
{
	for (const struct guest *guest = host->guests; guest != NULL; guest = guest->next)
		if (guest->state == GUEST_STARTING)
			return;
	struct guest *guest;
	while (!host->ending && (guest = next_to_start(host)) != NULL) {
		guest->autostart_due = false;
		if (guest->state == GUEST_STOPPED && guest_start(guest, NULL))
			return;
	}
}

int64_t guests_work(struct host *host)
{
	int64_t next = HOST_NEVER;
	for (struct guest *guest = host->guests; guest != NULL; guest = guest->next) {
		guest_work(guest, host_now_ms());
		int64_t due = guest_next(guest);
		next = due < next ? due : next;
	}
	return next;
}
