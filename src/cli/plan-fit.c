/* SPDX-License-Identifier: MIT */
/* nfold plan fit: an estate and kinds of hosts in, plan.json out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/plan.h"
#include "control/report.h"
#include "plan/answer.h"
#include "plan/fit-exact.h"
#include "plan/ratings.h"
#include "plan/rules.h"

#define EXACT_NODES 50000 /* of a search by cbc; minutes at most where it decides at all */

struct fit_options {
	struct option_list host;
	const char *engine, *calibration, *ratings, *rules, *headroom, *growth, *percentile, *output, *csv;
	uint64_t spares, interval, steps, threads;
	bool keep, no_balance, exact;
};

#define AT(field) .offset = offsetof(struct fit_options, field)

static const struct option fit_options[] = {
    {"host", "SPEC", NULL, "a kind of host, repeatable: cpus=32,ghz=2.6,memory=512G and so on", .kind = OPTION_LIST,
     AT(host), .maximum = OPTION_LIST_MAX},
    {"engine", "ENGINE", "kvm", "how guests run", .kind = OPTION_CHOICE, .choices = overhead_engines, AT(engine)},
    {"calibration", "FILE", NULL, "measured overhead instead of the built-in figures", .kind = OPTION_TEXT,
     AT(calibration)},
    {"ratings", "FILE", NULL, "a table of benchmark ratings: model or server, rating of a processor",
     .kind = OPTION_TEXT, AT(ratings)},
    {"rules", "FILE", NULL, "which guests go together, apart, or to a host by name", .kind = OPTION_TEXT, AT(rules)},
    {"headroom", "SHARES", "10%", "what stays free: 15%, or cpu=20%,memory=10%", .kind = OPTION_TEXT, AT(headroom)},
    {"growth", "SHARES", "0%", "what guests will need more", .kind = OPTION_TEXT, AT(growth)},
    {"percentile", "P", "100", "100: no sample over capacity; 99: one in 100", .kind = OPTION_TEXT, AT(percentile)},
    {"spares", "N", "0", "how many hosts may fail at the same time", .kind = OPTION_NUMBER, AT(spares),
     .maximum = 1000},
    {"keep", NULL, NULL, "move only what must move, from where the rules say it runs now", .kind = OPTION_FLAG,
     AT(keep)},
    {"no-balance", NULL, NULL, "do not level the hosts", .kind = OPTION_FLAG, AT(no_balance)},
    {"exact", NULL, NULL, "small cases: search for fewer hosts until there are none, by cbc", .kind = OPTION_FLAG,
     AT(exact)},
    {"interval", "SECONDS", "0", "the time grid; 0: the longest interval of any server", .kind = OPTION_NUMBER,
     AT(interval), .maximum = 604800},
    {"steps", "N", "200000", "of search for fewer hosts", .kind = OPTION_NUMBER, AT(steps), .maximum = 2000000000},
    {"threads", "N", "0", "0: one for each processor; the answer is the same", .kind = OPTION_NUMBER, AT(threads),
     .maximum = 64},
    {"output", "FILE", NULL, "write the plan as JSON", .kind = OPTION_TEXT, AT(output), .letter = 'o'},
    {"csv", "FILE", NULL, "write a row for each guest as CSV", .kind = OPTION_TEXT, AT(csv)},
    {0},
};

struct fitting {
	const struct fit_options *options;
	struct estate *estate;
	struct overhead overhead, no_overhead;
	struct workload *workload;
	struct host_spec spec[FIT_CLASSES_MAX];
	struct fit_class host_class[FIT_CLASSES_MAX];
	double headroom[RESOURCE_COUNT], growth[RESOURCE_COUNT];
	bool cost_known;
	struct ratings *ratings;
	double mhz_of_one; /* of a unit of rating, in MHz of the first kind of host; 0: clocks count */
	double *rated;	   /* by server; NULL: the same */
	struct fit_task task;
	struct rules *rules;
	struct fit_plan *plan;
};

static bool specs_read(struct fitting *fitting, struct error *error)
{
	const struct option_list *list = &fitting->options->host;
	if (list->count == 0)
		return error_set(error, ERROR_INPUT,
				 "no --host: say what hosts there may be, as --host cpus=32,ghz=2.6,memory=512G");
	for (unsigned c = 0; c < list->count; c++) {
		struct host_spec *spec = &fitting->spec[c];
		if (!host_spec_read(spec, list->item[c], error))
			return false;
		for (unsigned k = 0; k < c; k++)
			if (strcmp(spec->name, fitting->spec[k].name) == 0)
				return error_set(error, ERROR_INPUT,
						 "two kinds of host are called '%s': give them name=", spec->name);
		if ((spec->cost > 0) != (fitting->spec[0].cost > 0))
			return error_set(error, ERROR_INPUT, "--host: cost= is for every kind of host or for none");
	}
	fitting->task.classes = list->count;
	fitting->cost_known = fitting->spec[0].cost > 0;
	return true;
}

