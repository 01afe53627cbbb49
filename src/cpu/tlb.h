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
 * Lines used since the last flush are remembered by groups of 64, and lines filled with what is not global one by one,
 * so that a flush costs what was filled.
 *
 * Address spaces. The table holds one at a time, besides global pages. With PCIDs, what a CR3 load need not flush is
 * moved to a list of its own (`struct tlb_space`), found by PCID, and moved back when the guest returns to it without
 * a flush. So translated code needs no tag for the address space, and a switch costs what the space had filled. A list
 * that is too long loses its oldest entries, as any TLB may.
 */
#ifndef NFOLD_CPU_TLB_H
#define NFOLD_CPU_TLB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLB_BITS 12
#define TLB_SIZE (1u << TLB_BITS)
#define TLB_FETCH_BITS 12
#define TLB_FETCH_SIZE (1u << TLB_FETCH_BITS)
#define TLB_GROUP_BITS 6
#define TLB_GROUP_SIZE (1u << TLB_GROUP_BITS)

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

/*
 * What a table held of an address space that is not current. Global pages are never in it.
 */
#define TLB_SPACES 8 /* Linux goes round six PCIDs */
#define TLB_SPACE_ENTRIES 256
#define TLB_SPACE_FETCHES 128
struct tlb_space {
	uint64_t cr3; /* root and PCID */
	uint64_t age; /* when it was moved here */
	unsigned count, fetch_count;
	struct tlb_entry entry[TLB_SPACE_ENTRIES]; /* newest first, as in the logs' reverse */
	uint64_t fetch[TLB_SPACE_FETCHES];
	uint16_t slot[TLB_SPACE_ENTRIES], fetch_slot[TLB_SPACE_FETCHES];
	uint8_t fetch_info[TLB_SPACE_FETCHES];
};

/* The slots that were filled with what is not global, since they last held none: `view * TLB_SIZE + index`. */
#define TLB_LOG_SIZE 1024u
struct tlb_log {
	unsigned count; /* above TLB_LOG_SIZE: not all of them are here */
	uint16_t slot[TLB_LOG_SIZE];
};

struct tlb {
	struct tlb_entry entry[TLB_VIEW_COUNT][TLB_SIZE];
	uint64_t fetch[2][TLB_FETCH_SIZE];     /* tlb_fetch_word() or 0; [0] user, [1] supervisor */
	uint8_t fetch_info[2][TLB_FETCH_SIZE]; /* TLB_GLOBAL | TLB_LARGE | TLB_HUGE */
	uint64_t used[TLB_VIEW_COUNT];	       /* one bit for a group of 64 entries */
	uint64_t fetch_used[2];		       /* the same for fetch entries */
	/* The linear range that large pages were filled from, for each half of the address space; low > high: none. */
	uint64_t large_low[2], large_high[2];
	struct tlb_log log, fetch_log;
	bool keeps_spaces; /* set by the engine; tlb_init() leaves it alone */
	uint64_t moves;	   /* of spaces, for their age */
	struct tlb_space space[TLB_SPACES];
};

#define TLB_INDEX(linear) (((linear) >> 12) & (TLB_SIZE - 1))
#define TLB_EMPTY(index) (((uint64_t)(index) ^ 1u) << 12)
/* Folded: a kernel's text and its entry code often lie a multiple of 16 MiB apart. */
#define TLB_FETCH_INDEX(linear) ((((linear) >> 12) ^ ((linear) >> 24)) & (TLB_FETCH_SIZE - 1))

/* 36 bits of linear page (48-bit canonical addresses) and 28 bits of physical page: guest RAM below 1 TiB. Never 0 for
 * a page that can hold code at linear 0 of physical 0: bit 0 of the low half is the page number + 1. */
static inline uint64_t tlb_fetch_word(uint64_t linear, uint64_t gpa)
{
	return ((linear >> 12) << 28) | (((gpa >> 12) + 1) & 0xfffffff);
}

static inline void tlb_entry_clear(struct tlb_entry *entry, unsigned index)
{
	entry->read_tag = TLB_EMPTY(index);
	entry->write_tag = TLB_EMPTY(index);
}

static inline bool tlb_entry_is_empty(const struct tlb_entry *entry, unsigned index)
{
	return entry->read_tag == TLB_EMPTY(index) && entry->write_tag == TLB_EMPTY(index);
}

/* Linear page of an entry that is not empty. */
static inline uint64_t tlb_entry_linear(const struct tlb_entry *entry, unsigned index)
{
	return entry->read_tag != TLB_EMPTY(index) ? entry->read_tag : entry->write_tag;
}

static inline void tlb_log_add(struct tlb_log *log, unsigned slot)
{
	if (log->count < TLB_LOG_SIZE)
		log->slot[log->count] = (uint16_t)slot;
	log->count++;
}

/* The host address of a byte of an entry's page. */
static inline uint8_t *tlb_host(const struct tlb_entry *entry, uint64_t linear)
{
	return (uint8_t *)(uintptr_t)(entry->host + (linear & 4095));
}

enum tlb_access { TLB_READ, TLB_WRITE, TLB_FETCH };

struct cpu;

void tlb_init(struct tlb *tlb);

/* Drops everything, of other address spaces too; with !global, what the current one has that is not global. */
void tlb_flush(struct tlb *tlb, bool global);
/* Drops what maps the page of `linear` in every view; of a large page, all of it. */
void tlb_flush_page(struct tlb *tlb, uint64_t linear);
/* Fills. `write` is false where the slow path has to see stores. */
void tlb_fill(struct tlb *tlb, enum tlb_view view, uint64_t linear, uint64_t gpa, uint8_t *host, bool write,
	      unsigned info);
void tlb_fill_fetch(struct tlb *tlb, bool supervisor, uint64_t linear, uint64_t gpa, unsigned info);

/* PCIDs are on: CR3 changes from one root and PCID to others. What is not global goes to the old one's list. With
 * `keep`, what the list of the new one has comes back, if it had the same root; without, it is dropped. */
void tlb_switch_space(struct tlb *tlb, uint64_t from, uint64_t to, bool keep);
/* Of spaces that are not current. A PCID above 0xfff names all of them. */
void tlb_space_drop(struct tlb *tlb, unsigned pcid);
void tlb_space_drop_page(struct tlb *tlb, unsigned pcid, uint64_t linear);
#define TLB_EVERY_PCID 0x1000u
#define TLB_PCID_MASK 0xfffu

/* Takes write tags away from every entry that the table holds now: the slow path sees the next store to each page. */
void tlb_revoke_writes(struct tlb *tlb);
/* Takes write tags away from every entry of a guest-physical page: it now holds translated code. */
void tlb_revoke_write(struct tlb *tlb, uint64_t gpa);
void tlb_spaces_revoke_write(struct tlb *tlb, uint64_t page); /* the part of it in tlb-spaces.c */

#endif
