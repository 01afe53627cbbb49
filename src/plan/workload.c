/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "plan/workload.h"

#define MIB 1048576.0
/* What is much. A twentieth of the samples must be above. */
#define OFTEN 0.05
#define MUCH_IOPS 1000.0
#define MUCH_DISK 50.0 /* MB/s */
#define MUCH_NET 400.0 /* Mbit/s */
#define MUCH_INTERRUPT 0.05
#define MUCH_PAGING 100.0
#define MUCH_OVERHEAD 0.5

const char *const workload_flag_key[WORKLOAD_FLAG_COUNT] = {
#define X(name, key, text) key,
    WORKLOAD_FLAGS(X)
#undef X
};

const char *const workload_flag_text[WORKLOAD_FLAG_COUNT] = {
#define X(name, key, text) text,
    WORKLOAD_FLAGS(X)
#undef X
};

/* Returns how many gaps were filled; all of them if there was no value at all, and then with zeros. */
static size_t gaps_fill(float *value, size_t count)
{
	size_t filled = 0, first = 0;
	while (first < count && isnan(value[first]))
		first++;
	float last = first < count ? value[first] : 0;
	for (size_t i = 0; i < count; i++) {
		if (isnan(value[i])) {
			value[i] = last;
			filled++;
		}
		last = value[i];
	}
	return filled;
}

static bool series_read(const struct workload *workload, unsigned guest, enum estate_series series, float *to,
			size_t *filled, struct error *error)
{
	if (!estate_read(workload->estate, guest, series, &workload->grid, ESTATE_MAXIMUM, to, error))
		return false;
	*filled = gaps_fill(to, workload->grid.count);
	return true;
}

struct cpu_scratch {
	float *kernel, *interrupt, *io;
};

