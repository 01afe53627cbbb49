/* SPDX-License-Identifier: MIT */
/* The arithmetic flags of what C computes itself. */
#ifndef NFOLD_CPU_ARITHMETIC_H
#define NFOLD_CPU_ARITHMETIC_H

#include "cpu/cpu.h"

/* SF, ZF and PF of a result of `size` bytes. */
static inline uint32_t flags_of_result(uint64_t result, unsigned size)
{
	uint32_t flags = 0;
	unsigned parity = (unsigned)result & 0xff;

	result &= size_mask(size);
	parity ^= parity >> 4;
	if (!((0x6996 >> (parity & 15)) & 1))
		flags |= FLAG_PF;
	if (result == 0)
		flags |= FLAG_ZF;
	if (result >> (size * 8 - 1))
		flags |= FLAG_SF;
	return flags;
}

/* All six flags of a - b, as CMP sets them. */
static inline uint32_t flags_of_subtract(uint64_t a, uint64_t b, unsigned size)
{
	uint64_t result, overflow;
	uint32_t flags;

	a &= size_mask(size);
	b &= size_mask(size);
	result = (a - b) & size_mask(size);
	overflow = (a ^ b) & (a ^ result);
	flags = flags_of_result(result, size);
	if (a < b)
		flags |= FLAG_CF;
	if ((a ^ b ^ result) & 0x10)
		flags |= FLAG_AF;
	if ((overflow >> (size * 8 - 1)) & 1)
		flags |= FLAG_OF;
	return flags;
}

#endif
