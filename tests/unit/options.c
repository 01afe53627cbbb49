/* SPDX-License-Identifier: MIT */
/* The option parser, on a table with one option of each kind, and the guest's own table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/guest_options.h"
#include "control/options.h"

struct values {
	bool flag;
	const char *text;
	const char *choice;
	uint64_t number;
	uint64_t size;
	struct option_list list, short_list;
	bool secret;
};

static const char *const colours[] = {"red", "green", NULL};

#define FIELD(field) .offset = offsetof(struct values, field)

static const struct option table[] = {
    {"flag", NULL, NULL, "a flag", .kind = OPTION_FLAG, FIELD(flag)},
    {"text", "TEXT", NULL, "a text", .kind = OPTION_TEXT, .letter = 't', FIELD(text)},
    {"choice", "COLOUR", "red", "a choice", .kind = OPTION_CHOICE, .choices = colours, FIELD(choice)},
    {"number", "N", NULL, "a number", .kind = OPTION_NUMBER, .minimum = 3, .maximum = 300, FIELD(number)},
    {"size", "SIZE", "4K", "a size", .kind = OPTION_SIZE, FIELD(size)},
    {"list", "ITEM", NULL, "a list", .kind = OPTION_LIST, FIELD(list)},
    {"short", "ITEM", NULL, "a short list", .kind = OPTION_LIST, .maximum = 2, FIELD(short_list)},
    {"secret", NULL, NULL, "", .kind = OPTION_FLAG, .hidden = true, FIELD(secret)},
    {0},
};

#define WORDS_MAX 40

/* Parses words separated by spaces; "''" stands for an empty one. */
static bool parse(const char *line, struct values *values, struct option_rest *rest, struct error *error)
{
	static char copy[400];
	char *words[WORDS_MAX];
	int count = 0;
	(void)snprintf(copy, sizeof copy, "%s", line);
	for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
		words[count++] = strcmp(word, "''") == 0 ? word + 2 : word;
	memset(values, 0, sizeof *values);
	return options_parse(table, OPTIONS_FROM_PERSON, "prog", count, words, values, rest, error);
}

static void reads_every_kind_in_both_spellings(void **state)
{
	static const char *const lines[] = {
	    "--flag --text abc --choice green --number 0x10 --size 2M --list a --list b one two",
	    "one --flag --text=abc --choice=green two --number=16 --size=2048k --list=a --list=b",
	    "--text x --text abc --flag --number 16 --choice green --size 2097152 --list a --list b -- one two",
	};
	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		struct values values;
		struct option_rest rest;
		assert_true(parse(lines[i], &values, &rest, NULL));
		assert_true(values.flag);
		assert_string_equal(values.text, "abc");
		assert_string_equal(values.choice, "green");
		assert_int_equal(values.number, 16);
		assert_int_equal(values.size, 2 << 20);
		assert_int_equal(values.list.count, 2);
		assert_string_equal(values.list.item[1], "b");
		assert_int_equal(rest.count, 2);
		assert_string_equal(rest.argument[0], "one");
		assert_string_equal(rest.argument[1], "two");
	}
}

static void a_flag_can_be_turned_off_again(void **state)
{
	struct values values;
	struct option_rest rest;
	(void)state;
	assert_true(parse("--flag --flag=false", &values, &rest, NULL));
	assert_false(values.flag);
	assert_false(option_flag_is_on(rest.given[1].text));
	assert_true(parse("--flag=false --flag=true", &values, &rest, NULL));
	assert_true(values.flag);
	assert_true(parse("--flag=false --flag", &values, &rest, NULL));
	assert_true(values.flag);
}

static void fills_in_defaults(void **state)
{
	struct values values;
	struct option_rest rest;
	(void)state;
	assert_true(parse("", &values, &rest, NULL));
	assert_false(values.flag);
	assert_null(values.text);
	assert_string_equal(values.choice, "red");
	assert_true(values.number == OPTION_UNSET);
	assert_int_equal(values.size, 4096);
	assert_int_equal(values.list.count, 0);
}

