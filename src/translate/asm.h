/* SPDX-License-Identifier: MIT */
/*
 * A small x86-64 assembler for the host code that the translator writes. Only what it needs.
 *
 * The code cache is mapped twice: `write` pointers into the writable mapping, which is not executable, and
 * execution addresses, `write + run_offset`, in the executable one, which is not writable. A buffer that runs full sets
 * `full` and drops further bytes; the translation is then given up.
 */
#ifndef NFOLD_TRANSLATE_ASM_H
#define NFOLD_TRANSLATE_ASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum host_register {
	HOST_RAX,
	HOST_RCX,
	HOST_RDX,
	HOST_RBX,
	HOST_RSP,
	HOST_RBP,
	HOST_RSI,
	HOST_RDI,
	HOST_R8,
	HOST_R9,
	HOST_R10,
	HOST_R11,
	HOST_R12,
	HOST_R13,
	HOST_R14,
	HOST_R15,
	HOST_NONE = 0xff
};

struct host_memory {
	uint8_t base, index; /* enum host_register; HOST_NONE: absent */
	uint8_t scale;	     /* 1, 2, 4, 8 */
	int32_t displacement;
	bool wide; /* the displacement has 32 bits whatever it is: it is patched later */
};

struct assembler {
	uint8_t *start, *next, *end; /* in the writable mapping */
	ptrdiff_t run_offset;	     /* executable address - writable address */
	bool full;
	uint8_t *displacement; /* field of the last memory operand that has 32 bits of it */
	uint32_t r12_used;     /* how often an instruction has named R12 as a register: it may have changed it */
};

/* The operand of ModRM.rm: a register or memory. */
struct host_rm {
	bool is_memory;
	uint8_t reg;
	struct host_memory memory;
};

static inline struct host_rm rm_register(unsigned reg)
{
	return (struct host_rm){.is_memory = false, .reg = (uint8_t)reg};
}

static inline struct host_rm rm_memory(unsigned base, int32_t displacement)
{
	return (struct host_rm){
	    .is_memory = true,
	    .memory = {.base = (uint8_t)base, .index = HOST_NONE, .scale = 1, .displacement = displacement}};
}

static inline struct host_rm rm_indexed(unsigned base, unsigned index, unsigned scale, int32_t displacement)
{
	return (struct host_rm){
	    .is_memory = true,
	    .memory = {
		.base = (uint8_t)base, .index = (uint8_t)index, .scale = (uint8_t)scale, .displacement = displacement}};
}

/* A field of the vCPU frame, to which the host's RSP points. */
static inline struct host_rm rm_frame(size_t offset)
{
	return rm_memory(HOST_RSP, (int32_t)offset);
}

void asm_byte(struct assembler *as, unsigned value);
void asm_word32(struct assembler *as, uint32_t value);
void asm_word64(struct assembler *as, uint64_t value);

/* REX bits R, X, B as the operands want them; bit 3 is W. */
unsigned asm_rex_bits(unsigned reg, struct host_rm rm);
/* ModRM, SIB and displacement. Nothing here is RIP-relative. */
void asm_modrm(struct assembler *as, unsigned reg, struct host_rm rm);

/* One instruction `[prefix] [REX] opcode modrm`. opcode: one byte, or 0x0fxx, 0x0f38xx, 0x0f3axx. prefix: 0, 0x66,
 * 0xf2, 0xf3. */
void asm_op(struct assembler *as, unsigned prefix, bool w, unsigned opcode, unsigned reg, struct host_rm rm);

void asm_mov(struct assembler *as, unsigned to, unsigned from);	  /* 64 bits */
void asm_mov32(struct assembler *as, unsigned to, unsigned from); /* 32 bits, clears the upper half */
void asm_load(struct assembler *as, unsigned to, struct host_rm from);
void asm_load32(struct assembler *as, unsigned to, struct host_rm from);
void asm_store(struct assembler *as, struct host_rm to, unsigned from);
void asm_store32(struct assembler *as, struct host_rm to, unsigned from);
void asm_store_byte_immediate(struct assembler *as, struct host_rm to, unsigned value);
void asm_store32_immediate(struct assembler *as, struct host_rm to, uint32_t value);
/* The shortest form that leaves the flags alone. */
void asm_mov_immediate(struct assembler *as, unsigned to, uint64_t value);
void asm_lea(struct assembler *as, unsigned to, struct host_rm from, unsigned bytes); /* 4 or 8 bytes of address */
/* group: 0 add, 1 or, 4 and, 5 sub, 7 cmp */
void asm_group_immediate(struct assembler *as, bool w, unsigned group, struct host_rm rm, int32_t value);

/* Before a jump whose rel32 follows `opcode_bytes`: patching it is one atomic store when it lies within 8 bytes. */
void asm_align_field(struct assembler *as, unsigned opcode_bytes);
/* Writable address of a rel32 field to be filled by asm_patch32. */
uint8_t *asm_jump32(struct assembler *as);
uint8_t *asm_jump_if32(struct assembler *as, unsigned condition); /* condition: low nibble of Jcc */
void asm_jump_to(struct assembler *as, const uint8_t *run_address);
void asm_call_to(struct assembler *as, const uint8_t *run_address);
/* JRCXZ with an 8-bit displacement; the returned byte is filled by asm_patch8. */
uint8_t *asm_jrcxz(struct assembler *as);
uint8_t *asm_jump_if8(struct assembler *as, unsigned condition);

/* To code that was written less than 120 bytes ago. */
void asm_jump_back_if8(struct assembler *as, unsigned condition, const uint8_t *to);

/* Points a rel32 or rel8 field at the current position. */
void asm_patch32_here(struct assembler *as, uint8_t *field);
void asm_patch8_here(struct assembler *as, uint8_t *field);

static inline uint8_t *asm_run_address(const struct assembler *as)
{
	return as->next + as->run_offset;
}

#endif
