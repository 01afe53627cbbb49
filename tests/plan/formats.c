/* SPDX-License-Identifier: MIT */
/*
 * Each format from its file into an estate: the values, slot by slot; what the import noted; and what is refused. The
 * files in tests/plan/data are as the tools write them; sadf.json is sysstat's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan/estate.h"
#include "plan/import.h"

#define VALUES_MAX 24

static char folder[] = "plan-formats-XXXXXX", output[64], input[64];

static int make_folder(void **state)
{
	(void)state;
	if (mkdtemp(folder) == NULL)
		return -1;
	(void)snprintf(output, sizeof output, "%s/estate", folder);
	(void)snprintf(input, sizeof input, "%s/input", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	(void)unlink(output);
	(void)unlink(input);
	return rmdir(folder);
}

/* NULL: refused, *error says why. */
static struct estate *import_files(const struct import_options *options, const char *const *path, struct error *error)
{
	struct import_summary summary;
	struct import *import = import_create(options, output, error);
	bool good = import != NULL;
	for (; good && *path != NULL; path++)
		good = import_add(import, *path, NULL, error);
	good = good && import_finish(import, &summary, error);
	import_destroy(import);
	if (!good)
		return NULL;
	struct estate *estate = estate_open(output, error);
	if (estate == NULL)
		fail_msg("%s", error->text);
	return estate;
}

static struct estate *import_data(const struct import_options *options, const char *name)
{
	char path[256];
	struct error error = {0};
	(void)snprintf(path, sizeof path, "%s/%s", PLAN_TEST_DATA, name);
	struct estate *estate = import_files(options, (const char *const[]){path, NULL}, &error);
	if (estate == NULL)
		fail_msg("%s", error.text);
	return estate;
}

static const struct estate_server *server_of(const struct estate *estate, const char *name)
{
	size_t index = estate_find(estate, name);
	if (index == SIZE_MAX)
		fail_msg("no server %s", name);
	return estate_server(estate, index);
}

/* The values end with a negative one; NAN is a gap. */
static void expect_values(const struct estate *estate, const char *name, enum estate_series series, const double *value)
{
	const struct estate_server *server = server_of(estate, name);
	float got[VALUES_MAX];
	struct error error = {0};
	uint64_t count = 0;
	while (!(value[count] < 0))
		count++;
	if (server->grid.count != count)
		fail_msg("%s: %u slots, not %u", name, (unsigned)server->grid.count, (unsigned)count);
	assert_true(estate_read(estate, estate_find(estate, name), series, &server->grid, ESTATE_MEAN, got, &error));
	for (uint64_t k = 0; k < count; k++)
		if (isnan(value[k]) ? !isnan(got[k]) : !(fabs((double)got[k] - value[k]) <= 1e-6 * value[k]))
			fail_msg("%s, %s, slot %u: %g, not %g", name, estate_series_key[series], (unsigned)k,
				 (double)got[k], value[k]);
}

#define VALUES(...) ((const double[]){__VA_ARGS__, -1})

static const struct import_options plain = {0};

static void perfmon_is_read(void **state)
{
	(void)state;
	struct estate *estate = import_data(&plain, "perfmon.csv");
	const struct estate_server *server = server_of(estate, "EXCH01");
	assert_int_equal(server->cpus, 2);
	/* 2026-03-02 10:00:00.123 in a zone an hour ahead of UTC ends the first slot. */
	assert_int_equal(server->grid.start, 1772442000 - 300);
	assert_int_equal(server->grid.interval, 300);
	expect_values(estate, "EXCH01", ESTATE_CPU, VALUES(NAN, .21, .22, .23, .24, NAN, .26, .27, .28, .29, .30, .31));
	expect_values(estate, "EXCH01", ESTATE_INTERRUPT,
		      VALUES(NAN, .015, .015, .015, .015, NAN, .015, .015, .015, .015, .015, .015));
	expect_values(estate, "EXCH01", ESTATE_PAGING, VALUES(NAN, 1, 2, 3, 4, NAN, 6, 7, NAN, 9, 10, 11));
	expect_values(estate, "EXCH01", ESTATE_DISK_READ,
		      VALUES(NAN, 1e3, 2e3, 3e3, 4e3, NAN, 6e3, 7e3, 8e3, 9e3, 10e3, 11e3));
	expect_values(estate, "EXCH01", ESTATE_NET_RECEIVE,
		      VALUES(NAN, 600, 600, 600, 600, NAN, 600, 600, 600, 600, 600, 600));
	assert_int_equal(server->note[ESTATE_ROWS], 12);
	assert_int_equal(server->note[ESTATE_DUPLICATE], 1);
	assert_int_equal(server->note[ESTATE_DISORDER], 1);
	assert_int_equal(server->note[ESTATE_IMPOSSIBLE], 1);
	assert_int_equal(server->note[ESTATE_GAPS], 1);
	assert_int_equal(server->series[ESTATE_MEMORY].present, 0);
	assert_non_null(strstr(estate_report(estate), "not what is installed"));
	estate_close(estate);
}

