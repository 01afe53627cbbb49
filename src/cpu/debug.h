/* SPDX-License-Identifier: MIT */
/* Bits of the debug registers: SDM 3B 18.2. */
#ifndef NFOLD_CPU_DEBUG_H
#define NFOLD_CPU_DEBUG_H

#include "base/bits.h"

#define DR6_BD BIT64(13) /* a debug register was touched under DR7.GD */
#define DR6_BS BIT64(14) /* single step */
#define DR6_BT BIT64(15) /* a task switch to a TSS with its T bit set */
#define DR6_FIXED UINT64_C(0xffff0ff0)
#define DR6_WRITABLE UINT64_C(0x0000e00f)
#define DR7_GD BIT64(13)
#define DR7_FIXED UINT64_C(0x400)
#define DR7_WRITABLE UINT64_C(0xffff23ff)

enum breakpoint_type { BREAKPOINT_EXECUTE, BREAKPOINT_WRITE, BREAKPOINT_IO, BREAKPOINT_ACCESS };

static inline bool breakpoint_is_enabled(uint64_t dr7, unsigned index)
{
	return ((dr7 >> (index * 2)) & 3) != 0;
}

static inline enum breakpoint_type breakpoint_type(uint64_t dr7, unsigned index)
{
	return (enum breakpoint_type)((dr7 >> (16 + index * 4)) & 3);
}

/* In bytes: 1, 2, 8 or 4, in the order of the LEN field. */
static inline unsigned breakpoint_length(uint64_t dr7, unsigned index)
{
	static const uint8_t length[4] = {1, 2, 8, 4};

	return length[(dr7 >> (18 + index * 4)) & 3];
}

#endif
