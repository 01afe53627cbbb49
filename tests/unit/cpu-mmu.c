/* SPDX-License-Identifier: MIT */
/* Page walks and the soft TLB. */
#include "cpu-fixture.h"

static const enum tlb_view views[] = {TLB_VIEW_USER, TLB_VIEW_SUPERVISOR, TLB_VIEW_SUPERVISOR_AC};

static int setup(void **state)
{
	*state = fixture_new();
	return 0;
}

static int teardown(void **state)
{
	fixture_free(*state);
	return 0;
}

static bool translate(struct fixture *fixture, uint64_t linear, enum tlb_access access, enum tlb_view view,
		      uint64_t *gpa)
{
	struct mmu_page page;
	bool found = mmu_translate(fixture->cpu, linear, access, view, false, &page);
	if (found && gpa != NULL)
		*gpa = page.gpa;
	return found;
}

static void expect_gpa(struct fixture *fixture, uint64_t linear, enum tlb_access access, uint64_t gpa)
{
	uint64_t found = 0;
	assert_true(translate(fixture, linear, access, TLB_VIEW_USER, &found));
	assert_int_equal(found, gpa);
	assert_true(mmu_probe(fixture->cpu, linear, &found));
	assert_int_equal(found, gpa);
}

static void expect_page_fault(struct fixture *fixture, uint64_t linear, enum tlb_access access, enum tlb_view view,
			      uint32_t error_code)
{
	assert_false(translate(fixture, linear, access, view, NULL));
	assert_int_equal(fixture->cpu->pending.cr2, linear);
	assert_fault(fixture, VECTOR_PF, error_code);
}

/* ---- address line 20 ---- */

static void test_a20_masks_walks_and_results(void **state)
{
	struct fixture *fixture = *state;
	fixture->cpu->cr0 &= ~CR0_PG;
	const uint64_t *count = fixture->ledger.count;
	expect_gpa(fixture, 0x123456, TLB_READ, 0x123456);
	mmu_set_a20(fixture->cpu, false);
	unsigned flushes = fixture->flushes;
	expect_gpa(fixture, 0x123456, TLB_READ, 0x23456);
	expect_gpa(fixture, 0x323456, TLB_FETCH, 0x223456);
	expect_gpa(fixture, 0x23456, TLB_WRITE, 0x23456);
	assert_int_equal(count[LEDGER_COUNT_TLB_MISS], 4);
	assert_int_equal(count[LEDGER_COUNT_TLB_MISS_READ], 2);
	assert_int_equal(count[LEDGER_COUNT_TLB_MISS_FETCH], 1);
	assert_int_equal(count[LEDGER_COUNT_TLB_MISS_WRITE], 1);
	assert_int_equal(count[LEDGER_COUNT_TLB_FLUSH_MAP], 1);
	mmu_set_a20(fixture->cpu, false); /* no news */
	assert_int_equal(fixture->flushes, flushes);
	mmu_set_a20(fixture->cpu, true);
	assert_int_equal(fixture->flushes, flushes + 1);
	expect_gpa(fixture, 0x123456, TLB_READ, 0x123456);
}

/* ---- formats ---- */

static void test_page_sizes(void **state)
{
	static const struct {
		enum paging paging;
		unsigned shift;
		uint64_t linear, gpa;
	} cases[] = {
	    {PAGING_LONG, 12, 0x7fff12345000, 0x5000}, {PAGING_LONG, 21, 0xffff888000200000, 0x200000},
	    {PAGING_LONG, 30, 0xffffffff80000000, 0},  {PAGING_LONG, 30, 0x40000000, 0xc0000000},
	    {PAGING_LONG, 12, 0x1000, 0xfffffff000},   {PAGING_PAE, 12, 0xfffff000, 0x6000},
	    {PAGING_PAE, 21, 0x80200000, 0x400000},    {PAGING_PAE, 12, 0x40001000, 0xff00001000},
	    {PAGING_32, 12, 0xc0001000, 0x7000},       {PAGING_32, 22, 0xffc00000, 0x400000},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *fixture = fixture_new();
		uint64_t last = BIT64(cases[i].shift) - 1;
		paging_start(fixture, cases[i].paging);
		paging_map(fixture, cases[i].paging, cases[i].linear, cases[i].gpa, PTE_W | PTE_U, cases[i].shift);
		expect_gpa(fixture, cases[i].linear, TLB_READ, cases[i].gpa);
		expect_gpa(fixture, cases[i].linear + last, TLB_WRITE, cases[i].gpa + last);
		expect_gpa(fixture, cases[i].linear + last / 2, TLB_FETCH, cases[i].gpa + last / 2);
		expect_page_fault(fixture, cases[i].linear ^ BIT64(cases[i].paging == PAGING_LONG ? 35 : 28), TLB_READ,
				  TLB_VIEW_USER, PF_USER);
		fixture_free(fixture);
	}
	(void)state;
}

