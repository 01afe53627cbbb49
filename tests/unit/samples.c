/* SPDX-License-Identifier: MIT */
/* The ring of samples, and the histograms of delays. */
#include "ledger/samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH 100u

static struct sample numbered(uint64_t number)
{
	return (struct sample){.address = number, .block = ~number, .space = number * 3, .vcpu = (uint8_t)number};
}

static void assert_intact(const struct sample *sample)
{
	struct sample good = numbered(sample->address);
	assert_memory_equal(sample, &good, sizeof good);
}

static void add_numbered(struct samples *samples, uint64_t first, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct sample sample = numbered(first + i);
		samples_add(samples, &sample);
	}
}

static struct samples *make(void)
{
	struct samples *samples = calloc(1, sizeof *samples);
	assert_non_null(samples);
	return samples;
}

static void comes_out_in_order_and_once(void **state)
{
	(void)state;
	struct samples *samples = make();
	struct sample got[BATCH];
	uint64_t next = samples_now(samples), lost = 0;
	assert_int_equal(samples_read(samples, &next, got, BATCH, &lost), 0);
	add_numbered(samples, 1000, BATCH + 7);
	assert_int_equal(samples_read(samples, &next, got, BATCH, &lost), BATCH);
	for (unsigned i = 0; i < BATCH; i++) {
		assert_int_equal(got[i].address, 1000 + i);
		assert_intact(&got[i]);
	}
	assert_int_equal(samples_read(samples, &next, got, BATCH, &lost), 7);
	assert_int_equal(got[6].address, 1000 + BATCH + 6);
	assert_int_equal(samples_read(samples, &next, got, BATCH, &lost), 0);
	assert_int_equal(lost, 0);
	free(samples);
}

static void what_was_overwritten_is_counted(void **state)
{
	(void)state;
	struct samples *samples = make();
	static struct sample got[SAMPLES_MAX];
	uint64_t next = 0, lost = 0;
	add_numbered(samples, 0, SAMPLES_MAX + 5);
	assert_int_equal(samples_read(samples, &next, got, SAMPLES_MAX, &lost), SAMPLES_MAX);
	assert_int_equal(lost, 5);
	assert_int_equal(got[0].address, 5);
	assert_int_equal(got[SAMPLES_MAX - 1].address, SAMPLES_MAX + 4);
	free(samples);
}

/* A number from a client can be any. */
static void numbers_of_no_sample(void **state)
{
	(void)state;
	struct samples *samples = make();
	struct sample got[BATCH];
	uint64_t lost = 0;
	add_numbered(samples, 0, 10);
	const uint64_t bad[] = {11, SAMPLES_MAX, INT64_MAX, UINT64_MAX};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		uint64_t next = bad[i];
		assert_int_equal(samples_read(samples, &next, got, BATCH, &lost), 0);
		assert_int_equal(next, 10);
	}
	assert_int_equal(lost, 0);
	free(samples);
}

/* A writer that is stopped in the middle: its slot and what follows wait, until the ring has gone past it. */
static void an_unfinished_sample_is_waited_for(void **state)
{
	(void)state;
	struct samples *samples = make();
	static struct sample got[SAMPLES_MAX];
	uint64_t next = 0, lost = 0;
	add_numbered(samples, 0, 3);
	samples->ring[0]++; /* number 3 was taken, and nothing written */
	add_numbered(samples, 4, 2);
	assert_int_equal(samples_read(samples, &next, got, BATCH, &lost), 3);
	assert_int_equal(samples_read(samples, &next, got, BATCH, &lost), 0);
	assert_int_equal(next, 3);
	add_numbered(samples, 6, SAMPLES_MAX);
	assert_int_equal(samples_read(samples, &next, got, SAMPLES_MAX, &lost), SAMPLES_MAX);
	assert_int_equal(lost, 3);
	for (unsigned i = 0; i < SAMPLES_MAX; i++)
		assert_int_equal(got[i].address, 6 + i);
	free(samples);
}

/* A writer that lost its processor in its slot for a whole round: who comes next does not write there too. */
static void two_writers_do_not_share_a_slot(void **state)
{
	(void)state;
	struct samples *samples = make();
	struct sample got[BATCH];
	uint64_t next = SAMPLES_MAX, lost = 0;
	samples->ring[1] = UINT64_MAX; /* the first slot: its sequence, then the words */
	memset(&samples->ring[2], 0x55, sizeof(struct sample));
	samples->ring[0] = SAMPLES_MAX;
	add_numbered(samples, SAMPLES_MAX, 2);
	assert_int_equal(samples->ring[2], 0x5555555555555555);
	assert_int_equal(samples_read(samples, &next, got, BATCH, &lost), 0);
	assert_int_equal(next, SAMPLES_MAX);
	free(samples);
}

struct writer {
	struct samples *samples;
	uint64_t first;
	unsigned *running;
};

#define WRITERS 3u
#define EACH 200000u

