/* SPDX-License-Identifier: MIT */
/*
 * What virtualization costs, by engine. The built-in figures are from the literature or are assumptions, and say which;
 * a calibration file replaces them. docs/planner.md has the formulas and the file.
 */
#ifndef NFOLD_PLAN_OVERHEAD_H
#define NFOLD_PLAN_OVERHEAD_H

#include "base/error.h"

/* X(field, key, unit, what it is) */
/* clang-format off */
#define OVERHEAD_FIGURES(X) \
	X(user, "user", "of user time", "processor time added to time in user mode") \
	X(kernel, "kernel", "of kernel time", "processor time added to time in kernel mode: privileged operations and page faults") \
	X(interrupt, "interrupt", "of interrupt time", "processor time added to time in interrupts: drivers run twice") \
	X(cycles_per_io, "cycles_per_io", "cycles", "processor cycles added to a disk operation") \
	X(guest_memory, "guest_memory", "MiB", "memory added to a guest's") \
	X(memory_share, "memory_share", "of a guest's memory", "memory added to a guest's by its size: page tables") \
	X(host_memory, "host_memory", "MiB", "memory of a host's own") \
	X(host_cpu, "host_cpu", "of a host", "processor time of a host's own") \
	X(kernel_assumed, "kernel_assumed", "of processor time", "kernel share where it was not measured") \
	X(interrupt_assumed, "interrupt_assumed", "of processor time", "interrupt share where it was not measured")
/* clang-format on */

enum overhead_figure {
#define X(field, key, unit, text) OVERHEAD_##field,
	OVERHEAD_FIGURES(X)
#undef X
	    OVERHEAD_FIGURE_COUNT
};

#define OVERHEAD_SOURCE_SIZE 160

struct overhead {
	char engine[32];
	double figure[OVERHEAD_FIGURE_COUNT];
	char source[OVERHEAD_FIGURE_COUNT][OVERHEAD_SOURCE_SIZE];
};

extern const char *const overhead_key[OVERHEAD_FIGURE_COUNT];
extern const char *const overhead_unit[OVERHEAD_FIGURE_COUNT];
extern const char *const overhead_text[OVERHEAD_FIGURE_COUNT];

/* The names of the built-in engines, ended by NULL: native, kvm, translate. */
extern const char *const overhead_engines[];

/* One of overhead_engines. */
void overhead_default(struct overhead *overhead, const char *engine);

/* Replaces what a calibration file says of this engine. */
bool overhead_load(struct overhead *overhead, const char *path, struct error *error);

#endif
