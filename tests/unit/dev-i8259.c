/* SPDX-License-Identifier: MIT */
/* The pair of 8259As: priorities, all commands, triggering, spurious interrupts. */
#include "devices/i8259.h"
#include "rig.h"

struct fixture {
	struct rig rig;
	struct i8259 *pic;
	struct probe intr;
};

/* ICW1-ICW4 to both: vectors 20h and 28h, cascade on 2. */
static void initialise(struct fixture *f, unsigned icw1, unsigned icw4)
{
	out8(&f->rig, 0x20, icw1);
	out8(&f->rig, 0x21, 0x20);
	if (!(icw1 & 2))
		out8(&f->rig, 0x21, 0x04);
	out8(&f->rig, 0x21, icw4);
	out8(&f->rig, 0xa0, icw1);
	out8(&f->rig, 0xa1, 0x28);
	if (!(icw1 & 2))
		out8(&f->rig, 0xa1, 0x02);
	out8(&f->rig, 0xa1, icw4);
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	struct irq_line line = probe_line(&f->intr, 0);
	f->pic = i8259_create(&line, NULL);
	assert_true(i8259_map(f->pic, &f->rig.ports, NULL));
	initialise(f, 0x11, 0x01);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	i8259_destroy(f->pic);
	test_free(f);
	return 0;
}

static void pulse(struct fixture *f, int irq)
{
	i8259_input(f->pic, irq, false);
	i8259_input(f->pic, irq, true);
}

static unsigned service(struct fixture *f, uint16_t port)
{
	out8(&f->rig, port, 0x0b);
	return in8(&f->rig, port);
}

static unsigned requests(struct fixture *f, uint16_t port)
{
	out8(&f->rig, port, 0x0a);
	return in8(&f->rig, port);
}

/* Each of the 15 inputs by itself, so that a mask made of a number instead of its bit shows. */
static void each_input_has_its_own_bit(void **state)
{
	struct fixture *f = *state;
	for (int irq = 0; irq < 16; irq++) {
		if (irq == 2)
			continue;
		uint16_t port = irq < 8 ? 0x20 : 0xa0;
		unsigned bit = 1u << (irq & 7);
		pulse(f, irq);
		assert_true(f->intr.level);
		assert_int_equal(requests(f, port), bit);
		out8(&f->rig, (uint16_t)(port + 1), bit); /* masked */
		assert_false(f->intr.level);
		out8(&f->rig, (uint16_t)(port + 1), 0xff & ~bit); /* everything else masked */
		assert_true(f->intr.level);
		assert_int_equal(i8259_acknowledge(f->pic), 0x20 + irq);
		assert_int_equal(service(f, port), bit);
		assert_int_equal(service(f, 0x20), irq < 8 ? bit : 4);
		assert_false(f->intr.level);
		out8(&f->rig, 0x20, 0x20);
		out8(&f->rig, 0xa0, 0x20);
		assert_int_equal(service(f, port), 0);
		out8(&f->rig, (uint16_t)(port + 1), 0);
		i8259_input(f->pic, irq, false);
	}
}

static void higher_priority_interrupts_lower(void **state)
{
	struct fixture *f = *state;
	pulse(f, 5);
	assert_int_equal(i8259_acknowledge(f->pic), 0x25);
	pulse(f, 6);
	assert_false(f->intr.level);
	pulse(f, 1);
	assert_true(f->intr.level);
	assert_int_equal(i8259_acknowledge(f->pic), 0x21);
	assert_int_equal(service(f, 0x20), 0x22);
	out8(&f->rig, 0x20, 0x20); /* non-specific: ends the highest, 1 */
	assert_int_equal(service(f, 0x20), 0x20);
	assert_false(f->intr.level);
	out8(&f->rig, 0x20, 0x65); /* specific: 5 */
	assert_true(f->intr.level);
	assert_int_equal(i8259_acknowledge(f->pic), 0x26);
}

static void slave_ranks_between_1_and_3(void **state)
{
	struct fixture *f = *state;
	pulse(f, 3);
	pulse(f, 12);
	pulse(f, 1);
	assert_int_equal(i8259_acknowledge(f->pic), 0x21);
	out8(&f->rig, 0x20, 0x20);
	assert_int_equal(i8259_acknowledge(f->pic), 0x2c);
	assert_false(f->intr.level);
	/* Without special fully nested mode a higher slave input waits for the master's EOI. */
	pulse(f, 8);
	assert_false(f->intr.level);
	out8(&f->rig, 0x20, 0x20);
	assert_int_equal(i8259_acknowledge(f->pic), 0x28);
}