static void test_unpaged(void **state)
{
	struct fixture *fixture = *state;
	expect_gpa(fixture, 0x12345, TLB_WRITE, 0x12345);
	expect_gpa(fixture, 0xfffffff0, TLB_FETCH, 0xfffffff0);
}

static void test_accessed_and_dirty(void **state)
{
	static const enum paging formats[] = {PAGING_32, PAGING_PAE, PAGING_LONG};
	for (unsigned i = 0; i < 3; i++) {
		struct fixture *fixture = fixture_new();
		unsigned size = formats[i] == PAGING_32 ? 4 : 8;
		paging_start(fixture, formats[i]);
		uint64_t leaf = paging_map(fixture, formats[i], 0x10000, 0x5000, PTE_W | PTE_U, 12);
		assert_int_equal(get(fixture, leaf, size) & (PTE_A | PTE_D), 0);
		expect_gpa(fixture, 0x10000, TLB_READ, 0x5000);
		assert_int_equal(get(fixture, leaf, size) & (PTE_A | PTE_D), PTE_A);
		uint64_t value = 1;
		assert_true(cpu_write(fixture->cpu, 0x10004, &value, 8, TLB_VIEW_USER));
		assert_int_equal(get(fixture, leaf, size) & (PTE_A | PTE_D), PTE_A | PTE_D);
		if (formats[i] != PAGING_PAE)
			assert_int_equal(get(fixture, fixture->cpu->cr3, size) & (PTE_A | PTE_D), PTE_A);
		fixture_free(fixture);
	}
	(void)state;
}

/* An access that faults marks nothing used. */
static void test_fault_leaves_leaf(void **state)
{
	struct fixture *fixture = *state;
	paging_start(fixture, PAGING_LONG);
	uint64_t leaf = paging_map(fixture, PAGING_LONG, 0x10000, 0x5000, 0, 12);
	expect_page_fault(fixture, 0x10000, TLB_WRITE, TLB_VIEW_USER, PF_PRESENT | PF_WRITE | PF_USER);
	assert_int_equal(get(fixture, leaf, 8) & (PTE_A | PTE_D), 0);
	uint64_t gpa;
	assert_true(mmu_probe(fixture->cpu, 0x10000, &gpa));
	assert_int_equal(get(fixture, leaf, 8) & (PTE_A | PTE_D), 0);
}

/* ---- rights ---- */

enum { R = TLB_READ, W = TLB_WRITE, X = TLB_FETCH, OK = -1 };

static void test_rights(void **state)
{
	/* What each view gets for read, write, fetch: an error code or OK. */
	static const struct {
		uint64_t bits, cr0, cr4;
		int user[3], supervisor[3], supervisor_ac[3];
	} cases[] = {
	    {0, CR0_WP, 0, {5, 7, 21}, {OK, 3, OK}, {OK, 3, OK}},
	    {0, 0, 0, {5, 7, 21}, {OK, OK, OK}, {OK, OK, OK}},
	    {PTE_W, CR0_WP, 0, {5, 7, 21}, {OK, OK, OK}, {OK, OK, OK}},
	    {PTE_U, CR0_WP, CR4_SMAP, {OK, 7, OK}, {1, 3, OK}, {OK, 3, OK}},
	    {PTE_U, 0, CR4_SMAP, {OK, 7, OK}, {1, 3, OK}, {OK, OK, OK}},
	    {PTE_U | PTE_W, CR0_WP, CR4_SMAP | CR4_SMEP, {OK, OK, OK}, {1, 3, 17}, {OK, OK, 17}},
	    {PTE_U | PTE_W | PTE_NX, CR0_WP, CR4_SMAP, {OK, OK, 21}, {1, 3, 17}, {OK, OK, 17}},
	    {PTE_W | PTE_NX, CR0_WP, CR4_SMAP, {5, 7, 21}, {OK, OK, 17}, {OK, OK, 17}},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *fixture = fixture_new();
		paging_start(fixture, PAGING_LONG);
		paging_map(fixture, PAGING_LONG, 0x10000, 0x5000, cases[i].bits, 12);
		fixture->cpu->cr0 = (fixture->cpu->cr0 & ~CR0_WP) | cases[i].cr0;
		fixture->cpu->cr4 |= cases[i].cr4;
		const int *expected[] = {cases[i].user, cases[i].supervisor, cases[i].supervisor_ac};
		for (unsigned view = 0; view < 3; view++) {
			for (int access = R; access <= X; access++) {
				int code = expected[view][access];
				if (code == OK)
					assert_true(translate(fixture, 0x10000, access, views[view], NULL));
				else
					expect_page_fault(fixture, 0x10000, access, views[view], (uint32_t)code);
			}
		}
		fixture_free(fixture);
	}
	(void)state;
}

