/* SPDX-License-Identifier: MIT */
#include "cpu/tlb.h"

#include "base/bits.h"

#define ENTRY_GROUPS (TLB_SIZE / TLB_GROUP_SIZE)
#define FETCH_GROUPS (TLB_FETCH_SIZE / TLB_GROUP_SIZE)

_Static_assert(ENTRY_GROUPS <= 64 && FETCH_GROUPS <= 64, "one word of used bits for a view");

static void large_range_clear(struct tlb *tlb)
{
	for (unsigned half = 0; half < 2; half++) {
		tlb->large_low[half] = ~UINT64_C(0);
		tlb->large_high[half] = 0;
	}
}

void tlb_init(struct tlb *tlb)
{
	for (unsigned view = 0; view < TLB_VIEW_COUNT; view++) {
		for (unsigned i = 0; i < TLB_SIZE; i++)
			tlb_entry_clear(&tlb->entry[view][i], i);
		tlb->used[view] = 0;
	}
	for (unsigned view = 0; view < 2; view++) {
		for (unsigned i = 0; i < TLB_FETCH_SIZE; i++)
			tlb->fetch[view][i] = 0;
		tlb->fetch_used[view] = 0;
	}
	large_range_clear(tlb);
	tlb->log.count = tlb->fetch_log.count = 0;
	tlb_space_drop(tlb, TLB_EVERY_PCID);
}

/* Which entries a sweep drops. */
struct sweep {
	bool global;	 /* entries of global pages too */
	bool only_large; /* none but those of the large pages around `linear` */
	uint64_t linear;
};

static bool sweep_hits(const struct sweep *sweep, uint64_t linear, uint64_t info)
{
	if (!sweep->only_large)
		return sweep->global || !(info & TLB_GLOBAL);
	uint64_t distance = linear ^ sweep->linear;
	return ((info & TLB_LARGE) && distance >> 21 == 0) || ((info & TLB_HUGE) && distance >> 30 == 0);
}

/* Returns whether something is left in the group. */
static bool sweep_entries(struct tlb_entry *entry, unsigned first, const struct sweep *sweep)
{
	bool left = false;
	for (unsigned i = first; i < first + TLB_GROUP_SIZE; i++) {
		if (tlb_entry_is_empty(&entry[i], i))
			continue;
		if (sweep_hits(sweep, tlb_entry_linear(&entry[i], i), entry[i].info))
			tlb_entry_clear(&entry[i], i);
		else
			left = true;
	}
	return left;
}

static bool sweep_fetch(struct tlb *tlb, unsigned view, unsigned first, const struct sweep *sweep)
{
	bool left = false;
	for (unsigned i = first; i < first + TLB_GROUP_SIZE; i++) {
		uint64_t word = tlb->fetch[view][i];
		if (word == 0)
			continue;
		uint64_t linear = sign_extend(word >> 28 << 12, 48);
		if (sweep_hits(sweep, linear, tlb->fetch_info[view][i]))
			tlb->fetch[view][i] = 0;
		else
			left = true;
	}
	return left;
}

static void tlb_sweep(struct tlb *tlb, const struct sweep *sweep)
{
	for (unsigned view = 0; view < TLB_VIEW_COUNT; view++) {
		uint64_t left = 0;
		for (uint64_t used = tlb->used[view]; used != 0; used &= used - 1) {
			unsigned group = (unsigned)__builtin_ctzll(used);
			if (sweep_entries(tlb->entry[view], group << TLB_GROUP_BITS, sweep))
				left |= BIT64(group);
		}
		tlb->used[view] = left;
	}
	for (unsigned view = 0; view < 2; view++) {
		uint64_t left = 0;
		for (uint64_t used = tlb->fetch_used[view]; used != 0; used &= used - 1) {
			unsigned group = (unsigned)__builtin_ctzll(used);
			if (sweep_fetch(tlb, view, group << TLB_GROUP_BITS, sweep))
				left |= BIT64(group);
		}
		tlb->fetch_used[view] = left;
	}
}

/* What is not global, by the logs: the groups that count as used stay so. */
static void flush_logged(struct tlb *tlb)
{
	struct tlb_entry *entries = &tlb->entry[0][0];
	for (unsigned i = 0; i < tlb->log.count; i++) {
		unsigned slot = tlb->log.slot[i];
		if (!(entries[slot].info & TLB_GLOBAL))
			tlb_entry_clear(&entries[slot], slot % TLB_SIZE);
	}
	for (unsigned i = 0; i < tlb->fetch_log.count; i++) {
		unsigned slot = tlb->fetch_log.slot[i];
		if (!((&tlb->fetch_info[0][0])[slot] & TLB_GLOBAL))
			(&tlb->fetch[0][0])[slot] = 0;
	}
}

