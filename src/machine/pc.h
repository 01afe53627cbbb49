/* SPDX-License-Identifier: MIT */
/*
 * The PC's board: which chips there are and how they are wired. Knows devices, not threads.
 *
 * Threading: every function is called with the device lock held, or before there are other threads.
 */
#ifndef NFOLD_MACHINE_PC_H
#define NFOLD_MACHINE_PC_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/chardev.h"
#include "base/error.h"
#include "io/bus.h"
#include "io/clock.h"
#include "io/irq.h"
#include "ledger/ledger.h"

struct pc;

/* A processor's socket. */
struct pc_socket {
	struct cpu_pin pin;
	struct io_map *mmio; /* the processor's own map: its local APIC's page, the board's map behind it */
	uint64_t (*tsc)(void *opaque);
	void *tsc_opaque;
};

struct pc_config {
	struct clock *clock;
	struct io_map *ports, *mmio;
	struct device_lock lock;
	struct pc_socket socket[LEDGER_MAX_VCPUS];
	unsigned sockets;
	unsigned physical_bits;
	uint64_t memory_size;
	struct chardev *serial; /* COM1; stays the caller's */
	int debug_exit_port;	/* -1: none */

	/* What the guest can do to its machine. Called with the device lock held. */
	void (*power_off)(void *opaque);
	void (*reset)(void *opaque);
	void (*debug_exit)(void *opaque, uint32_t value);
	void *opaque;
};

/* Nothing is left behind on failure but ranges in the io maps. */
struct pc *pc_create(const struct pc_config *config, struct error *error);
void pc_destroy(struct pc *pc);

/* Resets the chips, then does what firmware would: places BARs and PM registers, routes interrupts. */
void pc_reset(struct pc *pc);

void pc_power_button(struct pc *pc);
struct interrupt_controller pc_interrupt_controller(struct pc *pc, unsigned socket);

#endif
