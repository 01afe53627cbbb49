/* SPDX-License-Identifier: MIT */
#include "segments.h"

#include <stddef.h>

#define LOW 0x11000000u
#define STACK 0x12000000u
#define FAR 0xd1000000u
#define CODE ((uint32_t)LAYOUT_CODE)

/* Pages 1, 2, 5 and 9 of an area are RAM: see layout.h. The first two entries are those of flat 32-bit code. */
const struct segment_entry segment_entries[SEGMENT_ENTRIES] = {
    {.reach = REACH_ALL, .base = (uint32_t)LAYOUT_FS_BASE32, .limit = 0xfffff, .pages = true, .big = true},
    {.reach = REACH_LOW, .base = (uint32_t)LAYOUT_GS_BASE32, .limit = LAYOUT_GS_LIMIT32, .big = true},
    /* data */
    {.reach = REACH_LOW, .base = LOW + 0x13f0, .limit = 0x4607},
    {.reach = REACH_LOW, .base = LOW + 0x2804 - 0x10000, .limit = 0xe900, .down = true},
    {.reach = REACH_LOW, .base = LOW, .limit = 0x15ff, .big = true, .down = true},
    {.reach = REACH_LOW, .base = LOW, .limit = 0xffff, .locked = true},
    {.reach = REACH_LOW, .base = LOW + 0x2700 - 0x10000, .limit = 0x1ffff},
    {.reach = REACH_LOW, .base = LOW + 0x2700 - 0x10000, .limit = 0xffff, .big = true},
    {.reach = REACH_LOW, .base = LOW + 0x10, .limit = 4, .pages = true, .big = true},
    {.reach = REACH_FAR, .base = FAR, .limit = 0xffff},
    {.reach = REACH_ALL, .base = 0xfffff123, .limit = 0xfffff, .pages = true, .big = true},
    /* stacks */
    {.reach = REACH_STACK, .base = STACK, .limit = 0xffff},
    {.reach = REACH_STACK, .base = STACK + 0x1234, .limit = 0x47ff},
    {.reach = REACH_STACK, .base = STACK + 0x2804 - 0x10000, .limit = 0xe9ff, .down = true},
    {.reach = REACH_STACK, .base = STACK, .limit = 0xffff, .big = true},
    {.reach = REACH_STACK, .base = STACK - 0x1000, .limit = 0x25ff, .big = true, .down = true},
    {.reach = REACH_STACK, .base = STACK, .limit = 0xfffff, .pages = true},
    {.reach = REACH_STACK, .base = STACK + 0x1400, .limit = 0xffff},
    {.reach = REACH_STACK, .base = STACK + 0x2800 - 0x10000, .limit = 0xffff},
    /* code */
    {.reach = REACH_CODE, .base = CODE - 0x3210, .limit = 0xffff, .code = true},
    {.reach = REACH_CODE, .base = CODE + LAYOUT_CODE_SIZE - 0x10000, .limit = 0xffff, .code = true},
    {.reach = REACH_CODE, .base = CODE - 0x1230, .limit = 0x1230 + 0x17f3, .code = true},
    {.reach = REACH_CODE, .base = 0, .limit = 0xfffff, .pages = true, .code = true},
    {.reach = REACH_CODE, .base = CODE - 0x3210, .limit = 0xffff, .code = true, .locked = true},
    {.reach = REACH_CODE, .base = CODE - 0x456780, .limit = 0xfffff, .pages = true, .big = true, .code = true},
    {.reach = REACH_CODE, .base = CODE - 0x3211, .limit = 0x3211 + 0x17f0, .big = true, .code = true},
    {.reach = REACH_CODE, .base = CODE - 0x3210, .limit = 0xffff, .big = true, .code = true, .locked = true},
    /* not present */
    {.reach = REACH_LOW, .base = LOW, .limit = 0xffff, .absent = true},
    {.reach = REACH_STACK, .base = STACK, .limit = 0xffff, .big = true, .absent = true},
    {.reach = REACH_CODE, .base = CODE - 0x3210, .limit = 0xffff, .code = true, .absent = true},
};

enum { ENTRY_DATA = 0, ENTRY_STACK = 11, ENTRY_CODE = 19, ENTRY_CODE32 = 24, ENTRY_ABSENT = 27 };

static const struct segment_entry flat_data = {
    .reach = REACH_ALL, .base = 0, .limit = 0xfffff, .pages = true, .big = true};
