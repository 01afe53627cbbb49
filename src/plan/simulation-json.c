/* SPDX-License-Identifier: MIT */
/* A simulation as JSON, as a table for people, as CSV; and read back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plan/csv-text.h"
#include "plan/simulation-impl.h"

#define SHOWN 8 /* guests of a window that people see */

static const struct {
	const char *unit, *text, *source;
	double fallback;
} figures[SIMULATION_FIGURE_COUNT] = {
#define X(key, unit, value, lowest, highest, text, source) {unit, text, source, value},
    SIMULATION_FIGURES(X)
#undef X
};

/* Of a guest in a window: its share of its vCPUs' time, or milliseconds. */
static const struct column {
	const char *key, *text;
} columns[] = {
    {"used", "used, share of its vCPUs' time"},
    {"ready", "ready"},
    {"co_stop", "co-stop"},
    {"limited", "limited"},
    {"undone", "share of its work left undone"},
    {"burst_ms", "delay of a burst, mean, ms"},
    {"burst_p95_ms", "delay of a burst, 95 % below, ms"},
    {"io_ms", "delay of a disk request, mean, ms"},
    {"io_p95_ms", "delay of a disk request, 95 % below, ms"},
    {"disk_queue_ms", "of that in the disk's queue, mean, ms"},
    {"network_ms", "delay of a network message, mean, ms"},
    {"network_p95_ms", "delay of a network message, 95 % below, ms"},
    {"network_queue_ms", "of that in the network's queue, mean, ms"},
};
#define COLUMNS (sizeof columns / sizeof columns[0])

/* Five digits; more is noise. */
static json_t *number(double value)
{
	char text[32];
	(void)snprintf(text, sizeof text, "%.5g", isfinite(value) ? value : 0);
	return json_real(strtod(text, NULL));
}

json_t *simulation_figures_json(const struct simulation_options *options)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < SIMULATION_FIGURE_COUNT; i++) {
		bool own = fabs(options->figure[i] - figures[i].fallback) > 1e-12;
		(void)json_array_append_new(list, json_pack("{s:s, s:o, s:s, s:s, s:s}", "key", simulation_key[i],
							    "value", number(options->figure[i]), "unit",
							    figures[i].unit, "what", figures[i].text, "source",
							    own ? "the command line" : figures[i].source));
	}
	(void)json_array_append_new(
	    list, json_pack("{s:s, s:f, s:s, s:s, s:s}", "key", "seed", "value", (double)options->seed, "unit", "",
			    "what", "bursts and requests come independently of each other (Poisson); this chooses them",
			    "source", "assumption; many independent sources together are near it (Palm and Khinchin)"));
	return list;
}

static json_t *guest_json(const json_t *plan, const struct simulation_window *window, unsigned member)
{
	const struct sim_guest_result *result = &window->result.guest[member];
	const json_t *index = json_array_get(window->members, member);
	const json_t *guest = json_array_get(json_object_get(plan, "guests"), (size_t)json_integer_value(index));
	unsigned vcpus = window->policy[member].vcpus;
	double all = (double)window->result.span_ns * vcpus;
	double value[COLUMNS] = {result->done_ns / all,
				 result->time_ns[SCHED_READY] / all,
				 result->time_ns[SCHED_CO_STOP] / all,
				 result->time_ns[SCHED_LIMITED] / all,
				 result->asked_ns > 0 ? 1 - result->done_ns / result->asked_ns : 0,
				 result->burst.mean_ns / 1e6,
				 result->burst.p95_ns / 1e6,
				 result->io[SIM_DISK].mean_ns / 1e6,
				 result->io[SIM_DISK].p95_ns / 1e6,
				 result->queue[SIM_DISK].mean_ns / 1e6,
				 result->io[SIM_NETWORK].mean_ns / 1e6,
				 result->io[SIM_NETWORK].p95_ns / 1e6,
				 result->queue[SIM_NETWORK].mean_ns / 1e6};
	json_t *object =
	    json_pack("{s:I, s:s, s:i, s:i, s:b, s:I, s:I, s:I}", "guest", json_integer_value(index), "name",
		      json_string_value(json_object_get(guest, "name")), "vcpus", (int)vcpus, "shares",
		      (int)window->policy[member].shares, "saturated", (int)result->saturated, "bursts",
		      (json_int_t)result->burst.count, "requests", (json_int_t)result->io[SIM_DISK].count, "messages",
		      (json_int_t)result->io[SIM_NETWORK].count);
	for (unsigned i = 0; i < COLUMNS; i++)
		(void)json_object_set_new(object, columns[i].key, number(value[i]));
	return object;
}

