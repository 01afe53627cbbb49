/* SPDX-License-Identifier: MIT */
/*
 * Memory that a guest's process writes and passes to readers in other processes: a memfd, sealed so that a reader's
 * mapping cannot be cut short under it (SIGBUS) and that nobody writes through the descriptor.
 */
#ifndef NFOLD_LEDGER_SHARED_H
#define NFOLD_LEDGER_SHARED_H

#include <stddef.h>

#include "base/error.h"

/* Zeroes. *fd is the caller's, as is the mapping. NULL: *what could not be made. `what` as in "the ledger". */
void *shared_create(const char *name, const char *what, size_t size, int *fd, struct error *error);
void shared_close(void *memory, size_t size, int fd);

/* Another process's, read-only. Fails on what is not sealed or too small. */
const void *shared_map(int fd, const char *what, size_t size, struct error *error);
void shared_unmap(const void *memory, size_t size);

#endif
