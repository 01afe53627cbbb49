/* SPDX-License-Identifier: MIT */
/* Definition files: what is read, what is refused and where, amounts of processors, and files replaced whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "control/definition.h"
#include "control/replace_file.h"

static bool parse(struct definition *definition, const char *text, struct error *error)
{
	*error = (struct error){0};
	return definition_parse(definition, "web.json", "/vms", text, strlen(text), error);
}

static void keys_are_options(void **state)
{
	static const char text[] =
	    "{\"cpus\": 2, \"memory\": \"64M\", \"shares\": 2000, \"limit\": 0.5, \"dedicated\": true,\n"
	    " \"no-reboot\": false, \"disk\": [\"a.img\", \"/b.img,readonly\", \"nbd://h/x\"],\n"
	    " \"net\": \"user\", \"serial\": \"unix:tty\", \"autostart\": true}";
	struct definition definition;
	struct host_policy policy;
	struct error error;
	(void)state;
	assert_true(parse(&definition, text, &error));
	const struct guest_options *guest = &definition.options.guest;
	assert_int_equal(guest->cpus, 2);
	assert_int_equal(guest->memory, 64 << 20);
	assert_false(guest->no_reboot);
	assert_int_equal(guest->disk.count, 3);
	assert_string_equal(guest->disk.item[0], "/vms/a.img");
	assert_string_equal(guest->disk.item[1], "/b.img,readonly");
	assert_string_equal(guest->disk.item[2], "nbd://h/x");
	assert_string_equal(guest->serial, "unix:/vms/tty");
	assert_int_equal(definition.options.host.shares, 2000);
	assert_true(definition.options.host.autostart && definition.options.host.dedicated);
	assert_int_equal(definition.options.host.stop_timeout, 60);
	assert_true(host_options_check(&definition.options, &policy, &error));
	assert_int_equal(policy.limit, AMOUNT_PROCESSOR / 2);
	/* The guest's words know nothing of the host. */
	for (unsigned i = 0; i < definition.guest_words; i++)
		assert_null(strstr(definition.word[i], "shares"));
	assert_int_equal(definition.words, 12 - 1);
	definition_free(&definition);
}

static void what_is_written_reads_the_same(void **state)
{
	struct definition first, second;
	struct error error;
	(void)state;
	assert_true(
	    parse(&first, "{\"memory\": 67108864, \"kernel\": \"k\", \"append\": \"a=\\\"b\\\" \\u00e9\"}", &error));
	char *text = definition_text(first.object);
	assert_non_null(text);
	assert_true(definition_parse(&second, "again", "/elsewhere", text, strlen(text), &error));
	assert_true(json_equal(first.object, second.object));
	assert_string_equal(second.options.guest.kernel, "/vms/k");
	free(text);
	definition_free(&first);
	definition_free(&second);
}

static void errors_say_where(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
	    {"", "web.json:1:1: "},
	    {"{\n\"memory\": }", "web.json:2:"},
	    {"[]", "web.json: give one object"},
	    {"{\"cpus\": 1, \"cpus\": 2}", "web.json:1:18: duplicate object key"},
	    {"{\n  \"frobs\": 1}", "web.json:2:3: unknown key 'frobs'"},
	    {"{\"ready-fd\": 1}", "web.json:1:2: unknown key 'ready-fd'"},
	    {"{\"x\\u0041\": 1}", "web.json:1:1: unknown key 'xA'"},
	    {"{\n\n \"memory\": \"lots\"}", "web.json:3:2: memory 'lots': give a size"},
	    {"{\"append\": \"cpus\",\n \"kernel\": \"k\", \"cpus\": 9}", "web.json:2:17: cpus 9: a guest can have"},
	    {"{\"cpus\": null}", "web.json:1:2: cpus: give a text or a number"},
	    {"{\"cpus\": {}}", "web.json:1:2: cpus: give a text or a number"},
	    {"{\"cpus\": true}", "web.json:1:2: cpus: give a text or a number"},
	    {"{\"no-reboot\": \"yes\"}", "web.json:1:2: no-reboot: give true or false"},
	    {"{\"disk\": [1, [2]]}", "web.json:1:2: disk: give a text or an array of texts"},
	    {"{\"disk\": [\"a\",\"b\",\"c\",\"d\",\"e\"]}", "web.json:1:2: disk: 5 disks"},
	    {"{\"memory\": \"1\\u0000\"}", "web.json:1:"},
	    {"{\"name\": \"../x\"}", "web.json:1:2: name '../x': give"},
	    {"{\"shares\": 0}", "web.json:1:2: shares 0: give a number from 1"},
	    {"{\"limit\": \"fast\"}", "web.json:1:2: limit 'fast': give percent"},
	    {"{\"limit\": 0}", "web.json:1:2: limit 0: with nothing"},
	    {"{\"reservation\": \"150%\"}", "web.json:1:2: reservation 150%: more than its 1 virtual"},
	    {"{\"reservation\": \"50%\", \"limit\": \"0.4\"}", "web.json:1:2: reservation 50%: more than its --limit"},
	    {"{\"affinity\": \"0-\"}", "web.json:1:2: affinity '0-': give numbers"},
	    {"{\"restart\": \"often\"}", "web.json:1:2: restart 'often': give one of never, on-failure, always"},
	    {"{\"initrd\": \"i\"}", "web.json:1:2: initrd needs a --kernel"},
	};
	struct definition definition;
	struct error error;
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_false(parse(&definition, cases[i].text, &error));
		if (strncmp(error.text, cases[i].message, strlen(cases[i].message)) != 0)
			fail_msg("%s: \"%s\" does not begin with \"%s\"", cases[i].text, error.text, cases[i].message);
		assert_null(definition.object);
	}
}

