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

#define LOW 0x41
#define HIGH 0x61
#define TIMER 0x52
#define SPINS 40000000u

static struct {
	unsigned count;
	word vector[8], ip[8], flags[8];
	bool no_eoi, stop;
	uint32_t ppr;
} taken;

static void eoi(unsigned vector)
{
	if (vector >= 0x28 && vector < 0x30)
		outb(0xa0, 0x20);
	if (vector >= 0x20 && vector < 0x30)
		outb(0x20, 0x20);
	else if (vector != 2 && vector != 0xff)
		apic_write(APIC_EOI, 0);
}

static bool on_interrupt(struct frame *frame)
{
	if (frame->vector != 2 && (frame->vector < 0x20 || frame->vector == 0x80))
		return false;
	if (taken.count < 8) {
		taken.vector[taken.count] = frame->vector;
		taken.ip[taken.count] = frame->ip;
		taken.flags[taken.count] = frame->flags;
	}
	taken.ppr = apic_read(APIC_PPR);
	*(volatile unsigned *)&taken.count = taken.count + 1;
	if (!taken.no_eoi)
		eoi((unsigned)frame->vector);
	if (taken.stop)
		frame->flags &= ~FLAG_IF;
	return true;
}

static void begin(void)
{
	taken.count = 0;
	trap_hook = on_interrupt;
}

static void self_ipi(unsigned vector)
{
	apic_write(APIC_ICR, ICR_SELF | vector);
	for (unsigned i = 0; i < 1000 && !apic_bit(APIC_IRR, vector); i++)
		;
}

/* Each interrupt that was taken: vector and place. */
static void report(const char *name, code_function *code)
{
	char entry[] = "0.vector";

	trap_hook = NULL;
	fact_of(name, "count", taken.count);
	for (unsigned i = 0; i < taken.count && i < 8; i++) {
		entry[0] = (char)('0' + i);
		copy_bytes(entry + 2, "vector", 7);
		fact_of(name, entry, taken.vector[i]);
		copy_bytes(entry + 2, "ip", 3);
		fact_of(name, entry, taken.ip[i] - (word)code < 256 ? taken.ip[i] - (word)code : 0xffff);
	}
	fact_of(name, "end", trap.vector);
}

