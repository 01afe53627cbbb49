/* SPDX-License-Identifier: MIT */
/* The keyboard controller with and without devices on its ports, port 92h, debug exit and debug console. */
#include "devices/debugexit.h"
#include "devices/i8042.h"
#include "devices/port92.h"
#include "devices/ps2keyboard.h"
#include "rig.h"

struct fixture {
	struct rig rig;
	struct i8042 *i8042;
	struct probe irq[2]; /* keyboard, auxiliary */
	unsigned resets;
	uint32_t exit_value;
	char console[8];
	unsigned console_count;
	struct ps2_port port[I8042_PORTS];
	struct plug {
		uint8_t say[16], heard;
		unsigned count, taken;
	} plug[I8042_PORTS];
	bool a20;
};

static void count_reset(void *opaque)
{
	((struct fixture *)opaque)->resets++;
}

static void note_a20(void *opaque, bool on)
{
	((struct fixture *)opaque)->a20 = on;
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	const struct i8042_config config = {.keyboard_irq = probe_line(f->irq, 0),
					    .auxiliary_irq = probe_line(f->irq, 1),
					    .reset = count_reset,
					    .reset_opaque = f,
					    .a20 = note_a20,
					    .a20_opaque = f,
					    .clock = &f->rig.clock};
	f->i8042 = i8042_create(&config, NULL);
	assert_true(i8042_map(f->i8042, &f->rig.ports, NULL));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	i8042_destroy(f->i8042);
	assert_null(f->rig.clock.timers);
	test_free(f);
	return 0;
}

static unsigned command(struct fixture *f, unsigned value)
{
	out8(&f->rig, 0x64, value);
	assert_int_equal(in8(&f->rig, 0x64) & 1, 1);
	return in8(&f->rig, 0x60);
}

static void self_and_port_tests_pass(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(in8(&f->rig, 0x64), 0x10);
	assert_int_equal(command(f, 0xaa), 0x55);
	assert_int_equal(in8(&f->rig, 0x64) & 0x05, 0x04); /* system flag, nothing in the buffer */
	assert_int_equal(command(f, 0xab), 0x00);
	assert_int_equal(command(f, 0xa9), 0x00);
	assert_int_equal(command(f, 0xc0), 0x80);
}

static void command_byte_and_ram(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 1; i < 32; i++) {
		out8(&f->rig, 0x64, 0x60 + i);
		out8(&f->rig, 0x60, 0xa0 + i);
	}
	for (unsigned i = 1; i < 32; i++)
		assert_int_equal(command(f, 0x20 + i), 0xa0 + i);
	out8(&f->rig, 0x64, 0x60);
	out8(&f->rig, 0x60, 0x47);
	assert_int_equal(command(f, 0x20), 0x47);
	out8(&f->rig, 0x64, 0xad);
	out8(&f->rig, 0x64, 0xa7);
	assert_int_equal(command(f, 0x20), 0x77);
	out8(&f->rig, 0x64, 0xae);
	out8(&f->rig, 0x64, 0xa8);
	assert_int_equal(command(f, 0x20), 0x47);
}

static void nobody_answers_on_the_ports(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, 0x64, 0x60);
	out8(&f->rig, 0x60, 0x03);
	out8(&f->rig, 0x60, 0xf2); /* identify: no keyboard */
	assert_int_equal(in8(&f->rig, 0x64) & 0x61, 0x41);
	assert_true(f->irq[0].level);
	assert_int_equal(in8(&f->rig, 0x60), 0xfe);
	assert_false(f->irq[0].level);
	assert_int_equal(in8(&f->rig, 0x64) & 0x61, 0);
	out8(&f->rig, 0x64, 0xd4);
	out8(&f->rig, 0x60, 0xf2); /* nor a mouse */
	assert_int_equal(in8(&f->rig, 0x64) & 0x61, 0x61);
	assert_true(f->irq[1].level && !f->irq[0].level);
	assert_int_equal(in8(&f->rig, 0x60), 0xfe);
	out8(&f->rig, 0x64, 0xd3); /* loops */
	out8(&f->rig, 0x60, 0x5a);
	assert_int_equal(in8(&f->rig, 0x64) & 0x61, 0x21);
	assert_int_equal(in8(&f->rig, 0x60), 0x5a);
	out8(&f->rig, 0x64, 0xd2);
	out8(&f->rig, 0x60, 0xa5);
	assert_int_equal(in8(&f->rig, 0x64) & 0x61, 0x01);
	i8042_reset(f->i8042);
	assert_false(f->irq[0].level);
}