static void amounts(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
	} good[] = {{"50%", 500000},	{"0.5", 500000},  {"1", 1000000},     {"2", 2000000},  {"150%", 1500000},
		    {"500MHz", 250000}, {"1GHz", 500000}, {"1.5ghz", 750000}, {"0.000001", 1}, {"12.5%", 125000},
		    {"0", 0},		{"0.000001%", 0}, {"256", 256000000}};
	static const char *const bad[] = {"",	       "%",	  "-1",	   "1.",  ".5",
					  "1.0000001", "1 %",	  "0x1",   "257", "nan",
					  "1e3",       "MHz",	  "5 MHz", "5mm", "99999999999999999999",
					  "1%%",       "1000001%"};
	uint64_t value;
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_true(amount_read("limit", good[i].text, 2000000000u, &value, NULL));
		assert_int_equal(value, good[i].value);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (amount_read("limit", bad[i], 2000000000u, &value, NULL))
			fail_msg("'%s' was taken", bad[i]);
	assert_false(amount_read("limit", "500MHz", 0, &value, NULL));
	assert_true(amount_read("limit", "50%", 0, &value, NULL));
	assert_in_range(amount_host_clock(), 100000000u, 10000000000u);
}

static void sets(void **state)
{
	static const char *const bad[] = {"",  ",",   "1,", "3-1",  "256",	  "0-256",
					  "a", "1 2", "-1", "1--2", "99999999999"};
	struct processor_set set;
	(void)state;
	assert_true(processor_set_read("affinity", "0,2-3,64-66,255", &set, NULL));
	assert_int_equal(set.word[0], 0xd);
	assert_int_equal(set.word[1], 7);
	assert_true(set.word[2] == 0 && set.word[3] == UINT64_C(1) << 63);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(processor_set_read("affinity", bad[i], &set, NULL));
}

static unsigned files_in(const char *folder)
{
	DIR *directory = opendir(folder);
	unsigned count = 0;
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count - 2;
}

static void a_full_disk_keeps_the_old_file(void **state)
{
	char folder[] = "/tmp/nfold-replace-XXXXXX", path[64], content[16] = "";
	static char large[8192];
	struct rlimit before, small = {4096, RLIM_INFINITY};
	struct error error = {0};
	(void)state;
	assert_non_null(mkdtemp(folder));
	int fd = open(folder, O_RDONLY | O_DIRECTORY);
	memset(large, 'x', sizeof large);
	assert_true(file_replace(fd, folder, "web.json", "old", 3, &error));
	/* A file that may not grow fails as one on a full disk does. */
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_false(file_replace(fd, folder, "web.json", large, sizeof large, &error));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_non_null(strstr(error.text, "web.json"));
	assert_int_equal(files_in(folder), 1);
	(void)snprintf(path, sizeof path, "%s/web.json", folder);
	int file = open(path, O_RDONLY);
	assert_int_equal(read(file, content, sizeof content), 3);
	assert_string_equal(content, "old");
	close(file);
	(void)unlink(path);
	close(fd);
	(void)rmdir(folder);
}

static void only_definitions_are_read(void **state)
{
	struct definition definition;
	struct error error = {0};
	(void)state;
	assert_false(definition_read(&definition, "/dev/zero", &error));
	assert_non_null(strstr(error.text, "not a definition"));
	assert_false(definition_read(&definition, "/tmp", &error));
	assert_false(definition_read(&definition, "/nowhere/x.json", &error));
	assert_int_equal(error.kind, ERROR_INPUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keys_are_options),
	    cmocka_unit_test(what_is_written_reads_the_same),
	    cmocka_unit_test(errors_say_where),
	    cmocka_unit_test(amounts),
	    cmocka_unit_test(sets),
	    cmocka_unit_test(a_full_disk_keeps_the_old_file),
	    cmocka_unit_test(only_definitions_are_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
