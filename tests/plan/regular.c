/* SPDX-License-Identifier: MIT */
/* Samples made regular: order, duplicates, counters, widths, grids; and texts that are numbers, times and names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "plan/local_clock.h"
#include "plan/mapping.h"
#include "plan/regular.h"
#include "plan/text.h"
#include "plan/value.h"

#define CHANNEL ((enum collect_channel)ESTATE_DISK_READ)

/* Samples of one channel; times in seconds. */
static struct samples make(size_t count, const double *time, const double *value)
{
	struct samples samples;
	assert_true(samples_make(&samples, count, 1u << CHANNEL));
	for (size_t i = 0; i < count; i++) {
		samples.time_ms[i] = (int64_t)llround(time[i] * 1000);
		samples.width_ms[i] = 0;
		samples.value[CHANNEL][i] = value[i];
	}
	return samples;
}

#define LIST(...) ((const double[]){__VA_ARGS__})
#define COUNT(list) (sizeof(list) / sizeof(list)[0])
#define SAMPLES(time, value) make(COUNT(time), time, value)

static void expect_grid(struct samples *samples, int64_t start, uint32_t interval, const double *value, size_t count,
			uint64_t note[ESTATE_NOTE_COUNT])
{
	struct regular regular;
	struct error error = {0};
	assert_true(samples_sort(samples, note));
	samples_widths(samples, note);
	assert_true(samples_regular(samples, &regular, note, &error));
	assert_int_equal(regular.grid.interval, interval);
	assert_int_equal(regular.grid.start, start);
	assert_int_equal(regular.grid.count, count);
	for (size_t k = 0; k < count; k++) {
		double got = (double)regular.value[CHANNEL][k];
		if (isnan(value[k]) ? !isnan(got) : !(fabs(got - value[k]) < 1e-5 * (1 + value[k])))
			fail_msg("slot %zu: %g, not %g", k, got, value[k]);
	}
	regular_destroy(&regular);
	samples_destroy(samples);
}

#define EXPECT(samples, start, interval, list, note) expect_grid(samples, start, interval, list, COUNT(list), note)

static void order_and_duplicates_do_not_matter(void **state)
{
	(void)state;
	uint64_t note[ESTATE_NOTE_COUNT] = {0};
	struct samples samples = SAMPLES(LIST(1180, 1060, 1120, 1060, 1240, 1240), LIST(3, 1, 2, 1, 4, 5));
	EXPECT(&samples, 1000, 60, LIST(1, 2, 3, 5), note);
	assert_int_equal(note[ESTATE_DUPLICATE], 1);
	assert_int_equal(note[ESTATE_CONFLICT], 1);
	assert_int_equal(note[ESTATE_GAPS], 0);
}

static void jitter_moves_no_value(void **state)
{
	(void)state;
	uint64_t note[ESTATE_NOTE_COUNT] = {0};
	struct samples samples = SAMPLES(LIST(1060, 1121, 1179, 1240, 1301, 1360), LIST(1, 2, 3, 4, 5, 6));
	EXPECT(&samples, 1000, 60, LIST(1, 2, 3, 4, 5, 6), note);
	assert_int_equal(note[ESTATE_MERGED] + note[ESTATE_HELD] + note[ESTATE_GAPS] + note[ESTATE_INTERVALS], 0);
}

static void gaps_stay_gaps(void **state)
{
	(void)state;
	uint64_t note[ESTATE_NOTE_COUNT] = {0};
	struct samples samples = SAMPLES(LIST(1060, 1120, 1180, 1420, 1480, 1540, 1660), LIST(1, 2, 3, 7, 8, 9, 11));
	EXPECT(&samples, 1000, 60, LIST(1, 2, 3, NAN, NAN, NAN, 7, 8, 9, NAN, 11), note);
	assert_int_equal(note[ESTATE_GAPS], 2);
	assert_int_equal(note[ESTATE_GAP_SLOTS], 4);
	assert_int_equal(note[ESTATE_INTERVALS], 0);
}

static void an_interval_that_changes_is_followed(void **state)
{
	(void)state;
	uint64_t note[ESTATE_NOTE_COUNT] = {0};
	double time[40], value[40], slot[60];
	/* 30 samples of a minute, then 10 of three. */
	for (unsigned i = 0; i < 40; i++) {
		time[i] = i < 30 ? 1060 + 60 * i : 1060 + 60 * 29 + 180 * (i - 29);
		value[i] = i;
	}
	for (unsigned k = 0; k < 60; k++)
		slot[k] = k < 30 ? k : 30 + (k - 30) / 3;
	struct samples samples = SAMPLES(time, value);
	expect_grid(&samples, 1000, 60, slot, 60, note);
	assert_int_equal(note[ESTATE_INTERVALS], 1);
	assert_int_equal(note[ESTATE_HELD], 20);
	assert_int_equal(note[ESTATE_GAPS], 0);
}

