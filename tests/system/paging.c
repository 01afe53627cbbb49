/* SPDX-License-Identifier: MIT */
/*
 * Page walks in every format: who may do what, the error codes and CR2, accessed and dirty bits, reserved bits, large
 * pages, accesses and instructions across a page edge, SMEP and SMAP.
 */
#include "guest.h"

#define TEST AREA
#define NEXT (AREA + PAGE)

FRAGMENT(read_byte, "mov (" BX "), %al");
FRAGMENT(write_byte, "movb $1, (" BX ")");
FRAGMENT(modify_byte, "addb $1, (" BX ")");
FRAGMENT(fetch, "call *" BX);
FRAGMENT(read_4, "mov (" BX "), %eax");
FRAGMENT(write_4, "movl $0x11223344, (" BX ")");
FRAGMENT(write_sse, "pcmpeqd %xmm0, %xmm0\n movups %xmm0, (" BX ")");
FRAGMENT(compare_fail, "xor %eax, %eax\n mov $1, %ecx\n cmpxchg %ecx, (" BX ")");
FRAGMENT(bit_test, "btl $0, (" BX ")");
FRAGMENT(copy_none, "mov " BX ", " SI "\n mov " BX ", " DI "\n xor %ecx, %ecx\n rep movsb");
FRAGMENT(store_string, "mov " BX ", " DI "\n mov $8, %ecx\n xor %eax, %eax\n rep stosb");
FRAGMENT(fetch_then_ret, "jmp *" BX);
FRAGMENT(no_op, "nop");

static word frame_a, frame_b; /* two pages of memory */

static void run_as(bool user, code_function *code, word linear)
{
	regs.bx = linear;
	if (user)
		run_user(code);
	else
		run(code);
}

/* NO_TRAP, or vector and error code in one number. */
static word access(bool user, code_function *code, word linear)
{
	run_as(user, code, linear);
	return trap.vector == NO_TRAP ? NO_TRAP : trap.vector << 16 | trap.error;
}

static char hex_digit(unsigned value)
{
	return "0123456789abcdef"[value & 15];
}

struct operation {
	const char *name;
	code_function *code;
};
static const struct operation operations[] = {
    {"read", read_byte}, {"write", write_byte}, {"modify", modify_byte}, {"fetch", fetch}};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static bool has_nx;

/* Every combination of P, W, U and NX, by either ring: one fact each. */
static void rights(const char *group, unsigned level, uint64_t physical)
{
	char name[] = "k.00.read12";

	for (unsigned flags = 0; flags < 16; flags++) {
		if ((flags & 8) && !has_nx)
			break;
		entry_write(entry_of(TEST, level), 0);
		map_level(TEST, physical, (flags & 7) | (flags & 8 ? PTE_NX : 0), level);
		for (unsigned user = 0; user < 2; user++) {
			for (unsigned i = 0; i < OPERATIONS; i++) {
				name[0] = user ? 'u' : 'k';
				name[2] = hex_digit(flags);
				name[3] = '.';
				unsigned j = 0;
				for (; operations[i].name[j]; j++)
					name[4 + j] = operations[i].name[j];
				name[4 + j] = 0;
				*(uint8_t *)frame_a = 0xc3; /* ret */
				fact_of(group, name, access(user, operations[i].code, TEST));
			}
		}
	}
}

static void write_protect(void)
{
	write_cr0(read_cr0() & ~CR0_WP);
	rights("wp0", 1, frame_a);
	write_cr0(read_cr0() | CR0_WP);
	rights("wp1", 1, frame_a);
	write_cr0(read_cr0() & ~CR0_WP);
}