static bool cpu_scratch_read(const struct workload *workload, unsigned guest, struct cpu_scratch *scratch,
			     bool *kernel_assumed, struct error *error)
{
	size_t count = workload->grid.count, kernel, interrupt;
	scratch->kernel = malloc(3 * count * sizeof *scratch->kernel); /* holds the others too */
	if (scratch->kernel == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	scratch->interrupt = scratch->kernel + count;
	scratch->io = scratch->interrupt + count;
	if (!series_read(workload, guest, ESTATE_KERNEL, scratch->kernel, &kernel, error) ||
	    !series_read(workload, guest, ESTATE_INTERRUPT, scratch->interrupt, &interrupt, error) ||
	    !estate_read_resource(workload->estate, guest, ESTATE_IOPS, &workload->grid, ESTATE_MAXIMUM, scratch->io,
				  error)) {
		free(scratch->kernel);
		return false;
	}
	(void)gaps_fill(scratch->io, count);
	*kernel_assumed = kernel == count;
	if (interrupt == count)
		scratch->interrupt = NULL;
	return true;
}

/* In MHz: the share c of its own processors, of which k in the kernel and of that i in interrupts. */
static void cpu_load(const struct workload *workload, unsigned guest, const struct cpu_scratch *scratch,
		     bool kernel_assumed, float *value)
{
	const double *figure = workload->overhead->figure;
	double mhz = workload->mhz[guest], growth = 1 + workload->growth[RESOURCE_CPU];
	for (size_t t = 0; t < workload->grid.count; t++) {
		double c = (double)value[t];
		double k = kernel_assumed ? c * figure[OVERHEAD_kernel_assumed] : (double)scratch->kernel[t];
		double i =
		    scratch->interrupt == NULL ? c * figure[OVERHEAD_interrupt_assumed] : (double)scratch->interrupt[t];
		k = k < c ? k : c;
		i = i < k ? i : k;
		double more = (c - k) * figure[OVERHEAD_user] + (k - i) * figure[OVERHEAD_kernel] +
			      i * figure[OVERHEAD_interrupt];
		double io = (double)scratch->io[t] * figure[OVERHEAD_cycles_per_io] / 1e6;
		value[t] = (float)(((c + more) * mhz + io) * growth);
	}
}

static bool cpu_read(const struct workload *workload, unsigned guest, float *to, struct error *error)
{
	struct cpu_scratch scratch = {0};
	bool kernel_assumed = false;
	size_t filled;
	if (!series_read(workload, guest, ESTATE_CPU, to, &filled, error) ||
	    !cpu_scratch_read(workload, guest, &scratch, &kernel_assumed, error))
		return false;
	cpu_load(workload, guest, &scratch, kernel_assumed, to);
	free(scratch.kernel);
	return true;
}

static const struct {
	enum estate_resource from;
	double factor; /* to the units of enum resource */
} sources[RESOURCE_COUNT] = {
    [RESOURCE_CPU] = {ESTATE_MHZ, 1},	     [RESOURCE_MEMORY] = {ESTATE_BYTES, 1 / MIB},
    [RESOURCE_DISK] = {ESTATE_DISK, 1e-6},   [RESOURCE_IOPS] = {ESTATE_IOPS, 1},
    [RESOURCE_NET] = {ESTATE_NETWORK, 8e-6},
};

static bool workload_read(const struct demand *demand, unsigned guest, enum resource resource, float *to,
			  struct error *error)
{
	const struct workload *workload = demand->owner;
	if (resource == RESOURCE_CPU)
		return cpu_read(workload, guest, to, error);
	if (!estate_read_resource(workload->estate, guest, sources[resource].from, &workload->grid, ESTATE_MAXIMUM, to,
				  error))
		return false;
	(void)gaps_fill(to, workload->grid.count);
	const double *figure = workload->overhead->figure;
	bool memory = resource == RESOURCE_MEMORY;
	double factor = sources[resource].factor * (1 + workload->growth[resource]) *
			(1 + (memory ? figure[OVERHEAD_memory_share] : 0));
	double added = memory ? figure[OVERHEAD_guest_memory] : 0;
	for (size_t t = 0; t < workload->grid.count; t++)
		to[t] = (float)((double)to[t] * factor + added);
	return true;
}

static bool is_often_above(const float *value, size_t count, double limit)
{
	size_t above = 0;
	for (size_t i = 0; i < count; i++)
		above += (double)value[i] >= limit;
	return (double)above > OFTEN * (double)count;
}

static uint32_t flag_if(bool condition, enum workload_flag flag)
{
	return condition ? UINT32_C(1) << flag : 0;
}

static bool guest_measured(const struct workload *workload, unsigned guest, struct error *error)
{
	const struct estate_server *server = estate_server(workload->estate, guest);
	if (server->series[ESTATE_CPU].present == 0 || server->series[ESTATE_MEMORY].present == 0)
		return error_set(error, ERROR_INPUT,
				 "server '%.80s' has no measured %s: nothing can be planned with it", server->name,
				 server->series[ESTATE_CPU].present == 0 ? "processor use" : "memory use");
	if (!(workload->mhz[guest] > 0))
		return error_set(
		    error, ERROR_INPUT,
		    "server '%.80s': the number of its processors or their clock is not known; import it with "
		    "an attribute file",
		    server->name);
	return true;
}

static bool guest_note_demand(struct workload *workload, unsigned number, float *value, struct error *error)
{
	struct workload_guest *guest = &workload->guest[number];
	size_t count = workload->grid.count;
	static const double much[RESOURCE_COUNT] = {
	    [RESOURCE_DISK] = MUCH_DISK, [RESOURCE_IOPS] = MUCH_IOPS, [RESOURCE_NET] = MUCH_NET};
	bug_if(value == NULL);
	for (unsigned r = 0; r < RESOURCE_COUNT; r++) {
		if (!workload_read(&workload->demand, number, (enum resource)r, value, error))
			return false;
		double sum = 0;
		for (size_t t = 0; t < count; t++) {
			sum += (double)value[t];
			guest->peak[r] = (double)value[t] > guest->peak[r] ? (double)value[t] : guest->peak[r];
		}
		guest->mean[r] = sum / (double)count;
		guest->flags |= flag_if(much[r] > 0 && is_often_above(value, count, much[r]), WORKLOAD_IO_BOUND);
	}
	return true;
}

static bool guest_note(struct workload *workload, unsigned number, float *value, struct error *error)
{
	struct workload_guest *guest = &workload->guest[number];
	const struct estate_server *server = estate_server(workload->estate, number);
	size_t count = workload->grid.count, filled, filled_memory;
	if (!guest_measured(workload, number, error) || !guest_note_demand(workload, number, value, error) ||
	    !series_read(workload, number, ESTATE_INTERRUPT, value, &filled, error))
		return false;
	guest->flags |= flag_if(is_often_above(value, count, MUCH_INTERRUPT), WORKLOAD_INTERRUPTS);
	if (!series_read(workload, number, ESTATE_PAGING, value, &filled, error))
		return false;
	guest->flags |= flag_if(is_often_above(value, count, MUCH_PAGING), WORKLOAD_PAGING);
	if (!series_read(workload, number, ESTATE_MEMORY, value, &filled_memory, error) ||
	    !series_read(workload, number, ESTATE_CPU, value, &filled, error))
		return false;
	guest->filled = filled + filled_memory;
	guest->kernel_assumed = server->series[ESTATE_KERNEL].present == 0;
	double sum = 0;
	for (size_t t = 0; t < count; t++)
		sum += (double)value[t];
	guest->own_mhz = sum / (double)count * workload->mhz[number];
	double without = guest->own_mhz * (1 + workload->growth[RESOURCE_CPU]);
	guest->flags |= flag_if(guest->mean[RESOURCE_CPU] > without * (1 + MUCH_OVERHEAD), WORKLOAD_OVERHEAD);
	return true;
}

static bool guests_note(struct workload *workload, const double *rated, struct error *error)
{
	float *value = malloc(workload->grid.count * sizeof *value);
	bool good = value != NULL || error_set(error, ERROR_HOST, "out of memory");
	for (unsigned i = 0; good && i < workload->demand.guests; i++) {
		const struct estate_server *server = estate_server(workload->estate, i);
		workload->name[i] = server->name;
		workload->mhz[i] = rated != NULL ? rated[i] : server->cpus * server->mhz;
		good = guest_note(workload, i, value, error);
	}
	free(value);
	return good;
}

struct workload *workload_create(const struct estate *estate, const struct overhead *overhead,
				 const double growth[RESOURCE_COUNT], uint32_t interval, const double *rated,
				 struct error *error)
{
	size_t count = estate_count(estate);
	struct estate_grid grid = estate_common_grid(estate, interval);
	if (count == 0 || grid.count == 0) {
		(void)error_set(error, ERROR_INPUT, "the estate has no servers");
		return NULL;
	}
	if (count > DEMAND_GUESTS_MAX || grid.count > DEMAND_SAMPLES_MAX) {
		(void)error_set(
		    error, ERROR_INPUT,
		    "%zu servers with %llu samples are too many: at most %d and %d; --interval makes fewer samples",
		    count, (unsigned long long)grid.count, DEMAND_GUESTS_MAX, DEMAND_SAMPLES_MAX);
		return NULL;
	}
	struct workload *workload = calloc(1, sizeof *workload);
	if (workload != NULL) {
		workload->estate = estate;
		workload->overhead = overhead;
		workload->grid = grid;
		memcpy(workload->growth, growth, sizeof workload->growth);
		workload->guest = calloc(count, sizeof *workload->guest);
		workload->name = calloc(count, sizeof *workload->name);
		workload->mhz = calloc(count, sizeof *workload->mhz);
	}
	if (workload == NULL || workload->guest == NULL || workload->name == NULL || workload->mhz == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		workload_free(workload);
		return NULL;
	}
	workload->demand = (struct demand){.guests = (unsigned)count,
					   .samples = (unsigned)grid.count,
					   .name = workload->name,
					   .start = grid.start,
					   .interval = grid.interval,
					   .read = workload_read,
					   .owner = workload};
	if (!guests_note(workload, rated, error)) {
		workload_free(workload);
		return NULL;
	}
	return workload;
}

void workload_free(struct workload *workload)
{
	if (workload == NULL)
		return;
	free(workload->guest);
	free(workload->name);
	free(workload->mhz);
	free(workload);
}
