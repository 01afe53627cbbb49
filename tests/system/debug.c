/* SPDX-License-Identifier: MIT */
/* Single-step and the debug registers: where #DB comes, what DR6 says, what RF and shadows hold back. */
#include "guest.h"

#define LOG_SIZE 32
#define DR6_CLEAR 0xffff0ff0

#ifdef __x86_64__
#define W "q"
#else
#define W "l"
#endif

static struct {
	word ip, dr6, flags;
} log[LOG_SIZE];
static unsigned log_count;
static bool set_rf;   /* the hook sets RF in the frame */
static bool clear_tf; /* the hook ends single-stepping */

static bool note_debug(struct frame *frame)
{
	if (frame->vector == 99) /* a handler like any other: returns */
		return true;
	if (frame->vector != 1)
		return false;
	if (log_count < LOG_SIZE) {
		log[log_count].ip = frame->ip;
		log[log_count].dr6 = read_dr6();
		log[log_count].flags = frame->flags;
	}
	log_count++;
	write_dr6(DR6_CLEAR);
	if (set_rf)
		frame->flags |= FLAG_RF;
	if (clear_tf)
		frame->flags &= ~FLAG_TF;
	return log_count < 2 * LOG_SIZE;
}

/* Every trap's place and DR6, and how the run ended. */
static void report(const char *name, code_function *code)
{
	char entry[] = "00.ip";

	fact_of(name, "count", log_count);
	for (unsigned i = 0; i < log_count && i < LOG_SIZE; i++) {
		entry[0] = (char)('0' + i / 10);
		entry[1] = (char)('0' + i % 10);
		entry[3] = 'i';
		entry[4] = 'p';
		fact_of(name, entry, log[i].ip - (word)code < 4096 ? log[i].ip - (word)code : 0xffff);
		entry[3] = 'd';
		entry[4] = 'r';
		fact_of(name, entry, log[i].dr6 & 0xffff);
	}
	fact_of(name, "end", trap.vector);
	if (trap.vector != NO_TRAP)
		fact_of(name, "end_ip", trap.ip - (word)code);
}

static void begin(void)
{
	log_count = 0;
	write_dr6(DR6_CLEAR);
	trap_hook = note_debug;
}

static void traced(const char *name, code_function *code)
{
	begin();
	run(code);
	trap_hook = NULL;
	write_dr7(0x400);
	report(name, code);
}

static void traced_user(const char *name, code_function *code)
{
	begin();
	run_user(code);
	trap_hook = NULL;
	write_dr7(0x400);
	report(name, code);
}

#define TF_ON "pushf" W "\n or" W " $0x100, (" SP ")\n popf" W "\n"
#define TF_OFF "pushf" W "\n and" W " $~0x100, (" SP ")\n popf" W "\n nop\n"

uint8_t buffer[64] __attribute__((aligned(64)));

FRAGMENT(
    step_plain, TF_ON
    "nop\n mov $1, %eax\n add $2, %eax\n jmp 1f\n nop\n 1: test %eax, %eax\n je 1b\n jne 2f\n nop\n 2: nop\n" TF_OFF);
FRAGMENT(step_call, TF_ON "call 1f\n jmp 2f\n 1: ret\n 2: nop\n" TF_OFF);
FRAGMENT(step_indirect, "mov $1f, " BX "\n" TF_ON "call *" BX "\n jmp 2f\n 1: ret\n 2: nop\n" TF_OFF);
FRAGMENT(step_mov_ss, "mov %ss, %eax\n" TF_ON "mov %eax, %ss\n nop\n nop\n" TF_OFF);
FRAGMENT(step_mov_ss_twice, "mov %ss, %eax\n" TF_ON "mov %eax, %ss\n mov %eax, %ss\n nop\n nop\n" TF_OFF);
FRAGMENT(step_mov_ds, "mov %ds, %eax\n" TF_ON "mov %eax, %ds\n nop\n" TF_OFF);
FRAGMENT(step_rep, "mov $buffer, " SI "\n mov $buffer + 16, " DI "\n mov $3, %ecx\n" TF_ON "rep movsb\n nop\n" TF_OFF);
FRAGMENT(step_rep_zero,
	 "mov $buffer, " SI "\n mov $buffer + 16, " DI "\n xor %ecx, %ecx\n" TF_ON "rep movsb\n nop\n" TF_OFF);
FRAGMENT(step_repe_cmps,
	 "mov $buffer, " SI "\n mov $buffer, " DI "\n mov $3, %ecx\n" TF_ON "repe cmpsb\n nop\n" TF_OFF);
