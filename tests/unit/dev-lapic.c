/* SPDX-License-Identifier: MIT */
/* The local APIC: priorities, messages between several, pins, errors, INIT and reset. */
#include "lapic-rig.h"

static void state_after_reset(void **state)
{
	struct fixture *f = *state;
	assert_true(msr_value(&f->vcpu[0], MSR_BASE) == 0xfee00900);
	assert_true(msr_value(&f->vcpu[1], MSR_BASE) == 0xfee00800);
	assert_int_equal(get(&f->vcpu[2], ID), 0x02000000);
	assert_int_equal(get(&f->vcpu[0], VERSION), 0x01050014);
	assert_int_equal(get(&f->vcpu[0], SVR), 0xff);
	assert_int_equal(get(&f->vcpu[0], DFR), UINT32_MAX);
	for (unsigned lvt = LVT_TIMER; lvt <= LVT_ERROR; lvt += 16)
		assert_int_equal(get(&f->vcpu[0], lvt), 0x10000);
	assert_int_equal(acknowledge(&f->vcpu[0]), -1);
	assert_false(send(f, 0, false, APIC_FIXED, 0x40)); /* not enabled by software yet */
}

static void highest_vector_first_and_nesting_by_class(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[0];
	enable(f);
	for (unsigned vector = 16; vector < 256; vector++) {
		self(v, (uint8_t)vector);
		assert_int_equal(get(v, IRR + vector / 32 * 16), 1u << (vector % 32));
		assert_true(interrupted(v));
		assert_int_equal(acknowledge(v), vector);
		assert_int_equal(get(v, ISR + vector / 32 * 16), 1u << (vector % 32));
		assert_int_equal(get(v, PPR), vector & 0xf0);
		assert_false(interrupted(v));
		put(v, EOI, 0);
		assert_int_equal(get(v, PPR), 0);
	}
	self(v, 0x45);
	assert_int_equal(acknowledge(v), 0x45);
	self(v, 0x4f); /* the same class waits */
	assert_false(interrupted(v));
	self(v, 0x50);
	assert_int_equal(acknowledge(v), 0x50);
	put(v, EOI, 0);
	assert_false(interrupted(v));
	put(v, EOI, 0);
	assert_int_equal(acknowledge(v), 0x4f);
}

static void task_priority_holds_back(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[0];
	enable(f);
	self(v, 0x5a);
	v->controller.cr8_write(v->controller.opaque, 5);
	assert_int_equal(get(v, TPR), 0x50);
	assert_false(interrupted(v));
	assert_int_equal(acknowledge(v), -1);
	put(v, TPR, 0x4f);
	assert_int_equal(get(v, PPR), 0x4f);
	assert_int_equal(v->controller.cr8_read(v->controller.opaque), 4);
	assert_true(interrupted(v));
	assert_int_equal(acknowledge(v), 0x5a);
}

static void physical_and_shorthand_destinations(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[1];
	enable(f);
	for (uint32_t id = 0; id < CPUS; id++) {
		put(v, ICR_HIGH, id << 24);
		put(v, ICR, 0x40);
		assert_int_equal(takers(f), 1u << id);
	}
	put(v, ICR_HIGH, 0xff000000);
	put(v, ICR, 0x40);
	assert_int_equal(takers(f), 7);
	put(v, ICR, 0x40040);
	assert_int_equal(takers(f), 2);
	put(v, ICR, 0x80040);
	assert_int_equal(takers(f), 7);
	put(v, ICR, 0xc0040);
	assert_int_equal(takers(f), 5);
	put(v, ICR_HIGH, 0x09000000);
	put(v, ICR, 0x40);
	assert_int_equal(takers(f), 0);
}

static void logical_destinations_flat_and_cluster(void **state)
{
	struct fixture *f = *state;
	enable(f);
	for (unsigned i = 0; i < CPUS; i++)
		put(&f->vcpu[i], LDR, 1u << (24 + i));
	assert_true(send(f, 0x05, true, APIC_FIXED, 0x40));
	assert_int_equal(takers(f), 5);
	assert_false(send(f, 0x80, true, APIC_FIXED, 0x40));
	for (unsigned i = 0; i < CPUS; i++) {
		put(&f->vcpu[i], DFR, 0);
		put(&f->vcpu[i], LDR, i < 2 ? (0x10u | 1u << i) << 24 : 0x21u << 24);
	}
	assert_int_equal(get(&f->vcpu[0], DFR), 0x0fffffff);
	assert_true(send(f, 0x13, true, APIC_FIXED, 0x40));
	assert_int_equal(takers(f), 3);
	assert_true(send(f, 0x2f, true, APIC_FIXED, 0x40));
	assert_int_equal(takers(f), 4);
	assert_true(send(f, APIC_BROADCAST, true, APIC_FIXED, 0x40));
	assert_int_equal(takers(f), 7);
}