/* Rights of the upper entries count too. */
static void test_upper_rights(void **state)
{
	struct fixture *fixture = *state;
	paging_start(fixture, PAGING_LONG);
	paging_map(fixture, PAGING_LONG, 0x10000, 0x5000, PTE_U | PTE_W, 12);
	uint64_t root = fixture->cpu->cr3;
	uint64_t entry = get(fixture, root, 8);
	put(fixture, root, 8, entry & ~(uint64_t)PTE_W);
	expect_page_fault(fixture, 0x10000, TLB_WRITE, TLB_VIEW_USER, 7);
	put(fixture, root, 8, entry & ~(uint64_t)PTE_U);
	expect_page_fault(fixture, 0x10000, TLB_READ, TLB_VIEW_USER, 5);
	put(fixture, root, 8, entry | PTE_NX);
	expect_page_fault(fixture, 0x10000, TLB_FETCH, TLB_VIEW_SUPERVISOR, 17);
	put(fixture, root, 8, entry);
	assert_true(translate(fixture, 0x10000, TLB_WRITE, TLB_VIEW_USER, NULL));
}

/* The instruction bit is reported only where fetches can fault as such. */
static void test_fetch_bit(void **state)
{
	struct fixture *fixture = *state;
	paging_start(fixture, PAGING_32);
	expect_page_fault(fixture, 0x10000, TLB_FETCH, TLB_VIEW_USER, PF_USER);
	fixture->cpu->cr4 |= CR4_SMEP;
	expect_page_fault(fixture, 0x10000, TLB_FETCH, TLB_VIEW_USER, PF_USER | PF_FETCH);
}

static void test_reserved(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	uint32_t code = PF_PRESENT | PF_RESERVED;
	paging_start(fixture, PAGING_LONG);
	uint64_t leaf = paging_map(fixture, PAGING_LONG, 0x10000, 0x5000, PTE_W, 12);
	uint64_t good = get(fixture, leaf, 8);
	put(fixture, leaf, 8, good | BIT64(40));
	expect_page_fault(fixture, 0x10000, TLB_READ, TLB_VIEW_SUPERVISOR, code);
	put(fixture, leaf, 8, good | BIT64(52)); /* ignored bits */
	assert_true(translate(fixture, 0x10000, TLB_READ, TLB_VIEW_SUPERVISOR, NULL));
	put(fixture, leaf, 8, good | PTE_NX);
	cpu->efer &= ~EFER_NXE;
	expect_page_fault(fixture, 0x10000, TLB_READ, TLB_VIEW_SUPERVISOR, code);
	cpu->efer |= EFER_NXE;
	put(fixture, leaf, 8, good);
	uint64_t root = get(fixture, cpu->cr3, 8);
	put(fixture, cpu->cr3, 8, root | PTE_PS);
	expect_page_fault(fixture, 0x10000, TLB_WRITE, TLB_VIEW_USER, code | PF_WRITE | PF_USER);
	put(fixture, cpu->cr3, 8, root);

	leaf = paging_map(fixture, PAGING_LONG, 0x40000000, 0x40000000, PTE_W, 30);
	fixture->model.feature[CPU_FEATURE_PAGE1G] = false;
	expect_page_fault(fixture, 0x40000000, TLB_READ, TLB_VIEW_SUPERVISOR, code);
	fixture->model.feature[CPU_FEATURE_PAGE1G] = true;
	put(fixture, leaf, 8, get(fixture, leaf, 8) | BIT64(13));
	expect_page_fault(fixture, 0x40000000, TLB_READ, TLB_VIEW_SUPERVISOR, code);
	leaf = paging_map(fixture, PAGING_LONG, 0x200000, 0x200000, PTE_W, 21);
	put(fixture, leaf, 8, get(fixture, leaf, 8) | BIT64(20));
	expect_page_fault(fixture, 0x200000, TLB_READ, TLB_VIEW_SUPERVISOR, code);
}

