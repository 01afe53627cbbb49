/* SPDX-License-Identifier: MIT */
/*
 * Hardware task switches: by CALL, JMP, IRET, exceptions and INT n, straight and through task gates, to TSSs of 16 and
 * 32 bits; what is saved and loaded, nesting, and the faults before and after the switch.
 */
#include "guest.h"

#define TASK (FREE_SELECTOR + 0x00)
#define TASK_GATE (FREE_SELECTOR + 0x08)
#define SECOND (FREE_SELECTOR + 0x10)
#define CODE16 (FREE_SELECTOR + 0x18)
#define LDT (FREE_SELECTOR + 0x20)
#define ODD (FREE_SELECTOR + 0x28) /* what a test makes of it */
#define OUTSIDE 0x1f80
#define TSS_32 0x89
#define TSS_16 0x81

struct tss32 {
	uint32_t link, esp0, ss0, rest[4], cr3, eip, eflags, gpr[8], segment[6], ldt;
	uint16_t trap, io_map;
} __attribute__((packed));

struct tss16 {
	uint16_t link, sp0, ss0, rest[4], ip, flags, gpr[8], segment[4], ldt;
} __attribute__((packed));

static struct tss32 task __attribute__((aligned(256))), second __attribute__((aligned(256)));
static struct tss16 task16 __attribute__((aligned(256)));
static uint32_t seen[24] __attribute__((used));
static uint8_t task_stack[3][4096] __attribute__((aligned(16)));
static uint64_t ldt[2] __attribute__((aligned(8)));

static struct {
	uint32_t ip;
	uint16_t selector;
} __attribute__((packed)) far __attribute__((used));

#define NOTE                                                                                                           \
	"mov %eax, seen\n mov %ecx, seen + 4\n mov %edx, seen + 8\n mov %ebx, seen + 12\n mov %esp, seen + 16\n"       \
	"mov %ebp, seen + 20\n mov %esi, seen + 24\n mov %edi, seen + 28\n pushfl\n popl seen + 32\n"                  \
	"str %eax\n mov %eax, seen + 36\n mov %cr0, %eax\n mov %eax, seen + 40\n mov %cs, %eax\n mov %eax, seen + "    \
	"44\n"                                                                                                         \
	"mov %ss, %eax\n mov %eax, seen + 48\n mov %ds, %eax\n mov %eax, seen + 52\n mov %es, %eax\n"                  \
	"mov %eax, seen + 56\n mov %fs, %eax\n mov %eax, seen + 60\n mov %gs, %eax\n mov %eax, seen + 64\n"            \
	"sldt %eax\n mov %eax, seen + 68\n mov %dr7, %eax\n mov %eax, seen + 76\n mov seen, %eax\n"

FRAGMENT(far_call, "lcall *far");
FRAGMENT(far_jump, "ljmp *far\n nop");
FRAGMENT(int_99, "int $99");
FRAGMENT(iret_nt, "pushfl\n orl $0x4000, (%esp)\n popfl\n iretl");
FRAGMENT(bad_es, "mov %eax, %es\n nop");
FRAGMENT(do_ud2, "ud2");
FRAGMENT(clear_ts, "clts");
FRAGMENT(load_tr, "ltr %ax");
FRAGMENT(load_ldt, "lldt %ax");
FRAGMENT(end_here, "int $0x80");
FRAGMENT(note_iret, NOTE "iretl\n int $0x80");
FRAGMENT(note_jump_back, NOTE "ljmp $0x38, $0\n int $0x80");
FRAGMENT(note_call_second, NOTE "lcall $0x60, $0\n iretl\n int $0x80");
FRAGMENT(second_iret, "str %eax\n mov %eax, seen + 84\n mov second, %eax\n mov %eax, seen + 88\n iretl\n int $0x80");
/* A handler of #GP: takes the error code and returns behind the faulting instruction of two bytes. */
FRAGMENT(note_error, "popl seen + 80\n" NOTE "addl $2, tss + 32\n iretl\n int $0x80");
FRAGMENT(note_error16, "xor %eax, %eax\n pop %ax\n mov %eax, seen + 80\n addl $2, tss + 32\n iretl");

