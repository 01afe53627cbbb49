/* SPDX-License-Identifier: MIT */
/*
 * Page walks. SDM 3A chapter 4.
 *
 * Theory of operation. One walk function for each paging mode descends to the leaf entry and gathers what the entries
 * on the way permit; walk_check() then applies the access rules once, from the gathered bits. Accessed bits of the
 * upper entries are set while descending, those of the leaf (A and D) after the access was found to be permitted, by
 * compare-and-exchange on the host page. When another processor changed the entry meanwhile, the walk starts again.
 *
 * Paging structures outside RAM read as all ones. That is what an access to nothing gives on a PC; with the reserved
 * bits of the formats it ends in a page fault or an unbacked page, and no device sees page walks.
 */
#include "cpu/mmu.h"

#include "cpu/cpuid.h"
#include "cpu/segment.h"

#define ENTRY_P BIT64(0)
#define ENTRY_RW BIT64(1)
#define ENTRY_US BIT64(2)
#define ENTRY_A BIT64(5)
#define ENTRY_D BIT64(6)
#define ENTRY_PS BIT64(7)
#define ENTRY_G BIT64(8)
#define ENTRY_NX BIT64(63)
#define ENTRY_ADDRESS UINT64_C(0x000ffffffffff000)

/* A page-walk in progress. */
struct walk {
	struct cpu *cpu;
	uint64_t linear;
	bool probe;	     /* set no bits */
	uint64_t rights;     /* AND of all entries: ENTRY_RW, ENTRY_US */
	uint64_t no_execute; /* OR of all entries: ENTRY_NX */
	uint64_t reserved;   /* bits that fault in every 64-bit entry */
	uint64_t entry;	     /* the leaf */
	void *slot;	     /* the leaf in host memory; NULL: not in RAM */
	uint64_t slot_gpa;
	unsigned slot_size; /* 4 or 8 */
	bool slot_read_only;
	uint64_t high;	/* address bits 39:32 of a PSE-36 page */
	unsigned shift; /* log2 of the page's size */
};

enum walk_result { WALK_FOUND, WALK_NOT_PRESENT, WALK_RESERVED, WALK_AGAIN };

/* The walk is compiled into one function per format, so that `struct walk` lives in registers: a refill is the engine's
 * most frequent slow path. Nothing on the way may take the structure's address for a call. */
#define WALK_INLINE static inline __attribute__((always_inline))

WALK_INLINE uint64_t slot_read(struct walk *walk, uint64_t gpa, unsigned size)
{
	const struct memory *memory = walk->cpu->memory;
	gpa &= ~walk->cpu->a20_masked;
	const struct memory_region *region = memory_find(memory, gpa);
	walk->slot_gpa = gpa;
	walk->slot_size = size;
	walk->slot = NULL;
	walk->slot_read_only = false;
	if (__builtin_expect(region == NULL, 0))
		return size_mask(size);
	walk->slot_read_only = region->read_only;
	walk->slot = memory->host + region->offset + (gpa - region->base);
	if (size == 4)
		return __atomic_load_n((const uint32_t *)walk->slot, __ATOMIC_RELAXED);
	return __atomic_load_n((const uint64_t *)walk->slot, __ATOMIC_RELAXED);
}

