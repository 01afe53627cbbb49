/* SPDX-License-Identifier: MIT */
#include "cli/explain.h"

#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "cli/guest.h"
#include "control/report.h"

#define POLL_MS 250
#define SAMPLE_MS 2000 /* renewed at each poll; sampling ends by itself after a client that died */
#define SECONDS_MAX 600
#define TOP_MAX 1000

struct explain_options {
	uint64_t seconds, kaslr, top;
	struct option_list symbols;
	bool json;
};

static const struct option explain_options[] = {
    {"seconds", "N", "5", "how long to watch", .kind = OPTION_NUMBER, .minimum = 1, .maximum = SECONDS_MAX,
     .offset = offsetof(struct explain_options, seconds)},
    {"symbols", "FILE", NULL, "name code by a System.map or an ELF file; up to 16", .kind = OPTION_LIST,
     .maximum = OPTION_LIST_MAX, .offset = offsetof(struct explain_options, symbols)},
    {"kaslr", "OFFSET", NULL, "how far the kernel lies from where its symbols say, if it is not found by itself",
     .kind = OPTION_NUMBER, .offset = offsetof(struct explain_options, kaslr)},
    {"top", "N", "20", "rows of the hottest code", .kind = OPTION_NUMBER, .minimum = 1, .maximum = TOP_MAX,
     .offset = offsetof(struct explain_options, top)},
    {"json", NULL, NULL, "print everything as JSON, times in nanoseconds", .kind = OPTION_FLAG,
     .offset = offsetof(struct explain_options, json)},
    {0},
};

static int64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void nap(int64_t milliseconds)
{
	struct timespec pause = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
	(void)nanosleep(&pause, NULL);
}

/* One call; *next moves on. *more: the answer was full. */
static bool poll_guest(struct explanation *explanation, uint64_t *next, int sample_ms, bool *more, struct error *error)
{
	json_t *params = *next == UINT64_MAX
			     ? json_pack("{s:i}", "sample_ms", sample_ms)
			     : json_pack("{s:I, s:i}", "since", (json_int_t)*next, "sample_ms", sample_ms);
	json_t *answer = guest_call(explanation->name, "guest.profile", params, error);
	if (answer == NULL)
		return false;
	*next = (uint64_t)json_integer_value(json_object_get(answer, "next"));
	bool good = profile_add(&explanation->profile, answer) ||
		    error_set(error, ERROR_HOST, "out of memory for the guest's samples");
	*more = json_is_true(json_object_get(answer, "more"));
	json_decref(answer);
	return good;
}

/* All that is there. */
static bool drain(struct explanation *explanation, uint64_t *next, int sample_ms, struct error *error)
{
	bool more = true;
	while (more)
		if (!poll_guest(explanation, next, sample_ms, &more, error))
			return false;
	return true;
}

static bool collect(struct explanation *explanation, uint64_t seconds, struct error *error)
{
	uint64_t next = UINT64_MAX;
	int64_t end = now_ms() + (int64_t)seconds * 1000;
	if (!drain(explanation, &next, SAMPLE_MS, error))
		return false;
	for (int64_t left = end - now_ms(); left > 0; left = end - now_ms()) {
		nap(left < POLL_MS ? left : POLL_MS);
		if (!drain(explanation, &next, SAMPLE_MS, error))
			return false;
	}
	return true;
}

static bool watch(struct explanation *explanation, uint64_t seconds, struct error *error)
{
	json_t *before = guest_call(explanation->name, "guest.stats", NULL, error);
	if (before == NULL)
		return false;
	json_t *after = NULL;
	if (collect(explanation, seconds, error))
		after = guest_call(explanation->name, "guest.stats", NULL, error);
	if (after != NULL) {
		const char *state = json_string_value(json_object_get(after, "state"));
		explanation->state = state != NULL && strcmp(state, "paused") == 0 ? "paused" : "running";
		profile_gain(before, after, &explanation->gain);
	}
	json_decref(before);
	json_decref(after);
	return after != NULL;
}

static bool load_symbols(struct explanation *explanation, const struct explain_options *options, struct error *error)
{
	explanation->symbols = symbols_create();
	explanation->symbols_given = options->symbols.count > 0;
	if (explanation->symbols == NULL)
		return error_set(error, ERROR_HOST, "out of memory for symbols");
	for (unsigned i = 0; i < options->symbols.count; i++)
		if (!symbols_add_file(explanation->symbols, options->symbols.item[i], error))
			return false;
	return true;
}

static void place_kernel(struct explanation *explanation, uint64_t kaslr)
{
	if (kaslr == OPTION_UNSET) {
		explanation->kernel_found =
		    profile_find_kernel(&explanation->profile, explanation->symbols, &explanation->kernel_distance);
		return;
	}
	explanation->kernel_distance = kaslr;
	symbols_shift_kernel(explanation->symbols, kaslr);
}

static bool explain(struct explanation *explanation, const struct explain_options *options, struct error *error)
{
	if (!load_symbols(explanation, options, error) || !watch(explanation, options->seconds, error))
		return false;
	place_kernel(explanation, options->kaslr);
	if (options->json)
		return explain_print_json(explanation) || error_set(error, ERROR_HOST, "out of memory");
	explain_print(explanation);
	return true;
}

static int explain_run(const struct command_call *call)
{
	const struct explain_options *options = call->options;
	struct explanation explanation = {.name = call->argument[0], .top = (unsigned)options->top};
	struct error error = {0};
	bool good = explain(&explanation, options, &error);
	profile_destroy(&explanation.profile);
	symbols_destroy(explanation.symbols);
	return good ? STATUS_OK : (int)report_error(&error);
}

const struct command command_explain = {
    .name = "explain",
    .arguments = "NAME",
    .argument_min = 1,
    .argument_max = 1,
    .summary = "watch where a guest's time goes, and in which code",
    .description = "Watches a guest for some seconds and shows where the time went, by the ledger's exact clocks and\n"
		   "about a thousand samples a second: the guest's own code in user and kernel mode, what the engine\n"
		   "did for it, the hottest functions, and how often what happened. A Linux that moved itself (KASLR)\n"
		   "is found by its system call entry when --symbols has its System.map or vmlinux; boot it with\n"
		   "nokaslr, or give --kaslr, where that fails.",
    .options = explain_options,
    .run = explain_run,
};