static unsigned type_of(unsigned selector)
{
	return (unsigned)(gdt[selector >> 3] >> 40) & 15;
}

/* Addresses as distances from what is the same for all three. */
static word placed(word value, code_function *code)
{
	if (value - (word)code < 256)
		return 0x1000 + value - (word)code;
	if (value - (word)task_stack < sizeof(task_stack))
		return 0x20000 + value - (word)task_stack;
	if (resume_sp - value < 64)
		return 0x3000 + resume_sp - value;
	return value;
}

/* Back in the first task after whatever happened. */
static void tasks_reset(void)
{
	gdt_set(TSS_SELECTOR, descriptor((uint32_t)(word)&tss, sizeof(tss) - 1, TSS_32, 0));
	regs = (struct regs){.ax = TSS_SELECTOR};
	run(load_tr);
	regs.ax = 0;
	run(load_ldt);
	run(clear_ts);
	write_dr7(0x400);
	write_dr6(0xffff0ff0);
	tss.link = 0;
	tss.trap = 0;
	gdt_set(TASK, descriptor((uint32_t)(word)&task, sizeof(task) - 1, TSS_32, 0));
	gdt_set(SECOND, descriptor((uint32_t)(word)&second, sizeof(second) - 1, TSS_32, 0));
	gdt_set(CODE16, descriptor(0, 0xfffff, 0x9b, 0x8));
	gdt_set(LDT, descriptor((uint32_t)(word)ldt, sizeof(ldt) - 1, 0x82, 0));
	gdt_set(TASK_GATE, gate(0, TASK, GATE_TASK, 0).low);
	fill_bytes(seen, 0xee, sizeof(seen));
	regs = (struct regs){.ax = 0xa1a1a1a1,
			     .cx = 0xc1c1c1c1,
			     .dx = 0xd1d1d1d1,
			     .bx = 0xb1b1b1b1,
			     .bp = 0xb2b2b2b2,
			     .si = 0x51515151,
			     .di = 0xd2d2d2d2};
}

static void task_make(struct tss32 *made, code_function *code, uint8_t *stack)
{
	*made = (struct tss32){.link = 0xdeadbeef,
			       .esp0 = (word)trap_stack_top - 4096,
			       .ss0 = KERNEL_DATA,
			       .cr3 = read_cr3(),
			       .eip = (word)code,
			       .eflags = 0x8d7 & ~FLAG_TF,
			       .gpr = {0x10, 0x11, 0x12, 0x13, (word)stack + 4096, 0x15, 0x16, 0x17},
			       .segment = {KERNEL_DATA, KERNEL_CODE, KERNEL_DATA, KERNEL_DATA, KERNEL_DATA, USER_DATA},
			       .io_map = sizeof(*made)};
}

/* A 16-bit instruction pointer reaches the code by its segment's base. */
static void task16_make(code_function *code)
{
	task16 = (struct tss16){.link = 0xdead,
				.sp0 = 0xfff0,
				.ss0 = KERNEL_DATA,
				.ip = 0,
				.flags = 0x8d7 & ~FLAG_TF,
				.gpr = {0x8010, 0x8011, 0x8012, 0x8013, 0x1000, 0x8015, 0x8016, 0x8017},
				.segment = {KERNEL_DATA, CODE16, ODD, KERNEL_DATA}};
	gdt_set(CODE16, descriptor((uint32_t)(word)code, 0xfff, 0x9b, 0x4));
	gdt_set(ODD, descriptor((uint32_t)(word)task_stack[0], 0xffff, 0x93, 0));
	gdt_set(TASK, descriptor((uint32_t)(word)&task16, sizeof(task16) - 1, TSS_16, 0));
}

/* What the new task saw when it started. */
static void seen_facts(const char *group, code_function *code)
{
	static const char *const names[] = {"ax", "cx",	 "dx", "bx", "sp", "bp", "si", "di", "flags",
					    "tr", "cr0", "cs", "ss", "ds", "es", "fs", "gs", "ldt"};
	for (unsigned i = 0; i < 18; i++)
		fact_of(group, names[i], placed(seen[i], code));
	fact_of(group, "dr7", seen[19]);
}