static void test_reserved_4m(void **state)
{
	struct fixture *fixture = *state;
	paging_start(fixture, PAGING_32);
	uint64_t leaf = paging_map(fixture, PAGING_32, 0x400000, 0x400000, PTE_W | PTE_U, 22);
	put(fixture, leaf, 4, get(fixture, leaf, 4) | BIT64(13));
	expect_page_fault(fixture, 0x400000, TLB_READ, TLB_VIEW_USER, PF_PRESENT | PF_RESERVED | PF_USER);
	fixture->model.feature[CPU_FEATURE_PSE36] = true;
	expect_gpa(fixture, 0x412345, TLB_WRITE, 0x100412345);
	assert_int_equal(get(fixture, leaf, 4) & (PTE_A | PTE_D), PTE_A | PTE_D);
	fixture->cpu->cr4 &= ~CR4_PSE; /* the bit means nothing then: a page table at 4 MiB, empty */
	expect_page_fault(fixture, 0x400000, TLB_READ, TLB_VIEW_USER, PF_USER);
}

static void test_not_canonical(void **state)
{
	struct fixture *fixture = *state;
	struct mmu_page page;
	paging_start(fixture, PAGING_LONG);
	assert_false(mmu_translate(fixture->cpu, 0x800000000000, TLB_READ, TLB_VIEW_USER, false, &page));
	assert_fault(fixture, VECTOR_GP, 0);
	assert_false(mmu_translate(fixture->cpu, 0xffff7fffffffffff, TLB_READ, TLB_VIEW_USER, true, &page));
	assert_fault(fixture, VECTOR_SS, 0);
}

/* Tables that lie nowhere or in a device end in faults, and no device hears of it. */
static void test_tables_outside_ram(void **state)
{
	struct fixture *fixture = *state;
	uint64_t gpa;
	paging_start(fixture, PAGING_LONG);
	fixture->cpu->cr3 = DEVICE_BASE;
	expect_page_fault(fixture, 0x1000, TLB_READ, TLB_VIEW_USER, PF_PRESENT | PF_RESERVED | PF_USER);
	assert_false(mmu_probe(fixture->cpu, 0x1000, &gpa));
	paging_start(fixture, PAGING_PAE);
	fixture->cpu->pdpte[0] = UINT64_C(0xfffffff000) | PTE_P;
	expect_page_fault(fixture, 0x1000, TLB_READ, TLB_VIEW_USER, PF_PRESENT | PF_RESERVED | PF_USER);
	paging_start(fixture, PAGING_32);
	fixture->cpu->cr3 = 0xfffff000;
	fixture->cpu->cr4 &= ~CR4_PSE;
	assert_true(translate(fixture, 0x1234, TLB_READ, TLB_VIEW_USER, &gpa));
	assert_int_equal(gpa, 0xfffff234);
	assert_int_equal(fixture->device_accesses, 0);
}

static void test_pdpte(void **state)
{
	struct fixture *fixture = *state;
	paging_start(fixture, PAGING_PAE);
	put(fixture, 0x7020, 8, 0x8001);
	put(fixture, 0x7028, 8, 0xfffffffffffffffe); /* not present: anything goes */
	put(fixture, 0x7030, 8, 0);
	put(fixture, 0x7038, 8, 0x9000 | PTE_P);
	assert_true(mmu_load_pdpte(fixture->cpu, 0x7020));
	assert_int_equal(fixture->cpu->pdpte[3], 0x9001);
	put(fixture, 0x7030, 8, PTE_P | PTE_W);
	put(fixture, 0x7020, 8, 0xa001);
	assert_false(mmu_load_pdpte(fixture->cpu, 0x7020));
	assert_fault(fixture, VECTOR_GP, 0);
	assert_int_equal(fixture->cpu->pdpte[0], 0x8001);
}

