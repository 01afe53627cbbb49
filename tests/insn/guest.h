/* SPDX-License-Identifier: MIT */
/*
 * The guest the instructions run in: RAM with the code and data pages scattered over it, an MMIO range that acts as
 * memory does, and page tables of each format that map both at the addresses of layout.h.
 */
#ifndef NFOLD_INSN_GUEST_H
#define NFOLD_INSN_GUEST_H

#include "case.h"
#include "io/bus.h"
#include "layout.h"
#include "memory/memory.h"

#define GUEST_DATA_PAGES (AREA_COUNT * LAYOUT_AREA_PAGES)
#define GUEST_TSS UINT64_C(0x20000000) /* linear; supervisor page */
#define GUEST_LDT (GUEST_TSS + 0x800)

struct guest {
	struct memory memory;
	struct io_map ports, mmio;
	uint8_t mmio_backing[GUEST_DATA_PAGES * LAYOUT_PAGE];
	uint64_t mmio_accesses;
	uint64_t next_table; /* guest-physical allocator of page-table pages */
	uint64_t cr3[PAGING_COUNT];
	uint8_t *data_page[GUEST_DATA_PAGES]; /* where the bytes of each data page are */
};

bool guest_init(struct guest *guest, struct error *error);
void guest_destroy(struct guest *guest);

/* Where a byte of the code pages is in guest-physical memory. */
uint64_t guest_code_gpa(uint64_t offset);

#endif
