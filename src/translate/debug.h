/* SPDX-License-Identifier: MIT */
/*
 * Breakpoints and single steps of a debugger (cpu/debugger.h).
 *
 * Theory of operation. A block ends before an instruction at a breakpoint's place in its page. A block that would begin
 * there is made of an exit to the dispatcher alone. The dispatcher, which asks debug_stops() before each turn, compares
 * the whole linear address: it leaves the engine, or lets that one instruction run as a block of its own, in which
 * breakpoints are not looked for. So guest code runs at full speed up to the breakpoint. Whoever changes breakpoints
 * calls engine_debugger_changed(), and all blocks are made anew.
 *
 * A step is such a block too, with events held back: a debugger that steps wants the next line of the program and not
 * the timer's handler. Only in HLT are events served, since nothing else ends it.
 */
#ifndef NFOLD_TRANSLATE_DEBUG_H
#define NFOLD_TRANSLATE_DEBUG_H

#include "translate/block.h"

/* Before each turn: is the debugger to have the vCPU now? */
bool debug_stops(struct engine_vcpu *vcpu);
/* After each turn. complete: an instruction ended, or an exception was delivered in its place. */
void debug_turned(struct engine_vcpu *vcpu, bool complete, bool restarts);
/* Are events to wait? */
bool debug_holds_events(const struct cpu *cpu);

struct translation;
/* Does a block end before this PC? */
bool translation_breaks_at(const struct translation *t, uint64_t rip);

#endif