static const struct segment_entry flat_code = {
    .reach = REACH_ALL, .base = 0, .limit = 0xfffff, .pages = true, .big = true, .code = true};

const uint16_t segment_stack_high[SEGMENT_STACK_HIGHS] = {0x1357, 0xfedc};

uint64_t segment_descriptor(const struct segment_entry *entry)
{
	uint64_t type = entry->code ? 9u | (entry->locked ? 0u : 2u) : 1u | (entry->locked ? 0u : 2u);
	type |= entry->down ? 4u : 0;
	uint64_t access = (entry->absent ? 0x70u : 0xf0u) | type;
	uint64_t flags = (entry->pages ? 8u : 0) | (entry->big ? 4u : 0);
	return (entry->limit & 0xffffu) | (uint64_t)(entry->base & 0xffffff) << 16 | access << 40 |
	       (uint64_t)(entry->limit >> 16 & 15) << 48 | flags << 52 | (uint64_t)(entry->base >> 24) << 56;
}

const struct segment_entry *segment_find(uint16_t selector)
{
	if (selector == LAYOUT_DS)
		return &flat_data;
	if (selector == LAYOUT_CS32)
		return &flat_code;
	if ((selector & 4) == 0 || selector >> 3 >= SEGMENT_ENTRIES)
		return NULL;
	return &segment_entries[selector >> 3];
}

void segment_range(const struct segment_entry *entry, uint64_t *first, uint64_t *last)
{
	uint64_t limit = entry->pages ? (uint64_t)entry->limit << 12 | 0xfff : entry->limit;
	*first = entry->down ? limit + 1 : 0;
	*last = !entry->down ? limit : entry->big ? 0xffffffff : 0xffff;
}

bool segment_permits(const struct segment_entry *entry, uint64_t offset, uint64_t size, bool write)
{
	if (entry == NULL || (write ? entry->code || entry->locked : entry->code && entry->locked))
		return false;
	uint64_t first, last;
	segment_range(entry, &first, &last);
	return offset >= first && offset + size - 1 <= last;
}

static uint16_t choose_data(struct random *random)
{
	unsigned choice = random_below(random, 100);
	if (choice < 6)
		return LAYOUT_DS;
	if (choice < 8)
		return 0;
	if (choice < 10)
		return SEGMENT_SELECTOR(ENTRY_CODE);
	if (choice < 12)
		return SEGMENT_SELECTOR(ENTRY_STACK);
	return SEGMENT_SELECTOR(ENTRY_DATA + random_below(random, ENTRY_STACK - ENTRY_DATA));
}

static uint16_t choose_stack(struct random *random, bool stack16)
{
	for (;;) {
		unsigned entry = ENTRY_STACK + random_below(random, ENTRY_CODE - ENTRY_STACK);
		if (segment_entries[entry].big != stack16)
			return SEGMENT_SELECTOR(entry);
		if (!stack16 && random_percent(random, 10))
			return LAYOUT_DS;
	}
}

static uint16_t choose_code(struct random *random, bool code16)
{
	if (code16)
		return SEGMENT_SELECTOR(ENTRY_CODE + random_below(random, ENTRY_CODE32 - ENTRY_CODE));
	if (random_percent(random, 10))
		return LAYOUT_CS32;
	return SEGMENT_SELECTOR(ENTRY_CODE32 + random_below(random, ENTRY_ABSENT - ENTRY_CODE32));
}

/* One in five with another RPL. */
static uint16_t with_rpl(struct random *random, unsigned entry)
{
	uint16_t selector = SEGMENT_SELECTOR(entry);
	return random_percent(random, 80) ? selector : (uint16_t)((selector & ~3u) | random_below(random, 4));
}

uint16_t segment_any(struct random *random)
{
	if (random_percent(random, 10))
		return (uint16_t)random_below(random, 4);
	return with_rpl(random, random_below(random, SEGMENT_ENTRIES + 2));
}

uint16_t segment_any_code(struct random *random)
{
	return with_rpl(random, ENTRY_CODE + random_below(random, ENTRY_ABSENT - ENTRY_CODE));
}

void segments_choose(struct random *random, bool code16, bool stack16, uint16_t selector[6])
{
	enum { ES, CS, SS, DS, FS, GS };
	selector[ES] = choose_data(random);
	selector[CS] = choose_code(random, code16);
	selector[SS] = choose_stack(random, stack16);
	selector[DS] = choose_data(random);
	selector[FS] = choose_data(random);
	selector[GS] = choose_data(random);
}
