/* SPDX-License-Identifier: MIT */
/* nfold plan simulate: what guests of a plan would feel in its riskiest hours. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/plan.h"
#include "control/report.h"
#include "plan/report.h"
#include "plan/simulation.h"

struct simulate_options {
	const char *coscheduling, *guests, *output, *csv;
	const char *minutes, *burst, *burst_cv, *interrupt, *channels, *disk_cv, *request, *message, *network_cv,
	    *slice;
	uint64_t windows, seed, threads;
	bool json;
};

#define AT(field) .offset = offsetof(struct simulate_options, field)

static const char *const coscheduling_names[] = {"none", "relaxed", "strict", NULL};

static const struct option simulate_options[] = {
    {"minutes", "N", "10", "simulated around each riskiest moment", .kind = OPTION_TEXT, AT(minutes)},
    {"windows", "N", "10", "of the plan's riskiest hours", .kind = OPTION_NUMBER, AT(windows), .minimum = 1,
     .maximum = SIMULATION_WINDOWS_MAX},
    {"coscheduling", "KIND", "relaxed", "of guests with several vCPUs", .kind = OPTION_CHOICE,
     .choices = coscheduling_names, AT(coscheduling)},
    {"guests", "FILE", NULL, "vCPUs, shares, reservations and limits by name, as JSON", .kind = OPTION_TEXT,
     AT(guests)},
    {"burst", "MS", "10", "mean length of a burst of work", .kind = OPTION_TEXT, AT(burst)},
    {"burst-cv", "N", "1", "its coefficient of variation", .kind = OPTION_TEXT, AT(burst_cv)},
    {"interrupt", "US", "20", "processor time of an interrupt of disk or network", .kind = OPTION_TEXT, AT(interrupt)},
    {"channels", "N", "32", "disk requests in service at once", .kind = OPTION_TEXT, AT(channels)},
    {"disk-cv", "N", "1", "coefficient of variation of the disk's time in service", .kind = OPTION_TEXT, AT(disk_cv)},
    {"request", "KIB", "64", "size of a disk request where only bytes were measured", .kind = OPTION_TEXT, AT(request)},
    {"message", "KIB", "64", "what one network interrupt brings", .kind = OPTION_TEXT, AT(message)},
    {"net-cv", "N", "1", "coefficient of variation of its time on the wire", .kind = OPTION_TEXT, AT(network_cv)},
    {"slice", "MS", "10", "the host's time slice", .kind = OPTION_TEXT, AT(slice)},
    {"seed", "N", "1", "chooses when bursts and requests come", .kind = OPTION_NUMBER, AT(seed),
     .maximum = UINT64_C(1) << 53},
    {"threads", "N", "0", "0: one for each processor; the answer is the same", .kind = OPTION_NUMBER, AT(threads),
     .maximum = 64},
    {"json", NULL, NULL, "print JSON instead of tables", .kind = OPTION_FLAG, AT(json)},
    {"output", "FILE", NULL, "write JSON; for nfold plan report --simulation", .kind = OPTION_TEXT, AT(output),
     .letter = 'o'},
    {"csv", "FILE", NULL, "write a row for each guest and window as CSV", .kind = OPTION_TEXT, AT(csv)},
    {0},
};

static bool figure_read(struct simulation_options *to, enum simulation_figure figure, const char *text,
			struct error *error)
{
	char *end;
	double value = strtod(text, &end);
	if (end == text || *end != '\0' || strspn(text, "0123456789.") != strlen(text))
		return error_set(error, ERROR_INPUT, "%s: '%.40s' is not a number", simulation_key[figure], text);
	return simulation_figure_set(to, figure, value, error);
}

static bool options_read(const struct simulate_options *options, struct simulation_options *to, struct error *error)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	const char *const text[SIMULATION_FIGURE_COUNT] = {
	    [SIMULATION_burst_ms] = options->burst,	    [SIMULATION_burst_cv] = options->burst_cv,
	    [SIMULATION_interrupt_us] = options->interrupt, [SIMULATION_disk_channels] = options->channels,
	    [SIMULATION_disk_cv] = options->disk_cv,	    [SIMULATION_request_kib] = options->request,
	    [SIMULATION_message_kib] = options->message,    [SIMULATION_network_cv] = options->network_cv,
	    [SIMULATION_slice_ms] = options->slice,	    [SIMULATION_minutes] = options->minutes,
	};
	*to = (struct simulation_options){.guests = options->guests,
					  .windows = (unsigned)options->windows,
					  .seed = options->seed,
					  .threads = options->threads != 0 ? (unsigned)options->threads
						     : processors > 0	   ? (unsigned)processors
									   : 1};
	for (unsigned i = 0; coscheduling_names[i] != NULL; i++)
		if (strcmp(coscheduling_names[i], options->coscheduling) == 0)
			to->coscheduling = (enum sched_coscheduling)i;
	for (unsigned i = 0; i < SIMULATION_FIGURE_COUNT; i++)
		if (!figure_read(to, (enum simulation_figure)i, text[i], error))
			return false;
	return true;
}

static void result_print(const json_t *simulation, bool as_json)
{
	if (!as_json) {
		simulation_print(simulation, stdout);
		return;
	}
	(void)json_dumpf(simulation, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
	(void)fputc('\n', stdout);
}

static int simulate_run(const struct command_call *call)
{
	const struct simulate_options *options = call->options;
	struct simulation_options to;
	struct error error = {0};
	json_t *plan = NULL, *simulation = NULL;
	bool good = options_read(options, &to, &error) && (plan = report_load(call->argument[0], &error)) != NULL &&
		    (simulation = simulation_make(plan, call->argument_count > 1 ? call->argument[1] : NULL, &to,
						  &error)) != NULL &&
		    (options->output == NULL || plan_file_write(options->output, simulation, NULL, &error)) &&
		    (options->csv == NULL || plan_file_write(options->csv, simulation, simulation_csv, &error));
	if (good)
		result_print(simulation, options->json);
	json_decref(simulation);
	json_decref(plan);
	return good ? STATUS_OK : (int)report_error(&error);
}

const struct command command_plan_simulate = {
    .name = "plan simulate",
    .arguments = "PLAN [ESTATE]",
    .argument_min = 1,
    .argument_max = 2,
    .summary = "simulate the riskiest hours of a plan",
    .description =
	"Schedules the guests of each host of a plan through its riskiest moments, with the host's own policy\n"
	"and the demand that was measured, and says how long each guest waits: for a processor (ready), for\n"
	"its other vCPUs (co-stop), by its limit, for the disk and for the network.\n"
	"ESTATE: where it is, if not where the plan says.",
    .options = simulate_options,
    .run = simulate_run,
};
