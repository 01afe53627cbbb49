/* SPDX-License-Identifier: MIT */
/*
 * String instructions: faults in the middle with registers exact, direction, address and operand sizes, overlap, across
 * pages; and other instructions that fault half-way: PUSHA, ENTER, CMPXCHG8B, XCHG, locked and unaligned accesses
 * across a page edge.
 */
#include "guest.h"

#define FIRST (AREA + 4 * PAGE) /* nothing below it */
#define SECOND (FIRST + PAGE)
#define WAY_OFF (AREA + 16 * PAGE)
#define EDGE (FIRST + PAGE)

static word frames[4];

#define RW (PTE_P | PTE_W | PTE_U)

FRAGMENT(rep_movsb, "rep movsb");
FRAGMENT(rep_movsl, "rep movsl");
FRAGMENT(rep_movsb_down, "std\n rep movsb\n cld");
FRAGMENT(rep_movsl_down, "std\n rep movsl\n cld");
FRAGMENT(rep_stosb, "rep stosb");
FRAGMENT(rep_stosl, "rep stosl");
FRAGMENT(rep_stosw_down, "std\n rep stosw\n cld");
FRAGMENT(rep_lodsb, "rep lodsb");
FRAGMENT(repe_cmpsb, "repe cmpsb");
FRAGMENT(repne_cmpsb, "repne cmpsb");
FRAGMENT(repne_scasb, "repne scasb");
FRAGMENT(repe_scasl, "repe scasl");
FRAGMENT(rep_outsb, "rep outsb");
FRAGMENT(rep_insb, "rep insb");
FRAGMENT(movsb_once, "movsb");
FRAGMENT(stosl_once, "stosl");
FRAGMENT(cmpsl_once, "cmpsl");
FRAGMENT(rep_ret, "rep; ret");

static void state(const char *name, bool with_ax)
{
	fact_of(name, "vector", trap.vector);
	if (trap.vector != NO_TRAP) {
		fact_of(name, "error", trap.error);
		fact_of(name, "cr2", trap.cr2);
	}
	fact_of(name, "cx", regs.cx);
	fact_of(name, "si", regs.si);
	fact_of(name, "di", regs.di);
	if (with_ax)
		fact_of(name, "ax", regs.ax);
}

static void string(const char *name, code_function *code, word si, word di, word cx, word ax)
{
	regs.si = si;
	regs.di = di;
	regs.cx = cx;
	regs.ax = ax;
	run_user(code);
	state(name, true);
}

static void fill(void)
{
	for (word i = 0; i < PAGE; i++) {
		((uint8_t *)frames[0])[i] = (uint8_t)(i * 7 + 1);
		((uint8_t *)frames[1])[i] = (uint8_t)(i * 5 + 2);
		((uint8_t *)frames[2])[i] = 0x55;
	}
}

static word checksum(word frame)
{
	uint32_t sum = 0;
	for (word i = 0; i < PAGE; i++)
		sum = sum * 31 + ((uint8_t *)frame)[i];
	return sum;
}

static void faults(void)
{
	map(FIRST, frames[0], RW);
	map(WAY_OFF, frames[2], RW);
	unmap(SECOND);
	fill();
	string("fault.movsb_source", rep_movsb, EDGE - 10, WAY_OFF, 100, 0);
	fact("fault.movsb_source.sum", checksum(frames[2]));
	string("fault.movsl_source", rep_movsl, EDGE - 10, WAY_OFF, 100, 0);
	string("fault.movsb_target", rep_movsb, WAY_OFF, EDGE - 7, 100, 0);
	string("fault.movsl_target", rep_movsl, WAY_OFF, EDGE - 7, 100, 0);
	fact("fault.movsl_target.sum", checksum(frames[0]));
	string("fault.movsb_down", rep_movsb_down, FIRST + 5, WAY_OFF + 50, 100, 0);
	string("fault.movsl_down", rep_movsl_down, FIRST + 5, WAY_OFF + 50, 100, 0);
	string("fault.stosb", rep_stosb, 0, EDGE - 3, 20, 0xaa);
	string("fault.stosl", rep_stosl, 0, EDGE - 6, 20, 0xaabbccdd);
	string("fault.stosw_down", rep_stosw_down, 0, FIRST + 4, 20, 0xaabb);
	string("fault.lodsb", rep_lodsb, EDGE - 3, 0, 20, 0);
	string("fault.cmpsb", repe_cmpsb, EDGE - 4, EDGE - 4, 20, 0);
	string("fault.scasb", repne_scasb, 0, EDGE - 4, 20, 0x1ff);
	string("fault.scasl", repe_scasl, 0, EDGE - 2, 20, 0);
	string("fault.movsb_once", movsb_once, EDGE, WAY_OFF, 5, 0);
	string("fault.stosl_once", stosl_once, 0, EDGE - 2, 5, 0);
	string("fault.cmpsl_once", cmpsl_once, EDGE - 2, WAY_OFF, 5, 0);
	/* The target may only be read. */
	map(SECOND, frames[1], PTE_P | PTE_U);
	string("fault.read_only", rep_movsb, WAY_OFF, EDGE - 2, 10, 0);
	string("fault.read_only_stos", rep_stosl, 0, EDGE - 8, 10, 1);
	/* And the handler that repairs: the instruction goes on where it stopped. */
	unmap(SECOND);
	regs.si = EDGE - 10;
	regs.di = WAY_OFF;
	regs.cx = 20;
	run_user(rep_movsb);
	map(SECOND, frames[1], RW);
	run_user(rep_movsb);
	state("fault.resumed", false);
	fact("fault.resumed.sum", checksum(frames[2]));
}

