/* SPDX-License-Identifier: MIT */
/* Whether a placement keeps every rule: straight from the demand, in doubles, knowing nothing of how it was found. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "plan/fit.h"

#define TOLERANCE 1e-7 /* relative: sums of floats in another order */

static bool place_check(const struct fit_task *task, const struct fit_plan *plan, struct error *error)
{
	unsigned used[FIT_CLASSES_MAX] = {0}, placed = 0;
	for (unsigned h = 0; h < plan->hosts; h++) {
		const struct fit_host *host = &plan->host[h];
		const struct fit_class *host_class = &task->host_class[host->host_class];
		if (host_class->limit != 0 && ++used[host->host_class] > host_class->limit)
			return error_set(error, ERROR_INPUT, "more than %u hosts of kind '%.80s' are used",
					 host_class->limit, host_class->name);
		placed += host->guests;
		for (unsigned i = 0; i < host->guests; i++) {
			unsigned guest = host->guest[i];
			if (guest >= task->demand->guests || plan->host_of[guest] != h)
				return error_set(error, ERROR_INPUT, "host %u and its guest %u disagree", h, guest);
			if (task->classes_barred != NULL && (task->classes_barred[guest] >> host->host_class & 1))
				return error_set(error, ERROR_INPUT,
						 "guest '%.80s' is on a kind of host it may not use",
						 task->demand->name[guest]);
			if (task->pin == NULL || task->pin[guest] == FIT_NONE)
				continue;
			if (host->name == NULL || strcmp(host->name, task->site[task->pin[guest]].name) != 0)
				return error_set(error, ERROR_INPUT, "guest '%.80s' is not where it is pinned",
						 task->demand->name[guest]);
		}
	}
	return placed == task->demand->guests ||
	       error_set(error, ERROR_INPUT, "%u of %u guests are placed", placed, task->demand->guests);
}

static bool group_check(const struct fit_task *task, const struct fit_plan *plan, const struct fit_group *group,
			struct error *error)
{
	for (unsigned i = 0; i < group->count; i++)
		for (unsigned k = i + 1; k < group->count; k++) {
			unsigned a = group->guest[i], b = group->guest[k];
			if ((plan->host_of[a] == plan->host_of[b]) == group->apart)
				return error_set(error, ERROR_INPUT, "guests '%.80s' and '%.80s' break group '%.80s'",
						 task->demand->name[a], task->demand->name[b], group->name);
		}
	return true;
}

static bool load_check(const struct fit_task *task, const struct fit_plan *plan, unsigned h, enum resource resource,
		       float *samples, double *sum, struct error *error)
{
	const struct demand *demand = task->demand;
	const struct fit_host *host = &plan->host[h];
	double capacity = task->host_class[host->host_class].capacity[resource];
	unsigned over = 0, worst = 0;
	bug_if(samples == NULL || sum == NULL);
	memset(sum, 0, demand->samples * sizeof *sum);
	for (unsigned i = 0; i < host->guests; i++) {
		if (!demand->read(demand, host->guest[i], resource, samples, error))
			return false;
		for (unsigned k = 0; k < demand->samples; k++)
			sum[k] += (double)samples[k];
	}
	for (unsigned k = 0; k < demand->samples; k++) {
		over += sum[k] > capacity * (1 + TOLERANCE);
		worst = sum[k] > sum[worst] ? k : worst;
	}
	if (over <= (100 - task->percentile) / 100 * demand->samples * (1 + TOLERANCE))
		return true;
	return error_set(error, ERROR_INPUT, "host %u is over its %s in %u samples: %.6g of %.6g %s at sample %u", h,
			 resource_key[resource], over, sum[worst], capacity, resource_unit[resource], worst);
}

static bool spares_check(const struct fit_task *task, const struct fit_plan *plan, struct error *error)
{
	unsigned spares = 0;
	for (unsigned h = 0; h < plan->hosts; h++) {
		if (!plan->host[h].spare)
			continue;
		spares++;
		for (unsigned k = 0; k < plan->hosts; k++)
			for (unsigned r = 0; r < RESOURCE_COUNT; r++)
				if (!plan->host[k].spare &&
				    task->host_class[plan->host[h].host_class].capacity[r] <
					task->host_class[plan->host[k].host_class].capacity[r] * (1 - TOLERANCE))
					return error_set(error, ERROR_INPUT, "spare host %u is smaller than host %u", h,
							 k);
	}
	return spares == task->spares ||
	       error_set(error, ERROR_INPUT, "%u spare hosts instead of %u", spares, task->spares);
}

bool fit_check(const struct fit_task *task, const struct fit_plan *plan, struct error *error)
{
	float *samples = malloc(task->demand->samples * sizeof *samples);
	double *sum = malloc(task->demand->samples * sizeof *sum);
	bool good = (samples != NULL && sum != NULL) || error_set(error, ERROR_HOST, "out of memory");
	good = good && place_check(task, plan, error) && spares_check(task, plan, error);
	for (unsigned g = 0; good && g < task->groups; g++)
		good = group_check(task, plan, &task->group[g], error);
	for (unsigned h = 0; good && h < plan->hosts; h++)
		for (unsigned r = 0; good && r < RESOURCE_COUNT; r++)
			if (task->host_class[plan->host[h].host_class].capacity[r] > 0)
				good = load_check(task, plan, h, (enum resource)r, samples, sum, error);
	free(samples);
	free(sum);
	return good;
}
