/* SPDX-License-Identifier: MIT */
/*
 * What becomes of periodic timers' ticks, and how long devices' interrupts wait: the timers, both kinds of interrupt
 * controller and a local APIC, wired as on the board, on a clock that only the test moves. All counts are exact.
 */
#include "rig.h"

#include <stdlib.h>

#include "devices/hpet.h"
#include "devices/i8254.h"
#include "devices/i8259.h"
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/rtc.h"
#include "ledger/ledger.h"
#include "machine/isa-irqs.h"
#include "machine/layout.h"
#include "machine/timer-ears.h"

#define MS UINT64_C(1000000)
#define IOAPIC_BASE UINT64_C(0xfec00000)
#define HPET_BASE UINT64_C(0xfed00000)
#define APIC(offset) (LAPIC_DEFAULT_BASE + (offset))
#define LVT_TIMER APIC(0x320)
#define LVT_LINT0 APIC(0x350)
#define INITIAL_COUNT APIC(0x380)
#define DIVIDE APIC(0x3e0)
#define SVR APIC(0xf0)
#define EOI APIC(0xb0)
#define VECTOR 0x40u

struct fixture {
	struct rig rig;
	struct ledger *ledger;
	struct lapic_bus *bus;
	struct lapic *lapic;
	struct ioapic *ioapic;
	struct i8259 *pic;
	struct i8254 *pit;
	struct rtc *rtc;
	struct hpet *hpet;
	struct isa_irqs irqs;
	struct timer_ears ears;
	struct interrupt_controller controller;
};

static void request(void *opaque, uint32_t bits)
{
	(void)opaque;
	(void)bits;
}

static uint8_t acknowledge_8259(void *opaque)
{
	struct fixture *f = opaque;
	return i8259_acknowledge(f->pic);
}

static void eoi(void *opaque, uint8_t vector)
{
	struct fixture *f = opaque;
	ioapic_eoi(f->ioapic, vector);
}

static void route(void *opaque, int input, bool level)
{
	struct fixture *f = opaque;
	ioapic_input(f->ioapic, input, level);
}

static void make_controllers(struct fixture *f)
{
	f->bus = lapic_bus_create(eoi, f, NULL);
	const struct lapic_config lapic = {.clock = &f->rig.clock,
					   .bus = f->bus,
					   .bootstrap = true,
					   .physical_bits = 40,
					   .pin = {.request = request, .withdraw = request},
					   .mmio = &f->rig.mmio,
					   .extint_acknowledge = acknowledge_8259,
					   .extint_opaque = f,
					   .ledger = &f->ledger->vcpu[0],
					   .ticks = &f->ledger->ticks[LEDGER_TIMER_LAPIC]};
	f->lapic = lapic_create(&lapic, NULL);
	f->controller = lapic_controller(f->lapic);
	const struct apic_sink sink = lapic_bus_sink(f->bus);
	const struct irq_line lint0 = {.set = lapic_lint, .opaque = f->lapic, .input = 0};
	f->ioapic = ioapic_create(&sink, 1, NULL);
	f->pic = i8259_create(&lint0, NULL);
	assert_true(ioapic_map(f->ioapic, &f->rig.mmio, IOAPIC_BASE, NULL));
	assert_true(i8259_map(f->pic, &f->rig.ports, NULL));
	isa_irqs_init(&f->irqs, f->pic, f->ioapic, &f->ledger->vcpu[0]);
}

static void make_timers(struct fixture *f)
{
	struct hpet_config hpet = {.clock = &f->rig.clock,
				   .legacy = {isa_irqs_line(&f->irqs, 0), isa_irqs_line(&f->irqs, LAYOUT_RTC_IRQ)},
				   .ticks = &f->ledger->ticks[LEDGER_TIMER_HPET]};
	for (int i = 0; i < (int)HPET_ROUTES; i++)
		hpet.route[i] = (struct irq_line){.set = route, .opaque = f, .input = (int)HPET_ROUTE_FIRST + i};
	f->hpet = hpet_create(&hpet, NULL);
	const struct irq_line timer = hpet_input(f->hpet, HPET_TIMER_IRQ);
	const struct rtc_config rtc = {.clock = &f->rig.clock,
				       .irq = hpet_input(f->hpet, HPET_RTC_IRQ),
				       .ticks = &f->ledger->ticks[LEDGER_TIMER_RTC]};
	f->pit = i8254_create(&f->rig.clock, &timer, NULL);
	f->rtc = rtc_create(&rtc, NULL);
	assert_true(hpet_map(f->hpet, &f->rig.mmio, HPET_BASE, NULL));
	assert_true(i8254_map(f->pit, &f->rig.ports, NULL) && rtc_map(f->rtc, &f->rig.ports, NULL));
	f->ears = (struct timer_ears){.pit = f->pit, .hpet = f->hpet, .irqs = &f->irqs};
	timer_ears_connect(&f->ears, &f->ledger->ticks[LEDGER_TIMER_I8254]);
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	f->ledger = aligned_alloc(_Alignof(struct ledger), sizeof *f->ledger);
	assert_non_null(f->ledger);
	memset(f->ledger, 0, sizeof *f->ledger);
	make_controllers(f);
	make_timers(f);
	io_write(&f->rig.mmio, SVR, 4, 0x1ff);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	rtc_destroy(f->rtc);
	i8254_destroy(f->pit);
	hpet_destroy(f->hpet);
	i8259_destroy(f->pic);
	ioapic_destroy(f->ioapic);
	lapic_destroy(f->lapic);
	lapic_bus_destroy(f->bus);
	free(f->ledger);
	test_free(f);
	return 0;
}

