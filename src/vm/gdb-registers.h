/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's registers as gdb numbers and describes them ("Debugging with GDB", G.2 and G.5.6). The vCPU is parked.
 */
#ifndef NFOLD_VM_GDB_REGISTERS_H
#define NFOLD_VM_GDB_REGISTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/cpu.h"

#define GDB_REGISTER_BYTES_MAX 16
#define GDB_REGISTERS_BYTES_MAX 2048 /* of all together */

struct gdb_registers; /* a numbered set of registers */

/* Of a 64-bit processor, or of a 32-bit one: gdb knows one of them at a time. */
const struct gdb_registers *gdb_registers_of(bool i386);
unsigned gdb_registers_count(const struct gdb_registers *set);
/* Of those that the `g` packet holds: the first so many bytes. */
size_t gdb_registers_read_all(const struct gdb_registers *set, const struct cpu *cpu, uint8_t *to);

/* One register: little-endian bytes. 0: no such register. */
size_t gdb_register_size(const struct gdb_registers *set, unsigned number);
size_t gdb_register_read(const struct gdb_registers *set, const struct cpu *cpu, unsigned number, uint8_t *to);
/* False: it cannot be set from here, or not to that. */
bool gdb_register_write(const struct gdb_registers *set, struct cpu *cpu, unsigned number, const uint8_t *from);

/* The target description, an XML text that the caller frees; NULL: no memory. */
char *gdb_registers_describe(const struct gdb_registers *set);

#endif