/* What the level above takes away. */
static void upper_levels(unsigned level, const char *group)
{
	static const char *const names[] = {"none", "no_w", "no_u", "absent"};
	const uint64_t take[] = {0, PTE_W, PTE_U, PTE_P};
	char name[24];

	map(TEST, frame_a, PTE_P | PTE_W | PTE_U);
	write_cr0(read_cr0() | CR0_WP);
	for (unsigned i = 0; i < 4; i++) {
		void *entry = entry_of(TEST, level);
		uint64_t saved = entry_read(entry);
		entry_write(entry, saved & ~take[i]);
		write_cr3(read_cr3());
		for (unsigned user = 0; user < 2; user++) {
			for (unsigned o = 0; o < OPERATIONS; o++) {
				char *at = name;
				for (const char *c = names[i]; *c; c++)
					*at++ = *c;
				*at++ = '.';
				*at++ = user ? 'u' : 'k';
				*at++ = '.';
				for (const char *c = operations[o].name; *c; c++)
					*at++ = *c;
				*at = 0;
				*(uint8_t *)frame_a = 0xc3;
				fact_of(group, name, access(user, operations[o].code, TEST));
			}
		}
		entry_write(entry, saved);
		write_cr3(read_cr3());
	}
	write_cr0(read_cr0() & ~CR0_WP);
}

/* ---- accessed and dirty ---- */

#define AD(level) (entry_read(entry_of(TEST, level)) & (PTE_A | PTE_D))

static void fresh(unsigned level, uint64_t physical, uint64_t flags)
{
	entry_write(entry_of(TEST, level), 0);
	if (level == 1)
		entry_write(entry_of(TEST, 2), entry_read(entry_of(TEST, 2)) & ~PTE_A);
	map_level(TEST, physical, flags, level);
	write_cr3(read_cr3());
}

static void accessed_and_dirty(const char *group, unsigned level, uint64_t physical)
{
	const uint64_t all = PTE_P | PTE_W | PTE_U;

	fresh(level, physical, all);
	fact_of(group, "fresh", AD(level));
	run_as(false, no_op, TEST);
	fact_of(group, "untouched", AD(level));
	run_as(false, read_byte, TEST);
	fact_of(group, "read", AD(level));
	if (level == 1)
		fact_of(group, "read_upper", entry_read(entry_of(TEST, 2)) & PTE_A);
	run_as(false, write_byte, TEST);
	fact_of(group, "read_write", AD(level));
	fresh(level, physical, all);
	run_as(true, write_byte, TEST);
	fact_of(group, "user_write", AD(level));
	/* A write must set D again after it was cleared and the page flushed, though code and TLB have seen the page.
	 */
	entry_write(entry_of(TEST, level), entry_read(entry_of(TEST, level)) & ~PTE_D);
	invlpg(TEST);
	run_as(true, read_byte, TEST);
	fact_of(group, "cleared_read", AD(level));
	run_as(true, write_byte, TEST);
	fact_of(group, "cleared_write", AD(level));
	entry_write(entry_of(TEST, level), entry_read(entry_of(TEST, level)) & ~(PTE_A | PTE_D));
	invlpg(TEST);
	run_as(false, read_byte, TEST);
	fact_of(group, "cleared_a", AD(level));
	fresh(level, physical, all);
	*(uint8_t *)frame_a = 0xc3;
	run_as(false, fetch, TEST);
	fact_of(group, "fetch", AD(level));
	fresh(level, physical, all);
	run_as(false, modify_byte, TEST);
	fact_of(group, "modify", AD(level));
	fresh(level, physical, all);
	*(uint32_t *)frame_a = 7;
	run_as(false, compare_fail, TEST);
	fact_of(group, "compare_fail", AD(level));
	fresh(level, physical, all);
	run_as(false, bit_test, TEST);
	fact_of(group, "bit_test", AD(level));
	fresh(level, physical, all);
	run_as(false, copy_none, TEST);
	fact_of(group, "copy_none", AD(level));
	fresh(level, physical, all);
	run_as(false, store_string, TEST);
	fact_of(group, "string", AD(level));
	/* Refused accesses leave the page's entry alone. */
	fresh(level, physical, PTE_P | PTE_W);
	run_as(true, read_byte, TEST);
	fact_of(group, "refused_read", AD(level));
	fresh(level, physical, PTE_P | PTE_U);
	run_as(true, write_byte, TEST);
	fact_of(group, "refused_write", AD(level) & PTE_D);
	/* A processor that writes to a read-only page (WP=0) sets D. */
	fresh(level, physical, PTE_P);
	run_as(false, write_byte, TEST);
	fact_of(group, "wp_off_write", AD(level));
	entry_write(entry_of(TEST, level), 0);
	write_cr3(read_cr3());
}

