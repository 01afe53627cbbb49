/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/pool.h"
#include "plan/simulation-impl.h"

#define BYTES_PER_MB 1e6
#define BYTES_PER_MBIT 125000
#define MHZ_MIN 1e-3
#define MHZ_MAX 1e18

const char *const simulation_key[SIMULATION_FIGURE_COUNT] = {
#define X(key, unit, value, lowest, highest, text, source) #key,
    SIMULATION_FIGURES(X)
#undef X
};

const double simulation_default[SIMULATION_FIGURE_COUNT] = {
#define X(key, unit, value, lowest, highest, text, source) value,
    SIMULATION_FIGURES(X)
#undef X
};

static const double lowest_of[SIMULATION_FIGURE_COUNT] = {
#define X(key, unit, value, lowest, highest, text, source) lowest,
    SIMULATION_FIGURES(X)
#undef X
};

static const double highest_of[SIMULATION_FIGURE_COUNT] = {
#define X(key, unit, value, lowest, highest, text, source) highest,
    SIMULATION_FIGURES(X)
#undef X
};

bool simulation_figure_set(struct simulation_options *options, enum simulation_figure figure, double value,
			   struct error *error)
{
	if (!(value >= lowest_of[figure] && value <= highest_of[figure]))
		return error_set(error, ERROR_INPUT, "%s is a number from %g to %g", simulation_key[figure],
				 lowest_of[figure], highest_of[figure]);
	options->figure[figure] = value;
	return true;
}

struct simulation {
	const json_t *plan;
	const struct simulation_options *options;
	struct overhead overhead;
	struct estate *estate;
	double *rated; /* by server; NULL: clocks count */
	struct workload *workload;
	struct sched_guest_policy *policy; /* by guest */
	struct simulation_window *window;
	unsigned windows;
};

