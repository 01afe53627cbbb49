/* SPDX-License-Identifier: MIT */
/*
 * The ledger: where every microsecond of a guest goes.
 *
 * Layout. One shared-memory object per guest: a header, then one `struct ledger_vcpu` per vCPU, then device
 * operation lines. Every field is a 64-bit word in its writer's own cache lines; one writer per line, any number of
 * readers, no locks. Readers in other processes map it read-only and check `magic` and `version`.
 *
 * Clocks. Every vCPU is in exactly one state at any moment. ledger_enter() books the time since the last
 * transition to the state left, so the clocks sum to the time since the ledger was opened, exactly: the
 * reader adds the open interval (now - `since`) to `state`. A sequence counter makes a line's reading consistent.
 * Units are nanoseconds of the host's monotonic clock, kept in TSC cycles of the host and scaled by the
 * reader (`tsc_hz` in the header), since reading the TSC costs about 10 ns.
 *
 * Counts. Exits by kind and causes below are exact counts; their cost is estimated by the reader as count x sampled
 * cost, scaled to the exact parent clock, and shown as an estimate.
 *
 * ledger_enter and ledger_count are inline and free of libc: the engine calls them with guest state live.
 */
#ifndef NFOLD_LEDGER_LEDGER_H
#define NFOLD_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define LEDGER_MAGIC UINT64_C(0x726567646c66646e) /* "ndfldger" */
#define LEDGER_VERSION 1u
#define LEDGER_MAX_VCPUS 8

/* X(name, text): the coarse states of a vCPU, in the order of the layout. */
#define LEDGER_STATES(X)                                                                                               \
	X(GUEST, "guest", "in guest code")                                                                             \
	X(EXIT, "exit", "engine and system code on the guest's behalf")                                                \
	X(TRANSLATE, "translate", "translating guest code")                                                            \
	X(DEVICE, "device", "device models")                                                                           \
	X(IDLE, "idle", "halted, waiting for an event")                                                                \
	X(READY, "ready", "wants a processor, has no run token")                                                       \
	X(COSTOP, "costop", "held back for its siblings")                                                              \
	X(LIMITED, "limited", "held back by its limit")                                                                \
	X(PAGING, "paging", "waiting for swapped memory")                                                              \
	X(PAUSED, "paused", "paused by the user")

enum ledger_state {
#define X(name, key, text) LEDGER_##name,
	LEDGER_STATES(X)
#undef X
	    LEDGER_STATE_COUNT
};

/* X(name, key, text): exact counters of a vCPU. */
#define LEDGER_COUNTERS(X)                                                                                             \
	X(EXIT_DISPATCH, "exit_dispatch", "exits to the dispatcher for the next block")                                \
	X(EXIT_EVENT, "exit_event", "exits at a poll because an event was pending")                                    \
	X(EXIT_SYSTEM, "exit_system", "system instructions emulated in C")                                             \
	X(EXIT_STRING, "exit_string", "string instructions run in C")                                                  \
	X(EXIT_CAREFUL, "exit_careful", "instructions re-run with a bounce buffer")                                    \
	X(EXIT_SIGNAL, "exit_signal", "host signals that became guest exceptions")                                     \
	X(PORT_READ, "port_read", "port reads")                                                                        \
	X(PORT_WRITE, "port_write", "port writes")                                                                     \
	X(MMIO_READ, "mmio_read", "MMIO reads")                                                                        \
	X(MMIO_WRITE, "mmio_write", "MMIO writes")                                                                     \
	X(HALT, "halt", "HLT and MWAIT")                                                                               \
	X(EXCEPTION, "exception", "exceptions delivered to the guest, page faults included")                           \
	X(PAGE_FAULT, "page_fault", "page faults delivered to the guest")                                              \
	X(INTERRUPT, "interrupt", "hardware interrupts delivered")                                                     \
	X(NMI, "nmi", "NMIs delivered")                                                                                \
	X(SYSCALL, "syscall", "SYSCALL and SYSENTER")                                                                  \
	X(TLB_MISS, "tlb_miss", "soft TLB refills by page walk")                                                       \
	X(TLB_FLUSH, "tlb_flush", "whole-TLB flushes")                                                                 \
	X(TLB_FLUSH_PAGE, "tlb_flush_page", "single-page flushes")                                                     \
	X(CR3_LOAD, "cr3_load", "address space switches")                                                              \
	X(MSR_READ, "msr_read", "RDMSR")                                                                               \
	X(MSR_WRITE, "msr_write", "WRMSR")                                                                             \
	X(BLOCK_TRANSLATED, "block_translated", "blocks translated")                                                   \
	X(BLOCK_INVALIDATED, "block_invalidated", "blocks invalidated by writes to code")                              \
	X(CODE_WRITE, "code_write", "guest writes to pages that hold translated code")                                 \
	X(CACHE_FLUSH, "cache_flush", "flushes of the whole code cache")

