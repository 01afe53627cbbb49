/* SPDX-License-Identifier: MIT */
/* The engine under test: one vCPU at CPL 3 in the guest of guest.h, stepped one instruction at a time. */
#ifndef NFOLD_INSN_ENGINE_RUNNER_H
#define NFOLD_INSN_ENGINE_RUNNER_H

#include "case.h"
#include "guest.h"

struct engine_runner;
struct engine_options;

struct engine_runner *engine_runner_create(const struct cpu_model *model, const struct engine_options *options,
					   struct error *error);
void engine_runner_destroy(struct engine_runner *runner);
struct guest *engine_runner_guest(struct engine_runner *runner);

/* Writes code bytes at an offset of the code pages, as the guest's own stores do. */
void engine_runner_write_code(struct engine_runner *runner, uint64_t offset, const uint8_t *bytes, size_t size);

/* Runs the case: code and memory are in place. */
void engine_runner_run(struct engine_runner *runner, const struct insn_case *insn_case, struct insn_result *result);

#endif
