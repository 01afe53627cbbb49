/* SPDX-License-Identifier: MIT */
/* Three vCPUs' local APICs on one bus, for their tests. */
#ifndef NFOLD_TESTS_UNIT_LAPIC_RIG_H
#define NFOLD_TESTS_UNIT_LAPIC_RIG_H

#include "rig.h"

#include "devices/lapic.h"

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

static inline void pin_request(void *opaque, uint32_t bits)
{
	((struct vcpu *)opaque)->requests |= bits;
}

static inline void pin_withdraw(void *opaque, uint32_t bits)
{
	((struct vcpu *)opaque)->requests &= ~bits;
}

static inline void pin_startup(void *opaque, uint8_t vector)
{
	((struct vcpu *)opaque)->startup = vector;
}

static inline uint64_t vcpu_tsc(void *opaque)
{
	struct vcpu *vcpu = opaque;
	return clock_tsc(vcpu->clock) + (uint64_t)vcpu->tsc_offset;
}

static inline void eoi_seen(void *opaque, uint8_t vector)
{
	struct fixture *f = opaque;
	f->eois++;
	f->eoi_vector = vector;
}

static inline void lock(void *opaque)
{
	struct fixture *f = opaque;
	assert_int_equal(f->locked++, 0);
}

static inline void unlock(void *opaque)
{
	struct fixture *f = opaque;
	assert_int_equal(--f->locked, 0);
}

static inline uint8_t extint_acknowledge(void *opaque)
{
	struct fixture *f = opaque;
	uint8_t vector = f->extint ? 0x31 : 0x37;
	f->extint = false;
	return vector;
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < CPUS; i++)
		lapic_destroy(f->vcpu[i].lapic);
	lapic_bus_destroy(f->bus);
	assert_null(f->rig.clock.timers);
	test_free(f);
	return 0;
}

static inline uint32_t get(struct vcpu *vcpu, unsigned offset)
{
	return (uint32_t)io_read(&vcpu->mmio, LAPIC_DEFAULT_BASE + offset, 4);
}

static inline void put(struct vcpu *vcpu, unsigned offset, uint32_t value)
{
	io_write(&vcpu->mmio, LAPIC_DEFAULT_BASE + offset, 4, value);
}

static inline bool wrmsr(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	return vcpu->controller.msr_write(vcpu->controller.opaque, msr, value);
}

static inline bool rdmsr(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	return vcpu->controller.msr_read(vcpu->controller.opaque, msr, value);
}

static inline uint64_t msr_value(struct vcpu *vcpu, uint32_t msr)
{
	uint64_t value = 0;
	assert_true(rdmsr(vcpu, msr, &value));
	return value;
}

static inline int acknowledge(struct vcpu *vcpu)
{
	return vcpu->controller.acknowledge(vcpu->controller.opaque);
}

static inline bool interrupted(const struct vcpu *vcpu)
{
	return (vcpu->requests & CPU_REQUEST_INTERRUPT) != 0;
}

static inline void enable(struct fixture *f)
{
	for (unsigned i = 0; i < CPUS; i++)
		put(&f->vcpu[i], SVR, 0x1ff);
}

static inline void enable_x2apic(struct vcpu *vcpu)
{
	assert_true(wrmsr(vcpu, MSR_BASE, msr_value(vcpu, MSR_BASE) | 0x400));
	assert_true(wrmsr(vcpu, X2(SVR), 0x1ff));
}

/* A fixed interrupt to oneself. */
static inline void self(struct vcpu *vcpu, uint8_t vector)
{
	put(vcpu, ICR, 0x40000u | vector);
}

static inline bool send(struct fixture *f, uint32_t destination, bool logical, enum apic_delivery delivery,
			uint8_t vector)
{
	struct apic_sink sink = lapic_bus_sink(f->bus);
	const struct apic_message message = {
	    .destination = destination, .logical = logical, .vector = vector, .delivery = delivery};
	return sink.send(sink.opaque, &message);
}

/* Which vCPUs have an interrupt, as bits; takes and ends them. */
static inline unsigned takers(struct fixture *f)
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