/* What the old task's TSS, the descriptors and the processor are like afterwards. */
static void after_facts(const char *group, code_function *code)
{
	static const char *const names[] = {"saved_ax", "saved_cx", "saved_dx", "saved_bx",
					    "saved_sp", "saved_bp", "saved_si", "saved_di"};
	static const char *const segments[] = {"saved_es", "saved_cs", "saved_ss", "saved_ds", "saved_fs", "saved_gs"};

	fact_of(group, "vector", trap.vector);
	fact_of(group, "back_tr", ({
			uint32_t selector;
			__asm__ volatile("str %0" : "=r"(selector));
			selector;
		}));
	fact_of(group, "back_cr0", read_cr0());
	fact_of(group, "back_flags", regs.flags);
	fact_of(group, "back_ax", regs.ax);
	fact_of(group, "back_di", regs.di);
	fact_of(group, "old_type", type_of(TSS_SELECTOR));
	fact_of(group, "new_type", type_of(TASK));
	fact_of(group, "saved_ip", placed(tss.eip, code));
	fact_of(group, "saved_flags", tss.eflags);
	for (unsigned i = 0; i < 8; i++)
		fact_of(group, names[i], placed(tss.gpr[i], code));
	for (unsigned i = 0; i < 6; i++)
		fact_of(group, segments[i], tss.segment[i]);
}

static void task_facts(const char *group)
{
	fact_of(group, "link", task.link);
	fact_of(group, "task_ip", placed(task.eip, (code_function *)task.rest[0]));
	fact_of(group, "task_flags", task.eflags);
	fact_of(group, "task_ax", task.gpr[0]);
	fact_of(group, "task_sp", placed(task.gpr[4], NULL));
}

static void task16_facts(const char *group)
{
	fact_of(group, "link", task16.link);
	fact_of(group, "task_ip", task16.ip);
	fact_of(group, "task_flags", task16.flags);
	fact_of(group, "task_ax", task16.gpr[0]);
	fact_of(group, "task_sp", task16.gpr[4]);
	fact_of(group, "task_es", task16.segment[0]);
	fact_of(group, "task_cs", task16.segment[1]);
}

static void switch_once(const char *group, code_function *code, code_function *there, unsigned selector)
{
	task_make(&task, there, task_stack[0]);
	task.rest[0] = (word)there;
	far.selector = (uint16_t)selector;
	fill_bytes(&tss.eip, 0x77, sizeof(uint32_t) * 16);
	run(code);
	after_facts(group, code);
	seen_facts(group, there);
	task_facts(group);
	tasks_reset();
}

static void switch_once16(const char *group, code_function *code, code_function *there, unsigned selector)
{
	task16_make(there);
	far.selector = (uint16_t)selector;
	run(code);
	after_facts(group, code);
	seen_facts(group, there);
	task16_facts(group);
	tasks_reset();
}

static void ways(void)
{
	struct gate saved = idt[99], saved_gp = idt[13];

	tasks_reset();
	switch_once("call", far_call, note_iret, TASK);
	switch_once("call_gate", far_call, note_iret, TASK_GATE);
	switch_once("jump", far_jump, note_jump_back, TASK);
	switch_once("jump_gate", far_jump, note_jump_back, TASK_GATE);
	idt[99] = gate(0, TASK, GATE_TASK, 0);
	switch_once("int", int_99, note_iret, 0);
	switch_once16("int16", int_99, note_iret, 0);
	idt[99] = saved;
	idt[13] = gate(0, TASK, GATE_TASK, 0);
	regs.ax = OUTSIDE;
	switch_once("gp", bad_es, note_error, 0);
	fact("gp.code", seen[20]);
	regs.ax = OUTSIDE;
	task16_make(note_error16);
	run(bad_es);
	fact("gp16.code", seen[20]);
	fact("gp16.saved_flags", tss.eflags);
	fact("gp16.task_sp", task16.gpr[4]);
	tasks_reset();
	idt[13] = saved_gp;
	switch_once16("call16", far_call, note_iret, TASK);
	switch_once16("call16_gate", far_call, note_iret, TASK_GATE);
}