static void attributes_make_memory_and_correct_clocks(void **state)
{
	(void)state;
	const struct import_options options = {.attributes = PLAN_TEST_DATA "/attributes.csv"};
	struct estate *estate = import_data(&options, "perfmon.csv");
	const struct estate_server *server = server_of(estate, "EXCH01");
	assert_int_equal(server->cpus, 8);
	assert_true(server->mhz == 2600 && server->rating == 120.5);
	assert_true(server->memory == UINT64_C(8) << 30);
	assert_int_equal((int64_t)server->note[ESTATE_CLOCK_OFFSET], 60);
	assert_int_equal(server->grid.start, 1772442000 - 360);
	const double full = 8589934592.0;
	expect_values(estate, "EXCH01", ESTATE_MEMORY,
		      VALUES(full - 4e9, full - 3.9e9, full - 3.8e9, full - 3.7e9, full - 3.6e9, NAN, full - 3.4e9,
			     full - 3.3e9, full - 3.2e9, full - 3.1e9, full - 3e9, NAN));
	assert_non_null(strstr(estate_report(estate), "nobody"));
	estate_close(estate);
}

static void perfmon_of_other_makes_is_read(void **state)
{
	(void)state;
	struct estate *estate = import_data(&plain, "perfmon-utf16.csv");
	expect_values(estate, "EXCH01", ESTATE_CPU, VALUES(NAN, .21, .22));
	estate_close(estate);
	estate = import_data(&plain, "perfmon-comma.csv");
	expect_values(estate, "EXCH01", ESTATE_CPU, VALUES(NAN, .21, .22, .23));
	assert_non_null(strstr(estate_report(estate), "line 6, the last, ends too early"));
	estate_close(estate);
	estate = import_data(&plain, "typeperf.csv");
	expect_values(estate, "DB-M\u00dcNCHEN", ESTATE_CPU, VALUES(.125, .25, .375));
	assert_non_null(strstr(estate_report(estate), "does not name a time zone"));
	estate_close(estate);
}

static void the_hour_of_daylight_saving_time_is_undone(void **state)
{
	(void)state;
	struct estate *estate = import_data(&plain, "perfmon-dst.csv");
	const struct estate_server *server = server_of(estate, "CLOCK");
	assert_int_equal(server->grid.count, 24);
	assert_int_equal(server->note[ESTATE_CLOCK_STEP], 1);
	assert_int_equal(server->note[ESTATE_DUPLICATE] + server->note[ESTATE_DISORDER] + server->note[ESTATE_GAPS], 0);
	expect_values(estate, "CLOCK", ESTATE_CPU,
		      VALUES(0, .01, .02, .03, .04, .05, .06, .07, .08, .09, .10, .11, .12, .13, .14, .15, .16, .17,
			     .18, .19, .20, .21, .22, .23));
	estate_close(estate);
}

