/* SPDX-License-Identifier: MIT */
/* The I/O APIC: each input, edge and level, remote IRR, the EOI register. */
#include "devices/ioapic.h"
#include "rig.h"

#define BASE IOAPIC_DEFAULT_BASE

struct fixture {
	struct rig rig;
	struct ioapic *ioapic;
	struct apic_message last;
	unsigned messages;
	bool refuse; /* no local APIC takes anything */
};

static bool sink_send(void *opaque, const struct apic_message *message)
{
	struct fixture *f = opaque;
	f->last = *message;
	f->messages++;
	return !f->refuse;
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	const struct apic_sink sink = {sink_send, f};
	f->ioapic = ioapic_create(&sink, 5, NULL);
	assert_true(ioapic_map(f->ioapic, &f->rig.mmio, BASE, NULL));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	ioapic_destroy(f->ioapic);
	test_free(f);
	return 0;
}

static uint32_t get(struct fixture *f, unsigned reg)
{
	io_write(&f->rig.mmio, BASE, 4, reg);
	return (uint32_t)io_read(&f->rig.mmio, BASE + 0x10, 4);
}

static void put(struct fixture *f, unsigned reg, uint32_t value)
{
	io_write(&f->rig.mmio, BASE, 4, reg);
	io_write(&f->rig.mmio, BASE + 0x10, 4, value);
}

static void program(struct fixture *f, unsigned input, uint32_t high, uint32_t low)
{
	put(f, 0x11 + 2 * input, high);
	put(f, 0x10 + 2 * input, low);
}

static void identity(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(get(f, 0), 0x05000000);
	assert_int_equal(get(f, 1), 0x00170020);
	put(f, 0, 0xffffffff);
	assert_int_equal(get(f, 0), 0x0f000000);
	assert_int_equal(get(f, 2), 0x0f000000);
	put(f, 1, 0);
	assert_int_equal(get(f, 1), 0x00170020);
	assert_int_equal(get(f, 0x10 + 48), 0);
	put(f, 0xff, 0xffffffff);
	for (unsigned i = 0; i < 48; i++)
		assert_int_equal(get(f, 0x10 + i), i % 2 ? 0 : 0x10000);
	ioapic_reset(f->ioapic);
	assert_int_equal(io_read(&f->rig.mmio, BASE, 4), 0); /* the select register is reset too */
	assert_int_equal(get(f, 0), 0x05000000);
	assert_int_equal(io_read(&f->rig.mmio, BASE + 0x20, 4), 0);
	put(f, 0x10 + 48, UINT32_MAX); /* beyond the last entry */
	assert_int_equal(get(f, 0x10 + 48), 0);
}

static void each_edge_input_sends_its_own_entry(void **state)
{
	struct fixture *f = *state;
	for (int i = 0; i < 24; i++)
		program(f, (unsigned)i, (uint32_t)i << 24, 0x40u + (unsigned)i);
	for (int i = 0; i < 24; i++) {
		ioapic_input(f->ioapic, i, true);
		ioapic_input(f->ioapic, i, true);
		assert_int_equal(f->messages, i + 1);
		assert_int_equal(f->last.vector, 0x40 + i);
		assert_int_equal(f->last.destination, i);
		assert_false(f->last.level || f->last.logical);
	}
	ioapic_input(f->ioapic, 24, true);
	ioapic_input(f->ioapic, -1, true);
	assert_int_equal(f->messages, 24);
}

static void entries_carry_modes_and_destinations(void **state)
{
	struct fixture *f = *state;
	program(f, 3, 0x03000000, 0x0955);
	ioapic_input(f->ioapic, 3, true);
	assert_true(f->last.logical);
	assert_int_equal(f->last.delivery, APIC_LOWEST_PRIORITY);
	program(f, 4, 0xff000000, 0x0400);
	ioapic_input(f->ioapic, 4, true);
	assert_int_equal(f->last.delivery, APIC_NMI);
	assert_true(f->last.destination == APIC_BROADCAST);
	assert_int_equal(get(f, 0x16), 0x0955);
	put(f, 0x16, 0xffffffff); /* remote IRR and status are read-only, what is reserved stays zero */
	assert_int_equal(get(f, 0x16), 0x1afff);
	put(f, 0x17, 0xffffffff);
	assert_int_equal(get(f, 0x17), 0xff000000);
}

