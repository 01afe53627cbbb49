/* SPDX-License-Identifier: MIT */
#include "cli/unhosted.h"

#include <stdio.h>
#include <stdlib.h>

#include "control/report.h"
#include "control/store.h"

struct listing {
	const struct store *store;
	json_t *guests;
};

static void add_guest(void *opaque, const char *name)
{
	const struct listing *listing = opaque;
	struct definition definition;
	struct error error = {0};
	bool good = store_read(listing->store, name, &definition, &error);
	if (good && !definition_fits_host(name, &definition.options, &error)) {
		definition_free(&definition);
		good = false;
	}
	json_t *guest = json_pack("{s:s, s:s}", "name", name, "state", good ? "stopped" : "broken");
	json_t *end = store_read_end(listing->store, name);
	if (end != NULL)
		(void)json_object_set_new(guest, "end", end);
	if (good) {
		const struct guest_options *options = &definition.options.guest;
		(void)json_object_set_new(guest, "memory_bytes", json_integer((json_int_t)options->memory));
		(void)json_object_set_new(guest, "cpus", json_integer((json_int_t)options->cpus));
		definition_free(&definition);
	} else {
		(void)json_object_set_new(guest, "problem", json_string(error.text));
	}
	(void)json_array_append_new(listing->guests, guest);
}

json_t *unhosted_guests(void)
{
	struct store store;
	struct listing listing = {&store, json_array()};
	if (store_look(&store, NULL, NULL)) {
		(void)store_visit(&store, add_guest, &listing, NULL);
		store_close(&store);
	}
	return json_pack("{s:o}", "guests", listing.guests);
}

static bool is_defined(const struct store *store, const char *name, struct error *error)
{
	struct store_stamp stamp;
	return store_stamp(store, name, &stamp) ||
	       error_set(error, ERROR_INPUT,
			 "no guest named '%s' is defined: 'nfold list' shows those that are; no host runs", name);
}

static bool look(struct store *store, const char *name, struct error *error)
{
	if (!store_look(store, NULL, error))
		return error->kind != ERROR_INPUT ||
		       error_set(error, ERROR_INPUT, "no guest named '%s' is defined, and no host runs", name);
	if (is_defined(store, name, error))
		return true;
	store_close(store);
	return false;
}

int unhosted_show(const char *name)
{
	struct store store;
	struct definition definition;
	struct error error = {0};
	if (!look(&store, name, &error))
		return (int)report_error(&error);
	bool good = store_read(&store, name, &definition, &error);
	store_close(&store);
	char *text = good ? definition_text(definition.object) : NULL;
	if (text != NULL)
		printf("%s", text);
	else if (good)
		error_set(&error, ERROR_HOST, "out of memory");
	free(text);
	if (good)
		definition_free(&definition);
	return text != NULL ? STATUS_OK : (int)report_error(&error);
}

/* Opens the store for a change: nobody else changes it meanwhile. */
static bool take(struct store *store, const char *name, struct error *error)
{
	if (!look(store, name, error))
		return false;
	store_close(store);
	if (!store_open(store, error))
		return false;
	if (is_defined(store, name, error))
		return true;
	store_close(store);
	return false;
}

static bool does_not_run(const char *name, struct error *error)
{
	struct runtime runtime;
	if (!runtime_open(&runtime, false, error))
		return error->kind == ERROR_INPUT; /* nothing has run yet */
	pid_t owner = runtime_owner(&runtime, name);
	runtime_close(&runtime);
	return owner == 0 || error_set(error, ERROR_INPUT, "guest '%s' runs: stop it first", name);
}

int unhosted_remove(const char *name)
{
	struct store store;
	struct error error = {0};
	if (!take(&store, name, &error))
		return (int)report_error(&error);
	bool good = does_not_run(name, &error) && store_remove(&store, name, &error);
	store_close(&store);
	return good ? STATUS_OK : (int)report_error(&error);
}

bool unhosted_define(const char *name, const char *text, size_t size, struct error *error)
{
	struct store store;
	if (!take(&store, name, error))
		return false;
	bool good = store_write_text(&store, name, text, size, error);
	store_close(&store);
	return good;
}
