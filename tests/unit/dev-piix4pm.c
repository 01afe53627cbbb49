/* SPDX-License-Identifier: MIT */
/* PIIX4 power management: where its registers are, timer, SCI, power button, soft off, the SMI command port. */
#include "devices/piix4pm.h"
#include "rig.h"

#define BASE 0x600u
#define DEVFN PCI_DEVFN(1, 3)
#define STATUS (BASE + 0)
#define ENABLE (BASE + 2)
#define CONTROL (BASE + 4)
#define TIMER (BASE + 8)

struct fixture {
	struct rig rig;
	struct pci_bus *bus;
	struct piix4pm *pm;
	struct probe sci;
	unsigned power_offs;
};

static void count_power_off(void *opaque)
{
	((struct fixture *)opaque)->power_offs++;
}

static int setup_at(void **state, uint16_t base)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	const struct pci_bus_config bus = {.ports = &f->rig.ports, .mmio = &f->rig.mmio};
	f->bus = pci_bus_create(&bus, NULL);
	const struct piix4pm_config config = {.bus = f->bus,
					      .device = 1,
					      .ports = &f->rig.ports,
					      .clock = &f->rig.clock,
					      .sci = probe_line(&f->sci, 0),
					      .base = base,
					      .power_off = count_power_off,
					      .power_off_opaque = f};
	f->pm = piix4pm_create(&config, NULL);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_at(state, BASE);
}

static int setup_for_firmware(void **state)
{
	return setup_at(state, 0);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	piix4pm_destroy(f->pm);
	pci_bus_destroy(f->bus);
	assert_null(f->rig.clock.timers);
	assert_int_equal(f->rig.ports.count, 0);
	test_free(f);
	return 0;
}

static uint32_t get(struct fixture *f, uint32_t port, unsigned size)
{
	return (uint32_t)io_read(&f->rig.ports, port, size);
}

static void put(struct fixture *f, uint32_t port, unsigned size, uint32_t value)
{
	io_write(&f->rig.ports, port, size, value);
}

static void base_is_configured_by_firmware(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_config_read(f->bus, DEVFN, 0, 4), 0x71138086);
	assert_int_equal(pci_config_read(f->bus, DEVFN, 0x5b, 1) & 2, 2); /* APMC_EN: SMM was set up */
	assert_int_equal(get(f, TIMER, 4), UINT32_MAX);
	pci_config_write(f->bus, DEVFN, 0x40, 4, 0xffff0601);
	assert_int_equal(pci_config_read(f->bus, DEVFN, 0x40, 4), 0x0601);
	assert_int_equal(get(f, TIMER, 4), UINT32_MAX); /* not enabled yet */
	pci_config_write(f->bus, DEVFN, 0x80, 1, 1);
	clock_advance(&f->rig.clock, CLOCK_SECOND);
	assert_int_equal(get(f, TIMER, 4), 3579545);
	pci_config_write(f->bus, DEVFN, 0x40, 4, 0xb000);
	assert_int_equal(get(f, TIMER, 4), UINT32_MAX);
	assert_int_equal(get(f, 0xb008, 4), 3579545);
	/* Onto a range that is taken it does not go, and comes back from there. */
	pci_config_write(f->bus, DEVFN, 0x40, 4, 0x0cc0);
	assert_int_equal(get(f, 0xcc8, 4), UINT32_MAX);
	pci_config_write(f->bus, DEVFN, 0x40, 4, 0xb000);
	assert_int_equal(get(f, 0xb008, 4), 3579545);
	piix4pm_reset(f->pm);
	assert_int_equal(get(f, 0xb008, 4), UINT32_MAX);
}

static void timer_counts_24_bits_of_the_virtual_clock(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(get(f, TIMER, 4), 0);
	clock_advance(&f->rig.clock, 280); /* one tick is 279.365 ns */
	assert_int_equal(get(f, TIMER, 4), 1);
	clock_advance(&f->rig.clock, 4 * CLOCK_SECOND);
	assert_int_equal(get(f, TIMER, 4), 4 * 3579545 + 1);
	clock_advance(&f->rig.clock, CLOCK_SECOND);
	assert_int_equal(get(f, TIMER, 4), 5 * 3579545 + 1 - (1 << 24));
	put(f, TIMER, 4, 0); /* read-only */
	assert_int_equal(get(f, TIMER, 4), 5 * 3579545 + 1 - (1 << 24));
}

