/* SPDX-License-Identifier: MIT */
/*
 * The real CPU as the reference: runs one instruction in this process, in a 64-, 32- or 16-bit code segment.
 *
 * Theory of operation. The whole user-visible state is loaded (XRSTOR, segment bases, flags, all general registers),
 * then control jumps to the instruction. The bytes around it are INT3, so whatever it does, a signal arrives: SIGTRAP
 * after it has completed, another if it faulted. A branch to a page that is not executable arrives as an
 * instruction-fetch fault at the target and counts as done. The handler, entered through an assembly stub that does
 * without thread-local storage (the FS base is the guest's), copies the state out of the signal frame and jumps back
 * into native_run, which has never left.
 *
 * Signals that do not come from here go to the handler that was installed before: the engine has its own.
 * One instance for a process: signal handlers are the process's.
 */
#ifndef NFOLD_INSN_NATIVE_H
#define NFOLD_INSN_NATIVE_H

#include "base/error.h"
#include "state.h"

struct native;

/* Maps code and data at their fixed addresses and installs the handlers. Call it after the engine has installed its
 * own. */
struct native *native_create(struct error *error);
void native_destroy(struct native *native);

/* After fork: the kernel copies no page tables of shared mappings, and a page that was never touched faults as absent.
 */
void native_populate(struct native *native);

/* Whether this host runs 32-bit code segments with LDT data segments. */
bool native_has_mode32(const struct native *native);

/* Whether it also runs 16-bit code segments, and segments with bases and limits. */
bool native_has_segments(const struct native *native);

uint8_t *native_code(struct native *native); /* writable view of the code pages */
uint8_t *native_data(struct native *native); /* writable view of all areas, by layout_offset */

/* single_step: end by the trap flag instead, for bytes whose length is not known. */
void native_run(struct native *native, bool mode64, bool single_step, const struct insn_state *state,
		struct insn_result *result);

#endif