enum ledger_counter {
#define X(name, key, text) LEDGER_COUNT_##name,
	LEDGER_COUNTERS(X)
#undef X
	    LEDGER_COUNTER_COUNT
};

struct ledger_vcpu {
	uint64_t sequence;		    /* odd while the clocks are being changed */
	uint64_t state;			    /* enum ledger_state */
	uint64_t since;			    /* host TSC of the last transition */
	uint64_t clock[LEDGER_STATE_COUNT]; /* host TSC cycles booked */
	uint64_t count[LEDGER_COUNTER_COUNT];
	uint64_t run_delay_ns; /* Linux run delay of the vCPU's thread (schedstat), sampled by the reader's side */
	uint64_t thread_id;    /* host tid of the vCPU's thread, 0 before it runs */
} __attribute__((aligned(64)));

struct ledger {
	uint64_t magic;
	uint64_t version;
	uint64_t size; /* bytes of the whole object */
	uint64_t tsc_hz;
	uint64_t opened_tsc;	     /* host TSC when the clocks started */
	uint64_t opened_realtime_ns; /* CLOCK_REALTIME at the same moment */
	uint64_t vcpu_count;
	uint64_t pid;
	struct ledger_vcpu vcpu[LEDGER_MAX_VCPUS];
};

/* A consistent copy of one vCPU's line, in nanoseconds. */
struct ledger_reading {
	uint64_t wall_ns;		       /* since the ledger was opened */
	uint64_t state_ns[LEDGER_STATE_COUNT]; /* sums to wall_ns */
	uint64_t count[LEDGER_COUNTER_COUNT];
	uint64_t run_delay_ns;
	enum ledger_state state;
};

/*
 * Creates a ledger in a memfd. *fd (owned by the caller) can be passed to readers. All clocks start now, in state
 * PAUSED.
 */
struct ledger *ledger_create(unsigned vcpu_count, int *fd, struct error *error);
void ledger_close(struct ledger *ledger, int fd);

/* Maps another process's ledger read-only. Fails on another magic, version or size. */
const struct ledger *ledger_map(int fd, struct error *error);
void ledger_unmap(const struct ledger *ledger);

void ledger_read(const struct ledger *ledger, unsigned vcpu, struct ledger_reading *reading);

extern const char *const ledger_state_key[LEDGER_STATE_COUNT];
extern const char *const ledger_state_text[LEDGER_STATE_COUNT];
extern const char *const ledger_counter_key[LEDGER_COUNTER_COUNT];
extern const char *const ledger_counter_text[LEDGER_COUNTER_COUNT];

static inline uint64_t ledger_tsc(void)
{
	return __builtin_ia32_rdtsc();
}

/* Books the time since the last transition and enters a state. Returns the state left. Only the vCPU's thread calls it.
 */
static inline enum ledger_state ledger_enter(struct ledger_vcpu *line, enum ledger_state state)
{
#ifdef NFOLD_NO_LEDGER
	(void)line;
	return state;
#else
	enum ledger_state left = (enum ledger_state)line->state;
	__atomic_store_n(&line->sequence, line->sequence + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	/* Read while the sequence is odd: otherwise a thread that loses its processor here lets readers book past
	 * `now`. */
	uint64_t now = ledger_tsc();
	__atomic_store_n(&line->clock[left], line->clock[left] + (now - line->since), __ATOMIC_RELAXED);
	__atomic_store_n(&line->since, now, __ATOMIC_RELAXED);
	__atomic_store_n(&line->state, (uint64_t)state, __ATOMIC_RELAXED);
	__atomic_store_n(&line->sequence, line->sequence + 1, __ATOMIC_RELEASE);
	return left;
#endif
}

static inline void ledger_count(struct ledger_vcpu *line, enum ledger_counter counter)
{
#ifdef NFOLD_NO_LEDGER
	(void)line;
	(void)counter;
#else
	__atomic_store_n(&line->count[counter], line->count[counter] + 1, __ATOMIC_RELAXED);
#endif
}

#endif
