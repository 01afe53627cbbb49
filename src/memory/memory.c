/* SPDX-License-Identifier: MIT */
#include "memory/memory.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE (UINT64_C(2) << 20)

/*
 * Maps the backing at a multiple of 2 MiB, so that the host can use huge pages for it: address and file offset must
 * be congruent. Reserves more than is needed and gives the ends back.
 */
static uint8_t *map_aligned(int fd, uint64_t size)
{
	uint64_t reserve = size + HUGE_PAGE;
	uint8_t *area = mmap(NULL, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return NULL;
	uint64_t skip = -(uintptr_t)area & (HUGE_PAGE - 1);
	uint8_t *host = mmap(area + skip, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
	if (host == MAP_FAILED) {
		(void)munmap(area, reserve);
		return NULL;
	}
	if (skip > 0)
		(void)munmap(area, skip);
	if (skip < HUGE_PAGE)
		(void)munmap(host + size, HUGE_PAGE - skip);
	return host;
}

static bool create_backing(struct memory *memory, struct error *error)
{
	memory->fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memory->fd < 0)
		return error_set_errno(error, "cannot create guest memory");
	if (ftruncate(memory->fd, (off_t)memory->host_size) != 0)
		return error_set_errno(error, "cannot size guest memory to %llu bytes",
				       (unsigned long long)memory->host_size);
	/* A file that cannot shrink cannot raise SIGBUS under us, whoever else holds the descriptor. */
	(void)fcntl(memory->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);

	memory->host = map_aligned(memory->fd, memory->host_size);
	if (memory->host == NULL)
		return error_set_errno(error, "cannot map %llu bytes of guest memory",
				       (unsigned long long)memory->host_size);
	(void)madvise(memory->host, memory->host_size, MADV_HUGEPAGE);
	(void)madvise(memory->host, memory->host_size, MADV_DONTDUMP);

	/* Untouched flags are never backed by host memory. */
	void *flags = mmap(NULL, memory->host_size / PAGE_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (flags == MAP_FAILED)
		return error_set_errno(error, "cannot map the guest's page flags");
	memory->page_flags = flags;
	return true;
}

bool memory_init(struct memory *memory, uint64_t size, struct error *error)
{
	*memory = (struct memory){.fd = -1};
	if (size == 0 || size > (uint64_t)INT64_MAX - HUGE_PAGE - PAGE_SIZE)
		return error_set(error, ERROR_INPUT, "guest memory of %llu bytes is impossible",
				 (unsigned long long)size);
	memory->host_size = (size + PAGE_MASK) & ~(uint64_t)PAGE_MASK;
	if (create_backing(memory, error))
		return true;
	memory_destroy(memory);
	return false;
}

void memory_destroy(struct memory *memory)
{
	if (memory->page_flags != NULL)
		(void)munmap(memory->page_flags, memory->host_size / PAGE_SIZE);
	if (memory->host != NULL)
		(void)munmap(memory->host, memory->host_size);
	if (memory->fd >= 0)
		(void)close(memory->fd);
	*memory = (struct memory){.fd = -1};
}

static bool ranges_meet(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b ? b - a < a_size : a - b < b_size;
}

bool memory_add_region(struct memory *memory, uint64_t base, uint64_t size, uint64_t offset, bool read_only,
		       struct error *error)
{
	if (memory->region_count == MEMORY_MAX_REGIONS)
		return error_set(error, ERROR_HOST, "too many memory regions");
	if (((base | size | offset) & PAGE_MASK) != 0 || size == 0)
		return error_set(error, ERROR_HOST, "memory region at 0x%llx is not made of whole pages",
				 (unsigned long long)base);
	if (size > memory->host_size || offset > memory->host_size - size || base > UINT64_MAX - size)
		return error_set(error, ERROR_HOST, "memory region at 0x%llx reaches beyond guest memory",
				 (unsigned long long)base);
	for (unsigned i = 0; i < memory->region_count; i++)
		if (memory->region[i].size > 0 &&
		    ranges_meet(base, size, memory->region[i].base, memory->region[i].size))
			return error_set(error, ERROR_HOST, "memory region at 0x%llx overlaps another",
					 (unsigned long long)base);
	memory->region[memory->region_count++] =
	    (struct memory_region){.base = base, .size = size, .offset = offset, .read_only = read_only};
	return true;
}

int memory_add_movable_region(struct memory *memory, struct error *error)
{
	if (memory->region_count == MEMORY_MAX_REGIONS) {
		(void)error_set(error, ERROR_HOST, "too many memory regions");
		return -1;
	}
	memory->region[memory->region_count] = (struct memory_region){0};
	return (int)memory->region_count++;
}

static bool region_is_sound(const struct memory *memory, const struct memory_region *region)
{
	uint64_t size = region->size, host = memory->host_size;
	return ((region->base | size | region->offset | region->ram_offset) & PAGE_MASK) == 0 && size <= host &&
	       region->offset <= host - size && region->ram_offset <= host - size && region->base <= UINT64_MAX - size;
}

static void tell_leaving(const struct memory *memory, const struct memory_region *region)
{
	if (memory->map_notifier.leaving != NULL && region->size > 0)
		memory->map_notifier.leaving(memory->map_notifier.opaque, region->base, region->size);
}

static bool regions_equal(const struct memory_region *a, const struct memory_region *b)
{
	return a->base == b->base && a->size == b->size && a->offset == b->offset && a->read_only == b->read_only &&
	       a->hides_ram == b->hides_ram && a->ram_offset == b->ram_offset;
}

void memory_move_region(struct memory *memory, int index, const struct memory_region *region)
{
	assert(index >= 0 && (unsigned)index < memory->region_count && region_is_sound(memory, region));
	struct memory_region *place = &memory->region[index];
	if (regions_equal(place, region))
		return;
	if (memory->map_notifier.moving != NULL)
		memory->map_notifier.moving(memory->map_notifier.opaque);
	/* What shows at the new place until now goes too. */
	tell_leaving(memory, place);
	tell_leaving(memory, region);
	*place = *region;
	if (memory->map_notifier.changed != NULL)
		memory->map_notifier.changed(memory->map_notifier.opaque);
}

void memory_set_map_notifier(struct memory *memory, const struct memory_map_notifier *notifier)
{
	memory->map_notifier = *notifier;
}

void memory_set_code_notifier(struct memory *memory, memory_code_notifier *notifier, void *opaque)
{
	memory->code_notifier = notifier;
	memory->code_notifier_opaque = opaque;
}

/* A run of bytes within one page of one region. */
struct piece {
	const struct memory_region *region;
	uint8_t *host;
	uint64_t size;
};

/* The first piece of a range; false: its first byte is not RAM. Regions are whole pages, so a piece is never short of
 * its page. */
static bool first_piece(const struct memory *memory, uint64_t gpa, uint64_t size, struct piece *piece)
{
	const struct memory_region *region = memory_find(memory, gpa);
	if (region == NULL)
		return false;
	uint64_t room = PAGE_SIZE - (gpa & PAGE_MASK);
	piece->region = region;
	piece->host = memory->host + region->offset + (gpa - region->base);
	piece->size = size < room ? size : room;
	return true;
}

/* Where a write to the piece goes; false: nowhere. */
static bool writable_piece(const struct memory *memory, struct piece *piece, uint64_t gpa)
{
	if (!piece->region->read_only)
		return true;
	if (!piece->region->hides_ram)
		return false;
	piece->host = memory->host + piece->region->ram_offset + (gpa - piece->region->base);
	return true;
}

/* After the bytes: an engine marks a page before it reads code from it. So either it reads the new bytes, or the mark
 * is seen here and what was made of the old ones is dropped. */
static void notify_code(const struct memory *memory, const struct piece *piece, uint64_t gpa)
{
	uint64_t page = (uint64_t)(piece->host - memory->host) >> PAGE_SHIFT;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	uint8_t flags = __atomic_load_n(&memory->page_flags[page], __ATOMIC_RELAXED);
	if ((flags & PAGE_CODE) != 0 && memory->code_notifier != NULL)
		memory->code_notifier(memory->code_notifier_opaque, gpa, piece->size);
}

bool memory_read(const struct memory *memory, uint64_t gpa, void *to, uint64_t size)
{
	uint8_t *at = to;
	struct piece piece;
	for (; size > 0; size -= piece.size) {
		if (!first_piece(memory, gpa, size, &piece))
			return false;
		memcpy(at, piece.host, piece.size);
		at += piece.size;
		gpa += piece.size;
	}
	return true;
}

bool memory_write(struct memory *memory, uint64_t gpa, const void *from, uint64_t size)
{
	const uint8_t *at = from;
	struct piece piece;
	for (; size > 0; size -= piece.size) {
		if (!first_piece(memory, gpa, size, &piece))
			return false;
		if (writable_piece(memory, &piece, gpa)) {
			memcpy(piece.host, at, piece.size);
			notify_code(memory, &piece, gpa);
		}
		at += piece.size;
		gpa += piece.size;
	}
	return true;
}

bool memory_fill(struct memory *memory, uint64_t gpa, uint8_t value, uint64_t size)
{
	struct piece piece;
	for (; size > 0; size -= piece.size) {
		if (!first_piece(memory, gpa, size, &piece))
			return false;
		if (writable_piece(memory, &piece, gpa)) {
			memset(piece.host, value, piece.size);
			notify_code(memory, &piece, gpa);
		}
		gpa += piece.size;
	}
	return true;
}

bool memory_load(struct memory *memory, uint64_t gpa, const void *from, uint64_t size)
{
	const uint8_t *at = from;
	struct piece piece;
	for (; size > 0; size -= piece.size) {
		if (!first_piece(memory, gpa, size, &piece))
			return false;
		memcpy(piece.host, at, piece.size);
		notify_code(memory, &piece, gpa);
		at += piece.size;
		gpa += piece.size;
	}
	return true;
}
