/* SPDX-License-Identifier: MIT */
#include "translate/cache.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"

#define CODE_ALIGNMENT 16
#define PAGE_BYTES 4096u

/* The arena's size, as a part of the code's. */
#define ARENA_PARTS 5u
#define ARENA_PART_OF 6u

static void empty_region(struct code_cache *cache, unsigned number)
{
	struct code_region *region = &cache->region[number];
	region->code = region->code_used = cache->permanent + number * cache->region_code;
	region->arena = region->arena_used = number * cache->region_arena;
	region->block_count = region->link_count = 0;
}

/* Cuts it into regions. The arena's part of a block is about as large as its code. */
static void lay_out(struct code_cache *cache, size_t code_bytes)
{
	_Static_assert(ENGINE_CODE_CACHE_MIN >= CODE_REGIONS_MIN * CODE_REGION_MIN + CODE_THUNK_BYTES, "two regions");
	if (code_bytes < ENGINE_CODE_CACHE_MIN)
		code_bytes = ENGINE_CODE_CACHE_MIN;
	if (code_bytes > ENGINE_CODE_CACHE_MAX)
		code_bytes = ENGINE_CODE_CACHE_MAX;
	size_t count = (code_bytes - CODE_THUNK_BYTES) / CODE_REGION_MIN;
	cache->region_count = count > CODE_REGIONS_MAX ? CODE_REGIONS_MAX : (unsigned)count;
	cache->permanent = CODE_THUNK_BYTES;
	cache->region_code = (size_t)align_down((code_bytes - cache->permanent) / cache->region_count, PAGE_BYTES);
	cache->region_arena = (size_t)align_down(cache->region_code / ARENA_PART_OF * ARENA_PARTS, PAGE_BYTES);
	cache->size = cache->permanent + cache->region_count * cache->region_code;
	cache->arena_size = cache->region_count * cache->region_arena;
	for (unsigned i = 0; i < cache->region_count; i++)
		empty_region(cache, i);
}

bool code_cache_init(struct code_cache *cache, size_t code_bytes, struct error *error)
{
	memset(cache, 0, sizeof *cache);
	lay_out(cache, code_bytes);
	code_bytes = cache->size;
	size_t arena_bytes = cache->arena_size;
	int fd = memfd_create("nfold-code", MFD_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, "cannot create the code cache");
	if (ftruncate(fd, (off_t)code_bytes) != 0) {
		error_set_errno(error, "cannot size the code cache to %zu bytes", code_bytes);
		close(fd);
		return false;
	}
	void *write = mmap(NULL, code_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *run = mmap(NULL, code_bytes, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	void *arena =
	    mmap(NULL, arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	close(fd);
	cache->write = write == MAP_FAILED ? NULL : write;
	cache->run = run == MAP_FAILED ? NULL : run;
	cache->arena = arena == MAP_FAILED ? NULL : arena;
	if (cache->write == NULL || cache->run == NULL || cache->arena == NULL) {
		error_set_errno(error, "cannot map the code cache; does this system forbid executable memory?");
		code_cache_destroy(cache);
		return false;
	}
	return true;
}

void code_cache_destroy(struct code_cache *cache)
{
	if (cache->write != NULL)
		munmap(cache->write, cache->size);
	if (cache->run != NULL)
		munmap(cache->run, cache->size);
	if (cache->arena != NULL)
		munmap(cache->arena, cache->arena_size);
	memset(cache, 0, sizeof *cache);
}

struct assembler code_cache_permanent(const struct code_cache *cache)
{
	return (struct assembler){.start = cache->write,
				  .next = cache->write,
				  .end = cache->write + cache->permanent,
				  .run_offset = cache->run - cache->write};
}

struct assembler code_cache_reserve(const struct code_cache *cache)
{
	const struct code_region *region = &cache->region[cache->current];
	uint8_t *start = cache->write + region->code_used;
	return (struct assembler){.start = start,
				  .next = start,
				  .end = cache->write + region->code + cache->region_code,
				  .run_offset = cache->run - cache->write};
}

uint32_t code_cache_commit(struct code_cache *cache, const struct assembler *as)
{
	struct code_region *region = code_region_now(cache);
	bug_if(as->full || as->start != cache->write + region->code_used);
	size_t end = (size_t)align_up((uint64_t)(as->next - cache->write), CODE_ALIGNMENT);
	size_t limit = region->code + cache->region_code;
	region->code_used = end < limit ? end : limit;
	return (uint32_t)region->code_used;
}

void *code_cache_allocate(struct code_cache *cache, size_t bytes)
{
	struct code_region *region = code_region_now(cache);
	size_t rounded = (size_t)align_up(bytes, 8);
	if (rounded > region->arena + cache->region_arena - region->arena_used)
		return NULL;
	void *result = cache->arena + region->arena_used;
	region->arena_used += rounded;
	memset(result, 0, rounded); /* it may have been used before */
	return result;
}

void code_cache_advance(struct code_cache *cache)
{
	cache->current = code_cache_oldest(cache);
	struct code_region *region = code_region_now(cache);
	size_t code = region->code_used - region->code, arena = region->arena_used - region->arena;
	empty_region(cache, cache->current);
	region->code_peak = code > region->code_peak ? code : region->code_peak;
	region->arena_peak = arena > region->arena_peak ? arena : region->arena_peak;
}

void code_cache_flush(struct code_cache *cache)
{
	(void)madvise(cache->write + cache->permanent, cache->size - cache->permanent, MADV_REMOVE);
	(void)madvise(cache->arena, cache->arena_size, MADV_DONTNEED);
	cache->current = 0;
	for (unsigned i = 0; i < cache->region_count; i++) {
		empty_region(cache, i);
		cache->region[i].code_peak = cache->region[i].arena_peak = 0;
	}
}

size_t code_cache_touched(const struct code_cache *cache)
{
	size_t bytes = cache->permanent;
	for (unsigned i = 0; i < cache->region_count; i++) {
		const struct code_region *region = &cache->region[i];
		size_t code = region->code_used - region->code, arena = region->arena_used - region->arena;
		bytes += code > region->code_peak ? code : region->code_peak;
		bytes += arena > region->arena_peak ? arena : region->arena_peak;
	}
	return bytes;
}