static void short_samples_are_averaged_by_their_width(void **state)
{
	(void)state;
	uint64_t note[ESTATE_NOTE_COUNT] = {0};
	/* Between the third and the fourth one more, 15 seconds behind the third. */
	struct samples samples = SAMPLES(LIST(1060, 1120, 1180, 1195, 1240, 1300, 1360), LIST(1, 2, 3, 40, 4, 5, 6));
	EXPECT(&samples, 1000, 60, LIST(1, 2, 3, (15. * 40 + 45. * 4) / 60, 5, 6), note);
	assert_int_equal(note[ESTATE_MERGED], 1);
}

static void counters_become_rates(void **state)
{
	(void)state;
	uint64_t note[ESTATE_NOTE_COUNT] = {0};
	struct samples samples = SAMPLES(LIST(10, 20, 30, 40, 50), LIST(100, 200, 400, 50, 150));
	samples_count(&samples, CHANNEL, 0, note);
	const double *rate = samples.value[CHANNEL];
	assert_true(isnan(rate[0]) && rate[1] == 10 && rate[2] == 20 && isnan(rate[3]) && rate[4] == 10);
	assert_int_equal(note[ESTATE_RESET], 1);
	samples_destroy(&samples);
	/* Near 2^32 it is a wrap. */
	samples = SAMPLES(LIST(10, 20, 30), LIST(4294967000., 4294967200., 104));
	samples_count(&samples, CHANNEL, 0, note);
	assert_true(samples.value[CHANNEL][2] == 20);
	assert_int_equal(note[ESTATE_WRAP], 1);
	samples_destroy(&samples);
	/* 64 bits, as exactly as doubles are. */
	samples = SAMPLES(LIST(10, 20, 30), LIST(18446744073709000000., 18446744073709500000., 448384));
	samples_count(&samples, CHANNEL, 64, note);
	assert_true(fabs(samples.value[CHANNEL][2] - 50000) < 1000);
	samples_destroy(&samples);
}

static void one_sample_is_a_slot(void **state)
{
	(void)state;
	uint64_t note[ESTATE_NOTE_COUNT] = {0};
	struct samples samples = SAMPLES(LIST(1000), LIST(7));
	EXPECT(&samples, 999, 1, LIST(7), note);
}

static void numbers_are_read_whatever_their_locale(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool comma;
		enum value_result result;
		double value;
	} cases[] = {
	    {"12", false, VALUE_NUMBER, 12},
	    {" -1.5 ", false, VALUE_NUMBER, -1.5},
	    {"12,5", true, VALUE_NUMBER, 12.5},
	    {"12,5", false, VALUE_BAD, 0},
	    {"1e3", false, VALUE_NUMBER, 1000},
	    {"1.25E-2", false, VALUE_NUMBER, 0.0125},
	    {".5", false, VALUE_NUMBER, 0.5},
	    {"5.", false, VALUE_NUMBER, 5},
	    {"123456789012345678901234567890", false, VALUE_NUMBER, 123456789012345678901234567890.},
	    {"0.000000000000000000000000001", false, VALUE_NUMBER, 1e-27},
	    {"3.141592653589793", false, VALUE_NUMBER, 3.141592653589793},
	    {"", false, VALUE_MISSING, 0},
	    {" ", false, VALUE_MISSING, 0},
	    {"-", false, VALUE_MISSING, 0},
	    {"NaN", false, VALUE_MISSING, 0},
	    {"-1.#IND", false, VALUE_MISSING, 0},
	    {"N/A", false, VALUE_MISSING, 0},
	    {"1e999", false, VALUE_BAD, 0},
	    {"1e", false, VALUE_BAD, 0},
	    {"1 2", false, VALUE_BAD, 0},
	    {"0x10", false, VALUE_BAD, 0},
	    {"1.2.3", false, VALUE_BAD, 0},
	    {"1,234,567", true, VALUE_BAD, 0},
	    {"e3", false, VALUE_BAD, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		double value = 0;
		enum value_result result = value_read(cases[i].text, strlen(cases[i].text), cases[i].comma, &value);
		if (result != cases[i].result ||
		    (result == VALUE_NUMBER && fabs(value - cases[i].value) > 1e-15 * fabs(value)))
			fail_msg("'%s': %d %.17g", cases[i].text, result, value);
	}
}