/* Sets bits in an entry by compare-and-exchange. False: it has changed in memory. */
static __attribute__((noinline)) bool entry_set(struct cpu *cpu, void *slot, uint64_t gpa, unsigned size,
						uint64_t entry, uint64_t bits)
{
	bool set;
	if (size == 4) {
		uint32_t expected = (uint32_t)entry;
		set = __atomic_compare_exchange_n((uint32_t *)slot, &expected, (uint32_t)(entry | bits), false,
						  __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	} else {
		set = __atomic_compare_exchange_n((uint64_t *)slot, &entry, entry | bits, false, __ATOMIC_SEQ_CST,
						  __ATOMIC_RELAXED);
	}
	mmu_stored(cpu, gpa, size);
	return set;
}

WALK_INLINE bool slot_set(const struct walk *walk, uint64_t entry, uint64_t bits)
{
	if ((entry & bits) == bits || walk->probe || walk->slot == NULL || walk->slot_read_only)
		return true;
	return entry_set(walk->cpu, walk->slot, walk->slot_gpa, walk->slot_size, entry, bits);
}

WALK_INLINE void walk_gather(struct walk *walk, uint64_t entry)
{
	walk->rights &= entry;
	walk->no_execute |= entry;
}

WALK_INLINE enum walk_result walk_leaf(struct walk *walk, uint64_t entry, unsigned shift)
{
	walk_gather(walk, entry);
	walk->entry = entry;
	walk->shift = shift;
	return WALK_FOUND;
}

/* One level of 8-byte entries: reads and checks, leaves the entry in *entry. WALK_FOUND: go on. */
WALK_INLINE enum walk_result walk_read64(struct walk *walk, uint64_t table, unsigned shift, uint64_t reserved,
					 uint64_t *entry)
{
	*entry = slot_read(walk, (table & ENTRY_ADDRESS) + ((walk->linear >> shift & 511) << 3), 8);
	if (!(*entry & ENTRY_P))
		return WALK_NOT_PRESENT;
	return (*entry & (walk->reserved | reserved)) ? WALK_RESERVED : WALK_FOUND;
}

WALK_INLINE enum walk_result walk_descend(struct walk *walk, uint64_t entry)
{
	walk_gather(walk, entry);
	return slot_set(walk, entry, ENTRY_A) ? WALK_FOUND : WALK_AGAIN;
}

/* Page directory and page table of the 8-byte formats, from the table address in an upper entry. */
WALK_INLINE enum walk_result walk_directory64(struct walk *walk, uint64_t upper)
{
	uint64_t entry;
	enum walk_result result = walk_read64(walk, upper, 21, 0, &entry);
	if (result != WALK_FOUND)
		return result;
	if (entry & ENTRY_PS)
		return (entry & UINT64_C(0x1fe000)) ? WALK_RESERVED : walk_leaf(walk, entry, 21);
	result = walk_descend(walk, entry);
	if (result != WALK_FOUND)
		return result;
	result = walk_read64(walk, entry, 12, 0, &entry);
	return result == WALK_FOUND ? walk_leaf(walk, entry, 12) : result;
}

WALK_INLINE enum walk_result walk_long(struct walk *walk)
{
	uint64_t entry;
	enum walk_result result = walk_read64(walk, walk->cpu->cr3, 39, ENTRY_PS, &entry);
	if (result != WALK_FOUND)
		return result;
	result = walk_descend(walk, entry);
	if (result != WALK_FOUND)
		return result;
	result = walk_read64(walk, entry, 30, 0, &entry);
	if (result != WALK_FOUND)
		return result;
	if (entry & ENTRY_PS) {
		bool bad = !cpu_model_has(walk->cpu->model, CPU_FEATURE_PAGE1G) || (entry & UINT64_C(0x3fffe000));
		return bad ? WALK_RESERVED : walk_leaf(walk, entry, 30);
	}
	result = walk_descend(walk, entry);
	return result == WALK_FOUND ? walk_directory64(walk, entry) : result;
}

WALK_INLINE enum walk_result walk_pae(struct walk *walk)
{
	uint64_t pdpte = walk->cpu->pdpte[walk->linear >> 30 & 3];
	return (pdpte & ENTRY_P) ? walk_directory64(walk, pdpte) : WALK_NOT_PRESENT;
}

/* A 4 MiB page: bits 20:13 extend the address where PSE-36 is offered (SDM 3A table 4-4). */
WALK_INLINE enum walk_result walk_leaf_4m(struct walk *walk, uint64_t entry)
{
	if (cpu_model_has(walk->cpu->model, CPU_FEATURE_PSE36)) {
		if (entry & BIT64(21))
			return WALK_RESERVED;
		walk->high = (entry & UINT64_C(0x1fe000)) << (32 - 13);
	} else if (entry & UINT64_C(0x3fe000)) {
		return WALK_RESERVED;
	}
	return walk_leaf(walk, entry, 22);
}

WALK_INLINE enum walk_result walk_32(struct walk *walk)
{
	uint64_t linear = walk->linear;
	uint64_t entry = slot_read(walk, (walk->cpu->cr3 & 0xfffff000) + ((linear >> 22 & 1023) << 2), 4);
	if (!(entry & ENTRY_P))
		return WALK_NOT_PRESENT;
	if ((entry & ENTRY_PS) && (walk->cpu->cr4 & CR4_PSE))
		return walk_leaf_4m(walk, entry);
	enum walk_result result = walk_descend(walk, entry);
	if (result != WALK_FOUND)
		return result;
	entry = slot_read(walk, (entry & 0xfffff000) + ((linear >> 12 & 1023) << 2), 4);
	return (entry & ENTRY_P) ? walk_leaf(walk, entry, 12) : WALK_NOT_PRESENT;
}

WALK_INLINE void walk_start(struct walk *walk, struct cpu *cpu, uint64_t linear, bool probe)
{
	walk->cpu = cpu;
	walk->linear = linear;
	walk->probe = probe;
	walk->rights = ENTRY_RW | ENTRY_US;
	walk->no_execute = 0;
	walk->high = 0;
	walk->reserved = ENTRY_ADDRESS & ~(BIT64(cpu->model->physical_bits) - 1);
	if (!(cpu->efer & EFER_NXE))
		walk->reserved |= ENTRY_NX;
}

WALK_INLINE enum walk_result walk_run(struct walk *walk)
{
	const struct cpu *cpu = walk->cpu;
	if (cpu_long_mode(cpu))
		return walk_long(walk);
	if (cpu->cr4 & CR4_PAE) {
		walk->reserved |= UINT64_C(0x7ff0000000000000); /* PAE entries have no ignored bits up there */
		return walk_pae(walk);
	}
	return walk_32(walk);
}

WALK_INLINE uint64_t walk_gpa(const struct walk *walk)
{
	uint64_t offset = BIT64(walk->shift) - 1;
	uint64_t gpa = (walk->entry & ENTRY_ADDRESS & ~offset) | walk->high | (walk->linear & offset);
	return gpa & ~walk->cpu->a20_masked;
}

/* Whether supervisor stores to read-only pages pass. */
WALK_INLINE bool walk_writable(const struct walk *walk, enum tlb_view view)
{
	return (walk->rights & ENTRY_RW) || (view != TLB_VIEW_USER && !(walk->cpu->cr0 & CR0_WP));
}

/* SDM 3A 4.6. */
WALK_INLINE bool walk_permits(const struct walk *walk, enum tlb_access access, enum tlb_view view)
{
	bool user_page = (walk->rights & ENTRY_US) != 0;
	if (view == TLB_VIEW_USER && !user_page)
		return false;
	if (access == TLB_FETCH) {
		if (walk->no_execute & ENTRY_NX)
			return false;
		return view == TLB_VIEW_USER || !user_page || !(walk->cpu->cr4 & CR4_SMEP);
	}
	if (view == TLB_VIEW_SUPERVISOR && user_page)
		return false;
	return access != TLB_WRITE || walk_writable(walk, view);
}

static __attribute__((noinline)) bool page_fault(struct cpu *cpu, uint64_t linear, enum tlb_access access,
						 enum tlb_view view, uint32_t code)
{
	if (access == TLB_WRITE)
		code |= PF_WRITE;
	if (view == TLB_VIEW_USER)
		code |= PF_USER;
	if (access == TLB_FETCH && ((cpu->cr4 & CR4_SMEP) || ((cpu->cr4 & CR4_PAE) && (cpu->efer & EFER_NXE))))
		code |= PF_FETCH;
	return cpu_fault_page(cpu, linear, code);
}

/* Does an enabled data breakpoint, or a debugger's watchpoint, lie on the page? */
static inline bool page_is_watched(const struct cpu *cpu, uint64_t linear)
{
	const struct debugger *debugger = cpu->debug.debugger;
	if (debugger != NULL &&
	    debugger_watch_find(debugger, align_down(linear, PAGE_SIZE), PAGE_SIZE, true, true) != NULL)
		return true;
	if (!(cpu->dr[7] & 0xff))
		return false;
	for (unsigned i = 0; i < 4; i++) {
		bool data = (cpu->dr[7] >> (16 + 4 * i) & 1) != 0; /* R/W 01 or 11 */
		if (data && (cpu->dr[7] >> (2 * i) & 3) && (cpu->dr[i] ^ linear) < PAGE_SIZE)
			return true;
	}
	return false;
}

/* Completes *page for RAM, and decides whether stores may bypass the slow path. */
static void page_resolve(const struct cpu *cpu, uint64_t linear, bool may_write, struct mmu_page *page)
{
	const struct memory_region *region = memory_find(cpu->memory, page->gpa);
	page->watched = page_is_watched(cpu, linear);
	page->read_only_memory = region != NULL && region->read_only;
	page->writable = false;
	page->host = NULL;
	if (region == NULL)
		return;
	uint64_t offset = region->offset + (page->gpa - region->base);
	page->host = cpu->memory->host + offset;
	page->writable = may_write && !page->read_only_memory && !page->watched &&
			 !(cpu->memory->page_flags[offset >> PAGE_SHIFT] & PAGE_CODE);
}

static void page_fill(struct cpu *cpu, uint64_t linear, enum tlb_access access, enum tlb_view view,
		      const struct mmu_page *page, unsigned info)
{
	if (page->host == NULL)
		return;
	if (access == TLB_FETCH)
		tlb_fill_fetch(&cpu->tlb, view != TLB_VIEW_USER, linear, page->gpa, info);
	else if (!page->watched)
		tlb_fill(&cpu->tlb, view, linear, page->gpa, page->host, page->writable, info);
}

static inline void page_tell(struct cpu *cpu, const struct mmu_page *page, enum tlb_access access)
{
	if (cpu->page_watcher != NULL)
		cpu->page_watcher(cpu->engine_opaque, page, access);
}

static bool translate_unpaged(struct cpu *cpu, uint64_t linear, enum tlb_access access, enum tlb_view view,
			      struct mmu_page *page)
{
	page->gpa = linear & ~cpu->a20_masked;
	page->global = false;
	page->large = false;
	page_resolve(cpu, linear, true, page);
	page_fill(cpu, linear, access, view, page, 0);
	page_tell(cpu, page, access);
	return true;
}

WALK_INLINE unsigned walk_info(const struct walk *walk)
{
	unsigned info = 0;
	if ((walk->entry & ENTRY_G) && (walk->cpu->cr4 & CR4_PGE))
		info |= TLB_GLOBAL;
	if (walk->shift > 12)
		info |= walk->shift == 21 ? TLB_LARGE : TLB_HUGE;
	return info;
}

bool mmu_translate(struct cpu *cpu, uint64_t linear, enum tlb_access access, enum tlb_view view, bool stack,
		   struct mmu_page *page)
{
	static const enum ledger_counter causes[] = {[TLB_READ] = LEDGER_COUNT_TLB_MISS_READ,
						     [TLB_WRITE] = LEDGER_COUNT_TLB_MISS_WRITE,
						     [TLB_FETCH] = LEDGER_COUNT_TLB_MISS_FETCH};
	cpu_count(cpu, LEDGER_COUNT_TLB_MISS);
	cpu_count_with(cpu, causes[access], 0, linear, 0);
	if (!(cpu->cr0 & CR0_PG))
		return translate_unpaged(cpu, linear, access, view, page);
	if (cpu_long_mode(cpu) && !address_is_canonical(linear))
		return cpu_fault_code(cpu, stack ? VECTOR_SS : VECTOR_GP, 0);

	struct walk walk;
	uint64_t bits;
	do {
		enum walk_result result;
		do {
			walk_start(&walk, cpu, linear, false);
			result = walk_run(&walk);
		} while (result == WALK_AGAIN);
		if (result != WALK_FOUND)
			return page_fault(cpu, linear, access, view,
					  result == WALK_RESERVED ? PF_PRESENT | PF_RESERVED : 0);
		if (!walk_permits(&walk, access, view))
			return page_fault(cpu, linear, access, view, PF_PRESENT);
		bits = access == TLB_WRITE ? ENTRY_A | ENTRY_D : ENTRY_A;
	} while (!slot_set(&walk, walk.entry, bits));

	unsigned info = walk_info(&walk);
	page->gpa = walk_gpa(&walk);
	page->global = (info & TLB_GLOBAL) != 0;
	page->large = (info & (TLB_LARGE | TLB_HUGE)) != 0;
	page_resolve(cpu, linear, ((walk.entry | bits) & ENTRY_D) && walk_writable(&walk, view), page);
	page_fill(cpu, linear, access, view, page, info);
	page_tell(cpu, page, access);
	return true;
}

bool mmu_probe(const struct cpu *cpu, uint64_t linear, uint64_t *gpa)
{
	if (!(cpu->cr0 & CR0_PG)) {
		*gpa = linear & ~cpu->a20_masked;
		return true;
	}
	if (cpu_long_mode(cpu) && !address_is_canonical(linear))
		return false;
	struct walk walk;
	walk_start(&walk, (struct cpu *)cpu, linear, true);
	if (walk_run(&walk) != WALK_FOUND)
		return false;
	*gpa = walk_gpa(&walk);
	return true;
}

void mmu_stored(struct cpu *cpu, uint64_t gpa, unsigned size)
{
	const uint8_t *flags = memory_page_flags(cpu->memory, gpa);
	if (flags != NULL && (__atomic_load_n(flags, __ATOMIC_RELAXED) & PAGE_CODE) != 0)
		cpu->code_write(cpu->engine_opaque, gpa, size);
}

void mmu_stored_at(struct cpu *cpu, const uint8_t *host, unsigned size)
{
	uint64_t offset = (uint64_t)(host - cpu->memory->host), gpa;
	uint8_t flags = __atomic_load_n(&cpu->memory->page_flags[offset >> PAGE_SHIFT], __ATOMIC_RELAXED);
	if ((flags & PAGE_CODE) != 0 && memory_gpa_of(cpu->memory, offset, &gpa))
		cpu->code_write(cpu->engine_opaque, gpa, size);
}

void mmu_flush_all(struct cpu *cpu, bool global)
{
	cpu_count(cpu, LEDGER_COUNT_TLB_FLUSH);
	tlb_flush(&cpu->tlb, global);
	cpu->flush_all(cpu->engine_opaque, global);
}

void mmu_load_space(struct cpu *cpu, uint64_t cr3, bool keep)
{
	uint64_t before = cpu->cr3;
	cpu->cr3 = cr3;
	if (keep && cpu->tlb.keeps_spaces) {
		cpu_count(cpu, LEDGER_COUNT_TLB_SWITCH);
	} else {
		cpu_count(cpu, LEDGER_COUNT_TLB_FLUSH);
		cpu_count(cpu, LEDGER_COUNT_TLB_FLUSH_CR3);
	}
	if ((cpu->cr4 & CR4_PCIDE) && cr3 != before)
		tlb_switch_space(&cpu->tlb, before, cr3, keep);
	else
		tlb_flush(&cpu->tlb, false);
	cpu->flush_all(cpu->engine_opaque, false);
}

void mmu_set_a20(struct cpu *cpu, bool on)
{
	uint64_t masked = on ? 0 : BIT64(20);
	if (cpu->a20_masked == masked)
		return;
	cpu->a20_masked = masked;
	cpu_count(cpu, LEDGER_COUNT_TLB_FLUSH_MAP);
	mmu_flush_all(cpu, true);
}

void mmu_flush_page(struct cpu *cpu, uint64_t linear)
{
	cpu_count_with(cpu, LEDGER_COUNT_TLB_FLUSH_PAGE, 0, linear, 0);
	tlb_flush_page(&cpu->tlb, linear);
	cpu->flush_page(cpu->engine_opaque, linear);
}

/* An entry outside RAM reads as all ones here too, which is one with reserved bits. */
static uint64_t pdpte_read(const struct cpu *cpu, uint64_t gpa)
{
	gpa &= ~cpu->a20_masked;
	const uint8_t *page = memory_page(cpu->memory, gpa, NULL);
	return page == NULL ? ~UINT64_C(0) : load_le(page + (gpa & PAGE_MASK), 8);
}

/* SDM 3A 4.4.1: the four entries are loaded with CR3 and checked then. */
bool mmu_load_pdpte(struct cpu *cpu, uint64_t cr3)
{
	uint64_t reserved = ~(BIT64(cpu->model->physical_bits) - 1) | 0x1e6;
	uint64_t pdpte[4];
	for (unsigned i = 0; i < 4; i++) {
		pdpte[i] = pdpte_read(cpu, (cr3 & 0xffffffe0) + i * 8);
		if ((pdpte[i] & ENTRY_P) && (pdpte[i] & reserved))
			return cpu_fault_code(cpu, VECTOR_GP, 0);
	}
	for (unsigned i = 0; i < 4; i++)
		cpu->pdpte[i] = pdpte[i];
	return true;
}