/* ---- the TLB ---- */

static uint64_t read8(struct fixture *fixture, uint64_t linear)
{
	uint64_t value = 0;
	assert_true(cpu_read_value(fixture->cpu, linear, 8, TLB_VIEW_SUPERVISOR_AC, &value));
	return value;
}

static void test_flush(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	put(fixture, 0x5000, 8, 5);
	put(fixture, 0x6000, 8, 6);
	paging_start(fixture, PAGING_LONG);
	uint64_t plain = paging_map(fixture, PAGING_LONG, 0x10000, 0x5000, PTE_W, 12);
	uint64_t global = paging_map(fixture, PAGING_LONG, 0x11000, 0x5000, PTE_W | PTE_G, 12);
	assert_int_equal(read8(fixture, 0x10000), 5);
	assert_int_equal(read8(fixture, 0x11000), 5);
	put(fixture, plain, 8, 0x6000 | PTE_P | PTE_W);
	put(fixture, global, 8, 0x6000 | PTE_P | PTE_W | PTE_G);
	assert_int_equal(read8(fixture, 0x10000), 5); /* stale by right */
	mmu_flush_all(cpu, false);
	assert_int_equal(read8(fixture, 0x10000), 6);
	assert_int_equal(read8(fixture, 0x11000), 5);
	mmu_flush_page(cpu, 0x11234);
	assert_int_equal(read8(fixture, 0x11000), 6);
	put(fixture, global, 8, 0x5000 | PTE_P | PTE_W | PTE_G);
	mmu_flush_all(cpu, true);
	assert_int_equal(read8(fixture, 0x11000), 5);
}

static void test_flush_fetch(void **state)
{
	struct fixture *fixture = *state;
	struct tlb *tlb = &fixture->cpu->tlb;
	unsigned index = TLB_FETCH_INDEX(0x10000);
	paging_start(fixture, PAGING_LONG);
	paging_map(fixture, PAGING_LONG, 0x10000, 0x5000, PTE_U, 12);
	paging_map(fixture, PAGING_LONG, 0xffffffff80000000, 0, PTE_G, 21);
	assert_true(translate(fixture, 0x10000, TLB_FETCH, TLB_VIEW_USER, NULL));
	assert_int_equal(tlb->fetch[0][index], tlb_fetch_word(0x10000, 0x5000));
	assert_int_equal(tlb->fetch[1][index], 0);
	mmu_flush_page(fixture->cpu, 0x20000);
	assert_int_not_equal(tlb->fetch[0][index], 0);
	mmu_flush_page(fixture->cpu, 0x10fff);
	assert_int_equal(tlb->fetch[0][index], 0);

	index = TLB_FETCH_INDEX(0xffffffff80005000);
	assert_true(translate(fixture, 0xffffffff80005000, TLB_FETCH, TLB_VIEW_SUPERVISOR, NULL));
	mmu_flush_all(fixture->cpu, false);
	assert_int_equal(tlb->fetch[1][index], tlb_fetch_word(0xffffffff80005000, 0x5000));
	mmu_flush_page(fixture->cpu, 0xffffffff801fffff); /* another part of the large page */
	assert_int_equal(tlb->fetch[1][index], 0);
}

static void test_flush_large(void **state)
{
	struct fixture *fixture = *state;
	put(fixture, 0x205000, 8, 5);
	put(fixture, 0x405000, 8, 6);
	paging_start(fixture, PAGING_LONG);
	uint64_t leaf = paging_map(fixture, PAGING_LONG, 0x7f0000200000, 0x200000, PTE_W, 21);
	paging_map(fixture, PAGING_LONG, 0x7f0000000000, 0x200000, PTE_W, 21);
	assert_int_equal(read8(fixture, 0x7f0000205000), 5);
	assert_int_equal(read8(fixture, 0x7f0000005000), 5);
	put(fixture, leaf, 8, 0x400000 | PTE_P | PTE_W | PTE_PS);
	mmu_flush_page(fixture->cpu, 0x7f0000000000);
	assert_int_equal(read8(fixture, 0x7f0000205000), 5); /* a neighbour's flush leaves it */
	mmu_flush_page(fixture->cpu, 0x7f00003ff000);
	assert_int_equal(read8(fixture, 0x7f0000205000), 6);
}

