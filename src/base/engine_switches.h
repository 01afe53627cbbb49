/* SPDX-License-Identifier: MIT */
/*
 * What can be switched off in the translating engine, so that a bug can be pinned to it. Here and not in the engine,
 * because the command line knows the names too and nothing else of the engine.
 */
#ifndef NFOLD_BASE_ENGINE_SWITCHES_H
#define NFOLD_BASE_ENGINE_SWITCHES_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* How many bytes of translated code are kept; what belongs to the code takes about as much again. The least is small
 * enough to be exceeded by anything, for tests. */
#define ENGINE_CODE_CACHE_MIN (UINT64_C(136) << 10)
#define ENGINE_CODE_CACHE_MAX (UINT64_C(256) << 20)

/* X(bit, name, what it is) */
/* clang-format off */
#define ENGINE_SWITCHES(X) \
	X(CHAINING, "chaining", "blocks jump to each other without the dispatcher") \
	X(SIDE_EXITS, "side-exits", "blocks go on behind conditional branches") \
	X(JUMP_CACHE, "jump-cache", "indirect branches find their target without the dispatcher") \
	X(BMI2, "bmi2", "the host's BMI2 instructions are used, in checks and indirect branches") \
	X(LAZY_FLAGS, "lazy-flags", "flags are saved only where they would be lost, and restored only where they are read") \
	X(SAVED_FLAGS, "saved-flags", "jumps to guarded entries pass the flags as a check has saved them") \
	X(LOGIC_FLAGS, "logic-flags", "AND, OR, XOR and TEST run without the flags from before") \
	X(SHARED_CHECKS, "shared-checks", "accesses near each other share a check") \
	X(IN_SLOTS, "in-slots", "guest registers that live in memory are worked on there, and not loaded to be overwritten") \
	X(INLINE_LIMITS, "inline-limits", "segment limits are checked in translated code") \
	X(INLINE_SEGMENTS, "inline-segments", "real-mode segment loads run in translated code") \
	X(INLINE_FAR, "inline-far", "real-mode far branches run in translated code") \
	X(INLINE_STRINGS, "inline-strings", "string instructions without REP run in translated code") \
	X(INLINE_PUSHA, "inline-pusha", "PUSHA, POPA and PUSHF run in translated code") \
	X(RETRACE, "retrace", "pages whose code compares its bytes go back to traced writes when they have calmed down") \
	X(INLINE_SYSTEM, "inline-system", "SWAPGS, STAC, CLAC, RDTSC and RDTSCP run in translated code") \
	X(INLINE_BITS, "inline-bits", "bit tests that reach beyond their operand run in translated code") \
	X(SPACES, "spaces", "the TLB keeps what it had of other address spaces, where the guest uses PCIDs") \
	X(IDLE_LOOPS, "idle-loops", "a processor in a loop that only waits is put to sleep")
/* clang-format on */

enum engine_switch_number {
#define X(bit, name, meaning) ENGINE_NUMBER_##bit,
	ENGINE_SWITCHES(X)
#undef X
	    ENGINE_SWITCH_COUNT
};

enum engine_switch {
#define X(bit, name, meaning) ENGINE_##bit = 1 << ENGINE_NUMBER_##bit,
	ENGINE_SWITCHES(X)
#undef X
};

/* For help texts: " no-chaining no-jump-cache" and so on. */
#define ENGINE_SWITCH_LISTED(bit, name, meaning) " no-" name
#define ENGINE_SWITCH_LIST ENGINE_SWITCHES(ENGINE_SWITCH_LISTED)

/* Reads "no-chaining,no-bmi2": the switches that are off, as bits. An unknown word is refused; `option` is the option's
 * name, for the message. */
bool engine_switches_read(const char *option, const char *text, uint32_t *off, struct error *error);

#endif
