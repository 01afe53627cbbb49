/* SPDX-License-Identifier: MIT */
/*
 * Names for guest addresses: from a System.map (or the guest's /proc/kallsyms), or from an ELF file's symbol table.
 *
 * A symbol ends where its size says or, if it has none, where the next one begins, whatever that is; names are given to
 * code only. The kernel's symbols can be shifted all together, since Linux may load itself elsewhere than it was
 * linked for.
 */
#ifndef NFOLD_CLI_SYMBOLS_H
#define NFOLD_CLI_SYMBOLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct symbols;

/* NULL when out of memory. */
struct symbols *symbols_create(void);
void symbols_destroy(struct symbols *symbols);

/* ERROR_INPUT: the file cannot be read or is neither of the two kinds; nothing of it counts. */
bool symbols_add_file(struct symbols *symbols, const char *path, struct error *error);

/* Where a symbol is according to its file. */
bool symbols_address(const struct symbols *symbols, const char *name, uint64_t *address);

/* How far the kernel lies from where its symbols say. */
void symbols_shift_kernel(struct symbols *symbols, uint64_t distance);

/* The name of the function at an address of the guest, and the address of its first byte; NULL: unknown. */
const char *symbols_find(const struct symbols *symbols, uint64_t address, uint64_t *start);

#endif
