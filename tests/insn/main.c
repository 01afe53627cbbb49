/* SPDX-License-Identifier: MIT */
/* The instruction oracle: see harness.h for what it does and form.h for what it covers. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/engine_switches.h"
#include "harness.h"
#include "report.h"
#include "run.h"

struct options {
	struct harness_options harness;
	struct run_plan plan;
	const char *report, *replay, *hostile_case;
	bool list, forever;
};

static const char usage[] =
    "Usage: test-insn [OPTION]...\n"
    "Runs instructions by the engine and by this processor and compares the results.\n"
    "  --seed N            random seed (default 1)\n"
    "  --cases N           cases of each form; forms that reach memory get N for each kind of access (default 50)\n"
    "  --hostile N         strings of random bytes run as code, in each mode (default 20000)\n"
    "  --form TEXT         only forms whose disassembly, group or key contains TEXT\n"
    "  --list              list the forms and leave\n"
    "  --report FILE       write the list of forms with their counts\n"
    "  --replay K/V/N      run one case, as a failure names it\n"
    "  --hostile-case M/N  run one string of random bytes\n"
    "  --forever           go on with new seeds until something differs\n"
    "  --self              this processor against itself: nothing may differ\n"
    "  --flat              only 64-bit code, and 32-bit code in flat segments\n"
    "  --segments          only 16-bit code, and 32-bit code in segments with bases and limits\n"
    "  --plant             turn one bit over in every second result: everything must differ\n"
    "  --model NAME        processor model (default max)\n"
    "  --engine-options LIST\n"
    "                      with commas between, what the engine shall do without:" ENGINE_SWITCH_LIST "\n"
    "  --counted           with an engine that counts instructions\n"
    "  --code-cache BYTES  of the engine (default: its own)\n"
    "  --show N            differences shown in full (default 40)\n"
    "  --no-fork           in one process, for a debugger\n";

static const struct option long_options[] = {{"seed", required_argument, NULL, 's'},
					     {"cases", required_argument, NULL, 'c'},
					     {"hostile", required_argument, NULL, 'h'},
					     {"form", required_argument, NULL, 'f'},
					     {"list", no_argument, NULL, 'l'},
					     {"report", required_argument, NULL, 'r'},
					     {"replay", required_argument, NULL, 'y'},
					     {"hostile-case", required_argument, NULL, 'Y'},
					     {"forever", no_argument, NULL, 'e'},
					     {"self", no_argument, NULL, 'S'},
					     {"flat", no_argument, NULL, 'a'},
					     {"segments", no_argument, NULL, 'b'},
					     {"plant", no_argument, NULL, 'P'},
					     {"model", required_argument, NULL, 'm'},
					     {"engine-options", required_argument, NULL, 'o'},
					     {"show", required_argument, NULL, 'n'},
					     {"no-fork", no_argument, NULL, 'F'},
					     {"counted", no_argument, NULL, 'C'},
					     {"code-cache", required_argument, NULL, 'k'},
					     {"help", no_argument, NULL, '?'},
					     {NULL, 0, NULL, 0}};

static void set_cases(struct options *options, unsigned cases)
{
	options->plan.register_cases = cases;
	options->plan.memory_cases = cases;
}

static bool read_switches(struct harness_options *options, const char *text)
{
	struct error error;
	if (engine_switches_read("--engine-options", text, &options->engine_off, &error))
		return true;
	fprintf(stderr, "test-insn: %s\n", error.text);
	return false;
}

static bool options_parse(struct options *options, int argc, char **argv)
{
	for (;;) {
		int choice = getopt_long(argc, argv, "", long_options, NULL);
		switch (choice) {
		case -1:
			return optind == argc;
		case 's':
			options->harness.seed = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			set_cases(options, (unsigned)strtoul(optarg, NULL, 0));
			break;
		case 'h':
			options->plan.hostile = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			options->plan.form = optarg;
			break;
		case 'l':
			options->list = true;
			break;
		case 'r':
			options->report = optarg;
			break;
		case 'y':
			options->replay = optarg;
			break;
		case 'Y':
			options->hostile_case = optarg;
			break;
		case 'e':
			options->forever = true;
			break;
		case 'S':
			options->harness.self = true;
			break;
		case 'P':
			options->harness.self = options->harness.plant = true;
			break;
		case 'a':
			options->harness.segments = SEGMENTS_NONE;
			break;
		case 'b':
			options->harness.segments = SEGMENTS_ALL;
			break;
		case 'F':
			options->plan.no_fork = true;
			break;
		case 'm':
			options->harness.model = optarg;
			break;
		case 'o':
			if (!read_switches(&options->harness, optarg))
				return false;
			break;
		case 'C':
			options->harness.counted = true;
			break;
		case 'k':
			options->harness.code_cache = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			options->harness.failures_shown_limit = (unsigned)strtoul(optarg, NULL, 0);
			break;
		default:
			return false;
		}
	}
}

static int run_replay(struct harness *harness, const char *text)
{
	unsigned long long key;
	unsigned variant, number;
	if (sscanf(text, "%llx/%u/%u", &key, &variant, &number) != 3 || variant >= VARIANT_COUNT) {
		fprintf(stderr, "test-insn: --replay wants KEY/VARIANT/NUMBER\n");
		return 2;
	}
	struct form *form = form_find(&harness->forms, key);
	if (form == NULL) {
		fprintf(stderr, "test-insn: no form has the key %llx\n", key);
		return 2;
	}
	enum harness_verdict verdict = harness_case(harness, form, (enum variant)variant, number);
	printf("%s\n", verdict == VERDICT_SAME ? "same" : verdict == VERDICT_DIFFERS ? "differs" : "cannot be drawn");
	return verdict == VERDICT_SAME ? 0 : 1;
}

static int run_hostile_case(struct harness *harness, const char *text)
{
	unsigned mode;
	unsigned long long number;
	if (sscanf(text, "%u/%llu", &mode, &number) == 2) {
		for (unsigned code = 0; code < CODE_COUNT; code++) {
			if (insn_code_bits[code] == mode)
				return harness_hostile(harness, (enum insn_code)code, number) == VERDICT_DIFFERS;
		}
	}
	fprintf(stderr, "test-insn: --hostile-case wants 64/NUMBER, 32/NUMBER or 16/NUMBER\n");
	return 2;
}

static double seconds_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void write_report(const struct harness *harness, const char *path)
{
	FILE *file = fopen(path, "w");
	if (file == NULL) {
		fprintf(stderr, "test-insn: cannot write %s\n", path);
		return;
	}
	report_forms(harness, file);
	fclose(file);
}

/* The verdict on a whole run. With planted errors every case must have been found. */
static int conclude(const struct harness *harness, const struct options *options, double seconds)
{
	unsigned minimum = options->plan.register_cases < options->plan.memory_cases ? options->plan.register_cases
										     : options->plan.memory_cases;
	unsigned short_of = options->plan.form == NULL ? report_summary(harness, minimum, stdout) : 0;
	printf("\n%llu cases in %.1f s: %llu differ (%llu crashed); on the real CPU %llu completed, %llu faulted, %llu "
	       "could not be fetched, "
	       "%llu cannot be compared; %llu not drawn; %u forms without their cases\n",
	       (unsigned long long)harness->progress->cases, seconds, (unsigned long long)harness->progress->failures,
	       (unsigned long long)harness->progress->crashes,
	       (unsigned long long)harness->progress->outcome[OUTCOME_DONE],
	       (unsigned long long)harness->progress->outcome[OUTCOME_FAULT],
	       (unsigned long long)harness->progress->outcome[OUTCOME_FETCH],
	       (unsigned long long)(harness->progress->outcome[OUTCOME_TIMEOUT] +
				    harness->progress->outcome[OUTCOME_UNKNOWN]),
	       (unsigned long long)harness->progress->undrawn, short_of);
	if (options->report != NULL)
		write_report(harness, options->report);
	if (harness->plant)
		return harness->progress->failures == harness->progress->cases && harness->progress->cases > 0 ? 0 : 1;
	return harness->progress->failures == 0 && short_of == 0 ? 0 : 1;
}