FRAGMENT(step_loop, "mov $3, %ecx\n" TF_ON "1: loop 1b\n nop\n" TF_OFF);
FRAGMENT(step_sti, TF_ON "sti\n nop\n cli\n" TF_OFF);
FRAGMENT(step_system,
	 TF_ON "mov %cr0, " AX "\n mov " AX ", %cr0\n mov %cr3, " AX "\n mov " AX ", %cr3\n cpuid\n rdtsc\n" TF_OFF);
FRAGMENT(step_io, "mov $0x80, %dx\n" TF_ON "in %dx, %al\n out %al, %dx\n nop\n" TF_OFF);
FRAGMENT(step_fpu, "fninit\n" TF_ON "fld1\n fstp %st(0)\n pxor %xmm0, %xmm0\n movups %xmm0, buffer\n" TF_OFF);
FRAGMENT(step_locked, TF_ON "lock incl buffer\n xchg %eax, buffer\n lock cmpxchg %ecx, buffer\n" TF_OFF);
FRAGMENT(step_int, TF_ON "nop\n int $99\n nop\n nop\n" TF_OFF);
FRAGMENT(step_int3, TF_ON "nop\n int3\n nop\n");
FRAGMENT(step_fault, TF_ON "nop\n ud2\n");
FRAGMENT(step_divide, "xor %ecx, %ecx\n" TF_ON "nop\n div %ecx\n");
FRAGMENT(step_icebp, TF_ON "nop\n .byte 0xf1\n nop\n nop\n" TF_OFF);
FRAGMENT(step_prefix, TF_ON "lock incl buffer\n .byte 0x66, 0x90\n .byte 0x2e, 0x90\n" TF_OFF);
FRAGMENT(step_hlt_free, TF_ON "pause\n lfence\n mfence\n wbinvd\n nop\n" TF_OFF);
FRAGMENT(step_dr7, "mov $0x400, %eax\n" TF_ON "mov " AX ", %dr7\n nop\n" TF_OFF);
#ifdef __x86_64__
FRAGMENT(step_iret, "mov %rsp, %rax\n mov %ss, %ecx\n push %rcx\n push %rax\n pushfq\n orq $0x100, (%rsp)\n mov %cs, "
		    "%ecx\n push %rcx\n push $1f\n"
		    "iretq\n 1: nop\n nop\n" TF_OFF);
#else
FRAGMENT(step_iret, "pushfl\n orl $0x100, (%esp)\n push %cs\n push $1f\n iretl\n 1: nop\n nop\n" TF_OFF);
FRAGMENT(step_pop_ss, "push %ss\n" TF_ON "pop %ss\n nop\n nop\n" TF_OFF);
FRAGMENT(step_into, TF_ON "xor %eax, %eax\n into\n nop\n" TF_OFF);
#endif

static void single_step(void)
{
	static const struct {
		const char *name;
		code_function *code;
	} table[] = {
	    {"tf.plain", step_plain},
	    {"tf.call", step_call},
	    {"tf.indirect", step_indirect},
	    {"tf.mov_ss", step_mov_ss},
	    {"tf.mov_ss_twice", step_mov_ss_twice},
	    {"tf.mov_ds", step_mov_ds},
	    {"tf.rep", step_rep},
	    {"tf.rep_zero", step_rep_zero},
	    {"tf.repe_cmps", step_repe_cmps},
	    {"tf.loop", step_loop},
	    {"tf.sti", step_sti},
	    {"tf.system", step_system},
	    {"tf.io", step_io},
	    {"tf.fpu", step_fpu},
	    {"tf.locked", step_locked},
	    {"tf.int", step_int},
	    {"tf.int3", step_int3},
	    {"tf.fault", step_fault},
	    {"tf.divide", step_divide},
	    {"tf.icebp", step_icebp},
	    {"tf.prefix", step_prefix},
	    {"tf.fences", step_hlt_free},
	    {"tf.dr7", step_dr7},
	    {"tf.iret", step_iret},
#ifndef __x86_64__
	    {"tf.pop_ss", step_pop_ss},
	    {"tf.into", step_into},
#endif
	};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		traced(table[i].name, table[i].code);
	traced_user("tf.user", step_plain);
	traced_user("tf.user_rep", step_rep);
	clear_tf = true;
	traced("tf.cleared_by_handler", step_plain);
	clear_tf = false;
	begin();
	run(step_fault);
	trap_hook = NULL;
	fact("tf.pushed_flags", trap.flags & (FLAG_TF | FLAG_RF));
	fact("tf.step_flags", log[0].flags & (FLAG_TF | FLAG_RF));
}

/* ---- breakpoints ---- */

