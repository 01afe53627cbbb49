/* SPDX-License-Identifier: MIT */
/*
 * Interrupts: where they are taken (shadows, HLT, POPF, IRET, inside REP), priorities, NMI, the local APIC and its
 * timer, the I/O APIC, the 8259s and the 8254. Facts say what and where, never when.
 */
#include "apic.h"

#ifdef __x86_64__
#define W "q"
#else
#define W "l"
#endif

/* An interrupt is pending before the fragment runs with IF clear. */
static void pending(const char *name, code_function *code)
{
	apic_send_self(LOW);
	taken_begin();
	run(code);
	taken_report(name, code);
	if (apic_bit(APIC_IRR, LOW)) { /* not taken: take it now */
		fact_of(name, "left", 1);
		trap_hook = taken_hook;
		__asm__ volatile("sti; nop; nop; cli");
		trap_hook = NULL;
	}
}

FRAGMENT(just_sti, "sti\n nop\n nop\n cli");
FRAGMENT(sti_cli, "sti\n cli\n nop");
FRAGMENT(sti_sti, "sti\n sti\n nop\n cli");
FRAGMENT(sti_mov_ss, "mov %ss, %eax\n sti\n mov %eax, %ss\n nop\n nop\n cli");
FRAGMENT(sti_hlt, "sti\n hlt\n nop\n cli");
FRAGMENT(sti_jump, "sti\n jmp 1f\n nop\n 1: nop\n cli");
FRAGMENT(sti_call, "sti\n call 1f\n cli\n jmp 2f\n 1: ret\n 2: nop");
FRAGMENT(mov_ss_alone, "mov %ss, %eax\n pushf" W "\n or" W " $0x200, (" SP ")\n popf" W "\n mov %eax, %ss\n nop\n cli");
FRAGMENT(by_popf, "pushf" W "\n or" W " $0x200, (" SP ")\n popf" W "\n nop\n cli");
FRAGMENT(popf_cli, "pushf" W "\n or" W " $0x200, (" SP ")\n popf" W "\n cli\n nop");
#ifdef __x86_64__
FRAGMENT(by_iret, "mov %rsp, %rax\n push $16\n push %rax\n push $0x202\n push $8\n push $1f\n iretq\n 1: nop\n cli");
#else
FRAGMENT(by_iret, "push $0x202\n push %cs\n push $1f\n iretl\n 1: nop\n cli\n nop");
FRAGMENT(sti_pop_ss, "push %ss\n sti\n pop %ss\n nop\n nop\n cli");
#endif
FRAGMENT(sti_fault, "sti\n ud2");
FRAGMENT(sti_string, "mov " SP ", " SI "\n mov $100, %ecx\n sti\n rep lodsb\n nop\n cli");
FRAGMENT(sti_if_was_set, "sti\n nop\n mov $0xfee00300, %ebx\n movl $0x44041, (" BX ")\n mov (" BX
			 "), %eax\n sti\n nop\n nop\n nop\n nop\n cli");

static void shadows(void)
{
	pending("shadow.sti", just_sti);
	pending("shadow.sti_cli", sti_cli);
	pending("shadow.sti_sti", sti_sti);
	pending("shadow.sti_mov_ss", sti_mov_ss);
	pending("shadow.sti_hlt", sti_hlt);
	pending("shadow.sti_jump", sti_jump);
	pending("shadow.sti_call", sti_call);
	pending("shadow.popf_mov_ss", mov_ss_alone);
	pending("shadow.popf", by_popf);
	pending("shadow.popf_cli", popf_cli);
	pending("shadow.iret", by_iret);
	pending("shadow.sti_fault", sti_fault);
	pending("shadow.sti_string", sti_string);
#ifndef __x86_64__
	pending("shadow.sti_pop_ss", sti_pop_ss);
#endif
	run_flags = RUN_FLAGS_NONE | FLAG_IF;
	apic_send_self(LOW);
	taken_begin();
	run_user(just_sti); /* on entering ring 3 by IRET; then STI faults */
	taken_report("shadow.user", just_sti);
	fact("shadow.user.cs", trap.cs);
	run_flags = RUN_FLAGS_NONE;
	fact("shadow.flags", taken.flags[0] & (FLAG_IF | FLAG_RF));
}

/* ---- priorities ---- */

