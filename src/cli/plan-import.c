/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/plan.h"
#include "control/report.h"
#include "plan/estate.h"
#include "plan/import.h"

#define REMARKS_MAX 40u /* printed; the estate has all */

struct plan_import_options {
	const char *output, *map, *attributes, *ratings, *zone;
	struct option_list perfmon, sar, esxtop;
	bool keep_going;
};

#define FIELD(field) .offset = offsetof(struct plan_import_options, field)

static const struct option plan_import_options[] = {
    {"output", "ESTATE", NULL, "the estate file to write", .kind = OPTION_TEXT, .letter = 'o', FIELD(output)},
    {"perfmon", "FILE", NULL, "a file that must be of perfmon, relog or typeperf", .kind = OPTION_LIST, FIELD(perfmon)},
    {"sar", "FILE", NULL, "a file that must be of sar or sadf", .kind = OPTION_LIST, FIELD(sar)},
    {"esxtop", "FILE", NULL, "a file that must be of esxtop -b", .kind = OPTION_LIST, FIELD(esxtop)},
    {"map", "FILE", NULL, "what the columns of other tables mean, see nfold(1)", .kind = OPTION_TEXT, FIELD(map)},
    {"attributes", "FILE", NULL,
     "a table of what servers are: server, cpus, mhz, memory, rating, model, clock_offset; it counts first",
     .kind = OPTION_TEXT, FIELD(attributes)},
    {"ratings", "FILE", NULL, "a table of what processors of a model do: model, rating", .kind = OPTION_TEXT,
     FIELD(ratings)},
    {"timezone", "ZONE", NULL, "of times that do not say: UTC, or hours from it as in +01:00", .kind = OPTION_TEXT,
     FIELD(zone)},
    {"keep-going", NULL, NULL, "leave out what cannot be read, and say so", .kind = OPTION_FLAG, FIELD(keep_going)},
    {0},
};

static bool add_list(struct import *import, const struct option_list *list, const char *family, struct error *error)
{
	for (unsigned i = 0; i < list->count; i++)
		if (!import_add(import, list->item[i], family, error))
			return false;
	return true;
}

static bool add_all(struct import *import, const struct command_call *call, struct error *error)
{
	const struct plan_import_options *options = call->options;
	if (!add_list(import, &options->perfmon, "perfmon", error) || !add_list(import, &options->sar, "sar", error) ||
	    !add_list(import, &options->esxtop, "esxtop", error))
		return false;
	for (unsigned i = 0; i < call->argument_count; i++)
		if (!import_add(import, call->argument[i], NULL, error))
			return false;
	return true;
}

/* Lines of what was met in all servers together. */
static void print_notes(const struct estate *estate)
{
	for (unsigned i = ESTATE_DUPLICATE; i < ESTATE_NOTE_COUNT; i++) {
		uint64_t sum = 0;
		size_t servers = 0;
		for (size_t k = 0; k < estate_count(estate); k++) {
			uint64_t note = estate_server(estate, k)->note[i];
			sum += note;
			servers += note != 0;
		}
		if (servers == 0)
			continue;
		if (i == ESTATE_CLOCK_OFFSET)
			printf("  the clocks of %zu servers corrected\n", servers);
		else
			printf("  %" PRIu64 " %s, of %zu servers\n", sum, estate_note_text[i], servers);
	}
}

static void print_remarks(const struct import *import)
{
	size_t count = 0;
	for (const char *remark; (remark = import_remark(import, count)) != NULL; count++)
		if (count < REMARKS_MAX)
			printf("  %s\n", remark);
	if (count > REMARKS_MAX)
		printf("  and %zu more remarks: nfold plan show --json has all\n", count - REMARKS_MAX);
}

static bool print_result(const struct import *import, const char *output, const struct import_summary *summary,
			 struct error *error)
{
	struct stat status = {0};
	struct estate *estate = estate_open(output, error);
	if (estate == NULL)
		return false;
	(void)stat(output, &status);
	printf("%s: %" PRIu64 " servers, %" PRIu64 " samples from %" PRIu64 " files, %.1f MB\n", output,
	       summary->servers, summary->samples, summary->files, (double)status.st_size / 1e6);
	if (summary->files_lost + summary->servers_lost + summary->lines_lost > 0)
		printf("  left out: %" PRIu64 " files, %" PRIu64 " servers, %" PRIu64 " lines\n", summary->files_lost,
		       summary->servers_lost, summary->lines_lost);
	print_notes(estate);
	print_remarks(import);
	estate_close(estate);
	return true;
}

static int import_run(const struct command_call *call)
{
	const struct plan_import_options *options = call->options;
	const struct import_options how = {.map = options->map,
					   .attributes = options->attributes,
					   .ratings = options->ratings,
					   .zone = options->zone,
					   .keep_going = options->keep_going};
	struct error error = {0};
	struct import_summary summary;
	if (options->output == NULL) {
		report_line("no name for the estate: give -o FILE");
		return STATUS_INPUT;
	}
	if (call->argument_count + options->perfmon.count + options->sar.count + options->esxtop.count == 0) {
		report_line("nothing to import: give files or folders");
		return STATUS_INPUT;
	}
	struct import *import = import_create(&how, options->output, &error);
	bool good = import != NULL && add_all(import, call, &error) && import_finish(import, &summary, &error) &&
		    print_result(import, options->output, &summary, &error);
	import_destroy(import);
	return good ? STATUS_OK : (int)report_error(&error);
}

const struct command command_plan_import = {
    .name = "plan import",
    .arguments = "-o ESTATE [FILE|FOLDER]...",
    .argument_max = ARGUMENTS_MAX,
    .summary = "make an estate of files of measurements",
    .description = "Reads what perfmon, sar, sadf and esxtop wrote, Bitbrains traces, and with --map any table with\n"
		   "separators, and writes one estate file. Formats are found by content; files may be compressed by\n"
		   "gzip. What was missing, doubled or out of order is dealt with and reported.",
    .options = plan_import_options,
    .run = import_run,
};