json_t *simulation_window_json(const json_t *plan, const struct simulation_window *window, int64_t start)
{
	const struct sim_result *result = &window->result;
	const json_t *host = json_array_get(json_object_get(plan, "hosts"), window->host);
	double all = (double)result->span_ns * window->processors, asked = 0, ready = 0, co_stop = 0;
	json_t *guests = json_array();
	for (unsigned i = 0; i < window->guests; i++) {
		asked += result->guest[i].asked_ns;
		ready += result->guest[i].time_ns[SCHED_READY];
		co_stop += result->guest[i].time_ns[SCHED_CO_STOP];
		(void)json_array_append_new(guests, guest_json(plan, window, i));
	}
	return json_pack(
	    "{s:i, s:s, s:I, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:b, s:I, s:o}", "host",
	    (int)window->host, "name", json_string_value(json_object_get(host, "name")), "time", (json_int_t)start,
	    "seconds", number((double)result->span_ns / 1e9), "processors", (int)window->processors, "used",
	    number(result->busy_ns / all), "asked", number(asked / all),
	    /* In processors: how many vCPUs are ready at a time, in the mean. */
	    "ready", number(ready / (double)result->span_ns), "co_stop", number(co_stop / (double)result->span_ns),
	    "spare", number(result->spare_ns / (double)result->span_ns), "disk_busy",
	    number(result->device_busy[SIM_DISK]), "disk", window->device[SIM_DISK].channels != 0, "network_busy",
	    number(result->device_busy[SIM_NETWORK]), "network", window->device[SIM_NETWORK].channels != 0, "decisions",
	    (json_int_t)result->decisions, "guests", guests);
}

static double value_of(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? text : "";
}

static void moment_text(const json_t *window, const char *format, char *text, size_t size)
{
	struct tm tm;
	time_t time = (time_t)json_integer_value(json_object_get(window, "time"));
	if (gmtime_r(&time, &tm) == NULL || strftime(text, size, format, &tm) == 0)
		(void)snprintf(text, size, "?");
}

/* Who waited longest comes first. */
static double waited(const json_t *guest)
{
	return value_of(guest, "ready") + value_of(guest, "co_stop") + value_of(guest, "limited");
}

static int by_wait(const void *a, const void *b)
{
	const json_t *one = *(json_t *const *)a, *other = *(json_t *const *)b;
	double difference = waited(other) - waited(one);
	if (difference > 0 || difference < 0)
		return difference > 0 ? 1 : -1;
	return strcmp(text_of(one, "name"), text_of(other, "name"));
}

static void delay_print(const json_t *guest, const char *count, const char *mean, const char *p95, FILE *to)
{
	if (value_of(guest, count) > 0)
		(void)fprintf(to, " %8.2f /%7.2f", value_of(guest, mean), value_of(guest, p95));
	else
		(void)fprintf(to, " %17s", "");
}

