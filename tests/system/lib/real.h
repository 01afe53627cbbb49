/* SPDX-License-Identifier: MIT */
/*
 * Real mode and virtual-8086 mode, for 32-bit guests.
 *
 * Theory of operation. One segment below 1 MiB holds the way into real mode and back, the code under test and the
 * registers. The real-mode interrupt table leads every vector to stubs that note it with the registers and go back to
 * protected mode, so that real_run() returns after the first interrupt or exception; fragments end by INT FEh.
 * v86_run() enters the same code in virtual-8086 mode at the mercy of the guest's ordinary IDT: its fragments end by
 * HLT, which is a #GP there, and `trap` has what was seen.
 */
#ifndef REAL_H
#define REAL_H

#define REAL_SEGMENT 0x2000
#define REAL_LINEAR 0x20000
#define REAL_FRAGMENT 0x1000 /* where the code under test goes */
#define REAL_REGS 0x2000
#define REAL_DATA_SEGMENT 0x3000 /* DS; ES is behind it */
#define REAL_EXTRA_SEGMENT 0x4000
#define REAL_STACK_SEGMENT 0x5000
#define REAL_STACK_TOP 0xf000

/* The GDT's last entries: 16-bit code at REAL_LINEAR, 16-bit data at 0. */
#define REAL_CODE16 0x1e8
#define REAL_DATA16 0x1f0

/* Offsets in the registers. */
#define REAL_SP 16
#define REAL_ES 32
#define REAL_SS 34
#define REAL_DS 36
#define REAL_FS 38
#define REAL_GS 40
#define REAL_VECTOR 42
#define REAL_IP 44
#define REAL_CS 46
#define REAL_FLAGS 48
#define REAL_HANDLER_FLAGS 50
#define REAL_CR0 52
#define REAL_END 0xfe /* the vector */

#ifndef __ASSEMBLER__
#include "guest.h"

#define FLAG_VM 0x20000ul
#define FLAG_VIF 0x80000ul
#define FLAG_VIP 0x100000ul
#define FLAG_ID 0x200000ul

struct real_state {
	uint32_t ax, cx, dx, bx, sp, bp, si, di;
	uint16_t es, ss, ds, fs, gs;
	uint16_t vector, ip, cs; /* of the interrupt that ended the run; ip as an offset in the code's segment */
	uint16_t flags, handler_flags;
	uint32_t cr0;
};

#define real_regs (*(volatile struct real_state *)(REAL_LINEAR + REAL_REGS))

static inline uint8_t *real_data(unsigned offset)
{
	return (uint8_t *)(REAL_DATA_SEGMENT << 4) + offset;
}

static inline uint8_t *real_extra(unsigned offset)
{
	return (uint8_t *)(REAL_EXTRA_SEGMENT << 4) + offset;
}

/* A fragment of 16-bit code; it is copied as it is. END ends it in real mode, HLT in virtual-8086 mode. */
#define FRAGMENT16(name, text)                                                                                         \
	extern const uint8_t name[], name##_end[];                                                                     \
	__asm__(".text\n.balign 16\n.globl " #name ", " #name "_end\n.code16\n" #name ":\n" text                       \
		"\n int $0xfe\n" #name "_end:\n.code32\n")

/* Segments and stack as in the theory, everything else zero. */
void real_regs_clear(void);
void real_run_bytes(const uint8_t *code, const uint8_t *end);
#define real_run(name) real_run_bytes(name, name##_end)
/* vector, ip as distance from the fragment, flags and SP as facts. */
void real_facts(const char *group);
/* Both. */
void real_probe(const char *group, const uint8_t *code, const uint8_t *end);
#define PROBE(group, name) real_probe(group, name, name##_end)

/* flags: of the EFLAGS image beside VM. */
void v86_enter(void); /* with real_regs and v86_flags as they are */
void v86_run_bytes(const uint8_t *code, const uint8_t *end, uint32_t flags);
#define v86_run(name, flags) v86_run_bytes(name, name##_end, flags)
extern uint32_t v86_flags;
void real_start(void); /* first of all */
void real_vector_set(unsigned vector, unsigned segment, unsigned offset);
#endif
#endif