static void takes_words_as_values_whatever_they_look_like(void **state)
{
	struct values values;
	struct option_rest rest;
	(void)state;
	assert_true(parse("--text --flag --list= -- --number -", &values, &rest, NULL));
	assert_string_equal(values.text, "--flag");
	assert_false(values.flag);
	assert_string_equal(values.list.item[0], "");
	assert_int_equal(rest.count, 2);
	assert_string_equal(rest.argument[0], "--number");
	assert_string_equal(rest.argument[1], "-");
}

static void letters_stand_for_options(void **state)
{
	struct values values;
	struct option_rest rest;
	(void)state;
	assert_true(parse("a -t b c", &values, &rest, NULL));
	assert_string_equal(values.text, "b");
	assert_int_equal(rest.count, 2);
}

static void refuses_too_many_arguments(void **state)
{
	char word[] = "x";
	char *words[ARGUMENTS_MAX + 1];
	struct values values;
	struct option_rest rest;
	struct error error = {0};
	(void)state;
	for (int i = 0; i <= ARGUMENTS_MAX; i++)
		words[i] = word;
	assert_true(options_parse(table, OPTIONS_FROM_PERSON, "prog", ARGUMENTS_MAX, words, &values, &rest, &error));
	assert_int_equal(rest.count, ARGUMENTS_MAX);
	assert_false(
	    options_parse(table, OPTIONS_FROM_PERSON, "prog", ARGUMENTS_MAX + 1, words, &values, &rest, &error));
	assert_non_null(strstr(error.text, "too many arguments"));
}

static void refuses_bad_words(void **state)
{
	static const struct {
		const char *line, *message;
	} cases[] = {
	    {"--nonsense", "unknown option '--nonsense'"},
	    {"--fla", "unknown option"},
	    {"--flagg", "unknown option"},
	    {"-x", "unknown option '-x'"},
	    {"--secret", "unknown option"},
	    {"--=x", "unknown option"},
	    {"--flag=1", "give true or false"},
	    {"--flag=", "give true or false"},
	    {"--text", "needs a value"},
	    {"--number", "needs a value"},
	    {"--choice blue", "red, green"},
	    {"--choice=", "red, green"},
	    {"--number ''", "give a number"},
	    {"--number x", "give a number"},
	    {"--number 0x", "give a number"},
	    {"--number 4x", "give a number"},
	    {"--number -4", "give a number"},
	    {"--number +4", "give a number"},
	    {"--number 1e2", "give a number"},
	    {"--number 18446744073709551615", "give a number"},
	    {"--number 18446744073709551616", "give a number"},
	    {"--number 99999999999999999999999999", "give a number"},
	    {"--number 2", "from 3 to 300"},
	    {"--number 301", "from 3 to 300"},
	    {"--size ''", "give a size"},
	    {"--size M", "give a size"},
	    {"--size 1T", "give a size"},
	    {"--size 1MB", "give a size"},
	    {"--size 1.5G", "give a size"},
	    {"--size -1", "give a size"},
	    {"--size 17179869184G", "give a size"},
	    {"--size 18446744073709551616", "give a size"},
	    {"-xt", "unknown option '-xt'"},
	    {"-t", "needs a value"},
	    {"--short a --short b --short c", "at most 2 times"},
	    {"--list 1 --list 2 --list 3 --list 4 --list 5 --list 6 --list 7 --list 8 --list 9 --list 10 --list 11 "
	     "--list 12 "
	     "--list 13 --list 14 --list 15 --list 16 --list 17",
	     "at most 16 times"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct values values;
		struct option_rest rest;
		struct error error = {0};
		if (parse(cases[i].line, &values, &rest, &error) || strstr(error.text, cases[i].message) == NULL)
			fail_msg("%s: %s", cases[i].line, error.text);
		assert_int_equal(error.kind, ERROR_INPUT);
		assert_null(strchr(error.text, '\n'));
	}
}

static void help_wins(void **state)
{
	struct values values;
	struct option_rest rest;
	(void)state;
	assert_true(parse("one --help --nonsense", &values, &rest, NULL));
	assert_true(rest.help);
	assert_true(parse("-h", &values, &rest, NULL));
	assert_true(rest.help);
	assert_true(parse("-- --help", &values, &rest, NULL));
	assert_false(rest.help);
}

static void help_names_every_option_but_hidden_ones(void **state)
{
	char *text = NULL;
	size_t size;
	(void)state;
	FILE *stream = open_memstream(&text, &size);
	options_print(table, stream);
	(void)fclose(stream);
	assert_non_null(strstr(text, "--choice COLOUR"));
	assert_non_null(strstr(text, "(default: 4K)"));
	assert_non_null(strstr(text, "--help"));
	assert_null(strstr(text, "secret"));
	free(text);
}

static bool check_guest(const char *memory, const char *name, const char *serial, struct error *error)
{
	char *words[] = {(char *)"--kernel", (char *)"k",
			 (char *)"--memory", (char *)(uintptr_t)memory,
			 (char *)"--name",   (char *)(uintptr_t)name,
			 (char *)"--serial", (char *)(uintptr_t)serial};
	struct guest_options options = {0};
	struct option_rest rest;
	return options_parse(guest_option_table, OPTIONS_FROM_PERSON, "nfold run", 8, words, &options, &rest, error) &&
	       guest_options_check(&options, error);
}

static void guest_options_are_judged(void **state)
{
	struct error error;
	char name[66];
	(void)state;
	memset(name, 'a', sizeof name - 1);
	name[65] = '\0';
	assert_true(check_guest("2M", "a", "stdio", &error));
	assert_true(check_guest("2M", name + 1, "unix:x", &error));
	assert_false(check_guest("2M", name, "stdio", &error));
	assert_false(check_guest("0", "a", "stdio", &error));
	assert_false(check_guest("2M", "", "stdio", &error));
	assert_false(check_guest("2M", ".a", "stdio", &error));
	assert_false(check_guest("2M", "-a", "stdio", &error));
	assert_false(check_guest("2M", "a/b", "stdio", &error));
	assert_false(check_guest("2M", "a", "", &error));
	assert_false(check_guest("2M", "a", "unix:", &error));
	assert_false(check_guest("2097153", "a", "stdio", &error));
	assert_false(check_guest("16000000G", "a", "stdio", &error));
}

static void images_may_be_read_only(void **state)
{
	static const struct {
		const char *text;
		size_t length;
		bool read_only;
	} cases[] = {{"a", 1, false},
		     {"a,readonly", 1, true},
		     {"a,readonly,readonly", 10, true},
		     {"a,readonly ", 11, false},
		     {",readonly", 0, true},
		     {"readonly", 8, false},
		     {"a,b", 3, false}};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct guest_image image = guest_image_read(cases[i].text);
		assert_ptr_equal(image.path, cases[i].text);
		assert_int_equal(image.length, cases[i].length);
		assert_int_equal(image.read_only, cases[i].read_only);
	}
}