/* ---- what the guest does ---- */

static void write_apic(struct fixture *f, uint64_t address, uint32_t value)
{
	io_write(&f->rig.mmio, address, 4, value);
}

static void write_entry(struct fixture *f, unsigned input, uint32_t low)
{
	io_write(&f->rig.mmio, IOAPIC_BASE, 4, 0x10 + 2 * input);
	io_write(&f->rig.mmio, IOAPIC_BASE + 0x10, 4, low);
}

/* The 8259s, IRQ 0 alone, in virtual wire mode. */
static void use_8259(struct fixture *f)
{
	static const uint8_t words[] = {0x20, 0x04, 0x01, 0xfe};
	out8(&f->rig, 0x20, 0x11);
	for (unsigned i = 0; i < sizeof words; i++)
		out8(&f->rig, 0x21, words[i]);
	write_apic(f, LVT_LINT0, 0x700);
}

/* Takes an interrupt and ends it. False: there is none. */
static bool take(struct fixture *f)
{
	int vector = f->controller.acknowledge(f->controller.opaque);
	if (vector < 0)
		return false;
	if (vector < 0x30)
		out8(&f->rig, 0x20, 0x20);
	else
		write_apic(f, EOI, 0);
	return true;
}

/* Looks for an interrupt each tenth of a millisecond. Returns how many came. */
static unsigned take_for(struct fixture *f, uint64_t ns)
{
	unsigned taken = 0;
	for (uint64_t i = 0; i < ns; i += MS / 10) {
		clock_advance(&f->rig.clock, MS / 10);
		taken += take(f);
	}
	return taken;
}

static void assert_ticks(const struct fixture *f, enum ledger_timer timer, uint64_t due, uint64_t delivered,
			 uint64_t lost, uint64_t bunched)
{
	const uint64_t *count = f->ledger->ticks[timer].count;
	assert_int_equal(count[LEDGER_TICK_DUE], due);
	assert_int_equal(count[LEDGER_TICK_DELIVERED], delivered);
	assert_int_equal(count[LEDGER_TICK_LOST], lost);
	assert_int_equal(count[LEDGER_TICK_BUNCHED], bunched);
}

static void program_pit(struct fixture *f, unsigned mode, unsigned count)
{
	out8(&f->rig, 0x43, 0x30 | mode << 1);
	out8(&f->rig, 0x40, count & 0xff);
	out8(&f->rig, 0x40, count >> 8);
}

/* ---- the interval timer ---- */

/* 100 Hz. A period is a little longer than 10 ms. */
static void i8254_by_the_8259s(void **state)
{
	struct fixture *f = *state;
	use_8259(f);
	program_pit(f, 2, 11932);
	assert_int_equal(take_for(f, 51 * MS), 5);
	assert_ticks(f, LEDGER_TIMER_I8254, 5, 5, 0, 0);
	/* The guest has no processor for 100 ms: one tick waits, nine are owed. */
	clock_advance(&f->rig.clock, 100 * MS);
	assert_ticks(f, LEDGER_TIMER_I8254, 15, 5, 0, 0);
	/* They come in between, half a period after the others, which are as long after them: 9 + 9 in 90 ms. */
	assert_int_equal(take_for(f, 200 * MS), 1 + 20 + 9);
	assert_ticks(f, LEDGER_TIMER_I8254, 35, 35, 0, 18);
	/* At most two seconds' worth is owed: of 300 ticks one waits, 199 are owed. */
	clock_advance(&f->rig.clock, 3000 * MS);
	assert_ticks(f, LEDGER_TIMER_I8254, 335, 35, 300 - 1 - 199, 18);
	/* What is owed is lost when the guest programs it anew; the one that waits is not. */
	program_pit(f, 2, 11932);
	assert_ticks(f, LEDGER_TIMER_I8254, 335, 35, 299, 18);
	assert_true(take(f));
	assert_ticks(f, LEDGER_TIMER_I8254, 335, 36, 299, 18);
	/* Masked, they are not due. */
	out8(&f->rig, 0x21, 0xff);
	clock_advance(&f->rig.clock, 1000 * MS);
	assert_ticks(f, LEDGER_TIMER_I8254, 335, 36, 299, 18);
}