static void special_fully_nested_mode_lets_the_slave_nest(void **state)
{
	struct fixture *f = *state;
	initialise(f, 0x11, 0x11);
	pulse(f, 12);
	assert_int_equal(i8259_acknowledge(f->pic), 0x2c);
	pulse(f, 8);
	assert_true(f->intr.level);
	assert_int_equal(i8259_acknowledge(f->pic), 0x28);
	pulse(f, 3);
	assert_false(f->intr.level); /* the cascade still blocks what is below it */
}

static void edge_needs_the_line_until_acknowledge(void **state)
{
	struct fixture *f = *state;
	i8259_input(f->pic, 4, true);
	assert_true(f->intr.level);
	i8259_input(f->pic, 4, false);
	assert_false(f->intr.level);
	assert_int_equal(i8259_acknowledge(f->pic), 0x27); /* spurious */
	assert_int_equal(service(f, 0x20), 0);
	/* One edge is one interrupt. */
	i8259_input(f->pic, 4, true);
	assert_int_equal(i8259_acknowledge(f->pic), 0x24);
	out8(&f->rig, 0x20, 0x20);
	assert_false(f->intr.level);
	i8259_input(f->pic, 4, true);
	assert_false(f->intr.level);
}

static void spurious_on_the_slave_leaves_the_cascade_in_service(void **state)
{
	struct fixture *f = *state;
	/* The master took the cascade's request, then the slave's went: the master must get an EOI. */
	i8259_set_level_triggered(f->pic, 0);
	pulse(f, 14);
	out8(&f->rig, 0x20, 0x0c); /* poll the master: acknowledges the cascade only */
	assert_int_equal(in8(&f->rig, 0x20), 0x82);
	i8259_input(f->pic, 14, false);
	assert_int_equal(service(f, 0x20), 0x04);
	out8(&f->rig, 0xa0, 0x0c);
	assert_int_equal(in8(&f->rig, 0xa0), 0); /* nothing there any more */
	out8(&f->rig, 0x20, 0x62);
	assert_int_equal(service(f, 0x20), 0);
}

static void elcr_makes_inputs_level_triggered(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, 0x4d0, 0xff);
	out8(&f->rig, 0x4d1, 0xff);
	assert_int_equal(in8(&f->rig, 0x4d0), 0xf8); /* 0, 1 and 2 are always edge */
	assert_int_equal(in8(&f->rig, 0x4d1), 0xde); /* 8 and 13 too */
	i8259_input(f->pic, 11, true);
	assert_int_equal(i8259_acknowledge(f->pic), 0x2b);
	out8(&f->rig, 0xa0, 0x20);
	out8(&f->rig, 0x20, 0x20);
	assert_true(f->intr.level); /* still high: again */
	assert_int_equal(i8259_acknowledge(f->pic), 0x2b);
	i8259_input(f->pic, 11, false);
	out8(&f->rig, 0xa0, 0x20);
	out8(&f->rig, 0x20, 0x20);
	assert_false(f->intr.level);
	i8259_set_level_triggered(f->pic, 0x0c28);
	assert_int_equal(in8(&f->rig, 0x4d0), 0x28);
	assert_int_equal(in8(&f->rig, 0x4d1), 0x0c);
	/* Two levels stand side by side; an input made level-triggered counts as it is. */
	i8259_input(f->pic, 10, true);
	i8259_input(f->pic, 11, true);
	assert_int_equal(requests(f, 0xa0), 0x0c);
	i8259_input(f->pic, 10, false);
	i8259_input(f->pic, 11, false);
	pulse(f, 14);
	(void)i8259_acknowledge(f->pic);
	out8(&f->rig, 0xa0, 0x20);
	out8(&f->rig, 0x20, 0x20);
	assert_false(f->intr.level);
	out8(&f->rig, 0x4d1, 0x40);
	assert_true(f->intr.level);
}

static void ltim_makes_all_inputs_level_triggered(void **state)
{
	struct fixture *f = *state;
	initialise(f, 0x19, 0x01);
	i8259_input(f->pic, 1, true);
	assert_int_equal(i8259_acknowledge(f->pic), 0x21);
	out8(&f->rig, 0x20, 0x20);
	assert_true(f->intr.level);
}

