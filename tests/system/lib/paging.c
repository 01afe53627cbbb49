/* SPDX-License-Identifier: MIT */
/*
 * Page tables in the three formats by one walk: a table has 512 entries of 8 bytes, or 1,024 of 4 (PAGING_32). Tables
 * are reached through the identity map. The second page directory pointer level of PAE has 4 entries without W and U
 * (SDM 3A 4.4.1).
 */
#include "guest.h"

#define POOL_PAGES 512

extern char image_end[];
static struct {
	enum paging_format format;
	word root; /* of the space being changed */
	word next_page;
} paging;

static unsigned entry_size(void)
{
	return paging.format == PAGING_32 ? 4 : 8;
}

static unsigned index_bits(void)
{
	return paging.format == PAGING_32 ? 10 : 9;
}

static void setup(void)
{
	if (paging.next_page)
		return;
	paging.next_page = (word)image_end;
#ifdef __x86_64__
	paging.format = PAGING_4LEVEL;
	paging.root = read_cr3();
#endif
}

void *page_alloc(void)
{
	void *page;

	setup();
	page = (void *)paging.next_page;
	paging.next_page += PAGE;
	if (paging.next_page > (word)image_end + POOL_PAGES * PAGE) {
		print("pool.exhausted BAD\n");
		finish();
	}
	fill_bytes(page, 0, PAGE);
	return page;
}

uint64_t entry_read(const void *entry)
{
	return entry_size() == 4 ? *(const volatile uint32_t *)entry : *(const volatile uint64_t *)entry;
}

void entry_write(void *entry, uint64_t value)
{
	if (entry_size() == 4)
		*(volatile uint32_t *)entry = (uint32_t)value;
	else
		*(volatile uint64_t *)entry = value;
}

void *entry_of(word linear, unsigned level)
{
	word table;

	setup();
	table = paging.root & ~(PAGE - 1);
	for (unsigned at = paging.format;; at--) {
		unsigned shift = 12 + (at - 1) * index_bits();
		unsigned bits = at == 3 && paging.format == PAGING_PAE ? 2 : index_bits();
		char *entry = (char *)table + ((linear >> shift) & ((1u << bits) - 1)) * entry_size();
		if (at == level)
			return entry;
		if (!(entry_read(entry) & PTE_P)) {
			uint64_t flags = bits == 2 ? PTE_P : PTE_P | PTE_W | PTE_U;
			entry_write(entry, (word)page_alloc() | flags);
		}
		table = (word)(entry_read(entry) & 0x000ffffffffff000ull);
	}
}

void map_level(word linear, uint64_t physical, uint64_t flags, unsigned level)
{
	entry_write(entry_of(linear, level), physical | flags | (level > 1 ? PTE_PS : 0));
	invlpg(linear);
}

void map(word linear, uint64_t physical, uint64_t flags)
{
	map_level(linear, physical, flags, 1);
}

void unmap(word linear)
{
	entry_write(entry_of(linear, 1), 0);
	invlpg(linear);
}

#ifdef __x86_64__

void identity_user(bool user)
{
	uint64_t *entry = entry_of(0, 4);
	*entry = user ? *entry | PTE_U : *entry & ~PTE_U;
	write_cr3(read_cr3());
}

word space_create(void)
{
	word root = (word)page_alloc();
	*(uint64_t *)root = *(uint64_t *)entry_of(0, 4);
	return root;
}

#else

static void identity_fill(word root, uint64_t flags)
{
	word saved = paging.root;
	unsigned shift = 12 + index_bits();

	paging.root = root;
	for (uint64_t at = 0; at < 0x100000000ull; at += 1ull << shift) {
		if (at >= AREA && at < AREA_END)
			(void)entry_of((word)at, 2); /* all directories exist: the processor keeps PDPTEs */
		else
			entry_write(entry_of((word)at, 2), at | flags | PTE_PS | PTE_P | PTE_W);
	}
	paging.root = saved;
}

void identity_user(bool user)
{
	identity_fill(paging.root, user ? PTE_U : 0);
	write_cr3(read_cr3());
}

word space_create(void)
{
	word root = (word)page_alloc();
	identity_fill(root, PTE_U);
	return root;
}

void paging_start(enum paging_format format)
{
	setup();
	paging.format = format;
	paging.root = space_create();
	write_cr3(paging.root);
	write_cr4((read_cr4() & ~(CR4_PAE | CR4_PSE)) | (format == PAGING_PAE ? CR4_PAE : CR4_PSE));
	write_cr0(read_cr0() | CR0_PG);
}

void paging_stop(void)
{
	write_cr0(read_cr0() & ~CR0_PG);
	write_cr4(read_cr4() & ~(CR4_PAE | CR4_PSE | CR4_PGE));
}

#endif

void space_select(word space)
{
	paging.root = space;
}

void space_enter(word space)
{
	write_cr3(space);
}

word space_current(void)
{
	setup();
	return paging.root;
}
