/* SPDX-License-Identifier: MIT */
/*
 * What happened to a guest, line by line, so that two runs can be compared: interrupts, timers and, if wanted,
 * exceptions, with the count of instructions before them and a hash of the registers; and at intervals of the virtual
 * clock a hash of memory. For machines whose clock counts instructions.
 *
 *     COUNT NANOSECONDS WHAT [VECTOR] CS:RIP REGISTERS EXCEPTIONS [MEMORY]
 *
 * REGISTERS is a hash of general, control, segment and vector registers. EXCEPTIONS is a hash over all exceptions so
 * far and the registers at each: with it, each line tells of all before.
 */
#ifndef NFOLD_MACHINE_TRACE_H
#define NFOLD_MACHINE_TRACE_H

#include "cpu/cpu.h"

struct trace;

/* The file is created or emptied. */
struct trace *trace_open(const char *path, bool exceptions, struct cpu *cpu, struct clock *clock, struct error *error);
/* Writes the last line. The vCPU does not run any more. */
void trace_close(struct trace *trace);

/* Timers of the clock have fired. The vCPU's thread, between instructions, with the vector state parked. */
void trace_timers(struct trace *trace);

#endif
