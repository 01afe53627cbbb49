/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <unistd.h>

#include "cli/plan.h"
#include "control/report.h"
#include "plan/report.h"
#include "plan/simulation.h"

struct report_options {
	const char *output, *simulation;
};

static const struct option report_options[] = {
    {"output", "FILE", NULL, "the page; needed", .kind = OPTION_TEXT, .offset = offsetof(struct report_options, output),
     .letter = 'o'},
    {"simulation", "FILE", NULL, "what nfold plan simulate -o wrote of the plan, for a section of its own",
     .kind = OPTION_TEXT, .offset = offsetof(struct report_options, simulation)},
    {0},
};

static bool page_write(const json_t *plan, const char *path, struct error *error)
{
	FILE *file = fopen(path, "w");
	if (file == NULL)
		return error_set_errno(error, "cannot write %.200s", path);
	bool good = report_write(plan, file, error);
	if (fclose(file) != 0 && good)
		good = error_set_errno(error, "cannot write %.200s", path);
	if (!good)
		(void)unlink(path);
	return good;
}

static int report_run(const struct command_call *call)
{
	const struct report_options *options = call->options;
	struct error error = {0};
	if (options->output == NULL) {
		report_line("plan report: -o FILE says where the page goes");
		return STATUS_INPUT;
	}
	json_t *plan = report_load(call->argument[0], &error);
	if (plan != NULL && options->simulation != NULL) {
		json_t *simulation = simulation_load(options->simulation, plan, &error);
		if (simulation == NULL) {
			json_decref(plan);
			return (int)report_error(&error);
		}
		(void)json_object_set_new(plan, "simulation", simulation);
	} else if (plan != NULL) {
		(void)json_object_del(plan, "simulation"); /* what is drawn has been checked */
	}
	bool good = plan != NULL && page_write(plan, options->output, &error);
	json_decref(plan);
	return good ? STATUS_OK : (int)report_error(&error);
}

const struct command command_plan_report = {
    .name = "plan report",
    .arguments = "PLAN",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "make a page of a plan",
    .description = "Makes one HTML page of a plan that nfold plan fit -o wrote: the answer, each host over time, the\n"
		   "riskiest hours, what to look at before, the lower bound and every assumption. It loads nothing.",
    .options = report_options,
    .run = report_run,
};