static void *write_many(void *opaque)
{
	struct writer *writer = opaque;
	add_numbered(writer->samples, writer->first, EACH);
	__atomic_fetch_sub(writer->running, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Several writers at full speed, a reader that cannot keep up: all that it gets is whole, and nothing is missing
 * from the account. */
static void writers_do_not_tear(void **state)
{
	(void)state;
	struct samples *samples = make();
	static struct sample got[SAMPLES_MAX];
	struct writer writer[WRITERS];
	pthread_t thread[WRITERS];
	uint64_t next = 0, lost = 0, seen = 0;
	unsigned running = WRITERS;
	for (unsigned i = 0; i < WRITERS; i++) {
		writer[i] = (struct writer){.samples = samples, .first = (uint64_t)i * EACH, .running = &running};
		assert_int_equal(pthread_create(&thread[i], NULL, write_many, &writer[i]), 0);
	}
	for (bool more = true; more;) {
		more = __atomic_load_n(&running, __ATOMIC_ACQUIRE) != 0;
		unsigned count = samples_read(samples, &next, got, SAMPLES_MAX, &lost);
		for (unsigned i = 0; i < count; i++)
			assert_intact(&got[i]);
		seen += count;
	}
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	assert_int_equal(samples_now(samples), (uint64_t)WRITERS * EACH);
	assert_int_equal(seen + lost, next);
	assert_true(seen > 0);
	free(samples);
}

static void every_kind_has_its_name(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SAMPLE_WHAT_COUNT; i++) {
		assert_non_null(sample_key[i]);
		assert_non_null(sample_text[i]);
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(sample_key[i], sample_key[k]);
	}
	for (unsigned i = 0; i < LEDGER_KIND_COUNT; i++)
		assert_string_equal(sample_key[SAMPLE_KIND + i], ledger_kind_key[i]);
}

/* ---- delays ---- */

static void buckets_are_powers_of_two(void **state)
{
	(void)state;
	assert_int_equal(ledger_delay_bucket(0), 0);
	for (unsigned i = 1; i < LEDGER_DELAY_BUCKETS - 1; i++) {
		assert_int_equal(ledger_delay_bucket(UINT64_C(1) << (i - 1)), i);
		assert_int_equal(ledger_delay_bucket((UINT64_C(1) << i) - 1), i);
	}
	assert_int_equal(ledger_delay_bucket(UINT64_C(1) << (LEDGER_DELAY_BUCKETS - 2)), LEDGER_DELAY_BUCKETS - 1);
	assert_int_equal(ledger_delay_bucket(UINT64_MAX), LEDGER_DELAY_BUCKETS - 1);
}

static void bounds_are_in_nanoseconds(void **state)
{
	(void)state;
	struct ledger ledger = {.tsc_hz = 2000000000};
	assert_int_equal(ledger_bucket_end(&ledger, 1), 1);
	assert_int_equal(ledger_bucket_end(&ledger, 11), 1024);
	assert_true(ledger_bucket_end(&ledger, LEDGER_DELAY_BUCKETS - 1) == UINT64_MAX);
	assert_true(ledger_bucket_end(&ledger, UINT32_MAX) == UINT64_MAX);
}

#ifndef NFOLD_NO_LEDGER
static void delays_are_counted(void **state)
{
	(void)state;
	int fd;
	struct error error;
	struct ledger *ledger = ledger_create(1, &fd, &error);
	struct ledger_reading reading;
	assert_non_null(ledger);
	struct ledger_vcpu *line = &ledger->vcpu[0];
	uint64_t long_ago = ledger_tsc() - ledger->tsc_hz; /* a second */
	ledger_delay_add(line, LEDGER_DELAY_WAKE, long_ago);
	ledger_delay_add(line, LEDGER_DELAY_WAKE, long_ago);
	ledger_delay_add(line, LEDGER_DELAY_WAKE, UINT64_MAX); /* in the future: as good as none */
	ledger_read(ledger, 0, &reading);
	const struct ledger_delays *delays = &reading.delay[LEDGER_DELAY_WAKE];
	assert_int_equal(delays->count, 3);
	assert_int_equal(delays->bucket[0], 1);
	assert_true(delays->ns >= 2000000000u - 1000 && delays->ns < 60000000000u);
	uint64_t below = 0;
	for (unsigned i = 1; i < LEDGER_DELAY_BUCKETS && ledger_bucket_end(ledger, i) < 1000000000; i++)
		below += delays->bucket[i];
	assert_int_equal(below, 0);
	assert_int_equal(reading.delay[LEDGER_DELAY_INTERRUPT].count, 0);
	ledger_close(ledger, fd);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(comes_out_in_order_and_once),
	    cmocka_unit_test(what_was_overwritten_is_counted),
	    cmocka_unit_test(numbers_of_no_sample),
	    cmocka_unit_test(an_unfinished_sample_is_waited_for),
	    cmocka_unit_test(two_writers_do_not_share_a_slot),
	    cmocka_unit_test(writers_do_not_tear),
	    cmocka_unit_test(every_kind_has_its_name),
	    cmocka_unit_test(buckets_are_powers_of_two),
	    cmocka_unit_test(bounds_are_in_nanoseconds),
#ifndef NFOLD_NO_LEDGER
	    cmocka_unit_test(delays_are_counted),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