static void lowest_priority_and_turns(void **state)
{
	struct fixture *f = *state;
	enable(f);
	for (unsigned i = 0; i < CPUS; i++)
		put(&f->vcpu[i], LDR, 1u << (24 + i));
	put(&f->vcpu[0], TPR, 0x20);
	unsigned counts[8] = {0};
	for (unsigned i = 0; i < 20; i++) {
		assert_true(send(f, 7, true, APIC_LOWEST_PRIORITY, 0x40));
		counts[takers(f)]++;
	}
	assert_int_equal(counts[2], 10);
	assert_int_equal(counts[4], 10);
}

static void nmi_init_startup_and_smi_reach_the_pin(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[0], *other = &f->vcpu[1];
	enable(f);
	put(other, TPR, 0x30);
	put(v, ICR_HIGH, 1u << 24);
	put(v, ICR, 0x4400);
	assert_int_equal(other->requests, CPU_REQUEST_NMI);
	put(v, ICR, 0xc500);
	assert_int_equal(other->requests, CPU_REQUEST_NMI | CPU_REQUEST_INIT);
	assert_int_equal(get(other, TPR), 0); /* INIT resets the local APIC */
	assert_int_equal(get(other, SVR), 0xff);
	other->requests = 0;
	put(v, ICR, 0x8500); /* the de-assert does nothing */
	assert_int_equal(other->requests, 0);
	put(v, ICR, 0x4699); /* software-disabled, it still starts up */
	assert_int_equal(other->requests, CPU_REQUEST_STARTUP);
	assert_int_equal(other->startup, 0x99);
	put(v, ICR, 0x4200);
	assert_int_equal(other->requests, CPU_REQUEST_STARTUP | CPU_REQUEST_SMI);
	assert_int_equal(v->requests | f->vcpu[2].requests, 0);
}

static void eoi_is_broadcast_for_levels_only(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[0];
	struct apic_sink sink = lapic_bus_sink(f->bus);
	const struct apic_message level = {.vector = 0x61, .level = true, .delivery = APIC_FIXED};
	enable(f);
	self(v, 0x60);
	(void)acknowledge(v);
	put(v, EOI, 0);
	assert_int_equal(f->eois, 0);
	assert_true(sink.send(sink.opaque, &level));
	assert_int_equal(get(v, TMR + 0x30), 2);
	assert_int_equal(acknowledge(v), 0x61);
	put(v, EOI, 0);
	assert_int_equal(f->eois, 1);
	assert_int_equal(f->eoi_vector, 0x61);
	put(v, SVR, 0x11ff); /* suppressed */
	assert_true(sink.send(sink.opaque, &level));
	(void)acknowledge(v);
	put(v, EOI, 0);
	assert_int_equal(f->eois, 1);
	put(v, EOI, 0); /* nothing in service */
	self(v, 0x61);	/* as an edge the same vector is not broadcast */
	put(v, SVR, 0x1ff);
	(void)acknowledge(v);
	put(v, EOI, 0);
	assert_int_equal(f->eois, 1);
}

static void extint_passes_the_8259(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[0];
	f->extint = true;
	lapic_lint(v->lapic, 0, true);
	assert_false(interrupted(v)); /* LINT0 is masked after reset */
	lapic_virtual_wire(v->lapic);
	assert_int_equal(get(v, LVT_LINT0), 0x700);
	assert_int_equal(get(v, LVT_LINT1), 0x400);
	assert_true(interrupted(v));
	self(v, 0x20);
	assert_int_equal(acknowledge(v), 0x20);
	assert_int_equal(acknowledge(v), 0x31);
	lapic_lint(v->lapic, 0, false);
	assert_false(interrupted(v));
	assert_int_equal(acknowledge(v), -1);
	put(v, LVT_LINT0, 0x10700);
	lapic_lint(v->lapic, 0, true);
	assert_false(interrupted(v));
	/* Off altogether, the pin is the processor's INTR. */
	assert_true(wrmsr(v, MSR_BASE, 0xfee00100));
	assert_true(interrupted(v));
	assert_int_equal(acknowledge(v), 0x37);
	/* As a message from the I/O APIC. */
	lapic_lint(v->lapic, 0, false);
	put(&f->vcpu[1], SVR, 0x1ff);
	assert_true(send(f, 1, false, APIC_EXTINT, 0));
	assert_int_equal(acknowledge(&f->vcpu[1]), 0x37);
	assert_int_equal(acknowledge(&f->vcpu[1]), -1);
}