static void results(void)
{
	map(FIRST, frames[0], RW);
	map(SECOND, frames[1], RW);
	fill();
	string("done.movsb_cross", rep_movsb, EDGE - 100, WAY_OFF, 300, 0);
	fact("done.movsb_cross.sum", checksum(frames[2]));
	string("done.movsl_cross", rep_movsl, EDGE - 99, WAY_OFF + 1, 70, 0);
	fact("done.movsl_cross.sum", checksum(frames[2]));
	string("done.overlap_up", rep_movsb, FIRST, FIRST + 1, 200, 0);
	fact("done.overlap_up.sum", checksum(frames[0]));
	fill();
	string("done.overlap_3", rep_movsb, FIRST, FIRST + 3, 200, 0);
	fact("done.overlap_3.sum", checksum(frames[0]));
	fill();
	string("done.overlap_long", rep_movsl, FIRST, FIRST + 2, 50, 0);
	fact("done.overlap_long.sum", checksum(frames[0]));
	fill();
	string("done.overlap_down", rep_movsb_down, FIRST + 100, FIRST + 103, 90, 0);
	fact("done.overlap_down.sum", checksum(frames[0]));
	string("done.down_cross", rep_movsl_down, SECOND + 40, WAY_OFF + 400, 60, 0);
	fact("done.down_cross.sum", checksum(frames[2]));
	string("done.stosl_cross", rep_stosl, 0, EDGE - 101, 80, 0x01020304);
	fact("done.stosl_cross.sum", checksum(frames[0]) + 3 * checksum(frames[1]));
	string("done.cmps_equal", repe_cmpsb, FIRST, FIRST, 50, 0);
	fact("done.cmps_equal.flags", trap.flags & 0x8d5);
	string("done.cmps_differ", repe_cmpsb, FIRST, WAY_OFF + 0x800, 50, 0);
	string("done.cmps_until", repne_cmpsb, FIRST, FIRST + 1, 20, 0);
	string("done.scas_found", repne_scasb, 0, WAY_OFF + 0x800, 20, 0x55);
	string("done.scas_missing", repne_scasb, 0, WAY_OFF + 0x800, 20, 0x56);
	string("done.lods", rep_lodsb, FIRST + 1, 0, 5, 0x12345600);
	string("done.zero", rep_movsb, 0x123, 0x456, 0, 0);
	string("done.zero_cmps", repe_cmpsb, 0x123, 0x456, 0, 0);
	string("done.rep_ret", rep_ret, 1, 2, 3, 4);
	regs.dx = 0x80;
	string("done.outs", rep_outsb, FIRST + 5, 0, 3, 0);
	run_flags = RUN_FLAGS_NONE | FLAG_IOPL;
	string("done.outs_iopl", rep_outsb, EDGE - 2, 0, 4, 0);
	unmap(SECOND);
	string("fault.outs", rep_outsb, EDGE - 2, 0, 4, 0);
	string("fault.ins", rep_insb, 0, EDGE - 2, 4, 0);
	run_flags = RUN_FLAGS_NONE;
}

/* ---- address sizes ---- */
#ifdef __x86_64__
FRAGMENT(movs_32, "addr32 rep movsb");
FRAGMENT(stos_32, "addr32 rep stosl");
FRAGMENT(rep_stosq, "rep stosq");
FRAGMENT(loop_32, "xor %eax, %eax\n 1: inc %eax\n addr32 loop 1b");
FRAGMENT(jrcxz_32, "xor %eax, %eax\n jecxz 1f\n inc %eax\n 1: nop");