static void automatic_eoi_sets_nothing_in_service(void **state)
{
	struct fixture *f = *state;
	initialise(f, 0x11, 0x03);
	pulse(f, 3);
	assert_int_equal(i8259_acknowledge(f->pic), 0x23);
	assert_int_equal(service(f, 0x20), 0);
	/* Rotation in automatic EOI mode: 3 is now the lowest, so 4 goes first. */
	out8(&f->rig, 0x20, 0x80);
	pulse(f, 3);
	assert_int_equal(i8259_acknowledge(f->pic), 0x23);
	pulse(f, 1);
	pulse(f, 4);
	assert_int_equal(i8259_acknowledge(f->pic), 0x24);
	out8(&f->rig, 0x20, 0x00); /* off: 4 stays the lowest */
	assert_int_equal(i8259_acknowledge(f->pic), 0x21);
	pulse(f, 4);
	pulse(f, 3);
	assert_int_equal(i8259_acknowledge(f->pic), 0x23);
}

static void rotation_commands(void **state)
{
	struct fixture *f = *state;
	pulse(f, 3);
	assert_int_equal(i8259_acknowledge(f->pic), 0x23);
	out8(&f->rig, 0x20, 0xa0); /* rotate on non-specific EOI: 3 becomes the lowest */
	pulse(f, 0);
	pulse(f, 5);
	assert_int_equal(i8259_acknowledge(f->pic), 0x25);
	out8(&f->rig, 0x20, 0xe5); /* rotate on specific EOI: 5 becomes the lowest */
	pulse(f, 7);
	assert_int_equal(i8259_acknowledge(f->pic), 0x27);
	out8(&f->rig, 0x20, 0x67);
	out8(&f->rig, 0x20, 0xc7); /* set priority: 7 the lowest again */
	pulse(f, 7);
	assert_int_equal(i8259_acknowledge(f->pic), 0x20);
}

static void special_mask_mode_opens_lower_levels(void **state)
{
	struct fixture *f = *state;
	pulse(f, 1);
	assert_int_equal(i8259_acknowledge(f->pic), 0x21);
	pulse(f, 6);
	assert_false(f->intr.level);
	out8(&f->rig, 0x21, 0x02);
	out8(&f->rig, 0x20, 0x68);
	assert_true(f->intr.level);
	assert_int_equal(i8259_acknowledge(f->pic), 0x26);
	out8(&f->rig, 0x20, 0x20); /* spares the masked 1 */
	assert_int_equal(service(f, 0x20), 0x02);
	out8(&f->rig, 0x20, 0x48);
	pulse(f, 6);
	assert_false(f->intr.level);
}

static void poll_is_an_acknowledge(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, 0x20, 0x0c);
	assert_int_equal(in8(&f->rig, 0x20), 0);
	pulse(f, 5);
	out8(&f->rig, 0x20, 0x0c);
	assert_int_equal(in8(&f->rig, 0x20), 0x85);
	assert_false(f->intr.level);
	out8(&f->rig, 0x21, 0x55);
	assert_int_equal(in8(&f->rig, 0x21), 0x55); /* polled once: the mask again */
	assert_int_equal(service(f, 0x20), 0x20);
}

static void single_mode_skips_icw3_and_the_slave(void **state)
{
	struct fixture *f = *state;
	initialise(f, 0x13, 0x01);
	out8(&f->rig, 0x21, 0x5a);
	assert_int_equal(in8(&f->rig, 0x21), 0x5a);
	out8(&f->rig, 0x21, 0);
	pulse(f, 9);
	assert_int_equal(i8259_acknowledge(f->pic), 0x22); /* IR2 of a chip without slaves */
}

static void icw1_starts_anew(void **state)
{
	struct fixture *f = *state;
	pulse(f, 3);
	assert_int_equal(i8259_acknowledge(f->pic), 0x23);
	pulse(f, 4);
	out8(&f->rig, 0x21, 0xaa);
	initialise(f, 0x11, 0x01);
	assert_int_equal(in8(&f->rig, 0x21), 0);
	assert_int_equal(service(f, 0x20), 0);
	assert_int_equal(requests(f, 0x20), 0); /* inputs must rise anew */
	assert_false(f->intr.level);
	/* Modes and the read selection are gone too. */
	out8(&f->rig, 0x20, 0x6b);
	out8(&f->rig, 0x20, 0x80);
	out8(&f->rig, 0x20, 0x0c);
	initialise(f, 0x11, 0x01);
	pulse(f, 5);
	assert_int_equal(in8(&f->rig, 0x20), 0x20); /* IRR, no poll */
	assert_int_equal(i8259_acknowledge(f->pic), 0x25);
	out8(&f->rig, 0x21, 0x20);
	pulse(f, 6);
	assert_false(f->intr.level); /* no special mask mode */
	initialise(f, 0x11, 0x03);
	pulse(f, 1);
	assert_int_equal(i8259_acknowledge(f->pic), 0x21);
	pulse(f, 0);
	pulse(f, 3);
	assert_int_equal(i8259_acknowledge(f->pic), 0x20); /* no rotation */
	i8259_input(f->pic, 3, false);
	/* Without ICW4 the next data write is the mask, and what ICW4 had set is gone. */
	out8(&f->rig, 0x20, 0x10);
	out8(&f->rig, 0x21, 0x40);
	out8(&f->rig, 0x21, 0x04);
	out8(&f->rig, 0x21, 0x0f);
	assert_int_equal(in8(&f->rig, 0x21), 0x0f);
	pulse(f, 4);
	assert_int_equal(i8259_acknowledge(f->pic), 0x44);
	assert_int_equal(service(f, 0x20), 0x10);
}

