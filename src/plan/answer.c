/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/answer.h"
#include "plan/csv-text.h"

#define CHART_NUMBERS 1500000 /* of all charts together */
#define CHART_POINTS 360
#define CHART_POINTS_MIN 24
#define RISKS 10

static const char *const proof_text[FIT_PROOF_COUNT] = {
    [FIT_PROOF_SUM] = "at this moment all guests together need that many hosts' capacity",
    [FIT_PROOF_BIG] = "at this moment the guests that need a large part of a host fill that many",
    [FIT_PROOF_APART] = "so many guests are each apart from all the others: by a rule, or since two exceed any host",
    [FIT_PROOF_SETS] = "of the largest guests so few can share a host, at all moments, that they alone fill that many",
    [FIT_PROOF_EXACT] = "an exact search, a mixed-integer program, found no placement on fewer",
};
static const char *const proof_key[FIT_PROOF_COUNT] = {"sum", "big", "apart", "sets", "exact"};

/* Four significant digits: files stay small, and nothing here is known better. */
static json_t *number(double value)
{
	if (!(value > 0) || !isfinite(value))
		return json_integer(0);
	double scale = pow(10, 3 - floor(log10(value)));
	double rounded = round(value * scale) / scale;
	return rounded < 1e15 && rounded == floor(rounded) ? json_integer((json_int_t)rounded) : json_real(rounded);
}

static json_t *by_resource(const double value[RESOURCE_COUNT])
{
	json_t *object = json_object();
	for (unsigned r = 0; r < RESOURCE_COUNT; r++)
		(void)json_object_set_new(object, resource_key[r], number(value[r]));
	return object;
}

static json_t *classes_json(const struct answer *answer)
{
	json_t *list = json_array();
	for (unsigned c = 0; c < answer->task->classes; c++) {
		const struct host_spec *spec = &answer->spec[c];
		json_t *object = json_pack("{s:s, s:i, s:f, s:o, s:o}", "name", spec->name, "count", (int)spec->count,
					   "processors", spec->processors, "capacity", by_resource(spec->capacity),
					   "usable", by_resource(answer->task->host_class[c].capacity));
		if (answer->cost_known)
			(void)json_object_set_new(object, "cost", json_real(spec->cost));
		if (answer->rated)
			(void)json_object_set_new(object, "rating", json_real(spec->rating));
		(void)json_array_append_new(list, object);
	}
	return list;
}

static json_t *overhead_json(const struct overhead *overhead)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < OVERHEAD_FIGURE_COUNT; i++)
		(void)json_array_append_new(list, json_pack("{s:s, s:f, s:s, s:s, s:s}", "key", overhead_key[i],
							    "value", overhead->figure[i], "unit", overhead_unit[i],
							    "what", overhead_text[i], "source", overhead->source[i]));
	return list;
}

static json_t *bound_json(const struct answer *answer)
{
	const struct fit_bound *bound = &answer->plan->bound;
	int64_t time = answer->workload->demand.start + (int64_t)bound->sample * answer->workload->demand.interval;
	return json_pack("{s:i, s:f, s:s, s:s, s:s, s:I}", "hosts", (int)bound->hosts, "cost", bound->cost, "proof",
			 proof_key[bound->proof], "text", proof_text[bound->proof], "resource",
			 resource_key[bound->resource], "time", (json_int_t)time);
}

static json_t *choice_json(const struct answer *answer, const struct answer_choice *choice)
{
	json_t *object = json_pack("{s:i}", "machines", (int)choice->machines);
	if (choice->has_cost && answer->cost_known)
		(void)json_object_set_new(object, "cost", json_real(choice->cost));
	return object;
}

static bool is_large(const struct answer *answer, unsigned guest)
{
	const struct fit_task *task = answer->task;
	for (unsigned r = 0; r < RESOURCE_COUNT; r++) {
		double most = 0;
		for (unsigned c = 0; c < task->classes; c++)
			most = task->host_class[c].capacity[r] > most ? task->host_class[c].capacity[r] : most;
		if (most > 0 && answer->workload->guest[guest].peak[r] > most / 2)
			return true;
	}
	return false;
}

