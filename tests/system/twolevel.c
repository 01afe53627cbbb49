/* SPDX-License-Identifier: MIT */
/*
 * Two-level paging without PAE, as 32-bit systems of the nineties use it: 4 MiB pages with and without CR4.PSE, PSE-36,
 * rights of both levels, accessed and dirty bits, global pages, addresses that wrap at 4 GiB.
 */
#include "guest.h"

#define SIZE_4M 0x400000u
#define WINDOW 0x40000000u /* where the tests map what they want */
#define DIRECTORY_OF(linear) ((linear) >> 22)

static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint32_t table[1024] __attribute__((aligned(4096)));
static uint32_t target[2][1024] __attribute__((aligned(4096)));

FRAGMENT(do_read, "mov (%edi), %eax");
FRAGMENT(do_write, "mov %eax, (%edi)");
FRAGMENT(do_modify, "addl $1, (%edi)");
FRAGMENT(do_call, "call *%edi");
FRAGMENT(do_byte, "movb (%edi), %al");

static void set_entry(uint32_t *entry, uint32_t value)
{
	*(volatile uint32_t *)entry = value;
	write_cr3(read_cr3());
}

static void access(const char *group, const char *name, code_function *code, uint32_t linear, bool user)
{
	char full[40];
	unsigned length = 0;

	for (const char *c = group; *c; c++)
		full[length++] = *c;
	full[length++] = '.';
	for (const char *c = name; *c; c++)
		full[length++] = *c;
	full[length] = 0;
	regs = (struct regs){.ax = 0x600d, .di = linear};
	if (user)
		run_user(code);
	else
		run(code);
	fact_of(full, "vector", trap.vector);
	if (trap.vector == 14) {
		fact_of(full, "error", trap.error);
		fact_of(full, "cr2", trap.cr2);
	} else {
		fact_of(full, "ax", regs.ax);
	}
}

static void all_accesses(const char *group, uint32_t linear)
{
	access(group, "read", do_read, linear, false);
	access(group, "write", do_write, linear, false);
	access(group, "user_read", do_read, linear, true);
	access(group, "user_write", do_write, linear, true);
	access(group, "user_modify", do_modify, linear, true);
	target[0][0] = 0xc3c3c3c3;
	access(group, "user_call", do_call, linear, true);
}

/* Every combination of the rights of both levels, with and without CR0.WP. */
static void rights(void)
{
	char name[] = "rights.0.00";

	table[0] = (word)target[0] | PTE_P;
	for (unsigned wp = 0; wp < 2; wp++) {
		write_cr0(wp ? read_cr0() | CR0_WP : read_cr0() & ~CR0_WP);
		for (unsigned bits = 0; bits < 16; bits++) {
			name[7] = (char)('0' + wp);
			name[9] = (char)('0' + (bits >> 2));
			name[10] = (char)('0' + (bits & 3));
			target[0][0] = 0xc3c3c3c3;
			table[0] = (word)target[0] | PTE_P | (bits & 3) << 1;
			set_entry(&directory[DIRECTORY_OF(WINDOW)], (word)table | PTE_P | (bits >> 2) << 1);
			all_accesses(name, WINDOW);
			fact_of(name, "upper", directory[DIRECTORY_OF(WINDOW)] & 0xfff);
			fact_of(name, "lower", table[0] & 0xfff);
		}
	}
	write_cr0(read_cr0() & ~CR0_WP);
	set_entry(&table[0], 0);
	all_accesses("absent", WINDOW + 0x123);
	set_entry(&directory[DIRECTORY_OF(WINDOW)], 0);
	all_accesses("absent_directory", WINDOW + 0x123);
}

static uint32_t *large_target(void)
{
	return target[0];
}

static void large(void)
{
	uint32_t *entry = &directory[DIRECTORY_OF(WINDOW)];
	uint32_t at = WINDOW + (uint32_t)(word)large_target(); /* 4 MiB page 0 holds the guest */

	target[0][0] = 0xc3c3c3c3;
	set_entry(entry, PTE_PS | PTE_P | PTE_W | PTE_U);
	access("large", "read", do_read, at, false);
	fact("large.after_read", *entry);
	access("large", "write", do_write, at, true);
	fact("large.after_write", *entry);
	target[0][0] = 0xc3c3c3c3;
	set_entry(entry, PTE_PS | PTE_P);
	all_accesses("large_supervisor", at);
	set_entry(entry, PTE_PS | PTE_P | PTE_U);
	all_accesses("large_read_only", at);
	target[0][0] = 0xc3c3c3c3;
	/* Bit 21 is reserved, bits 20 to 13 are address bits of PSE-36; in an ordinary entry none is. */
	set_entry(entry, PTE_PS | PTE_P | PTE_W | PTE_U | 1u << 21);
	all_accesses("large_reserved", at);
	target[0][0] = 0xc3c3c3c3;
	set_entry(entry, PTE_PS | PTE_P | PTE_W | PTE_U | 1u << 12); /* PAT */
	access("large_pat", "read", do_read, at, true);
	set_entry(entry, PTE_PS | PTE_P | PTE_W | PTE_U | PTE_PWT | PTE_PCD | 0xe00);
	access("large_ignored", "read", do_read, at, true);
	fact("large_ignored.after", *entry);
	/* INVLPG anywhere in a large page drops all of it. */
	set_entry(entry, PTE_PS | PTE_P | PTE_W | PTE_U);
	access("large_invlpg", "before", do_read, at, false);
	*(volatile uint32_t *)entry = 0;
	invlpg(WINDOW + SIZE_4M - 1);
	access("large_invlpg", "after", do_read, at, false);
	/* From large to small. */
	set_entry(entry, PTE_PS | PTE_P | PTE_W | PTE_U);
	target[1][0] = 0x2222;
	access("large_to_small", "before", do_read, WINDOW + (word)target[1], false);
	fill_bytes(table, 0, sizeof(table));
	table[(word)target[1] >> 12 & 1023] = (word)target[0] | PTE_P | PTE_W | PTE_U;
	*(volatile uint32_t *)entry = (word)table | PTE_P | PTE_W | PTE_U;
	invlpg(WINDOW + (word)target[1]);
	access("large_to_small", "after", do_read, WINDOW + (word)target[1], false);
	access("large_to_small", "beside", do_read, WINDOW + 0x1000, false);
}

