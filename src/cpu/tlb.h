/* SPDX-License-Identifier: MIT */
/*
 * The soft TLB: linear to host addresses, used by translated code inline and by C.
 *
 * Direct-mapped, one array for each view. A view is a kind of access right: what an entry of a view permits, every
 * access made under that view may do. Translated code knows its view statically, so a change of privilege or of
 * EFLAGS.AC (SMAP) flushes nothing.
 *
 * An entry has a read tag and a write tag, each the linear page address or TLB_EMPTY(i), the address of a page of
 * another index. `linear - tag` is then below 4096 exactly for a hit, and one unsigned comparison with 4096 - size also
 * sends accesses that cross the page to the slow path. Tags are set only for plain RAM: MMIO pages, watched pages,
 * pages that need an A or D bit set first, pages with translated code (write tag) and ROM (write tag) stay out, so that
 * the slow path sees every access.
 *
 * Fetch entries say which physical page the code at a linear page comes from, packed with the linear page in
 * one word, so that a guarded link is one comparison. There are two fetch views: user and supervisor.
 *
 * Lines used since the last flush are remembered by groups of 16, so that a flush costs what was filled.
 */
#ifndef NFOLD_CPU_TLB_H
#define NFOLD_CPU_TLB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLB_BITS 10
#define TLB_SIZE (1u << TLB_BITS)
#define TLB_FETCH_BITS 10
#define TLB_FETCH_SIZE (1u << TLB_FETCH_BITS)

enum tlb_view {
	TLB_VIEW_USER,		/* CPL 3 */
	TLB_VIEW_SUPERVISOR,	/* CPL 0-2, SMAP in force */
	TLB_VIEW_SUPERVISOR_AC, /* CPL 0-2, SMAP off, not enabled or suspended by EFLAGS.AC */
	TLB_VIEW_COUNT
};

struct tlb_entry {
	uint64_t read_tag;
	uint64_t write_tag;
	uint64_t
	    host; /* host address of the page; meaningful when a tag is set. An access goes to host + (linear - tag) */
	uint64_t info; /* guest-physical page | TLB_GLOBAL | TLB_LARGE | TLB_HUGE; valid when a tag is set */
};

#define TLB_GLOBAL 1u
#define TLB_LARGE 2u /* from a page of 2 MiB */
#define TLB_HUGE 4u  /* from a page of 4 MiB or 1 GiB */

struct tlb {
	struct tlb_entry entry[TLB_VIEW_COUNT][TLB_SIZE];
	uint64_t fetch[2][TLB_FETCH_SIZE];     /* tlb_fetch_word() or 0; [0] user, [1] supervisor */
	uint8_t fetch_info[2][TLB_FETCH_SIZE]; /* TLB_GLOBAL | TLB_LARGE | TLB_HUGE */
	uint64_t used[TLB_VIEW_COUNT];	       /* one bit for a group of 16 entries */
	uint64_t fetch_used[2];		       /* the same for fetch entries */
	/* The linear range that large pages were filled from, for each half of the address space; low > high: none. */
	uint64_t large_low[2], large_high[2];
};

#define TLB_INDEX(linear) (((linear) >> 12) & (TLB_SIZE - 1))
#define TLB_EMPTY(index) (((uint64_t)(index) ^ 1u) << 12)
/* Folded: a kernel's text and its entry code often lie a multiple of 4 MiB apart. */
#define TLB_FETCH_INDEX(linear) ((((linear) >> 12) ^ ((linear) >> 22)) & (TLB_FETCH_SIZE - 1))

/* 36 bits of linear page (48-bit canonical addresses) and 28 bits of physical page: guest RAM below 1 TiB. Never 0 for
 * a page that can hold code at linear 0 of physical 0: bit 0 of the low half is the page number + 1. */
static inline uint64_t tlb_fetch_word(uint64_t linear, uint64_t gpa)
{
	return ((linear >> 12) << 28) | (((gpa >> 12) + 1) & 0xfffffff);
}

/* The host address of a byte of an entry's page. */
static inline uint8_t *tlb_host(const struct tlb_entry *entry, uint64_t linear)
{
	return (uint8_t *)(uintptr_t)(entry->host + (linear & 4095));
}

enum tlb_access { TLB_READ, TLB_WRITE, TLB_FETCH };

struct cpu;

void tlb_init(struct tlb *tlb);

/* Drops everything; with !global, all but entries of global pages. */
void tlb_flush(struct tlb *tlb, bool global);
/* Drops what maps the page of `linear` in every view; of a large page, all of it. */
void tlb_flush_page(struct tlb *tlb, uint64_t linear);
/* Fills. `write` is false where the slow path has to see stores. */
void tlb_fill(struct tlb *tlb, enum tlb_view view, uint64_t linear, uint64_t gpa, uint8_t *host, bool write,
	      unsigned info);
void tlb_fill_fetch(struct tlb *tlb, bool supervisor, uint64_t linear, uint64_t gpa, unsigned info);

/* Takes write tags away from every entry of a guest-physical page: it now holds translated code. */
void tlb_revoke_write(struct tlb *tlb, uint64_t gpa);

#endif
