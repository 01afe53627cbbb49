/* SPDX-License-Identifier: MIT */
/*
 * Hardware task switches: by CALL, JMP, IRET, exceptions and INT n, straight and through task gates, to TSSs of 16 and
 * 32 bits; what is saved and loaded, nesting, privilege, debugging, address spaces.
 */
#include "task.h"

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
	debugging();
	spaces("paging.", PAGING_32);
	spaces("pae.", PAGING_PAE);
}