/* There nothing is owed. */
static void i8254_by_the_ioapic(void **state)
{
	struct fixture *f = *state;
	write_entry(f, LAYOUT_TIMER_INPUT, VECTOR);
	program_pit(f, 2, 11932);
	assert_int_equal(take_for(f, 51 * MS), 5);
	clock_advance(&f->rig.clock, 100 * MS);
	assert_ticks(f, LEDGER_TIMER_I8254, 15, 5, 9, 0);
	assert_int_equal(take_for(f, 200 * MS), 1 + 20);
	assert_ticks(f, LEDGER_TIMER_I8254, 35, 26, 9, 0);
	f->rig.clock.now += 100 * MS;
	clock_run(&f->rig.clock);
	assert_ticks(f, LEDGER_TIMER_I8254, 45, 26, 18, 0);
	assert_true(take(f));
	write_entry(f, LAYOUT_TIMER_INPUT, VECTOR | 0x10000);
	clock_advance(&f->rig.clock, 1000 * MS);
	assert_ticks(f, LEDGER_TIMER_I8254, 45, 27, 18, 0);
}

static void one_shots_are_no_ticks(void **state)
{
	struct fixture *f = *state;
	use_8259(f);
	program_pit(f, 0, 1000);
	assert_int_equal(take_for(f, 10 * MS), 1);
	write_apic(f, DIVIDE, 0x0b);
	write_apic(f, LVT_TIMER, VECTOR);
	write_apic(f, INITIAL_COUNT, 1000);
	assert_int_equal(take_for(f, 10 * MS), 1);
	for (unsigned i = 0; i < LEDGER_TIMER_COUNT; i++)
		assert_ticks(f, (enum ledger_timer)i, 0, 0, 0, 0);
}

/* ---- the local APIC's ---- */

static void lapic_ticks(void **state)
{
	struct fixture *f = *state;
	write_apic(f, DIVIDE, 0x0b);
	write_apic(f, LVT_TIMER, 0x20000 | VECTOR);
	write_apic(f, INITIAL_COUNT, 10000000);
	assert_int_equal(take_for(f, 50 * MS), 5);
	assert_ticks(f, LEDGER_TIMER_LAPIC, 5, 5, 0, 0);
	/* 105 ms without a processor: one of ten waits, the others are lost; it comes 5 ms before the next. */
	clock_advance(&f->rig.clock, 105 * MS);
	assert_ticks(f, LEDGER_TIMER_LAPIC, 15, 5, 9, 0);
	assert_true(take(f));
	assert_ticks(f, LEDGER_TIMER_LAPIC, 15, 6, 9, 0);
	assert_int_equal(take_for(f, 95 * MS), 10);
	assert_ticks(f, LEDGER_TIMER_LAPIC, 25, 16, 9, 1);
	/* The host was late itself: ten periods in one. */
	f->rig.clock.now += 100 * MS;
	clock_run(&f->rig.clock);
	assert_ticks(f, LEDGER_TIMER_LAPIC, 35, 16, 18, 1);
	assert_true(take(f));
	assert_ticks(f, LEDGER_TIMER_LAPIC, 35, 17, 18, 1);
	/* Masked, they are not due. INIT takes the one that waits. */
	write_apic(f, LVT_TIMER, 0x30000 | VECTOR);
	clock_advance(&f->rig.clock, 100 * MS);
	assert_ticks(f, LEDGER_TIMER_LAPIC, 35, 17, 18, 1);
	write_apic(f, LVT_TIMER, 0x20000 | VECTOR);
	clock_advance(&f->rig.clock, 10 * MS);
	lapic_reset(f->lapic);
	assert_false(take(f));
	assert_ticks(f, LEDGER_TIMER_LAPIC, 36, 17, 19, 1);
}

/* ---- the HPET ---- */