static void disks_are_read(void **state)
{
	static const struct {
		const char *text;
		size_t length;
		struct guest_disk disk;
	} good[] = {
	    {"a", 1, {0}},
	    {"a,readonly", 1, {.read_only = true}},
	    {"a,format=qcow2,cache=none", 1, {.format = GUEST_DISK_QCOW2, .cache = GUEST_CACHE_NONE}},
	    {"a,device=virtio,on-error=stop,readonly",
	     1,
	     {.device = GUEST_DISK_VIRTIO, .on_error = GUEST_DISK_STOPS, .read_only = true}},
	    {"a,cache=unsafe,cache=writethrough", 1, {.cache = GUEST_CACHE_UNSAFE}}, /* the first one counts */
	    {"a,b", 3, {0}},
	    {"a,b,format=vhdx", 3, {.format = GUEST_DISK_VHDX}},
	    {"a,readonly,b", 12, {0}},
	    {"a,x=/b", 6, {0}},
	    {"nbd://host/a,device=ide", 12, {0}},
	};
	static const char *const bad[] = {"",
					  ",readonly",
					  ",format=raw",
					  "a,format=qcow3",
					  "a,format=",
					  "a,cache=directt",
					  "a,device=scsi",
					  "a,on-error=",
					  "a,chache=none",
					  "a,format=rawx"};
	struct guest_disk disk;
	struct error error;
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_true(guest_disk_read(good[i].text, &disk, &error));
		assert_ptr_equal(disk.path, good[i].text);
		assert_int_equal(disk.length, good[i].length);
		assert_int_equal(disk.read_only, good[i].disk.read_only);
		assert_int_equal(disk.format, good[i].disk.format);
		assert_int_equal(disk.cache, good[i].disk.cache);
		assert_int_equal(disk.device, good[i].disk.device);
		assert_int_equal(disk.on_error, good[i].disk.on_error);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_false(guest_disk_read(bad[i], &disk, &error));
		assert_int_equal(error.kind, ERROR_INPUT);
	}
}

