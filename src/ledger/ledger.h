/* SPDX-License-Identifier: MIT */
/*
 * The ledger: where every microsecond of a guest goes. docs/ledger.md explains it to its readers.
 *
 * Layout. One shared-memory object per guest: a header, one `struct ledger_vcpu` per vCPU, then one `struct
 * ledger_disk` per disk image: the disks in the user's order, then the CD-ROM drive's disc. Every field is a 64-bit
 * word in its writer's own cache lines; any number of readers. Readers in other processes map it read-only and check
 * `magic` and `version`.
 *
 * Booked clocks. Every vCPU is in exactly one state at any moment. ledger_enter() books the time since the last
 * transition to the state left, so the clocks sum to the time since the ledger was opened, exactly: the
 * reader adds the open interval (now - `since`) to `state`. A sequence counter makes a line's reading consistent.
 * They are kept in TSC cycles of the host and scaled by the reader (`tsc_hz` in the header), since reading the TSC
 * costs about 10 ns.
 *
 * Settled clocks. Booked clocks go on while Linux runs something else. ledger/settle.h compares them with what Linux
 * says of the thread, and moves that time to the states PREEMPTED and BLOCKED, which are never entered.
 *
 * Kinds. What the engine does for the guest too often to book each time stays in GUEST: it is counted exactly, and one
 * in LEDGER_SAMPLE_EVERY is timed. The reader estimates count x mean cost.
 *
 * What is inline here is free of libc: the engine calls it with guest state live.
 */
#ifndef NFOLD_LEDGER_LEDGER_H
#define NFOLD_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define LEDGER_MAGIC UINT64_C(0x726567646c66646e) /* "ndfldger" */
#define LEDGER_VERSION 7u
#define LEDGER_MAX_VCPUS 8
#define LEDGER_MAX_NETWORKS 8
#define LEDGER_MAX_DISKS 17

/* A prime, so that no loop of the guest keeps step with the samples. */
#define LEDGER_SAMPLE_EVERY 251u
/* A longer sample (about half a millisecond) was interrupted by something else, and is dropped. */
#define LEDGER_SAMPLE_MAX (UINT64_C(1) << 20)

/*
 * X(name, key, text): the coarse states of a vCPU, in the order of the layout. First those that run on a processor,
 * then those that wait, last those that settling finds.
 */
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
	X(PAUSED, "paused", "paused by the user")                                                                      \
	X(PREEMPTED, "preempted", "ready, while Linux ran something else")                                             \
	X(BLOCKED, "blocked", "held up inside Linux: a lock, a page of the host")

enum ledger_state {
#define X(name, key, text) LEDGER_##name,
	LEDGER_STATES(X)
#undef X
	    LEDGER_STATE_COUNT,
	LEDGER_RUNNING_COUNT = LEDGER_IDLE,    /* the states before it run on a processor */
	LEDGER_BOOKED_COUNT = LEDGER_PREEMPTED /* the states before it are entered */
};

