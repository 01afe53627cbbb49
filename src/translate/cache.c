/* SPDX-License-Identifier: MIT */
#include "translate/cache.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"

#define CODE_ALIGNMENT 16

bool code_cache_init(struct code_cache *cache, size_t code_bytes, size_t arena_bytes, struct error *error)
{
	memset(cache, 0, sizeof *cache);
	cache->size = code_bytes;
	cache->arena_size = arena_bytes;
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

struct assembler code_cache_reserve(const struct code_cache *cache)
{
	uint8_t *start = cache->write + cache->used;
	return (struct assembler){
	    .start = start, .next = start, .end = cache->write + cache->size, .run_offset = cache->run - cache->write};
}

void code_cache_commit(struct code_cache *cache, const struct assembler *as)
{
	bug_if(as->full || as->start != cache->write + cache->used);
	size_t end = (size_t)align_up((uint64_t)(as->next - cache->write), CODE_ALIGNMENT);
	cache->used = end < cache->size ? end : cache->size;
}

void *code_cache_allocate(struct code_cache *cache, size_t bytes)
{
	size_t rounded = (size_t)align_up(bytes, 8);
	if (rounded > cache->arena_size - cache->arena_used)
		return NULL;
	void *result = cache->arena + cache->arena_used;
	cache->arena_used += rounded;
	if (cache->arena_used > cache->arena_peak)
		cache->arena_peak = cache->arena_used;
	return result;
}

void code_cache_flush(struct code_cache *cache)
{
	size_t keep = (size_t)align_up(cache->permanent, 4096);
	if (cache->used > keep)
		(void)madvise(cache->write + keep, cache->size - keep, MADV_REMOVE);
	(void)madvise(cache->arena, cache->arena_size, MADV_DONTNEED);
	cache->used = cache->permanent;
	cache->arena_used = 0;
}