static void output_port_a20_and_reset(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(command(f, 0xd0), 0x03);
	out8(&f->rig, 0x64, 0xdd);
	assert_int_equal(command(f, 0xd0), 0x01);
	out8(&f->rig, 0x64, 0xdf);
	assert_int_equal(command(f, 0xd0), 0x03);
	out8(&f->rig, 0x64, 0xd1);
	out8(&f->rig, 0x60, 0xdd);
	assert_int_equal(command(f, 0xd0), 0x01);
	out8(&f->rig, 0x64, 0xff); /* pulses nothing */
	assert_int_equal(f->resets, 0);
	out8(&f->rig, 0x64, 0xfe);
	assert_int_equal(f->resets, 1);
	out8(&f->rig, 0x64, 0xd1);
	out8(&f->rig, 0x60, 0x02);
	assert_int_equal(f->resets, 2);
	assert_int_equal(command(f, 0xd0), 0x03);
}

static void reset_forgets(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, 0x64, 0x60);
	out8(&f->rig, 0x60, 0x03);
	assert_false(f->irq[1].level || f->irq[0].level); /* enabled, but nothing there */
	out8(&f->rig, 0x64, 0xd2);
	out8(&f->rig, 0x60, 0x11);
	assert_true(f->irq[0].level && !f->irq[1].level);
	assert_int_equal(in8(&f->rig, 0x64), 0x11);
	out8(&f->rig, 0x64, 0xd0);
	assert_int_equal(in8(&f->rig, 0x60), 0x13); /* the buffer was full then */
	out8(&f->rig, 0x64, 0x61);
	out8(&f->rig, 0x60, 0x77);
	out8(&f->rig, 0x64, 0xd2);
	out8(&f->rig, 0x60, 0x11);
	out8(&f->rig, 0x64, 0x61); /* waits for its parameter */
	i8042_reset(f->i8042);
	assert_false(f->irq[0].level);
	assert_int_equal(in8(&f->rig, 0x64), 0x10);
	assert_int_equal(in8(&f->rig, 0x60), 0);
	out8(&f->rig, 0x60, 0x22); /* for the keyboard that is not there */
	assert_int_equal(in8(&f->rig, 0x60), 0xfe);
	assert_int_equal(command(f, 0x21), 0);
	assert_int_equal(command(f, 0x20), 0x30);
	out8(&f->rig, 0x64, 0x61);
	out8(&f->rig, 0x64, 0xa8); /* another command takes its place */
	out8(&f->rig, 0x60, 0x22);
	assert_int_equal(in8(&f->rig, 0x60), 0xfe);
	assert_int_equal(command(f, 0x21), 0);
}

static void port92_keeps_a20_and_resets_on_the_edge(void **state)
{
	struct fixture *f = *state;
	struct port92 port92;
	port92_init(&port92, count_reset, f);
	assert_true(port92_map(&port92, &f->rig.ports, NULL));
	assert_int_equal(in8(&f->rig, 0x92), 0x02);
	out8(&f->rig, 0x92, 0x00);
	assert_int_equal(in8(&f->rig, 0x92), 0x00);
	out8(&f->rig, 0x92, 0x03);
	out8(&f->rig, 0x92, 0x03);
	assert_int_equal(f->resets, 1);
	out8(&f->rig, 0x92, 0x02);
	out8(&f->rig, 0x92, 0x01);
	assert_int_equal(f->resets, 2);
	port92_reset(&port92);
	assert_int_equal(in8(&f->rig, 0x92), 0x02);
}

static void note_exit(void *opaque, uint32_t value)
{
	((struct fixture *)opaque)->exit_value = value;
}

static void note_character(void *opaque, uint8_t character)
{
	struct fixture *f = opaque;
	f->console[f->console_count++] = (char)character;
}