static void priorities(void)
{
	apic_send_self(LOW);
	apic_send_self(HIGH);
	taken_begin();
	taken.stop = true;
	run(just_sti);
	fact("priority.first", taken.vector[0]);
	run(just_sti);
	taken_report("priority.both", just_sti);
	taken.stop = false;
	/* The task priority holds back its class and those below. */
	apic_write(APIC_TPR, 0x40);
	apic_send_self(LOW);
	taken_begin();
	run(just_sti);
	taken_report("tpr.same_class", just_sti);
	fact("tpr.ppr", apic_read(APIC_PPR));
	fact("tpr.irr", apic_bit(APIC_IRR, LOW));
	apic_write(APIC_TPR, 0x3f);
	taken_begin();
	run(just_sti);
	taken_report("tpr.below", just_sti);
	apic_write(APIC_TPR, 0xff);
	apic_send_self(HIGH);
	taken_begin();
	run(just_sti);
	taken_report("tpr.all", just_sti);
	apic_write(APIC_TPR, 0);
	taken_begin();
	run(just_sti);
	taken_report("tpr.released", just_sti);
	/* In service without EOI: equal and lower classes wait. */
	taken.no_eoi = true;
	apic_send_self(HIGH);
	taken_begin();
	run(just_sti);
	taken.no_eoi = false;
	fact("isr.set", apic_bit(APIC_ISR, HIGH));
	fact("isr.ppr", apic_read(APIC_PPR));
	apic_send_self(LOW);
	apic_send_self(HIGH);
	taken_begin();
	run(just_sti);
	taken_report("isr.waits", just_sti);
	apic_write(APIC_EOI, 0);
	fact("isr.cleared", apic_bit(APIC_ISR, HIGH));
	taken_begin();
	taken.stop = true;
	run(just_sti);
	run(just_sti);
	taken.stop = false;
	taken_report("isr.after", just_sti);
	/* Sent twice is pending once. */
	apic_send_self(LOW);
	apic_send_self(LOW);
	taken_begin();
	run(just_sti);
	run(just_sti);
	taken_report("irr.once", just_sti);
}

#ifdef __x86_64__
FRAGMENT(read_cr8, "mov %cr8, %rax");
FRAGMENT(write_cr8, "mov %rax, %cr8");

static void cr8(void)
{
	apic_write(APIC_TPR, 0x57);
	run(read_cr8);
	fact("cr8.of_tpr", regs.ax);
	regs.ax = 6;
	run(write_cr8);
	fact("cr8.tpr", apic_read(APIC_TPR));
	apic_send_self(HIGH);
	taken_begin();
	run(just_sti);
	taken_report("cr8.holds", just_sti);
	regs.ax = 5;
	run(write_cr8);
	taken_begin();
	run(just_sti);
	taken_report("cr8.lets", just_sti);
	regs.ax = 0;
	run(write_cr8);
	outcome_user("cr8.user", read_cr8);
}
#endif

/* ---- NMI ---- */

static volatile unsigned nmi_depth, nmi_nested, nmi_count;
static bool nmi_send_again;

static void send_nmi(void)
{
	apic_write(APIC_ICR_HIGH, apic_read(APIC_ID));
	apic_write(APIC_ICR, ICR_NMI);
}

static bool on_nmi(struct frame *frame)
{
	if (frame->vector != 2)
		return false;
	nmi_count++;
	nmi_depth++;
	if (nmi_send_again && nmi_count == 1) {
		send_nmi();
		for (volatile unsigned i = 0; i < 1000; i++)
			;
		fact("nmi.inside", nmi_count);
	}
	if (nmi_depth > 1)
		nmi_nested++;
	nmi_depth--;
	return true;
}

static void nmi(void)
{
	trap_hook = on_nmi;
	nmi_count = 0;
	send_nmi(); /* IF is clear: it does not matter */
	for (volatile unsigned i = 0; i < 1000; i++)
		;
	fact("nmi.taken", nmi_count);
	nmi_count = 0;
	nmi_send_again = true;
	send_nmi();
	for (volatile unsigned i = 0; i < 1000; i++)
		;
	fact("nmi.blocked_until_iret", nmi_nested);
	fact("nmi.both", nmi_count);
	nmi_send_again = false;
	trap_hook = NULL;
}

/* ---- inside REP ---- */

static uint8_t block[1 << 20];
FRAGMENT(long_rep, "sti\n nop\n rep_at: rep stosb\n cli");
FRAGMENT(long_movs, "sti\n nop\n movs_at: rep movsb\n cli");
extern char rep_at[], movs_at[];
static struct {
	unsigned inside;
	bool wrong;
	word flags;
} rep;

static bool on_rep(struct frame *frame)
{
	if (frame->vector != TIMER)
		return false;
	apic_write(APIC_EOI, 0);
	if (frame->ip != (word)rep_at && frame->ip != (word)movs_at)
		return true;
	if (frame->cx != sizeof(block) && frame->cx) {
		rep.inside++;
		rep.flags = frame->flags;
	}
	if (frame->di + frame->cx != (word)block + sizeof(block))
		rep.wrong = true;
	if (frame->ip == (word)movs_at && frame->si != frame->di)
		rep.wrong = true;
	for (word i = 0; i < 8 && frame->di + i < (word)block + sizeof(block); i++) {
		if (frame->ip == (word)rep_at && frame->cx &&
		    ((uint8_t *)frame->di)[i] != 0) /* nothing beyond DI is done */
			rep.wrong = true;
	}
	if (frame->ip == (word)rep_at && frame->di > (word)block && ((uint8_t *)frame->di)[-1] != 0x5a)
		rep.wrong = true;
	return true;
}