/* Page 0 must not hit in an empty TLB, nor any page after it was flushed. */
static void test_empty(void **state)
{
	struct fixture *fixture = *state;
	struct tlb *tlb = &fixture->cpu->tlb;
	mmu_flush_all(fixture->cpu, true);
	for (unsigned i = 0; i < TLB_SIZE; i++) {
		uint64_t linear = (uint64_t)i << 12;
		for (unsigned view = 0; view < TLB_VIEW_COUNT; view++) {
			assert_true(linear - tlb->entry[view][i].read_tag >= 4096);
			assert_true(linear + 4095 - tlb->entry[view][i].write_tag >= 4096);
		}
	}
}

/* A read does not open the page for stores while its D bit is clear. */
static void test_dirty_first(void **state)
{
	struct fixture *fixture = *state;
	struct tlb_entry *entry = &fixture->cpu->tlb.entry[TLB_VIEW_SUPERVISOR_AC][TLB_INDEX(0x10000)];
	paging_start(fixture, PAGING_LONG);
	paging_map(fixture, PAGING_LONG, 0x10000, 0x5000, PTE_W, 12);
	read8(fixture, 0x10000);
	assert_int_equal(entry->read_tag, 0x10000);
	assert_int_not_equal(entry->write_tag, 0x10000);
	assert_true(cpu_write_value(fixture->cpu, 0x10000, 4, TLB_VIEW_SUPERVISOR_AC, 1));
	assert_int_equal(entry->write_tag, 0x10000);
	mmu_flush_all(fixture->cpu, true);
	read8(fixture, 0x10000);
	assert_int_equal(entry->write_tag, 0x10000);
}

/* ---- PCIDs ---- */

/* A page that reads 5, and was seen so under PCID 1; its entry in memory now names one that reads 6. */
static void spaces_start(struct fixture *fixture)
{
	struct cpu *cpu = fixture->cpu;
	put(fixture, 0x5000, 8, 5);
	put(fixture, 0x6000, 8, 6);
	paging_start(fixture, PAGING_LONG);
	cpu->cr4 |= CR4_PCIDE;
	cpu->tlb.keeps_spaces = true;
	uint64_t leaf = paging_map(fixture, PAGING_LONG, 0x10000, 0x5000, PTE_W, 12);
	mmu_load_space(cpu, cpu->cr3 | 1, false);
	assert_int_equal(read8(fixture, 0x10000), 5);
	put(fixture, leaf, 8, 0x6000 | PTE_P | PTE_W);
}

static void load_pcid(struct fixture *fixture, unsigned pcid, bool keep)
{
	mmu_load_space(fixture->cpu, (fixture->cpu->cr3 & ~UINT64_C(0xfff)) | pcid, keep);
}

static uint64_t read_under(struct fixture *fixture, unsigned pcid)
{
	load_pcid(fixture, pcid, true);
	return read8(fixture, 0x10000);
}

static void test_space_is_kept(void **state)
{
	struct fixture *fixture = *state;
	spaces_start(fixture);
	assert_int_equal(read_under(fixture, 2), 6);
	assert_int_equal(read_under(fixture, 1), 5); /* stale by right: this is what keeping means */
	assert_int_equal(read_under(fixture, 2), 6);
	load_pcid(fixture, 1, false);
	assert_int_equal(read8(fixture, 0x10000), 6);
}

static void test_space_not_kept_when_off(void **state)
{
	struct fixture *fixture = *state;
	spaces_start(fixture);
	fixture->cpu->tlb.keeps_spaces = false;
	assert_int_equal(read_under(fixture, 2), 6);
	assert_int_equal(read_under(fixture, 1), 6);
}

enum { DROP_PCID, DROP_OTHER, DROP_EVERY, DROP_PAGE, DROP_OTHER_PAGE, DROP_ALL, DROP_CURRENT, DROP_ROOT, DROP_COUNT };