static json_t *guest_json(const struct answer *answer, unsigned number_of)
{
	const struct workload_guest *guest = &answer->workload->guest[number_of];
	uint32_t flags = guest->flags;
	if (is_large(answer, number_of))
		flags |= UINT32_C(1) << WORKLOAD_LARGE;
	json_t *list = json_array();
	for (unsigned i = 0; i < WORKLOAD_FLAG_COUNT; i++)
		if (flags >> i & 1)
			(void)json_array_append_new(list, json_string(workload_flag_key[i]));
	json_t *object = json_pack(
	    "{s:s, s:i, s:o, s:o, s:o, s:I, s:b}", "name", answer->workload->demand.name[number_of], "host",
	    (int)answer->plan->host_of[number_of], "peak", by_resource(guest->peak), "mean", by_resource(guest->mean),
	    "flags", list, "gap_samples", (json_int_t)guest->filled, "kernel_assumed", (int)guest->kernel_assumed);
	if (answer->rated)
		(void)json_object_set_new(object, "mhz", json_real(answer->workload->mhz[number_of]));
	const struct fit_task *task = answer->task;
	if (task->now != NULL && task->now[number_of] != FIT_NONE)
		(void)json_object_set_new(object, "now", json_string(task->site[task->now[number_of]].name));
	return object;
}

static json_t *guests_json(const struct answer *answer)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < answer->workload->demand.guests; i++)
		(void)json_array_append_new(list, guest_json(answer, i));
	return list;
}

static json_t *flags_json(void)
{
	json_t *object = json_object();
	for (unsigned i = 0; i < WORKLOAD_FLAG_COUNT; i++)
		(void)json_object_set_new(object, workload_flag_key[i], json_string(workload_flag_text[i]));
	return object;
}

struct risk {
	double share;
	unsigned host, hour, sample;
	enum resource resource;
};

struct making {
	const struct answer *answer;
	unsigned points; /* of a chart */
	float *value;	 /* [guests of the host][samples], of one resource */
	double *total;	 /* [samples] */
	struct risk *hourly, risk[RISKS];
	unsigned risks;
};

static unsigned hours(const struct demand *demand)
{
	return (unsigned)(((uint64_t)demand->samples * demand->interval + 3599) / 3600);
}

static unsigned hour_of(const struct demand *demand, unsigned sample)
{
	return (unsigned)((uint64_t)sample * demand->interval / 3600);
}

static void risk_offer(struct making *making, const struct risk *risk)
{
	unsigned at = making->risks;
	if (!(risk->share > 0))
		return;
	while (at > 0 && making->risk[at - 1].share < risk->share)
		at--;
	if (at == RISKS)
		return;
	unsigned kept = making->risks < RISKS ? making->risks : RISKS - 1;
	for (unsigned i = kept; i > at; i--)
		making->risk[i] = making->risk[i - 1];
	making->risk[at] = *risk;
	making->risks = kept + 1;
}

/* For each point of the chart the moment at which the host is fullest, and every guest at that moment: a stack that
 * sums. */
static json_t *chart_json(const struct making *making, const struct fit_host *host)
{
	unsigned samples = making->answer->workload->demand.samples;
	json_t *guests = json_array();
	for (unsigned g = 0; g < host->guests; g++)
		(void)json_array_append_new(guests, json_array());
	for (unsigned p = 0; p < making->points; p++) {
		size_t best = (size_t)p * samples / making->points;
		for (size_t i = best; i < (size_t)(p + 1) * samples / making->points; i++)
			best = making->total[i] > making->total[best] ? i : best;
		for (unsigned g = 0; g < host->guests; g++)
			(void)json_array_append_new(json_array_get(guests, g),
						    number((double)making->value[(size_t)g * samples + best]));
	}
	return guests;
}

/* Seconds since 1970. */
static json_int_t time_json_of(const struct demand *demand, unsigned sample)
{
	int64_t time = demand->start + (int64_t)sample * demand->interval;
	return time;
}

static json_t *resource_json(struct making *making, unsigned h, enum resource r, struct error *error)
{
	const struct answer *answer = making->answer;
	const struct demand *demand = &answer->workload->demand;
	const struct fit_host *host = &answer->plan->host[h];
	double capacity = answer->task->host_class[host->host_class].capacity[r];
	memset(making->total, 0, demand->samples * sizeof *making->total);
	for (unsigned g = 0; g < host->guests; g++) {
		float *value = making->value + (size_t)g * demand->samples;
		if (!demand->read(demand, host->guest[g], r, value, error))
			return NULL;
		for (unsigned i = 0; i < demand->samples; i++)
			making->total[i] += (double)value[i];
	}
	unsigned worst = 0, over = 0;
	double sum = 0;
	for (unsigned i = 0; i < demand->samples; i++) {
		struct risk *risk = &making->hourly[hour_of(demand, i)];
		double share = making->total[i] / capacity;
		worst = making->total[i] > making->total[worst] ? i : worst;
		over += share > 1 + 1e-7;
		sum += making->total[i];
		if (share > risk->share)
			*risk = (struct risk){share, h, hour_of(demand, i), i, r};
	}
	return json_pack("{s:o, s:o, s:o, s:I, s:i, s:o}", "peak", number(making->total[worst]), "share",
			 number(making->total[worst] / capacity), "mean", number(sum / demand->samples), "time",
			 time_json_of(demand, worst), "samples_over", (int)over, "chart", chart_json(making, host));
}

