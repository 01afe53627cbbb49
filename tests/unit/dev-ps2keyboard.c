/* SPDX-License-Identifier: MIT */
/* The keyboard by itself: codes of all sets, queue and overrun, repeat, commands, names. */
#include <stdio.h>

#include "devices/ps2keyboard.h"
#include "rig.h"

#define MS UINT64_C(1000000)

struct fixture {
	struct rig rig;
	struct ps2keyboard *keyboard;
	struct ps2_device device;
	unsigned ready;
};

static void note_ready(void *opaque, int port)
{
	((struct fixture *)opaque)->ready += port == 7;
}

static void tell(struct fixture *f, uint8_t byte)
{
	f->device.receive(f->device.opaque, byte);
}

/* Everything it has to say, as hexadecimal text. */
static const char *said(struct fixture *f)
{
	static char text[256];
	uint8_t byte;
	text[0] = 0;
	while (f->device.transmit(f->device.opaque, &byte))
		(void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s%02x", text[0] ? " " : "", byte);
	return text;
}

static void key(struct fixture *f, const char *name, bool down)
{
	int row = ps2keyboard_find_name(name);
	assert_true(row >= 0);
	ps2keyboard_key(f->keyboard, (unsigned)row, down);
}

static const char *stroke(struct fixture *f, const char *name)
{
	key(f, name, true);
	key(f, name, false);
	return said(f);
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	const struct ps2_port port = {note_ready, f, 7};
	f->keyboard = ps2keyboard_create(&f->rig.clock, &port, NULL);
	f->device = ps2keyboard_device(f->keyboard);
	assert_string_equal(said(f), "");
	clock_advance(&f->rig.clock, 20 * MS);
	assert_string_equal(said(f), "aa");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	ps2keyboard_destroy(f->keyboard);
	assert_null(f->rig.clock.timers);
	test_free(f);
	return 0;
}

static void codes_of_set_2(void **state)
{
	struct fixture *f = *state;
	assert_string_equal(stroke(f, "a"), "1c f0 1c");
	assert_string_equal(stroke(f, "f7"), "83 f0 83");
	assert_string_equal(stroke(f, "delete"), "e0 71 e0 f0 71");
	assert_string_equal(stroke(f, "print"), "e0 12 e0 7c e0 f0 7c e0 f0 12");
	assert_string_equal(stroke(f, "pause"), "e1 14 77 e1 f0 14 f0 77");
	key(f, "ctrl", true);
	assert_string_equal(said(f), "14");
	assert_string_equal(stroke(f, "pause"), "e0 7e e0 f0 7e");
	assert_string_equal(stroke(f, "print"), "e0 7c e0 f0 7c");
	key(f, "rightalt", true);
	assert_string_equal(said(f), "e0 11");
	assert_string_equal(stroke(f, "print"), "84 f0 84");
	key(f, "ctrl", true); /* is down already */
	assert_string_equal(said(f), "");
	ps2keyboard_key(f->keyboard, ps2_key_count, true); /* no such key */
	assert_string_equal(said(f), "");
}

static void codes_of_sets_1_and_3(void **state)
{
	struct fixture *f = *state;
	tell(f, 0xf0);
	assert_string_equal(said(f), "fa");
	tell(f, 1);
	assert_string_equal(said(f), "fa");
	assert_string_equal(stroke(f, "a"), "1e 9e");
	assert_string_equal(stroke(f, "delete"), "e0 53 e0 d3");
	assert_string_equal(stroke(f, "print"), "e0 2a e0 37 e0 b7 e0 aa");
	assert_string_equal(stroke(f, "pause"), "e1 1d 45 e1 9d c5");
	tell(f, 0xf0);
	tell(f, 3);
	(void)said(f);
	tell(f, 0xf0);
	tell(f, 0);
	assert_string_equal(said(f), "fa 03");
	assert_string_equal(stroke(f, "delete"), "64 f0 64");
	tell(f, 0xf9); /* all keys make only */
	(void)said(f);
	assert_string_equal(stroke(f, "pause"), "62");
	tell(f, 0xf0);
	tell(f, 4);
	assert_string_equal(said(f), "fe");
}

static void queue_overruns_once(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 5; i++) {
		key(f, "b", true);
		key(f, "b", false);
	}
	key(f, "a", true); /* the sixteenth byte */
	key(f, "a", false);
	key(f, "c", true);
	assert_string_equal(said(f), "32 f0 32 32 f0 32 32 f0 32 32 f0 32 32 f0 32 1c 00");
	assert_true(ps2keyboard_is_idle(f->keyboard));
	assert_string_equal(stroke(f, "d"), "23 f0 23");
	for (unsigned round = 0; round < 40; round++) /* the ring goes round */
		assert_string_equal(stroke(f, "up"), "e0 75 e0 f0 75");
}