static void debug_exit_and_console(void **state)
{
	struct fixture *f = *state;
	struct debugexit debugexit = {note_exit, f};
	struct debugcon debugcon = {note_character, f};
	assert_true(debugexit_map(&debugexit, &f->rig.ports, 0x501, NULL));
	assert_true(debugcon_map(&debugcon, &f->rig.ports, DEBUGCON_PORT, NULL));
	assert_true(debugcon_map(&debugcon, &f->rig.ports, DEBUGCON_FIRMWARE_PORT, NULL));
	io_write(&f->rig.ports, 0x501, 4, 0x12345678);
	assert_int_equal(f->exit_value, 0x12345678);
	out8(&f->rig, 0x501, 0x42);
	assert_int_equal(f->exit_value, 0x42);
	assert_int_equal(in8(&f->rig, 0x501), 0);
	assert_int_equal(in8(&f->rig, 0xe9), 0xe9);
	out8(&f->rig, 0xe9, 'o');
	out8(&f->rig, 0xe9, 'k');
	assert_string_equal(f->console, "ok");
	assert_int_equal(in8(&f->rig, 0x402), 0xe9);
	f->console_count = 0;
	out8(&f->rig, 0x402, 'O');
	out8(&f->rig, 0x402, 'K');
	assert_string_equal(f->console, "OK");
}

/* ---- with devices attached ---- */

#define BYTE_TIME UINT64_C(660000)

static void plug_receive(void *opaque, uint8_t byte)
{
	((struct plug *)opaque)->heard = byte;
}

static bool plug_has_byte(void *opaque)
{
	const struct plug *plug = opaque;
	return plug->taken < plug->count;
}

static bool plug_transmit(void *opaque, uint8_t *byte)
{
	struct plug *plug = opaque;
	if (plug->taken == plug->count)
		return false;
	*byte = plug->say[plug->taken++];
	return true;
}

static void say(struct fixture *f, enum i8042_port port, const char *bytes)
{
	struct plug *plug = &f->plug[port];
	plug->count = (unsigned)strlen(bytes);
	plug->taken = 0;
	memcpy(plug->say, bytes, plug->count);
	ps2_ready(&f->port[port]);
}

static void attach_both(struct fixture *f, unsigned mode)
{
	for (unsigned i = 0; i < I8042_PORTS; i++) {
		const struct ps2_device device = {plug_receive, plug_transmit, plug_has_byte, &f->plug[i]};
		f->port[i] = i8042_port(f->i8042, i);
		i8042_attach(f->i8042, i, &device);
	}
	out8(&f->rig, 0x64, 0x60);
	out8(&f->rig, 0x60, mode);
}

static void bytes_come_at_the_pace_of_the_wire(void **state)
{
	struct fixture *f = *state;
	attach_both(f, 0x03);
	say(f, I8042_KEYBOARD, "\x1c\xf0");
	clock_advance(&f->rig.clock, BYTE_TIME - 1);
	assert_int_equal(in8(&f->rig, 0x64) & 0x21, 0);
	clock_advance(&f->rig.clock, 1);
	assert_true(f->irq[0].level);
	assert_int_equal(in8(&f->rig, 0x60), 0x1c);
	assert_false(f->irq[0].level);
	assert_int_equal(in8(&f->rig, 0x60), 0x1c); /* a second reader sees the same byte */
	clock_advance(&f->rig.clock, 100 * BYTE_TIME);
	assert_int_equal(f->irq[0].rises, 2); /* one byte, one interrupt */
	assert_int_equal(in8(&f->rig, 0x60), 0xf0);
	say(f, I8042_AUXILIARY, "\x08");
	clock_advance(&f->rig.clock, BYTE_TIME);
	assert_int_equal(in8(&f->rig, 0x64) & 0x21, 0x21);
	assert_true(f->irq[1].level && !f->irq[0].level);
	assert_int_equal(in8(&f->rig, 0x60), 0x08);
}

static void both_ports_take_turns(void **state)
{
	struct fixture *f = *state;
	attach_both(f, 0x03);
	say(f, I8042_KEYBOARD, "ab");
	say(f, I8042_AUXILIARY, "12");
	char order[5] = "";
	for (unsigned i = 0; i < 4; i++) {
		clock_advance(&f->rig.clock, BYTE_TIME);
		order[i] = (char)in8(&f->rig, 0x60);
	}
	assert_string_equal(order, "a1b2");
}

static void set_2_is_translated_to_set_1(void **state)
{
	struct fixture *f = *state;
	static const uint8_t expected[] = {0x1e, 0x9e, 0xe0, 0xd3, 0x41, 0xfa};
	attach_both(f, 0x43);
	say(f, I8042_KEYBOARD, "\x1c\xf0\x1c\xe0\xf0\x71\x83\xfa");
	for (unsigned i = 0; i < sizeof expected; i++) {
		while (!(in8(&f->rig, 0x64) & 1))
			clock_advance(&f->rig.clock, BYTE_TIME);
		if (i == 2) { /* E0 resets nothing: the prefix of a break code comes after it */
			assert_int_equal(in8(&f->rig, 0x60), 0xe0);
			continue;
		}
		assert_int_equal(in8(&f->rig, 0x60), expected[i]);
	}
	say(f, I8042_AUXILIARY, "\x1c"); /* the mouse is never translated */
	clock_advance(&f->rig.clock, BYTE_TIME);
	assert_int_equal(in8(&f->rig, 0x60), 0x1c);
}