/* Without CR4.PSE the PS bit is ignored. */
static void without_pse(void)
{
	uint32_t *entry = &directory[DIRECTORY_OF(WINDOW)];

	target[0][0] = 0x1111;
	fill_bytes(table, 0, sizeof(table));
	table[3] = (word)target[0] | PTE_P | PTE_W | PTE_U | PTE_PS; /* PAT in a page-table entry */
	set_entry(entry, (word)table | PTE_PS | PTE_P | PTE_W | PTE_U);
	/* All other memory is mapped by large pages: with PSE clear the identity map needs tables. */
	static uint32_t identity[16][1024] __attribute__((aligned(4096)));
	uint32_t saved[16];
	for (unsigned i = 0; i < 16; i++) {
		for (unsigned k = 0; k < 1024; k++)
			identity[i][k] = i * SIZE_4M + k * 4096 + 7;
		saved[i] = directory[i];
		directory[i] = (word)identity[i] | 7;
	}
	write_cr4(read_cr4() & ~CR4_PSE);
	access("no_pse", "read", do_read, WINDOW + 0x3000, false);
	access("no_pse", "beside", do_read, WINDOW + 0x4000, false);
	fact("no_pse.entry", *entry & 0xfff);
	write_cr4(read_cr4() | CR4_PSE);
	for (unsigned i = 0; i < 16; i++)
		directory[i] = saved[i];
	write_cr3(read_cr3());
	/* The same entry is a large page now, and what were address bits of the table lead beyond 4 GiB (PSE-36):
	 * nothing is there. */
	access("pse_again", "read", do_read, WINDOW + (word)target[0], false);
}

/* ---- global pages ---- */

static void global(void)
{
	uint32_t *entry = &directory[DIRECTORY_OF(WINDOW)];

	target[0][0] = 0x1111;
	target[1][0] = 0x2222;
	fill_bytes(table, 0, sizeof(table));
	set_entry(entry, (word)table | PTE_P | PTE_W | PTE_U);
	write_cr4(read_cr4() | CR4_PGE);
	set_entry(&table[0], (word)target[0] | PTE_P | PTE_W | PTE_U | PTE_G);
	access("global", "first", do_read, WINDOW, false);
	*(volatile uint32_t *)&table[0] = (word)target[1] | PTE_P | PTE_W | PTE_U;
	invlpg(WINDOW);
	access("global", "invlpg", do_read, WINDOW, false);
	set_entry(&table[0], (word)target[0] | PTE_P | PTE_W | PTE_U | PTE_G);
	access("global", "again", do_read, WINDOW, false);
	*(volatile uint32_t *)&table[0] = (word)target[1] | PTE_P | PTE_W | PTE_U;
	write_cr4(read_cr4() & ~CR4_PGE);
	access("global", "pge_cleared", do_read, WINDOW, false);
	/* G is ignored in an entry that refers to a table. */
	set_entry(entry, (word)table | PTE_P | PTE_W | PTE_U | PTE_G);
	access("global", "directory", do_read, WINDOW, false);
}

/* ---- the ends of the address space ---- */

static void wrap(void)
{
	static uint32_t last_table[1024] __attribute__((aligned(4096))),
	    first_table[1024] __attribute__((aligned(4096)));

	for (unsigned k = 0; k < 1024; k++)
		first_table[k] = k * 4096 + 7;
	uint32_t saved = directory[0], saved_last = directory[1023];
	last_table[1023] = (word)target[0] | 7;
	target[0][1023] = 0x44332211;
	directory[0] = (word)first_table | 7;
	directory[1023] = (word)last_table | 7;
	first_table[0] = (word)target[1] | 7;
	write_cr3(read_cr3());
	target[1][0] = 0x88776655;
	access("wrap", "read", do_read, 0xfffffffe, false);
	access("wrap", "write", do_write, 0xfffffffd, false);
	fact("wrap.high", target[0][1023]);
	fact("wrap.low", target[1][0]);
	set_entry(&first_table[0], 0);
	access("wrap", "absent", do_read, 0xfffffffd, false);
	access("wrap", "byte", do_byte, 0xffffffff, false);
	set_entry(&last_table[1023], 0);
	access("wrap", "absent_first", do_read, 0xfffffffd, false);
	directory[0] = saved;
	directory[1023] = saved_last;
	write_cr3(read_cr3());
}

void guest_main(void)
{
	for (unsigned i = 0; i < 1024; i++)
		directory[i] = i * SIZE_4M | PTE_PS | PTE_P | PTE_W | PTE_U;
	write_cr4(read_cr4() | CR4_PSE);
	write_cr3((word)directory | PTE_PWT | PTE_PCD); /* the walk's cache control, ignored here */
	write_cr0(read_cr0() | CR0_PG);
	fact("cr3", read_cr3() & 0xfff);
	rights();
	large();
	without_pse();
	global();
	wrap();
	write_cr0(read_cr0() & ~CR0_PG);
}