static void inputs_out_of_range_are_ignored(void **state)
{
	struct fixture *f = *state;
	i8259_input(f->pic, -1, true);
	i8259_input(f->pic, 16, true);
	i8259_input(f->pic, 2, true);
	assert_false(f->intr.level);
}

static void reset_masks_until_programmed(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, 0x4d0, 0xff);
	pulse(f, 3);
	i8259_reset(f->pic);
	assert_false(f->intr.level);
	pulse(f, 0);
	assert_false(f->intr.level);
	assert_int_equal(in8(&f->rig, 0x4d0), 0);
	out8(&f->rig, 0x21, 0xfe); /* a mask, not ICW2 */
	assert_int_equal(in8(&f->rig, 0x21), 0xfe);
	assert_int_equal(i8259_acknowledge(f->pic), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void count_up(void *opaque)
{
	(*(unsigned *)opaque)++;
}

static void watchers_hear_of_their_inputs(void **state)
{
	struct fixture *f = *state;
	unsigned taken[2] = {0}, unmasked[2] = {0};
	const struct irq_watcher first = {.taken = count_up, .opaque = &taken[0]};
	const struct irq_watcher second = {.taken = count_up, .opaque = &taken[1]};
	i8259_watch(f->pic, 0, &first);
	i8259_watch(f->pic, 8, &second);
	pulse(f, 1);
	assert_int_equal(i8259_acknowledge(f->pic), 0x21);
	assert_int_equal(taken[0] + taken[1], 0);
	pulse(f, 8);
	pulse(f, 0);
	assert_int_equal(i8259_acknowledge(f->pic), 0x20);
	assert_int_equal(taken[0], 1);
	out8(&f->rig, 0x20, 0x20);
	out8(&f->rig, 0x20, 0x20);
	assert_int_equal(i8259_acknowledge(f->pic), 0x28);
	assert_int_equal(taken[1], 1);
	const struct irq_watcher third = {.unmasked = count_up, .opaque = &unmasked[0]};
	const struct irq_watcher fourth = {.unmasked = count_up, .opaque = &unmasked[1]};
	i8259_watch(f->pic, 0, &third);
	i8259_watch(f->pic, 9, &fourth);
	out8(&f->rig, 0x21, 0xff);
	out8(&f->rig, 0x21, 0xfd);
	assert_int_equal(unmasked[0], 0);
	out8(&f->rig, 0x21, 0xfc);
	out8(&f->rig, 0x21, 0x00);
	assert_int_equal(unmasked[0], 1);
	out8(&f->rig, 0xa1, 0x02);
	initialise(f, 0x11, 0x01); /* ICW1 unmasks */
	assert_int_equal(unmasked[1], 1);
	assert_int_equal(unmasked[0], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(watchers_hear_of_their_inputs),
	    TEST(each_input_has_its_own_bit),
	    TEST(higher_priority_interrupts_lower),
	    TEST(slave_ranks_between_1_and_3),
	    TEST(special_fully_nested_mode_lets_the_slave_nest),
	    TEST(edge_needs_the_line_until_acknowledge),
	    TEST(spurious_on_the_slave_leaves_the_cascade_in_service),
	    TEST(elcr_makes_inputs_level_triggered),
	    TEST(ltim_makes_all_inputs_level_triggered),
	    TEST(automatic_eoi_sets_nothing_in_service),
	    TEST(rotation_commands),
	    TEST(special_mask_mode_opens_lower_levels),
	    TEST(poll_is_an_acknowledge),
	    TEST(single_mode_skips_icw3_and_the_slave),
	    TEST(icw1_starts_anew),
	    TEST(inputs_out_of_range_are_ignored),
	    TEST(reset_masks_until_programmed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
