/* SPDX-License-Identifier: MIT */
/* The estate file: what is written is read, on any grid; what is damaged is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plan/estate-format.h"
#include "plan/estate-write.h"
#include "plan/estate.h"

#define START 1600000000

static char path[] = "plan-estate-XXXXXX";

static int make_file(void **state)
{
	(void)state;
	int fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	int failed = unlink(path);
	memset(path + strlen(path) - 6, 'X', 6);
	return failed;
}

static void add(struct estate_writer *writer, const char *name, struct estate_grid grid, const float *cpu,
		const float *read, const float *write)
{
	struct error error = {0};
	struct estate_server server = {.name = name, .source = "made up", .cpus = 2, .mhz = 1000, .grid = grid};
	server.note[ESTATE_GAPS] = 7;
	const float *const column[ESTATE_SERIES_COUNT] = {
	    [ESTATE_CPU] = cpu, [ESTATE_DISK_READ] = read, [ESTATE_DISK_WRITE] = write};
	if (!estate_writer_add(writer, &server, column, &error))
		fail_msg("%s", error.text);
}

static const float cpu_b[4] = {0.5f, NAN, 0.25f, 1.0f};
static const float read_b[4] = {100, NAN, NAN, 400};
static const float write_b[4] = {1, 2, NAN, 4};
static const float cpu_a[2] = {0.125f, 0.25f};
static const float nothing[2] = {NAN, NAN};

/* Two servers, the second in the alphabet first. */
static struct estate *make_estate(void)
{
	struct error error = {0};
	struct estate_writer *writer = estate_writer_create(path, &error);
	assert_non_null(writer);
	add(writer, "b", (struct estate_grid){START, 4, 60}, cpu_b, read_b, write_b);
	add(writer, "a", (struct estate_grid){START + 30, 2, 120}, cpu_a, nothing, NULL);
	if (!estate_writer_finish(writer, "{\"files\":2}", &error))
		fail_msg("%s", error.text);
	struct estate *estate = estate_open(path, &error);
	if (estate == NULL)
		fail_msg("%s", error.text);
	return estate;
}

static void expect(const float *got, const float *wanted, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (isnan(got[i]) ? !isnan(wanted[i]) : fabsf(got[i] - wanted[i]) > 1e-5f * fabsf(wanted[i]))
			fail_msg("value %zu is %g and should be %g", i, (double)got[i], (double)wanted[i]);
}

static void expect_read(const struct estate *estate, const char *name, enum estate_series series,
			struct estate_grid grid, enum estate_aggregate aggregate, const float *wanted)
{
	float got[32];
	struct error error = {0};
	assert_true(grid.count <= 32);
	assert_true(estate_read(estate, estate_find(estate, name), series, &grid, aggregate, got, &error));
	expect(got, wanted, grid.count);
}

static void what_is_written_is_read(void **state)
{
	(void)state;
	struct estate *estate = make_estate();
	assert_int_equal(estate_count(estate), 2);
	const struct estate_server *a = estate_server(estate, 0), *b = estate_server(estate, 1);
	assert_string_equal(a->name, "a");
	assert_string_equal(b->name, "b");
	assert_string_equal(b->source, "made up");
	assert_int_equal(b->cpus, 2);
	assert_int_equal(b->grid.start, START);
	assert_int_equal(b->note[ESTATE_GAPS], 7);
	assert_int_equal(b->series[ESTATE_CPU].present, 3);
	assert_true(b->series[ESTATE_CPU].minimum == 0.25f && b->series[ESTATE_CPU].maximum == 1.0f);
	assert_true(fabsf(b->series[ESTATE_CPU].mean - 1.75f / 3) < 1e-6f);
	assert_int_equal(a->series[ESTATE_DISK_READ].present, 0);
	assert_int_equal(a->series[ESTATE_MEMORY].present, 0);
	assert_int_equal(estate_find(estate, "b"), 1);
	assert_true(estate_find(estate, "c") == SIZE_MAX);
	assert_string_equal(estate_report(estate), "{\"files\":2}");
	expect_read(estate, "b", ESTATE_CPU, b->grid, ESTATE_MEAN, cpu_b);
	expect_read(estate, "a", ESTATE_MEMORY, a->grid, ESTATE_MEAN, nothing);
	estate_close(estate);
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	assert_true((status.st_mode & 0400) != 0);
}

