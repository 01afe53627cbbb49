/* SPDX-License-Identifier: MIT */
/* The local APIC, the I/O APIC, the 8254 and the 8259s as guests program them. */
#ifndef GUEST_APIC_H
#define GUEST_APIC_H

#include "guest.h"

#define APIC 0xfee00000ul
#define APIC_ID 0x20
#define APIC_VERSION 0x30
#define APIC_TPR 0x80
#define APIC_PPR 0xa0
#define APIC_EOI 0xb0
#define APIC_LDR 0xd0
#define APIC_DFR 0xe0
#define APIC_SVR 0xf0
#define APIC_ISR 0x100
#define APIC_TMR 0x180
#define APIC_IRR 0x200
#define APIC_ESR 0x280
#define APIC_ICR 0x300
#define APIC_ICR_HIGH 0x310
#define APIC_LVT_TIMER 0x320
#define APIC_LVT_LINT0 0x350
#define APIC_LVT_LINT1 0x360
#define APIC_LVT_ERROR 0x370
#define APIC_TIMER_INITIAL 0x380
#define APIC_TIMER_CURRENT 0x390
#define APIC_TIMER_DIVIDE 0x3e0
#define APIC_MASKED 0x10000u
#define APIC_PERIODIC 0x20000u
#define APIC_DEADLINE 0x40000u
#define ICR_SELF 0x44000u /* shorthand self, assert, fixed */
#define ICR_NMI 0x4400u

#define IOAPIC 0xfec00000ul

/* Vectors that the guests use, and how long they wait. */
#define LOW 0x41
#define HIGH 0x61
#define TIMER 0x52
#define SPINS 40000000u

/* The interrupts taken while taken_hook is the trap hook: the first eight, in order. */
struct taken {
	unsigned count;
	word vector[8], ip[8], flags[8];
	bool no_eoi, stop;
	uint32_t ppr;
};
extern struct taken taken;
bool taken_hook(struct frame *frame);
void taken_begin(void);
/* Facts: how many, and vector and place (relative to code) of each. */
void taken_report(const char *name, code_function *code);
bool taken_wait(unsigned count);	/* polling with STI; false after SPINS */
void taken_wait_halted(unsigned count); /* in HLT */
void pause_a_while(void);
void apic_send_self(unsigned vector); /* until it is pending */

static inline uint32_t apic_read(unsigned offset)
{
	return *(volatile uint32_t *)(APIC + offset);
}

static inline void apic_write(unsigned offset, uint32_t value)
{
	*(volatile uint32_t *)(APIC + offset) = value;
}

static inline bool apic_bit(unsigned bank, unsigned vector)
{
	return apic_read(bank + (vector >> 5) * 16) >> (vector & 31) & 1;
}

/* Enabled, spurious vector FFh, 8259 through LINT0, everything else masked. */
static inline void apic_start(void)
{
	apic_write(APIC_SVR, 0x1ff);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_LVT_TIMER, APIC_MASKED);
	apic_write(APIC_LVT_LINT0, 0x700);
	apic_write(APIC_LVT_LINT1, APIC_MASKED);
	apic_write(APIC_LVT_ERROR, APIC_MASKED);
}

static inline uint32_t ioapic_read(unsigned index)
{
	*(volatile uint32_t *)IOAPIC = index;
	return *(volatile uint32_t *)(IOAPIC + 0x10);
}

static inline void ioapic_write(unsigned index, uint32_t value)
{
	*(volatile uint32_t *)IOAPIC = index;
	*(volatile uint32_t *)(IOAPIC + 0x10) = value;
}

/* Channel 0 of the 8254; count at 1.193182 MHz. */
static inline void pit_start(unsigned mode, unsigned count)
{
	outb(0x43, (uint8_t)(0x30 | mode << 1));
	outb(0x40, (uint8_t)count);
	outb(0x40, (uint8_t)(count >> 8));
}

#endif