/* X(name, key, text): exact counters of a vCPU. */
#define LEDGER_COUNTERS(X)                                                                                             \
	X(EXIT_DISPATCH, "exit_dispatch", "exits to the dispatcher for the next block")                                \
	X(EXIT_EVENT, "exit_event", "exits at a poll because an event was pending")                                    \
	X(EXIT_CAREFUL, "exit_careful", "instructions re-run with a bounce buffer")                                    \
	X(EXIT_SIGNAL, "exit_signal", "host signals that became guest exceptions")                                     \
	X(PORT_READ, "port_read", "port reads")                                                                        \
	X(PORT_WRITE, "port_write", "port writes")                                                                     \
	X(MMIO_READ, "mmio_read", "MMIO reads")                                                                        \
	X(MMIO_WRITE, "mmio_write", "MMIO writes")                                                                     \
	X(HALT, "halt", "HLT and MWAIT")                                                                               \
	X(EXCEPTION, "exception", "exceptions delivered to the guest, page faults included")                           \
	X(PAGE_FAULT, "page_fault", "page faults delivered to the guest")                                              \
	X(PAGE_FAULT_PRESENT, "page_fault_present", "of them: the page was there, its rights forbade it")              \
	X(INTERRUPT, "interrupt", "hardware interrupts delivered")                                                     \
	X(NMI, "nmi", "NMIs delivered")                                                                                \
	X(SYSCALL, "syscall", "SYSCALL and SYSENTER")                                                                  \
	X(TLB_MISS, "tlb_miss", "page walks for the soft TLB, fetches included")                                       \
	X(TLB_MISS_READ, "tlb_miss_read", "of them: to read data")                                                     \
	X(TLB_MISS_WRITE, "tlb_miss_write", "of them: to write data")                                                  \
	X(TLB_MISS_FETCH, "tlb_miss_fetch", "of them: to fetch instructions")                                          \
	X(TLB_FLUSH, "tlb_flush", "whole-TLB flushes")                                                                 \
	X(TLB_FLUSH_CR3, "tlb_flush_cr3", "of them: CR3 was loaded")                                                   \
	X(TLB_FLUSH_INVPCID, "tlb_flush_invpcid", "of them: INVPCID")                                                  \
	X(TLB_FLUSH_MODE, "tlb_flush_mode", "of them: CR0, CR4 or EFER changed")                                       \
	X(TLB_FLUSH_WATCH, "tlb_flush_watch", "of them: data breakpoints changed")                                     \
	X(TLB_FLUSH_MAP, "tlb_flush_map", "of them: physical memory moved, or A20 changed")                            \
	X(TLB_SWITCH, "tlb_switch", "loads of CR3 that kept the TLB's entries of both address spaces")                 \
	X(TLB_FLUSH_PAGE, "tlb_flush_page", "single-page flushes")                                                     \
	X(CR3_LOAD, "cr3_load", "address space switches")                                                              \
	X(MSR_READ, "msr_read", "RDMSR")                                                                               \
	X(MSR_WRITE, "msr_write", "WRMSR")                                                                             \
	X(BLOCK_TRANSLATED, "block_translated", "blocks translated")                                                   \
	X(BLOCK_INVALIDATED, "block_invalidated", "blocks invalidated by writes to code")                              \
	X(CODE_WRITE, "code_write", "guest writes to pages that hold translated code")                                 \
	X(CODE_WRITE_DEVICE, "code_write_device", "device writes to pages that hold translated code")                  \
	X(CODE_MOVED, "code_moved", "times that physical memory moved away under translated code")                     \
	X(CODE_CHECKED, "code_checked", "pages whose code was made to check itself: written too often")                \
	X(CODE_TRACED, "code_traced", "such pages whose writes are traced again")                                      \
	X(CODE_STALE, "code_stale", "blocks that checked themselves and were stale")                                   \
	X(CACHE_EVICTION, "cache_eviction", "times that the oldest part of the full code cache was emptied")           \
	X(BLOCK_EVICTED, "block_evicted", "blocks dropped by that")                                                    \
	X(WORLD_STOP, "world_stop", "times that it made all other processors stand still")                             \
	X(SPLIT_LOCK, "split_lock", "locked instructions on two pages")                                                \
	X(SPIN, "spin", "times that it gave its processor away, spinning with PAUSE")                                  \
	X(IDLE_LOOK, "idle_look", "times that it was looked at whether it goes round in a loop that only waits")       \
	X(IDLE_NAP, "idle_nap", "naps in a loop that only waits")                                                      \
	X(CACHE_FLUSH, "cache_flush", "flushes of the whole code cache")                                               \
	X(CACHE_FLUSH_MODES, "cache_flush_modes", "of them: code ran in too many modes")                               \
	X(CACHE_FLUSH_DEVICE, "cache_flush_device", "of them: too many device writes to code at once")

enum ledger_counter {
#define X(name, key, text) LEDGER_COUNT_##name,
	LEDGER_COUNTERS(X)
#undef X
	    LEDGER_COUNTER_COUNT
};