static void grids_are_changed_by_the_middle_of_slots(void **state)
{
	(void)state;
	struct estate *estate = make_estate();
	/* Coarser: pairs. */
	expect_read(estate, "b", ESTATE_CPU, (struct estate_grid){START, 2, 120}, ESTATE_MEAN,
		    (const float[]){0.5f, 0.625f});
	expect_read(estate, "b", ESTATE_CPU, (struct estate_grid){START, 2, 120}, ESTATE_MAXIMUM,
		    (const float[]){0.5f, 1.0f});
	/* Shifted by less than half: the same values; before and behind the server's time nothing. */
	expect_read(estate, "b", ESTATE_CPU, (struct estate_grid){START - 60 + 29, 6, 60}, ESTATE_MEAN,
		    (const float[]){NAN, 0.5f, NAN, 0.25f, 1.0f, NAN});
	expect_read(estate, "b", ESTATE_CPU, (struct estate_grid){START - 29, 5, 60}, ESTATE_MEAN,
		    (const float[]){0.5f, NAN, 0.25f, 1.0f, NAN});
	/* Finer: held. */
	expect_read(estate, "a", ESTATE_CPU, (struct estate_grid){START - 30, 6, 60}, ESTATE_MEAN,
		    (const float[]){NAN, 0.125f, 0.125f, 0.25f, 0.25f, NAN});
	expect_read(estate, "a", ESTATE_CPU, (struct estate_grid){START + 30, 7, 40}, ESTATE_MAXIMUM,
		    (const float[]){0.125f, 0.125f, 0.125f, 0.25f, 0.25f, 0.25f, NAN});
	/* Far away. */
	expect_read(estate, "a", ESTATE_CPU, (struct estate_grid){-ESTATE_START_MAX, 2, ESTATE_INTERVAL_MAX},
		    ESTATE_MEAN, nothing);
	estate_close(estate);
}

static void all_servers_fit_the_common_grid(void **state)
{
	(void)state;
	struct estate *estate = make_estate();
	struct estate_grid grid = estate_common_grid(estate, 0);
	assert_int_equal(grid.interval, 120);
	assert_true(grid.start % 120 == 0 && grid.start <= START && grid.start > START - 120);
	int64_t end = grid.start + (int64_t)grid.count * 120;
	assert_true(end >= START + 270 && end < START + 270 + 120);
	grid = estate_common_grid(estate, 60);
	assert_int_equal(grid.interval, 60);
	estate_close(estate);
}

static void resources_are_in_host_units(void **state)
{
	(void)state;
	struct error error = {0};
	struct estate *estate = make_estate();
	const struct estate_grid grid = estate_server(estate, 1)->grid;
	float got[4];
	assert_true(estate_read_resource(estate, 1, ESTATE_MHZ, &grid, ESTATE_MEAN, got, &error));
	expect(got, (const float[]){1000, NAN, 500, 2000}, 4);
	assert_true(estate_read_resource(estate, 1, ESTATE_DISK, &grid, ESTATE_MEAN, got, &error));
	expect(got, (const float[]){101, 2, NAN, 404}, 4);
	assert_true(estate_read_resource(estate, 1, ESTATE_NETWORK, &grid, ESTATE_MEAN, got, &error));
	expect(got, (const float[]){NAN, NAN, NAN, NAN}, 4);
	const struct estate_grid pairs = {START, 2, 120};
	assert_true(estate_read_resource(estate, 1, ESTATE_DISK, &pairs, ESTATE_MAXIMUM, got, &error));
	expect(got, (const float[]){101, 404}, 2);
	estate_close(estate);
}

static void two_servers_of_one_name_are_refused_and_the_old_file_stays(void **state)
{
	(void)state;
	struct error error = {0};
	estate_close(make_estate());
	struct estate_writer *writer = estate_writer_create(path, &error);
	add(writer, "x", (struct estate_grid){START, 2, 60}, cpu_a, NULL, NULL);
	add(writer, "x", (struct estate_grid){START, 2, 60}, cpu_a, NULL, NULL);
	assert_false(estate_writer_finish(writer, NULL, &error));
	assert_non_null(strstr(error.text, "'x'"));
	struct estate *estate = estate_open(path, &error);
	assert_int_equal(estate_count(estate), 2);
	estate_close(estate);
}

