/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fit-rig.h"

static bool rig_read(const struct demand *demand, unsigned guest, enum resource resource, float *to,
		     struct error *error)
{
	const struct rig *rig = demand->owner;
	(void)error;
	memcpy(to, rig_series(rig, guest, resource), demand->samples * sizeof *to);
	return true;
}

void rig_start(struct rig *rig, unsigned guests, unsigned samples, unsigned resources)
{
	*rig = (struct rig){.random = 88172645463325252};
	rig->value = calloc((size_t)guests * RESOURCE_COUNT * samples, sizeof *rig->value);
	rig->name = calloc(guests, sizeof *rig->name);
	for (unsigned i = 0; i < guests; i++) {
		char *name = malloc(16);
		assert(name != NULL);
		memcpy(name, "g0000", 6);
		for (unsigned digit = 4, rest = i; digit > 0; digit--, rest /= 10)
			name[digit] = (char)('0' + rest % 10);
		rig->name[i] = name;
	}
	rig->demand = (struct demand){guests, samples, rig->name, 0, 300, rig_read, rig};
	rig->host_class[0] = (struct fit_class){.name = "host", .cost = 1};
	for (unsigned r = 0; r < resources; r++)
		rig->host_class[0].capacity[r] = RIG_CAPACITY;
	rig->task = (struct fit_task){.demand = &rig->demand,
				      .host_class = rig->host_class,
				      .classes = 1,
				      .percentile = 100,
				      .steps = 20000,
				      .threads = 1};
}

void rig_end(struct rig *rig)
{
	for (unsigned i = 0; i < rig->demand.guests; i++)
		free((void *)rig->name[i]);
	free(rig->name);
	free(rig->value);
}

float *rig_series(const struct rig *rig, unsigned guest, enum resource resource)
{
	return rig->value + ((size_t)guest * RESOURCE_COUNT + resource) * rig->demand.samples;
}

unsigned rig_random(struct rig *rig, unsigned limit)
{
	rig->random ^= rig->random << 13;
	rig->random ^= rig->random >> 7;
	rig->random ^= rig->random << 17;
	return (unsigned)(rig->random >> 33) % limit;
}

void rig_fill(struct rig *rig, unsigned resources, unsigned most)
{
	for (unsigned g = 0; g < rig->demand.guests; g++)
		for (unsigned r = 0; r < resources; r++) {
			float *value = rig_series(rig, g, (enum resource)r), level = 0;
			for (unsigned t = 0; t < rig->demand.samples; t++) {
				if (t == 0 || rig_random(rig, 3) == 0)
					level =
					    (float)rig_random(rig, rig_random(rig, 2) == 0 ? most + 1 : most / 4 + 1);
				value[t] = level;
			}
		}
}

struct trying {
	const struct rig *rig;
	unsigned host_of[16];
	double *load; /* [host][resource][sample] */
	unsigned best;
};

static bool trying_add(struct trying *trying, unsigned host, unsigned guest, double sign)
{
	const struct rig *rig = trying->rig;
	bool fits = true;
	for (unsigned r = 0; r < RESOURCE_COUNT; r++) {
		double capacity = rig->host_class[0].capacity[r];
		double *load = trying->load + ((size_t)host * RESOURCE_COUNT + r) * rig->demand.samples;
		const float *value = rig_series(rig, guest, (enum resource)r);
		for (unsigned t = 0; capacity > 0 && t < rig->demand.samples; t++) {
			load[t] += sign * (double)value[t];
			fits = fits && load[t] <= capacity;
		}
	}
	return fits;
}

static bool groups_allow(const struct trying *trying, unsigned guest)
{
	const struct fit_task *task = &trying->rig->task;
	for (unsigned g = 0; g < task->groups; g++) {
		const struct fit_group *group = &task->group[g];
		bool in = false;
		for (unsigned i = 0; i < group->count; i++)
			in = in || group->guest[i] == guest;
		for (unsigned i = 0; in && i < group->count; i++)
			if (group->guest[i] < guest &&
			    (trying->host_of[group->guest[i]] == trying->host_of[guest]) == group->apart)
				return false;
	}
	return true;
}

static void trying_place(struct trying *trying, unsigned guest, unsigned hosts)
{
	if (hosts >= trying->best)
		return;
	if (guest == trying->rig->demand.guests) {
		trying->best = hosts;
		return;
	}
	for (unsigned host = 0; host <= hosts; host++) {
		trying->host_of[guest] = host;
		if (trying_add(trying, host, guest, 1) && groups_allow(trying, guest))
			trying_place(trying, guest + 1, host == hosts ? hosts + 1 : hosts);
		(void)trying_add(trying, host, guest, -1);
	}
}

unsigned rig_fewest(const struct rig *rig)
{
	unsigned guests = rig->demand.guests;
	struct trying trying = {.rig = rig, .best = guests + 1};
	assert(guests < sizeof trying.host_of / sizeof trying.host_of[0]);
	trying.load = calloc((size_t)(guests + 1) * RESOURCE_COUNT * rig->demand.samples, sizeof *trying.load);
	trying_place(&trying, 0, 0);
	free(trying.load);
	return trying.best;
}