static void times_are_read_as_they_are_written(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ms; /* -1: refused */
		bool zoned;
	} cases[] = {
	    {"1970-01-01 00:00:01", 1000, false},
	    {"2026-03-02T10:00:00Z", 1772445600000, true},
	    {"2026-03-02 10:00:00 UTC", 1772445600000, true},
	    {"2026-03-02 10:00:00.25+01:00", 1772442000250, true},
	    {"2026-03-02 10:00:00 -0530", 1772465400000, true},
	    {"2026-03-02 10:00", 1772445600000, false},
	    {"03/02/2026 10:00:00.123", 1772445600123, false},
	    {"02/29/2024 00:00:00.000", 1709164800000, false},
	    {"02/29/2026 00:00:00.000", -1, false},
	    {"2026-00-02 10:00:00", -1, false},
	    {"2026-03-02 24:00:00", -1, false},
	    {"2026-03-02 10:60:00", -1, false},
	    {"2026-03-02 10:00:00 CET", -1, false},
	    {"2026-03-02", -1, false},
	    {"2026-03-02 10:00:00 x", -1, false},
	    {"-026-03-02 10:00:00", -1, false},
	    {"", -1, false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct value_time time;
		bool good = value_time_read(cases[i].text, &time);
		if (good != (cases[i].ms >= 0) || (good && (time.ms != cases[i].ms || time.zoned != cases[i].zoned)))
			fail_msg("'%s': %d %lld", cases[i].text, good, (long long)time.ms);
	}
	struct value_time time;
	assert_true(value_epoch_read("1772445600", 10, &time) && time.ms == 1772445600000);
	assert_true(value_epoch_read("1772445600123", 13, &time) && time.ms == 1772445600123);
	assert_false(value_epoch_read("soon", 4, &time));
	assert_true(value_time_format("02.03.2026 11:00:00", "%d.%m.%Y %H:%M:%S", &time) && time.ms == 1772449200000);
	assert_true(value_time_format("02.03.2026 11:00 +0100", "%d.%m.%Y %H:%M %z", &time) &&
		    time.ms == 1772445600000);
	assert_true(time.zoned);
	assert_false(value_time_format("02.03.2026", "%d.%m.%Y %H:%M:%S", &time));
}

static void steps_of_an_hour_are_undone_where_zones_have_them(void **state)
{
	(void)state;
	bool stepped;
	/* Sunday 2026-03-29, 01:55 and 03:00 in Berlin. */
	struct local_clock clock = {0};
	const int64_t sunday = 1774742400000, minute = 60000;
	assert_int_equal(local_clock_time(&clock, sunday + 110 * minute, &stepped), sunday + 110 * minute);
	assert_int_equal(local_clock_time(&clock, sunday + 115 * minute, &stepped), sunday + 115 * minute);
	assert_int_equal(local_clock_time(&clock, sunday + 180 * minute, &stepped), sunday + 120 * minute);
	assert_true(stepped);
	assert_int_equal(local_clock_time(&clock, sunday + 185 * minute, &stepped), sunday + 125 * minute);
	assert_false(stepped);
	/* At noon, and on a Wednesday, an hour is a gap. */
	for (unsigned i = 0; i < 2; i++) {
		int64_t day = i == 0 ? sunday + 10 * 60 * minute : sunday + 3 * 24 * 60 * minute;
		clock = (struct local_clock){0};
		(void)local_clock_time(&clock, day + 110 * minute, &stepped);
		(void)local_clock_time(&clock, day + 115 * minute, &stepped);
		assert_int_equal(local_clock_time(&clock, day + 180 * minute, &stepped), day + 180 * minute);
		assert_false(stepped);
	}
}

static void names_become_clean(void **state)
{
	(void)state;
	char clean[32];
	assert_true(text_is_clean("M\u00fcnchen", 8));
	assert_false(text_is_clean("a\x1b[2J", 5));
	assert_false(text_is_clean("\xc2\x9b", 2));
	assert_false(text_is_clean("\xed\xa0\x80", 3));
	assert_false(text_is_clean("\xf4\x90\x80\x80", 4));
	assert_false(text_is_clean("\xc3", 1));
	assert_true(text_clean("  web 1 ", 8, clean, sizeof clean));
	assert_string_equal(clean, "web 1");
	assert_true(text_clean("M\xfcnchen\x81", 8, clean, sizeof clean));
	assert_string_equal(clean, "M\u00fcnchen?");
	assert_true(text_clean("a\x1b[2J\xc2\x9b", 7, clean, sizeof clean));
	assert_string_equal(clean, "a?[2J?");
	assert_false(text_clean("   ", 3, clean, sizeof clean));
	assert_false(text_clean("01234567890123456789012345678901", 32, clean, sizeof clean));
	/* Each byte becomes three. */
	assert_false(text_clean("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", 12, clean, sizeof clean));
}

static void patterns_have_stars(void **state)
{
	(void)state;
	assert_true(mapping_fits("CPU usage [%]", "CPU usage [%]"));
	assert_false(mapping_fits("CPU usage [%]", "CPU usage %"));
	assert_true(mapping_fits("*read*", "bytes read"));
	assert_true(mapping_fits("a*b*c", "a--b-b--c"));
	assert_false(mapping_fits("a*b*c", "a--b-b--"));
	assert_true(mapping_fits("*", ""));
	assert_false(mapping_fits("", "x"));
	assert_true(mapping_fits("**", "x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(order_and_duplicates_do_not_matter),
	    cmocka_unit_test(jitter_moves_no_value),
	    cmocka_unit_test(gaps_stay_gaps),
	    cmocka_unit_test(an_interval_that_changes_is_followed),
	    cmocka_unit_test(short_samples_are_averaged_by_their_width),
	    cmocka_unit_test(counters_become_rates),
	    cmocka_unit_test(one_sample_is_a_slot),
	    cmocka_unit_test(numbers_are_read_whatever_their_locale),
	    cmocka_unit_test(times_are_read_as_they_are_written),
	    cmocka_unit_test(steps_of_an_hour_are_undone_where_zones_have_them),
	    cmocka_unit_test(names_become_clean),
	    cmocka_unit_test(patterns_have_stars),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
