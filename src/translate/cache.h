/* SPDX-License-Identifier: MIT */
/*
 * The code cache: one memfd mapped twice, writable and executable, never both in one mapping, and an arena for
 * what belongs to the code and is dropped with it (block descriptors, side tables, C instructions).
 */
#ifndef NFOLD_TRANSLATE_CACHE_H
#define NFOLD_TRANSLATE_CACHE_H

#include "base/error.h"
#include "translate/asm.h"

struct code_cache {
	uint8_t *write, *run; /* the two mappings */
	size_t size;
	size_t used;	  /* bytes of code, thunks included */
	size_t permanent; /* thunks at the start: they survive a flush */
	uint8_t *arena;
	size_t arena_size, arena_used, arena_peak;
};

bool code_cache_init(struct code_cache *cache, size_t code_bytes, size_t arena_bytes, struct error *error);
void code_cache_destroy(struct code_cache *cache);

/* Reserve: an assembler over all that is left. Commit: takes what was written, aligned. Aborting is simply not
 * committing. */
struct assembler code_cache_reserve(const struct code_cache *cache);
void code_cache_commit(struct code_cache *cache, const struct assembler *as);

/* Zeroed, 8-byte aligned; NULL when the arena is full. */
void *code_cache_allocate(struct code_cache *cache, size_t bytes);

/* Forgets all code but the permanent thunks, and gives the pages back to the host. No vCPU may be in translated code.
 */
void code_cache_flush(struct code_cache *cache);

static inline bool code_cache_holds(const struct code_cache *cache, uint64_t run_address)
{
	return run_address - (uint64_t)(uintptr_t)cache->run < cache->size;
}

#endif