/* Three deep, and out again by IRET; through a 16-bit task as well. */
static void nesting(void)
{
	task_make(&second, second_iret, task_stack[1]);
	task_make(&task, note_call_second, task_stack[0]);
	far.selector = TASK;
	run(far_call);
	fact("nest.vector", trap.vector);
	fact("nest.second_tr", seen[21]);
	fact("nest.second_link", seen[22] & 0xffff);
	fact("nest.task_flags", task.eflags);
	fact("nest.second_flags", second.eflags);
	fact("nest.types", type_of(TSS_SELECTOR) << 8 | type_of(TASK) << 4 | type_of(SECOND));
	tasks_reset();

	task_make(&second, second_iret, task_stack[1]);
	task16_make(note_call_second);
	far.selector = TASK;
	run(far_call);
	fact("nest16.vector", trap.vector);
	fact("nest16.second_tr", seen[21]);
	fact("nest16.second_link", seen[22] & 0xffff);
	fact("nest16.second_flags", second.eflags);
	fact("nest16.types", type_of(TSS_SELECTOR) << 8 | type_of(TASK) << 4 | type_of(SECOND));
	task16_facts("nest16");
	tasks_reset();
}

/* ---- privilege ---- */

static void user_call(const char *name, unsigned selector)
{
	task_make(&task, note_iret, task_stack[0]);
	far.selector = (uint16_t)selector;
	run_user(far_call);
	fact_of(name, "vector", trap.vector);
	fact_of(name, "error", trap.error);
	fact_of(name, "cs", seen[11]);
	fact_of(name, "saved_cs", tss.segment[1] & 0xffff);
	tasks_reset();
}

static void privilege(void)
{
	struct gate saved = idt[99];

	user_call("user.call", TASK);
	user_call("user.gate", TASK_GATE);
	gdt_set(TASK, descriptor((uint32_t)(word)&task, sizeof(task) - 1, TSS_32 | 0x60, 0));
	user_call("user.call3", TASK | 3);
	gdt_set(TASK_GATE, gate(0, TASK, GATE_TASK | GATE_DPL3, 0).low);
	user_call("user.gate3", TASK_GATE | 3);
	idt[99] = gate(0, TASK, GATE_TASK, 0);
	task_make(&task, note_iret, task_stack[0]);
	run_user(int_99);
	fact("user.int.vector", trap.vector);
	fact("user.int.error", trap.error);
	tasks_reset();
	idt[99] = gate(0, TASK, GATE_TASK | GATE_DPL3, 0);
	task_make(&task, note_iret, task_stack[0]);
	run_user(int_99);
	fact("user.int3.vector", trap.vector);
	fact("user.int3.cs", seen[11]);
	fact("user.int3.saved_cs", tss.segment[1] & 0xffff);
	fact("user.int3.saved_ss", tss.segment[2] & 0xffff);
	idt[99] = saved;
	tasks_reset();
	far.selector = TASK | 1; /* RPL above the TSS's DPL */
	task_make(&task, note_iret, task_stack[0]);
	outcome("kernel.rpl", far_call);
	tasks_reset();
	/* To a task at CPL 3. */
	task_make(&task, end_here, task_stack[0]);
	task.segment[1] = USER_CODE;
	task.segment[0] = task.segment[2] = task.segment[3] = task.segment[4] = USER_DATA;
	far.selector = TASK;
	run(far_call);
	fact("to_user.vector", trap.vector);
	fact("to_user.cs", trap.cs);
	fact("to_user.ss", trap.ss);
	fact("to_user.flags", trap.flags);
	tasks_reset();
}

/* ---- faults of the old task ---- */

static void old_fault(const char *name, code_function *code)
{
	run(code);
	fact_of(name, "vector", trap.vector);
	fact_of(name, "error", trap.error);
	fact_of(name, "ip", trap.ip - (word)code);
	fact_of(name, "old_type", type_of(TSS_SELECTOR));
	fact_of(name, "new_type", type_of(TASK));
	tasks_reset();
	task_make(&task, note_iret, task_stack[0]);
	far.selector = TASK;
}

