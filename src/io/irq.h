/* SPDX-License-Identifier: MIT */
/*
 * Interrupt lines, and how a processor's interrupt controller meets its vCPU.
 *
 * A device holds `struct irq_line` by value and calls irq_set(); the machine decides at wiring time what
 * is behind it (8259 input and IOAPIC input, a PCI router, an inverter, a test). Level semantics always: edge
 * detection is the controller's business.
 */
#ifndef NFOLD_IO_IRQ_H
#define NFOLD_IO_IRQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct irq_line {
	void (*set)(void *opaque, int input, bool level);
	void *opaque;
	int input;
};

static inline void irq_set(const struct irq_line *line, bool level)
{
	if (line->set != NULL)
		line->set(line->opaque, line->input, level);
}

/*
 * A timer's ear at its interrupt controller, for ticks that came faster than the guest could take them. All are called
 * from within the controller: they change no line. Either may be NULL.
 */
struct irq_watcher {
	void (*taken)(void *opaque);	/* the processor acknowledged the interrupt */
	void (*unmasked)(void *opaque); /* the guest lets it through from now on */
	void *opaque;
};

/* What wants a vCPU's attention. Bits of struct cpu's `requests`; see cpu/cpu.h. */
enum cpu_request {
	CPU_REQUEST_INTERRUPT = 1, /* an interrupt controller has a vector; stays set while it has */
	CPU_REQUEST_NMI = 2,	   /* one NMI is latched */
	CPU_REQUEST_INIT = 4,	   /* INIT */
	CPU_REQUEST_STARTUP = 8,   /* SIPI */
	CPU_REQUEST_STOP = 16,	   /* the machine wants the vCPU out of guest code: pause, reset, kill */
	CPU_REQUEST_CODE = 32,	   /* the engine has invalidations queued */
	CPU_REQUEST_SMI = 64,
	CPU_REQUEST_WORLD = 128, /* the engine: another vCPU waits until this one stands still */
};

/*
 * The vCPU as the local APIC sees it. request() may be called from any thread and wakes a halted vCPU;
 * withdraw() takes a bit back (the INTR line fell).
 */
struct cpu_pin {
	void (*request)(void *opaque, uint32_t bits);
	void (*withdraw)(void *opaque, uint32_t bits);
	/* The vector of a start-up IPI, before request(CPU_REQUEST_STARTUP). */
	void (*set_startup_vector)(void *opaque, uint8_t vector);
	void *opaque;
};

/*
 * The machine's device lock, for the few calls that vCPU threads make without holding it. Both functions
 * NULL: no lock (unit tests).
 */
struct device_lock {
	void (*lock)(void *opaque);
	void (*unlock)(void *opaque);
	void *opaque;
};

static inline void device_lock_take(const struct device_lock *lock)
{
	if (lock->lock != NULL)
		lock->lock(lock->opaque);
}

static inline void device_lock_drop(const struct device_lock *lock)
{
	if (lock->unlock != NULL)
		lock->unlock(lock->opaque);
}

/* Delivery modes of interrupt messages, as encoded in ICR, LVT, I/O APIC and MSI (SDM 3A, 10.6.1). */
enum apic_delivery {
	APIC_FIXED = 0,
	APIC_LOWEST_PRIORITY = 1,
	APIC_SMI = 2,
	APIC_NMI = 4,
	APIC_INIT = 5,
	APIC_STARTUP = 6,
	APIC_EXTINT = 7,
};

#define APIC_BROADCAST UINT32_C(0xffffffff)

/* One message to the local APICs, from a sibling, the I/O APIC or a device's MSI. */
struct apic_message {
	uint32_t destination; /* APIC_BROADCAST: all; senders of 8-bit destinations widen 0xff to it */
	bool logical;
	bool level; /* trigger mode; the EOI is broadcast */
	uint8_t vector;
	enum apic_delivery delivery;
	uint64_t since; /* host TSC when a device raised it; 0: not a device's */
	const struct irq_watcher
	    *watcher; /* told when a processor takes it; lives as long as the APICs. NULL: nobody */
};

/* Where such messages go. Returns whether any local APIC took it. */
struct apic_sink {
	bool (*send)(void *opaque, const struct apic_message *message);
	void *opaque;
};

/*
 * The local APIC as the vCPU sees it. Called by the vCPU's thread; the implementation takes the device lock
 * itself where it needs it. These may call libc: the engine has parked the guest's vector registers.
 */
struct interrupt_controller {
	/* Takes the highest pending interrupt and returns its vector, or -1 when there is none any more. */
	int (*acknowledge)(void *opaque);
	/* The task priority register, as CR8 shows it (bits 3:0). */
	uint8_t (*cr8_read)(void *opaque);
	void (*cr8_write)(void *opaque, uint8_t value);
	/* IA32_APIC_BASE, x2APIC registers (0x800-0x8ff) and IA32_TSC_DEADLINE. False: the guest gets #GP. */
	bool (*msr_read)(void *opaque, uint32_t msr, uint64_t *value);
	bool (*msr_write)(void *opaque, uint32_t msr, uint64_t value);
	/* The vCPU's TSC jumped: the guest wrote IA32_TSC or IA32_TSC_ADJUST. */
	void (*tsc_changed)(void *opaque);
	void *opaque;
};

#endif