static void program_hpet(struct fixture *f, uint32_t configuration, uint32_t flags, uint32_t ticks)
{
	io_write(&f->rig.mmio, HPET_BASE + 0x10, 8, 0);
	io_write(&f->rig.mmio, HPET_BASE + 0xf0, 8, 0);
	io_write(&f->rig.mmio, HPET_BASE + 0x100, 8, flags | 0x4c); /* periodic, to interrupt, the comparator too */
	io_write(&f->rig.mmio, HPET_BASE + 0x108, 8, ticks);
	io_write(&f->rig.mmio, HPET_BASE + 0x10, 8, configuration);
}

static void hpet_ticks(struct fixture *f)
{
	assert_int_equal(take_for(f, 50 * MS), 5);
	assert_ticks(f, LEDGER_TIMER_HPET, 5, 5, 0, 0);
	clock_advance(&f->rig.clock, 105 * MS);
	assert_ticks(f, LEDGER_TIMER_HPET, 15, 5, 9, 0);
	assert_true(take(f));
	assert_int_equal(take_for(f, 95 * MS), 10);
	assert_ticks(f, LEDGER_TIMER_HPET, 25, 16, 9, 1);
	f->rig.clock.now += 100 * MS;
	clock_run(&f->rig.clock);
	assert_ticks(f, LEDGER_TIMER_HPET, 35, 16, 18, 1);
}

static void hpet_by_a_route(void **state)
{
	struct fixture *f = *state;
	write_entry(f, HPET_ROUTE_FIRST, VECTOR);
	program_hpet(f, 1, HPET_ROUTE_FIRST << 9, 1000000);
	hpet_ticks(f);
}

static void hpet_in_the_place_of_the_8254(void **state)
{
	struct fixture *f = *state;
	use_8259(f);
	program_pit(f, 2, 11932);
	program_hpet(f, 3, 0, 1000000);
	hpet_ticks(f);
	assert_ticks(f, LEDGER_TIMER_I8254, 0, 0, 0, 0);
}

/* Its status bit stands until the guest clears it. */
static void hpet_by_level(void **state)
{
	struct fixture *f = *state;
	program_hpet(f, 1, 2 | HPET_ROUTE_FIRST << 9, 1000000);
	clock_advance(&f->rig.clock, 30 * MS);
	assert_ticks(f, LEDGER_TIMER_HPET, 3, 0, 2, 0);
	io_write(&f->rig.mmio, HPET_BASE + 0x20, 8, 1);
	assert_ticks(f, LEDGER_TIMER_HPET, 3, 1, 2, 0);
	io_write(&f->rig.mmio, HPET_BASE + 0x20, 8, 1);
	assert_ticks(f, LEDGER_TIMER_HPET, 3, 1, 2, 0);
	clock_advance(&f->rig.clock, 10 * MS);
	hpet_reset(f->hpet);
	assert_ticks(f, LEDGER_TIMER_HPET, 4, 1, 3, 0);
}

/* ---- the real-time clock ---- */

static unsigned read_cmos(struct fixture *f, unsigned index)
{
	out8(&f->rig, 0x70, index);
	return in8(&f->rig, 0x71);
}

static void write_cmos(struct fixture *f, unsigned index, unsigned value)
{
	out8(&f->rig, 0x70, index);
	out8(&f->rig, 0x71, value);
}

static unsigned read_c_for(struct fixture *f, uint64_t ns)
{
	unsigned seen = 0;
	for (uint64_t i = 0; i < ns; i += MS / 10) {
		clock_advance(&f->rig.clock, MS / 10);
		if (!take(f))
			continue;
		assert_int_equal(read_cmos(f, 0x0c) & 0x40, 0x40);
		seen++;
	}
	return seen;
}