static void esxtop_is_read(void **state)
{
	(void)state;
	struct estate *estate = import_data(&plain, "esxtop.csv");
	assert_int_equal(estate_count(estate), 2);
	assert_int_equal(server_of(estate, "web")->cpus, 2);
	assert_true(server_of(estate, "web")->memory == UINT64_C(4) << 30);
	expect_values(estate, "web", ESTATE_CPU, VALUES(.75, .75, .75, .75));
	expect_values(estate, "web", ESTATE_MEMORY,
		      VALUES(3000 * 1048576., 3000 * 1048576., 3000 * 1048576., 3000 * 1048576.));
	expect_values(estate, "web", ESTATE_PAGING, VALUES(768, 768, 768, 768));
	expect_values(estate, "web", ESTATE_DISK_READ_OPS, VALUES(10, 10, 10, 10));
	expect_values(estate, "web", ESTATE_DISK_WRITE, VALUES(2097152, 2097152, 2097152, 2097152));
	expect_values(estate, "web", ESTATE_NET_RECEIVE, VALUES(3e6, 3e6, 3e6, 3e6));
	expect_values(estate, "db (main)", ESTATE_CPU, VALUES(.5, .5, .5, .5));
	expect_values(estate, "db (main)", ESTATE_DISK_READ_OPS, VALUES(11, 11, 11, 11));
	estate_close(estate);
	estate = import_data(&plain, "esxtop-host.csv");
	expect_values(estate, "esx01.example.com", ESTATE_CPU, VALUES(.125, .125, .125, .125));
	expect_values(estate, "esx01.example.com", ESTATE_MEMORY,
		      VALUES(34359738368, 34359738368, 34359738368, 34359738368));
	expect_values(estate, "esx01.example.com", ESTATE_NET_RECEIVE, VALUES(12.5e6, 12.5e6, 12.5e6, 12.5e6));
	estate_close(estate);
}

static void sadf_is_read(void **state)
{
	(void)state;
	struct estate *estate = import_data(&plain, "sadf.txt");
	const struct estate_server *server = server_of(estate, "web1");
	assert_int_equal(server->cpus, 4);
	assert_int_equal(server->grid.interval, 600);
	/* 1000000 + 1500000 + 194304 + 1000000 + 500000 KiB: 4 GiB, with rounding by whoever wrote the file */
	assert_true(server->memory == UINT64_C(4194304) * 1024);
	expect_values(estate, "web1", ESTATE_CPU, VALUES(.16, .25, .35, .45, .45));
	expect_values(estate, "web1", ESTATE_KERNEL, VALUES(.05, .05, .05, .05, .05));
	expect_values(estate, "web1", ESTATE_MEMORY,
		      VALUES(1194304 * 1024., 2194304 * 1024., 1194304 * 1024., 1194304 * 1024., 1194304 * 1024.));
	expect_values(estate, "web1", ESTATE_PAGING, VALUES(3, 0, 0, 0, 0));
	expect_values(estate, "web1", ESTATE_DISK_READ, VALUES(1024000, 1024000, 1024000, 1024000, 1024000));
	expect_values(estate, "web1", ESTATE_DISK_WRITE_OPS, VALUES(20, 20, 20, 20, 20));
	expect_values(estate, "web1", ESTATE_NET_RECEIVE, VALUES(307200, 409600, NAN, NAN, NAN));
	assert_int_equal(server->note[ESTATE_DISORDER], 0);
	assert_int_equal(server->note[ESTATE_CONFLICT], 0);
	assert_int_equal(server->note[ESTATE_HELD], 1);
	estate_close(estate);
}

static void sadf_of_old_versions_is_read(void **state)
{
	(void)state;
	const struct import_options options = {.zone = "+02:00"};
	struct estate *estate = import_data(&options, "sadf-disks.txt");
	const struct estate_server *server = server_of(estate, "old1");
	assert_int_equal(server->cpus, 2);
	assert_int_equal(server->grid.start, 1772409600 - 7200);
	expect_values(estate, "old1", ESTATE_CPU, VALUES(.18, .18));
	expect_values(estate, "old1", ESTATE_KERNEL, VALUES(.08, .08));
	expect_values(estate, "old1", ESTATE_INTERRUPT, VALUES(.03, .03));
	expect_values(estate, "old1", ESTATE_DISK_READ, VALUES(204800, 102400));
	expect_values(estate, "old1", ESTATE_DISK_READ_OPS, VALUES(20, 10));
	expect_values(estate, "old1", ESTATE_DISK_WRITE_OPS, VALUES(20, 20));
	estate_close(estate);
}