static void boot_orders_are_read(void **state)
{
	static const char *const bad[] = {
	    "",	     ",",    "disk,",	    ",disk", "disk,,cdrom", "disk,disk", "network",
	    "disk ", "DISK", "floppy;disk", "d",     "cdrom,d",	    "diskette",	 "floppy,cdrom,disk,floppy"};
	struct guest_boot_order order;
	struct error error;
	(void)state;
	assert_true(guest_boot_read("cdrom,disk", &order, &error));
	assert_int_equal(order.count, 2);
	assert_int_equal(order.device[0], GUEST_BOOT_CDROM);
	assert_int_equal(order.device[1], GUEST_BOOT_DISK);
	assert_true(guest_boot_read("disk,floppy,cdrom", &order, &error));
	assert_int_equal(order.count, 3);
	assert_int_equal(order.device[1], GUEST_BOOT_FLOPPY);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(guest_boot_read(bad[i], &order, &error));
}

static void reads_networks(void **state)
{
	struct guest_net net;
	(void)state;
	assert_true(guest_net_read("user", &net, NULL));
	assert_int_equal(net.kind, GUEST_NET_USER);
	assert_int_equal(net.model, GUEST_NET_VIRTIO);
	assert_true(guest_net_read("model=pcnet,mac=02:00:00:aB:cd:ef,forward=8080:80,forward=udp:10.1.2.3:53:5353",
				   &net, NULL));
	assert_int_equal(net.kind, GUEST_NET_USER);
	assert_int_equal(net.model, GUEST_NET_PCNET);
	assert_memory_equal(net.mac, "\x02\0\0\xab\xcd\xef", 6);
	assert_int_equal(net.forwards, 2);
	assert_false(net.forward[0].udp);
	assert_int_equal(net.forward[0].address, 0x7f000001);
	assert_int_equal(net.forward[0].host_port, 8080);
	assert_int_equal(net.forward[0].guest_port, 80);
	assert_true(net.forward[1].udp);
	assert_int_equal(net.forward[1].address, 0x0a010203);
	assert_int_equal(net.forward[1].guest_port, 5353);
	assert_true(guest_net_read("model=pcnet,switch=lab-1", &net, NULL));
	assert_int_equal(net.kind, GUEST_NET_SWITCH);
	assert_string_equal(net.name, "lab-1");
	assert_true(guest_net_read("tap=tap0", &net, NULL));
	assert_string_equal(net.name, "tap0");
}

static void makes_addresses(void **state)
{
	uint8_t one[6], same[6], other[6];
	(void)state;
	guest_net_make_mac("web", 0, one);
	guest_net_make_mac("web", 0, same);
	assert_memory_equal(one, same, 6);
	guest_net_make_mac("web", 1, other);
	assert_memory_not_equal(one, other, 6);
	guest_net_make_mac("wea", 0, other);
	assert_memory_not_equal(one, other, 6);
	assert_int_equal(one[0], 2); /* one station, locally administered */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_networks),
	    cmocka_unit_test(makes_addresses),
	    cmocka_unit_test(reads_every_kind_in_both_spellings),
	    cmocka_unit_test(a_flag_can_be_turned_off_again),
	    cmocka_unit_test(fills_in_defaults),
	    cmocka_unit_test(takes_words_as_values_whatever_they_look_like),
	    cmocka_unit_test(refuses_bad_words),
	    cmocka_unit_test(letters_stand_for_options),
	    cmocka_unit_test(refuses_too_many_arguments),
	    cmocka_unit_test(help_wins),
	    cmocka_unit_test(help_names_every_option_but_hidden_ones),
	    cmocka_unit_test(guest_options_are_judged),
	    cmocka_unit_test(images_may_be_read_only),
	    cmocka_unit_test(disks_are_read),
	    cmocka_unit_test(boot_orders_are_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
