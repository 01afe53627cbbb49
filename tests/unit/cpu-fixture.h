/* SPDX-License-Identifier: MIT */
/*
 * A processor over a few megabytes of RAM, with no engine: for tests of the cpu layer.
 *
 * Layout of RAM: GDT, IDT and TSS at fixed places in the first pages, stacks below 1 MiB, page tables from 1 MiB on.
 */
#ifndef NFOLD_TESTS_CPU_FIXTURE_H
#define NFOLD_TESTS_CPU_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "cpu/insn.h"
#include "cpu/mmu.h"
#include "cpu/segment.h"

#define RAM_SIZE (8u << 20)
#define ROM_BASE 0xf0000000u
#define DEVICE_BASE 0xd0000000u

#define GDT_BASE 0x1000u
#define IDT_BASE 0x2000u
#define TSS_BASE 0x3000u
#define LDT_BASE 0x4000u
#define STACK0 0x10000u /* tops */
#define STACK3 0x20000u
#define STACK_IST 0x30000u
#define HANDLER 0x40000u /* of vector 0; one every 16 bytes */
#define TABLES_BASE 0x100000u

/* Selectors in the fixture's GDT. */
enum {
	SEL_KERNEL32 = 0x08,
	SEL_KERNEL_DATA = 0x10,
	SEL_KERNEL64 = 0x18,
	SEL_USER32 = 0x23, /* in the order that SYSRET wants */
	SEL_USER_DATA = 0x2b,
	SEL_USER64 = 0x33,
	SEL_TSS = 0x38, /* two slots */
	SEL_NOT_PRESENT = 0x48,
	SEL_CONFORMING = 0x50,
	SEL_READ_ONLY = 0x5b,
	SEL_GATE = 0x63, /* two slots */
	SEL_EXECUTE_ONLY = 0x73,
	SEL_KERNEL16 = 0x78,
	SEL_LDT = 0x80, /* two slots */
	GDT_LIMIT = 0x8f,
};

struct fixture {
	struct cpu *cpu;
	struct memory memory;
	struct cpu_model model;
	struct ledger_vcpu ledger;
	struct clock clock;
	struct io_map mmio, ports;
	uint64_t next_table;
	uint64_t code_writes, code_write_gpa;
	unsigned flushes, lock_depth;
	int vector; /* what the interrupt controller offers, or -1 */
	unsigned tsc_changes;
	uint64_t device_value, device_offset;
	unsigned device_size, device_accesses;
};

struct fixture *fixture_new(void);
void fixture_free(struct fixture *fixture);

void put(struct fixture *fixture, uint64_t gpa, unsigned size, uint64_t value);
uint64_t get(struct fixture *fixture, uint64_t gpa, unsigned size);

/* Page-table bits. */
#define PTE_P 1u
#define PTE_W 2u
#define PTE_U 4u
#define PTE_A 0x20u
#define PTE_D 0x40u
#define PTE_PS 0x80u
#define PTE_G 0x100u
#define PTE_NX BIT64(63)

enum paging { PAGING_32, PAGING_PAE, PAGING_LONG };

/* Empty tables and CR0.PG, CR4 and EFER to match. */
void paging_start(struct fixture *fixture, enum paging paging);
/* Maps a page of 1 << shift bytes with the bits in its leaf; upper entries permit everything. Returns the leaf's gpa.
 */
uint64_t paging_map(struct fixture *fixture, enum paging paging, uint64_t linear, uint64_t gpa, uint64_t bits,
		    unsigned shift);

/* 64-bit mode at CPL 0 with GDT, IDT, TSS and an identity map of RAM that users may use too. */
void start_long(struct fixture *fixture);
/* The same with 32-bit flat segments and no paging. */
void start_protected(struct fixture *fixture);
void start_real(struct fixture *fixture);
/* Moves to CPL 3 with user segments. `selector` is SEL_USER64 or SEL_USER32. */
void enter_user(struct fixture *fixture, uint16_t selector);

/* Descriptors. */
void set_gate64(struct fixture *fixture, unsigned vector, uint16_t selector, unsigned access, unsigned ist);
void set_gate32(struct fixture *fixture, unsigned vector, uint16_t selector, unsigned access);
#define HANDLER_OF(vector) (HANDLER + (vector)*16u)

/* Runs one operation as the engine does, delivery of faults included. Returns what the operation said. */
enum cpu_next run_op(struct fixture *fixture, enum cpu_op op, struct cpu_insn insn);

/* Asserts that a fault is pending and clears it. */
void assert_fault(struct fixture *fixture, unsigned vector, uint32_t error_code);
void assert_no_fault(struct fixture *fixture);

#endif
