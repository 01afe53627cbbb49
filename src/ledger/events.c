/* SPDX-License-Identifier: MIT */
#include "ledger/events.h"

#include <string.h>

#include "ledger/shared.h"

_Static_assert(EVENT_WORDS <= RING_WORDS_MAX, "an event fits into a slot");

static const struct ring_shape shape = {.slots = EVENTS_MAX, .words = EVENT_WORDS};

#define X(name, key, text) key,
const char *const event_key[EVENT_KIND_COUNT] = {LEDGER_COUNTERS(X) LEDGER_MORE_EVENTS(X)};
const char *const event_group_key[EVENT_GROUP_COUNT] = {"", LEDGER_EVENT_GROUPS(X)};
#undef X
#define X(name, key, text) text,
const char *const event_text[EVENT_KIND_COUNT] = {LEDGER_COUNTERS(X) LEDGER_MORE_EVENTS(X)};
const char *const event_group_text[EVENT_GROUP_COUNT] = {"", LEDGER_EVENT_GROUPS(X)};
#undef X

/* Counters that are not here tell of what another one tells better. */
#define COUNT(name) [LEDGER_COUNT_##name]
const struct event_row event_row[EVENT_KIND_COUNT] = {
    COUNT(EXIT_DISPATCH) = {EVENT_GROUP_EXITS, NULL, NULL},
    COUNT(EXIT_EVENT) = {EVENT_GROUP_EXITS, NULL, NULL},
    COUNT(EXIT_CAREFUL) = {EVENT_GROUP_EXITS, NULL, NULL},
    COUNT(EXIT_SIGNAL) = {EVENT_GROUP_EXITS, NULL, NULL},
    COUNT(SPLIT_LOCK) = {EVENT_GROUP_EXITS, NULL, NULL},
    COUNT(INTERRUPT) = {EVENT_GROUP_INTERRUPTS, NULL, "vector"},
    COUNT(NMI) = {EVENT_GROUP_INTERRUPTS, NULL, "vector"},
    COUNT(EXCEPTION) = {EVENT_GROUP_EXCEPTIONS, "error_code", "vector"},
    COUNT(PAGE_FAULT) = {EVENT_GROUP_EXCEPTIONS, "address", "error_code"},
    COUNT(PORT_READ) = {EVENT_GROUP_IO, "port", "value"},
    COUNT(PORT_WRITE) = {EVENT_GROUP_IO, "port", "value"},
    COUNT(MMIO_READ) = {EVENT_GROUP_IO, "address", "value"},
    COUNT(MMIO_WRITE) = {EVENT_GROUP_IO, "address", "value"},
    COUNT(SYSCALL) = {EVENT_GROUP_SYSTEM, NULL, "number"},
    COUNT(MSR_READ) = {EVENT_GROUP_SYSTEM, "msr", NULL},
    COUNT(MSR_WRITE) = {EVENT_GROUP_SYSTEM, "msr", "value"},
    COUNT(CR3_LOAD) = {EVENT_GROUP_SYSTEM, NULL, "cr3"},
    COUNT(TLB_MISS_READ) = {EVENT_GROUP_TLB, "address", NULL},
    COUNT(TLB_MISS_WRITE) = {EVENT_GROUP_TLB, "address", NULL},
    COUNT(TLB_MISS_FETCH) = {EVENT_GROUP_TLB, "address", NULL},
    COUNT(TLB_FLUSH) = {EVENT_GROUP_TLB, NULL, NULL},
    COUNT(TLB_SWITCH) = {EVENT_GROUP_TLB, NULL, NULL},
    COUNT(TLB_FLUSH_PAGE) = {EVENT_GROUP_TLB, "address", NULL},
    COUNT(BLOCK_TRANSLATED) = {EVENT_GROUP_CODE, NULL, NULL},
    COUNT(CODE_WRITE) = {EVENT_GROUP_CODE, "address", NULL},
    COUNT(CODE_WRITE_DEVICE) = {EVENT_GROUP_CODE, NULL, NULL},
    COUNT(CODE_MOVED) = {EVENT_GROUP_CODE, NULL, NULL},
    COUNT(CODE_CHECKED) = {EVENT_GROUP_CODE, NULL, NULL},
    COUNT(CODE_TRACED) = {EVENT_GROUP_CODE, NULL, NULL},
    COUNT(CODE_STALE) = {EVENT_GROUP_CODE, NULL, NULL},
    COUNT(CACHE_EVICTION) = {EVENT_GROUP_CODE, NULL, NULL},
    COUNT(WORLD_STOP) = {EVENT_GROUP_CODE, NULL, NULL},
    COUNT(CACHE_FLUSH) = {EVENT_GROUP_CODE, NULL, NULL},
    COUNT(HALT) = {EVENT_GROUP_IDLE, NULL, NULL},
    COUNT(SPIN) = {EVENT_GROUP_IDLE, NULL, NULL},
    COUNT(IDLE_NAP) = {EVENT_GROUP_IDLE, NULL, NULL},
    [EVENT_WAKE] = {EVENT_GROUP_IDLE, NULL, "after_ns"},
    [EVENT_TURN] = {EVENT_GROUP_IDLE, NULL, "waited_ns"},
    [EVENT_DISK_DONE] = {EVENT_GROUP_DISK, "bytes", "took_ns"},
    [EVENT_FRAME_RECEIVED] = {EVENT_GROUP_NETWORK, NULL, "bytes"},
    [EVENT_FRAME_SENT] = {EVENT_GROUP_NETWORK, NULL, "bytes"},
};
#undef COUNT

bool events_open(struct events *events, struct error *error)
{
	events->wanted = 0;
	events->ring = shared_create("nfold-events", "the ring of events", EVENTS_BYTES, &events->fd, error);
	return events->ring != NULL;
}

void events_close(struct events *events)
{
	shared_close(events->ring, EVENTS_BYTES, events->fd);
	events->ring = NULL;
}

const uint64_t *events_map(int fd, struct error *error)
{
	return shared_map(fd, "a ring of events", EVENTS_BYTES, error);
}

void events_unmap(const uint64_t *ring)
{
	shared_unmap(ring, EVENTS_BYTES);
}

unsigned events_read(const uint64_t *ring, uint64_t *next, struct event *to, unsigned max, uint64_t *lost)
{
	uint64_t word[EVENT_WORDS];
	unsigned count = 0;
	while (count < max && ring_read(ring, shape, next, word, 1, lost) == 1)
		memcpy(&to[count++], word, sizeof word);
	return count;
}

static bool is_named(const char *key, const char *name, size_t length)
{
	return strlen(key) == length && memcmp(key, name, length) == 0;
}

uint64_t events_named(const char *name, size_t length)
{
	uint64_t kinds = 0;
	for (unsigned i = 0; i < EVENT_KIND_COUNT; i++)
		if (is_named(event_key[i], name, length) || is_named(event_group_key[event_row[i].group], name, length))
			kinds |= UINT64_C(1) << i;
	return length == 0 ? 0 : kinds;
}
