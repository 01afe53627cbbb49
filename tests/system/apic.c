/* SPDX-License-Identifier: MIT */
/* The local APIC: registers, its timer in three modes, x2APIC. */
#include "apic.h"

FRAGMENT(just_sti, "sti\n nop\n nop\n cli");

static void apic_timer(void)
{
	apic_write(APIC_TIMER_DIVIDE, 0xb); /* by 1 */
	taken_begin();
	apic_write(APIC_LVT_TIMER, TIMER);
	apic_write(APIC_TIMER_INITIAL, 20000);
	check("timer.one_shot", taken_wait(1));
	pause_a_while();
	fact("timer.one_shot.count", taken.count);
	fact("timer.one_shot.vector", taken.vector[0]);
	fact("timer.one_shot.current", apic_read(APIC_TIMER_CURRENT));
	taken_begin();
	apic_write(APIC_TIMER_INITIAL, 20000);
	taken_wait_halted(1);
	fact("timer.halted", taken.count);
	taken_begin();
	apic_write(APIC_LVT_TIMER, APIC_PERIODIC | TIMER);
	apic_write(APIC_TIMER_INITIAL, 100000);
	taken_wait_halted(4);
	check("timer.periodic", taken.count >= 4);
	check("timer.periodic.current", apic_read(APIC_TIMER_CURRENT) <= 100000);
	apic_write(APIC_TIMER_INITIAL, 0); /* stops */
	pause_a_while();
	taken_begin();
	pause_a_while();
	fact("timer.stopped", taken.count);
	taken_begin();
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
	taken_begin();
	write_msr(MSR_DEADLINE, read_tsc() + 100000);
	check("deadline.armed", read_msr(MSR_DEADLINE) != 0 || taken.count);
	taken_wait_halted(1);
	fact("deadline.vector", taken.vector[0]);
	check("deadline.disarmed", read_msr(MSR_DEADLINE) == 0);
	taken_begin();
	write_msr(MSR_DEADLINE, read_tsc() - 1000); /* in the past: now */
	taken_wait_halted(1);
	fact("deadline.past", taken.count);
	taken_begin();
	write_msr(MSR_DEADLINE, read_tsc() + 1000000000000ull);
	write_msr(MSR_DEADLINE, 0);
	pause_a_while();
	fact("deadline.cancelled", taken.count);
	apic_write(APIC_TIMER_INITIAL, 7777); /* ignored in this mode */
	check("deadline.initial", apic_read(APIC_TIMER_INITIAL) != 7777);
	apic_write(APIC_LVT_TIMER, TIMER);
	write_msr(MSR_DEADLINE, read_tsc() + 1000); /* ignored in the other */
	fact("deadline.other_mode", read_msr(MSR_DEADLINE));
	trap_hook = NULL;
}

static void registers(void)
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
	trap_hook = taken_hook;
	taken.no_eoi = true;
	taken_begin();
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
	registers();
	apic_timer();
	deadline();
	x2apic();
}