static void with_tss(const char *name, uint32_t limit, unsigned access)
{
	char full[32];
	static const char *const ways[] = {"call", "jump", "gate", "int", "ud"};
	static code_function *const codes[] = {far_call, far_jump, far_call, int_99, do_ud2};
	struct gate saved = idt[99], saved_ud = idt[6];
	unsigned length = 0;

	while (name[length]) {
		full[length] = name[length];
		length++;
	}
	full[length++] = '.';
	idt[99] = idt[6] = gate(0, TASK, GATE_TASK, 0);
	for (unsigned i = 0; i < 5; i++) {
		unsigned at = length;
		for (const char *c = ways[i]; *c; c++)
			full[at++] = *c;
		full[at] = 0;
		gdt_set(TASK, descriptor((uint32_t)(word)&task, limit, access, 0));
		far.selector = i == 2 ? TASK_GATE : TASK;
		old_fault(full, codes[i]);
	}
	idt[99] = saved;
	idt[6] = saved_ud;
}

static void old_faults(void)
{
	task_make(&task, note_iret, task_stack[0]);
	with_tss("busy", sizeof(task) - 1, 0x8b);
	with_tss("absent", sizeof(task) - 1, 0x09);
	with_tss("small", sizeof(task) - 2, TSS_32);
	with_tss("small16", sizeof(task16) - 2, TSS_16);
	with_tss("data", sizeof(task) - 1, 0x93);
	with_tss("ldt", sizeof(task) - 1, 0x82);
	gdt_set(TASK_GATE, gate(0, TASK, GATE_TASK & ~0x80u, 0).low);
	far.selector = TASK_GATE;
	old_fault("gate_absent", far_call);
	gdt_set(TASK_GATE, gate(0, OUTSIDE, GATE_TASK, 0).low);
	far.selector = TASK_GATE;
	old_fault("gate_outside", far_call);
	gdt_set(TASK_GATE, gate(0, 0, GATE_TASK, 0).low);
	far.selector = TASK_GATE;
	old_fault("gate_null", far_call);
	gdt_set(TASK_GATE, gate(0, TASK | 4, GATE_TASK, 0).low);
	far.selector = TASK_GATE;
	old_fault("gate_ldt", far_call);
}

static void link_fault(const char *name, unsigned link, uint32_t limit, unsigned access)
{
	gdt_set(TASK, descriptor((uint32_t)(word)&task, limit, access, 0));
	tss.link = link;
	old_fault(name, iret_nt);
}

static void links(void)
{
	link_fault("iret.available", TASK, sizeof(task) - 1, TSS_32);
	link_fault("iret.absent", TASK, sizeof(task) - 1, 0x0b);
	link_fault("iret.small", TASK, sizeof(task) - 2, 0x8b);
	link_fault("iret.data", TASK, sizeof(task) - 1, 0x93);
	link_fault("iret.outside", OUTSIDE, sizeof(task) - 1, 0x8b);
	link_fault("iret.null", 0, sizeof(task) - 1, 0x8b);
	link_fault("iret.ldt", TASK | 4, sizeof(task) - 1, 0x8b);
	/* To a busy task that never called: as good as any other. */
	gdt_set(TASK, descriptor((uint32_t)(word)&task, sizeof(task) - 1, 0x8b, 0));
	tss.link = TASK;
	task_make(&task, note_jump_back, task_stack[0]);
	run(iret_nt);
	fact("iret.good.vector", trap.vector);
	fact("iret.good.saved_flags", tss.eflags);
	fact("iret.good.saved_ip", tss.eip - (word)iret_nt);
	fact("iret.good.types", type_of(TSS_SELECTOR) << 4 | type_of(TASK));
	fact("iret.good.task_flags", seen[8]);
	tasks_reset();
}

/* ---- faults of the new task ---- */