static uint8_t low_buffer[256];

/* Pointers as distances from the buffer, or with the upper half that is left of what they were. */
static void in_buffer(const char *name, code_function *code, word si, word di, word cx, word ax)
{
	regs.si = si;
	regs.di = di;
	regs.cx = cx;
	regs.ax = ax;
	run_user(code);
	fact_of(name, "vector", trap.vector);
	fact_of(name, "cx", regs.cx);
	fact_of(name, "si", si ? regs.si - (word)low_buffer : regs.si);
	fact_of(name, "di", regs.di - (word)low_buffer);
}

static void sizes(void)
{
	for (unsigned i = 0; i < 256; i++)
		low_buffer[i] = (uint8_t)i;
	word low = (word)low_buffer;
	in_buffer("size.movs", movs_32, low | 0xabcdef0100000000, (low + 128) | 0x1234567800000000, 0xffffffff00000004,
		  0);
	in_buffer("size.stos", stos_32, 0, (low + 64) | 0x5500000000000000, 0x100000002, 0x11223344);
	in_buffer("size.movs_zero", movs_32, low | 0xabcdef0100000000, low | 0x1234567800000000, 0xffffffff00000000, 0);
	map(FIRST, frames[0], RW);
	unmap(SECOND);
	string("size.stosq_fault", rep_stosq, 0, EDGE - 17, 10, 0x1122334455667788);
	regs.cx = 0x700000003;
	run_user(loop_32);
	fact("size.loop.ax", regs.ax);
	fact("size.loop.cx", regs.cx);
	regs.cx = 0x700000000;
	run_user(jrcxz_32);
	fact("size.jecxz.ax", regs.ax);
}
#else
FRAGMENT(movs_16, "addr16 rep movsb");
FRAGMENT(loop_16, "xor %eax, %eax\n 1: inc %eax\n addr16 loop 1b");
FRAGMENT(pusha_into, "mov " BX ", " SP "\n pusha");
FRAGMENT(popa_from, "mov " BX ", " SP "\n popa");

static void sizes(void)
{
	/* 16-bit addresses: linear 0-64K is ordinary memory under the identity map. */
	copy_bytes((void *)0x8000, (void *)frames[1], 256);
	string("size.movs", movs_16, 0xabcd8000, 0x12349000, 0x00050010, 0);
	fact("size.movs.value", *(uint32_t *)0x9004);
	string("size.wrap", movs_16, 0xabcdfffe, 0x12349000, 4, 0);
	regs.cx = 0x70003;
	run_user(loop_16);
	fact("size.loop.ax", regs.ax);
	fact("size.loop.cx", regs.cx);
	map(FIRST, frames[0], RW);
	unmap(SECOND);
	fill();
	regs.bx = SECOND + 12;
	run_user(pusha_into);
	fact("pusha.vector", trap.vector << 16 | trap.error);
	fact("pusha.cr2", trap.cr2);
	fact("pusha.sp", trap.sp);
	regs.bx = EDGE - 12;
	run_user(popa_from);
	fact("popa.vector", trap.vector << 16 | trap.error);
	fact("popa.cr2", trap.cr2);
	fact("popa.sp", trap.sp);
}
#endif

/* ---- others that touch much ---- */

FRAGMENT(locked_add, "lock addl $1, (" BX ")");
FRAGMENT(locked_xchg, "mov $0x11223344, %eax\n xchg %eax, (" BX ")");
FRAGMENT(locked_cmpxchg, "mov (" BX "), %eax\n mov $0x55667788, %ecx\n lock cmpxchg %ecx, (" BX ")");
FRAGMENT(locked_cmpxchg8b, "mov (" BX "), %eax\n mov 4(" BX "), %edx\n mov " BX ", " DI
			   "\n mov $1, %ebx\n mov $2, %ecx\n lock cmpxchg8b (" DI ")");
FRAGMENT(locked_xadd, "mov $5, %eax\n lock xadd %eax, (" BX ")");
FRAGMENT(locked_bts, "lock btsl $9, (" BX ")");
FRAGMENT(only_locked_cmpxchg, "xor %eax, %eax\n mov $1, %ecx\n lock cmpxchg %ecx, (" BX ")");
FRAGMENT(only_cmpxchg8b,
	 "xor %eax, %eax\n xor %edx, %edx\n mov " BX ", " DI "\n mov $1, %ebx\n mov $2, %ecx\n cmpxchg8b (" DI ")");