/* ---- reserved bits ---- */

static void reserved_at(const char *name, unsigned level, uint64_t bits)
{
	void *entry;
	uint64_t saved;

	map(TEST, frame_a, PTE_P | PTE_W | PTE_U);
	entry = entry_of(TEST, level);
	saved = entry_read(entry);
	entry_write(entry, saved | bits);
	write_cr3(read_cr3());
	fact_of(name, "read", access(false, read_byte, TEST));
	fact_of(name, "user_write", access(true, write_byte, TEST));
	fact_of(name, "cr2", trap.cr2);
	entry_write(entry, (saved | bits) & ~PTE_P);
	write_cr3(read_cr3());
	fact_of(name, "absent", access(false, read_byte, TEST));
	entry_write(entry, saved);
	write_cr3(read_cr3());
}

/* ---- page edges ---- */

static void edge(const char *name, code_function *code, bool user, word offset)
{
	*(uint64_t *)(frame_a + PAGE - 8) = 0;
	run_as(user, code, TEST + PAGE - offset);
	trap_facts(name, code);
	fact_of(name, "left_behind", *(uint64_t *)(frame_a + PAGE - 8));
}

static void edges(void)
{
	map(TEST, frame_a, PTE_P | PTE_W | PTE_U);
	unmap(NEXT);
	edge("edge.read", read_4, false, 2);
	edge("edge.write", write_4, false, 2);
	edge("edge.write_user", write_4, true, 3);
	edge("edge.sse", write_sse, true, 15);
	map(NEXT, frame_b, PTE_P | PTE_U);
	edge("edge.read_only", write_4, true, 1);
	map(NEXT, frame_b, PTE_P | PTE_W);
	edge("edge.supervisor", write_4, true, 1);
	unmap(TEST);
	map(NEXT, frame_b, PTE_P | PTE_U | PTE_W);
	edge("edge.first", write_4, true, 1);
	/* Two pages that are not neighbours in memory. */
	map(TEST, frame_b, PTE_P | PTE_W | PTE_U);
	map(NEXT, frame_a, PTE_P | PTE_W | PTE_U);
	*(uint32_t *)frame_a = 0;
	*(uint32_t *)(frame_b + PAGE - 4) = 0;
	run_as(true, write_4, TEST + PAGE - 1);
	fact("edge.swapped.low", *(uint32_t *)(frame_b + PAGE - 4));
	fact("edge.swapped.high", *(uint32_t *)frame_a);
	*(uint32_t *)frame_a = 0x55667788;
	run_as(true, read_4, TEST + PAGE - 1);
	fact("edge.swapped.read", regs.ax & 0xffffffff);
	unmap(NEXT);
}

/* An instruction across the edge: b8 imm32, then ret. */
static void fetch_edges(void)
{
	static const uint8_t code[] = {0xb8, 0x78, 0x56, 0x34, 0x12, 0xc3};
	char name[] = "fetch_edge.0";

	for (unsigned inside = 1; inside < 6; inside++) {
		word start = TEST + PAGE - inside;
		name[11] = hex_digit(inside);
		map(TEST, frame_a, PTE_P | PTE_W | PTE_U);
		unmap(NEXT);
		copy_bytes((void *)(frame_a + PAGE - inside), code, inside);
		copy_bytes((void *)frame_b, code + inside, sizeof(code) - inside);
		regs.ax = 0;
		run_as(true, fetch_then_ret, start);
		fact_of(name, "vector", trap.vector);
		fact_of(name, "error", trap.error);
		fact_of(name, "ip", trap.ip - start);
		fact_of(name, "cr2", trap.cr2);
		map(NEXT, frame_b, PTE_P | PTE_U);
		run_as(true, fetch_then_ret, start);
		fact_of(name, "mapped", trap.vector);
		fact_of(name, "mapped_ax", regs.ax);
		map(NEXT, frame_b, PTE_P);
		run_as(true, fetch_then_ret, start);
		fact_of(name, "supervisor", trap.vector << 16 | trap.error);
		fact_of(name, "supervisor_cr2", trap.cr2);
	}
	unmap(NEXT);
}

