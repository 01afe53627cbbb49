/* SPDX-License-Identifier: MIT */
/*
 * Address spaces that the TLB keeps while another is current. SDM 3A 4.10.1 and 4.10.4: entries are told apart by PCID;
 * processors may keep fewer than the guest hopes for, never one longer than an invalidation of its PCID.
 *
 * Lists are found by PCID, of which there is one at most: so what drops a PCID has one place to look. The root is
 * compared too, when a list comes back: a guest that loads another root for the PCID without a flush would be
 * served stale entries by hardware; here it is not.
 */
#include "base/bits.h"
#include "cpu/tlb.h"

static unsigned pcid_of(uint64_t cr3)
{
	return (unsigned)cr3 & TLB_PCID_MASK;
}

static bool space_is_empty(const struct tlb_space *space)
{
	return space->count == 0 && space->fetch_count == 0;
}

static void space_clear(struct tlb_space *space)
{
	space->count = space->fetch_count = 0;
}

static struct tlb_space *space_find(struct tlb *tlb, unsigned pcid)
{
	for (unsigned i = 0; i < TLB_SPACES; i++)
		if (!space_is_empty(&tlb->space[i]) && pcid_of(tlb->space[i].cr3) == pcid)
			return &tlb->space[i];
	return NULL;
}

/* An empty list, or the one that was left longest ago. */
static struct tlb_space *space_take(struct tlb *tlb)
{
	struct tlb_space *oldest = &tlb->space[0];
	for (unsigned i = 0; i < TLB_SPACES; i++) {
		struct tlb_space *space = &tlb->space[i];
		if (space_is_empty(space))
			return space;
		if (space->age < oldest->age)
			oldest = space;
	}
	space_clear(oldest);
	return oldest;
}

/* Slots may be logged twice; the second time they are empty. */
static void save_entries(struct tlb *tlb, struct tlb_space *space)
{
	for (unsigned i = tlb->log.count; i-- > 0;) {
		unsigned slot = tlb->log.slot[i], index = slot % TLB_SIZE;
		struct tlb_entry *entry = &tlb->entry[0][0] + slot;
		if (tlb_entry_is_empty(entry, index) || (entry->info & TLB_GLOBAL))
			continue;
		if (space->count < TLB_SPACE_ENTRIES) {
			space->entry[space->count] = *entry;
			space->slot[space->count++] = (uint16_t)slot;
		}
		tlb_entry_clear(entry, index);
	}
	tlb->log.count = 0;
}

static void save_fetches(struct tlb *tlb, struct tlb_space *space)
{
	for (unsigned i = tlb->fetch_log.count; i-- > 0;) {
		unsigned slot = tlb->fetch_log.slot[i];
		uint64_t *word = &tlb->fetch[0][0] + slot;
		uint8_t info = (&tlb->fetch_info[0][0])[slot];
		if (*word == 0 || (info & TLB_GLOBAL))
			continue;
		if (space->fetch_count < TLB_SPACE_FETCHES) {
			space->fetch[space->fetch_count] = *word;
			space->fetch_info[space->fetch_count] = info;
			space->fetch_slot[space->fetch_count++] = (uint16_t)slot;
		}
		*word = 0;
	}
	tlb->fetch_log.count = 0;
}

static void space_save(struct tlb *tlb, uint64_t cr3)
{
	struct tlb_space *space;
	if (tlb->log.count > TLB_LOG_SIZE || tlb->fetch_log.count > TLB_LOG_SIZE) { /* it would not fit anyway */
		tlb_flush(tlb, false);
		return;
	}
	if (tlb->log.count == 0 && tlb->fetch_log.count == 0)
		return;
	space = space_take(tlb);
	space->cr3 = cr3;
	space->age = ++tlb->moves;
	save_entries(tlb, space);
	save_fetches(tlb, space);
}

/* Oldest first, so that the logs are in the order they had. The large pages' range still covers them: only a flush of
 * everything clears it. */
static void space_restore(struct tlb *tlb, struct tlb_space *space)
{
	for (unsigned i = space->count; i-- > 0;) {
		unsigned slot = space->slot[i];
		(&tlb->entry[0][0])[slot] = space->entry[i];
		tlb->used[slot / TLB_SIZE] |= BIT64(slot % TLB_SIZE / TLB_GROUP_SIZE);
		tlb_log_add(&tlb->log, slot);
	}
	for (unsigned i = space->fetch_count; i-- > 0;) {
		unsigned slot = space->fetch_slot[i];
		(&tlb->fetch[0][0])[slot] = space->fetch[i];
		(&tlb->fetch_info[0][0])[slot] = space->fetch_info[i];
		tlb->fetch_used[slot / TLB_FETCH_SIZE] |= BIT64(slot % TLB_FETCH_SIZE / TLB_GROUP_SIZE);
		tlb_log_add(&tlb->fetch_log, slot);
	}
	space_clear(space);
}

void tlb_switch_space(struct tlb *tlb, uint64_t from, uint64_t to, bool keep)
{
	struct tlb_space *space;
	if (!tlb->keeps_spaces) {
		tlb_flush(tlb, false);
		return;
	}
	if (pcid_of(from) == pcid_of(to))
		tlb_flush(tlb, false); /* one root or the other: none of its entries may stay */
	else
		space_save(tlb, from);
	space = space_find(tlb, pcid_of(to));
	if (space == NULL)
		return;
	if (keep && space->cr3 == to)
		space_restore(tlb, space);
	else
		space_clear(space);
}

void tlb_space_drop(struct tlb *tlb, unsigned pcid)
{
	for (unsigned i = 0; i < TLB_SPACES; i++)
		if (pcid == TLB_EVERY_PCID || pcid_of(tlb->space[i].cr3) == pcid)
			space_clear(&tlb->space[i]);
}

/* Does an entry that maps `linear` by a page of that size map `page` too? */
static bool maps(uint64_t linear, uint64_t info, uint64_t page)
{
	unsigned shift = (info & TLB_HUGE) ? 30 : (info & TLB_LARGE) ? 21 : 12;
	return (linear ^ page) >> shift == 0;
}

void tlb_space_drop_page(struct tlb *tlb, unsigned pcid, uint64_t linear)
{
	struct tlb_space *space = space_find(tlb, pcid);
	if (space == NULL)
		return;
	for (unsigned i = 0; i < space->count; i++) {
		struct tlb_entry *entry = &space->entry[i];
		unsigned index = space->slot[i] % TLB_SIZE;
		if (!tlb_entry_is_empty(entry, index) && maps(tlb_entry_linear(entry, index), entry->info, linear))
			tlb_entry_clear(entry, index);
	}
	for (unsigned i = 0; i < space->fetch_count; i++) {
		uint64_t at = sign_extend(space->fetch[i] >> 28 << 12, 48);
		if (space->fetch[i] != 0 && maps(at, space->fetch_info[i], linear))
			space->fetch[i] = 0;
	}
}

void tlb_spaces_revoke_write(struct tlb *tlb, uint64_t page)
{
	for (unsigned i = 0; i < TLB_SPACES; i++) {
		struct tlb_space *space = &tlb->space[i];
		for (unsigned n = 0; n < space->count; n++)
			if (align_down(space->entry[n].info, 4096) == page)
				space->entry[n].write_tag = TLB_EMPTY(space->slot[n] % TLB_SIZE);
	}
}