static double number_in(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

/* The overhead the plan was made with; what it does not name is nothing. */
static bool overhead_read(struct simulation *simulation, struct error *error)
{
	size_t i;
	json_t *row;
	const char *engine = json_string_value(json_object_get(json_object_get(simulation->plan, "options"), "engine"));
	overhead_default(&simulation->overhead, "native");
	(void)snprintf(simulation->overhead.engine, sizeof simulation->overhead.engine, "%.31s",
		       engine != NULL ? engine : "");
	json_array_foreach(json_object_get(simulation->plan, "overhead"), i, row)
	{
		const char *key = json_string_value(json_object_get(row, "key"));
		double value = number_in(row, "value");
		unsigned f = 0;
		while (key != NULL && f < OVERHEAD_FIGURE_COUNT && strcmp(overhead_key[f], key) != 0)
			f++;
		if (key == NULL || f == OVERHEAD_FIGURE_COUNT || !(value >= 0 && value <= 1e12))
			return error_set(error, ERROR_INPUT, "the plan's overhead[%zu] is no figure of overhead", i);
		simulation->overhead.figure[f] = value;
	}
	return true;
}

/* The estate must be what the plan was made of. */
static bool workload_matches(const struct simulation *simulation, const char *path, struct error *error)
{
	const struct demand *demand = &simulation->workload->demand;
	const json_t *guests = json_object_get(simulation->plan, "guests");
	const json_t *said = json_object_get(simulation->plan, "demand");
	bool same = json_array_size(guests) == demand->guests &&
		    json_integer_value(json_object_get(said, "start")) == demand->start &&
		    json_integer_value(json_object_get(said, "samples")) == demand->samples;
	for (unsigned g = 0; same && g < demand->guests; g++) {
		const char *name = json_string_value(json_object_get(json_array_get(guests, g), "name"));
		same = name != NULL && strcmp(name, demand->name[g]) == 0;
	}
	return same || error_set(error, ERROR_INPUT,
				 "%.200s: this is not the estate that the plan was made of: name that one behind the "
				 "plan",
				 path);
}

/* A plan by benchmark ratings says what each server can do. */
static bool rated_read(struct simulation *simulation, struct error *error)
{
	const json_t *guests = json_object_get(simulation->plan, "guests");
	size_t count = estate_count(simulation->estate), i;
	json_t *guest;
	if (!json_is_true(json_object_get(json_object_get(simulation->plan, "options"), "rated")))
		return true;
	if ((simulation->rated = calloc(count + 1, sizeof *simulation->rated)) == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	json_array_foreach(guests, i, guest)
	{
		double mhz = number_in(guest, "mhz");
		if (!(mhz > 0) || mhz > MHZ_MAX)
			return error_set(error, ERROR_INPUT, "the plan's guests[%zu] has no mhz, as ratings need", i);
		if (i < count)
			simulation->rated[i] = mhz;
	}
	return true;
}

static bool workload_open(struct simulation *simulation, const char *path, struct error *error)
{
	const json_t *demand = json_object_get(simulation->plan, "demand");
	const json_t *options = json_object_get(simulation->plan, "options");
	double growth[RESOURCE_COUNT];
	for (unsigned r = 0; r < RESOURCE_COUNT; r++)
		growth[r] = number_in(json_object_get(options, "growth"), resource_key[r]);
	if (path == NULL)
		path = json_string_value(json_object_get(demand, "estate"));
	if (!overhead_read(simulation, error) || (simulation->estate = estate_open(path, error)) == NULL ||
	    !rated_read(simulation, error))
		return false;
	simulation->workload = workload_create(simulation->estate, &simulation->overhead, growth,
					       (uint32_t)json_integer_value(json_object_get(demand, "interval")),
					       simulation->rated, error);
	return simulation->workload != NULL && workload_matches(simulation, path, error);
}

/* The kind of a host; report_load has checked that there is one. */
static const json_t *class_of(const json_t *plan, const json_t *host)
{
	const char *kind = json_string_value(json_object_get(host, "class"));
	size_t i;
	json_t *element;
	json_array_foreach(json_object_get(plan, "classes"), i, element)
	{
		if (strcmp(json_string_value(json_object_get(element, "name")), kind) == 0)
			return element;
	}
	return NULL;
}

static bool host_read(const struct simulation *simulation, struct simulation_window *window, struct error *error)
{
	const json_t *host = json_array_get(json_object_get(simulation->plan, "hosts"), window->host);
	const json_t *kind = class_of(simulation->plan, host), *capacity = json_object_get(kind, "capacity");
	double processors = round(number_in(kind, "processors"));
	processors = processors < 1 && number_in(kind, "processors") > 0 ? 1 : processors;
	if (!(processors >= 1))
		return error_set(
		    error, ERROR_INPUT,
		    "the plan does not say how many processors a host has: make it again, with this nfold");
	if (processors > SCHED_PROCESSORS_MAX)
		return error_set(error, ERROR_INPUT, "hosts of more than %d processors cannot be simulated",
				 SCHED_PROCESSORS_MAX);
	window->processors = (unsigned)processors;
	window->mhz = number_in(capacity, "cpu") / processors;
	const double *figure = simulation->options->figure;
	struct sim_device_task *disk = &window->device[SIM_DISK], *network = &window->device[SIM_NETWORK];
	*disk = (struct sim_device_task){.requests = number_in(capacity, "iops"),
					 .bytes = number_in(capacity, "disk") * BYTES_PER_MB,
					 .cv = figure[SIMULATION_disk_cv]};
	*network = (struct sim_device_task){.bytes = number_in(capacity, "net") * BYTES_PER_MBIT,
					    .cv = figure[SIMULATION_network_cv]};
	if (disk->requests > 0 || disk->bytes > 0)
		disk->channels = (unsigned)figure[SIMULATION_disk_channels];
	network->channels = network->bytes > 0 ? 1 : 0;
	window->members = json_object_get(host, "guests");
	window->guests = (unsigned)json_array_size(window->members);
	return (window->mhz > MHZ_MIN && disk->requests >= 0 && disk->bytes >= 0 && network->bytes >= 0) ||
	       error_set(error, ERROR_INPUT, "the plan's capacity of kind '%.64s' makes no sense",
			 json_string_value(json_object_get(kind, "name")));
}

/* Samples around the riskiest one. */
static void span_choose(const struct simulation *simulation, struct simulation_window *window, int64_t time)
{
	const struct demand *demand = &simulation->workload->demand;
	double seconds = simulation->options->figure[SIMULATION_minutes] * 60;
	int64_t sample = (time - demand->start) / demand->interval;
	double slots = ceil(seconds / demand->interval);
	window->slots = slots < demand->samples ? (unsigned)slots : demand->samples;
	window->slot_ns = (uint64_t)((seconds < demand->interval ? seconds : demand->interval) * 1e9);
	sample = sample < 0 ? 0 : sample >= demand->samples ? demand->samples - 1 : sample;
	int64_t first = sample - window->slots / 2, last = (int64_t)demand->samples - window->slots;
	window->first = (unsigned)(first < 0 ? 0 : first > last ? last : first);
}

static bool series_read(const struct simulation *simulation, struct simulation_window *window, unsigned member,
			float *value, struct error *error)
{
	const struct demand *demand = &simulation->workload->demand;
	unsigned guest = (unsigned)json_integer_value(json_array_get(window->members, member));
	double request = simulation->options->figure[SIMULATION_request_kib] * 1024;
	double message = simulation->options->figure[SIMULATION_message_kib] * 1024;
	float *cpu = value, *disk = cpu + demand->samples, *iops = disk + demand->samples,
	      *net = iops + demand->samples;
	if (!demand->read(demand, guest, RESOURCE_CPU, cpu, error) ||
	    !demand->read(demand, guest, RESOURCE_DISK, disk, error) ||
	    !demand->read(demand, guest, RESOURCE_IOPS, iops, error) ||
	    !demand->read(demand, guest, RESOURCE_NET, net, error))
		return false;
	for (unsigned s = 0; s < window->slots; s++) {
		unsigned t = window->first + s;
		struct sim_load *load = &window->load[(size_t)member * window->slots + s];
		double bytes = (double)disk[t] * BYTES_PER_MB;
		load->processors = (double)cpu[t] / window->mhz;
		load->request[SIM_DISK] = (struct sim_requests){iops[t] > 0 ? (double)iops[t] : bytes / request,
								iops[t] > 0 ? bytes / (double)iops[t] : request};
		load->request[SIM_NETWORK] = (struct sim_requests){(double)net[t] * BYTES_PER_MBIT / message, message};
	}
	window->policy[member] = simulation->policy[guest];
	if (window->policy[member].vcpus > window->processors)
		window->policy[member].vcpus = window->processors;
	return true;
}

static bool window_load(const struct simulation *simulation, struct simulation_window *window, struct error *error)
{
	unsigned samples = simulation->workload->demand.samples;
	float *value = malloc(4 * (size_t)samples * sizeof *value);
	window->policy = calloc((size_t)window->guests + 1, sizeof *window->policy);
	window->load = calloc((size_t)window->guests * window->slots + 1, sizeof *window->load);
	bool good = value != NULL && window->policy != NULL && window->load != NULL;
	if (!good)
		(void)error_set(error, ERROR_HOST, "out of memory");
	for (unsigned i = 0; good && i < window->guests; i++)
		good = series_read(simulation, window, i, value, error);
	free(value);
	return good;
}

/* Reservations and limits of the guests file are in MHz: kept in millions of MHz until the host is known. */
static void policies_scale(struct simulation_window *window)
{
	for (unsigned i = 0; i < window->guests; i++) {
		struct sched_guest_policy *policy = &window->policy[i];
		policy->reservation = (uint64_t)((double)policy->reservation / window->mhz);
		policy->limit = policy->limit == 0 ? 0 : (uint64_t)((double)policy->limit / window->mhz) + 1;
	}
}

static void window_run(const struct simulation *simulation, struct simulation_window *window)
{
	const double *figure = simulation->options->figure;
	if (!window_load(simulation, window, &window->error))
		return;
	policies_scale(window);
	struct sim_task task = {
	    .policy = {.processors = window->processors, .slice_ns = (uint64_t)(figure[SIMULATION_slice_ms] * 1e6)},
	    .guests = window->guests,
	    .guest = window->policy,
	    .slots = window->slots,
	    .slot_ns = window->slot_ns,
	    .load = window->load,
	    .burst = {figure[SIMULATION_burst_ms] * 1e6, figure[SIMULATION_burst_cv]},
	    .interrupt_ns = figure[SIMULATION_interrupt_us] * 1e3,
	    /* Of the moment, not of the window's number: another number of windows changes nothing. */
	    .seed = simulation->options->seed + window->host * UINT64_C(0x9e3779b97f4a7c15) + window->first};
	memcpy(task.device, window->device, sizeof task.device);
	window->good = sim_run(&task, &window->result, &window->error);
	free(window->load);
	window->load = NULL;
}

static void windows_run(void *context, size_t first, size_t last)
{
	struct simulation *simulation = context;
	for (size_t w = first; w < last; w++)
		window_run(simulation, &simulation->window[w]);
}

static bool windows_make(struct simulation *simulation, struct error *error)
{
	const json_t *risks = json_object_get(simulation->plan, "risks");
	size_t count = json_array_size(risks);
	count = count < simulation->options->windows ? count : simulation->options->windows;
	simulation->windows = (unsigned)count;
	simulation->window = calloc(count + 1, sizeof *simulation->window);
	if (simulation->window == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	for (size_t w = 0; w < count; w++) {
		struct simulation_window *window = &simulation->window[w];
		const json_t *risk = json_array_get(risks, w);
		window->host = (unsigned)json_integer_value(json_object_get(risk, "host"));
		span_choose(simulation, window, json_integer_value(json_object_get(risk, "time")));
		if (!host_read(simulation, window, error))
			return false;
	}
	struct pool *pool = pool_create(simulation->options->threads, error);
	if (pool == NULL)
		return false;
	pool_run(pool, count, 1, windows_run, simulation);
	pool_destroy(pool);
	for (size_t w = 0; w < count; w++)
		if (!simulation->window[w].good) {
			*error = simulation->window[w].error;
			return false;
		}
	return true;
}

static json_t *simulation_json(const struct simulation *simulation)
{
	json_t *windows = json_array();
	const struct demand *demand = &simulation->workload->demand;
	for (unsigned w = 0; w < simulation->windows; w++) {
		const struct simulation_window *window = &simulation->window[w];
		int64_t start = demand->start + (int64_t)window->first * demand->interval;
		(void)json_array_append_new(windows, simulation_window_json(simulation->plan, window, start));
	}
	return json_pack("{s:s, s:i, s:o, s:o}", "format", SIMULATION_FORMAT, "version", SIMULATION_VERSION,
			 "assumptions", simulation_figures_json(simulation->options), "windows", windows);
}

json_t *simulation_make(const json_t *plan, const char *estate, const struct simulation_options *options,
			struct error *error)
{
	struct simulation simulation = {.plan = plan, .options = options};
	json_t *json = NULL;
	if (workload_open(&simulation, estate, error) &&
	    (simulation.policy = simulation_policies(simulation.workload, options, error)) != NULL &&
	    windows_make(&simulation, error) && (json = simulation_json(&simulation)) == NULL)
		(void)error_set(error, ERROR_HOST, "out of memory");
	for (unsigned w = 0; w < simulation.windows && simulation.window != NULL; w++) {
		free(simulation.window[w].policy);
		free(simulation.window[w].load);
		sim_result_free(&simulation.window[w].result);
	}
	free(simulation.window);
	free(simulation.policy);
	free(simulation.rated);
	workload_free(simulation.workload);
	estate_close(simulation.estate);
	return json;
}
