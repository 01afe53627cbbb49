/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <string.h>

#include "base/bits.h"

#define GUEST_RAM (UINT64_C(4) << 20)
#define GUEST_CODE UINT64_C(0x100000)
#define GUEST_CODE_STRIDE UINT64_C(0x3000) /* the two code pages are not neighbours */
#define GUEST_TSS_PAGE UINT64_C(0x180000)
#define GUEST_DATA UINT64_C(0x200000)
#define GUEST_TABLES UINT64_C(0x10000)
#define GUEST_MMIO UINT64_C(0xc0000000)

#define ENTRY_P 1u
#define ENTRY_W 2u
#define ENTRY_U 4u
#define ENTRY_NX (UINT64_C(1) << 63)

/* ---- MMIO that acts as memory ---- */

static uint64_t backing_read(void *opaque, uint64_t offset, unsigned size)
{
	struct guest *guest = opaque;
	guest->mmio_accesses++;
	return load_le(guest->mmio_backing + offset, size);
}

static void backing_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct guest *guest = opaque;
	guest->mmio_accesses++;
	store_le(guest->mmio_backing + offset, value, size);
}

static const struct io_ops backing_ops = {.read = backing_read, .write = backing_write, .max_size = 8};

/* ---- page tables ---- */

/* Levels of a format: index bits of each, from the top, and the size of an entry. */
struct table_format {
	unsigned levels;
	unsigned bits[4];
	unsigned entry_size;
	bool top_is_plain; /* PAE: the four top entries have no W and U bits */
	bool no_execute;
};

static const struct table_format formats[PAGING_COUNT] = {
    [PAGING_4_LEVEL] = {4, {9, 9, 9, 9}, 8, false, true},
    [PAGING_COMPATIBILITY] = {4, {9, 9, 9, 9}, 8, false, true},
    [PAGING_PAE] = {3, {2, 9, 9}, 8, true, true},
    [PAGING_32] = {2, {10, 10}, 4, false, false},
};

static uint8_t *guest_ram(struct guest *guest, uint64_t gpa)
{
	return memory_page(&guest->memory, gpa, NULL) + (gpa & PAGE_MASK);
}

static uint64_t table_allocate(struct guest *guest)
{
	uint64_t table = guest->next_table;
	guest->next_table += LAYOUT_PAGE;
	return table;
}

static void map_page(struct guest *guest, const struct table_format *format, uint64_t root, uint64_t linear,
		     uint64_t leaf)
{
	uint64_t table = root;
	unsigned shift = 12;
	for (unsigned level = 0; level < format->levels; level++)
		shift += format->bits[level];
	for (unsigned level = 0; level < format->levels; level++) {
		shift -= format->bits[level];
		uint64_t index = linear >> shift & ((UINT64_C(1) << format->bits[level]) - 1);
		uint8_t *entry = guest_ram(guest, table + index * format->entry_size);
		if (level + 1 == format->levels) {
			store_le(entry, format->no_execute ? leaf : leaf & ~ENTRY_NX, format->entry_size);
			return;
		}
		uint64_t next = load_le(entry, format->entry_size) & UINT64_C(0x000ffffffffff000);
		if (next == 0) {
			next = table_allocate(guest);
			uint64_t rights = level == 0 && format->top_is_plain ? ENTRY_P : ENTRY_P | ENTRY_W | ENTRY_U;
			store_le(entry, next | rights, format->entry_size);
		}
		table = next;
	}
}

/* Neighbours in the linear space are not neighbours in RAM. */
static uint64_t data_gpa(unsigned page)
{
	if (layout_page(page) == PAGE_MMIO)
		return GUEST_MMIO + (uint64_t)page * LAYOUT_PAGE;
	return GUEST_DATA + (uint64_t)(page * 29 + 7) % GUEST_DATA_PAGES * LAYOUT_PAGE;
}

static void map_data(struct guest *guest, enum insn_paging paging, bool mode64)
{
	for (unsigned page = 0; page < GUEST_DATA_PAGES; page++) {
		enum layout_page kind = layout_page(page);
		if (kind == PAGE_NONE)
			continue;
		uint64_t linear = layout_area_base((enum layout_area)(page / LAYOUT_AREA_PAGES), mode64) +
				  (uint64_t)(page % LAYOUT_AREA_PAGES) * LAYOUT_PAGE;
		uint64_t rights = ENTRY_P | ENTRY_U | ENTRY_NX | (kind == PAGE_RAM_READ_ONLY ? 0 : ENTRY_W);
		map_page(guest, &formats[paging], guest->cr3[paging], linear, data_gpa(page) | rights);
	}
}

static void map_everything(struct guest *guest, enum insn_paging paging)
{
	guest->cr3[paging] = table_allocate(guest);
	for (unsigned page = 0; page < LAYOUT_CODE_PAGES; page++)
		map_page(guest, &formats[paging], guest->cr3[paging], LAYOUT_CODE + page * (uint64_t)LAYOUT_PAGE,
			 (GUEST_CODE + page * GUEST_CODE_STRIDE) | ENTRY_P | ENTRY_U);
	map_page(guest, &formats[paging], guest->cr3[paging], GUEST_TSS, GUEST_TSS_PAGE | ENTRY_P | ENTRY_W);
	map_data(guest, paging, paging == PAGING_4_LEVEL);
}

/* ---- the whole ---- */

bool guest_init(struct guest *guest, struct error *error)
{
	memset(guest, 0, sizeof *guest);
	if (!memory_init(&guest->memory, GUEST_RAM, error) ||
	    !memory_add_region(&guest->memory, 0, GUEST_RAM, 0, false, error))
		return false;
	io_map_init(&guest->ports, 0x10000);
	io_map_init(&guest->mmio, 0);
	if (!io_map_add(&guest->mmio, GUEST_MMIO, sizeof guest->mmio_backing, &backing_ops, guest, "test memory",
			error))
		return false;
	guest->next_table = GUEST_TABLES;
	for (unsigned paging = 0; paging < PAGING_COUNT; paging++)
		map_everything(guest, (enum insn_paging)paging);
	for (unsigned page = 0; page < GUEST_DATA_PAGES; page++)
		guest->data_page[page] = layout_page(page) == PAGE_MMIO
					     ? guest->mmio_backing + (size_t)page * LAYOUT_PAGE
					     : guest_ram(guest, data_gpa(page));
	/* The TSS says that the I/O permission map lies beyond its limit: every port is forbidden. */
	store_le(guest_ram(guest, GUEST_TSS_PAGE + 0x66), 0xffff, 2);
	for (unsigned i = 0; i < SEGMENT_ENTRIES; i++)
		store_le(guest_ram(guest, GUEST_TSS_PAGE + GUEST_LDT - GUEST_TSS + 8 * i),
			 segment_descriptor(&segment_entries[i]), 8);
	memset(guest_ram(guest, GUEST_CODE), 0xcc, LAYOUT_PAGE);
	memset(guest_ram(guest, GUEST_CODE + GUEST_CODE_STRIDE), 0xcc, LAYOUT_PAGE);
	return true;
}

void guest_destroy(struct guest *guest)
{
	if (guest->memory.host != NULL)
		memory_destroy(&guest->memory);
}

uint64_t guest_code_gpa(uint64_t offset)
{
	return GUEST_CODE + offset / LAYOUT_PAGE * GUEST_CODE_STRIDE + offset % LAYOUT_PAGE;
}