/* A rating for every kind of host, or for none. Processors of a kind are worth MHz of the first kind's by their rating.
 */
static bool specs_rate(struct fitting *fitting, struct error *error)
{
	struct host_spec *first = &fitting->spec[0];
	for (unsigned c = 0; c < fitting->task.classes; c++) {
		struct host_spec *spec = &fitting->spec[c];
		if (spec->model[0] != '\0' && !(spec->rating > 0))
			spec->rating = ratings_of_model(fitting->ratings, spec->model);
		if (spec->model[0] != '\0' && !(spec->rating > 0))
			return error_set(error, ERROR_INPUT, "--host: no row of --ratings is of the model '%.60s'",
					 spec->model);
		if (spec->rating > RATING_MAX || (spec->rating > 0) != (first->rating > 0))
			return error_set(error, ERROR_INPUT,
					 "--host: a rating up to %g is for every kind of host or for none", RATING_MAX);
	}
	if (!(first->rating > 0))
		return fitting->ratings == NULL ||
		       error_set(error, ERROR_INPUT, "--ratings: what do hosts do? Add rating= or model= to --host");
	fitting->mhz_of_one = first->capacity[RESOURCE_CPU] / first->processors / first->rating;
	for (unsigned c = 1; c < fitting->task.classes; c++)
		fitting->spec[c].capacity[RESOURCE_CPU] =
		    fitting->spec[c].processors * fitting->spec[c].rating * fitting->mhz_of_one;
	return true;
}

/* What guests may use of a host: without its own use and the headroom. */
static bool classes_make(struct fitting *fitting, const struct overhead *overhead, struct error *error)
{
	for (unsigned c = 0; c < fitting->task.classes; c++) {
		const struct host_spec *spec = &fitting->spec[c];
		struct fit_class *host_class = &fitting->host_class[c];
		*host_class = (struct fit_class){
		    .name = spec->name, .limit = spec->count, .cost = fitting->cost_known ? spec->cost : 1};
		for (unsigned r = 0; r < RESOURCE_COUNT; r++)
			host_class->capacity[r] = spec->capacity[r] * (1 - fitting->headroom[r]);
		host_class->capacity[RESOURCE_CPU] -=
		    spec->capacity[RESOURCE_CPU] * overhead->figure[OVERHEAD_host_cpu];
		host_class->capacity[RESOURCE_MEMORY] -= overhead->figure[OVERHEAD_host_memory];
		for (unsigned r = 0; r < RESOURCE_COUNT; r++)
			if (spec->capacity[r] > 0 && !(host_class->capacity[r] > 0))
				return error_set(error, ERROR_INPUT,
						 "kind '%s': headroom and the host's own use leave no %s for guests",
						 spec->name, resource_key[r]);
	}
	return true;
}

static bool percentile_read(struct fitting *fitting, struct error *error)
{
	char *end;
	const char *text = fitting->options->percentile;
	fitting->task.percentile = strtod(text, &end);
	if (end == text || *end != '\0' || strspn(text, "0123456789.") != strlen(text) ||
	    !(fitting->task.percentile >= 50 && fitting->task.percentile <= 100))
		return error_set(error, ERROR_INPUT, "--percentile: '%.40s' is not a number from 50 to 100", text);
	return true;
}

static bool options_read(struct fitting *fitting, struct error *error)
{
	const struct fit_options *options = fitting->options;
	if (!specs_read(fitting, error) || !shares_read(fitting->headroom, "headroom", options->headroom, error) ||
	    !shares_read(fitting->growth, "growth", options->growth, error) || !percentile_read(fitting, error))
		return false;
	overhead_default(&fitting->overhead, options->engine);
	overhead_default(&fitting->no_overhead, "native");
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	fitting->task.spares = (unsigned)options->spares;
	fitting->task.steps = (unsigned)options->steps;
	fitting->task.threads = options->threads != 0 ? (unsigned)options->threads
				: processors > 0      ? (unsigned)processors
						      : 1;
	fitting->task.balance = !options->no_balance;
	fitting->task.keep = options->keep;
	fitting->task.host_class = fitting->host_class;
	if (options->keep && options->rules == NULL)
		return error_set(error, ERROR_INPUT, "--keep needs --rules with 'now', which says where guests run");
	if (options->ratings != NULL && (fitting->ratings = ratings_load(options->ratings, error)) == NULL)
		return false;
	return specs_rate(fitting, error) &&
	       (options->calibration == NULL || overhead_load(&fitting->overhead, options->calibration, error)) &&
	       classes_make(fitting, &fitting->overhead, error);
}