static void lint_pins_as_fixed_edge_level_and_nmi(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[0];
	enable(f);
	put(v, LVT_LINT1, 0x400);
	lapic_lint(v->lapic, 1, true);
	lapic_lint(v->lapic, 1, true);
	assert_int_equal(v->requests, CPU_REQUEST_NMI);
	put(v, LVT_LINT0, 0x48);
	lapic_lint(v->lapic, 0, true);
	assert_int_equal(acknowledge(v), 0x48);
	put(v, EOI, 0);
	assert_int_equal(acknowledge(v), -1);
	lapic_lint(v->lapic, 0, false);
	put(v, LVT_LINT0, 0x8048);
	lapic_lint(v->lapic, 0, true);
	assert_int_equal(get(v, LVT_LINT0), 0xc048);
	assert_int_equal(acknowledge(v), 0x48);
	put(v, EOI, 0);
	assert_int_equal(acknowledge(v), 0x48); /* still high */
	lapic_lint(v->lapic, 0, false);
	put(v, EOI, 0);
	assert_int_equal(get(v, LVT_LINT0), 0x8048);
	assert_int_equal(acknowledge(v), -1);
}

static void errors_are_latched_by_a_write(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[0];
	enable(f);
	put(v, LVT_ERROR, 0xfe);
	self(v, 0x0f);
	assert_int_equal(get(v, ESR), 0);
	put(v, ESR, 0);
	assert_int_equal(get(v, ESR), 0x20);
	assert_int_equal(acknowledge(v), 0xfe);
	put(v, EOI, 0);
	assert_true(send(f, 0, false, APIC_FIXED, 3));
	assert_int_equal(get(v, 0x2f0), 0); /* there is no CMCI register */
	assert_int_equal(get(v, 0x7f0), 0);
	put(v, ESR, 0);
	assert_int_equal(get(v, ESR), 0xc0);
	put(v, ESR, 0);
	assert_int_equal(get(v, ESR), 0);
	put(v, LVT_ERROR, 0x01); /* an error whose own vector is illegal ends there */
	self(v, 0x01);
	put(v, ESR, 0);
	assert_int_equal(get(v, ESR), 0x60);
}

static void software_disable_masks_the_lvt(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[0];
	enable(f);
	for (unsigned lvt = LVT_TIMER; lvt <= LVT_ERROR; lvt += 16)
		put(v, lvt, 0x40);
	put(v, SVR, 0xff);
	for (unsigned lvt = LVT_TIMER; lvt <= LVT_ERROR; lvt += 16)
		assert_int_equal(get(v, lvt), 0x10040);
	put(v, LVT_TIMER, 0x41);
	assert_int_equal(get(v, LVT_TIMER), 0x10041);
	put(v, SVR, 0x1ff);
	assert_int_equal(get(v, LVT_TIMER), 0x10041);
}

/* Everything in flight is forgotten by INIT and by reset; pins keep their levels. */
static void init_and_reset_forget(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[1];
	for (unsigned round = 0; round < 2; round++) {
		enable(f);
		put(v, LVT_TIMER, 0x40040);
		assert_true(wrmsr(v, MSR_DEADLINE, clock_tsc(&f->rig.clock) + 1000));
		self(v, 0x55);
		self(v, 3); /* an error */
		assert_true(send(f, 1, false, APIC_EXTINT, 0));
		assert_true(interrupted(v));
		if (round == 0)
			assert_true(send(f, 1, false, APIC_INIT, 0));
		else
			lapic_reset(v->lapic);
		assert_false(interrupted(v));
		assert_true(msr_value(v, MSR_DEADLINE) == 0);
		assert_null(f->rig.clock.timers);
		enable(f);
		put(v, ESR, 0);
		assert_int_equal(get(v, ESR), 0);
		assert_int_equal(acknowledge(v), -1);
	}
	/* A register page that had moved is back. */
	assert_true(wrmsr(v, MSR_BASE, 0xd0000800));
	lapic_reset(v->lapic);
	assert_int_equal(v->mmio.count, 1);
	assert_int_equal(get(v, ID), 0x01000000);
}