FRAGMENT(enter_deep, "mov " BX ", " SP "\n mov $frame_pointers + 64, " BP "\n enter $16, $3");
FRAGMENT(enter_big, "mov " BX ", " SP "\n enter $4096, $0");
FRAGMENT(push_memory, "mov " BX ", " SP "\n push (" SI ")");
FRAGMENT(pop_memory, "mov " BX ", " SP "\n pop (" SI ")");
FRAGMENT(call_stack, "mov " BX ", " SP "\n call 1f\n 1: nop");
FRAGMENT(leave_bad, "mov " BX ", " BP "\n leave");
FRAGMENT(pop_sp_memory, "mov " BX ", " SP "\n pop (" SP ")\n mov " SP ", " DX);
FRAGMENT(x87_store, "fninit\n fldpi\n fstpt (" BX ")");
FRAGMENT(fnsave_cross, "fninit\n fldpi\n fnsave (" BX ")");
word frame_pointers[16] __attribute__((used));

static void touch(const char *name, code_function *code, word at)
{
	regs.bx = at;
	run_user(code);
	fact_of(name, "vector", trap.vector);
	if (trap.vector != NO_TRAP) {
		fact_of(name, "error", trap.error);
		fact_of(name, "cr2", trap.cr2 - EDGE + 0x1000);
		if (trap.sp - FIRST < 2 * PAGE + 32)
			fact_of(name, "sp", trap.sp - FIRST);
	}
}

static void across(void)
{
	static const struct {
		const char *name;
		code_function *code;
	} table[] = {
	    {"lock.add", locked_add},	      {"lock.xchg", locked_xchg},
	    {"lock.cmpxchg", locked_cmpxchg}, {"lock.cmpxchg8b", locked_cmpxchg8b},
	    {"lock.xadd", locked_xadd},	      {"lock.bts", locked_bts},
	};
	map(FIRST, frames[0], RW);
	map(SECOND, frames[1], RW);
	fill();
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		touch(table[i].name, table[i].code, EDGE - 1);
		fact_of(table[i].name, "low", *(uint32_t *)(frames[0] + PAGE - 4));
		fact_of(table[i].name, "high", *(uint32_t *)frames[1]);
		fact_of(table[i].name, "ax", regs.ax & 0xffffffff);
	}
	map(SECOND, frames[1], PTE_P | PTE_U);
	touch("locked_read_only.add", locked_add, EDGE - 1);
	touch("locked_read_only.cmpxchg", only_locked_cmpxchg, EDGE - 1);
	touch("locked_read_only.cmpxchg8b", only_cmpxchg8b, EDGE - 1);
	touch("locked_read_only.inside", only_locked_cmpxchg, EDGE + 16);
	fact("locked_read_only.low", *(uint32_t *)(frames[0] + PAGE - 4));
	unmap(SECOND);
	touch("locked_absent.xchg", locked_xchg, EDGE - 1);
	touch("locked_absent.xadd", locked_xadd, EDGE - 3);
	fact("locked_absent.low", *(uint32_t *)(frames[0] + PAGE - 4));
	/* Stacks: SP stays where it was when a push or pop faults. */
	touch("stack.enter", enter_deep, EDGE + 4 * sizeof(word) - 8);
	touch("stack.enter_big", enter_big, EDGE);
	touch("stack.call", call_stack, EDGE + 4);
	touch("stack.leave", leave_bad, EDGE + 4);
	regs.si = EDGE;
	touch("stack.push_memory", push_memory, EDGE);
	regs.si = FIRST;
	touch("stack.push_memory_2", push_memory, EDGE + 4);
	regs.si = EDGE;
	touch("stack.pop_memory", pop_memory, EDGE - 64);
	regs.si = FIRST;
	touch("stack.pop_memory_2", pop_memory, EDGE);
	touch("x87.store", x87_store, EDGE - 4);
	*(uint32_t *)(frames[0] + PAGE - 4) = 0x5aa55aa5;
	touch("x87.save", fnsave_cross, EDGE - 100);
	fact("x87.left_behind", *(uint32_t *)(frames[0] + PAGE - 4));
	map(SECOND, frames[1], RW);
	fill();
	touch("x87.store_across", x87_store, EDGE - 4);
	fact("x87.low", *(uint32_t *)(frames[0] + PAGE - 4));
	fact("x87.high", *(uint32_t *)frames[1]);
}

void guest_main(void)
{
	for (unsigned i = 0; i < 4; i++)
		frames[i] = (word)page_alloc();
#ifndef __x86_64__
	paging_start(PAGING_PAE);
#endif
	faults();
	results();
	sizes();
	across();
}
