/* SPDX-License-Identifier: MIT */
/*
 * An engine for tests of the machine: a guest is a C function that reaches ports and registers as guest code would.
 */
#ifndef NFOLD_TESTS_DOUBLE_ENGINE_H
#define NFOLD_TESTS_DOUBLE_ENGINE_H

#include "translate/engine.h"

#define DOUBLE_COM1 0x3f8u
#define DOUBLE_PM_STATUS 0x600u
#define DOUBLE_PM_ENABLE 0x602u
#define DOUBLE_PM_CONTROL 0x604u

/* What the guest of a test does each time it is entered, and what the test sees of it. */
struct guest {
	enum engine_exit (*run)(struct guest *guest, struct cpu *cpu);
	uint64_t boot_rip; /* the entry point: being there counts as a reset */
	uint32_t entries, resets, ticks;
	uint32_t startup_vector; /* of the last start-up IPI that a processor took */
	bool attach_fails;
	uint64_t tsc; /* as the guest read it last */
	uint32_t spins;
	char input[64];
	unsigned input_count;
};

/* Machines that this thread makes next run this guest. */
void double_engine_set_guest(struct guest *guest);

void guest_out(struct cpu *cpu, uint16_t port, unsigned size, uint64_t value);
uint64_t guest_in(struct cpu *cpu, uint16_t port, unsigned size);
void guest_write_mmio(struct cpu *cpu, uint64_t gpa, uint32_t value);
bool guest_must_stop(const struct cpu *cpu);
void guest_power_off(struct cpu *cpu);

/* Runs until asked to stop, reading the TSC. */
enum engine_exit guest_spin(struct guest *guest, struct cpu *cpu);

/* The 8259 at vector 20h with only IRQ 0 and 4 open, channel 0 of the 8254 at 1 kHz, interrupts enabled. */
void guest_start_ticks(struct cpu *cpu);

/* Takes what is pending and ends it at the 8259. Returns the vector or -1. */
int guest_take_interrupt(struct cpu *cpu);

#endif
