/* SPDX-License-Identifier: MIT */
/* The local APIC's timer, its x2APIC interface and the place of its register page. */
#include "lapic-rig.h"

static void one_shot_timer(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[0];
	enable(f);
	put(v, LVT_TIMER, 0x40);
	put(v, DIVIDE, 0x0b); /* by 1 */
	put(v, INITIAL, 1000);
	clock_advance(&f->rig.clock, 999);
	assert_int_equal(get(v, CURRENT), 1);
	assert_false(interrupted(v));
	clock_advance(&f->rig.clock, 1);
	assert_int_equal(acknowledge(v), 0x40);
	put(v, EOI, 0);
	clock_advance(&f->rig.clock, 100000);
	assert_int_equal(get(v, CURRENT), 0);
	assert_false(interrupted(v));
	/* Dividers 2, 4, 8, 16, 32, 64, 128. */
	static const uint8_t divide[7] = {0, 1, 2, 3, 8, 9, 10};
	for (unsigned i = 0; i < 7; i++) {
		put(v, DIVIDE, divide[i]);
		put(v, INITIAL, 100);
		clock_advance(&f->rig.clock, (200ull << i) - 1);
		assert_false(interrupted(v));
		clock_advance(&f->rig.clock, 1);
		assert_int_equal(acknowledge(v), 0x40);
		put(v, EOI, 0);
	}
	/* Zero stops. */
	put(v, INITIAL, 100);
	put(v, INITIAL, 0);
	clock_advance(&f->rig.clock, CLOCK_SECOND);
	assert_false(interrupted(v));
}

static void divider_changed_in_the_middle(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[0];
	enable(f);
	put(v, LVT_TIMER, 0x40);
	put(v, DIVIDE, 0x0b);
	put(v, INITIAL, 1000);
	clock_advance(&f->rig.clock, 400);
	put(v, DIVIDE, 0x00); /* by 2: 600 are left, for 1200 ns */
	assert_int_equal(get(v, CURRENT), 600);
	clock_advance(&f->rig.clock, 1199);
	assert_false(interrupted(v));
	clock_advance(&f->rig.clock, 1);
	assert_true(interrupted(v));
}

static void periodic_timer(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[0];
	enable(f);
	put(v, DIVIDE, 0x0b);
	put(v, LVT_TIMER, 0x20040);
	put(v, INITIAL, 1000000);
	for (unsigned i = 0; i < 5; i++) {
		clock_advance(&f->rig.clock, 999999);
		assert_int_equal(get(v, CURRENT), 1);
		assert_false(interrupted(v));
		clock_advance(&f->rig.clock, 1);
		assert_int_equal(acknowledge(v), 0x40);
		put(v, EOI, 0);
	}
	/* Masked it goes on counting. */
	put(v, LVT_TIMER, 0x30040);
	clock_advance(&f->rig.clock, 2500000);
	assert_int_equal(get(v, CURRENT), 500000);
	assert_false(interrupted(v));
	put(v, LVT_TIMER, 0x20040);
	clock_advance(&f->rig.clock, 499999);
	assert_false(interrupted(v));
	clock_advance(&f->rig.clock, 1);
	assert_true(interrupted(v));
	/* The shortest period does not take the host's time: 1 ns becomes LAPIC_MINIMUM_PERIOD_NS. */
	put(v, INITIAL, 1);
	unsigned count = 0;
	for (unsigned i = 0; i < 100; i++) {
		clock_advance(&f->rig.clock, LAPIC_MINIMUM_PERIOD_NS / 2);
		for (; acknowledge(v) >= 0; count++)
			put(v, EOI, 0);
	}
	assert_in_range(count, 50, 51);
}

static void tsc_deadline_timer(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[0];
	enable(f);
	assert_true(wrmsr(v, MSR_DEADLINE, 5000)); /* not in this mode: ignored */
	assert_true(msr_value(v, MSR_DEADLINE) == 0);
	put(v, LVT_TIMER, 0x40040);
	v->tsc_offset = 1000000;
	assert_true(wrmsr(v, MSR_DEADLINE, 1000500));
	assert_true(msr_value(v, MSR_DEADLINE) == 1000500);
	clock_advance(&f->rig.clock, 499);
	assert_false(interrupted(v));
	clock_advance(&f->rig.clock, 1);
	assert_int_equal(acknowledge(v), 0x40);
	put(v, EOI, 0);
	assert_true(msr_value(v, MSR_DEADLINE) == 0);
	/* In the past it fires at once; zero disarms; the TSC may be written meanwhile. */
	assert_true(wrmsr(v, MSR_DEADLINE, 1));
	assert_int_equal(acknowledge(v), 0x40);
	put(v, EOI, 0);
	assert_true(wrmsr(v, MSR_DEADLINE, 1002000));
	assert_true(wrmsr(v, MSR_DEADLINE, 0));
	clock_advance(&f->rig.clock, 10000);
	assert_false(interrupted(v));
	assert_true(wrmsr(v, MSR_DEADLINE, UINT64_MAX));
	v->tsc_offset = -1 - (int64_t)clock_tsc(&f->rig.clock) - 100;
	v->controller.tsc_changed(v->controller.opaque);
	clock_advance(&f->rig.clock, 99);
	assert_false(interrupted(v));
	clock_advance(&f->rig.clock, 1);
	assert_true(interrupted(v));
	put(v, INITIAL, 100); /* has no meaning in this mode */
	assert_int_equal(get(v, INITIAL), 0);
}