#define EXIT_SKIPPED 77

static int run(struct harness *harness, const struct options *options)
{
	if (options->harness.segments == SEGMENTS_ALL && harness->segments != SEGMENTS_ALL) {
		printf("SKIPPED: this host has no LDT, or no 16-bit segments in it\n");
		return EXIT_SKIPPED;
	}
	if (options->list) {
		report_forms(harness, stdout);
		return 0;
	}
	if (options->replay != NULL)
		return run_replay(harness, options->replay);
	if (options->hostile_case != NULL)
		return run_hostile_case(harness, options->hostile_case);
	double start = seconds_now();
	int status;
	do {
		run_all(harness, &options->plan);
		status = conclude(harness, options, seconds_now() - start);
		if (options->forever)
			printf("seed %llu: %s\n", (unsigned long long)harness->seed,
			       status == 0 ? "agrees" : "DIFFERS");
		harness->seed++;
	} while (options->forever && status == 0);
	return status;
}

int main(int argc, char **argv)
{
	struct options options = {
	    .harness = {.seed = 1, .failures_shown_limit = 40, .segments = SEGMENTS_SOME, .model = "max"},
	    .plan = {.hostile = 20000}};
	set_cases(&options, 50);
	if (!options_parse(&options, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	struct error error = {0};
	struct harness *harness = harness_create(&options.harness, &error);
	if (harness == NULL) {
		fprintf(stderr, "test-insn: %s\n", error.text);
		return 2;
	}
	int status = run(harness, &options);
	harness_destroy(harness);
	return status;
}
