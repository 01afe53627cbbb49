/* SPDX-License-Identifier: MIT */
/*
 * Runs cases by the engine and by the real CPU and compares. With `self` the real CPU stands in for the engine, which
 * shows that the comparison itself finds nothing where nothing is; with `plant` one bit of that second result is
 * turned over each time, and every case must then be found to differ.
 */
#ifndef NFOLD_INSN_HARNESS_H
#define NFOLD_INSN_HARNESS_H

#include <stdio.h>

#include "compare.h"
#include "engine_runner.h"
#include "form.h"
#include "native.h"

/* Of one form. */
struct harness_count {
	unsigned cases[VARIANT_COUNT];
	unsigned completed[VARIANT_COUNT]; /* of these, without an exception on the real CPU */
	unsigned mmio;			   /* cases in which the engine reached MMIO */
};

/* What survives the end of a worker process: in memory shared with its parent. */
struct harness_progress {
	size_t position; /* index of the form where the worker is */
	unsigned variant, number;
	bool hostile_phase;
	uint64_t hostile; /* the number of the string of random bytes */
	enum insn_code hostile_code;
	unsigned failures_shown;
	uint64_t cases, failures, undrawn, crashes;
	uint64_t outcome[OUTCOME_UNKNOWN + 1]; /* of the real CPU */
	struct harness_count form[];	       /* by index in the list of forms */
};

struct harness {
	struct insn_decoder decoder;
	struct cpu_model model;
	struct form_list forms;
	struct native *native;
	struct engine_runner *engine; /* NULL with `self` */
	bool self, plant;
	enum case_segments segments; /* SEGMENTS_NONE where this host has none */
	uint64_t seed;
	unsigned failures_shown_limit;
	struct harness_progress *progress;
	size_t progress_size;
	uint8_t *golden;		     /* what the data pages hold between cases */
	uint8_t *shadow;		     /* the second memory with `self` */
	uint8_t *got_page[GUEST_DATA_PAGES]; /* the engine's memory by page */
	struct insn_case current;
	struct insn_result expected, got;
	struct difference difference;
};

struct harness_options {
	uint64_t seed;
	bool self, plant;
	enum case_segments segments;
	unsigned failures_shown_limit;
	const char *model;
	uint32_t engine_off; /* enum engine_switch */
	bool counted;	     /* the engine counts instructions */
	uint64_t code_cache; /* bytes; 0: the default */
};

struct harness *harness_create(const struct harness_options *options, struct error *error);
void harness_destroy(struct harness *harness);

/* Does this host run such code at all, is a form run, and can it have the variant here? */
bool harness_runs(const struct harness *harness, enum insn_code code);
bool harness_takes(const struct harness *harness, const struct form *form);
bool harness_applies(const struct harness *harness, const struct form *form, enum variant variant);

enum harness_verdict { VERDICT_SAME, VERDICT_DIFFERS, VERDICT_NOT_DRAWN };

/* The case with number `number` of a form and variant: the same for the same seed. */
enum harness_verdict harness_case(struct harness *harness, struct form *form, enum variant variant, unsigned number);

/* Prints the case without running it: after it has ended the worker process. */
void harness_show_case(struct harness *harness, const struct form *form, enum variant variant, unsigned number);

/* Random bytes as code, any bytes: must agree on whether they are an instruction, and on what it does. */
enum harness_verdict harness_hostile(struct harness *harness, enum insn_code code, uint64_t number);

/* Memory and code as they are between cases. */
void harness_reset_memory(struct harness *harness);

void harness_show_hostile(struct harness *harness, enum insn_code code, uint64_t number);

/* All memory, both sides against the golden copy: finds stores that went where no operand was. */
bool harness_check_memory(struct harness *harness);

#endif