static void x2apic_mode_and_its_transitions(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[2];
	uint64_t value;
	assert_false(rdmsr(v, X2(ID), &value)); /* not in xAPIC mode */
	assert_false(wrmsr(v, MSR_BASE, 0xfee00400));
	enable_x2apic(v);
	assert_int_equal(v->mmio.count, 0); /* the page is gone */
	assert_int_equal(get(v, ID), UINT32_MAX);
	assert_true(msr_value(v, X2(ID)) == 2);
	assert_true(msr_value(v, X2(LDR)) == 4);
	assert_false(wrmsr(v, MSR_BASE, 0xfee00800)); /* back to xAPIC is not allowed */
	assert_false(wrmsr(v, MSR_BASE, 0xfee00400));
	assert_true(wrmsr(v, MSR_BASE, 0xfee00000));
	assert_false(wrmsr(v, MSR_BASE, 0xfee00c00)); /* nor from off to x2APIC */
	assert_true(wrmsr(v, MSR_BASE, 0xfee00800));
	assert_int_equal(get(v, SVR), 0xff); /* reset on the way */
	assert_false(wrmsr(v, MSR_BASE, 0xfee00800 | 1u << 9));
	assert_false(wrmsr(v, MSR_BASE, UINT64_C(1) << 40 | 0x800));
}

static void x2apic_registers_fault_where_the_manual_says(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[0];
	uint64_t value;
	enable_x2apic(v);
	static const unsigned unreadable[] = {EOI, DFR, 0x090, 0x0c0, ICR_HIGH, 0x2f0, 0x3f0, 0x000, 0x3a0};
	static const unsigned unwritable[] = {ID, VERSION, PPR, LDR, DFR, ISR, TMR, IRR, ICR_HIGH, CURRENT, 0x2f0};
	for (unsigned i = 0; i < sizeof unreadable / sizeof unreadable[0]; i++)
		assert_false(rdmsr(v, X2(unreadable[i]), &value));
	for (unsigned i = 0; i < sizeof unwritable / sizeof unwritable[0]; i++)
		assert_false(wrmsr(v, X2(unwritable[i]), 0));
	assert_false(rdmsr(v, 0x840, &value));
	assert_false(rdmsr(v, 0x8ff, &value));
	assert_false(rdmsr(v, 0x900, &value));
	assert_false(wrmsr(v, X2(EOI), 1)); /* reserved bits */
	assert_false(wrmsr(v, X2(ESR), 1));
	assert_false(wrmsr(v, X2(TPR), 0x100));
	assert_false(wrmsr(v, X2(LVT_TIMER), UINT64_C(1) << 32));
	assert_false(wrmsr(v, X2(DIVIDE), 4));
	assert_true(wrmsr(v, X2(TPR), 0xff));
	assert_true(wrmsr(v, X2(EOI), 0));
	/* Read-only bits of the LVT, as Linux writes back what it read: no fault and no effect. */
	assert_true(wrmsr(v, X2(LVT_LINT0), 0x15700));
	assert_true(msr_value(v, X2(LVT_LINT0)) == 0x10700);
	assert_true(wrmsr(v, X2(LVT_TIMER), 0x11000));
	assert_false(wrmsr(v, X2(LVT_TIMER), 0x14000));
}

static void x2apic_interrupts(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < CPUS; i++)
		enable_x2apic(&f->vcpu[i]);
	struct vcpu *v = &f->vcpu[0];
	assert_true(wrmsr(v, 0x83f, 0x55)); /* self IPI */
	assert_int_equal(takers(f), 1);
	assert_true(wrmsr(v, X2(ICR), UINT64_C(2) << 32 | 0x40));
	assert_int_equal(takers(f), 4);
	assert_true(msr_value(v, X2(ICR)) == (UINT64_C(2) << 32 | 0x40));
	assert_true(wrmsr(v, X2(ICR), UINT64_C(6) << 32 | 0x840)); /* logical: 1 and 2 of cluster 0 */
	assert_int_equal(takers(f), 6);
	assert_true(wrmsr(v, X2(ICR), UINT64_C(0xffffffff) << 32 | 0x40));
	assert_int_equal(takers(f), 7);
	assert_true(wrmsr(v, X2(ICR), UINT64_C(0xff) << 32 | 0x40)); /* an ID here, not all */
	assert_int_equal(takers(f), 0);
	assert_true(wrmsr(v, X2(ICR), UINT64_C(0x10006) << 32 | 0x840)); /* another cluster */
	assert_int_equal(takers(f), 0);
}

static void register_page_moves(void **state)
{
	struct fixture *f = *state;
	struct vcpu *v = &f->vcpu[0];
	assert_true(wrmsr(v, MSR_BASE, 0xd0000900));
	assert_int_equal(get(v, VERSION), UINT32_MAX);
	assert_int_equal(io_read(&v->mmio, 0xd0000030, 4), 0x01050014);
	assert_int_equal(get(&f->vcpu[1], ID), 0x01000000); /* a sibling's stays */
	lapic_reset(v->lapic);
	assert_int_equal(get(v, VERSION), 0x01050014);
	/* Narrow and wide accesses stay within. */
	assert_int_equal(io_read(&v->mmio, LAPIC_DEFAULT_BASE + VERSION, 1), 0x14);
	assert_true(io_read(&v->mmio, LAPIC_DEFAULT_BASE + VERSION, 8) == 0x01050014);
	assert_int_equal(io_read(&v->mmio, LAPIC_DEFAULT_BASE + 0xffc, 4), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(one_shot_timer),
	    TEST(divider_changed_in_the_middle),
	    TEST(periodic_timer),
	    TEST(tsc_deadline_timer),
	    TEST(x2apic_mode_and_its_transitions),
	    TEST(x2apic_registers_fault_where_the_manual_says),
	    TEST(x2apic_interrupts),
	    TEST(register_page_moves),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
