/* SPDX-License-Identifier: MIT */
/*
 * Events: what happens to a guest, one by one, while somebody looks. `nfold trace` shows them (docs/debugging.md).
 *
 * Theory of operation. The ledger's exact counters (ledger.h) say how often what happened. Where one of them is
 * counted, an event of the same name is told if it is wanted; a few others come beside them. `wanted` has a bit for
 * each kind. While it is 0 an event costs one test of a word. A wanted one goes into a ring (ring.h) in sealed shared
 * memory, whose descriptor readers get: telling never waits for a reader, and a reader that is too slow learns how many
 * it lost. So of each counter: events seen + events lost = what the counter grew by.
 *
 * Threads. Any thread adds. Only the event loop's thread sets `wanted`.
 */
#ifndef NFOLD_LEDGER_EVENTS_H
#define NFOLD_LEDGER_EVENTS_H

#include "ledger/ledger.h"
#include "ledger/ring.h"

#define EVENTS_VERSION 1u
#define EVENTS_MAX 65536u /* in the ring */
#define EVENT_NO_VCPU 255u

/* X(name, key, text): kinds beside the ledger's counters. */
#define LEDGER_MORE_EVENTS(X)                                                                                          \
	X(WAKE, "wake", "a halted processor's thread runs again")                                                      \
	X(TURN, "turn", "it got a processor after waiting for one")                                                    \
	X(DISK_DONE, "disk_done", "a request of a disk image is done")                                                 \
	X(FRAME_RECEIVED, "frame_received", "the guest received a frame")                                              \
	X(FRAME_SENT, "frame_sent", "the guest sent a frame")

/* The kinds: first the counters with their numbers, then these. */
enum ledger_event {
	EVENT_BEFORE_MORE = LEDGER_COUNTER_COUNT - 1,
#define X(name, key, text) EVENT_##name,
	LEDGER_MORE_EVENTS(X)
#undef X
	    EVENT_KIND_COUNT
};
_Static_assert(EVENT_KIND_COUNT <= 64, "a bit for each kind");

/* X(name, key, text): groups of kinds to ask for. */
#define LEDGER_EVENT_GROUPS(X)                                                                                         \
	X(EXITS, "exits", "ways out of translated code")                                                               \
	X(INTERRUPTS, "interrupts", "hardware interrupts and NMIs")                                                    \
	X(EXCEPTIONS, "exceptions", "exceptions, page faults included")                                                \
	X(IO, "io", "accesses to ports and to devices' memory")                                                        \
	X(SYSTEM, "system", "system calls, MSRs, address spaces")                                                      \
	X(TLB, "tlb", "page walks and flushes of the soft TLB")                                                        \
	X(CODE, "code", "translation, and writes to code")                                                             \
	X(IDLE, "idle", "halts, naps, wakes, spins, waits for a processor")                                            \
	X(DISK, "disk", "requests of disk images")                                                                     \
	X(NETWORK, "network", "frames")

enum event_group {
	EVENT_GROUP_NONE, /* asked for by its own name only: another event tells the same */
#define X(name, key, text) EVENT_GROUP_##name,
	LEDGER_EVENT_GROUPS(X)
#undef X
	    EVENT_GROUP_COUNT
};

/* How a kind is shown: what its two numbers are, if anything. */
struct event_row {
	enum event_group group;
	const char *address, *value; /* NULL: it has none. Ends in _ns: cycles, to be shown as nanoseconds */
};

extern const char *const event_key[EVENT_KIND_COUNT];
extern const char *const event_text[EVENT_KIND_COUNT];
extern const char *const event_group_key[EVENT_GROUP_COUNT];
extern const char *const event_group_text[EVENT_GROUP_COUNT];
extern const struct event_row event_row[EVENT_KIND_COUNT];

/* All words of 64 bits, so that they can be copied one by one. */
struct event {
	uint64_t tsc; /* the host's */
	uint64_t rip; /* of the instruction, where the engine knows it */
	uint64_t address, value;
	uint8_t kind; /* enum ledger_event */
	uint8_t vcpu; /* or EVENT_NO_VCPU */
	uint8_t size; /* bytes of an access; enum ledger_disk_operation of a disk's */
	uint8_t cpl;
	uint32_t device; /* index of the disk or network */
};
#define EVENT_WORDS (sizeof(struct event) / sizeof(uint64_t))
#define EVENTS_BYTES RING_BYTES(EVENTS_MAX, EVENT_WORDS)

struct events {
	uint64_t wanted; /* bits 1 << enum ledger_event; atomic */
	uint64_t *ring;
	int fd; /* the ring's, for readers */
};

bool events_open(struct events *events, struct error *error);
void events_close(struct events *events); /* also of zeroes */

const uint64_t *events_map(int fd, struct error *error);
void events_unmap(const uint64_t *ring);

/* Copies up to `max` events from number *next on, as ring_read() does. */
unsigned events_read(const uint64_t *ring, uint64_t *next, struct event *to, unsigned max, uint64_t *lost);

/* The kinds of a group, or the one of this name; 0: there is none. */
uint64_t events_named(const char *name, size_t length);

static inline bool events_want(const struct events *events, unsigned kind)
{
	return __builtin_expect((__atomic_load_n(&events->wanted, __ATOMIC_RELAXED) >> kind & 1) != 0, 0);
}

/* Free of libc and of vector registers, as ring_add(). */
static inline void events_add(uint64_t *ring, const struct event *event)
{
	const struct ring_shape shape = {.slots = EVENTS_MAX, .words = EVENT_WORDS};
	const uint64_t word[EVENT_WORDS] = {event->tsc, event->rip, event->address, event->value,
					    (uint64_t)event->kind | (uint64_t)event->vcpu << 8 |
						(uint64_t)event->size << 16 | (uint64_t)event->cpl << 24 |
						(uint64_t)event->device << 32};
	ring_add(ring, shape, word);
}

#endif
