/* SPDX-License-Identifier: MIT */
#include "backend/entropy.h"

#include <assert.h>
#include <sys/random.h>

/* syscall base: getrandom -- random bytes for the guest */
/* getrandom(2): requests of up to 256 bytes are answered whole, and no signal cuts them short. */
bool entropy_fill(void *opaque, uint8_t *bytes, size_t size)
{
	(void)opaque;
	assert(size <= ENTROPY_MAX);
	return getrandom(bytes, size, GRND_NONBLOCK) == (ssize_t)size;
}
