/* SPDX-License-Identifier: MIT */
/*
 * Entering a kernel directly, without firmware: what the Linux and the Multiboot loader share.
 *
 * A loader checks every field of a file that may be damaged or hostile, places it and its information into
 * guest memory, and says in `struct boot_state` how the boot processor starts. Loaders know no machine and no devices.
 */
#ifndef NFOLD_MACHINE_BOOT_H
#define NFOLD_MACHINE_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "cpu/cpu.h"
#include "machine/image.h"
#include "memory/memory.h"

#define BOOT_MAX_MODULES 16

struct boot_module {
	struct image image;
	const char *text; /* the whole "FILE [ARGUMENTS]" */
};

struct boot_request {
	struct memory *memory;
	uint64_t memory_size;	    /* bytes of RAM in all */
	const struct image *kernel; /* read: kernel->bytes is set */
	const struct image *initrd; /* or NULL */
	const struct boot_module *module;
	unsigned module_count;
	const char *command_line; /* never NULL */
	uint64_t rsdp;		  /* guest-physical address of the ACPI root pointer */
	bool text_screen;	  /* the VGA is in mode 3, its screen blank */
};

enum boot_mode {
	BOOT_PROTECTED, /* 32-bit, paging off */
	BOOT_LONG,	/* 64-bit, identity-mapped */
};

/* Flat segments: code selector 10h, data selector 18h. All other registers are zero, interrupts are off. */
struct boot_state {
	enum boot_mode mode;
	uint64_t rip, rax, rbx, rsi;
	uint64_t gdt; /* guest-physical address of a table made by boot_write_gdt */
	uint64_t cr3; /* BOOT_LONG */
};

#define BOOT_CODE_SELECTOR 0x10
#define BOOT_DATA_SELECTOR 0x18
#define BOOT_GDT_SIZE 32

/* Puts a freshly reset processor into the state. */
/* What firmware would have set on every processor, the waiting ones too. boot_apply() includes it. */
void boot_prepare(struct cpu *cpu);
void boot_apply(const struct boot_state *state, struct cpu *cpu);

bool boot_write_gdt(struct memory *memory, uint64_t gpa, enum boot_mode mode);

/* The map of guest-physical memory in BIOS E820 terms. */
enum boot_range_type { BOOT_RANGE_USABLE = 1, BOOT_RANGE_RESERVED = 2 };

struct boot_range {
	uint64_t base, size;
	enum boot_range_type type;
};

#define BOOT_MAX_RANGES 8

unsigned boot_memory_map(uint64_t memory_size, struct boot_range range[BOOT_MAX_RANGES]);

/* The end of the RAM that begins at 1 MiB. */
uint64_t boot_low_end(uint64_t memory_size);

bool linux_probe(const struct image *kernel);
bool linux_load(const struct boot_request *request, struct boot_state *state, struct error *error);

bool multiboot_probe(const struct image *kernel);
bool multiboot_load(const struct boot_request *request, struct boot_state *state, struct error *error);

/* Loads whatever kind of kernel it is; says so when it is none. */
bool boot_load(const struct boot_request *request, struct boot_state *state, struct error *error);

#endif