static json_t *host_json(struct making *making, unsigned h, struct error *error)
{
	const struct answer *answer = making->answer;
	const struct fit_host *host = &answer->plan->host[h];
	const struct fit_class *host_class = &answer->task->host_class[host->host_class];
	char name[96];
	(void)snprintf(name, sizeof name, "%.64s-%u", host_class->name, h + 1);
	json_t *resources = json_object(), *guests = json_array();
	json_t *object = json_pack("{s:s, s:s, s:b, s:b, s:o, s:o}", "name", host->name != NULL ? host->name : name,
				   "class", host_class->name, "exists", host->name != NULL, "spare", (int)host->spare,
				   "guests", guests, "resources", resources);
	if (object == NULL) { /* it took the other two with it */
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	for (unsigned g = 0; g < host->guests; g++)
		(void)json_array_append_new(guests, json_integer(host->guest[g]));
	unsigned count = hours(&answer->workload->demand);
	memset(making->hourly, 0, count * sizeof *making->hourly);
	for (unsigned r = 0; r < RESOURCE_COUNT && !host->spare; r++) {
		if (!(host_class->capacity[r] > 0))
			continue;
		json_t *resource = resource_json(making, h, (enum resource)r, error);
		if (resource == NULL) {
			json_decref(object);
			return NULL;
		}
		(void)json_object_set_new(resources, resource_key[r], resource);
	}
	/* The caller frees what is in *making: clang-analyzer loses sight of it in the list's moves. */
	for (unsigned i = 0; i < count; i++) /* NOLINT(clang-analyzer-unix.Malloc) */
		risk_offer(making, &making->hourly[i]);
	return object;
}

static json_t *risks_json(const struct making *making)
{
	const struct demand *demand = &making->answer->workload->demand;
	json_t *list = json_array();
	for (unsigned i = 0; i < making->risks; i++) {
		const struct risk *risk = &making->risk[i];
		(void)json_array_append_new(list,
					    json_pack("{s:i, s:I, s:s, s:o}", "host", (int)risk->host, "time",
						      time_json_of(demand, risk->sample), "resource",
						      resource_key[risk->resource], "share", number(risk->share)));
	}
	return list;
}

static bool making_start(struct making *making, const struct answer *answer, struct error *error)
{
	const struct demand *demand = &answer->workload->demand;
	const struct fit_plan *plan = answer->plan;
	unsigned most = 1;
	for (unsigned h = 0; h < plan->hosts; h++)
		most = plan->host[h].guests > most ? plan->host[h].guests : most;
	unsigned points = CHART_NUMBERS / RESOURCE_COUNT / demand->guests;
	points = points < CHART_POINTS ? points : CHART_POINTS;
	points = points > CHART_POINTS_MIN ? points : CHART_POINTS_MIN;
	*making = (struct making){.answer = answer, .points = points < demand->samples ? points : demand->samples};
	making->value = malloc((size_t)most * demand->samples * sizeof *making->value);
	making->total = malloc(demand->samples * sizeof *making->total);
	making->hourly = calloc(hours(demand) + 1, sizeof *making->hourly);
	return (making->value != NULL && making->total != NULL && making->hourly != NULL) ||
	       error_set(error, ERROR_HOST, "out of memory");
}

static json_t *hosts_json(struct making *making, struct error *error)
{
	json_t *list = json_array();
	for (unsigned h = 0; h < making->answer->plan->hosts; h++) {
		json_t *host = host_json(making, h, error);
		if (host == NULL) {
			json_decref(list);
			return NULL;
		}
		(void)json_array_append_new(list, host);
	}
	return list;
}

static json_t *choices_json(const struct answer *answer)
{
	return json_pack("{s:o, s:o, s:o}", "native", choice_json(answer, &answer->native), "one_os",
			 choice_json(answer, &answer->one_os), "virtual", choice_json(answer, &answer->virtual));
}

json_t *answer_json(const struct answer *answer, struct error *error)
{
	const struct workload *workload = answer->workload;
	const struct fit_task *task = answer->task;
	const struct fit_plan *plan = answer->plan;
	struct making making;
	json_t *hosts = making_start(&making, answer, error) ? hosts_json(&making, error) : NULL;
	json_t *root = hosts == NULL ? NULL : json_object();
	if (root != NULL) {
		json_t *demand =
		    json_pack("{s:s, s:i, s:I, s:i, s:i}", "estate", answer->estate, "guests",
			      (int)workload->demand.guests, "start", (json_int_t)workload->demand.start, "interval",
			      (int)workload->demand.interval, "samples", (int)workload->demand.samples);
		json_t *options =
		    json_pack("{s:s, s:f, s:i, s:i, s:b, s:b, s:o, s:o}", "engine", workload->overhead->engine,
			      "percentile", task->percentile, "spares", (int)task->spares, "steps", (int)task->steps,
			      "balance", (int)task->balance, "keep", (int)task->keep, "headroom",
			      by_resource(answer->headroom), "growth", by_resource(workload->growth));
		json_t *answer_part =
		    json_pack("{s:i, s:i, s:i, s:i}", "hosts", (int)plan->hosts, "by_peaks", (int)plan->by_peaks,
			      "moved", (int)plan->moved, "steps", (int)plan->steps);
		if (answer->cost_known)
			(void)json_object_set_new(answer_part, "cost", json_real(plan->cost));
		(void)json_object_set_new(options, "rated", json_boolean(answer->rated));
		(void)json_object_set_new(root, "format", json_string(ANSWER_FORMAT));
		(void)json_object_set_new(root, "version", json_integer(ANSWER_VERSION));
		(void)json_object_set_new(root, "demand", demand);
		(void)json_object_set_new(root, "options", options);
		(void)json_object_set_new(root, "answer", answer_part);
		(void)json_object_set_new(root, "bound", bound_json(answer));
		(void)json_object_set_new(root, "choices", choices_json(answer));
		(void)json_object_set_new(root, "classes", classes_json(answer));
		(void)json_object_set_new(root, "overhead", overhead_json(workload->overhead));
		(void)json_object_set_new(root, "flags", flags_json());
		(void)json_object_set_new(root, "risks", risks_json(&making));
		(void)json_object_set_new(root, "chart_points", json_integer(making.points));
		(void)json_object_set_new(root, "hosts", hosts);
		(void)json_object_set_new(root, "guests", guests_json(answer));
	}
	free(making.value);
	free(making.total);
	free(making.hourly);
	return root;
}

void csv_text(FILE *to, const char *text)
{
	(void)fputc('"', to);
	if (strchr("=+-@", text[0]) != NULL && text[0] != '\0')
		(void)fputc('\'', to);
	for (; *text != '\0'; text++) {
		if (*text == '"')
			(void)fputc('"', to);
		(void)fputc(*text, to);
	}
	(void)fputc('"', to);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? text : "";
}

bool answer_csv(const json_t *answer, FILE *to, struct error *error)
{
	const json_t *hosts = json_object_get(answer, "hosts");
	size_t i, k;
	json_t *guest, *flag;
	(void)fputs("guest,host,kind", to);
	for (unsigned r = 0; r < RESOURCE_COUNT; r++)
		(void)fprintf(to, ",\"%s peak, %s\",\"%s mean, %s\"", resource_key[r], resource_unit[r],
			      resource_key[r], resource_unit[r]);
	(void)fputs(",flags\r\n", to);
	json_array_foreach(json_object_get(answer, "guests"), i, guest)
	{
		const json_t *host = json_array_get(hosts, (size_t)json_integer_value(json_object_get(guest, "host")));
		csv_text(to, text_of(guest, "name"));
		(void)fputc(',', to);
		csv_text(to, text_of(host, "name"));
		(void)fputc(',', to);
		csv_text(to, text_of(host, "class"));
		for (unsigned r = 0; r < RESOURCE_COUNT; r++)
			(void)fprintf(
			    to, ",%.6g,%.6g",
			    json_number_value(json_object_get(json_object_get(guest, "peak"), resource_key[r])),
			    json_number_value(json_object_get(json_object_get(guest, "mean"), resource_key[r])));
		(void)fputc(',', to);
		json_array_foreach(json_object_get(guest, "flags"), k, flag)
		{
			(void)fprintf(to, "%s%s", k != 0 ? " " : "", json_string_value(flag));
		}
		(void)fputs("\r\n", to);
	}
	return ferror(to) == 0 || error_set_errno(error, "cannot write the CSV file");
}
