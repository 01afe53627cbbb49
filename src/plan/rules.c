/* SPDX-License-Identifier: MIT */
#include <fnmatch.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "plan/rules.h"

#define GROUPS_MAX 4096 /* each costs two bytes a host */

struct rules {
	json_t *root; /* names point into it */
	struct fit_group *group;
	unsigned groups;
	struct fit_site *site;
	unsigned sites;
	unsigned *pin, *now;
	uint32_t *barred;
};

struct reading {
	struct rules *rules;
	const struct fit_task *task;
	const char *path;
	struct error *error;
};

static bool no_memory(const struct reading *reading)
{
	return error_set(reading->error, ERROR_HOST, "out of memory");
}

static bool bad_form(const struct reading *reading, const char *key, const char *form)
{
	return error_set(reading->error, ERROR_INPUT, "%.200s: '%s' must be %s", reading->path, key, form);
}

/* Calls act for each guest that the pattern names. */
static bool guests_match(const struct reading *reading, const char *pattern,
			 bool (*act)(const struct reading *reading, void *to, unsigned guest), void *to)
{
	bool any = false;
	for (unsigned g = 0; g < reading->task->demand->guests; g++) {
		if (fnmatch(pattern, reading->task->demand->name[g], 0) != 0)
			continue;
		any = true;
		if (!act(reading, to, g))
			return false;
	}
	return any ||
	       error_set(reading->error, ERROR_INPUT, "%.200s: no guest is called '%.80s'", reading->path, pattern);
}

struct members {
	unsigned *guest;
	unsigned count;
	bool *seen;
};

static bool member_add(const struct reading *reading, void *to, unsigned guest)
{
	struct members *members = to;
	(void)reading;
	bug_if(members->guest == NULL || members->seen == NULL);
	if (!members->seen[guest])
		members->guest[members->count++] = guest;
	members->seen[guest] = true;
	return true;
}

static bool group_read(const struct reading *reading, const char *key, const json_t *patterns)
{
	struct rules *rules = reading->rules;
	unsigned guests = reading->task->demand->guests;
	struct members members = {malloc((guests + 1) * sizeof *members.guest), 0,
				  calloc(guests + 1, sizeof *members.seen)};
	bool good = (members.guest != NULL && members.seen != NULL) || no_memory(reading);
	size_t i;
	json_t *pattern;
	json_array_foreach((json_t *)patterns, i, pattern)
	{
		if (good && !json_is_string(pattern))
			good = bad_form(reading, key, "an array of arrays of names");
		good = good && guests_match(reading, json_string_value(pattern), member_add, &members);
	}
	free(members.seen);
	if (!good || members.count == 0) {
		free(members.guest);
		return good;
	}
	rules->group[rules->groups++] = (struct fit_group){
	    .name = json_string_value(json_array_get(patterns, 0)),
	    .guest = members.guest,
	    .count = members.count,
	    .apart = strcmp(key, "apart") == 0,
	};
	return true;
}

static bool groups_read(const struct reading *reading)
{
	static const char *const key[] = {"together", "apart"};
	const json_t *list[2];
	size_t total = 0, i;
	json_t *patterns;
	for (unsigned k = 0; k < 2; k++) {
		list[k] = json_object_get(reading->rules->root, key[k]);
		if (list[k] != NULL && !json_is_array(list[k]))
			return bad_form(reading, key[k], "an array of arrays of names");
		total += json_array_size(list[k]);
	}
	if (total > GROUPS_MAX)
		return error_set(reading->error, ERROR_INPUT, "%.200s: %zu groups; there can be %d", reading->path,
				 total, GROUPS_MAX);
	reading->rules->group = calloc(total + 1, sizeof *reading->rules->group);
	if (reading->rules->group == NULL)
		return no_memory(reading);
	for (unsigned k = 0; k < 2; k++) {
		json_array_foreach((json_t *)list[k], i, patterns)
		{
			if (!json_is_array(patterns))
				return bad_form(reading, key[k], "an array of arrays of names");
			if (!group_read(reading, key[k], patterns))
				return false;
		}
	}
	return true;
}

static unsigned class_find(const struct fit_task *task, const char *name)
{
	for (unsigned c = 0; name != NULL && c < task->classes; c++)
		if (strcmp(task->host_class[c].name, name) == 0)
			return c;
	return FIT_NONE;
}

static bool sites_read(const struct reading *reading)
{
	struct rules *rules = reading->rules;
	const json_t *sites = json_object_get(rules->root, "sites");
	const char *name;
	json_t *value;
	if (sites != NULL && !json_is_object(sites))
		return bad_form(reading, "sites", "an object of host names with kinds of host");
	rules->site = calloc(json_object_size(sites) + 1, sizeof *rules->site);
	if (rules->site == NULL)
		return no_memory(reading);
	json_object_foreach((json_t *)sites, name, value)
	{
		unsigned host_class = class_find(reading->task, json_string_value(value));
		if (host_class == FIT_NONE)
			return error_set(reading->error, ERROR_INPUT,
					 "%.200s: site '%.80s' must name a kind of host as --host does with name=",
					 reading->path, name);
		rules->site[rules->sites++] = (struct fit_site){.name = name, .host_class = host_class};
	}
	return true;
}

