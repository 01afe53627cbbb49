/* SPDX-License-Identifier: MIT */
#include "apic.h"

struct taken taken;

static void eoi(unsigned vector)
{
	if (vector >= 0x28 && vector < 0x30)
		outb(0xa0, 0x20);
	if (vector >= 0x20 && vector < 0x30)
		outb(0x20, 0x20);
	else if (vector != 2 && vector != 0xff)
		apic_write(APIC_EOI, 0);
}

bool taken_hook(struct frame *frame)
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

void taken_begin(void)
{
	taken.count = 0;
	trap_hook = taken_hook;
}

void apic_send_self(unsigned vector)
{
	apic_write(APIC_ICR, ICR_SELF | vector);
	for (unsigned i = 0; i < 1000 && !apic_bit(APIC_IRR, vector); i++)
		;
}

/* Each interrupt that was taken: vector and place. */
void taken_report(const char *name, code_function *code)
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

bool taken_wait(unsigned count)
{
	for (unsigned i = 0; i < SPINS && *(volatile unsigned *)&taken.count < count; i++)
		__asm__ volatile("sti; nop; cli");
	return taken.count >= count;
}

void taken_wait_halted(unsigned count)
{
	while (*(volatile unsigned *)&taken.count < count)
		__asm__ volatile("sti; hlt; cli");
}

void pause_a_while(void)
{
	for (volatile unsigned i = 0; i < 20000; i++)
		__asm__ volatile("sti; nop; cli");
}