static void inside_rep(void)
{
	rep.inside = 0;
	apic_write(APIC_LVT_TIMER, APIC_PERIODIC | TIMER);
	apic_write(APIC_TIMER_INITIAL, 7001);
	trap_hook = on_rep;
	for (unsigned round = 0; round < 3000 && rep.inside < 3; round++) {
		fill_bytes(block, 0, sizeof(block));
		regs.di = (word)block;
		regs.cx = sizeof(block);
		regs.ax = 0x5a;
		run(long_rep);
		regs.di = regs.si = (word)block;
		regs.cx = sizeof(block);
		run(long_movs);
	}
	apic_write(APIC_TIMER_INITIAL, 0);
	apic_write(APIC_LVT_TIMER, APIC_MASKED);
	pause_a_while(); /* one may be pending */
	trap_hook = NULL;
	check("rep.interrupted", rep.inside >= 3);
	check("rep.precise", !rep.wrong);
	fact("rep.flags", rep.flags & (FLAG_IF | FLAG_RF));
}

/* ---- the 8259s, the 8254, the I/O APIC ---- */

static uint8_t pic_read(uint16_t port, uint8_t what)
{
	outb(port, what);
	return inb(port);
}

static void pic(void)
{
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	fact("pic.mask", inb(0x21));
	pit_start(0, 0xffff); /* the output goes low */
	pic_start();	      /* forgets what a BIOS left latched */
	taken_begin();
	pit_start(0, 1000); /* one shot */
	for (unsigned i = 0; i < SPINS / 100 && !(pic_read(0x20, 0xa) & 1); i++)
		;
	fact("pic.irr", pic_read(0x20, 0xa) & 1);
	fact("pic.masked", taken.count);
	outb(0x21, 0xfe);
	taken.no_eoi = true;
	taken_wait(1);
	taken.no_eoi = false;
	fact("pic.vector", taken.vector[0]);
	fact("pic.isr", pic_read(0x20, 0xb) & 1);
	fact("pic.irr_after", pic_read(0x20, 0xa) & 1);
	outb(0x20, 0x20);
	fact("pic.isr_after", pic_read(0x20, 0xb) & 1);
	pause_a_while();
	fact("pic.one_shot", taken.count);
	taken_begin();
	pit_start(2, 2000); /* rate generator */
	taken_wait_halted(4);
	check("pit.periodic", taken.count >= 4);
	outb(0x21, 0xff);
	/* Channel 2 by its gate and output bit in port 61h. */
	outb(0x61, (uint8_t)((inb(0x61) & ~3) | 1));
	outb(0x43, 0xb0);
	outb(0x42, 0x10);
	outb(0x42, 0x27);
	fact("pit.output_low", inb(0x61) >> 5 & 1);
	unsigned i = 0;
	while (!(inb(0x61) & 0x20) && i < SPINS / 100)
		i++;
	fact("pit.output_high", inb(0x61) >> 5 & 1);
	/* Read-back: status of channel 0, mode 2, two bytes. */
	outb(0x43, 0xe2);
	fact("pit.status", inb(0x40) & 0x3f);
	trap_hook = NULL;
}

static void ioapic(void)
{
	check("ioapic.version", (ioapic_read(1) & 0xff) >= 0x11 && (ioapic_read(1) >> 16 & 0xff) == 23);
	ioapic_write(0x10 + 2 * 5, 0xffffffff);
	fact("ioapic.entry_low",
	     ioapic_read(0x10 + 2 * 5) & 0x1afff); /* delivery status and remote IRR are read-only */
	ioapic_write(0x11 + 2 * 5, 0x0f000000);
	fact("ioapic.entry_high", ioapic_read(0x11 + 2 * 5));
	ioapic_write(0x10 + 2 * 5, APIC_MASKED);
	/* The 8254 on input 2, edge triggered, to this processor. */
	taken_begin();
	ioapic_write(0x11 + 2 * 2, apic_read(APIC_ID));
	ioapic_write(0x10 + 2 * 2, 0x71);
	pit_start(2, 3000);
	taken_wait_halted(3);
	check("ioapic.periodic", taken.count >= 3);
	fact("ioapic.vector", taken.vector[0]);
	ioapic_write(0x10 + 2 * 2, APIC_MASKED);
	pause_a_while();
	taken_begin();
	pause_a_while();
	fact("ioapic.masked", taken.count);
	trap_hook = NULL;
}

void guest_main(void)
{
	apic_start();
	shadows();
	priorities();
#ifdef __x86_64__
	cr8();
#endif
	nmi();
	inside_rep();
	pic();
	ioapic();
}