/* One pin's programming is the other's no business, and one that is unmasked while high and level fires at once. */
static void lint_programmed_while_high(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[0];
	enable(f);
	lapic_lint(v->lapic, 0, true);
	put(v, LVT_LINT1, 0x49);
	put(v, LVT_LINT0, 0x48); /* an edge that has passed */
	assert_int_equal(acknowledge(v), -1);
	put(v, LVT_LINT0, 0x8048);
	assert_int_equal(acknowledge(v), 0x48);
	self(v, 0x90);
	assert_int_equal(acknowledge(v), 0x90);
	put(v, EOI, 0);
	assert_int_equal(get(v, LVT_LINT0), 0xc048); /* another vector's EOI */
	lapic_lint(v->lapic, 0, false);
	put(v, EOI, 0);
	lapic_lint(v->lapic, 1, true);
	lapic_lint(v->lapic, 1, true); /* one edge */
	assert_int_equal(acknowledge(v), 0x49);
	put(v, EOI, 0);
	assert_int_equal(acknowledge(v), -1);
	lapic_lint(v->lapic, 1, false); /* the fall is none */
	assert_int_equal(acknowledge(v), -1);
	lapic_lint(v->lapic, 2, true);
	lapic_lint(v->lapic, -1, true);
	put(v, LVT_LINT1, 0x749); /* ExtINT belongs to LINT0 */
	lapic_lint(v->lapic, 1, true);
	assert_int_equal(acknowledge(v), -1);
	put(v, 0x340, 0x4a); /* performance, thermal: kept */
	assert_int_equal(get(v, 0x340), 0x4a);
	put(v, 0x7f0, 0);
	put(v, ESR, 0);
	assert_int_equal(get(v, ESR), 0x80);
}

static void senders_learn_whether_anyone_took_it(void **state)
{
	struct fixture *f = *state;
	static const enum apic_delivery anyway[] = {APIC_SMI, APIC_NMI, APIC_STARTUP, APIC_INIT};
	for (unsigned i = 0; i < sizeof anyway / sizeof anyway[0]; i++)
		assert_true(send(f, 0, false, anyway[i], 0));
	assert_false(send(f, 0, false, APIC_EXTINT, 0));
	put(&f->vcpu[0], SVR, 0x1ff);
	assert_true(send(f, APIC_BROADCAST, false, APIC_FIXED, 0x40)); /* by one of three */
	assert_true(send(f, APIC_BROADCAST, true, APIC_LOWEST_PRIORITY, 0x40));
	assert_int_equal(takers(f), 1);
	assert_true(wrmsr(&f->vcpu[0], MSR_BASE, 0xfee00100));
	assert_false(send(f, 0, false, APIC_NMI, 0));		/* off the bus */
	assert_true(lapic_bus_msi(f->bus, 0xfee01000, 0x8400)); /* NMI */
	put(&f->vcpu[1], SVR, 0x1ff);
	assert_true(lapic_bus_msi(f->bus, 0xfee01000, 0x45));
	assert_int_equal(get(&f->vcpu[1], TMR + 0x20), 0);
	assert_true(lapic_bus_msi(f->bus, 0xfee01000, 0x8045));
	assert_int_equal(get(&f->vcpu[1], TMR + 0x20), 0x20);
}

static void msi_address_and_data(void **state)
{
	struct fixture *f = *state;
	enable(f);
	assert_true(lapic_bus_msi(f->bus, 0xfee01000, 0x45));
	assert_int_equal(acknowledge(&f->vcpu[1]), 0x45);
	put(&f->vcpu[1], EOI, 0);
	assert_true(lapic_bus_msi(f->bus, 0xfeeff000, 0x45));
	assert_int_equal(takers(f), 7);
	assert_false(lapic_bus_msi(f->bus, 0xfef00000, 0x45));
	assert_false(lapic_bus_msi(f->bus, UINT64_C(0x1fee01000), 0x45));
	assert_false(lapic_bus_msi(f->bus, 0xfee01000, 0x300)); /* a reserved delivery mode */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(state_after_reset),
	    TEST(highest_vector_first_and_nesting_by_class),
	    TEST(task_priority_holds_back),
	    TEST(physical_and_shorthand_destinations),
	    TEST(logical_destinations_flat_and_cluster),
	    TEST(lowest_priority_and_turns),
	    TEST(nmi_init_startup_and_smi_reach_the_pin),
	    TEST(eoi_is_broadcast_for_levels_only),
	    TEST(extint_passes_the_8259),
	    TEST(lint_pins_as_fixed_edge_level_and_nmi),
	    TEST(errors_are_latched_by_a_write),
	    TEST(software_disable_masks_the_lvt),
	    TEST(init_and_reset_forget),
	    TEST(lint_programmed_while_high),
	    TEST(senders_learn_whether_anyone_took_it),
	    TEST(msi_address_and_data),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
