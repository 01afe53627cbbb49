/* SPDX-License-Identifier: MIT */
/*
 * A debugger from outside: its breakpoints and watchpoints, which the guest cannot see.
 *
 * Theory of operation. The points are held by linear address in one table for all vCPUs. Nothing in guest memory or in
 * the guest's debug registers changes. Pages under a watchpoint stay out of the TLB, as under a guest's own data
 * breakpoint (cpu/access.c); the engine ends blocks before a breakpoint (translate/debug.c). When a vCPU meets a point
 * it leaves the engine with `debug.stop` set: before the instruction for a breakpoint, after it for the others.
 *
 * Threading: the table changes only while all vCPUs are parked; so do the fields of struct cpu_debug that the owner
 * sets.
 */
#ifndef NFOLD_CPU_DEBUGGER_H
#define NFOLD_CPU_DEBUGGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bits.h"

#define DEBUGGER_POINTS_MAX 64
#define DEBUGGER_WATCH_MAX 4096 /* bytes of one watchpoint */

enum debugger_kind { DEBUGGER_EXECUTE, DEBUGGER_WRITE, DEBUGGER_READ, DEBUGGER_ACCESS };

struct debugger_point {
	uint64_t linear;
	uint64_t size; /* of a watchpoint, 1 to DEBUGGER_WATCH_MAX */
	enum debugger_kind kind;
};

struct debugger {
	unsigned count;
	struct debugger_point point[DEBUGGER_POINTS_MAX];
};

enum debugger_stop { DEBUGGER_RUNS, DEBUGGER_AT_BREAKPOINT, DEBUGGER_WATCHED, DEBUGGER_STEPPED };

/* A vCPU's side of it. */
struct cpu_debug {
	const struct debugger *debugger; /* NULL: nobody debugs */
	bool step;			 /* stop after one instruction; interrupts wait */
	bool pass;			 /* the next instruction runs whatever breakpoint lies on it */
	bool hold;			 /* stays parked when the others start */
	enum debugger_stop stop;	 /* why the engine was left; the owner clears it */
	uint64_t linear;		 /* DEBUGGER_WATCHED: the watchpoint's address */
	enum debugger_kind kind;	 /* and its kind */
};

static inline bool debugger_breaks_at(const struct debugger *debugger, uint64_t linear)
{
	for (unsigned i = 0; i < debugger->count; i++)
		if (debugger->point[i].kind == DEBUGGER_EXECUTE && debugger->point[i].linear == linear)
			return true;
	return false;
}

/* Is there a breakpoint at this place in any page? Translated code may be shared by pages. */
static inline bool debugger_breaks_near(const struct debugger *debugger, uint64_t linear)
{
	for (unsigned i = 0; i < debugger->count; i++)
		if (debugger->point[i].kind == DEBUGGER_EXECUTE && ((debugger->point[i].linear ^ linear) & 0xfff) == 0)
			return true;
	return false;
}

/* The watchpoint that overlaps the bytes, or NULL. */
static inline const struct debugger_point *debugger_watch_find(const struct debugger *debugger, uint64_t linear,
							       uint64_t size, bool reads, bool writes)
{
	for (unsigned i = 0; i < debugger->count; i++) {
		const struct debugger_point *point = &debugger->point[i];
		bool kind = (writes && (point->kind == DEBUGGER_WRITE || point->kind == DEBUGGER_ACCESS)) ||
			    (reads && (point->kind == DEBUGGER_READ || point->kind == DEBUGGER_ACCESS));
		if (kind && (point->linear - linear < size || linear - point->linear < point->size))
			return point;
	}
	return NULL;
}

#endif
