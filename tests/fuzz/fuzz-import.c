/* SPDX-License-Identifier: MIT */
/*
 * One format's parser, chosen when this is compiled, on any bytes behind a beginning that its probe accepts; all that
 * it delivers goes through the collector into an estate, which is read back. The first byte chooses: the bytes as they
 * are, or words of the format that the bytes choose, which get further.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan/collect.h"
#include "plan/mapping.h"
#include "plan/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX 65536u

__attribute__((unused)) static const char head_perfmon[] =
    "\"(PDH-CSV 4.0) (W. Europe Standard Time)(-60)\",\"\\\\A\\Processor(_Total)\\% Processor Time\","
    "\"\\\\A\\Memory\\Available Bytes\",\"\\\\B\\PhysicalDisk(0 C:)\\Disk Reads/sec\"\n";
__attribute__((unused)) static const char head_esxtop[] =
    "\"(PDH-CSV 4.0) (UTC)(0)\",\"\\\\e\\Group Cpu(1:a)\\% Used\",\"\\\\e\\Vcpu(1:a:2:vcpu-0)\\% Used\","
    "\"\\\\e\\Network Port(s:1:2:a.eth0)\\MBits Received/sec\"\n";
__attribute__((unused)) static const char head_sadf[] = "# hostname;interval;timestamp;CPU;%user;%system;%idle\n";
__attribute__((unused)) static const char head_json[] = "{\"sysstat\": {\"hosts\": [";
__attribute__((unused)) static const char head_mapped[] = "time;host;cpu;total\n";
static const char map[] = "time = time\nserver = host\ncpu = cpu\ndisk_read = counter total\n";

__attribute__((unused)) static const char *const words_pdh[] = {"\"03/02/2026 10:00:00.000\",",
								"\"10/25/2026 02:5",
								"5:00.000\",\"",
								"\"1.5\",",
								"\"-1\",",
								"\" \",",
								"\"\n",
								"\"1e308\",",
								"\"03/02/1926 10:00:00.000\"",
								"\n",
								"\"",
								"3",
								",",
								"\\\\A\\Processor(1)\\% Processor Time"};
__attribute__((unused)) static const char *const words_sadf[] = {"web;",
								 "600;",
								 "-1;",
								 "2026-03-02 00:10:01 UTC;",
								 "2026-03-02 00:20:01;",
								 "1772445600;",
								 "5.00;",
								 "99.00\n",
								 "\n",
								 "# hostname;interval;timestamp;",
								 "DEV;tps;rkB/s;wkB/s\n",
								 "IFACE;rxkB/s;txkB/s\n",
								 "sda;",
								 "LINUX-RESTART\t(4 CPU)\n",
								 "kbmemfree;kbmemused;%memused\n"};
__attribute__((unused)) static const char *const words_json[] = {
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"nodename\":\"a\",",
    "\"number-of-cpus\":2,",
    "\"statistics\":[",
    "{\"timestamp\":{\"date\":\"2026-03-02\",\"time\":\"00:10:01\",\"utc\":1,\"interval\":60},",
    "\"cpu-load\":[{\"cpu\":\"all\",\"idle\":5}]",
    "\"memory\":{\"memfree\":1,\"memused\":2}",
    "\"disk\":[{\"disk-device\":\"sda\",\"tps\":1}]",
    "1e999",
    "\"date\":\"x\"",
    "{\"timestamp\":{"};
__attribute__((unused)) static const char *const words_mapped[] = {
    "2026-03-02 10:00:00;",   "1772445600;", "1e300;", "a;", "b;", "0,5;",
    "4294967295\n",	      "7\n",	     "\n",     ";",  "\"", "-5\n",
    "18446744073709551615\n", "\x80;"};

struct target {
	const struct format *format;
	const char *head;
	const char *const *word;
	size_t words;
};

#define WORDS(list) list, sizeof(list) / sizeof(list)[0]

static const struct target target =
#if defined FUZZ_PERFMON
    {&format_perfmon, head_perfmon, WORDS(words_pdh)};
#elif defined FUZZ_ESXTOP
    {&format_esxtop, head_esxtop, WORDS(words_pdh)};
#elif defined FUZZ_SADF
    {&format_sadf, head_sadf, WORDS(words_sadf)};
#elif defined FUZZ_SADF_JSON
    {&format_sadf_json, head_json, WORDS(words_json)};
#else
    {&format_mapped, head_mapped, WORDS(words_mapped)};
#endif

static void no_remark(void *owner, const char *what, const char *text)
{
	(void)owner;
	assert(what[0] != 0 && text[0] != 0);
}

static bool go_on(void *owner, const char *server, const struct error *error)
{
	(void)owner;
	return server[0] != 0 && error->text[0] != 0;
}

static void read_back(const char *path)
{
	struct error error = {0};
	struct estate *estate = estate_open(path, &error);
	assert(estate != NULL);
	for (size_t i = 0; i < estate_count(estate); i++)
		for (unsigned s = 0; s < ESTATE_RESOURCE_COUNT; s++) {
			const struct estate_grid grid = {estate_server(estate, i)->grid.start, 16, 60};
			float value[16];
			assert(estate_read_resource(estate, i, (enum estate_resource)s, &grid, ESTATE_MAXIMUM, value,
						    &error));
		}
	estate_close(estate);
}

static void import(const char *text, size_t size, bool keep_going)
{
	char path[] = "fuzz-import-XXXXXX";
	struct error error = {0};
	struct mapping mapping;
	int fd = mkstemp(path);
	assert(fd >= 0 && close(fd) == 0);
	struct collector *collector = collector_create(path, &error);
	struct estate_writer *writer = estate_writer_create(path, &error);
	struct input *input = input_from_bytes("fuzz", text, size, &error);
	assert(collector != NULL && writer != NULL && input != NULL);
	assert(mapping_read(map, sizeof map - 1, "map", &mapping, &error));
	struct parse parse = {.collector = collector,
			      .input = input,
			      .stem = "stem",
			      .mapping = &mapping,
			      .zone_given = true,
			      .keep_going = keep_going,
			      .remark = no_remark};
	bool good = target.format->read(&parse, &error);
	assert(good || (error.text[0] != 0 && strchr(error.text, '\n') == NULL));
	const struct collect_listener listener = {.refused = go_on, .remark = no_remark};
	if (collector_write(collector, writer, &listener, &error) && estate_writer_finish(writer, "{}", &error))
		read_back(path);
	else
		assert(false);
	collector_destroy(collector);
	input_close(input);
	(void)unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[TEXT_MAX];
	if (size < 1)
		return 0;
	size_t used = (data[0] & 1) != 0 ? strlen(target.head) : 0;
	memcpy(text, target.head, used);
	for (size_t i = 1; i < size; i++) {
		const char *word = target.word[data[i] % target.words];
		size_t length = (data[0] & 2) != 0 ? strlen(word) : 1;
		if (used + length > TEXT_MAX)
			break;
		memcpy(text + used, (data[0] & 2) != 0 ? word : (const char *)&data[i], length);
		used += length;
	}
	/* An exact copy on the heap: a sanitizer sees what reads beyond it. */
	char *exact = malloc(used + 1);
	assert(exact != NULL);
	memcpy(exact, text, used);
	import(exact, used, (data[0] & 4) != 0);
	free(exact);
	return 0;
}
