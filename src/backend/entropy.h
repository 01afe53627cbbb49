/* SPDX-License-Identifier: MIT */
/* Random bytes of the host, for guests. */
#ifndef NFOLD_BACKEND_ENTROPY_H
#define NFOLD_BACKEND_ENTROPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENTROPY_MAX 256u /* at a time: what the kernel gives whole */

/* False: the host has none yet. Does not wait. At most ENTROPY_MAX bytes. */
bool entropy_fill(void *opaque, uint8_t *bytes, size_t size);

#endif