/* An interrupt is pending before the fragment runs with IF clear. */
static void pending(const char *name, code_function *code)
{
	self_ipi(LOW);
	begin();
	run(code);
	report(name, code);
	if (apic_bit(APIC_IRR, LOW)) { /* not taken: take it now */
		fact_of(name, "left", 1);
		trap_hook = on_interrupt;
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
	self_ipi(LOW);
	begin();
	run_user(just_sti); /* on entering ring 3 by IRET; then STI faults */
	report("shadow.user", just_sti);
	fact("shadow.user.cs", trap.cs);
	run_flags = RUN_FLAGS_NONE;
	fact("shadow.flags", taken.flags[0] & (FLAG_IF | FLAG_RF));
}

/* ---- priorities ---- */

static void priorities(void)
{
	self_ipi(LOW);
	self_ipi(HIGH);
	begin();
	taken.stop = true;
	run(just_sti);
	fact("priority.first", taken.vector[0]);
	run(just_sti);
	report("priority.both", just_sti);
	taken.stop = false;
	/* The task priority holds back its class and those below. */
	apic_write(APIC_TPR, 0x40);
	self_ipi(LOW);
	begin();
	run(just_sti);
	report("tpr.same_class", just_sti);
	fact("tpr.ppr", apic_read(APIC_PPR));
	fact("tpr.irr", apic_bit(APIC_IRR, LOW));
	apic_write(APIC_TPR, 0x3f);
	begin();
	run(just_sti);
	report("tpr.below", just_sti);
	apic_write(APIC_TPR, 0xff);
	self_ipi(HIGH);
	begin();
	run(just_sti);
	report("tpr.all", just_sti);
	apic_write(APIC_TPR, 0);
	begin();
	run(just_sti);
	report("tpr.released", just_sti);
	/* In service without EOI: equal and lower classes wait. */
	taken.no_eoi = true;
	self_ipi(HIGH);
	begin();
	run(just_sti);
	taken.no_eoi = false;
	fact("isr.set", apic_bit(APIC_ISR, HIGH));
	fact("isr.ppr", apic_read(APIC_PPR));
	self_ipi(LOW);
	self_ipi(HIGH);
	begin();
	run(just_sti);
	report("isr.waits", just_sti);
	apic_write(APIC_EOI, 0);
	fact("isr.cleared", apic_bit(APIC_ISR, HIGH));
	begin();
	taken.stop = true;
	run(just_sti);
	run(just_sti);
	taken.stop = false;
	report("isr.after", just_sti);
	/* Sent twice is pending once. */
	self_ipi(LOW);
	self_ipi(LOW);
	begin();
	run(just_sti);
	run(just_sti);
	report("irr.once", just_sti);
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
	self_ipi(HIGH);
	begin();
	run(just_sti);
	report("cr8.holds", just_sti);
	regs.ax = 5;
	run(write_cr8);
	begin();
	run(just_sti);
	report("cr8.lets", just_sti);
	regs.ax = 0;
	run(write_cr8);
	outcome_user("cr8.user", read_cr8);
}
#endif

/* ---- NMI ---- */

static unsigned nmi_depth, nmi_nested, nmi_count;
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

/* ---- the timer ---- */

static bool wait_taken(unsigned count)
{
	for (unsigned i = 0; i < SPINS && *(volatile unsigned *)&taken.count < count; i++)
		__asm__ volatile("sti; nop; cli");
	return taken.count >= count;
}

static void wait_halted(unsigned count)
{
	while (*(volatile unsigned *)&taken.count < count)
		__asm__ volatile("sti; hlt; cli");
}

static void pause_a_while(void)
{
	for (volatile unsigned i = 0; i < 20000; i++)
		__asm__ volatile("sti; nop; cli");
}

static void apic_timer(void)
{
	apic_write(APIC_TIMER_DIVIDE, 0xb); /* by 1 */
	begin();
	apic_write(APIC_LVT_TIMER, TIMER);
	apic_write(APIC_TIMER_INITIAL, 20000);
	check("timer.one_shot", wait_taken(1));
	pause_a_while();
	fact("timer.one_shot.count", taken.count);
	fact("timer.one_shot.vector", taken.vector[0]);
	fact("timer.one_shot.current", apic_read(APIC_TIMER_CURRENT));
	begin();
	apic_write(APIC_TIMER_INITIAL, 20000);
	wait_halted(1);
	fact("timer.halted", taken.count);
	begin();
	apic_write(APIC_LVT_TIMER, APIC_PERIODIC | TIMER);
	apic_write(APIC_TIMER_INITIAL, 100000);
	wait_halted(4);
	check("timer.periodic", taken.count >= 4);
	check("timer.periodic.current", apic_read(APIC_TIMER_CURRENT) <= 100000);
	apic_write(APIC_TIMER_INITIAL, 0); /* stops */
	pause_a_while();
	begin();
	pause_a_while();
	fact("timer.stopped", taken.count);
	begin();
	apic_write(APIC_LVT_TIMER, APIC_MASKED | TIMER);
	apic_write(APIC_TIMER_INITIAL, 1000);
	pause_a_while();
	fact("timer.masked", taken.count);
	fact("timer.initial", apic_read(APIC_TIMER_INITIAL));
	fact("timer.lvt", apic_read(APIC_LVT_TIMER) & ~0x1000u);
	trap_hook = NULL;
}

#define MSR_DEADLINE 0x6e0

static void deadline(void)
{
	if (!cpu_has(HAS_TSC_DEADLINE)) {
		absent("deadline");
		return;
	}
	apic_write(APIC_LVT_TIMER, APIC_DEADLINE | TIMER);
	__asm__ volatile("mfence");
	begin();
	write_msr(MSR_DEADLINE, read_tsc() + 100000);
	check("deadline.armed", read_msr(MSR_DEADLINE) != 0 || taken.count);
	wait_halted(1);
	fact("deadline.vector", taken.vector[0]);
	fact("deadline.disarmed", read_msr(MSR_DEADLINE));
	begin();
	write_msr(MSR_DEADLINE, read_tsc() - 1000); /* in the past: now */
	wait_halted(1);
	fact("deadline.past", taken.count);
	begin();
	write_msr(MSR_DEADLINE, read_tsc() + 1000000000000ull);
	write_msr(MSR_DEADLINE, 0);
	pause_a_while();
	fact("deadline.cancelled", taken.count);
	apic_write(APIC_TIMER_INITIAL, 1000); /* ignored in this mode */
	fact("deadline.initial", apic_read(APIC_TIMER_INITIAL));
	apic_write(APIC_LVT_TIMER, TIMER);
	write_msr(MSR_DEADLINE, read_tsc() + 1000); /* ignored in the other */
	fact("deadline.other_mode", read_msr(MSR_DEADLINE));
	trap_hook = NULL;
}

/* ---- inside REP ---- */

static uint8_t block[1 << 16];
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
	outb(0x20, 0x20);
	begin();
	pit_start(0, 1000); /* one shot */
	for (unsigned i = 0; i < SPINS / 100 && !(pic_read(0x20, 0xa) & 1); i++)
		;
	fact("pic.irr", pic_read(0x20, 0xa) & 1);
	fact("pic.masked", taken.count);
	outb(0x21, 0xfe);
	taken.no_eoi = true;
	wait_taken(1);
	taken.no_eoi = false;
	fact("pic.vector", taken.vector[0]);
	fact("pic.isr", pic_read(0x20, 0xb) & 1);
	fact("pic.irr_after", pic_read(0x20, 0xa) & 1);
	outb(0x20, 0x20);
	fact("pic.isr_after", pic_read(0x20, 0xb) & 1);
	pause_a_while();
	fact("pic.one_shot", taken.count);
	begin();
	pit_start(2, 2000); /* rate generator */
	wait_halted(4);
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
	     ioapic_read(0x10 + 2 * 5) & ~0x5000u); /* delivery status and remote IRR are read-only */
	ioapic_write(0x11 + 2 * 5, 0x0f000000);
	fact("ioapic.entry_high", ioapic_read(0x11 + 2 * 5));
	ioapic_write(0x10 + 2 * 5, APIC_MASKED);
	/* The 8254 on input 2, edge triggered, to this processor. */
	begin();
	ioapic_write(0x11 + 2 * 2, apic_read(APIC_ID));
	ioapic_write(0x10 + 2 * 2, 0x71);
	pit_start(2, 3000);
	wait_halted(3);
	check("ioapic.periodic", taken.count >= 3);
	fact("ioapic.vector", taken.vector[0]);
	ioapic_write(0x10 + 2 * 2, APIC_MASKED);
	pause_a_while();
	begin();
	pause_a_while();
	fact("ioapic.masked", taken.count);
	trap_hook = NULL;
}