/* 64 Hz: 15.625 ms. */
static void rtc_ticks(void **state)
{
	struct fixture *f = *state;
	write_entry(f, LAYOUT_RTC_IRQ, VECTOR);
	write_cmos(f, 0x0a, 0x2a);
	(void)read_cmos(f, 0x0c);
	clock_advance(&f->rig.clock, 100 * MS);
	assert_ticks(f, LEDGER_TIMER_RTC, 0, 0, 0, 0); /* not enabled */
	(void)read_cmos(f, 0x0c);
	write_cmos(f, 0x0b, read_cmos(f, 0x0b) | 0x40);
	assert_int_equal(read_c_for(f, 100 * MS), 6); /* at 109.375, ... 187.5 */
	assert_ticks(f, LEDGER_TIMER_RTC, 6, 6, 0, 0);
	/* One of eight waits, seven are owed. Each comes half a period after register C was read, so the next regular
	 * one is less than that behind it; so is the first after the gap. */
	clock_advance(&f->rig.clock, 125 * MS);
	assert_ticks(f, LEDGER_TIMER_RTC, 14, 6, 0, 0);
	assert_int_equal(read_c_for(f, 500 * MS), 1 + 7 + 32);
	assert_ticks(f, LEDGER_TIMER_RTC, 46, 46, 0, 8);
	/* At most two seconds' worth is owed, and that is lost with the enable. */
	clock_advance(&f->rig.clock, 3000 * MS);
	assert_ticks(f, LEDGER_TIMER_RTC, 46 + 192, 46, 192 - 1 - 128, 8);
	write_cmos(f, 0x0b, read_cmos(f, 0x0b) & ~0x40u);
	assert_ticks(f, LEDGER_TIMER_RTC, 46 + 192, 46, 191, 8);
	(void)read_cmos(f, 0x0c);
	assert_ticks(f, LEDGER_TIMER_RTC, 46 + 192, 47, 191, 8);
}

/* ---- devices' interrupts ---- */

static uint64_t delays(const struct fixture *f)
{
	uint64_t count = 0;
	for (unsigned i = 0; i < LEDGER_DELAY_BUCKETS; i++)
		count += f->ledger->vcpu[0].delay[LEDGER_DELAY_DEVICE].bucket[i];
	return count;
}

static void wait_cycles(uint64_t cycles)
{
	uint64_t begin = ledger_tsc();
	while (ledger_tsc() - begin < cycles)
		continue;
}

static void delays_by_the_ioapic(void **state)
{
	struct fixture *f = *state;
	const uint64_t *cycles = &f->ledger->vcpu[0].delay[LEDGER_DELAY_DEVICE].cycles;
	write_entry(f, 5, VECTOR);
	const struct irq_line line = isa_irqs_line(&f->irqs, 5);
	irq_set(&line, true);
	wait_cycles(1000000);
	assert_int_equal(delays(f), 0);
	assert_true(take(f));
	assert_int_equal(delays(f), 1);
	assert_true(*cycles >= 1000000);
	irq_set(&line, false);
	/* Level-triggered and masked: it waits since its line rose; held high over the end, since then. */
	write_entry(f, 16, VECTOR | 0x18000);
	route(f, 16, true);
	wait_cycles(1000000);
	write_entry(f, 16, VECTOR | 0x8000);
	uint64_t before = *cycles;
	assert_true(take(f));
	assert_int_equal(delays(f), 2);
	assert_true(*cycles - before >= 1000000);
	assert_true(take(f));
	assert_int_equal(delays(f), 3);
	route(f, 16, false);
	assert_true(take(f)); /* it was requested once more */
	assert_false(take(f));
	/* Messages are devices', interprocessor interrupts and timers are not. */
	assert_true(lapic_bus_msi(f->bus, 0xfee00000, VECTOR));
	assert_true(take(f));
	assert_int_equal(delays(f), 5);
	io_write(&f->rig.mmio, APIC(0x300), 4, 0x40000u | VECTOR);
	assert_true(take(f));
	write_entry(f, LAYOUT_TIMER_INPUT, VECTOR);
	program_pit(f, 2, 11932);
	assert_int_equal(take_for(f, 51 * MS), 5);
	assert_int_equal(delays(f), 5);
}

static void delays_by_the_8259s(void **state)
{
	struct fixture *f = *state;
	const struct irq_line line = isa_irqs_line(&f->irqs, 5);
	use_8259(f);
	program_pit(f, 2, 11932);
	assert_int_equal(take_for(f, 51 * MS), 5);
	assert_int_equal(delays(f), 0);
	/* One that the guest does not let in, and that goes away again, was never delivered. */
	irq_set(&line, true);
	irq_set(&line, false);
	out8(&f->rig, 0x21, 0xde);
	assert_false(take(f));
	assert_int_equal(delays(f), 0);
	irq_set(&line, true);
	wait_cycles(1000000);
	assert_true(take(f));
	assert_int_equal(delays(f), 1);
	assert_true(f->ledger->vcpu[0].delay[LEDGER_DELAY_DEVICE].cycles >= 1000000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {TEST(i8254_by_the_8259s),	 TEST(i8254_by_the_ioapic),
					   TEST(one_shots_are_no_ticks), TEST(lapic_ticks),
					   TEST(hpet_by_a_route),	 TEST(hpet_in_the_place_of_the_8254),
					   TEST(hpet_by_level),		 TEST(rtc_ticks),
					   TEST(delays_by_the_ioapic),	 TEST(delays_by_the_8259s)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
