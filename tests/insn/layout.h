/* SPDX-License-Identifier: MIT */
/*
 * Where code and data lie: at the same linear addresses in this process, for the real CPU, and in the guest.
 *
 * Code is two executable pages filled with INT3 and followed by a page that is not there, so that instructions can
 * cross a page and run into a fetch fault. Data are areas of 16 pages with one pattern of access rights each, so that
 * an operand's page, and the page it crosses into, can be chosen freely. On the real CPU all present pages are plain
 * memory; in the guest the pages lie scattered in guest RAM, and those marked MMIO behind an MMIO range that acts as
 * RAM does.
 */
#ifndef NFOLD_INSN_LAYOUT_H
#define NFOLD_INSN_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#define LAYOUT_PAGE 4096u
#define LAYOUT_CODE UINT64_C(0x10000000)
#define LAYOUT_CODE_PAGES 2u
#define LAYOUT_CODE_SIZE (LAYOUT_CODE_PAGES * LAYOUT_PAGE)

enum layout_area { AREA_LOW, AREA_STACK, AREA_FAR, AREA_COUNT };

#define LAYOUT_AREA_PAGES 16u
#define LAYOUT_AREA_SIZE (LAYOUT_AREA_PAGES * LAYOUT_PAGE)
#define LAYOUT_DATA_SIZE (AREA_COUNT * LAYOUT_AREA_SIZE)

/* The far area is above what a sign-extended 32-bit value reaches. */
static inline uint64_t layout_area_base(enum layout_area area, bool mode64)
{
	switch (area) {
	case AREA_LOW:
		return UINT64_C(0x11000000);
	case AREA_STACK:
		return UINT64_C(0x12000000);
	default:
		return mode64 ? UINT64_C(0x123456780000) : UINT64_C(0xd1000000);
	}
}

enum layout_page { PAGE_NONE, PAGE_RAM, PAGE_RAM_READ_ONLY, PAGE_MMIO };

/* Names of page indices used by the choice of operands. */
#define LAYOUT_RAM_FIRST 1u
#define LAYOUT_READ_ONLY 4u
#define LAYOUT_READ_ONLY_AFTER_RAM 6u
#define LAYOUT_NONE_AFTER_RAM 3u
#define LAYOUT_MMIO 8u
#define LAYOUT_MMIO_PAIR 10u

static inline enum layout_page layout_page(unsigned index)
{
	static const uint8_t pattern[LAYOUT_AREA_PAGES] = {
	    PAGE_NONE, PAGE_RAM, PAGE_RAM,  PAGE_NONE, PAGE_RAM_READ_ONLY, PAGE_RAM,  PAGE_RAM_READ_ONLY, PAGE_NONE,
	    PAGE_MMIO, PAGE_RAM, PAGE_MMIO, PAGE_MMIO, PAGE_NONE,	   PAGE_NONE, PAGE_NONE,	  PAGE_NONE,
	};
	return (enum layout_page)pattern[index % LAYOUT_AREA_PAGES];
}

/* The byte's offset in the data file (areas one after the other), or UINT64_MAX: no data area. */
static inline uint64_t layout_offset(uint64_t linear, bool mode64)
{
	for (unsigned area = 0; area < AREA_COUNT; area++) {
		uint64_t offset = linear - layout_area_base((enum layout_area)area, mode64);
		if (offset < LAYOUT_AREA_SIZE)
			return area * (uint64_t)LAYOUT_AREA_SIZE + offset;
	}
	return UINT64_MAX;
}

/* Segment bases. In 64-bit mode those of FS and GS; in 32-bit mode those of two descriptors in the LDT: FS covers 4
 * GiB, GS the 64 KiB of the low area, which is what 16-bit addressing can reach at all. */
#define LAYOUT_FS_BASE64 UINT64_C(0x00002345789abc10)
#define LAYOUT_GS_BASE64 UINT64_C(0x0000600000123458)
#define LAYOUT_FS_BASE32 UINT64_C(0x10004568)
#define LAYOUT_GS_BASE32 UINT64_C(0x11000000)
#define LAYOUT_GS_LIMIT32 0xffffu

/* Linux's user selectors on x86-64, and the two LDT entries. */
#define LAYOUT_CS64 0x33u
#define LAYOUT_CS32 0x23u
#define LAYOUT_DS 0x2bu
#define LAYOUT_FS32 0x07u
#define LAYOUT_GS32 0x0fu

#endif