static void guests_print(const json_t *guests, FILE *to)
{
	size_t count = json_array_size(guests), shown = count < SHOWN ? count : SHOWN;
	const json_t **order = calloc(count + 1, sizeof(json_t *));
	if (order == NULL)
		return;
	for (size_t i = 0; i < count; i++)
		order[i] = json_array_get(guests, i);
	qsort(order, count, sizeof(json_t *), by_wait);
	(void)fprintf(to, "  %-24s %5s %6s %7s %7s %7s %17s %17s %17s\n", "guest", "vCPUs", "used", "ready", "co-stop",
		      "limited", "burst mean/p95 ms", "disk mean/p95 ms", "net mean/p95 ms");
	for (size_t i = 0; i < shown; i++) {
		const json_t *guest = order[i];
		(void)fprintf(to, "  %-24.24s %5d %5.1f%% %6.2f%% %6.2f%% %6.2f%% %8.2f /%7.2f", text_of(guest, "name"),
			      (int)value_of(guest, "vcpus"), 100 * value_of(guest, "used"),
			      100 * value_of(guest, "ready"), 100 * value_of(guest, "co_stop"),
			      100 * value_of(guest, "limited"), value_of(guest, "burst_ms"),
			      value_of(guest, "burst_p95_ms"));
		delay_print(guest, "requests", "io_ms", "io_p95_ms", to);
		delay_print(guest, "messages", "network_ms", "network_p95_ms", to);
		(void)fprintf(to, "%s\n",
			      json_is_true(json_object_get(guest, "saturated")) ? "  wants all it has" : "");
	}
	if (count > shown)
		(void)fprintf(to, "  and %zu guests that waited less\n", count - shown);
	free(order);
}

void simulation_print(const json_t *simulation, FILE *to)
{
	size_t i;
	json_t *window;
	json_array_foreach(json_object_get(simulation, "windows"), i, window)
	{
		char moment[32];
		moment_text(window, "%Y-%m-%d %H:%M", moment, sizeof moment);
		(void)fprintf(to, "%s%s, %s UTC, %g min: %d processors %.0f %% busy; in the mean %.2f vCPUs ready",
			      i == 0 ? "" : "\n", text_of(window, "name"), moment, value_of(window, "seconds") / 60,
			      (int)value_of(window, "processors"), 100 * value_of(window, "used"),
			      value_of(window, "ready"));
		if (value_of(window, "co_stop") > 0)
			(void)fprintf(to, ", %.2f in co-stop", value_of(window, "co_stop"));
		if (json_is_true(json_object_get(window, "disk")))
			(void)fprintf(to, "; disk %.0f %% busy", 100 * value_of(window, "disk_busy"));
		if (json_is_true(json_object_get(window, "network")))
			(void)fprintf(to, "; network %.0f %% busy", 100 * value_of(window, "network_busy"));
		(void)fputs("\n", to);
		guests_print(json_object_get(window, "guests"), to);
	}
	if (i == 0)
		(void)fputs("The plan names no risky hour: nothing is used at all.\n", to);
}

bool simulation_csv(const json_t *simulation, FILE *to, struct error *error)
{
	size_t i, k;
	json_t *window, *guest;
	(void)fputs("host,time,seconds,guest,vcpus,shares,bursts,requests,messages", to);
	for (unsigned c = 0; c < COLUMNS; c++)
		(void)fprintf(to, ",\"%s\"", columns[c].text);
	(void)fputs("\r\n", to);
	json_array_foreach(json_object_get(simulation, "windows"), i, window)
	{
		char moment[32];
		moment_text(window, "%Y-%m-%dT%H:%M:%SZ", moment, sizeof moment);
		json_array_foreach(json_object_get(window, "guests"), k, guest)
		{
			csv_text(to, text_of(window, "name"));
			(void)fprintf(to, ",%s,%g,", moment, value_of(window, "seconds"));
			csv_text(to, text_of(guest, "name"));
			(void)fprintf(to, ",%d,%d,%.0f,%.0f,%.0f", (int)value_of(guest, "vcpus"),
				      (int)value_of(guest, "shares"), value_of(guest, "bursts"),
				      value_of(guest, "requests"), value_of(guest, "messages"));
			for (unsigned c = 0; c < COLUMNS; c++)
				(void)fprintf(to, ",%.5g", value_of(guest, columns[c].key));
			(void)fputs("\r\n", to);
		}
	}
	return ferror(to) == 0 || error_set_errno(error, "cannot write the CSV file");
}

