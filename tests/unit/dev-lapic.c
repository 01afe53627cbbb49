/* SPDX-License-Identifier: MIT */
/* The local APIC: priorities, both register interfaces, messages between several, LVT and timer. */
#include "devices/lapic.h"
#include "rig.h"

#define CPUS 3
#define MSR_BASE 0x1b
#define MSR_DEADLINE 0x6e0
#define X2(offset) (0x800u + (offset) / 16)

enum {
	ID = 0x20,
	VERSION = 0x30,
	TPR = 0x80,
	PPR = 0xa0,
	EOI = 0xb0,
	LDR = 0xd0,
	DFR = 0xe0,
	SVR = 0xf0,
	ISR = 0x100,
	TMR = 0x180,
	IRR = 0x200,
	ESR = 0x280,
	ICR = 0x300,
	ICR_HIGH = 0x310,
	LVT_TIMER = 0x320,
	LVT_LINT0 = 0x350,
	LVT_LINT1 = 0x360,
	LVT_ERROR = 0x370,
	INITIAL = 0x380,
	CURRENT = 0x390,
	DIVIDE = 0x3e0
};

struct vcpu {
	uint32_t requests;
	uint8_t startup;
	int64_t tsc_offset;
	struct clock *clock;
	struct io_map mmio;
	struct lapic *lapic;
	struct interrupt_controller controller;
};

struct fixture {
	struct rig rig;
	struct lapic_bus *bus;
	struct vcpu vcpu[CPUS];
	unsigned eois;
	uint8_t eoi_vector;
	unsigned locked; /* depth of the device lock */
	bool extint;	 /* the 8259 has something */
};

static void pin_request(void *opaque, uint32_t bits)
{
	((struct vcpu *)opaque)->requests |= bits;
}

static void pin_withdraw(void *opaque, uint32_t bits)
{
	((struct vcpu *)opaque)->requests &= ~bits;
}

static void pin_startup(void *opaque, uint8_t vector)
{
	((struct vcpu *)opaque)->startup = vector;
}

static uint64_t vcpu_tsc(void *opaque)
{
	struct vcpu *vcpu = opaque;
	return clock_tsc(vcpu->clock) + (uint64_t)vcpu->tsc_offset;
}

static void eoi_seen(void *opaque, uint8_t vector)
{
	struct fixture *f = opaque;
	f->eois++;
	f->eoi_vector = vector;
}

static void lock(void *opaque)
{
	struct fixture *f = opaque;
	assert_int_equal(f->locked++, 0);
}

static void unlock(void *opaque)
{
	struct fixture *f = opaque;
	assert_int_equal(--f->locked, 0);
}

static uint8_t extint_acknowledge(void *opaque)
{
	struct fixture *f = opaque;
	uint8_t vector = f->extint ? 0x31 : 0x37;
	f->extint = false;
	return vector;
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	f->bus = lapic_bus_create(eoi_seen, f, NULL);
	for (unsigned i = 0; i < CPUS; i++) {
		struct vcpu *vcpu = &f->vcpu[i];
		vcpu->clock = &f->rig.clock;
		io_map_init(&vcpu->mmio, 0);
		io_map_set_behind(&vcpu->mmio, &f->rig.mmio);
		const struct lapic_config config = {
		    .clock = &f->rig.clock,
		    .bus = f->bus,
		    .id = i,
		    .bootstrap = i == 0,
		    .physical_bits = 40,
		    .pin = {pin_request, pin_withdraw, pin_startup, vcpu},
		    .lock = {lock, unlock, f},
		    .mmio = &vcpu->mmio,
		    .extint_acknowledge = extint_acknowledge,
		    .extint_opaque = f,
		    .tsc = vcpu_tsc,
		    .tsc_opaque = vcpu,
		};
		vcpu->lapic = lapic_create(&config, NULL);
		vcpu->controller = lapic_controller(vcpu->lapic);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < CPUS; i++)
		lapic_destroy(f->vcpu[i].lapic);
	lapic_bus_destroy(f->bus);
	assert_null(f->rig.clock.timers);
	test_free(f);
	return 0;
}

static uint32_t get(struct vcpu *vcpu, unsigned offset)
{
	return (uint32_t)io_read(&vcpu->mmio, LAPIC_DEFAULT_BASE + offset, 4);
}

static void put(struct vcpu *vcpu, unsigned offset, uint32_t value)
{
	io_write(&vcpu->mmio, LAPIC_DEFAULT_BASE + offset, 4, value);
}

static bool wrmsr(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	return vcpu->controller.msr_write(vcpu->controller.opaque, msr, value);
}

static bool rdmsr(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	return vcpu->controller.msr_read(vcpu->controller.opaque, msr, value);
}

static uint64_t msr_value(struct vcpu *vcpu, uint32_t msr)
{
	uint64_t value = 0;
	assert_true(rdmsr(vcpu, msr, &value));
	return value;
}

static int acknowledge(struct vcpu *vcpu)
{
	return vcpu->controller.acknowledge(vcpu->controller.opaque);
}

static bool interrupted(const struct vcpu *vcpu)
{
	return (vcpu->requests & CPU_REQUEST_INTERRUPT) != 0;
}

static void enable(struct fixture *f)
{
	for (unsigned i = 0; i < CPUS; i++)
		put(&f->vcpu[i], SVR, 0x1ff);
}

static void enable_x2apic(struct vcpu *vcpu)
{
	assert_true(wrmsr(vcpu, MSR_BASE, msr_value(vcpu, MSR_BASE) | 0x400));
	assert_true(wrmsr(vcpu, X2(SVR), 0x1ff));
}

/* A fixed interrupt to oneself. */
static void self(struct vcpu *vcpu, uint8_t vector)
{
	put(vcpu, ICR, 0x40000u | vector);
}

static bool send(struct fixture *f, uint32_t destination, bool logical, enum apic_delivery delivery, uint8_t vector)
{
	struct apic_sink sink = lapic_bus_sink(f->bus);
	const struct apic_message message = {
	    .destination = destination, .logical = logical, .vector = vector, .delivery = delivery};
	return sink.send(sink.opaque, &message);
}

/* Which vCPUs have an interrupt, as bits; takes and ends them. */
static unsigned takers(struct fixture *f)
{
	unsigned mask = 0;
	for (unsigned i = 0; i < CPUS; i++) {
		if (acknowledge(&f->vcpu[i]) < 0)
			continue;
		mask |= 1u << i;
		uint64_t unused;
		if (rdmsr(&f->vcpu[i], X2(ID), &unused))
			assert_true(wrmsr(&f->vcpu[i], X2(EOI), 0));
		else
			put(&f->vcpu[i], EOI, 0);
	}
	return mask;
}

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
	put(v, LVT_TIMER, 0x40);
	put(v, SVR, 0xff);
	assert_int_equal(get(v, LVT_TIMER), 0x10040);
	put(v, LVT_TIMER, 0x41);
	assert_int_equal(get(v, LVT_TIMER), 0x10041);
	put(v, SVR, 0x1ff);
	assert_int_equal(get(v, LVT_TIMER), 0x10041);
}

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
	lapic_tsc_changed(v->lapic);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
	    TEST(one_shot_timer),
	    TEST(divider_changed_in_the_middle),
	    TEST(periodic_timer),
	    TEST(tsc_deadline_timer),
	    TEST(x2apic_mode_and_its_transitions),
	    TEST(x2apic_registers_fault_where_the_manual_says),
	    TEST(x2apic_interrupts),
	    TEST(msi_address_and_data),
	    TEST(register_page_moves),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