/* ---- SMEP, SMAP ---- */

FRAGMENT(read_ac, "stac\n mov (" BX "), %al\n clac");
FRAGMENT(write_ac, "stac\n movb $1, (" BX ")\n clac");
FRAGMENT(fetch_ac, "stac\n call *" BX "\n clac");
FRAGMENT(read_after_clac, "stac\n mov (" BX "), %al\n clac\n mov (" BX "), %al");
FRAGMENT(set_ac, "stac");
/* Pairs one after the other, and often: each instruction leads into a view and from there to the next. */
FRAGMENT(ac_twice, "stac\n stac\n mov (" BX "), %al\n clac\n clac\n mov (" BX "), %al");
FRAGMENT(ac_loop, "mov $200, %ecx\n1: stac\n mov (" BX "), %dl\n clac\n add %dl, %al\n dec %ecx\n jnz 1b\n"
		  "stac\n mov (" BX "), %dl\n clac");
FRAGMENT(ac_flags, "xor %eax, %eax\n stc\n stac\n setc %al\n clac\n adc $0x10, %eax\n stac\n pushf\n pop " DX
		   "\n clac\n pushf\n pop " CX);
FRAGMENT(ac_across_cr4, "stac\n mov %cr4, " AX "\n xor $0x200000, " AX "\n mov " AX ", %cr4\n mov (" BX
			"), %dl\n clac\n mov (" BX "), %dl");
FRAGMENT(popf_ac,
	 "pushf\n orl $0x40000, (" SP ")\n popf\n mov (" BX "), %al\n pushf\n andl $~0x40000, (" SP ")\n popf");
FRAGMENT(smap_string, "mov " BX ", " SI "\n mov $smap_target, " DI "\n mov $4, %ecx\n rep movsb");
FRAGMENT(smap_sse, "movups (" BX "), %xmm0");
FRAGMENT(smap_push, "xchg " BX ", " SP "\n push " AX "\n xchg " BX ", " SP);
FRAGMENT(fs_read, "mov %fs:(" BX "), %al");
uint8_t smap_target[16];

static void smep(void)
{
	if (!cpu_has(HAS_SMEP)) {
		absent("smep");
		return;
	}
	identity_user(false);
	write_cr4(read_cr4() | CR4_SMEP);
	*(uint8_t *)frame_a = 0xc3;
	map(TEST, frame_a, PTE_P | PTE_W | PTE_U);
	fact("smep.kernel_fetch_user", access(false, fetch, TEST));
	fact("smep.cr2", trap.cr2);
	fact("smep.kernel_read_user", access(false, read_byte, TEST));
	unmap(TEST);
	fact("smep.kernel_fetch_absent", access(false, fetch, TEST));
	map(TEST, frame_a, PTE_P | PTE_W);
	fact("smep.kernel_fetch_kernel", access(false, fetch, TEST));
	write_cr4(read_cr4() & ~CR4_SMEP);
	map(TEST, frame_a, PTE_P | PTE_W | PTE_U);
	fact("smep.off", access(false, fetch, TEST));
	write_cr4(read_cr4() | CR4_SMEP);
	fact("smep.on_again", access(false, fetch, TEST));
	write_cr4(read_cr4() & ~CR4_SMEP);
	identity_user(true);
}