static bool guests_check(const json_t *guests)
{
	size_t i;
	json_t *guest;
	json_array_foreach((json_t *)guests, i, guest)
	{
		for (unsigned c = 0; c < COLUMNS; c++)
			if (!json_is_number(json_object_get(guest, columns[c].key)))
				return false;
		if (!json_is_string(json_object_get(guest, "name")) ||
		    !json_is_integer(json_object_get(guest, "vcpus")) ||
		    !json_is_integer(json_object_get(guest, "requests")) ||
		    !json_is_integer(json_object_get(guest, "messages")) ||
		    !json_is_boolean(json_object_get(guest, "saturated")))
			return false;
	}
	return json_is_array(guests);
}

static bool window_check(const json_t *plan, const json_t *window)
{
	static const char *const numbers[] = {"seconds", "used", "ready", "co_stop", "disk_busy", "network_busy"};
	const json_t *host = json_object_get(window, "host"), *time = json_object_get(window, "time");
	json_int_t index = json_integer_value(host);
	size_t hosts = json_array_size(json_object_get(plan, "hosts"));
	for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		if (!json_is_number(json_object_get(window, numbers[i])))
			return false;
	return json_is_integer(host) && index >= 0 && (size_t)index < hosts && json_is_integer(time) &&
	       json_integer_value(time) >= 0 && json_integer_value(time) < ESTATE_START_MAX &&
	       json_is_integer(json_object_get(window, "processors")) &&
	       json_is_boolean(json_object_get(window, "disk")) &&
	       json_is_boolean(json_object_get(window, "network")) &&
	       strcmp(text_of(window, "name"),
		      text_of(json_array_get(json_object_get(plan, "hosts"), (size_t)index), "name")) == 0 &&
	       guests_check(json_object_get(window, "guests"));
}

static bool simulation_check(const json_t *root, const json_t *plan, const char *path, struct error *error)
{
	size_t i;
	json_t *element;
	const json_t *windows = json_object_get(root, "windows"), *assumptions = json_object_get(root, "assumptions");
	if (strcmp(text_of(root, "format"), SIMULATION_FORMAT) != 0 ||
	    json_integer_value(json_object_get(root, "version")) != SIMULATION_VERSION || !json_is_array(windows) ||
	    !json_is_array(assumptions))
		return error_set(error, ERROR_INPUT,
				 "%.200s: this is not a simulation: nfold plan simulate -o writes one", path);
	json_array_foreach((json_t *)windows, i, element)
	{
		if (!window_check(plan, element))
			return error_set(error, ERROR_INPUT, "%.200s: windows[%zu] is not of a host of this plan", path,
					 i);
	}
	json_array_foreach((json_t *)assumptions, i, element)
	{
		if (!json_is_number(json_object_get(element, "value")) ||
		    !json_is_string(json_object_get(element, "unit")) ||
		    !json_is_string(json_object_get(element, "what")) ||
		    !json_is_string(json_object_get(element, "source")))
			return error_set(error, ERROR_INPUT, "%.200s: assumptions[%zu] is not what nfold writes", path,
					 i);
	}
	return true;
}

json_t *simulation_load(const char *path, const json_t *plan, struct error *error)
{
	json_error_t where;
	json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
	if (root == NULL) {
		(void)error_set(error, ERROR_INPUT, "%.200s:%d:%d: %.120s", path, where.line, where.column, where.text);
		return NULL;
	}
	if (simulation_check(root, plan, path, error))
		return root;
	json_decref(root);
	return NULL;
}
