/* SPDX-License-Identifier: MIT */
/* Faults of hardware task switches, in the old task and in the new one. */
#include "task.h"

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

void guest_main(void)
{
	tasks_reset();
	old_faults();
	links();
	new_faults();
}
