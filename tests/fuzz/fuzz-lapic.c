/* SPDX-License-Identifier: MIT */
/*
 * Two local APICs that send each other anything, by MMIO and MSR, with lines, messages and time. The INTERRUPT request
 * at a pin and what acknowledge returns always agree.
 */
#include "fuzz-rig.h"

#include "devices/lapic.h"

#define CPUS 2u

struct vcpu {
	uint32_t requests;
	struct lapic *lapic;
	struct interrupt_controller controller;
	struct io_map mmio;
};

static void pin_request(void *opaque, uint32_t bits)
{
	((struct vcpu *)opaque)->requests |= bits;
}

static void pin_withdraw(void *opaque, uint32_t bits)
{
	((struct vcpu *)opaque)->requests &= ~bits;
}

static uint8_t extint_acknowledge(void *opaque)
{
	(void)opaque;
	return 0x30;
}

static void eoi_broadcast(void *opaque, uint8_t vector)
{
	(void)opaque;
	assert(vector >= 16);
}

static void check_acknowledge(struct vcpu *vcpu)
{
	bool requested = (vcpu->requests & CPU_REQUEST_INTERRUPT) != 0;
	int vector = vcpu->controller.acknowledge(vcpu->controller.opaque);
	assert(requested == (vector >= 0));
	assert(vector < 256 && (vector < 0 || vector >= 16));
}

static void access_msr(struct fuzz_rig *rig, struct vcpu *vcpu, bool write)
{
	static const uint32_t others[4] = {0x1b, 0x6e0, 0x1b, 0x8ff};
	uint8_t choice = fuzz_byte(rig);
	uint32_t msr = choice < 0xe0 ? 0x800u + choice % 64 : others[choice & 3];
	uint64_t value = 0;
	if (!write) {
		(void)vcpu->controller.msr_read(vcpu->controller.opaque, msr, &value);
		return;
	}
	/* Bases and deadlines that are near the sensible. */
	value = fuzz_number(rig, msr == 0x830 ? 8 : 4);
	if (msr == 0x1b)
		value = 0xfee00000 | (value & 0xd00);
	(void)vcpu->controller.msr_write(vcpu->controller.opaque, msr, value);
}

static void access_mmio(struct fuzz_rig *rig, struct vcpu *vcpu, bool write)
{
	uint8_t choice = fuzz_byte(rig);
	uint64_t address = LAPIC_DEFAULT_BASE + (choice < 0xf0 ? (choice % 64u) * 16 : fuzz_number(rig, 2) & 0xfff);
	unsigned size = choice < 0xf0 ? 4 : 1u << (choice & 3);
	if (write)
		io_write(&vcpu->mmio, address, size, fuzz_number(rig, size));
	else
		(void)io_read(&vcpu->mmio, address, size);
}

static void act(struct fuzz_rig *rig, struct lapic_bus *bus, struct vcpu *vcpu)
{
	uint8_t action = fuzz_byte(rig);
	if (action < 0x50)
		access_mmio(rig, vcpu, true);
	else if (action < 0x60)
		access_mmio(rig, vcpu, false);
	else if (action < 0x90)
		access_msr(rig, vcpu, true);
	else if (action < 0xa0)
		access_msr(rig, vcpu, false);
	else if (action < 0xb0)
		lapic_lint(vcpu->lapic, action & 1, (action & 2) != 0);
	else if (action < 0xc0)
		(void)lapic_bus_msi(bus, 0xfee00000 | fuzz_number(rig, 3), (uint32_t)fuzz_number(rig, 2));
	else if (action < 0xd0)
		fuzz_advance(rig, 24);
	else if (action < 0xd8)
		vcpu->controller.cr8_write(vcpu->controller.opaque, fuzz_byte(rig));
	else if (action == 0xd8)
		lapic_virtual_wire(vcpu->lapic);
	else if (action == 0xd9)
		lapic_reset(vcpu->lapic);
	else if (action == 0xda)
		vcpu->controller.tsc_changed(vcpu->controller.opaque);
	else
		check_acknowledge(vcpu);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_rig rig;
	struct vcpu vcpus[CPUS] = {0};
	fuzz_init(&rig, data, size);
	struct lapic_bus *bus = lapic_bus_create(eoi_broadcast, NULL, NULL);
	for (unsigned i = 0; i < CPUS; i++) {
		io_map_init(&vcpus[i].mmio, 0);
		const struct lapic_config config = {
		    .clock = &rig.clock,
		    .bus = bus,
		    .id = i,
		    .bootstrap = i == 0,
		    .physical_bits = 40,
		    .pin = {.request = pin_request, .withdraw = pin_withdraw, .opaque = &vcpus[i]},
		    .mmio = &vcpus[i].mmio,
		    .extint_acknowledge = extint_acknowledge,
		};
		vcpus[i].lapic = lapic_create(&config, NULL);
		assert(vcpus[i].lapic != NULL);
		vcpus[i].controller = lapic_controller(vcpus[i].lapic);
	}
	while (rig.left > 0)
		act(&rig, bus, &vcpus[fuzz_byte(&rig) % CPUS]);
	for (unsigned i = 0; i < CPUS; i++)
		lapic_destroy(vcpus[i].lapic);
	lapic_bus_destroy(bus);
	assert(rig.clock.timers == NULL);
	return 0;
}