static void new_fault(const char *name, code_function *code)
{
	uint32_t selector;
	far.selector = TASK;
	run(code);
	__asm__ volatile("str %0" : "=r"(selector));
	fact_of(name, "vector", trap.vector);
	fact_of(name, "error", trap.error);
	fact_of(name, "ip", placed(trap.ip, note_iret));
	fact_of(name, "cs", trap.cs);
	fact_of(name, "tr", selector);
	fact_of(name, "types", type_of(TSS_SELECTOR) << 4 | type_of(TASK));
	tasks_reset();
	task_make(&task, note_iret, task_stack[0]);
}

static const char *const segment_names[] = {"es", "cs", "ss", "ds", "fs", "gs"};

static void bad_selectors(const char *what, unsigned selector)
{
	char name[24];
	unsigned length = 0;

	for (const char *c = what; *c; c++)
		name[length++] = *c;
	name[length++] = '.';
	name[length + 2] = 0;
	for (unsigned i = 0; i < 6; i++) {
		name[length] = segment_names[i][0];
		name[length + 1] = segment_names[i][1];
		task.segment[i] = selector;
		new_fault(name, far_call);
	}
}

static void new_faults(void)
{
	struct gate saved = idt[6];

	task_make(&task, note_iret, task_stack[0]);
	bad_selectors("new.outside", OUTSIDE);
	bad_selectors("new.in_ldt", ODD | 4);
	gdt_set(ODD, descriptor(0, 0xfffff, 0x13, 0xc));
	bad_selectors("new.absent_data", ODD);
	gdt_set(ODD, descriptor(0, 0xfffff, 0x1b, 0xc));
	bad_selectors("new.absent_code", ODD);
	gdt_set(ODD, descriptor(0, 0xfffff, 0x91, 0xc));
	bad_selectors("new.read_only", ODD);
	gdt_set(ODD, descriptor(0, 0xfffff, 0x99, 0xc));
	bad_selectors("new.execute_only", ODD);
	bad_selectors("new.system", LDT);
	task.segment[1] = 0;
	new_fault("new.null.cs", far_call);
	task.segment[2] = 0;
	new_fault("new.null.ss", far_call);
	task.segment[1] = USER_CODE & ~3u;
	new_fault("new.cs_dpl", far_call);
	task.segment[0] = task.segment[2] = task.segment[3] = task.segment[4] = USER_DATA;
	task.segment[1] = KERNEL_CODE | 3;
	new_fault("new.cs_rpl", far_call);
	task.segment[2] = USER_DATA;
	new_fault("new.ss_user", far_call);
	task.segment[2] = KERNEL_DATA | 3;
	new_fault("new.ss_rpl", far_call);
	task.segment[3] = KERNEL_DATA | 3;
	new_fault("new.ds_rpl", far_call);
	task.ldt = OUTSIDE;
	new_fault("new.ldt_outside", far_call);
	task.ldt = LDT | 4;
	new_fault("new.ldt_in_ldt", far_call);
	task.ldt = KERNEL_DATA;
	new_fault("new.ldt_data", far_call);
	gdt_set(LDT, descriptor((uint32_t)(word)ldt, sizeof(ldt) - 1, 0x02, 0));
	task.ldt = LDT;
	new_fault("new.ldt_absent", far_call);
	gdt_set(ODD, descriptor(0, 0xfff, 0x9b, 0x4));
	task.segment[1] = ODD;
	new_fault("new.limit", far_call);
	/* A fault while an exception is delivered to a task. */
	idt[6] = gate(0, TASK, GATE_TASK, 0);
	task.segment[3] = OUTSIDE;
	new_fault("new.during_ud", do_ud2);
	idt[6] = saved;
	/* The error code finds no room. */
	saved = idt[13];
	idt[13] = gate(0, TASK, GATE_TASK, 0);
	gdt_set(ODD, descriptor((uint32_t)(word)task_stack, 0xfff, 0xf3, 0x4));
	task.segment[0] = task.segment[3] = task.segment[4] = USER_DATA;
	task.segment[1] = USER_CODE;
	task.segment[2] = ODD | 3;
	task.gpr[4] = 0x1002;
	regs.ax = OUTSIDE;
	new_fault("new.no_room", bad_es);
	idt[13] = saved;
	/* Accessed bits, and a descriptor of the task's own LDT. */
	ldt[1] = descriptor(0, 0xfffff, 0x92, 0xc);
	task.ldt = LDT;
	task.segment[0] = 0x0c;
	far.selector = TASK;
	run(far_call);
	fact("own_ldt.vector", trap.vector);
	fact("own_ldt.es", seen[14]);
	fact("own_ldt.ldt", seen[17]);
	fact("own_ldt.access", ldt[1] >> 40 & 0xff);
	tasks_reset();
}