void tlb_flush(struct tlb *tlb, bool global)
{
	if (!global && tlb->log.count <= TLB_LOG_SIZE && tlb->fetch_log.count <= TLB_LOG_SIZE) {
		flush_logged(tlb);
	} else {
		struct sweep sweep = {.global = global};
		tlb_sweep(tlb, &sweep);
	}
	tlb->log.count = tlb->fetch_log.count = 0;
	if (global) {
		large_range_clear(tlb);
		tlb_space_drop(tlb, TLB_EVERY_PCID);
	}
}

void tlb_flush_page(struct tlb *tlb, uint64_t linear)
{
	uint64_t page = align_down(linear, 4096);
	unsigned half = (unsigned)(linear >> 63);
	if (page >= tlb->large_low[half] && page <= tlb->large_high[half]) {
		struct sweep sweep = {.only_large = true, .linear = page};
		tlb_sweep(tlb, &sweep);
	}
	unsigned index = (unsigned)TLB_INDEX(linear);
	for (unsigned view = 0; view < TLB_VIEW_COUNT; view++) {
		struct tlb_entry *entry = &tlb->entry[view][index];
		if (entry->read_tag == page || entry->write_tag == page)
			tlb_entry_clear(entry, index);
	}
	for (unsigned view = 0; view < 2; view++) {
		uint64_t *word = &tlb->fetch[view][TLB_FETCH_INDEX(linear)];
		if (*word >> 28 == (tlb_fetch_word(page, 0) >> 28))
			*word = 0;
	}
}

static void large_range_add(struct tlb *tlb, uint64_t linear, unsigned info)
{
	unsigned half = (unsigned)(linear >> 63);
	uint64_t size = (info & TLB_HUGE) ? BIT64(30) : BIT64(21);
	uint64_t low = align_down(linear, size);
	uint64_t high = low + size - 1;
	if (low < tlb->large_low[half])
		tlb->large_low[half] = low;
	if (high > tlb->large_high[half])
		tlb->large_high[half] = high;
}

void tlb_fill(struct tlb *tlb, enum tlb_view view, uint64_t linear, uint64_t gpa, uint8_t *host, bool write,
	      unsigned info)
{
	uint64_t page = align_down(linear, 4096);
	unsigned index = (unsigned)TLB_INDEX(linear);
	struct tlb_entry *entry = &tlb->entry[view][index];
	if (!(info & TLB_GLOBAL) && (tlb_entry_is_empty(entry, index) || (entry->info & TLB_GLOBAL)))
		tlb_log_add(&tlb->log, (unsigned)view * TLB_SIZE + index);
	entry->read_tag = page;
	entry->write_tag = write ? page : TLB_EMPTY(index);
	entry->host = (uint64_t)(uintptr_t)host - (linear & 4095);
	entry->info = align_down(gpa, 4096) | info;
	tlb->used[view] |= BIT64(index >> TLB_GROUP_BITS);
	if (info & (TLB_LARGE | TLB_HUGE))
		large_range_add(tlb, linear, info);
}

void tlb_fill_fetch(struct tlb *tlb, bool supervisor, uint64_t linear, uint64_t gpa, unsigned info)
{
	unsigned index = (unsigned)TLB_FETCH_INDEX(linear);
	bool logged = tlb->fetch[supervisor][index] != 0 && !(tlb->fetch_info[supervisor][index] & TLB_GLOBAL);
	if (!(info & TLB_GLOBAL) && !logged)
		tlb_log_add(&tlb->fetch_log, supervisor * TLB_FETCH_SIZE + index);
	tlb->fetch[supervisor][index] = tlb_fetch_word(linear, gpa);
	tlb->fetch_info[supervisor][index] = (uint8_t)info;
	tlb->fetch_used[supervisor] |= BIT64(index >> TLB_GROUP_BITS);
	if (info & (TLB_LARGE | TLB_HUGE))
		large_range_add(tlb, linear, info);
}

void tlb_revoke_write(struct tlb *tlb, uint64_t gpa)
{
	uint64_t page = align_down(gpa, 4096);
	for (unsigned view = 0; view < TLB_VIEW_COUNT; view++) {
		for (uint64_t used = tlb->used[view]; used != 0; used &= used - 1) {
			unsigned first = (unsigned)__builtin_ctzll(used) << TLB_GROUP_BITS;
			for (unsigned i = first; i < first + TLB_GROUP_SIZE; i++) {
				struct tlb_entry *entry = &tlb->entry[view][i];
				if (align_down(entry->info, 4096) == page)
					entry->write_tag = TLB_EMPTY(i);
			}
		}
	}
	tlb_spaces_revoke_write(tlb, page);
}

void tlb_revoke_writes(struct tlb *tlb)
{
	for (unsigned view = 0; view < TLB_VIEW_COUNT; view++) {
		for (uint64_t used = tlb->used[view]; used != 0; used &= used - 1) {
			unsigned first = (unsigned)__builtin_ctzll(used) << TLB_GROUP_BITS;
			for (unsigned i = first; i < first + TLB_GROUP_SIZE; i++)
				tlb->entry[view][i].write_tag = TLB_EMPTY(i);
		}
	}
}