extern char bp_here[], bp_rep[], bp_shadow[], bp_loop[];
FRAGMENT(bp_execute, "mov $1, %eax\n bp_here: mov $2, %ecx\n nop\n nop");
FRAGMENT(bp_on_rep, "mov $buffer, " SI "\n mov $buffer + 16, " DI "\n mov $3, %ecx\n bp_rep: rep movsb\n nop");
FRAGMENT(bp_after_ss, "mov %ss, %eax\n mov %eax, %ss\n bp_shadow: nop\n nop");
FRAGMENT(bp_in_loop, "mov $3, %ecx\n bp_loop: nop\n dec %ecx\n jnz bp_loop");
FRAGMENT(store_1, "movb $1, (" BX ")\n nop\n nop");
FRAGMENT(store_2, "movw $1, (" BX ")\n nop\n nop");
FRAGMENT(store_4, "movl $1, (" BX ")\n nop\n nop");
FRAGMENT(load_4, "movl (" BX "), %eax\n nop\n nop");
FRAGMENT(modify_4, "incl (" BX ")\n nop\n nop");
FRAGMENT(store_sse, "movups %xmm0, (" BX ")\n nop\n nop");
FRAGMENT(store_push, "mov " SP ", " DX "\n mov " BX ", " SP "\n push " AX "\n mov " DX ", " SP "\n nop");
FRAGMENT(store_rep, "mov " BX ", " DI "\n mov $16, %ecx\n xor %eax, %eax\n rep stosb\n nop");
FRAGMENT(load_rep, "mov " BX ", " SI "\n mov $buffer + 32, " DI "\n mov $16, %ecx\n rep movsb\n nop");
FRAGMENT(store_after_ss, "mov %ss, %eax\n mov %eax, %ss\n movb $1, (" BX ")\n nop\n nop");
FRAGMENT(compare_none, "xor %eax, %eax\n movl $5, (" BX ")\n nop\n cmpxchg %ecx, (" BX ")\n nop\n nop");
FRAGMENT(touch_dr7, "mov %dr7, " AX "\n nop");
FRAGMENT(touch_dr0, "nop\n mov " AX ", %dr0\n nop");
FRAGMENT(out_80, "mov $0x80, %dx\n out %al, %dx\n nop\n in %dx, %al\n nop");

#define DR7(slot, rw, len)                                                                                             \
	(0x400ul | 2ul << (2 * (slot)) | (word)(rw) << (16 + 4 * (slot)) | (word)(len) << (18 + 4 * (slot)))
#define RW_EXECUTE 0
#define RW_WRITE 1
#define RW_IO 2
#define RW_ACCESS 3
#define LEN_1 0
#define LEN_2 1
#define LEN_4 3
#define LEN_8 2

static void execute_breakpoints(void)
{
	set_rf = true;
	write_dr0((word)bp_here);
	write_dr7(DR7(0, RW_EXECUTE, LEN_1));
	traced("bp.execute", bp_execute);
	fact("bp.execute.rf", log[0].flags & FLAG_RF);
	write_dr7(0x401); /* local enable */
	traced("bp.execute_local", bp_execute);
	write_dr7(DR7(0, RW_EXECUTE, LEN_1));
	traced_user("bp.execute_user", bp_execute);
	write_dr7(0x400);
	traced("bp.execute_off", bp_execute);
	/* In the middle of an instruction: nothing. */
	write_dr0((word)bp_here + 1);
	write_dr7(DR7(0, RW_EXECUTE, LEN_1));
	traced("bp.execute_inside", bp_execute);
	write_dr0((word)bp_rep);
	write_dr7(DR7(0, RW_EXECUTE, LEN_1));
	traced("bp.execute_rep", bp_on_rep);
	write_dr0((word)bp_loop);
	write_dr7(DR7(0, RW_EXECUTE, LEN_1));
	traced("bp.execute_loop", bp_in_loop);
	/* Without RF it comes again and again: the hook ends it. */
	set_rf = false;
	write_dr0((word)bp_here);
	write_dr7(DR7(0, RW_EXECUTE, LEN_1));
	begin();
	run(bp_execute);
	trap_hook = NULL;
	write_dr7(0x400);
	fact("bp.execute_no_rf.count", log_count);
	fact("bp.execute_no_rf.end", trap.vector);
	set_rf = true;
	write_dr0((word)bp_shadow);
	write_dr7(DR7(0, RW_EXECUTE, LEN_1));
	traced("bp.execute_shadow", bp_after_ss);
	/* Two at once: another register at the same place. */
	write_dr0((word)bp_here);
	__asm__ volatile("mov %0, %%dr3" : : "r"((word)bp_here));
	write_dr7(DR7(0, RW_EXECUTE, LEN_1) | DR7(3, RW_EXECUTE, LEN_1));
	traced("bp.execute_two", bp_execute);
	set_rf = false;
}