/* ---- debugging ---- */

static void debugging(void)
{
	task_make(&task, note_iret, task_stack[0]);
	task.trap = 1;
	write_dr7(0x755); /* L0-L3, LE, GE */
	far.selector = TASK;
	run(far_call);
	fact("trap.vector", trap.vector);
	fact("trap.ip", placed(trap.ip, note_iret));
	fact("trap.flags", trap.flags);
	fact("trap.dr6", read_dr6());
	fact("trap.dr7", ({
		     word value;
		     __asm__ volatile("mov %%dr7, %0" : "=r"(value));
		     value;
	     }));
	tasks_reset();
	task_make(&task, note_iret, task_stack[0]);
	tss.trap = 1; /* on the way back */
	far.selector = TASK;
	run(far_call);
	fact("trap_back.vector", trap.vector);
	fact("trap_back.ip", trap.ip - (word)far_call);
	fact("trap_back.dr6", read_dr6());
	tasks_reset();
	task_make(&task, note_iret, task_stack[0]);
	task.eflags |= FLAG_TF;
	far.selector = TASK;
	run(far_call);
	fact("step.vector", trap.vector);
	fact("step.ip", placed(trap.ip, note_iret)); /* after the first instruction */
	fact("step.dr6", read_dr6());
	tasks_reset();
}

/* ---- address spaces ---- */

FRAGMENT(read_area, "mov 0x40000000, %eax\n mov %eax, seen + 80\n mov %cr3, %eax\n mov %eax, seen + 72\n iretl");

static void spaces(const char *group, enum paging_format format)
{
	fact_prefix = group;
	paging_start(format);
	word first = space_current(), other = space_create();
	uint32_t *here = page_alloc(), *there = page_alloc();
	*here = 0x1111;
	*there = 0x2222;
	map(AREA, (word)here, PTE_P | PTE_W);
	space_select(other);
	map(AREA, (word)there, PTE_P | PTE_W);
	space_select(first);
	tss.cr3 = first;
	task_make(&task, read_area, task_stack[0]);
	task.cr3 = other;
	far.selector = TASK;
	*(volatile uint32_t *)AREA;
	run(far_call);
	fact("vector", trap.vector);
	fact("read", seen[20]);
	check("other", seen[18] == other);
	check("back", read_cr3() == first);
	fact("after", *(volatile uint32_t *)AREA);
	check("tss_cr3", tss.cr3 == first && task.cr3 == other); /* never stored */
	tasks_reset();
	/* TSSs that are not all there. */
	uint8_t *page = page_alloc();
	map(AREA + PAGE, (word)page, PTE_P | PTE_W);
	unmap(AREA + 2 * PAGE);
	copy_bytes(page + PAGE - 64, &task, 64);
	gdt_set(TASK, descriptor(AREA + 2 * PAGE - 64, sizeof(task) - 1, TSS_32, 0));
	far.selector = TASK;
	run(far_call);
	fact("half.vector", trap.vector);
	fact("half.ip", trap.ip - (word)far_call);
	fact("half.types", type_of(TSS_SELECTOR) << 4 | type_of(TASK));
	tasks_reset();
	paging_stop();
	fact_prefix = "";
}

void guest_main(void)
{
	ways();
	nesting();
	privilege();
	old_faults();
	links();
	new_faults();
	debugging();
	spaces("paging.", PAGING_32);
	spaces("pae.", PAGING_PAE);
}
