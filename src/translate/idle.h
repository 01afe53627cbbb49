/* SPDX-License-Identifier: MIT */
/*
 * Idle loops: a vCPU that goes round in a loop which changes nothing is put to sleep until something may end it.
 *
 * Theory of operation. DOS waits for a key by asking for one again and again, Linux with idle=poll looks at a flag, and
 * old kernels look at a few words of memory with interrupts on. A processor in such a loop is as idle as one in HLT.
 *
 * The proof. The guest is a deterministic machine. If its registers and memory are the same as once before, and it has
 * read nothing in between that can differ the next time, then it goes round for ever, unless an event, another vCPU or
 * a device changes something. So a vCPU that may be waiting runs instruction by instruction for a while:
 * - SEEK: Brent's algorithm looks for a state of the registers that comes again. It compares with a state that is
 *   replaced at each power of two, and so needs to know nothing of where the loop begins.
 * - PROVE: one more lap, with write permission taken from the TLB. Before the first store to a page the page is copied.
 *   If at the end all copies are what the pages hold, the lap changed nothing. What the stack below its pointer held
 *   before may differ after the first lap; the lap is repeated a few times.
 * What a loop that waits has no use for ends both (`tainted`): ports and MMIO, whose reads may have effects and differ;
 * time stamps and random numbers; vector and system registers, which are not compared; faults; events. So a loop that
 * waits for a moment of the TSC is busy. What is on the list stands in lower.c.
 *
 * Asleep. engine_run() returns ENGINE_NAPPING, and the caller sleeps until a request comes, but not for long, since
 * nobody tells when another vCPU or a device writes to memory. After a nap the next lap is run and proved; that is also
 * how the guest sees what has changed. After an event the guest runs as ever, and is looked at again soon: 50 us later,
 * then after twice as long, and so on.
 *
 * Cost. Nothing in translated code: it is left at a poll, as for an event. A timer of the thread's processor time asks
 * for a look; Linux serves it at its ticks. A look that finds nothing is paid for: the next one comes when
 * IDLE_PATIENCE times as long has passed. It begins with SEEK, which touches neither TLB nor memory, and most looks at
 * busy guests end there.
 *
 * Not where instructions are counted, and not while a debugger is attached.
 */
#ifndef NFOLD_TRANSLATE_IDLE_H
#define NFOLD_TRANSLATE_IDLE_H

#include <time.h>

#include "cpu/cpu.h"
#include "cpu/mmu.h"

#define IDLE_PAGES 8u
#define IDLE_SEEK_MIN 512u /* instructions; more each time that they were too few */
#define IDLE_SEEK_MAX 8192u
#define IDLE_LAPS 4u
#define IDLE_PATIENCE 256u

enum idle_phase { IDLE_NONE, IDLE_SEEK, IDLE_PROVE, IDLE_ASLEEP };

/* What is compared of the registers. All others either do not change or taint. */
struct idle_state {
	uint64_t rip, rflags, cr3;
	uint64_t gpr[16];
	struct cpu_segment segment[CPU_SEGMENT_COUNT];
	uint32_t mode;
	uint16_t tr, ldtr;
	uint8_t shadow, nmi_blocked;
};

struct idle {
	uint8_t tainted; /* stored by translated code too */
	uint8_t asked;	 /* somebody wants a look: set by signals of the vCPU's own thread */
	uint8_t phase;	 /* enum idle_phase */
	uint8_t laps;
	bool returns; /* it was idle before the last event */
	bool has_timers;
	uint32_t soon;	       /* how often it was looked at since */
	uint32_t steps, limit; /* of this search */
	uint32_t power;	       /* Brent's */
	uint32_t lap;	       /* instructions of the loop */
	uint32_t lap_steps;
	uint32_t requests; /* that were there throughout the lap */
	uint32_t naps;	   /* in a row */
	uint32_t page_count;
	uint64_t begin, not_before; /* host TSC */
	uint64_t lap_begin, lap_cost;
	struct idle_state head;
	const uint8_t *page[IDLE_PAGES];
	timer_t tick; /* of the thread's processor time */
	timer_t once; /* soon after an event */
	uint8_t copy[IDLE_PAGES][PAGE_SIZE];
};

struct engine_vcpu;

/* At each turn of the dispatcher between two instructions, while a look is wanted or under way, or a nap is over. True:
 * the vCPU only waits. */
bool idle_turn(struct engine_vcpu *vcpu);

static inline bool idle_is_looking(const struct idle *idle)
{
	return idle->phase == IDLE_SEEK || idle->phase == IDLE_PROVE;
}

/* ---- timers (idle-timer.c), by the vCPU's own thread, with its vector state parked ---- */

#define IDLE_SIGNAL_VALUE 1 /* of the timers' signals */
void idle_attach(struct engine_vcpu *vcpu);
void idle_detach(struct engine_vcpu *vcpu);
/* Asks for a look in so many nanoseconds. */
void idle_ask_soon(struct engine_vcpu *vcpu, uint64_t ns);
/* In the signal handler. */
void idle_ask(struct engine_vcpu *vcpu);

#endif