static void timer_overflow_raises_the_sci(void **state)
{
	struct fixture *f = *state;
	uint64_t half = clock_scale_up(UINT64_C(1) << 23, CLOCK_SECOND, 3579545);
	put(f, CONTROL, 2, 1);
	put(f, ENABLE, 2, 1);
	clock_advance(&f->rig.clock, half - 1);
	assert_false(f->sci.level);
	clock_advance(&f->rig.clock, 1);
	assert_true(f->sci.level);
	assert_int_equal(get(f, STATUS, 2), 1);
	put(f, STATUS, 2, 1);
	assert_false(f->sci.level);
	put(f, ENABLE, 2, 0); /* polled */
	clock_advance(&f->rig.clock, half);
	assert_false(f->sci.level);
	assert_int_equal(get(f, STATUS, 2), 1);
	put(f, ENABLE, 2, 1); /* enabled while it is set */
	assert_true(f->sci.level);
}

static void power_button(void **state)
{
	struct fixture *f = *state;
	assert_false(piix4pm_power_button(f->pm));
	assert_int_equal(get(f, STATUS, 2), 0x100);
	put(f, STATUS, 2, 0x100);
	put(f, ENABLE, 2, 0x100);
	assert_false(piix4pm_power_button(f->pm)); /* not in ACPI mode */
	assert_false(f->sci.level);
	put(f, 0xb2, 1, 0xf1);
	assert_int_equal(get(f, CONTROL, 2), 1);
	assert_true(f->sci.level);
	put(f, STATUS + 1, 1, 1);
	assert_false(f->sci.level);
	assert_true(piix4pm_power_button(f->pm));
	assert_true(f->sci.level);
	put(f, 0xb2, 1, 0xf0);
	assert_int_equal(get(f, CONTROL, 2), 0);
	assert_false(f->sci.level);
}

static void reset_forgets(void **state)
{
	struct fixture *f = *state;
	put(f, 0xb2, 2, 0x55f1);
	put(f, ENABLE, 2, 0x521);
	(void)piix4pm_power_button(f->pm);
	pci_config_write(f->bus, DEVFN, 0x5b, 1, 0);
	pci_config_write(f->bus, DEVFN, PCI_COMMAND, 2, 5);
	assert_int_equal(pci_config_read(f->bus, DEVFN, 0x5b, 1), 0);
	assert_true(f->sci.level);
	clock_advance(&f->rig.clock, 3 * CLOCK_SECOND);
	piix4pm_reset(f->pm);
	assert_false(f->sci.level);
	assert_null(f->rig.clock.timers);
	assert_int_equal(get(f, STATUS, 4), 0);
	assert_int_equal(get(f, CONTROL, 2), 0);
	assert_int_equal(get(f, 0xb2, 2), 0);
	assert_int_equal(pci_config_read(f->bus, DEVFN, 0x5b, 1), 2);
	assert_int_equal(pci_config_read(f->bus, DEVFN, PCI_COMMAND, 2), 0);
	assert_int_equal(get(f, STATUS, 2), 0); /* an overflow before the reset is none after it */
}

static void soft_off(void **state)
{
	struct fixture *f = *state;
	put(f, CONTROL, 2, 0x0001);
	put(f, CONTROL, 2, 5u << 10 | 0x2001); /* another type: nothing */
	assert_int_equal(f->power_offs, 0);
	assert_int_equal(get(f, CONTROL, 2), 5u << 10 | 1); /* SUS_EN reads as zero */
	put(f, CONTROL, 2, 0x0001);
	assert_int_equal(f->power_offs, 0);
	put(f, CONTROL, 2, 0x2001);
	assert_int_equal(f->power_offs, 1);
}

static void general_purpose_events_and_the_rest(void **state)
{
	struct fixture *f = *state;
	put(f, BASE + 0x0e, 2, 0xffff);
	assert_int_equal(get(f, BASE + 0x0c, 4), 0xffff0000);
	put(f, ENABLE, 2, 0xffff);
	assert_int_equal(get(f, STATUS, 4), 0x05210000);
	for (unsigned offset = 0x10; offset < 0x40; offset += 4) {
		put(f, BASE + offset, 4, UINT32_MAX);
		assert_int_equal(get(f, BASE + offset, 4), 0);
	}
	put(f, 0xb3, 1, 0x5a);
	put(f, 0xb2, 1, 0x77);
	assert_int_equal(get(f, 0xb2, 2), 0x5a77);
	assert_int_equal(get(f, BASE + 0x3d, 4) >> 24, 0xff); /* beyond the last register */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(base_is_configured_by_firmware, setup_for_firmware, teardown),
	    TEST(timer_counts_24_bits_of_the_virtual_clock),
	    TEST(timer_overflow_raises_the_sci),
	    TEST(power_button),
	    TEST(reset_forgets),
	    TEST(soft_off),
	    TEST(general_purpose_events_and_the_rest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