/* X(name, key, text): what is done within the state GUEST, counted exactly and timed by samples. */
#define LEDGER_KINDS(X)                                                                                                \
	X(DISPATCH, "dispatch", "finding the next block, outside translated code")                                     \
	X(REFILL, "refill", "accesses that missed the soft TLB")                                                       \
	X(CONTROL, "control", "control and debug registers, flushes, descriptor tables")                               \
	X(FLAGS, "flags", "CLI, STI, PUSHF, POPF, STAC, CLAC, SWAPGS")                                                 \
	X(MODEL, "model", "RDMSR, WRMSR, CPUID, RDTSC")                                                                \
	X(TRANSFER, "transfer", "SYSCALL, SYSRET, IRET, INT, far transfers, segment loads")                            \
	X(STRING, "string", "string instructions")                                                                     \
	X(PORT, "port", "IN, OUT, INS, OUTS without the devices")                                                      \
	X(INTEGER, "integer", "rare integer instructions")                                                             \
	X(VECTOR, "vector", "state save areas, masked and gathered accesses")

enum ledger_kind {
#define X(name, key, text) LEDGER_KIND_##name,
	LEDGER_KINDS(X)
#undef X
	    LEDGER_KIND_COUNT
};

/* X(name, key, text): exact counters of a network adapter, from the guest's side. Written under the device lock. */
#define LEDGER_NETWORK_COUNTERS(X)                                                                                     \
	X(RECEIVED_FRAMES, "received_frames", "frames that the guest received")                                        \
	X(RECEIVED_BYTES, "received_bytes", "bytes in them")                                                           \
	X(RECEIVE_DROPS, "receive_drops",                                                                              \
	  "frames for the guest that were dropped: it had no room, or did not want them")                              \
	X(SENT_FRAMES, "sent_frames", "frames that the guest sent")                                                    \
	X(SENT_BYTES, "sent_bytes", "bytes in them")                                                                   \
	X(SEND_DROPS, "send_drops", "frames of the guest that were dropped")

enum ledger_network_counter {
#define X(name, key, text) LEDGER_NETWORK_##name,
	LEDGER_NETWORK_COUNTERS(X)
#undef X
	    LEDGER_NETWORK_COUNTER_COUNT
};

/* X(name, key, text): delays of which histograms are kept. */
#define LEDGER_DELAYS(X)                                                                                               \
	X(WAKE, "wake", "from a request to a halted processor to its thread running")                                  \
	X(INTERRUPT, "interrupt", "from an interrupt's request to its delivery, the guest's own masking included")     \
	X(DEVICE, "device", "from a device's interrupt (disk, network, serial port; no timer) to its delivery")

enum ledger_delay {
#define X(name, key, text) LEDGER_DELAY_##name,
	LEDGER_DELAYS(X)
#undef X
	    LEDGER_DELAY_COUNT
};

/* X(name, key, text): timers whose periodic ticks are counted. All local APICs are one. */
#define LEDGER_TIMERS(X)                                                                                               \
	X(I8254, "i8254", "interval timer, channel 0")                                                                 \
	X(RTC, "rtc", "real-time clock")                                                                               \
	X(LAPIC, "lapic", "local APIC timers")                                                                         \
	X(HPET, "hpet", "high precision event timer")

enum ledger_timer {
#define X(name, key, text) LEDGER_TIMER_##name,
	LEDGER_TIMERS(X)
#undef X
	    LEDGER_TIMER_COUNT
};

/* X(name, key, text): what became of a periodic timer's ticks. Those due are the sum of those delivered, those lost,
 * and those on their way. */
#define LEDGER_TICK_COUNTERS(X)                                                                                        \
	X(DUE, "due", "periods that ended and were to interrupt")                                                      \
	X(DELIVERED, "delivered", "ticks that the guest took")                                                         \
	X(LOST, "lost", "ticks that it never got: the one before was not taken yet")                                   \
	X(BUNCHED, "bunched", "of those delivered: half a period or less after the one before")

enum ledger_tick_counter {
#define X(name, key, text) LEDGER_TICK_##name,
	LEDGER_TICK_COUNTERS(X)
#undef X
	    LEDGER_TICK_COUNTER_COUNT
};

/* Written with the machine's device lock held. */
struct ledger_ticks {
	uint64_t count[LEDGER_TICK_COUNTER_COUNT];
};

