/* SPDX-License-Identifier: MIT */
/*
 * The x87 part of parked vector state. All functions expect cpu_fpu_park() to have been called.
 *
 * Error pointers. The host's FPU records the address of translated code (FIP), host data addresses (FDP) and opcodes
 * (FOP). The guest must not see them: it reads zeroes, which processors without these pointers show as well, unless it
 * loaded values itself and no x87 instruction has run since. Loaded values are kept in struct cpu, and a marker goes to
 * the host in their place: an FIP that no code has. Any later x87 instruction replaces it.
 */
#ifndef NFOLD_CPU_X87_H
#define NFOLD_CPU_X87_H

#include "cpu/cpu.h"
#include "cpu/fpu.h"

#define X87_FCW_INIT 0x37f
#define X87_FSW_ES 0x80u
#define X87_FSW_B 0x8000u

struct x87_pointers {
	uint64_t ip, dp;
	uint16_t opcode;
};

struct x87_pointers x87_pointers(const struct cpu *cpu);
void x87_set_pointers(struct cpu *cpu, struct x87_pointers pointers);

/* Sets control and status word: reserved bits as hardware has them, the summary bits from flags and masks. The
 * registers are turned to the new top of stack. */
void x87_set_control(struct cpu *cpu, uint16_t fcw, uint16_t fsw);

/* Loads registers, words and tags from the first 160 bytes of an FXSAVE image; not the pointers. */
void x87_load_image(struct cpu *cpu, const uint8_t *image);
/* The state after FNINIT. */
void x87_init(struct cpu *cpu);

/* CR0.EM and CR0.TS: #NM. */
bool x87_available(struct cpu *cpu);
/* Pending unmasked x87 exceptions: #MF. What that means with CR0.NE clear is for its delivery to know. */
bool x87_no_pending(struct cpu *cpu);

/* Outside 64-bit mode linear addresses wrap at 4 GiB. */
static inline uint64_t x87_block_address(const struct cpu *cpu, uint64_t linear, uint64_t offset)
{
	return cpu_code64(cpu) ? linear + offset : (uint32_t)(linear + offset);
}

/* Blocks larger than cpu_read and cpu_write take; at most a page. Both pages are checked before a byte is written. */
bool x87_read_block(struct cpu *cpu, uint64_t linear, uint8_t *to, unsigned size);
bool x87_check_write(struct cpu *cpu, uint64_t linear, unsigned size);
bool x87_write_block(struct cpu *cpu, uint64_t linear, const uint8_t *from, unsigned size);

#endif