static void json_of_sadf_is_read(void **state)
{
	(void)state;
	struct estate *estate = import_data(&plain, "sadf.json");
	const struct estate_server *server = server_of(estate, "web2");
	assert_int_equal(server->cpus, 2);
	assert_true(server->memory == UINT64_C(24684092) * 1024);
	expect_values(estate, "web2", ESTATE_CPU, VALUES(.5124, .50, .5076));
	expect_values(estate, "web2", ESTATE_KERNEL, VALUES(.01, .07, .0102));
	expect_values(estate, "web2", ESTATE_MEMORY, VALUES(682140 * 1024., 662156 * 1024., 686344 * 1024.));
	expect_values(estate, "web2", ESTATE_DISK_READ, VALUES(0, 45056, 0));
	estate_close(estate);
}

static void tables_are_read_by_a_mapping(void **state)
{
	(void)state;
	const struct import_options options = {.map = PLAN_TEST_DATA "/table.map"};
	struct estate *estate = import_data(&options, "table.csv");
	const struct estate_server *web = server_of(estate, "web"), *db = server_of(estate, "db");
	assert_int_equal(web->grid.start, 1772445600 - 60);
	expect_values(estate, "web", ESTATE_CPU, VALUES(.5, .6, .7, .8, .9));
	/* It wraps at 2^32. */
	expect_values(estate, "web", ESTATE_DISK_READ,
		      VALUES(NAN, 1e4, (232704. + 4294967296 - 4294600000) / 60, 1e4, 1e4));
	/* Two columns of a total each, which begin again. */
	expect_values(estate, "web", ESTATE_DISK_READ_OPS, VALUES(NAN, 2, 2, NAN, 2));
	assert_int_equal(web->note[ESTATE_WRAP], 1);
	assert_int_equal(web->note[ESTATE_RESET], 1);
	expect_values(estate, "db", ESTATE_CPU, VALUES(NAN, .25));
	expect_values(estate, "db", ESTATE_DISK_READ, VALUES(NAN, 10));
	assert_int_equal(db->note[ESTATE_MISSING], 1);
	estate_close(estate);
}

static void a_server_of_two_files_is_one(void **state)
{
	(void)state;
	struct error error = {0};
	const char *const paths[] = {PLAN_TEST_DATA "/perfmon.csv", PLAN_TEST_DATA "/perfmon-utf16.csv", NULL};
	struct estate *estate = import_files(&plain, paths, &error);
	const struct estate_server *server = server_of(estate, "EXCH01");
	assert_int_equal(estate_count(estate), 1);
	assert_non_null(strstr(server->source, "perfmon.csv and 1 more files"));
	assert_int_equal(server->note[ESTATE_ROWS], 15);
	/* Three rows again; of the first, the memory alone, which is not a series. */
	assert_int_equal(server->note[ESTATE_DUPLICATE], 4);
	assert_int_equal(server->note[ESTATE_DISORDER], 1);
	expect_values(estate, "EXCH01", ESTATE_CPU, VALUES(NAN, .21, .22, .23, .24, NAN, .26, .27, .28, .29, .30, .31));
	estate_close(estate);
}