/* What is done under PCID 2, and what PCID 1 reads afterwards. */
static void test_space_is_dropped(void **state)
{
	static const unsigned expected[DROP_COUNT] = {
	    [DROP_PCID] = 6,	   [DROP_OTHER] = 5, [DROP_EVERY] = 6,	 [DROP_PAGE] = 6,
	    [DROP_OTHER_PAGE] = 5, [DROP_ALL] = 6,   [DROP_CURRENT] = 5, [DROP_ROOT] = 6,
	};
	(void)state;
	for (unsigned how = 0; how < DROP_COUNT; how++) {
		struct fixture *fixture = fixture_new();
		struct cpu *cpu = fixture->cpu;
		uint64_t root;
		spaces_start(fixture);
		root = cpu->cr3 & ~UINT64_C(0xfff);
		load_pcid(fixture, 2, true);
		if (how == DROP_PCID || how == DROP_OTHER)
			tlb_space_drop(&cpu->tlb, how == DROP_PCID ? 1 : 3);
		else if (how == DROP_EVERY)
			tlb_space_drop(&cpu->tlb, TLB_EVERY_PCID);
		else if (how == DROP_PAGE || how == DROP_OTHER_PAGE)
			tlb_space_drop_page(&cpu->tlb, 1, how == DROP_PAGE ? 0x10fff : 0x11000);
		else if (how == DROP_ALL || how == DROP_CURRENT)
			mmu_flush_all(cpu, how == DROP_ALL);
		else /* the PCID comes with another root, and is not flushed; then the first root again */
			mmu_load_space(cpu, (root + 0x1000) | 1, true);
		mmu_load_space(cpu, root | 1, true);
		assert_int_equal(read8(fixture, 0x10000), expected[how]);
		fixture_free(fixture);
	}
}

/* A list has room for the newest entries; the least recent of too many lists goes. */
static void test_spaces_are_bounded(void **state)
{
	struct fixture *fixture = *state;
	const unsigned pages = TLB_SPACE_ENTRIES + 100;
	uint64_t leaf[TLB_SPACE_ENTRIES + 100], stale = 0;
	spaces_start(fixture);
	for (unsigned i = 0; i < pages; i++) {
		leaf[i] = paging_map(fixture, PAGING_LONG, 0x20000 + i * 0x1000, 0x5000, PTE_W, 12);
		assert_int_equal(read8(fixture, 0x20000 + i * 0x1000), 5);
		put(fixture, leaf[i], 8, 0x6000 | PTE_P | PTE_W);
	}
	load_pcid(fixture, 2, true);
	load_pcid(fixture, 1, true);
	for (unsigned i = 0; i < pages; i++)
		stale += read8(fixture, 0x20000 + i * 0x1000) == 5;
	assert_int_equal(stale, TLB_SPACE_ENTRIES);
	assert_int_equal(read8(fixture, 0x20000), 6);

	mmu_flush_all(fixture->cpu, true);
	put(fixture, leaf[0], 8, 0x5000 | PTE_P | PTE_W);
	for (unsigned pcid = 10; pcid < 10 + TLB_SPACES + 3; pcid++) {
		load_pcid(fixture, pcid, true);
		assert_int_equal(read8(fixture, 0x20000), 5);
	}
	load_pcid(fixture, 1, true);
	put(fixture, leaf[0], 8, 0x6000 | PTE_P | PTE_W);
	for (unsigned pcid = 10 + TLB_SPACES + 3; pcid-- > 10;) {
		load_pcid(fixture, pcid, true);
		assert_int_equal(read8(fixture, 0x20000), pcid >= 13 ? 5 : 6);
		load_pcid(fixture, 1, false);
	}
}