struct setting {
	unsigned *by_guest;
	unsigned value;
};

static bool setting_set(const struct reading *reading, void *to, unsigned guest)
{
	struct setting *setting = to;
	(void)reading;
	setting->by_guest[guest] = setting->value;
	return true;
}

static bool places_read(const struct reading *reading, const char *key, unsigned **by_guest)
{
	const struct rules *rules = reading->rules;
	const json_t *places = json_object_get(rules->root, key);
	const char *pattern;
	json_t *value;
	if (places == NULL)
		return true;
	if (!json_is_object(places))
		return bad_form(reading, key, "an object of guests with sites");
	*by_guest = malloc((reading->task->demand->guests + 1) * sizeof **by_guest);
	if (*by_guest == NULL)
		return no_memory(reading);
	memset(*by_guest, 0xff, reading->task->demand->guests * sizeof **by_guest); /* FIT_NONE */
	json_object_foreach((json_t *)places, pattern, value)
	{
		struct setting setting = {*by_guest, 0};
		const char *site = json_string_value(value);
		while (setting.value < rules->sites &&
		       (site == NULL || strcmp(rules->site[setting.value].name, site) != 0))
			setting.value++;
		if (setting.value == rules->sites)
			return error_set(reading->error, ERROR_INPUT,
					 "%.200s: '%s' of '%.80s' must name one of 'sites'", reading->path, key,
					 pattern);
		if (!guests_match(reading, pattern, setting_set, &setting))
			return false;
	}
	return true;
}

static bool bar_set(const struct reading *reading, void *to, unsigned guest)
{
	reading->rules->barred[guest] |= *(const uint32_t *)to;
	return true;
}

static bool barred_read(const struct reading *reading)
{
	struct rules *rules = reading->rules;
	const json_t *barred = json_object_get(rules->root, "barred");
	const char *pattern;
	json_t *list, *value;
	size_t i;
	if (barred == NULL)
		return true;
	if (!json_is_object(barred))
		return bad_form(reading, "barred", "an object of guests with arrays of kinds of host");
	rules->barred = calloc(reading->task->demand->guests + 1, sizeof *rules->barred);
	if (rules->barred == NULL)
		return no_memory(reading);
	json_object_foreach((json_t *)barred, pattern, list)
	{
		uint32_t bits = 0;
		json_array_foreach(list, i, value)
		{
			unsigned host_class = class_find(reading->task, json_string_value(value));
			if (host_class == FIT_NONE)
				return error_set(
				    reading->error, ERROR_INPUT,
				    "%.200s: 'barred' of '%.80s' names a kind of host that no --host describes",
				    reading->path, pattern);
			bits |= UINT32_C(1) << host_class;
		}
		if (!guests_match(reading, pattern, bar_set, &bits))
			return false;
	}
	return true;
}

static bool keys_check(const struct reading *reading)
{
	static const char *const known[] = {"together", "apart", "sites", "pin", "now", "barred"};
	const char *key;
	json_t *value;
	json_object_foreach(reading->rules->root, key, value)
	{
		bool found = false;
		for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++)
			found = found || strcmp(known[i], key) == 0;
		if (!found)
			return error_set(
			    reading->error, ERROR_INPUT,
			    "%.200s: there is no rule '%.60s'; there are together, apart, sites, pin, now, barred",
			    reading->path, key);
	}
	return true;
}

struct rules *rules_load(struct fit_task *task, const char *path, struct error *error)
{
	struct rules *rules = calloc(1, sizeof *rules);
	struct reading reading = {rules, task, path, error};
	json_error_t where;
	if (rules == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	rules->root = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
	bool good = rules->root != NULL ||
		    error_set(error, ERROR_INPUT, "%.200s:%d:%d: %.120s", path, where.line, where.column, where.text);
	good =
	    good && (json_is_object(rules->root) || error_set(error, ERROR_INPUT, "%.200s: not a JSON object", path));
	good = good && keys_check(&reading) && groups_read(&reading) && sites_read(&reading) &&
	       places_read(&reading, "pin", &rules->pin) && places_read(&reading, "now", &rules->now) &&
	       barred_read(&reading);
	if (!good) {
		rules_free(rules);
		return NULL;
	}
	task->group = rules->group;
	task->groups = rules->groups;
	task->site = rules->site;
	task->sites = rules->sites;
	task->pin = rules->pin;
	task->now = rules->now;
	task->classes_barred = rules->barred;
	return rules;
}

void rules_free(struct rules *rules)
{
	if (rules == NULL)
		return;
	for (unsigned i = 0; i < rules->groups; i++)
		free((void *)rules->group[i].guest);
	free(rules->group);
	free(rules->site);
	free(rules->pin);
	free(rules->now);
	free(rules->barred);
	json_decref(rules->root);
	free(rules);
}