static void an_empty_estate_can_be_read(void **state)
{
	(void)state;
	struct error error = {0};
	struct estate_writer *writer = estate_writer_create(path, &error);
	assert_true(estate_writer_finish(writer, NULL, &error));
	struct estate *estate = estate_open(path, &error);
	assert_int_equal(estate_count(estate), 0);
	assert_int_equal(estate_common_grid(estate, 300).count, 0);
	assert_string_equal(estate_report(estate), "");
	estate_close(estate);
}

static void impossible_grids_are_refused(void **state)
{
	(void)state;
	static const struct estate_grid bad[] = {
	    {0, 1, 0}, {INT64_MAX, 1, 60}, {0, UINT64_MAX, 60}, {0, 1, UINT32_MAX}, {INT64_MIN, 1, 60}};
	struct error error = {0};
	const float *const column[ESTATE_SERIES_COUNT] = {0};
	struct estate_writer *writer = estate_writer_create(path, &error);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct estate_server server = {.name = "x", .grid = bad[i]};
		assert_false(estate_writer_add(writer, &server, column, &error));
	}
	estate_writer_discard(writer);
}

/* Reads everything there is; true if nothing was refused. */
static bool read_all(void)
{
	struct error error = {0};
	struct estate *estate = estate_open(path, &error);
	if (estate == NULL) {
		assert_true(error.text[0] != '\0' && strchr(error.text, '\n') == NULL);
		return false;
	}
	bool good = true;
	for (size_t i = 0; good && i < estate_count(estate); i++)
		for (unsigned s = 0; good && s < ESTATE_SERIES_COUNT; s++) {
			const struct estate_grid grid = {START, 4, 60};
			float value[4];
			good = estate_read(estate, i, (enum estate_series)s, &grid, ESTATE_MEAN, value, &error);
		}
	estate_close(estate);
	return good;
}

static void every_damaged_byte_is_noticed(void **state)
{
	(void)state;
	estate_close(make_estate());
	assert_true(read_all());
	int fd = open(path, O_RDWR);
	struct stat status;
	assert_int_equal(fstat(fd, &status), 0);
	/* Padding between columns means nothing: it is zero, and its change does no harm. */
	unsigned missed = 0;
	for (off_t at = 0; at < status.st_size; at++) {
		char byte, changed;
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		changed = (char)(byte ^ 0x40);
		assert_int_equal(pwrite(fd, &changed, 1, at), 1);
		if (read_all()) {
			assert_int_equal(byte, 0);
			assert_true(at >= (off_t)sizeof(struct estate_file_header) &&
				    at < status.st_size - 2 * (off_t)sizeof(struct estate_file_record));
			missed++;
		}
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	assert_true(missed < 5 * ESTATE_ALIGN);
	assert_int_equal(close(fd), 0);
	assert_true(read_all());
}

static void every_truncation_is_refused(void **state)
{
	(void)state;
	estate_close(make_estate());
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	for (off_t size = status.st_size - 1; size >= 0; size--) {
		assert_int_equal(truncate(path, size), 0);
		assert_false(read_all());
	}
}

static void what_is_no_file_is_refused(void **state)
{
	(void)state;
	struct error error = {0};
	assert_null(estate_open(".", &error));
	assert_non_null(strstr(error.text, "not a file"));
	assert_null(estate_open("no such file", &error));
	assert_int_equal(error.kind, ERROR_INPUT);
	assert_null(estate_writer_create("no such folder/x", &error));
	assert_null(estate_writer_create(".", &error));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_file, remove_file)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(what_is_written_is_read),
	    CASE(grids_are_changed_by_the_middle_of_slots),
	    CASE(all_servers_fit_the_common_grid),
	    CASE(resources_are_in_host_units),
	    CASE(two_servers_of_one_name_are_refused_and_the_old_file_stays),
	    CASE(an_empty_estate_can_be_read),
	    CASE(impossible_grids_are_refused),
	    CASE(every_damaged_byte_is_noticed),
	    CASE(every_truncation_is_refused),
	    CASE(what_is_no_file_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