/* The keyboard's own set 1 and the controller's translation of set 2 are the same codes. */
static void every_key_translates(void **state)
{
	struct fixture *f = *state;
	attach_both(f, 0x43);
	for (unsigned i = 0; i < ps2_key_count; i++) {
		const char code[2] = {(char)ps2_keys[i].set2, 0};
		if (ps2_keys[i].special)
			continue;
		say(f, I8042_KEYBOARD, code);
		clock_advance(&f->rig.clock, BYTE_TIME);
		assert_int_equal(in8(&f->rig, 0x60), ps2_keys[i].set1 & 0xff);
	}
}

static void disabled_ports_hold_their_bytes(void **state)
{
	struct fixture *f = *state;
	attach_both(f, 0x33);
	say(f, I8042_KEYBOARD, "a");
	say(f, I8042_AUXILIARY, "1");
	clock_advance(&f->rig.clock, 10 * BYTE_TIME);
	assert_int_equal(in8(&f->rig, 0x64) & 1, 0);
	assert_int_equal(command(f, 0xe0), 0);
	out8(&f->rig, 0x64, 0xa8);
	clock_advance(&f->rig.clock, BYTE_TIME);
	assert_int_equal(in8(&f->rig, 0x60), '1');
	out8(&f->rig, 0x60, 0xf4); /* a byte for the keyboard enables it */
	assert_int_equal(f->plug[I8042_KEYBOARD].heard, 0xf4);
	clock_advance(&f->rig.clock, BYTE_TIME);
	assert_int_equal(in8(&f->rig, 0x60), 'a');
	out8(&f->rig, 0x64, 0xd4);
	out8(&f->rig, 0x60, 0xf2);
	assert_int_equal(f->plug[I8042_AUXILIARY].heard, 0xf2);
	assert_int_equal(in8(&f->rig, 0x64) & 0x41, 0); /* no time-out */
	assert_int_equal(command(f, 0x20), 0x03);
	assert_int_equal(command(f, 0xe0), 3);
}

static void answers_overtake_but_lose_nothing(void **state)
{
	struct fixture *f = *state;
	attach_both(f, 0x03);
	say(f, I8042_AUXILIARY, "1");
	clock_advance(&f->rig.clock, BYTE_TIME);
	assert_int_equal(command(f, 0x20), 0x03);
	assert_int_equal(in8(&f->rig, 0x64) & 0x21, 0x21);
	assert_true(f->irq[1].level && !f->irq[0].level);
	assert_int_equal(in8(&f->rig, 0x60), '1');
	assert_int_equal(command(f, 0xa4), 0xf1);
	say(f, I8042_KEYBOARD, "ab");
	clock_advance(&f->rig.clock, BYTE_TIME);
	i8042_reset(f->i8042);
	assert_int_equal(in8(&f->rig, 0x64) & 1, 0);
}

static void a20_is_told(void **state)
{
	struct fixture *f = *state;
	assert_true(f->a20);
	out8(&f->rig, 0x64, 0xdd);
	assert_false(f->a20);
	out8(&f->rig, 0x64, 0xd1);
	out8(&f->rig, 0x60, 0xdf);
	assert_true(f->a20);
	out8(&f->rig, 0x64, 0xdd);
	i8042_reset(f->i8042);
	assert_true(f->a20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(self_and_port_tests_pass),
	    TEST(command_byte_and_ram),
	    TEST(nobody_answers_on_the_ports),
	    TEST(output_port_a20_and_reset),
	    TEST(reset_forgets),
	    TEST(port92_keeps_a20_and_resets_on_the_edge),
	    TEST(debug_exit_and_console),
	    TEST(bytes_come_at_the_pace_of_the_wire),
	    TEST(both_ports_take_turns),
	    TEST(set_2_is_translated_to_set_1),
	    TEST(disabled_ports_hold_their_bytes),
	    TEST(answers_overtake_but_lose_nothing),
	    TEST(a20_is_told),
	    TEST(every_key_translates),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
