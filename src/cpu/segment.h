/* SPDX-License-Identifier: MIT */
/*
 * Descriptors and segment registers. SDM 3A chapters 3 and 5.
 *
 * A descriptor is handled as its raw eight bytes; segment_from_descriptor() takes it apart. Functions that return
 * bool record a fault and return false, as everywhere in this layer.
 */
#ifndef NFOLD_CPU_SEGMENT_H
#define NFOLD_CPU_SEGMENT_H

#include "cpu/cpu.h"

/* Bits of struct cpu_segment's access. */
#define SEGMENT_ACCESSED 0x1u
#define SEGMENT_WRITABLE 0x2u /* data */
#define SEGMENT_READABLE 0x2u /* code */
#define SEGMENT_DOWN 0x4u     /* data: expands down */
#define SEGMENT_CONFORMING 0x4u
#define SEGMENT_CODE 0x8u
#define SEGMENT_TYPE 0xfu
#define SEGMENT_DPL(access) (((access) >> 5) & 3u)

/* Types of system descriptors (S clear). */
enum descriptor_type {
	DESCRIPTOR_TSS16 = 1,
	DESCRIPTOR_LDT = 2,
	DESCRIPTOR_TSS16_BUSY = 3,
	DESCRIPTOR_CALL16 = 4,
	DESCRIPTOR_TASK = 5,
	DESCRIPTOR_INTERRUPT16 = 6,
	DESCRIPTOR_TRAP16 = 7,
	DESCRIPTOR_TSS = 9, /* 32-bit, or 64-bit in long mode */
	DESCRIPTOR_TSS_BUSY = 11,
	DESCRIPTOR_CALL = 12,
	DESCRIPTOR_INTERRUPT = 14,
	DESCRIPTOR_TRAP = 15,
};

#define SELECTOR_RPL(selector) ((selector)&3u)
#define SELECTOR_IS_NULL(selector) (((selector)&0xfffcu) == 0)

/* Access bits of a raw descriptor, in struct cpu_segment's form. */
static inline uint16_t descriptor_access(uint64_t raw)
{
	return (uint16_t)(((raw >> 40) & 0xff) | ((raw >> 40) & 0xf000));
}

static inline bool access_is_code(uint32_t access)
{
	return (access & (SEGMENT_S | SEGMENT_CODE)) == (SEGMENT_S | SEGMENT_CODE);
}

static inline bool access_is_writable_data(uint32_t access)
{
	return (access & (SEGMENT_S | SEGMENT_CODE | SEGMENT_WRITABLE)) == (SEGMENT_S | SEGMENT_WRITABLE);
}

/* Data or readable code. */
static inline bool access_is_readable(uint32_t access)
{
	return (access & SEGMENT_S) != 0 && (access & (SEGMENT_CODE | SEGMENT_READABLE)) != SEGMENT_CODE;
}

static inline bool cpu_real_or_v86(const struct cpu *cpu)
{
	return (cpu->mode & (MODE_REAL | MODE_VM86)) != 0;
}

/* 48-bit canonical form. */
static inline bool address_is_canonical(uint64_t address)
{
	return sign_extend(address, 48) == address;
}

/* Reads the descriptor of a selector from GDT or LDT. Beyond the table's limit: `vector` with the selector as error
 * code. */
bool descriptor_read(struct cpu *cpu, uint16_t selector, enum cpu_vector vector, uint64_t *raw);
/* As before, and the second half of a 16-byte system descriptor: bits 63:32 of the base. Long mode only. */
bool descriptor_read_high(struct cpu *cpu, uint16_t selector, enum cpu_vector vector, uint64_t *raw, uint64_t *high);
/* Sets bits in the type field of a descriptor in memory: accessed (1), busy TSS (2), and the same in *raw. */
bool descriptor_set_type(struct cpu *cpu, uint16_t selector, uint64_t *raw, unsigned bits);
/* Clears bits in the type field, the same way. */
bool descriptor_clear_type(struct cpu *cpu, uint16_t selector, uint64_t *raw, unsigned bits);

/* Would these succeed? Faults as they would. */
bool descriptor_check_write(struct cpu *cpu, uint16_t selector, enum cpu_vector vector);

void segment_from_descriptor(struct cpu_segment *segment, uint16_t selector, uint64_t raw);
/* The hidden part that a null selector leaves. */
void segment_set_null(struct cpu_segment *segment, uint16_t selector);
/* Real and virtual-8086 mode: base from the selector. Real mode keeps limit and size. */
void segment_set_real(struct cpu *cpu, enum cpu_segment_name name, uint16_t selector);

/* What MOV, POP and LDS..LGS do: every check of the current mode; not for CS. Does not update the mode. */
bool segment_load(struct cpu *cpu, enum cpu_segment_name name, uint16_t selector);

/* Loads a stack segment for privilege `cpl`; faults are #TS or #GP as `vector` says (not present: #SS). A null selector
 * is refused. Fills *segment, changes nothing else but the accessed bit. */
bool segment_check_stack(struct cpu *cpu, uint16_t selector, unsigned cpl, enum cpu_vector vector,
			 struct cpu_segment *segment);

/* The same for DS, ES, FS and GS; null is good and leaves what segment_set_null() does. */
bool segment_check_data(struct cpu *cpu, uint16_t selector, unsigned cpl, enum cpu_vector vector,
			struct cpu_segment *segment);

/* After a return to an outer privilege level: data segments that the new CPL may not use become null. */
void segment_drop_inner(struct cpu *cpu);

/* Sets a flat CS or SS, as SYSCALL and its kin do. `access` as in struct cpu_segment. */
static inline void segment_set_flat(struct cpu_segment *segment, uint16_t selector, uint16_t access)
{
	segment->base = 0;
	segment->limit = 0xffffffff;
	segment->selector = selector;
	segment->access = access;
}

#define ACCESS_FLAT_CODE64(dpl) ((uint16_t)(SEGMENT_G | SEGMENT_L | SEGMENT_P | SEGMENT_S | 0xb | ((dpl) << 5)))
#define ACCESS_FLAT_CODE32(dpl) ((uint16_t)(SEGMENT_G | SEGMENT_DB | SEGMENT_P | SEGMENT_S | 0xb | ((dpl) << 5)))
#define ACCESS_FLAT_DATA(dpl) ((uint16_t)(SEGMENT_G | SEGMENT_DB | SEGMENT_P | SEGMENT_S | 0x3 | ((dpl) << 5)))

#endif