/* X(name, key, text): what a disk image is asked for. */
#define LEDGER_DISK_OPERATIONS(X)                                                                                      \
	X(READ, "read", "reads")                                                                                       \
	X(WRITE, "write", "writes")                                                                                    \
	X(FLUSH, "flush", "flushes")                                                                                   \
	X(DISCARD, "discard", "discards")                                                                              \
	X(ZERO, "zero", "writes of zeros")

enum ledger_disk_operation {
#define X(name, key, text) LEDGER_DISK_##name,
	LEDGER_DISK_OPERATIONS(X)
#undef X
	    LEDGER_DISK_OPERATION_COUNT
};

/* Bucket i counts response times below 2^i microseconds that the one before does not; the last one counts all others.
 */
#define LEDGER_DISK_BUCKETS 24

struct ledger_disk_line {
	uint64_t count; /* requests that are done, the failed ones included */
	uint64_t failed;
	uint64_t bytes; /* that were moved */
	uint64_t ns;	/* response times of all together */
	uint64_t bucket[LEDGER_DISK_BUCKETS];
};

/* Written with the machine's device lock held. */
struct ledger_disk {
	struct ledger_disk_line operation[LEDGER_DISK_OPERATION_COUNT];
} __attribute__((aligned(64)));

/* Bucket i counts delays below 2^i cycles that the one before does not; the last one counts all others. */
#define LEDGER_DELAY_BUCKETS 40

struct ledger_delay_line {
	uint64_t cycles; /* of all together */
	uint64_t bucket[LEDGER_DELAY_BUCKETS];
};

struct ledger_kind_line {
	uint64_t count;
	uint64_t sample_at; /* the count to be timed next */
	uint64_t samples;
	uint64_t cycles; /* of the samples together */
};

/* How the booked clocks were settled with Linux, in cycles. Written by whoever makes `sequence` odd. */
struct ledger_settled {
	uint64_t sequence;
	uint64_t at;			      /* host TSC of the last settlement */
	uint64_t cpu;			      /* accounted for: the thread's time on a processor */
	uint64_t run_delay;		      /* accounted for: its waits for one */
	uint64_t booked[LEDGER_BOOKED_COUNT]; /* the clocks as they stood then */
	uint64_t clock[LEDGER_STATE_COUNT];   /* sum to those */
};

struct ledger_vcpu {
	uint64_t sequence;		     /* odd while the clocks are being changed */
	uint64_t state;			     /* enum ledger_state */
	uint64_t since;			     /* host TSC of the last transition */
	uint64_t clock[LEDGER_BOOKED_COUNT]; /* host TSC cycles booked */
	uint64_t count[LEDGER_COUNTER_COUNT];
	struct ledger_kind_line kind[LEDGER_KIND_COUNT];
	struct ledger_delay_line delay[LEDGER_DELAY_COUNT];
	uint64_t thread_id; /* host tid of the vCPU's thread, 0 before it runs */
	struct ledger_settled settled __attribute__((aligned(64)));
} __attribute__((aligned(64)));

struct ledger_network {
	uint64_t count[LEDGER_NETWORK_COUNTER_COUNT];
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
	uint64_t sample_cost; /* cycles that a sample of nothing takes */
	uint64_t network_count, disk_count;
	/* A host schedules the vCPUs; times that it was gone and they ran on without it, in cycles, and since when it
	 * is gone now (host TSC; 0: it is not). */
	uint64_t scheduled, lapse_count, lapse_cycles, lapse_since;
	struct ledger_vcpu vcpu[LEDGER_MAX_VCPUS];
	struct ledger_network network[LEDGER_MAX_NETWORKS];
	struct ledger_disk disk[LEDGER_MAX_DISKS];
	struct ledger_ticks ticks[LEDGER_TIMER_COUNT] __attribute__((aligned(64)));
};

struct ledger_estimate {
	uint64_t count; /* exact */
	uint64_t samples;
	uint64_t ns; /* count x mean cost of the samples */
};

struct ledger_delays {
	uint64_t count;
	uint64_t ns; /* of all together */
	uint64_t bucket[LEDGER_DELAY_BUCKETS];
};

