/* SPDX-License-Identifier: MIT */
#include "double-engine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct engine_vcpu {
	struct cpu cpu;
	struct guest *guest;
};

struct engine {
	struct memory *memory;
	const struct cpu_model *model;
};

static _Thread_local struct guest *next_guest;

void double_engine_set_guest(struct guest *guest)
{
	next_guest = guest;
}

static void ignore_flush_all(void *opaque, bool global)
{
	(void)opaque;
	(void)global;
}

static void ignore_flush_page(void *opaque, uint64_t linear)
{
	(void)opaque;
	(void)linear;
}

static void ignore_code_write(void *opaque, uint64_t gpa, uint64_t size)
{
	(void)opaque;
	(void)gpa;
	(void)size;
}

struct engine *engine_create(struct memory *memory, const struct cpu_model *model, const struct engine_options *options,
			     struct error *error)
{
	(void)options;
	(void)error;
	struct engine *engine = calloc(1, sizeof *engine);
	*engine = (struct engine){.memory = memory, .model = model};
	return engine;
}

void engine_destroy(struct engine *engine)
{
	free(engine);
}

struct engine_vcpu *engine_vcpu_create(struct engine *engine, unsigned index, struct error *error)
{
	(void)index;
	(void)error;
	struct engine_vcpu *vcpu = mmap(NULL, sizeof *vcpu, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vcpu == MAP_FAILED)
		return NULL;
	vcpu->guest = next_guest;
	vcpu->cpu.memory = engine->memory;
	vcpu->cpu.model = engine->model;
	vcpu->cpu.flush_all = ignore_flush_all;
	vcpu->cpu.flush_page = ignore_flush_page;
	vcpu->cpu.code_write = ignore_code_write;
	return vcpu;
}

void engine_vcpu_destroy(struct engine_vcpu *vcpu)
{
	(void)munmap(vcpu, sizeof *vcpu);
}

struct cpu *engine_vcpu_cpu(struct engine_vcpu *vcpu)
{
	return &vcpu->cpu;
}

bool engine_vcpu_attach(struct engine_vcpu *vcpu, struct error *error)
{
	return !vcpu->guest->attach_fails || error_set(error, ERROR_HOST, "no stack for signals");
}

void engine_vcpu_detach(struct engine_vcpu *vcpu)
{
	(void)vcpu;
}

void engine_debugger_changed(struct engine *engine, const struct debugger *debugger)
{
	(void)engine;
	(void)debugger;
}

bool engine_sample(struct engine *engine, unsigned milliseconds, uint64_t tsc_hz, struct error *error)
{
	(void)engine;
	(void)milliseconds;
	(void)tsc_hz;
	return error_set(error, ERROR_HOST, "the host refused a timer for sampling");
}

const struct samples *engine_samples(const struct engine *engine)
{
	(void)engine;
	return NULL;
}

/* Only real engines count. */
struct engine_nap engine_nap(const struct engine_vcpu *vcpu)
{
	(void)vcpu;
	return (struct engine_nap){.number = 1};
}

uint64_t engine_executed(const struct engine_vcpu *vcpu)
{
	(void)vcpu;
	return 0;
}

void engine_run_until(struct engine_vcpu *vcpu, uint64_t count)
{
	(void)vcpu;
	(void)count;
}

uint64_t engine_memory_used(const struct engine *engine)
{
	(void)engine;
	return 12345;
}

/* What cpu_service_events does for INIT and start-up IPIs. */
static bool take_startup(struct guest *guest, struct cpu *cpu)
{
	uint32_t bits = CPU_REQUEST_INIT | CPU_REQUEST_STARTUP;
	uint32_t taken = __atomic_fetch_and(&cpu->requests, ~bits, __ATOMIC_SEQ_CST) & bits;
	if ((taken & CPU_REQUEST_STARTUP) == 0)
		return false;
	cpu->wait_for_sipi = false;
	__atomic_store_n(&guest->startup_vector, cpu->startup_vector, __ATOMIC_SEQ_CST);
	return true;
}

enum engine_exit engine_run(struct engine_vcpu *vcpu)
{
	struct guest *guest = vcpu->guest;
	struct cpu *cpu = &vcpu->cpu;
	if (cpu->wait_for_sipi && !take_startup(guest, cpu))
		return guest_must_stop(cpu) ? ENGINE_STOPPED : ENGINE_HALTED;
	(void)ledger_enter(cpu->ledger, LEDGER_GUEST);
	__atomic_fetch_add(&guest->entries, 1, __ATOMIC_SEQ_CST);
	if (cpu->rip == guest->boot_rip) {
		__atomic_fetch_add(&guest->resets, 1, __ATOMIC_SEQ_CST);
		cpu->rip++;
	}
	enum engine_exit why = guest_must_stop(cpu) ? ENGINE_STOPPED : guest->run(guest, cpu);
	(void)ledger_enter(cpu->ledger, LEDGER_EXIT);
	return why;
}

/* ---- what guests are made of ---- */

void guest_write_mmio(struct cpu *cpu, uint64_t gpa, uint32_t value)
{
	cpu->device_lock(cpu->device_lock_opaque);
	io_write(cpu->mmio, gpa, 4, value);
	cpu->device_unlock(cpu->device_lock_opaque);
}

bool guest_must_stop(const struct cpu *cpu)
{
	return (__atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST) & CPU_REQUEST_STOP) != 0;
}

void guest_out(struct cpu *cpu, uint16_t port, unsigned size, uint64_t value)
{
	cpu->device_lock(cpu->device_lock_opaque);
	io_write(cpu->ports, port, size, value);
	cpu->device_unlock(cpu->device_lock_opaque);
}

uint64_t guest_in(struct cpu *cpu, uint16_t port, unsigned size)
{
	cpu->device_lock(cpu->device_lock_opaque);
	uint64_t value = io_read(cpu->ports, port, size);
	cpu->device_unlock(cpu->device_lock_opaque);
	return value;
}

enum engine_exit guest_spin(struct guest *guest, struct cpu *cpu)
{
	while (!guest_must_stop(cpu)) {
		guest->tsc = ledger_tsc() + cpu->tsc_offset;
		__atomic_fetch_add(&guest->spins, 1, __ATOMIC_RELAXED);
	}
	return ENGINE_STOPPED;
}

void guest_power_off(struct cpu *cpu)
{
	guest_out(cpu, DOUBLE_PM_CONTROL, 2, 1u << 13);
}

void guest_start_ticks(struct cpu *cpu)
{
	static const uint16_t script[][2] = {{0x20, 0x11}, {0x21, 0x20}, {0x21, 0x04}, {0x21, 0x01},
					     {0x21, 0xee}, {0x43, 0x34}, {0x40, 0xa9}, {0x40, 0x04}};
	for (unsigned i = 0; i < sizeof script / sizeof script[0]; i++)
		guest_out(cpu, script[i][0], 1, script[i][1]);
	cpu->interrupt_enable = 1;
}

int guest_take_interrupt(struct cpu *cpu)
{
	if ((__atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST) & CPU_REQUEST_INTERRUPT) == 0)
		return -1;
	int vector = cpu->controller.acknowledge(cpu->controller.opaque);
	if (vector >= 0)
		guest_out(cpu, 0x20, 1, 0x20);
	return vector;
}

void engine_step_aside(struct engine_vcpu *vcpu)
{
	(void)vcpu;
}

void engine_step_back(struct engine_vcpu *vcpu)
{
	(void)vcpu;
}

void engine_stop_others(struct engine *engine)
{
	(void)engine;
}

void engine_start_others(struct engine *engine)
{
	(void)engine;
}