static void smap(void)
{
	if (!cpu_has(HAS_SMAP)) {
		absent("smap");
		return;
	}
	identity_user(false);
	write_cr4(read_cr4() | CR4_SMAP);
	*(uint8_t *)frame_a = 0xc3;
	map(TEST, frame_a, PTE_P | PTE_W | PTE_U);
	fact("smap.read", access(false, read_byte, TEST));
	fact("smap.write", access(false, write_byte, TEST));
	fact("smap.modify", access(false, modify_byte, TEST));
	fact("smap.fetch", access(false, fetch, TEST));
	fact("smap.read_ac", access(false, read_ac, TEST));
	fact("smap.write_ac", access(false, write_ac, TEST));
	fact("smap.read_after_clac", access(false, read_after_clac, TEST));
	fact("smap.read_after_clac_ip", trap.ip - (word)read_after_clac);
	fact("smap.popf", access(false, popf_ac, TEST));
	fact("smap.string", access(false, smap_string, TEST));
	fact("smap.sse", access(false, smap_sse, TEST));
	if (IS64) /* with an IST; else the trap needs the stack it is about */
		fact("smap.push", access(false, smap_push, TEST + 64));
	fact("smap.twice", access(false, ac_twice, TEST));
	fact("smap.twice_ip", trap.ip - (word)ac_twice);
	regs.ax = 0;
	fact("smap.loop", access(false, ac_loop, TEST));
	fact("smap.loop_sum", regs.ax & 0xff);
	fact("smap.loop_flags", access(false, ac_flags, TEST));
	fact("smap.flags_kept", regs.ax);
	fact("smap.flag_set", regs.dx >> 18 & 1);
	fact("smap.flag_clear", regs.cx >> 18 & 1);
	write_cr4(read_cr4() & ~CR4_SMAP); /* which the fragment sets, with AC set */
	fact("smap.on_under_ac", access(false, ac_across_cr4, TEST));
	fact("smap.on_under_ac_ip", trap.ip - (word)ac_across_cr4);
	fact("smap.off_under_ac", access(false, ac_across_cr4, TEST));
	write_cr4(read_cr4() & ~CR4_SMAP);
	fact("smap.clac_when_off", access(false, read_after_clac, TEST));
	fact("smap.flags_when_off", access(false, ac_flags, TEST));
	fact("smap.flag_set_when_off", regs.dx >> 18 & 1);
	fact("smap.flag_clear_when_off", regs.cx >> 18 & 1);
	write_cr4(read_cr4() | CR4_SMAP);
	run(set_ac);
	fact("smap.stac_flag", regs.flags >> 18 & 1);
	map(TEST, frame_a, PTE_P | PTE_U);
	write_cr0(read_cr0() | CR0_WP);
	fact("smap.write_ac_read_only", access(false, write_ac, TEST));
	write_cr0(read_cr0() & ~CR0_WP);
	fact("smap.write_ac_wp_off", access(false, write_ac, TEST));
	*(uint8_t *)frame_a = 0xc3;
	map(TEST, frame_a, PTE_P | PTE_W);
	fact("smap.kernel_page", access(false, write_byte, TEST));
	write_cr4(read_cr4() & ~CR4_SMAP);
	map(TEST, frame_a, PTE_P | PTE_W | PTE_U);
	fact("smap.off", access(false, read_byte, TEST));
	identity_user(true);
	run_as(true, set_ac, TEST);
	fact("smap.stac_user", trap.vector);
}

/* ---- flushing ---- */

static uint32_t value_at(word linear)
{
	return *(volatile uint32_t *)linear;
}

static void flushing(void)
{
	word other;

	*(uint32_t *)frame_a = 0xa;
	*(uint32_t *)frame_b = 0xb;
	map(TEST, frame_a, PTE_P | PTE_W);
	fact("flush.first", value_at(TEST));
	entry_write(entry_of(TEST, 1), frame_b | PTE_P | PTE_W);
	invlpg(TEST + 123);
	fact("flush.invlpg", value_at(TEST));
	entry_write(entry_of(TEST, 1), frame_a | PTE_P | PTE_W);
	write_cr3(read_cr3());
	fact("flush.cr3", value_at(TEST));
	write_cr4(read_cr4() | CR4_PGE);
	entry_write(entry_of(TEST, 1), frame_a | PTE_P | PTE_W | PTE_G);
	write_cr3(read_cr3());
	fact("flush.global", value_at(TEST));
	entry_write(entry_of(TEST, 1), frame_b | PTE_P | PTE_W | PTE_G);
	invlpg(TEST);
	fact("flush.global_invlpg", value_at(TEST));
	entry_write(entry_of(TEST, 1), frame_a | PTE_P | PTE_W | PTE_G);
	write_cr4(read_cr4() & ~CR4_PGE);
	fact("flush.global_pge", value_at(TEST));
	write_cr4(read_cr4() | CR4_PGE);
	/* More rights need no flush in memory terms, but a fault must walk again. */
	map(TEST, frame_a, PTE_P);
	write_cr0(read_cr0() | CR0_WP);
	fact("flush.read_only", access(false, write_byte, TEST));
	entry_write(entry_of(TEST, 1), frame_a | PTE_P | PTE_W);
	invlpg(TEST);
	fact("flush.made_writable", access(false, write_byte, TEST));
	write_cr0(read_cr0() & ~CR0_WP);
	/* Absent entries are not cached: no flush needed. */
	unmap(TEST);
	fact("flush.absent", access(false, read_byte, TEST));
	entry_write(entry_of(TEST, 1), frame_b | PTE_P);
	fact("flush.made_present", access(false, read_byte, TEST));
	/* Two spaces. */
	other = space_create();
	word first = space_current();
	*(uint32_t *)frame_a = 0xa;
	map(TEST, frame_a, PTE_P | PTE_W);
	space_select(other);
	map(TEST, frame_b, PTE_P | PTE_W);
	*(uint32_t *)frame_b = 0xb;
	fact("flush.space_1", value_at(TEST));
	space_enter(other);
	fact("flush.space_2", value_at(TEST));
	space_enter(first);
	fact("flush.space_1_again", value_at(TEST));
	space_select(first);
	unmap(TEST);
}

