/* SPDX-License-Identifier: MIT */
/*
 * Counting the guest's instructions, so that a run can be repeated.
 *
 * Theory of operation. With engine_options.counted, the entry of each block takes the number of its instructions off
 * `budget`, and leaves with EXIT_COUNT before the first of them when there is not that much left. The dispatcher then
 * goes on with blocks of one instruction, and returns ENGINE_COUNTED when nothing is left: at exactly the count that
 * engine_run_until() was given. The count is a property of the guest's program alone. It does not depend on where
 * blocks begin and end.
 *
 * A block that counts ends at its first branch, also at a conditional one: all of it runs, or it is left by C.
 *
 * What a block took too early is given back when it is left in the middle: `uncounted` is the number of its
 * instructions that have not been executed, set by whoever leaves (C instructions, helpers, the signal handler), and
 * added by the dispatcher. While C runs on behalf of an instruction it is set too, so that the clock, which reads the
 * count, is exact for devices and RDTSC. An instruction counts when it completes. One that faults does not, nor does
 * a REP that stops to go on later; so a REP is one instruction however long it takes.
 *
 * The count stands still on the block's last instructions when a device moves the deadline into what is left of the
 * block: then `budget` is negative, and the C instruction that did it leaves the block.
 *
 * Nothing of this is emitted or called when nobody counts.
 */
#ifndef NFOLD_TRANSLATE_COUNT_H
#define NFOLD_TRANSLATE_COUNT_H

#include "translate/block.h"

/* A budget that never runs out. */
#define COUNT_FOREVER (INT64_MAX / 2)

/* The dispatcher, after translated code came back. */
static inline void count_give_back(struct engine_vcpu *vcpu, unsigned instructions)
{
	vcpu->budget += instructions;
	vcpu->uncounted = 0;
}

#endif