static void write_input(const char *text, size_t size)
{
	FILE *file = fopen(input, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static const char *const input_paths[] = {input, NULL};

#define PDH "\"(PDH-CSV 4.0) (UTC)(0)\",\"\\\\A\\Processor(_Total)\\% Processor Time\"\r\n"
#define SADF "# hostname;interval;timestamp;CPU;%user;%nice;%system;%iowait;%steal;%idle\n"
#define BITBRAINS                                                                                                      \
	"Timestamp [ms];\tCPU cores;\tCPU capacity provisioned [MHZ];\tCPU usage [MHZ];\tCPU usage [%];\tMemory "      \
	"capacity "                                                                                                    \
	"provisioned [KB];\tMemory usage [KB];\tDisk read throughput [KB/s];\tDisk write throughput [KB/s];\tNetwork " \
	"received throughput [KB/s];\tNetwork transmitted throughput [KB/s]\n"

static void bad_files_are_refused_with_their_place(void **state)
{
	(void)state;
	static const struct {
		const char *text, *message;
	} cases[] = {
	    {"", "it is empty"},
	    {"hello\n", ":1: not a file of"},
	    {"\x7f"
	     "ELF",
	     "not a file of"},
	    {PDH, "A: it has no values"},
	    {PDH "\"03/02/2026 10:00:00.000\",\"1.0\"\r\n\"03/02/2026 10:00:01.000\",\"x\"\r\n",
	     ":3:2: 'x' is not a number"},
	    {PDH "\"13/02/2026 10:00:00.000\",\"1.0\"\r\n", ":2:1: '13/02/2026 10:00:00.000' is not a time"},
	    {PDH "\"02/29/2026 10:00:00.000\",\"1.0\"\r\n", "is not a time"},
	    {PDH "\"03/02/2026 10:00:00.000\",\"1.0\",\"2\"\r\n", ":2: 3 fields, the header has 2"},
	    {PDH "\"03/02/2026 10:00:00.000\",\"1.0\r\n\r\n\r\n", ":2:2: the file ends within quotes"},
	    {PDH "\"03/02/2026\"x\" 10:00:00.000\",\"1.0\r\n", ":2:1: a quote within a field"},
	    {"\"(PDH-CSV 4.0) (UTC)(0)\",\"\\\\A\\Prozessor(_Total)\\Prozessorzeit (%)\"\n",
	     ":1: no counter that nfold knows"},
	    {"\"(PDH-CSV 4.0) (UTC)(0)\"\n", "no counter that nfold knows among 0"},
	    {PDH "\"03/02/2026 10:00:00.000\",\"1\n2\"\r\n", ":2:2: '1?2' is not a number"},
	    {SADF, "no server was found"},
	    {SADF "web;60;2026-03-02 00:01:00 UTC;-1;1;1;1;1;1\n", ":2: 9 fields, the names above it are 10"},
	    {SADF "web;60;2026-13-02 00:01:00 UTC;-1;1;1;1;1;1;1\n", ":2:3: '2026-13-02 00:01:00 UTC' is not a time"},
	    {SADF "web;60;2026-03-02 00:01:00 UTC;-1;1;1;1;1;1;one\n", ":2:10: 'one' is not a number"},
	    {SADF "web\n", ":2: not a row of sadf -d"},
	    {"# hostname;interval;timestamp;INTR;intr/s\nweb;60;2026-03-02 00:01:00 UTC;-1;1\n",
	     "no activity that nfold knows"},
	    {"{\"sysstat\": {\"hosts\": [}", ":1:24: not JSON"},
	    {"{\"sysstat\": {}}", "no activity that nfold knows"},
	    {"{\"sysstat\": {\"hosts\": [{\"nodename\":\"a\",\n\"statistics\": [{\"timestamp\":{}}]}]}}",
	     "without a date and time"},
	    {"{\"sysstat\": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "nested too deeply"},
	    {BITBRAINS, "input: it has no values"},
	    {BITBRAINS "1375308176;\t2;\t5851;\t1;\t1;\tx;\t1;\t1;\t1;\t1;\t1\n", ":2:6: 'x' is not a number"},
	    {"\xff\xfeh\0\0\xd8h\0", "broken UTF-16"},
	    {"\x1f\x8b\x08\0\0\0\0\0\0\x03 damaged", "compressed data"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct error error = {0};
		bool binary = cases[i].text[0] == '\xff' || cases[i].text[0] == '\x1f';
		write_input(cases[i].text, binary ? (cases[i].text[0] == '\xff' ? 8 : 18) : strlen(cases[i].text));
		if (import_files(&plain, input_paths, &error) != NULL || strstr(error.text, cases[i].message) == NULL)
			fail_msg("case %zu: '%s' instead of '%s'", i, error.text, cases[i].message);
		assert_null(strchr(error.text, '\n'));
		assert_int_equal(error.kind, ERROR_INPUT);
		assert_int_not_equal(access(output, F_OK), 0);
	}
}

static void zero_bytes_and_huge_lines_are_refused(void **state)
{
	(void)state;
	struct error error = {0};
	write_input(PDH "\"03/02/2026 10:00:00.000\",\"\0\"\r\n", sizeof PDH - 1 + 32);
	assert_null(import_files(&plain, input_paths, &error));
	assert_non_null(strstr(error.text, ":2: a zero byte"));
	FILE *file = fopen(input, "wb");
	assert_int_equal(fputs(PDH, file) < 0, 0);
	static char chunk[1 << 20];
	memset(chunk, '1', sizeof chunk);
	for (unsigned i = 0; i < 70; i++)
		assert_int_equal(fwrite(chunk, 1, sizeof chunk, file), sizeof chunk);
	assert_int_equal(fclose(file), 0);
	assert_null(import_files(&plain, input_paths, &error));
	assert_non_null(strstr(error.text, ":2: a line of more than 64 MiB"));
}

static void what_is_bad_can_be_left_out(void **state)
{
	(void)state;
	struct error error = {0};
	static const char text[] = PDH "\"03/02/2026 10:00:00.000\",\"10\"\n"
				       "\"03/02/2026 10:00:01.000\",\"20\"\n"
				       "\"03/02/2026 10:00:02.000\"\n"
				       "\"03/02/2026 10:00:02.000\",\"x\"\n"
				       "\"yesterday\",\"1\"\n"
				       "\"03/02/2026 10:00:03.000\",\"40\"\n";
	const char *const paths[] = {input, PLAN_TEST_DATA "/table.csv", NULL};
	write_input(text, sizeof text - 1);
	assert_null(import_files(&plain, paths, &error));
	const struct import_options options = {.keep_going = true};
	struct estate *estate = import_files(&options, paths, &error);
	assert_non_null(estate);
	expect_values(estate, "A", ESTATE_CPU, VALUES(.1, .2, NAN, .4));
	assert_non_null(strstr(estate_report(estate), "3 lines left out, the first: "));
	assert_non_null(strstr(estate_report(estate), "table.csv:1: not a file of"));
	estate_close(estate);
}

static void dates_far_apart_are_refused(void **state)
{
	(void)state;
	struct error error = {0};
	static const char text[] = PDH "\"03/02/1926 10:00:00.000\",\"10\"\n"
				       "\"03/02/2026 10:00:01.000\",\"10\"\n"
				       "\"03/02/2026 10:00:02.000\",\"10\"\n"
				       "\"03/02/2026 10:00:03.000\",\"10\"\n";
	write_input(text, sizeof text - 1);
	assert_null(import_files(&plain, input_paths, &error));
	assert_non_null(strstr(error.text, "a date in its files is wrong"));
}

static void bad_mappings_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *message;
	} cases[] = {
	    {"", "no line 'time = COLUMN'"},
	    {"time = T\n", "no line names what is measured"},
	    {"time = T\nwarp = C\n", ":2: unknown key 'warp'"},
	    {"time = T\ncpu\n", ":2: not a line 'key = value'"},
	    {"time = T\ncpu =\n", ":2: nothing behind 'cpu'"},
	    {"time = T\ncpu = C * 0\n", ":2: a factor must be above 0"},
	    {"time = T\ncpu = C\nseparator = x\n", ":3: a separator is one of"},
	    {"time = T\ncpu = C\ntimezone = CET\n", ":3: a time zone is"},
	    {"time = T\nmemory = counter C\n", ":2: this is no rate"},
	    {"time = T\ncpu = C\n", "no column 'T'"},
	    {"time = Zeit\ncpu = C\n", "no column 'C' (line 2 of the mapping)"},
	    {"time = Zeit\nserver = Host\ncpu_processors = Last\n", "how many processors it has"},
	};
	const struct import_options options = {.map = input};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct error error = {0};
		const char *const paths[] = {PLAN_TEST_DATA "/table.csv", NULL};
		write_input(cases[i].text, strlen(cases[i].text));
		if (import_files(&options, paths, &error) != NULL || strstr(error.text, cases[i].message) == NULL)
			fail_msg("case %zu: '%s' instead of '%s'", i, error.text, cases[i].message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bad_files_are_refused_with_their_place),
	    cmocka_unit_test(perfmon_is_read),
	    cmocka_unit_test(attributes_make_memory_and_correct_clocks),
	    cmocka_unit_test(perfmon_of_other_makes_is_read),
	    cmocka_unit_test(the_hour_of_daylight_saving_time_is_undone),
	    cmocka_unit_test(esxtop_is_read),
	    cmocka_unit_test(sadf_is_read),
	    cmocka_unit_test(sadf_of_old_versions_is_read),
	    cmocka_unit_test(json_of_sadf_is_read),
	    cmocka_unit_test(tables_are_read_by_a_mapping),
	    cmocka_unit_test(a_server_of_two_files_is_one),
	    cmocka_unit_test(zero_bytes_and_huge_lines_are_refused),
	    cmocka_unit_test(what_is_bad_can_be_left_out),
	    cmocka_unit_test(dates_far_apart_are_refused),
	    cmocka_unit_test(bad_mappings_are_refused),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