static void large_pages(unsigned level, const char *group, const char *ad_group)
{
	uint64_t size_mask = level == 3 ? 0x3fffffff : (IS64 || read_cr4() & CR4_PAE) ? 0x1fffff : 0x3fffff;
	void *entry = entry_of(TEST, level);
	uint64_t saved = entry_read(entry);
	word large = (word)(frame_a & ~size_mask);
	word inside = (word)(frame_a & size_mask);

	(void)ad_group;
	/* The tests use the page's first byte: make it a page of ours by aliasing frame_a's place inside. */
	entry_write(entry, large | PTE_PS | PTE_P | PTE_W | PTE_U);
	write_cr3(read_cr3());
	*(uint32_t *)frame_a = 0xc3c3c3c3;
	run_as(true, read_4, TEST + inside);
	fact_of(group, "read", regs.ax & 0xffffffff);
	fact_of(group, "ad_read", entry_read(entry) & (PTE_A | PTE_D));
	run_as(true, write_byte, TEST + inside);
	fact_of(group, "ad_write", entry_read(entry) & (PTE_A | PTE_D));
	fact_of(group, "written", *(uint8_t *)frame_a);
	*(uint8_t *)frame_a = 0xc3;
	fact_of(group, "fetch", access(true, fetch, TEST + inside));
	entry_write(entry, large | PTE_PS | PTE_P | PTE_W);
	write_cr3(read_cr3());
	fact_of(group, "supervisor", access(true, read_byte, TEST + inside));
	entry_write(entry, large | PTE_PS | PTE_P | PTE_U);
	write_cr3(read_cr3());
	fact_of(group, "read_only", access(true, write_byte, TEST + inside));
	fact_of(group, "cr2", trap.cr2 - TEST - inside);
	if (has_nx) {
		entry_write(entry, large | PTE_PS | PTE_P | PTE_U | PTE_NX);
		write_cr3(read_cr3());
		fact_of(group, "nx", access(true, fetch, TEST + inside));
	}
	entry_write(entry, large | (level == 2 && !(IS64 || read_cr4() & CR4_PAE) ? 1ull << 21 : 1ull << 13) | PTE_PS |
			       PTE_P | PTE_U);
	write_cr3(read_cr3());
	fact_of(group, "reserved", access(true, read_byte, TEST + inside));
	/* INVLPG anywhere inside drops all of it. */
	entry_write(entry, large | PTE_PS | PTE_P | PTE_W | PTE_U);
	write_cr3(read_cr3());
	run_as(false, read_4, TEST + inside);
	entry_write(entry, 0);
	invlpg(TEST);
	fact_of(group, "invlpg", access(false, read_byte, TEST + inside));
	entry_write(entry, saved);
	write_cr3(read_cr3());
}

static void walk_tests(void)
{
	write_protect();
	upper_levels(2, "pde");
	accessed_and_dirty("ad", 1, frame_a);
	edges();
	fetch_edges();
	flushing();
	large_pages(2, "large", "ad.large");
	smep();
	smap();
}

