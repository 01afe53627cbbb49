/* SPDX-License-Identifier: MIT */
/* What `nfold explain` makes of symbols, samples and ledgers: no guest. */
#include "cli/profile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char own_path[] = "/proc/self/exe";

/* ---- symbols ---- */

struct fixture {
	char folder[64], path[96];
	struct symbols *symbols;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof *fixture);
	(void)snprintf(fixture->folder, sizeof fixture->folder, "%s/nfold-explain-XXXXXX",
		       getenv("TMPDIR") != NULL && strlen(getenv("TMPDIR")) < 32 ? getenv("TMPDIR") : "/tmp");
	if (mkdtemp(fixture->folder) == NULL)
		return -1;
	(void)snprintf(fixture->path, sizeof fixture->path, "%s/symbols", fixture->folder);
	fixture->symbols = symbols_create();
	*state = fixture;
	return fixture->symbols == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	symbols_destroy(fixture->symbols);
	(void)unlink(fixture->path);
	(void)rmdir(fixture->folder);
	free(fixture);
	return 0;
}

static void write_file(const struct fixture *fixture, const void *bytes, size_t size)
{
	FILE *file = fopen(fixture->path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static void add_text(struct fixture *fixture, const char *text)
{
	struct error error = {0};
	write_file(fixture, text, strlen(text));
	if (!symbols_add_file(fixture->symbols, fixture->path, &error))
		fail_msg("%s", error.text);
}

static void assert_at(const struct fixture *fixture, uint64_t address, const char *name, uint64_t start)
{
	uint64_t found = 0;
	const char *text = symbols_find(fixture->symbols, address, &found);
	if (name == NULL) {
		assert_null(text);
		return;
	}
	assert_non_null(text);
	assert_string_equal(text, name);
	assert_int_equal(found, start);
}

static const char map[] = "0000000000000000 D fixed_percpu_data\n"
			  "ffffffff81000000 T _stext\n"
			  "ffffffff81000000 T _text\n"
			  "ffffffff81000100 t helper\n"
			  "ffffffff81000180 T entry_SYSCALL_64\n"
			  "ffffffff81000200 D some_data\n"
			  "ffffffffa0000000 t init_module\t[driver]\n";

static void system_map(void **state)
{
	struct fixture *fixture = *state;
	add_text(fixture, map);
	assert_at(fixture, 0, NULL, 0);
	assert_at(fixture, 0xffffffff80ffffff, NULL, 0);
	assert_at(fixture, 0xffffffff81000000, "_stext", 0xffffffff81000000);
	assert_at(fixture, 0xffffffff810000ff, "_stext", 0xffffffff81000000);
	assert_at(fixture, 0xffffffff81000100, "helper", 0xffffffff81000100);
	assert_at(fixture, 0xffffffff810001ff, "entry_SYSCALL_64", 0xffffffff81000180);
	assert_at(fixture, 0xffffffff81000200, NULL, 0); /* data */
	assert_at(fixture, 0xffffffffa0000010, "init_module", 0xffffffffa0000000);
	assert_at(fixture, UINT64_MAX, NULL, 0); /* far beyond the last symbol */
}

static void a_kernel_that_moved(void **state)
{
	struct fixture *fixture = *state;
	struct profile profile = {.syscall_entry = 0xffffffff9a200180};
	uint64_t distance = 0;
	add_text(fixture, map);
	assert_true(profile_find_kernel(&profile, fixture->symbols, &distance));
	assert_int_equal(distance, 0x19200000);
	assert_at(fixture, 0xffffffff9a200110, "helper", 0xffffffff9a200100);
	assert_at(fixture, 0xffffffff81000110, NULL, 0);
	profile.syscall_entry = 0xffffffff81000190; /* no multiple of what Linux moves by: another kernel */
	symbols_shift_kernel(fixture->symbols, 0);
	assert_false(profile_find_kernel(&profile, fixture->symbols, &distance));
	profile.syscall_entry = 0;
	assert_false(profile_find_kernel(&profile, fixture->symbols, &distance));
	assert_at(fixture, 0xffffffff81000110, "helper", 0xffffffff81000100);
}

static void user_symbols_do_not_move_with_the_kernel(void **state)
{
	struct fixture *fixture = *state;
	add_text(fixture, map);
	add_text(fixture, "0000000000401000 T main\n00000000c0100000 T kernel_32\n");
	symbols_shift_kernel(fixture->symbols, 0x1000000);
	assert_at(fixture, 0x401004, "main", 0x401000);
	assert_at(fixture, 0xc1100000, "kernel_32", 0xc1100000);
	assert_at(fixture, 0xffffffff82000100, "helper", 0xffffffff82000100);
}

/* This program's own symbol table. Its addresses are those of the file. */
static void elf(void **state)
{
	struct fixture *fixture = *state;
	struct error error = {0};
	uint64_t address = 0, start = 0, data = 0;
	assert_true(symbols_add_file(fixture->symbols, own_path, &error));
	assert_true(symbols_address(fixture->symbols, "main", &address));
	const char *name = symbols_find(fixture->symbols, address + 1, &start);
	assert_non_null(name);
	assert_string_equal(name, "main");
	assert_int_equal(start, address);
	assert_false(symbols_address(fixture->symbols, "own_path", &data)); /* data */
}

static void refuse(struct fixture *fixture, const char *path)
{
	struct error error = {0};
	assert_false(symbols_add_file(fixture->symbols, path, &error));
	assert_int_equal(error.kind, ERROR_INPUT);
	assert_non_null(strstr(error.text, path));
	assert_null(strchr(error.text, '\n'));
}

/* What is refused leaves nothing behind, and what was there stays. */
static void bad_files(void **state)
{
	static const char *const texts[] = {
	    "",
	    "\n",
	    "hello\n",
	    "ffffffff81000000\n",
	    "ffffffff81000000 T\n",
	    "ffffffff81000000 T \n",
	    "1ffffffff81000000 T too_large\n",
	    "-1 T negative\n",
	    "0000000000402000 T good\nbad\n",
	    "ffffffffffffffff B The real System.map is in another package\n",
	    "\177ELF",
	    "\177ELF\2\1\1 and nothing else that makes sense here, though there is a lot of it: more than a header",
	};
	struct fixture *fixture = *state;
	add_text(fixture, "0000000000401000 T main\n");
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		write_file(fixture, texts[i], strlen(texts[i]));
		refuse(fixture, fixture->path);
	}
	refuse(fixture, fixture->folder);
	refuse(fixture, "/nonexistent/symbols");
	refuse(fixture, "/dev/zero");
	assert_at(fixture, 0x401000, "main", 0x401000);
	assert_at(fixture, 0x402000, "main", 0x401000);
}

/* Every byte of an ELF file's headers and much of the rest wrong, one at a time: refused or read, never worse. */
static void damaged_elf(void **state)
{
	struct fixture *fixture = *state;
	FILE *file = fopen(own_path, "re");
	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	size_t size = (size_t)ftell(file);
	uint8_t *bytes = malloc(size);
	assert_non_null(bytes);
	rewind(file);
	assert_int_equal(fread(bytes, 1, size, file), size);
	(void)fclose(file);
	uint64_t sections;
	memcpy(&sections, bytes + 0x28, sizeof sections); /* e_shoff */
	assert_true(sections < size);
	for (unsigned i = 0; i < 400; i++) {
		size_t at = i < 64 ? i : (size_t)sections + (i - 64) * 7u;
		if (at >= size)
			break;
		uint8_t good = bytes[at];
		bytes[at] = (uint8_t)(good ^ (0x80u >> i % 8));
		write_file(fixture, bytes, i % 5 == 4 ? size / 2 : size);
		struct error error = {0};
		struct symbols *symbols = symbols_create();
		if (!symbols_add_file(symbols, fixture->path, &error))
			assert_int_equal(error.kind, ERROR_INPUT);
		symbols_destroy(symbols);
		bytes[at] = good;
	}
	free(bytes);
}

/* ---- samples ---- */

static json_t *answer_of(const char *text)
{
	json_error_t error;
	json_t *answer = json_loads(text, 0, &error);
	if (answer == NULL)
		fail_msg("%s", error.text);
	return answer;
}

static void add_answer(struct profile *profile, const char *text, unsigned times)
{
	json_t *answer = answer_of(text);
	for (unsigned i = 0; i < times; i++)
		assert_true(profile_add(profile, answer));
	json_decref(answer);
}

static const char user_code[] =
    "{\"lost\": 1, \"syscall_entry\": \"0xffffffff81000180\", \"samples\": [{\"vcpu\": 0, \"what\": \"code\", \"cpl\": "
    "3,"
    "\"bits\": 64, \"address\": \"0x401004\", \"block\": \"0x401000\", \"space\": \"0x1000\"}]}";
static const char other_user_code[] = "{\"samples\": [{\"what\": \"code\", \"cpl\": 3, \"block\": \"0x401000\","
				      "\"space\": \"0x2000\"}]}";
static const char kernel_code[] = "{\"samples\": [{\"what\": \"code\", \"cpl\": 0, \"block\": \"0xffffffff81000110\","
				  "\"space\": \"0x1000\"}]}";
static const char kernel_flags[] = "{\"samples\": [{\"what\": \"flags\", \"cpl\": 0, \"block\":"
				   "\"0xffffffff81000150\", \"space\": \"0x2000\"}]}";
static const char kernel_device[] = "{\"samples\": [{\"what\": \"device\", \"cpl\": 0, \"device\": \"uart16550\","
				    "\"block\": \"0xffffffff81000110\", \"space\": \"0x2000\"}]}";

static void samples_add_up(void **state)
{
	struct fixture *fixture = *state;
	struct profile profile = {0};
	struct profile_gain gain = {.wall_ns = 1000};
	gain.state_ns[LEDGER_GUEST] = 900;
	gain.state_ns[LEDGER_DEVICE] = 50;
	add_answer(&profile, user_code, 20000); /* more than the table begins with */
	add_answer(&profile, other_user_code, 10000);
	add_answer(&profile, kernel_code, 40000);
	add_answer(&profile, kernel_flags, 20000);
	add_answer(&profile, kernel_device, 5000);
	assert_int_equal(profile.samples, 95000);
	assert_int_equal(profile.lost, 20000);
	struct profile_time code = profile_time(&profile, &gain, SAMPLE_CODE);
	assert_int_equal(code.ns[PROFILE_USER], 300);
	assert_int_equal(code.ns[PROFILE_KERNEL], 400);
	struct profile_time flags = profile_time(&profile, &gain, SAMPLE_KIND + LEDGER_KIND_FLAGS);
	assert_int_equal(flags.ns[PROFILE_USER], 0);
	assert_int_equal(flags.ns[PROFILE_KERNEL], 200);
	assert_int_equal(profile_time(&profile, &gain, SAMPLE_DEVICE).ns[PROFILE_KERNEL], 50);
	assert_int_equal(profile_time(&profile, &gain, SAMPLE_TRANSLATE).ns[PROFILE_KERNEL], 0);
	assert_int_equal(profile.device_count, 1);
	assert_string_equal(profile.device[0].name, "uart16550");

	size_t count;
	add_text(fixture, map);
	struct profile_row *row = profile_rows(&profile, fixture->symbols, &count);
	assert_int_equal(count, 3);
	assert_string_equal(row[0].name, "helper"); /* of all address spaces together */
	assert_int_equal(row[0].samples, 65000);
	assert_int_equal(row[0].code, 40000);
	assert_false(row[0].user);
	assert_null(row[1].name); /* a program is not another one at the same address */
	assert_int_equal(row[1].samples, 20000);
	assert_int_equal(row[1].address, 0x401000);
	assert_int_equal(row[1].space, 0x1000);
	assert_true(row[1].user);
	assert_int_equal(row[2].samples, 10000);
	free(row);
	profile_destroy(&profile);
}

/* A guest's process of another release, or something else altogether. */
static void answers_that_make_no_sense(void **state)
{
	static const char *const texts[] = {
	    "{}",
	    "{\"samples\": 7, \"lost\": \"many\"}",
	    "{\"samples\": [1, null, \"x\", [], {}, {\"what\": 3}, {\"what\": \"unknown\", \"cpl\": 0}]}",
	    "{\"samples\": [{\"what\": \"code\", \"cpl\": 77, \"block\": 12, \"space\": \"zzz\"}]}",
	    "{\"samples\": [{\"what\": \"device\", \"cpl\": -1}]}",
	};
	struct fixture *fixture = *state;
	struct profile profile = {0};
	size_t count;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		add_answer(&profile, texts[i], 1);
	assert_int_equal(profile.samples, 2);
	free(profile_rows(&profile, fixture->symbols, &count));
	assert_int_equal(count, 2);
	profile_destroy(&profile);
	assert_null(profile_rows(&profile, fixture->symbols, &count));
	assert_int_equal(count, 0);
}

static void ledgers_gain(void **state)
{
	(void)state;
	json_t *before = answer_of("{\"vcpus\": [{\"wall_ns\": 100, \"clocks_ns\": {\"guest\": 60, \"idle\": 40},"
				   "\"counts\": {\"halt\": 3}, \"delays\": {\"wake\": {\"total_ns\": 10, \"buckets\":"
				   "[[0, 1], [1, 0], [2, 1]]}}}]}");
	json_t *after = answer_of("{\"vcpus\": [{\"wall_ns\": 300, \"clocks_ns\": {\"guest\": 160, \"idle\": 140},"
				  "\"counts\": {\"halt\": 10}, \"delays\": {\"wake\": {\"total_ns\": 410, \"buckets\":"
				  "[[0, 1], [1, 0], [2, 52], [4, 48], [null, 1]]}}},"
				  "{\"wall_ns\": 50, \"clocks_ns\": {\"guest\": 50}}]}");
	struct profile_gain gain;
	profile_gain(before, after, &gain);
	assert_int_equal(gain.vcpus, 2);
	assert_int_equal(gain.wall_ns, 250);
	assert_int_equal(gain.state_ns[LEDGER_GUEST], 150);
	assert_int_equal(gain.state_ns[LEDGER_IDLE], 100);
	assert_int_equal(gain.count[LEDGER_COUNT_HALT], 7);
	const struct profile_delay *wake = &gain.delay[LEDGER_DELAY_WAKE];
	assert_int_equal(wake->count, 100);
	assert_int_equal(wake->ns, 400);
	assert_int_equal(wake->half_below_ns, 2);
	assert_int_equal(wake->most_below_ns, 4);
	profile_gain(after, before, &gain); /* clocks that went back */
	assert_int_equal(gain.wall_ns, 0);
	assert_int_equal(gain.delay[LEDGER_DELAY_WAKE].count, 0);
	json_decref(before);
	json_decref(after);
}

int main(void)
{
#define WITH_FILES(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    WITH_FILES(system_map),
	    WITH_FILES(a_kernel_that_moved),
	    WITH_FILES(user_symbols_do_not_move_with_the_kernel),
	    WITH_FILES(elf),
	    WITH_FILES(bad_files),
	    WITH_FILES(damaged_elf),
	    WITH_FILES(samples_add_up),
	    WITH_FILES(answers_that_make_no_sense),
	    cmocka_unit_test(ledgers_gain),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
