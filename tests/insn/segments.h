/* SPDX-License-Identifier: MIT */
/*
 * Segments that are not flat: one table of descriptors, which the host's kernel puts into this process's LDT and the
 * test into the guest's. Each has its base, limit and type chosen so that its edges lie in pages that are there, on
 * both sides of the edge.
 */
#ifndef NFOLD_INSN_SEGMENTS_H
#define NFOLD_INSN_SEGMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"
#include "random.h"

/* What a segment can reach. */
enum segment_reach { REACH_LOW, REACH_STACK, REACH_FAR, REACH_CODE, REACH_ALL };

struct segment_entry {
	uint8_t reach;
	uint32_t base, limit; /* the limit as in the descriptor: in bytes, or in pages */
	bool pages;	      /* G */
	bool big;	      /* D or B */
	bool code, down;
	bool locked; /* data that is not writable, code that is not readable */
	bool absent; /* not present: never loaded, but named by instructions that load */
};

#define SEGMENT_ENTRIES 30u
extern const struct segment_entry segment_entries[SEGMENT_ENTRIES];

#define SEGMENT_SELECTOR(entry) ((uint16_t)((entry) << 3 | 7))

/* The eight bytes of the descriptor: DPL 3, accessed. */
uint64_t segment_descriptor(const struct segment_entry *entry);

/* The entry of a selector: those of the table, and the kernel's flat ones. NULL: a null selector. */
const struct segment_entry *segment_find(uint16_t selector);

/* May the bytes be accessed? SDM 3A, 5.3 to 5.5. NULL: never. */
bool segment_permits(const struct segment_entry *entry, uint64_t offset, uint64_t size, bool write);
/* The offsets that the limit allows, both inclusive. */
void segment_range(const struct segment_entry *entry, uint64_t *first, uint64_t *last);

/* Fills selectors in the encoding's order: a code segment of the size, and for the others what suits them. */
void segments_choose(struct random *random, bool code16, bool stack16, uint16_t selector[6]);

/* A selector of the LDT, mostly of an entry that is there, or a null selector. */
uint16_t segment_any(struct random *random);
/* Of a code segment. */
uint16_t segment_any_code(struct random *random);

/* With a 16-bit stack IRET leaves the upper half of ESP as it was. The real CPU's is one of two. */
#define SEGMENT_STACK_HIGHS 2u
extern const uint16_t segment_stack_high[SEGMENT_STACK_HIGHS];

#endif