#ifdef __x86_64__
static void nx_off(void)
{
	map(TEST, frame_a, PTE_P | PTE_W | PTE_U | PTE_NX);
	fact("nxe_off.before", access(true, read_byte, TEST));
	write_msr(MSR_EFER, read_msr(MSR_EFER) & ~EFER_NXE);
	write_cr3(read_cr3());
	fact("nxe_off.read", access(true, read_byte, TEST));
	unmap(TEST);
	fact("nxe_off.fetch_absent", access(true, fetch, TEST));
	write_msr(MSR_EFER, read_msr(MSR_EFER) | EFER_NXE);
	write_cr3(read_cr3());
}

void guest_main(void)
{
	frame_a = (word)page_alloc();
	frame_b = (word)page_alloc();
	has_nx = true;
	walk_tests();
	upper_levels(3, "pdpte");
	upper_levels(4, "pml4e");
	if (cpu_has(HAS_PAGE1G))
		large_pages(3, "page1g", "ad.page1g");
	else
		absent("page1g");
	reserved_at("reserved.pte", 1, 1ull << 51);
	reserved_at("reserved.pde", 2, 1ull << 51);
	reserved_at("reserved.pdpte", 3, 1ull << 51);
	reserved_at("reserved.pml4e", 4, 1ull << 51);
	reserved_at("reserved.pml4e_ps", 4, PTE_PS);
	nx_off();
}
#else
FRAGMENT(load_cr3, "mov %eax, %cr3");
FRAGMENT(pae_on,
	 "mov %cr4, %eax\n or $0x20, %eax\n mov %eax, %cr4\n mov %cr4, %eax\n and $~0x20, %eax\n mov %eax, %cr4");

/* PDPTEs are loaded with CR3 and only then. */
static void pdptes(void)
{
	word root = (word)page_alloc();

	copy_bytes((void *)root, (void *)(space_current() & ~0xffful), 32);
	((uint64_t *)root)[1] |= 2; /* reserved: bits 1, 2, 5-8 */
	regs.ax = root;
	probe("pdpte.reserved_w", load_cr3);
	((uint64_t *)root)[1] = 2; /* absent: not looked at */
	regs.ax = root;
	probe("pdpte.absent_junk", load_cr3);
	map(TEST, frame_a, PTE_P | PTE_W);
	fact("pdpte.absent_read", access(false, read_byte, TEST));
	write_cr3(space_current());
	fact("pdpte.loaded", access(false, read_byte, TEST));
	/* Changed in memory, then INVLPG: the processor keeps what it loaded. */
	uint64_t *live = (uint64_t *)space_current() + (TEST >> 30);
	uint64_t saved = *live;
	*live = 0;
	invlpg(TEST);
	fact("pdpte.kept", access(false, read_byte, TEST));
	write_cr3(read_cr3());
	fact("pdpte.reloaded", access(false, read_byte, TEST));
	*live = saved;
	write_cr3(read_cr3());
	/* CR3 is 32-byte aligned in this format. */
	word page = (word)page_alloc();
	copy_bytes((void *)(page + 0x20), (void *)space_current(), 32);
	regs.ax = page + 0x20;
	run(load_cr3);
	fact("pdpte.aligned_32", access(false, read_byte, TEST));
	write_cr3(space_current());
}

void guest_main(void)
{
	frame_a = (word)page_alloc();
	frame_b = (word)page_alloc();
	paging_start(PAGING_32);
	fact_prefix = "two.";
	walk_tests();
	paging_stop();
	if (cpu_has(HAS_NX)) {
		write_msr(MSR_EFER, read_msr(MSR_EFER) | EFER_NXE);
		has_nx = true;
	}
	paging_start(PAGING_PAE);
	fact_prefix = "pae.";
	walk_tests();
	reserved_at("reserved.pte", 1, 1ull << 51);
	reserved_at("reserved.pte_62", 1, 1ull << 62);
	reserved_at("reserved.pde", 2, 1ull << 51);
	pdptes();
	paging_stop();
}
#endif
