/* SPDX-License-Identifier: MIT */
/*
 * fit-scale ESTATE GUESTS SHIFT CPUS MEMORY_GIB STEPS THREADS: fits a resample of an estate. Guests are drawn with a
 * seed, and each is shifted in time by up to SHIFT samples, around the end. Prints one line of JSON. Demand is read as
 * the command reads it, without growth, overhead and headroom; hosts have 2.6 GHz, 4 GB/s of disk and 50 Gb/s of
 * network.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "plan/fit.h"
#include "plan/workload.h"

/* The real series, read once: a resample reads them 100 times. */
struct resample {
	float *value; /* [server][resource][sample] */
	size_t samples;
	unsigned *from, *shift; /* by guest */
};

static bool resample_read(const struct demand *demand, unsigned guest, enum resource resource, float *to,
			  struct error *error)
{
	const struct resample *resample = demand->owner;
	size_t samples = resample->samples, shift = resample->shift[guest];
	const float *from = resample->value + ((size_t)resample->from[guest] * RESOURCE_COUNT + resource) * samples;
	(void)error;
	memcpy(to, from + shift, (samples - shift) * sizeof *to);
	memcpy(to + samples - shift, from, shift * sizeof *to);
	return true;
}

static unsigned draw(uint64_t *random, unsigned limit)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return (unsigned)(*random >> 33) % limit;
}

static double seconds(clockid_t clock)
{
	struct timespec now;
	(void)clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int fail(const struct error *error)
{
	(void)fprintf(stderr, "fit-scale: %s\n", error->text);
	return 1;
}

static bool real_read(struct resample *resample, const struct demand *real, struct error *error)
{
	resample->samples = real->samples;
	resample->value = malloc((size_t)real->guests * RESOURCE_COUNT * real->samples * sizeof(float));
	for (unsigned g = 0; g < real->guests; g++)
		for (unsigned r = 0; r < RESOURCE_COUNT; r++)
			if (!real->read(real, g, (enum resource)r,
					resample->value + ((size_t)g * RESOURCE_COUNT + r) * real->samples, error))
				return false;
	return true;
}

int main(int argc, char **argv)
{
	struct error error = {0};
	if (argc != 8)
		return 2;
	unsigned guests = (unsigned)atoi(argv[2]), most = (unsigned)atoi(argv[3]);
	struct overhead overhead;
	const double no_growth[RESOURCE_COUNT] = {0};
	overhead_default(&overhead, "native");
	struct estate *estate = estate_open(argv[1], &error);
	struct workload *workload =
	    estate != NULL ? workload_create(estate, &overhead, no_growth, 0, NULL, &error) : NULL;
	struct resample resample = {0};
	if (workload == NULL || !real_read(&resample, &workload->demand, &error))
		return fail(&error);
	const char **name = malloc(guests * sizeof *name);
	resample.from = malloc(guests * sizeof *resample.from);
	resample.shift = malloc(guests * sizeof *resample.shift);
	uint64_t random = UINT64_C(88172645463325252);
	for (unsigned g = 0; g < guests; g++) {
		resample.from[g] = g < workload->demand.guests ? g : draw(&random, workload->demand.guests);
		resample.shift[g] = most != 0 ? draw(&random, most) : 0;
		name[g] = workload->demand.name[resample.from[g]];
	}
	struct demand demand = workload->demand;
	demand.guests = guests;
	demand.name = name;
	demand.read = resample_read;
	demand.owner = &resample;
	const struct fit_class host = {
	    .name = "host", .capacity = {2600 * atof(argv[4]), 1024 * atof(argv[5]), 4000, 0, 50000}, .cost = 1};
	const struct fit_task task = {.demand = &demand,
				      .host_class = &host,
				      .classes = 1,
				      .percentile = 100,
				      .steps = (unsigned)atoi(argv[6]),
				      .threads = (unsigned)atoi(argv[7])};
	double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	struct fit_plan *plan = fit_make(&task, &error);
	if (plan == NULL)
		return fail(&error);
	wall = seconds(CLOCK_MONOTONIC) - wall;
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	if (!fit_check(&task, plan, &error))
		return fail(&error);
	struct rusage usage;
	(void)getrusage(RUSAGE_SELF, &usage);
	uint32_t hash = 1;
	for (unsigned g = 0; g < guests; g++)
		hash = hash * 31 + plan->host_of[g];
	printf("{\"guests\": %u, \"samples\": %zu, \"shift\": %u, \"cpus\": %s, \"memory_gib\": %s, \"hosts\": %u, "
	       "\"bound\": %u, "
	       "\"by_peaks\": %u, \"seconds\": %.1f, \"cpu_seconds\": %.1f, \"resident_mib\": %ld, \"placement\": "
	       "\"%08x\"}\n",
	       guests, resample.samples, most, argv[4], argv[5], plan->hosts, plan->bound.hosts, plan->by_peaks, wall,
	       cpu, usage.ru_maxrss / 1024, hash);
	fit_plan_free(plan);
	free(name);
	free(resample.value);
	free(resample.from);
	free(resample.shift);
	workload_free(workload);
	estate_close(estate);
	return 0;
}
