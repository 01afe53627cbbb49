/* SPDX-License-Identifier: MIT */
/* What the parts of the local APIC share: lapic.c (interrupts), lapic-timer.c, lapic-registers.c,
 * lapic-bus.c. */
#ifndef NFOLD_DEVICES_LAPIC_IMPL_H
#define NFOLD_DEVICES_LAPIC_IMPL_H

#include "devices/lapic.h"
#include "io/ticks.h"

/* Registers by their MMIO offset / 16, which is also their MSR - 800h. */
enum lapic_register {
	LAPIC_ID = 0x02,
	LAPIC_VERSION = 0x03,
	LAPIC_TPR = 0x08,
	LAPIC_APR = 0x09,
	LAPIC_PPR = 0x0a,
	LAPIC_EOI = 0x0b,
	LAPIC_LDR = 0x0d,
	LAPIC_DFR = 0x0e,
	LAPIC_SVR = 0x0f,
	LAPIC_ISR = 0x10, /* eight registers each */
	LAPIC_TMR = 0x18,
	LAPIC_IRR = 0x20,
	LAPIC_ESR = 0x28,
	LAPIC_ICR = 0x30,
	LAPIC_ICR_HIGH = 0x31,
	LAPIC_LVT_TIMER = 0x32,
	LAPIC_LVT_THERMAL = 0x33,
	LAPIC_LVT_PERFORMANCE = 0x34,
	LAPIC_LVT_LINT0 = 0x35,
	LAPIC_LVT_LINT1 = 0x36,
	LAPIC_LVT_ERROR = 0x37,
	LAPIC_INITIAL_COUNT = 0x38,
	LAPIC_CURRENT_COUNT = 0x39,
	LAPIC_DIVIDE = 0x3e,
	LAPIC_SELF_IPI = 0x3f,
	LAPIC_REGISTERS = 0x40
};

#define LAPIC_VERSION_VALUE 0x01050014u /* version 14h, last LVT entry 5, EOI broadcast can be suppressed */

#define SVR_ENABLED 0x100u
#define SVR_NO_EOI_BROADCAST 0x1000u

#define LVT_VECTOR 0xffu
#define LVT_DELIVERY_SHIFT 8
#define LVT_REMOTE_IRR 0x4000u
#define LVT_LEVEL 0x8000u
#define LVT_MASKED 0x10000u
#define LVT_TIMER_PERIODIC 0x20000u
#define LVT_TIMER_DEADLINE 0x40000u
#define LVT_TIMER_MODE 0x60000u

#define ESR_SEND_ILLEGAL_VECTOR 0x20u
#define ESR_RECEIVE_ILLEGAL_VECTOR 0x40u
#define ESR_ILLEGAL_REGISTER 0x80u

#define FIRST_LEGAL_VECTOR 16u
#define LAPIC_VECTORS 256u

#define BASE_BSP 0x100u
#define BASE_EXTD 0x400u /* x2APIC */
#define BASE_ENABLED 0x800u

struct lapic {
	struct lapic_config config;
	uint32_t reg[LAPIC_REGISTERS];
	uint64_t base;	      /* IA32_APIC_BASE */
	uint64_t mapped_base; /* where the register page is in config.mmio; 0: nowhere */
	uint32_t esr_pending; /* errors since the last write to ESR */
	bool lint[2];
	bool extint;	/* an ExtINT message waits */
	bool requested; /* the INTERRUPT request is set at the pin */
	struct clock_timer timer;
	uint64_t timer_start;  /* ns: when the initial count was written */
	uint64_t tsc_deadline; /* 0: not armed */
	/* Of each vector that is requested: what its message said of where it came from. */
	uint64_t since[LAPIC_VECTORS];
	const struct irq_watcher *watcher[LAPIC_VECTORS];
	struct ticks ticks;
	uint8_t tick_vector; /* of the tick that waits */
};

struct lapic_bus {
	struct lapic *member[LAPIC_MAX];
	unsigned count;
	unsigned next_lowest; /* where the search for the lowest priority starts: round robin */
	void (*eoi)(void *opaque, uint8_t vector);
	void *eoi_opaque;
};

static inline bool lapic_x2apic(const struct lapic *lapic)
{
	return (lapic->base & BASE_EXTD) != 0;
}

static inline bool lapic_hardware_enabled(const struct lapic *lapic)
{
	return (lapic->base & BASE_ENABLED) != 0;
}

static inline bool lapic_software_enabled(const struct lapic *lapic)
{
	return lapic_hardware_enabled(lapic) && (lapic->reg[LAPIC_SVR] & SVR_ENABLED);
}

/* lapic.c */
void lapic_update(struct lapic *lapic); /* recomputes the INTERRUPT request */
uint8_t lapic_ppr(const struct lapic *lapic);
bool lapic_deliver(struct lapic *lapic, const struct apic_message *message);
void lapic_end_of_interrupt(struct lapic *lapic);
void lapic_error(struct lapic *lapic, uint32_t esr_bit);
void lapic_lint_evaluate(struct lapic *lapic, int input, bool rising);
void lapic_reset_registers(struct lapic *lapic); /* power-up and INIT */

/* lapic-timer.c */
uint32_t lapic_timer_current(const struct lapic *lapic);
void lapic_timer_arm(struct lapic *lapic);
void lapic_timer_set_initial(struct lapic *lapic, uint32_t count);
void lapic_timer_set_divide(struct lapic *lapic, uint32_t divide);
void lapic_timer_set_lvt(struct lapic *lapic, uint32_t lvt);
void lapic_timer_set_deadline(struct lapic *lapic, uint64_t deadline);
void lapic_timer_fire(void *opaque);
void lapic_tsc_changed(void *opaque);
void lapic_lvt_fire(struct lapic *lapic, enum lapic_register entry);

/* lapic-registers.c */
bool lapic_msr_read(void *opaque, uint32_t msr, uint64_t *value);
bool lapic_msr_write(void *opaque, uint32_t msr, uint64_t value);
void lapic_set_base(struct lapic *lapic, uint64_t base);

/* lapic-bus.c */
void lapic_bus_join(struct lapic_bus *bus, struct lapic *lapic);
void lapic_bus_leave(struct lapic_bus *bus, struct lapic *lapic);
void lapic_bus_eoi(struct lapic_bus *bus, uint8_t vector);
void lapic_send(struct lapic *lapic, uint32_t icr_low, uint32_t icr_high);

#endif