/* A consistent copy of one vCPU's line, in nanoseconds. */
struct ledger_reading {
	uint64_t wall_ns;		       /* since the ledger was opened */
	uint64_t state_ns[LEDGER_STATE_COUNT]; /* sums to wall_ns */
	uint64_t unsettled_ns;		       /* of wall_ns: since the last settlement */
	uint64_t count[LEDGER_COUNTER_COUNT];
	struct ledger_estimate kind[LEDGER_KIND_COUNT]; /* parts of state_ns[LEDGER_GUEST], together at most that */
	struct ledger_delays delay[LEDGER_DELAY_COUNT];
	enum ledger_state state;
};

/*
 * Creates a ledger in a memfd. *fd (owned by the caller) can be passed to readers. All clocks start now, in state
 * PAUSED.
 */
struct ledger *ledger_create(unsigned vcpu_count, int *fd, struct error *error);
void ledger_close(struct ledger *ledger, int fd);

/* The host's lease ran out at `tsc`; a host is there again. Only the event loop's thread calls them. */
void ledger_lapse_begin(struct ledger *ledger, uint64_t tsc);
void ledger_lapse_end(struct ledger *ledger);
/* All lapses together, the one that goes on included. */
uint64_t ledger_lapse_ns(const struct ledger *ledger);

/* Maps another process's ledger read-only. Fails on another magic, version or size. */
const struct ledger *ledger_map(int fd, struct error *error);
void ledger_unmap(const struct ledger *ledger);

/*
 * What happened since the last settlement stands as it was booked. In the guest's process, ledger_settle_thread()
 * before this makes that moment short.
 */
void ledger_read(const struct ledger *ledger, unsigned vcpu, struct ledger_reading *reading);
/* The first `vcpus`, at most LEDGER_MAX_VCPUS. Waits for all their writers together no longer than for one: those of
 * another process may never end. */
void ledger_read_all(const struct ledger *ledger, unsigned vcpus, struct ledger_reading *reading);

/*
 * Only what was settled: clocks that sum to the time until the last settlement, and of which none ever goes back. Where
 * Linux keeps no figures of threads, so that nothing is settled: as they were booked.
 */
void ledger_read_settled(const struct ledger *ledger, unsigned vcpu, uint64_t state_ns[LEDGER_STATE_COUNT]);

/* What the delays of a bucket are below, in nanoseconds; UINT64_MAX for the last. */
uint64_t ledger_bucket_end(const struct ledger *ledger, unsigned bucket);

extern const char *const ledger_disk_key[LEDGER_DISK_OPERATION_COUNT];
extern const char *const ledger_disk_text[LEDGER_DISK_OPERATION_COUNT];
extern const char *const ledger_state_key[LEDGER_STATE_COUNT];
extern const char *const ledger_state_text[LEDGER_STATE_COUNT];
extern const char *const ledger_kind_key[LEDGER_KIND_COUNT];
extern const char *const ledger_kind_text[LEDGER_KIND_COUNT];
extern const char *const ledger_delay_key[LEDGER_DELAY_COUNT];
extern const char *const ledger_delay_text[LEDGER_DELAY_COUNT];
extern const char *const ledger_counter_key[LEDGER_COUNTER_COUNT];
extern const char *const ledger_counter_text[LEDGER_COUNTER_COUNT];
extern const char *const ledger_timer_key[LEDGER_TIMER_COUNT];
extern const char *const ledger_timer_text[LEDGER_TIMER_COUNT];
extern const char *const ledger_tick_key[LEDGER_TICK_COUNTER_COUNT];
extern const char *const ledger_tick_text[LEDGER_TICK_COUNTER_COUNT];
extern const char *const ledger_network_counter_key[LEDGER_NETWORK_COUNTER_COUNT];
extern const char *const ledger_network_counter_text[LEDGER_NETWORK_COUNTER_COUNT];

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

/* Enters a state if it is another than now: spares the TSC where it mostly is not. */
static inline void ledger_resume(struct ledger_vcpu *line, enum ledger_state state)
{
	if (line->state != (uint64_t)state)
		(void)ledger_enter(line, state);
}

static inline void ledger_add(struct ledger_vcpu *line, enum ledger_counter counter, uint64_t number)
{
#ifdef NFOLD_NO_LEDGER
	(void)line;
	(void)counter;
	(void)number;
#else
	__atomic_store_n(&line->count[counter], line->count[counter] + number, __ATOMIC_RELAXED);
#endif
}