static void held_keys_repeat_on_the_clock(void **state)
{
	struct fixture *f = *state;
	key(f, "a", true);
	assert_string_equal(said(f), "1c");
	clock_advance(&f->rig.clock, 499 * MS);
	assert_string_equal(said(f), "");
	clock_advance(&f->rig.clock, 1 * MS);
	assert_string_equal(said(f), "1c");
	clock_advance(&f->rig.clock, 92 * MS); /* (8 + 3) * 2 / 240 s = 91.67 ms */
	assert_string_equal(said(f), "1c");
	clock_advance(&f->rig.clock, 1000 * MS); /* nobody listens: one repeat waits, no overrun */
	assert_string_equal(said(f), "1c");
	key(f, "b", true);
	assert_string_equal(said(f), "32");
	key(f, "a", false); /* not the key that repeats */
	assert_string_equal(said(f), "f0 1c");
	clock_advance(&f->rig.clock, 500 * MS);
	assert_string_equal(said(f), "32");
	key(f, "b", false);
	(void)said(f);
	clock_advance(&f->rig.clock, 2000 * MS);
	assert_string_equal(said(f), "");
	tell(f, 0xf3);
	tell(f, 0x00); /* 250 ms, 30 a second */
	(void)said(f);
	key(f, "a", true);
	(void)said(f);
	clock_advance(&f->rig.clock, 250 * MS);
	assert_string_equal(said(f), "1c");
	clock_advance(&f->rig.clock, 34 * MS);
	assert_string_equal(said(f), "1c");
	key(f, "pause", true); /* never repeats, but ends the other's repeat only on its release */
	key(f, "a", false);
	(void)said(f);
	clock_advance(&f->rig.clock, 1000 * MS);
	assert_string_equal(said(f), "");
}

static void commands_are_answered(void **state)
{
	struct fixture *f = *state;
	tell(f, 0xf2);
	assert_string_equal(said(f), "fa ab 83");
	tell(f, 0xfe);
	assert_string_equal(said(f), "83"); /* resend: the last byte */
	tell(f, 0xee);
	assert_string_equal(said(f), "ee");
	tell(f, 0xed);
	key(f, "a", true); /* waits for the parameter */
	assert_string_equal(said(f), "fa");
	tell(f, 0xff & 0x02);
	assert_string_equal(said(f), "fa 1c");
	assert_int_equal(ps2keyboard_leds(f->keyboard), PS2_LED_NUM);
	tell(f, 0xed);
	tell(f, 0xf4); /* a command in place of the parameter */
	assert_string_equal(said(f), "fa");
	assert_int_equal(ps2keyboard_leds(f->keyboard), PS2_LED_NUM);
	tell(f, 0x12);
	assert_string_equal(said(f), "fe");
	tell(f, 0xf5);
	assert_string_equal(said(f), "fa");
	assert_string_equal(stroke(f, "b"), "");
	tell(f, 0xf4);
	assert_string_equal(said(f), "fa");
	assert_string_equal(stroke(f, "b"), "32 f0 32");
	tell(f, 0xfb);
	tell(f, 0x1c);
	tell(f, 0x32);
	assert_string_equal(said(f), "fa");
	unsigned before = f->ready;
	tell(f, 0xff);
	assert_int_equal(f->ready, before + 1);
	assert_string_equal(said(f), "fa");
	assert_int_equal(ps2keyboard_leds(f->keyboard), 0);
	clock_advance(&f->rig.clock, 20 * MS);
	assert_string_equal(said(f), "aa");
}

static void names_and_characters(void **state)
{
	(void)state;
	uint8_t keys[PS2_CHORD_MAX];
	struct error error;
	bool shift;
	assert_int_equal(ps2keyboard_parse_chord("ctrl-alt-delete", keys, &error), 3);
	assert_string_equal(ps2_keys[keys[0]].name, "ctrl");
	assert_string_equal(ps2_keys[keys[2]].name, "delete");
	assert_int_equal(ps2keyboard_parse_chord("return", keys, &error), 1);
	assert_string_equal(ps2_keys[keys[0]].name, "enter");
	assert_int_equal(ps2keyboard_parse_chord("ctrl-hyper", keys, &error), 0);
	assert_string_equal(error.text, "there is no key \"hyper\" in \"ctrl-hyper\"");
	assert_int_equal(ps2keyboard_parse_chord("", keys, &error), 0);
	assert_int_equal(ps2keyboard_parse_chord("a-", keys, &error), 0);
	assert_int_equal(ps2keyboard_parse_chord("a-b-c-d-e-f-g-h-i", keys, &error), 0);
	assert_int_equal(ps2keyboard_parse_chord("a-very-long-name-that-is-no-key-at-all", keys, &error), 0);
	for (int c = ' '; c < 0x7f; c++) { /* every printable character has a key */
		int row = ps2keyboard_find_character((char)c, &shift);
		assert_true(row >= 0);
		assert_int_equal(shift ? ps2_keys[row].shifted : ps2_keys[row].plain, c);
	}
	assert_int_equal(ps2keyboard_find_character('\n', &shift), ps2keyboard_find_name("enter"));
	assert_int_equal(ps2keyboard_find_character(0, &shift), -1);
	assert_int_equal(ps2keyboard_find_character((char)0xe4, &shift), -1);
	for (unsigned i = 0; i < ps2_key_count; i++) /* no two keys share a name or a code */
		for (unsigned j = 0; j < i; j++) {
			assert_string_not_equal(ps2_keys[i].name, ps2_keys[j].name);
			assert_true(ps2_keys[i].special || ps2_keys[i].set2 != ps2_keys[j].set2);
			assert_true(ps2_keys[i].special || ps2_keys[i].set1 != ps2_keys[j].set1);
			assert_int_not_equal(ps2_keys[i].set3, ps2_keys[j].set3);
		}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(codes_of_set_2),	 TEST(codes_of_sets_1_and_3),
	    TEST(queue_overruns_once),	 TEST(held_keys_repeat_on_the_clock),
	    TEST(commands_are_answered), TEST(names_and_characters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