static void an_edge_on_a_masked_input_is_lost(void **state)
{
	struct fixture *f = *state;
	program(f, 7, 0, 0x10047);
	ioapic_input(f->ioapic, 7, true);
	put(f, 0x1e, 0x47);
	assert_int_equal(f->messages, 0);
	ioapic_input(f->ioapic, 7, false);
	ioapic_input(f->ioapic, 7, true);
	assert_int_equal(f->messages, 1);
}

static void level_waits_for_eoi(void **state)
{
	struct fixture *f = *state;
	program(f, 10, 0, 0x8050);
	ioapic_input(f->ioapic, 10, true);
	assert_int_equal(f->messages, 1);
	assert_true(f->last.level);
	assert_int_equal(get(f, 0x24), 0xc050);
	ioapic_input(f->ioapic, 10, false);
	ioapic_input(f->ioapic, 10, true);
	assert_int_equal(f->messages, 1);
	ioapic_eoi(f->ioapic, 0x51); /* another's */
	assert_int_equal(f->messages, 1);
	ioapic_eoi(f->ioapic, 0x50); /* still high: again */
	assert_int_equal(f->messages, 2);
	ioapic_input(f->ioapic, 10, false);
	io_write(&f->rig.mmio, BASE + 0x40, 4, 0x50); /* by the EOI register */
	assert_int_equal(f->messages, 2);
	assert_int_equal(get(f, 0x24), 0x8050);
}

static void two_levels_on_one_vector(void **state)
{
	struct fixture *f = *state;
	program(f, 10, 0, 0x8050);
	program(f, 11, 0, 0x8050);
	ioapic_input(f->ioapic, 10, true);
	ioapic_input(f->ioapic, 11, true);
	assert_int_equal(f->messages, 2);
	ioapic_input(f->ioapic, 10, false);
	ioapic_eoi(f->ioapic, 0x50);
	assert_int_equal(f->messages, 3);
	assert_int_equal(get(f, 0x24), 0x8050);
	assert_int_equal(get(f, 0x26), 0xc050);
}

static void masked_levels_are_sent_when_unmasked(void **state)
{
	struct fixture *f = *state;
	program(f, 12, 0, 0x18052);
	ioapic_input(f->ioapic, 12, true);
	assert_int_equal(f->messages, 0);
	put(f, 0x28, 0x8052);
	assert_int_equal(f->messages, 1);
	/* Made an edge input it forgets remote IRR. */
	put(f, 0x28, 0x10052);
	assert_int_equal(get(f, 0x28), 0x10052);
	put(f, 0x28, 0x8052);
	assert_int_equal(f->messages, 2);
}

static void refused_levels_are_not_in_service(void **state)
{
	struct fixture *f = *state;
	f->refuse = true;
	program(f, 12, 0, 0x8052);
	ioapic_input(f->ioapic, 12, true);
	assert_int_equal(get(f, 0x28), 0x8052);
	f->refuse = false;
	ioapic_input(f->ioapic, 12, true);
	assert_int_equal(get(f, 0x28), 0xc052);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(identity),
	    TEST(each_edge_input_sends_its_own_entry),
	    TEST(entries_carry_modes_and_destinations),
	    TEST(an_edge_on_a_masked_input_is_lost),
	    TEST(level_waits_for_eoi),
	    TEST(two_levels_on_one_vector),
	    TEST(masked_levels_are_sent_when_unmasked),
	    TEST(refused_levels_are_not_in_service),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