/* A large page goes as a whole; a global one belongs to no PCID; code has entries of its own. */
static void test_space_kinds_of_pages(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	struct tlb *tlb = &cpu->tlb;
	unsigned index = TLB_FETCH_INDEX(0x10000);
	spaces_start(fixture);
	put(fixture, 0x205000, 8, 7);
	put(fixture, 0x405000, 8, 8);
	uint64_t large = paging_map(fixture, PAGING_LONG, 0x7f0000200000, 0x200000, PTE_W, 21);
	uint64_t global = paging_map(fixture, PAGING_LONG, 0x11000, 0x5000, PTE_W | PTE_G, 12);
	assert_int_equal(read8(fixture, 0x7f0000205000), 7);
	assert_int_equal(read8(fixture, 0x11000), 5);
	assert_true(translate(fixture, 0x10000, TLB_FETCH, TLB_VIEW_SUPERVISOR, NULL));
	put(fixture, large, 8, 0x400000 | PTE_P | PTE_W | PTE_PS);
	put(fixture, global, 8, 0x6000 | PTE_P | PTE_W | PTE_G);
	load_pcid(fixture, 2, true);
	assert_int_equal(tlb->fetch[1][index], 0);
	assert_int_equal(read8(fixture, 0x11000), 5);
	mmu_flush_page(cpu, 0x11000);
	load_pcid(fixture, 1, true);
	assert_int_equal(read8(fixture, 0x11000), 6);
	assert_int_equal(tlb->fetch[1][index], tlb_fetch_word(0x10000, 0x6000));
	assert_int_equal(read8(fixture, 0x7f0000205000), 7);
	load_pcid(fixture, 2, true);
	tlb_space_drop_page(tlb, 1, 0x7f00003ff000);
	tlb_space_drop_page(tlb, 1, 0x10000);
	load_pcid(fixture, 1, true);
	assert_int_equal(read8(fixture, 0x7f0000205000), 8);
	assert_int_equal(tlb->fetch[1][index], 0);
}

/* A page of a space that is kept gets translated code: stores to it must be seen from then on. */
static void test_space_revoke_write(void **state)
{
	struct fixture *fixture = *state;
	struct tlb_entry *entry = &fixture->cpu->tlb.entry[TLB_VIEW_SUPERVISOR_AC][TLB_INDEX(0x10000)];
	spaces_start(fixture);
	assert_true(cpu_write_value(fixture->cpu, 0x10000, 4, TLB_VIEW_SUPERVISOR_AC, 5));
	assert_int_equal(entry->write_tag, 0x10000);
	load_pcid(fixture, 2, true);
	tlb_revoke_write(&fixture->cpu->tlb, 0x6000);
	load_pcid(fixture, 1, true);
	assert_int_equal(entry->read_tag, 0x10000);
	assert_int_not_equal(entry->write_tag, 0x10000);
}

/* What was filled is flushed, also when it was more than the log can name. */
static void test_flush_beyond_log(void **state)
{
	struct fixture *fixture = *state;
	spaces_start(fixture);
	uint64_t first = paging_map(fixture, PAGING_LONG, 0x400000, 0x5000, PTE_W, 12), last = 0;
	for (unsigned i = 1; i < 2 * TLB_LOG_SIZE; i++) { /* two for a line: each replaces another */
		last = paging_map(fixture, PAGING_LONG, 0x400000 + i * 0x1000, 0x5000, PTE_W, 12);
		read8(fixture, 0x400000 + i * 0x1000);
		mmu_flush_page(fixture->cpu, 0x400000 + (i - 1) * 0x1000);
	}
	read8(fixture, 0x400000);
	assert_true(fixture->cpu->tlb.log.count > TLB_LOG_SIZE);
	put(fixture, first, 8, 0x6000 | PTE_P | PTE_W);
	put(fixture, last, 8, 0x6000 | PTE_P | PTE_W);
	load_pcid(fixture, 2, true);
	assert_int_equal(read8(fixture, 0x400000), 6);
	load_pcid(fixture, 1, true);
	assert_int_equal(read8(fixture, 0x400000 + (2 * TLB_LOG_SIZE - 1) * 0x1000), 6);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_a20_masks_walks_and_results, setup, teardown),
	    cmocka_unit_test(test_page_sizes),
	    TEST(test_unpaged),
	    TEST(test_space_is_kept),
	    TEST(test_space_not_kept_when_off),
	    cmocka_unit_test(test_space_is_dropped),
	    TEST(test_spaces_are_bounded),
	    TEST(test_space_kinds_of_pages),
	    TEST(test_space_revoke_write),
	    TEST(test_flush_beyond_log),
	    cmocka_unit_test(test_accessed_and_dirty),
	    TEST(test_fault_leaves_leaf),
	    cmocka_unit_test(test_rights),
	    TEST(test_upper_rights),
	    TEST(test_fetch_bit),
	    TEST(test_reserved),
	    TEST(test_reserved_4m),
	    TEST(test_not_canonical),
	    TEST(test_tables_outside_ram),
	    TEST(test_pdpte),
	    TEST(test_flush),
	    TEST(test_flush_fetch),
	    TEST(test_flush_large),
	    TEST(test_empty),
	    TEST(test_dirty_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