static bool fitting_run(struct fitting *fitting, const char *path, struct error *error)
{
	if (!options_read(fitting, error) || (fitting->estate = estate_open(path, error)) == NULL)
		return false;
	if (fitting->mhz_of_one > 0 &&
	    (fitting->rated = ratings_servers(fitting->ratings, fitting->estate, fitting->mhz_of_one, error)) == NULL)
		return false;
	fitting->workload = workload_create(fitting->estate, &fitting->overhead, fitting->growth,
					    (uint32_t)fitting->options->interval, fitting->rated, error);
	if (fitting->workload == NULL)
		return false;
	fitting->task.demand = &fitting->workload->demand;
	if (fitting->options->rules != NULL &&
	    (fitting->rules = rules_load(&fitting->task, fitting->options->rules, error)) == NULL)
		return false;
	fitting->plan = fit_make(&fitting->task, error);
	if (fitting->plan != NULL && fitting->options->exact &&
	    !fit_exact(&fitting->task, &fitting->plan, EXACT_NODES, error))
		return false;
	return fitting->plan != NULL && fit_check(&fitting->task, fitting->plan, error);
}

/* The same workloads under one operating system for each host: no guests, so no overhead. */
static bool one_os_choice(struct fitting *fitting, struct answer_choice *choice, struct error *error)
{
	*choice = (struct answer_choice){.has_cost = true};
	struct workload *workload = workload_create(fitting->estate, &fitting->no_overhead, fitting->growth,
						    (uint32_t)fitting->options->interval, fitting->rated, error);
	if (workload == NULL || !classes_make(fitting, &fitting->no_overhead, error)) {
		workload_free(workload);
		return false;
	}
	struct fit_task task = fitting->task;
	task.demand = &workload->demand;
	task.balance = false;
	struct fit_plan *plan = fit_make(&task, NULL);
	if (plan != NULL) {
		choice->machines = plan->hosts;
		choice->cost = plan->cost;
	}
	fit_plan_free(plan);
	workload_free(workload);
	return classes_make(fitting, &fitting->overhead, error);
}

static bool answer_write(struct fitting *fitting, const char *path, struct error *error)
{
	struct answer answer = {.estate = path,
				.workload = fitting->workload,
				.task = &fitting->task,
				.plan = fitting->plan,
				.spec = fitting->spec,
				.headroom = fitting->headroom,
				.cost_known = fitting->cost_known,
				.rated = fitting->rated != NULL,
				.native = {.machines = fitting->workload->demand.guests},
				.virtual = {fitting->plan->hosts, fitting->plan->cost, true}};
	const struct fit_options *options = fitting->options;
	if (options->output == NULL && options->csv == NULL)
		return true;
	if (!one_os_choice(fitting, &answer.one_os, error))
		return false;
	json_t *json = answer_json(&answer, error);
	bool good = json != NULL && (options->output == NULL || plan_file_write(options->output, json, NULL, error)) &&
		    (options->csv == NULL || plan_file_write(options->csv, json, answer_csv, error));
	json_decref(json);
	return good;
}

static void result_print(const struct fitting *fitting)
{
	const struct fit_plan *plan = fitting->plan;
	printf("%u guests fit %u hosts", fitting->task.demand->guests, plan->hosts);
	for (unsigned c = 0; fitting->task.classes > 1 && c < fitting->task.classes; c++) {
		unsigned used = 0;
		for (unsigned h = 0; h < plan->hosts; h++)
			used += plan->host[h].host_class == c;
		printf("%s%u %s", c == 0 ? " (" : ", ", used, fitting->host_class[c].name);
	}
	printf("%s", fitting->task.classes > 1 ? ")" : "");
	if (fitting->task.spares != 0)
		printf(", %u of them spare", fitting->task.spares);
	printf("; fewer than %u cannot do", plan->bound.hosts);
	if (fitting->cost_known)
		printf("; cost %.10g, at least %.10g", plan->cost, plan->bound.cost);
	printf(".\nAdding up peaks would take %u.", plan->by_peaks);
	if (fitting->task.now != NULL)
		printf(" %u guests move.", plan->moved);
	printf("\n");
}

static void fitting_end(struct fitting *fitting)
{
	fit_plan_free(fitting->plan);
	rules_free(fitting->rules);
	workload_free(fitting->workload);
	estate_close(fitting->estate);
	ratings_free(fitting->ratings);
	free(fitting->rated);
}

static int fit_run(const struct command_call *call)
{
	struct fitting fitting = {.options = call->options};
	struct error error = {0};
	bool good =
	    fitting_run(&fitting, call->argument[0], &error) && answer_write(&fitting, call->argument[0], &error);
	if (good)
		result_print(&fitting);
	fitting_end(&fitting);
	return good ? STATUS_OK : (int)report_error(&error);
}

const struct command command_plan_fit = {
    .name = "plan fit",
    .arguments = "ESTATE",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "find how few hosts the servers fit as guests",
    .description = "Packs the servers of an estate as guests into as few hosts as it can, looking at each resource at\n"
		   "each sample. Says beside the number of hosts how many are needed at least, which is proven.\n"
		   "Resources whose capacity --host does not state are not looked at.",
    .options = fit_options,
    .run = fit_run,
};
