/* SPDX-License-Identifier: MIT */
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A form that differs each time is shown a few times, not fifty. */
#define FAILURES_PER_VARIANT 2
#define CRASHES_UNTIL_GIVING_UP 400

static bool is_chosen(const struct run_plan *plan, const struct form *form)
{
	char key[20];
	snprintf(key, sizeof key, "%016llx", (unsigned long long)form->key);
	return plan->form == NULL || strstr(form->text, plan->form) != NULL ||
	       strstr(form->group, plan->form) != NULL || strstr(key, plan->form) != NULL;
}

/* The rest of a variant's cases, from progress->number on. */
static void run_variant(struct harness *harness, struct form *form, enum variant variant, unsigned cases)
{
	struct harness_progress *progress = harness->progress;
	uint64_t before = progress->failures;
	unsigned shown = progress->failures_shown, limit = harness->failures_shown_limit;
	for (; progress->number < cases; progress->number++) {
		if (progress->failures_shown >= shown + FAILURES_PER_VARIANT)
			harness->failures_shown_limit = 0;
		harness_case(harness, form, variant, progress->number);
	}
	harness->failures_shown_limit = limit;
	if (!harness_check_memory(harness) && progress->failures == before) {
		progress->failures++;
		printf("DIFFERS %s, %s, form: %s: a store went where no operand was\n", insn_code_names[form->code],
		       variant_names[variant], form->text);
	}
	if (progress->failures - before > FAILURES_PER_VARIANT && !harness->plant && progress->failures_shown < limit)
		printf("  %llu of %u cases of this form and kind differ\n",
		       (unsigned long long)(progress->failures - before), cases);
}

static void run_form(struct harness *harness, const struct run_plan *plan, struct form *form)
{
	struct harness_progress *progress = harness->progress;
	if (!harness_takes(harness, form) || !is_chosen(plan, form))
		return;
	for (; progress->variant < VARIANT_COUNT; progress->variant++) {
		enum variant variant = (enum variant)progress->variant;
		if (harness_applies(harness, form, variant))
			run_variant(harness, form, variant,
				    variant == VARIANT_REGISTER ? plan->register_cases : plan->memory_cases);
		progress->number = 0;
	}
}

static void run_hostile(struct harness *harness, const struct run_plan *plan)
{
	struct harness_progress *progress = harness->progress;
	progress->hostile_phase = true;
	for (; progress->hostile < plan->hostile; progress->hostile++) {
		for (; progress->hostile_code < CODE_COUNT; progress->hostile_code++) {
			if (harness_runs(harness, progress->hostile_code))
				harness_hostile(harness, progress->hostile_code, progress->hostile);
		}
		progress->hostile_code = CODE_64;
	}
}

/* Goes on from where `progress` is. */
static void run_from(struct harness *harness, const struct run_plan *plan)
{
	struct harness_progress *progress = harness->progress;
	for (; progress->position < harness->forms.count; progress->position++) {
		run_form(harness, plan, &harness->forms.form[progress->position]);
		progress->variant = progress->number = 0;
	}
	if (plan->form == NULL)
		run_hostile(harness, plan);
}

static void skip_case(struct harness_progress *progress)
{
	if (!progress->hostile_phase) {
		progress->number++;
		return;
	}
	progress->hostile_code++; /* beyond the last: the loop goes on with the next number */
}

static void report_crash(struct harness *harness, int status)
{
	const struct harness_progress *progress = harness->progress;
	const char *how = WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit";
	if (progress->hostile_phase) {
		printf("CRASH (%s) random bytes\n", how);
		harness_show_hostile(harness, progress->hostile_code, progress->hostile);
		printf("  replay: --seed %llu --hostile-case %u/%llu\n", (unsigned long long)harness->seed,
		       insn_code_bits[progress->hostile_code], (unsigned long long)progress->hostile);
		return;
	}
	const struct form *form = &harness->forms.form[progress->position];
	enum variant variant = (enum variant)progress->variant;
	printf("CRASH (%s) %s, %s, form: %s\n", how, insn_code_names[form->code], variant_names[variant], form->text);
	harness_show_case(harness, form, variant, progress->number);
	printf("  replay: --seed %llu --replay %016llx/%u/%u\n", (unsigned long long)harness->seed,
	       (unsigned long long)form->key, variant, progress->number);
}

static bool wait_for(pid_t child, int *status)
{
	pid_t got;
	do
		got = waitpid(child, status, 0);
	while (got < 0 && errno == EINTR);
	return got == child;
}

/* One worker's life. True: it came to the end. */
static bool run_worker(struct harness *harness, const struct run_plan *plan)
{
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		harness_reset_memory(harness);
		run_from(harness, plan);
		fflush(stdout);
		_exit(0);
	}
	int status = 0;
	if (child < 0 || !wait_for(child, &status)) {
		printf("cannot start a worker process\n");
		harness->progress->failures++;
		return true;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	harness->progress->failures++;
	harness->progress->crashes++;
	report_crash(harness, status);
	skip_case(harness->progress);
	return false;
}

void run_all(struct harness *harness, const struct run_plan *plan)
{
	struct harness_progress *progress = harness->progress;
	memset(progress, 0, harness->progress_size);
	progress->hostile_code = CODE_64;
	if (plan->no_fork) {
		run_from(harness, plan);
		return;
	}
	while (!run_worker(harness, plan)) {
		if (progress->crashes >= CRASHES_UNTIL_GIVING_UP) {
			printf("too many crashes\n");
			return;
		}
	}
}
