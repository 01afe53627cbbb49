/* SPDX-License-Identifier: MIT */
/* The keyboard controller without a keyboard, port 92h, debug exit and debug console. */
#include "devices/debugexit.h"
#include "devices/i8042.h"
#include "devices/port92.h"
#include "rig.h"

struct fixture {
	struct rig rig;
	struct i8042 *i8042;
	struct probe irq[2]; /* keyboard, auxiliary */
	unsigned resets;
	uint32_t exit_value;
	char console[8];
	unsigned console_count;
};

static void count_reset(void *opaque)
{
	((struct fixture *)opaque)->resets++;
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	const struct i8042_config config = {.keyboard_irq = probe_line(f->irq, 0),
					    .auxiliary_irq = probe_line(f->irq, 1),
					    .reset = count_reset,
					    .reset_opaque = f};
	f->i8042 = i8042_create(&config, NULL);
	assert_true(i8042_map(f->i8042, &f->rig.ports, NULL));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	i8042_destroy(f->i8042);
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
	assert_true(debugcon_map(&debugcon, &f->rig.ports, NULL));
	io_write(&f->rig.ports, 0x501, 4, 0x12345678);
	assert_int_equal(f->exit_value, 0x12345678);
	out8(&f->rig, 0x501, 0x42);
	assert_int_equal(f->exit_value, 0x42);
	assert_int_equal(in8(&f->rig, 0x501), 0);
	assert_int_equal(in8(&f->rig, 0xe9), 0xe9);
	out8(&f->rig, 0xe9, 'o');
	out8(&f->rig, 0xe9, 'k');
	assert_string_equal(f->console, "ok");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(self_and_port_tests_pass),  TEST(command_byte_and_ram), TEST(nobody_answers_on_the_ports),
	    TEST(output_port_a20_and_reset), TEST(reset_forgets),	 TEST(port92_keeps_a20_and_resets_on_the_edge),
	    TEST(debug_exit_and_console),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