static inline void ledger_count(struct ledger_vcpu *line, enum ledger_counter counter)
{
	ledger_add(line, counter, 1);
}

static inline unsigned ledger_delay_bucket(uint64_t cycles)
{
	unsigned bucket = cycles == 0 ? 0 : 64 - (unsigned)__builtin_clzll(cycles);
	return bucket < LEDGER_DELAY_BUCKETS ? bucket : LEDGER_DELAY_BUCKETS - 1;
}

/* Adds a delay that began at `since` (host TSC) and ends now. Only the vCPU's thread calls it; of LEDGER_DELAY_DEVICE
 * only who holds the machine's device lock. */
static inline void ledger_delay_add(struct ledger_vcpu *line, enum ledger_delay delay, uint64_t since)
{
#ifdef NFOLD_NO_LEDGER
	(void)line;
	(void)delay;
	(void)since;
#else
	struct ledger_delay_line *of = &line->delay[delay];
	uint64_t now = ledger_tsc();
	uint64_t cycles = now > since ? now - since : 0; /* another processor's TSC may be ahead by a little */
	uint64_t *bucket = &of->bucket[ledger_delay_bucket(cycles)];
	__atomic_store_n(bucket, *bucket + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&of->cycles, of->cycles + cycles, __ATOMIC_RELAXED);
#endif
}

static inline void ledger_word_add(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, *word + value, __ATOMIC_RELAXED);
}

/* One request of a disk image is done. */
static inline void ledger_disk_add(struct ledger_disk *disk, enum ledger_disk_operation operation, uint64_t bytes,
				   uint64_t ns, bool failed)
{
#ifdef NFOLD_NO_LEDGER
	(void)disk;
	(void)operation;
	(void)bytes;
	(void)ns;
	(void)failed;
#else
	struct ledger_disk_line *line = &disk->operation[operation];
	uint64_t us = ns / 1000;
	unsigned bucket = us == 0 ? 0 : 64 - (unsigned)__builtin_clzll(us);
	ledger_word_add(&line->count, 1);
	ledger_word_add(&line->failed, failed);
	ledger_word_add(&line->bytes, bytes);
	ledger_word_add(&line->ns, ns);
	ledger_word_add(&line->bucket[bucket < LEDGER_DISK_BUCKETS ? bucket : LEDGER_DISK_BUCKETS - 1], 1);
#endif
}

/* Counts one of a kind. True: it may be timed, between ledger_sample_begin() and ledger_sample_end(). */
static inline bool ledger_count_kind(struct ledger_vcpu *line, enum ledger_kind kind)
{
#ifdef NFOLD_NO_LEDGER
	(void)line;
	(void)kind;
	return false;
#else
	struct ledger_kind_line *of = &line->kind[kind];
	uint64_t count = of->count + 1;
	__atomic_store_n(&of->count, count, __ATOMIC_RELAXED);
	if (__builtin_expect(count != of->sample_at, 1))
		return false;
	of->sample_at = count + LEDGER_SAMPLE_EVERY;
	return true;
#endif
}

/* The clock of GUEST as it stands: time booked to other states between two readings is not in their difference. */
static inline uint64_t ledger_guest_clock(const struct ledger_vcpu *line)
{
	return line->clock[LEDGER_GUEST] + (line->state == LEDGER_GUEST ? ledger_tsc() - line->since : 0);
}

static inline uint64_t ledger_sample_begin(const struct ledger_vcpu *line)
{
	return ledger_guest_clock(line);
}

static inline void ledger_sample_end(struct ledger_vcpu *line, enum ledger_kind kind, uint64_t begin)
{
	struct ledger_kind_line *of = &line->kind[kind];
	uint64_t cycles = ledger_guest_clock(line) - begin;
	if (cycles > LEDGER_SAMPLE_MAX)
		return;
	__atomic_store_n(&of->cycles, of->cycles + cycles, __ATOMIC_RELAXED);
	__atomic_store_n(&of->samples, of->samples + 1, __ATOMIC_RELAXED);
}

#endif
