/* SPDX-License-Identifier: MIT */
/* The ring of events: names, what is lost, and that a reader gets no more than a look. */
#include "ledger/events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t named(const char *name)
{
	return events_named(name, strlen(name));
}

static void names_and_groups(void **state)
{
	(void)state;
	assert_int_equal(named("interrupt"), UINT64_C(1) << LEDGER_COUNT_INTERRUPT);
	assert_int_equal(named("interrupts"), UINT64_C(1) << LEDGER_COUNT_INTERRUPT | UINT64_C(1) << LEDGER_COUNT_NMI);
	assert_int_equal(named("disk"), UINT64_C(1) << EVENT_DISK_DONE);
	assert_int_equal(named(""), 0);
	assert_int_equal(named("interrup"), 0);
	assert_int_equal(named("interruptss"), 0);
	uint64_t all = 0;
	for (unsigned i = EVENT_GROUP_NONE + 1; i < EVENT_GROUP_COUNT; i++) {
		uint64_t kinds = named(event_group_key[i]);
		assert_int_not_equal(kinds, 0);
		assert_int_equal(all & kinds, 0); /* each kind is in one group */
		all |= kinds;
	}
	for (unsigned i = 0; i < EVENT_KIND_COUNT; i++) {
		assert_int_equal(named(event_key[i]), UINT64_C(1) << i);
		if (event_row[i].group == EVENT_GROUP_NONE)
			assert_int_equal(all >> i & 1, 0);
	}
}

static void what_is_overwritten_is_lost(void **state)
{
	(void)state;
	struct events events;
	struct error error;
	struct event got[8];
	uint64_t next = 0, lost = 0;
	assert_true(events_open(&events, &error));
	const uint64_t *ring = events_map(events.fd, &error);
	assert_non_null(ring);
	for (uint64_t i = 0; i < EVENTS_MAX + 1000; i++) {
		const struct event event = {
		    .tsc = i, .address = ~i, .value = i * 3, .kind = 7, .vcpu = 1, .size = 2, .cpl = 3, .device = 4};
		events_add(events.ring, &event);
	}
	assert_int_equal(events_read(ring, &next, got, 8, &lost), 8);
	assert_int_equal(lost, 1000);
	assert_int_equal(next, 1008);
	const struct event first = {.tsc = 1000,
				    .address = ~UINT64_C(1000),
				    .value = 3000,
				    .kind = 7,
				    .vcpu = 1,
				    .size = 2,
				    .cpl = 3,
				    .device = 4};
	assert_memory_equal(&got[0], &first, sizeof first);
	uint64_t seen = 8;
	while (events_read(ring, &next, got, 1, &lost) == 1)
		seen++;
	assert_int_equal(seen + lost, EVENTS_MAX + 1000);
	events_unmap(ring);
	events_close(&events);
}

static void readers_cannot_write(void **state)
{
	(void)state;
	struct events events;
	struct error error;
	assert_true(events_open(&events, &error));
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, events.fd, 0), MAP_FAILED);
	assert_int_not_equal(ftruncate(events.fd, 0), 0);
	assert_null(events_map(STDIN_FILENO, &error));
	events_close(&events);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_and_groups),
	    cmocka_unit_test(what_is_overwritten_is_lost),
	    cmocka_unit_test(readers_cannot_write),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
