/* SPDX-License-Identifier: MIT */
/* The mouse by itself: packets, wheel, modes, rates, commands. */
#include <limits.h>
#include <stdio.h>

#include "devices/ps2mouse.h"
#include "rig.h"

#define MS UINT64_C(1000000)

struct fixture {
	struct rig rig;
	struct ps2mouse *mouse;
	struct ps2_device device;
};

static void tell(struct fixture *f, uint8_t byte)
{
	f->device.receive(f->device.opaque, byte);
}

static const char *said(struct fixture *f)
{
	static char text[256];
	uint8_t byte;
	text[0] = 0;
	while (f->device.transmit(f->device.opaque, &byte))
		(void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s%02x", text[0] ? " " : "", byte);
	return text;
}

static const char *ask(struct fixture *f, uint8_t byte)
{
	tell(f, byte);
	return said(f);
}

static const char *later(struct fixture *f, uint64_t ms)
{
	clock_advance(&f->rig.clock, ms * MS);
	return said(f);
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	f->mouse = ps2mouse_create(&f->rig.clock, &(const struct ps2_port){0}, NULL);
	f->device = ps2mouse_device(f->mouse);
	assert_string_equal(said(f), "");
	assert_string_equal(later(f, 20), "aa 00");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	ps2mouse_destroy(f->mouse);
	assert_null(f->rig.clock.timers);
	test_free(f);
	return 0;
}

static void set_rate(struct fixture *f, uint8_t rate)
{
	assert_string_equal(ask(f, 0xf3), "fa");
	assert_string_equal(ask(f, rate), "fa");
}

static void stream_mode_samples_on_the_clock(void **state)
{
	struct fixture *f = *state;
	ps2mouse_move(f->mouse, 5, 5, 0); /* not enabled: forgotten */
	assert_string_equal(later(f, 100), "");
	assert_string_equal(ask(f, 0xf4), "fa");
	assert_string_equal(later(f, 100), "");
	ps2mouse_move(f->mouse, 3, 0, 0);
	ps2mouse_move(f->mouse, 2, 4, 0); /* down is negative on the wire */
	assert_string_equal(later(f, 9), "");
	assert_string_equal(later(f, 1), "28 05 fc");
	ps2mouse_buttons(f->mouse, 0xf8 | PS2_BUTTON_LEFT | PS2_BUTTON_MIDDLE);
	assert_string_equal(later(f, 10), "0d 00 00");
	ps2mouse_move(f->mouse, 0, 0, 1); /* no wheel yet */
	assert_string_equal(later(f, 10), "");
	ps2mouse_move(f->mouse, -300, 0, 0); /* more than one packet holds */
	assert_string_equal(later(f, 10), "1d 01 00");
	assert_string_equal(later(f, 10), "1d d3 00");
	ps2mouse_move(f->mouse, 1, 0, 0);
	clock_advance(&f->rig.clock, 10 * MS);
	ps2mouse_move(f->mouse, 1, 0, 0);
	clock_advance(&f->rig.clock, 1000 * MS); /* the host does not listen: motion adds up */
	ps2mouse_move(f->mouse, 1, 0, 0);
	assert_string_equal(said(f), "0d 01 00");
	assert_string_equal(later(f, 10), "0d 02 00");
	ps2mouse_move(f->mouse, INT_MIN, INT_MIN, INT_MIN);
	ps2mouse_move(f->mouse, INT_MAX, INT_MAX, INT_MAX);
	assert_string_equal(later(f, 10), "");
}

static void wheel_after_200_100_80(void **state)
{
	struct fixture *f = *state;
	assert_string_equal(ask(f, 0xf2), "fa 00");
	set_rate(f, 200);
	set_rate(f, 200);
	set_rate(f, 80);
	assert_string_equal(ask(f, 0xf2), "fa 00");
	set_rate(f, 200);
	set_rate(f, 100);
	set_rate(f, 80);
	assert_string_equal(ask(f, 0xf2), "fa 03");
	assert_string_equal(ask(f, 0xf4), "fa");
	ps2mouse_move(f->mouse, 0, 0, -1);
	assert_string_equal(later(f, 13), "08 00 00 ff");
	ps2mouse_move(f->mouse, 0, 0, 9);
	assert_string_equal(later(f, 13), "08 00 00 07");
	assert_string_equal(later(f, 13), "08 00 00 02");
	assert_string_equal(ask(f, 0xff), "fa");
	assert_string_equal(later(f, 20), "aa 00");
	assert_string_equal(ask(f, 0xf2), "fa 00");
}

static void remote_mode_and_status(void **state)
{
	struct fixture *f = *state;
	assert_string_equal(ask(f, 0xe9), "fa 00 02 64");
	assert_string_equal(ask(f, 0xf0), "fa");
	ps2mouse_move(f->mouse, 7, -2, 0);
	ps2mouse_buttons(f->mouse, PS2_BUTTON_RIGHT);
	assert_string_equal(later(f, 100), "");
	assert_string_equal(ask(f, 0xeb), "fa 0a 07 02");
	assert_string_equal(ask(f, 0xeb), "fa 0a 00 00");
	assert_string_equal(ask(f, 0xe7), "fa");
	assert_string_equal(ask(f, 0xe8), "fa");
	assert_string_equal(ask(f, 3), "fa");
	set_rate(f, 40);
	assert_string_equal(ask(f, 0xf4), "fa");
	assert_string_equal(ask(f, 0xe9), "fa 71 03 28");
	assert_string_equal(ask(f, 0xea), "fa");
	ps2mouse_move(f->mouse, 5, 20, 0); /* scaled 2:1 in stream mode */
	assert_string_equal(later(f, 25), "2a 09 d8");
	assert_string_equal(ask(f, 0xfe), "2a 09 d8");
	assert_string_equal(ask(f, 0xf6), "fa");
	assert_string_equal(ask(f, 0xe9), "fa 01 02 64");
}

static void wrap_mode_and_errors(void **state)
{
	struct fixture *f = *state;
	assert_string_equal(ask(f, 0xfe), "aa 00"); /* nothing was sent yet but the self test */
	assert_string_equal(ask(f, 0xee), "fa");
	assert_string_equal(ask(f, 0xf2), "f2");
	assert_string_equal(ask(f, 0x12), "12");
	assert_string_equal(ask(f, 0xec), "fa");
	assert_string_equal(ask(f, 0x12), "fe");
	assert_string_equal(ask(f, 0x12), "fc");
	assert_string_equal(ask(f, 0xf2), "fa 00");
	assert_string_equal(ask(f, 0xf3), "fa");
	assert_string_equal(ask(f, 0), "fe"); /* not a rate; the next may be one */
	assert_string_equal(ask(f, 10), "fa");
	assert_string_equal(ask(f, 0xe8), "fa");
	assert_string_equal(ask(f, 4), "fe");
	assert_string_equal(ask(f, 4), "fc");
	assert_string_equal(ask(f, 1), "fe");
	assert_string_equal(ask(f, 0xe9), "fa 00 02 0a");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(stream_mode_samples_on_the_clock),
	    TEST(wheel_after_200_100_80),
	    TEST(remote_mode_and_status),
	    TEST(wrap_mode_and_errors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
