/* SPDX-License-Identifier: MIT */
/*
 * Guest-physical memory: RAM regions and the one checked gate to guest bytes.
 *
 * RAM is one memfd, mapped once, populated on demand by the host. It appears in the guest-physical
 * space as up to MEMORY_MAX_REGIONS regions (below 3 GiB, above 4 GiB, firmware, video memory). What is not RAM is
 * somebody else's: the io layer's MMIO map, or nothing (reads all ones, writes lost). Where regions overlap, the
 * one that was added first shows.
 *
 * Addresses are guest-physical bytes; sizes are bytes; a page is 4096 bytes.
 *
 * Page flags. One byte per RAM page. PAGE_CODE says that an engine keeps translations of the page:
 * every write through the gate to such a page calls the code notifier afterwards, and engines must not keep
 * a direct write path to it. Flags are read without a lock and written by the engine only.
 *
 * Threading: any thread may read and write guest bytes at any time, as DMA does on hardware. Regions are moved with the
 * device lock held, while no vCPU but the mover runs (memory_map_notifier).
 */
#ifndef NFOLD_MEMORY_MEMORY_H
#define NFOLD_MEMORY_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define PAGE_SIZE 4096u
#define PAGE_MASK 4095u
#define PAGE_SHIFT 12
#define MEMORY_MAX_REGIONS 24

enum page_flag {
	PAGE_CODE = 1,	    /* translated code was read from this page: trace writes */
	PAGE_SELF_CHECK = 2 /* code here checks itself: writes are not traced */
};

struct memory_region {
	uint64_t base;	 /* guest-physical, page aligned */
	uint64_t size;	 /* page aligned */
	uint64_t offset; /* of the first byte in the backing file, so of its page in page_flags */
	bool read_only;	 /* ROM: guest and device writes are dropped */
	/* Of a read-only region: writes are not dropped but go to the backing from here on, as to RAM that a ROM hides.
	 */
	bool hides_ram;
	uint64_t ram_offset;
};

/* Who keeps what was derived from regions: a TLB, translated code. */
struct memory_map_notifier {
	void (*moving)(void *opaque); /* first of all: until `changed` returns, no vCPU but the caller's runs */
	void (*leaving)(void *opaque, uint64_t gpa, uint64_t size); /* before what is there goes */
	void (*changed)(void *opaque);				    /* after a region moved */
	void *opaque;
};

/* Called after bytes of a PAGE_CODE page have changed through the gate, by the thread that wrote them. */
typedef void memory_code_notifier(void *opaque, uint64_t gpa, uint64_t size);

struct memory {
	uint8_t *host;	     /* the mapping of the whole backing file, readable and writable, never executable */
	uint64_t host_size;  /* bytes, page aligned */
	uint8_t *page_flags; /* host_size / PAGE_SIZE entries */
	struct memory_region region[MEMORY_MAX_REGIONS];
	unsigned region_count;
	int fd; /* the memfd */
	memory_code_notifier *code_notifier;
	void *code_notifier_opaque;
	struct memory_map_notifier map_notifier;
};

/* Creates the backing of `size` bytes (rounded up to a page), without any region yet. */
bool memory_init(struct memory *memory, uint64_t size, struct error *error);
void memory_destroy(struct memory *memory);

/* Shows `size` bytes of the backing from `offset` on at guest-physical `base`. */
bool memory_add_region(struct memory *memory, uint64_t base, uint64_t size, uint64_t offset, bool read_only,
		       struct error *error);

/* A region that is nowhere yet, for memory_move_region(). Returns its index, or -1. */
int memory_add_movable_region(struct memory *memory, struct error *error);
/* Shows a movable region somewhere else or otherwise; size 0: nowhere. It may overlap others. */
void memory_move_region(struct memory *memory, int index, const struct memory_region *region);
void memory_set_map_notifier(struct memory *memory, const struct memory_map_notifier *notifier);

void memory_set_code_notifier(struct memory *memory, memory_code_notifier *notifier, void *opaque);

/* The region that holds gpa, or NULL. Inline and free of libc: engines call it with guest state live. */
static inline const struct memory_region *memory_find(const struct memory *memory, uint64_t gpa)
{
	for (unsigned i = 0; i < memory->region_count; i++) {
		const struct memory_region *region = &memory->region[i];
		if (gpa - region->base < region->size)
			return region;
	}
	return NULL;
}

/* Where a byte of the backing shows. False: nowhere. */
static inline bool memory_gpa_of(const struct memory *memory, uint64_t offset, uint64_t *gpa)
{
	for (unsigned i = 0; i < memory->region_count; i++) {
		const struct memory_region *region = &memory->region[i];
		*gpa = region->base + (offset - region->offset);
		if (offset - region->offset < region->size && memory_find(memory, *gpa) == region)
			return true;
	}
	return false;
}

/*
 * The host address of the RAM page that holds gpa (page aligned), or NULL if gpa is not RAM. For engines'
 * TLBs and page walks only; devices use the gate below. *read_only may be NULL.
 */
static inline uint8_t *memory_page(const struct memory *memory, uint64_t gpa, bool *read_only)
{
	const struct memory_region *region = memory_find(memory, gpa);
	if (region == NULL)
		return NULL;
	if (read_only != NULL)
		*read_only = region->read_only;
	return memory->host + region->offset + ((gpa - region->base) & ~(uint64_t)PAGE_MASK);
}

/* The host address of the byte that a write to a read-only region at gpa changes, or NULL: it is dropped. */
static inline uint8_t *memory_hidden_byte(const struct memory *memory, uint64_t gpa)
{
	const struct memory_region *region = memory_find(memory, gpa);
	if (region == NULL || !region->hides_ram)
		return NULL;
	return memory->host + region->ram_offset + (gpa - region->base);
}

/* The flags of the RAM page that holds gpa, or NULL. */
static inline uint8_t *memory_page_flags(const struct memory *memory, uint64_t gpa)
{
	const struct memory_region *region = memory_find(memory, gpa);
	if (region == NULL)
		return NULL;
	return &memory->page_flags[(region->offset + (gpa - region->base)) >> PAGE_SHIFT];
}

/*
 * The gate. Copies between guest RAM and a host buffer, across pages and regions. Returns false, with
 * the bytes before the hole done, where a byte is not RAM. Writes to read-only regions are dropped, or
 * change the RAM behind, and succeed. memory_write traces PAGE_CODE pages.
 */
bool memory_read(const struct memory *memory, uint64_t gpa, void *to, uint64_t size);
bool memory_write(struct memory *memory, uint64_t gpa, const void *from, uint64_t size);
bool memory_fill(struct memory *memory, uint64_t gpa, uint8_t value, uint64_t size);

/* For loaders: writes RAM and ROM regions alike. */
bool memory_load(struct memory *memory, uint64_t gpa, const void *from, uint64_t size);

#endif
