/* SPDX-License-Identifier: MIT */
/*
 * The code cache: one memfd mapped twice, writable and executable, never both in one mapping, and an arena for
 * what belongs to the code and is dropped with it (block descriptors, side tables, C instructions).
 *
 * Theory of operation. Code and arena are cut into regions, which are filled one after the other, round and round. A
 * block lies in one region, its code as well as all that belongs to it. When the region in use is full, the next one,
 * which holds the oldest code, is emptied and used: code_cache_advance(). Whoever calls that has removed its blocks
 * from all tables before (block.h). So a guest that runs more code than the cache holds never loses all of it at once,
 * and never waits for more than one region.
 *
 * The pages of a region that is used again stay with it: giving them back would cost more than filling them anew. A
 * flush gives all of them back.
 */
#ifndef NFOLD_TRANSLATE_CACHE_H
#define NFOLD_TRANSLATE_CACHE_H

#include "base/engine_switches.h"
#include "base/error.h"
#include "translate/asm.h"

#define CODE_REGIONS_MAX 32u
/* What the longest block needs many times over: a new region has room for any. */
#define CODE_REGION_MIN ((size_t)64 << 10)
#define CODE_REGIONS_MIN 2u
#define CODE_THUNK_BYTES ((size_t)8 << 10)

struct code_region {
	size_t code, arena;	      /* where they begin */
	size_t code_used, arena_used; /* where what is in them ends */
	size_t code_peak, arena_peak; /* bytes that were used before it was last emptied */
	uint32_t block_count, link_count;
};

struct code_cache {
	uint8_t *write, *run; /* the two mappings */
	size_t size;
	size_t permanent; /* the thunks' room at the start: they stay */
	uint8_t *arena;
	size_t arena_size;
	struct code_region region[CODE_REGIONS_MAX];
	unsigned region_count, current;
	size_t region_code, region_arena; /* bytes of each */
};

bool code_cache_init(struct code_cache *cache, size_t code_bytes, struct error *error);
void code_cache_destroy(struct code_cache *cache);

/* The assembler for the thunks, before anything else. */
struct assembler code_cache_permanent(const struct code_cache *cache);

/* Reserve: an assembler over all that is left of the region in use. Commit: takes what was written, aligned, and gives
 * its end. Aborting is simply not committing. */
struct assembler code_cache_reserve(const struct code_cache *cache);
uint32_t code_cache_commit(struct code_cache *cache, const struct assembler *as);

/* From the region in use: zeroed, 8-byte aligned; NULL when its arena is full. */
void *code_cache_allocate(struct code_cache *cache, size_t bytes);

static inline struct code_region *code_region_now(struct code_cache *cache)
{
	return &cache->region[cache->current];
}

/* Bytes of code that the region in use has room for. */
static inline size_t code_cache_room(const struct code_cache *cache)
{
	const struct code_region *region = &cache->region[cache->current];
	return region->code + cache->region_code - region->code_used;
}

/* The region that is emptied next. */
static inline unsigned code_cache_oldest(const struct code_cache *cache)
{
	return (cache->current + 1) % cache->region_count;
}

/* Empties the oldest region and uses it. */
void code_cache_advance(struct code_cache *cache);

/* Forgets all code but the thunks, and gives the pages back to the host. No vCPU may be in translated code. */
void code_cache_flush(struct code_cache *cache);

/* Bytes that hold or have held something since the last flush. */
size_t code_cache_touched(const struct code_cache *cache);

static inline bool code_cache_holds(const struct code_cache *cache, uint64_t run_address)
{
	return run_address - (uint64_t)(uintptr_t)cache->run < cache->size;
}

/* The region that an offset in the cache lies in, or region_count: in none. */
static inline unsigned code_region_of(const struct code_cache *cache, uint64_t offset)
{
	uint64_t number =
	    offset < cache->permanent ? cache->region_count : (offset - cache->permanent) / cache->region_code;
	return number < cache->region_count ? (unsigned)number : cache->region_count;
}

#endif