static void apic_registers(void)
{
	check("apic.version", (apic_read(APIC_VERSION) & 0xf0) == 0x10 && (apic_read(APIC_VERSION) >> 16 & 0xff) >= 4);
	fact("apic.svr", apic_read(APIC_SVR) & 0x1ff);
	apic_write(APIC_LDR, 0xffffffff);
	fact("apic.ldr", apic_read(APIC_LDR));
	apic_write(APIC_LDR, 0);
	fact("apic.dfr", apic_read(APIC_DFR));
	apic_write(APIC_TPR, 0x1ab);
	fact("apic.tpr", apic_read(APIC_TPR));
	apic_write(APIC_TPR, 0);
	check("apic.base", (read_msr(MSR_APIC_BASE) & 0xffffff900) == 0xfee00900);
	/* Software disable masks the LVT and holds what is fixed. */
	apic_write(APIC_LVT_TIMER, TIMER);
	apic_write(APIC_SVR, 0xff);
	fact("apic.disabled_lvt", apic_read(APIC_LVT_TIMER) & APIC_MASKED);
	apic_write(APIC_SVR, 0x1ff);
	fact("apic.enabled_lvt", apic_read(APIC_LVT_TIMER) & APIC_MASKED);
	/* Vectors below 16 cannot be sent. */
	apic_write(APIC_ESR, 0);
	apic_write(APIC_ICR, ICR_SELF | 5);
	apic_write(APIC_ESR, 0);
	fact("apic.esr_illegal", apic_read(APIC_ESR));
	run(just_sti);
	fact("apic.illegal_sent", trap.vector);
	apic_write(APIC_ESR, 0);
	apic_write(APIC_ESR, 0);
	apic_write(APIC_LVT_LINT0, 0x700);
}

/* ---- x2APIC: last, since the way back goes through a disabled APIC ---- */

FRAGMENT(x2_read, "rdmsr");
FRAGMENT(x2_write, "xor %edx, %edx\n wrmsr");

static void x2apic(void)
{
	if (!cpu_has(HAS_X2APIC)) {
		absent("x2apic");
		return;
	}
	regs.cx = 0x808;
	outcome("x2apic.msr_before", x2_read);
	write_msr(MSR_APIC_BASE, read_msr(MSR_APIC_BASE) | 0x400);
	fact("x2apic.id", read_msr(0x802));
	fact("x2apic.ldr", read_msr(0x80d));
	write_msr(0x808, 0x30);
	fact("x2apic.tpr", read_msr(0x808));
	write_msr(0x808, 0);
	trap_hook = on_interrupt;
	taken.no_eoi = true;
	begin();
	write_msr(0x83f, LOW); /* self IPI register */
	run(just_sti);
	fact("x2apic.self_ipi", taken.vector[0]);
	fact("x2apic.count", taken.count);
	fact("x2apic.isr", read_msr(0x810 + (LOW >> 5)) >> (LOW & 31) & 1);
	write_msr(0x80b, 0);
	fact("x2apic.isr_after", read_msr(0x810 + (LOW >> 5)) >> (LOW & 31) & 1);
	trap_hook = NULL;
	taken.no_eoi = false;
	regs.cx = 0x80b;
	regs.ax = 1;
	outcome("x2apic.eoi_nonzero", x2_write);
	regs.cx = 0x80e; /* DFR is gone */
	outcome("x2apic.dfr", x2_read);
	regs.cx = 0x831; /* so is the upper half of ICR */
	outcome("x2apic.icr2", x2_read);
	regs.cx = 0x802;
	outcome("x2apic.id_write", x2_write);
	regs.cx = 0x80b;
	outcome("x2apic.eoi_read", x2_read);
	regs.cx = 0x808;
	regs.ax = 0x100;
	outcome("x2apic.tpr_reserved", x2_write);
	regs.cx = MSR_APIC_BASE;
	regs.ax = 0xfee00900; /* straight back to xAPIC */
	outcome("x2apic.back", x2_write);
	regs.ax = 0xfee00000 | (read_msr(MSR_APIC_BASE) & 0x100);
	outcome("x2apic.off", x2_write);
}

void guest_main(void)
{
	apic_start();
	apic_registers();
	shadows();
	priorities();
#ifdef __x86_64__
	cr8();
#endif
	nmi();
	apic_timer();
	deadline();
	inside_rep();
	pic();
	ioapic();
	x2apic();
}