static void data(const char *name, code_function *code, word at, word watched, unsigned rw, unsigned len)
{
	write_dr0(watched);
	write_dr7(DR7(0, rw, len));
	regs.bx = at;
	traced(name, code);
}

static void data_breakpoints(void)
{
	word b = (word)buffer;

	data("bp.write_1", store_1, b, b, RW_WRITE, LEN_1);
	data("bp.write_other", store_1, b + 1, b, RW_WRITE, LEN_1);
	data("bp.write_in_4", store_1, b + 3, b, RW_WRITE, LEN_4);
	data("bp.write_after_4", store_1, b + 4, b, RW_WRITE, LEN_4);
	data("bp.write_4_on_1", store_4, b, b + 3, RW_WRITE, LEN_1);
	data("bp.write_4_unaligned", store_4, b + 1, b + 4, RW_WRITE, LEN_2);
	data("bp.write_2", store_2, b + 1, b + 2, RW_WRITE, LEN_2);
	data("bp.address_masked", store_1, b, b + 3, RW_WRITE, LEN_4);
	data("bp.write_by_load", load_4, b, b, RW_WRITE, LEN_4);
	data("bp.access_by_load", load_4, b, b, RW_ACCESS, LEN_4);
	data("bp.access_by_store", store_4, b, b, RW_ACCESS, LEN_4);
	data("bp.write_modify", modify_4, b, b, RW_WRITE, LEN_4);
	data("bp.write_sse", store_sse, b + 1, b + 16, RW_WRITE, LEN_1);
	data("bp.write_rep", store_rep, b, b + 4, RW_WRITE, LEN_1);
	data("bp.access_rep", load_rep, b, b + 4, RW_ACCESS, LEN_2);
	data("bp.write_shadow", store_after_ss, b, b, RW_WRITE, LEN_1);
	data("bp.cmpxchg", compare_none, b + 16, b + 16, RW_WRITE, LEN_4);
	if (IS64) {
		data("bp.write_8", store_1, b + 7, b, RW_WRITE, LEN_8);
		data("bp.write_8_after", store_1, b + 8, b, RW_WRITE, LEN_8);
	}
	/* User mode; disabled. */
	write_dr0(b);
	write_dr7(DR7(0, RW_WRITE, LEN_4));
	regs.bx = b;
	traced_user("bp.user", store_4);
	write_dr0(b + 32 - sizeof(word));
	write_dr7(DR7(0, RW_WRITE, LEN_4));
	regs.bx = b + 32;
	traced_user("bp.push", store_push);
	write_dr0(b);
	write_dr7(0x400 | 1ul << 16 | 3ul << 18);
	regs.bx = b;
	traced("bp.disabled", store_4);
	fact("bp.memory", *(uint32_t *)(void *)buffer);
}

static void control(void)
{
	word value;

	write_dr6(0);
	fact("dr6.zero", read_dr6());
	write_dr6(0xffffffff);
	fact("dr6.ones", read_dr6());
	write_dr6(DR6_CLEAR);
	__asm__ volatile("mov %0, %%dr7\n mov %%dr7, %0" : "=r"(value) : "0"(0ul));
	fact("dr7.zero", value);
	__asm__ volatile("mov %0, %%dr7\n mov %%dr7, %0" : "=r"(value) : "0"(0xffff03fful & ~0xfful));
	fact("dr7.ones", value);
	write_dr7(0x400);
	write_dr0((word)-1);
	__asm__ volatile("mov %%dr0, %0" : "=r"(value));
	fact("dr0", value);
	/* GD: any access faults, with BD, and the handler finds GD clear. */
	begin(); /* before: it touches DR6 */
	write_dr7(0x2400);
	run(touch_dr7);
	trap_hook = NULL;
	report("gd.read", touch_dr7);
	fact("gd.dr7_after", regs.ax);
	begin();
	write_dr7(0x2400);
	run(touch_dr0);
	trap_hook = NULL;
	report("gd.write", touch_dr0);
	/* I/O breakpoints want CR4.DE. */
	write_cr4(read_cr4() | CR4_DE);
	data("io.out", out_80, 0, 0x80, RW_IO, LEN_1);
	data("io.other", out_80, 0, 0x84, RW_IO, LEN_4);
	data("io.range", out_80, 0, 0x83, RW_IO, LEN_4);
	write_cr4(read_cr4() & ~CR4_DE);
}

void guest_main(void)
{
	single_step();
	execute_breakpoints();
	data_breakpoints();
	control();
}
