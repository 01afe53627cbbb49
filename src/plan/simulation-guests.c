/* SPDX-License-Identifier: MIT */
/* What the host's scheduler is told of each guest: from its server, and from a file of the user's. */
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/simulation-impl.h"

#define MHZ_MAX 1e9

static const char *const coscheduling_name[] = {
    [SCHED_CO_NONE] = "none", [SCHED_CO_RELAXED] = "relaxed", [SCHED_CO_STRICT] = "strict"};

static bool number_take(const json_t *value, double lowest, double highest, double *number)
{
	*number = json_number_value(value);
	return json_is_number(value) && *number >= lowest && *number <= highest;
}

static bool setting_take(struct sched_guest_policy *policy, const char *key, const json_t *value)
{
	double number;
	if (strcmp(key, "vcpus") == 0 && json_is_integer(value) && number_take(value, 1, SCHED_VCPUS_MAX, &number)) {
		policy->vcpus = (unsigned)number;
		return true;
	}
	if (strcmp(key, "shares") == 0 && json_is_integer(value) && number_take(value, 1, SCHED_SHARES_MAX, &number)) {
		policy->shares = (uint32_t)number;
		return true;
	}
	bool is_limit = strcmp(key, "limit_mhz") == 0, is_reservation = strcmp(key, "reservation_mhz") == 0;
	if ((is_limit || is_reservation) && number_take(value, is_limit ? 1 : 0, MHZ_MAX, &number)) {
		/* Divided by a processor's MHz when the host is known. */
		*(is_limit ? &policy->limit : &policy->reservation) = (uint64_t)(number * (double)SCHED_PROCESSOR);
		return true;
	}
	for (unsigned i = 0; strcmp(key, "coscheduling") == 0 && json_is_string(value) && i < 3; i++)
		if (strcmp(json_string_value(value), coscheduling_name[i]) == 0) {
			policy->coscheduling = (enum sched_coscheduling)i;
			return true;
		}
	return false;
}

/* {"web*": {"shares": 4000}, "db1": {"limit_mhz": 8000}}: later ones count, where several match. */
static bool file_take(const struct workload *workload, const json_t *root, const char *path,
		      struct sched_guest_policy *policy, struct error *error)
{
	const char *pattern, *key;
	json_t *settings, *value;
	if (!json_is_object(root))
		return error_set(error, ERROR_INPUT, "%.200s: this is not an object of patterns and settings", path);
	json_object_foreach((json_t *)root, pattern, settings)
	{
		unsigned matched = 0;
		struct sched_guest_policy probe = {0};
		json_object_foreach(settings, key, value)
		{
			if (!setting_take(&probe, key, value))
				return error_set(error, ERROR_INPUT,
						 "%.200s: '%.60s' of '%.60s': there are vcpus, shares, "
						 "reservation_mhz, limit_mhz (numbers) "
						 "and coscheduling (none, relaxed or strict)",
						 path, key, pattern);
		}
		for (unsigned g = 0; g < workload->demand.guests; g++) {
			if (fnmatch(pattern, workload->demand.name[g], 0) != 0)
				continue;
			matched++;
			json_object_foreach(settings, key, value)
			{
				(void)setting_take(&policy[g], key, value);
			}
		}
		if (matched == 0 || !json_is_object(settings))
			return error_set(error, ERROR_INPUT, "%.200s: '%.60s' %s", path, pattern,
					 matched == 0 ? "is the name of no guest" : "needs an object of settings");
	}
	return true;
}

struct sched_guest_policy *simulation_policies(const struct workload *workload,
					       const struct simulation_options *options, struct error *error)
{
	struct sched_guest_policy *policy = calloc(workload->demand.guests, sizeof *policy);
	json_error_t where;
	json_t *root = NULL;
	bool good = true;
	if (policy == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	for (unsigned g = 0; g < workload->demand.guests; g++) {
		uint32_t cpus = estate_server(workload->estate, g)->cpus;
		policy[g] = (struct sched_guest_policy){.vcpus = cpus < SCHED_VCPUS_MAX ? cpus : SCHED_VCPUS_MAX,
							.coscheduling = options->coscheduling};
	}
	if (options->guests != NULL) {
		root = json_load_file(options->guests, JSON_REJECT_DUPLICATES, &where);
		good = root != NULL ? file_take(workload, root, options->guests, policy, error)
				    : error_set(error, ERROR_INPUT, "%.200s:%d:%d: %.120s", options->guests, where.line,
						where.column, where.text);
	}
	json_decref(root);
	for (unsigned g = 0; good && g < workload->demand.guests; g++)
		if (policy[g].shares == 0) /* as much for each vCPU of any guest */
			policy[g].shares = SCHED_SHARES_DEFAULT * policy[g].vcpus;
	if (good)
		return policy;
	free(policy);
	return NULL;
}
