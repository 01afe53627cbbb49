/* SPDX-License-Identifier: MIT */
/*
 * A system that keeps time as DOS does: it counts the ticks of IRQ 0. For four seconds by the PM timer, while its host
 * is late at times, it must count as many as there were. ticks.py makes the host late.
 */
#include "guest.h"

#define TICK 1193u /* CLKs: 1 ms */
#define CLK_HZ 1193182u
#define PM_TIMER 0x608
#define PM_HZ 3579545u
#define SECONDS 4u

static volatile unsigned ticks;

static bool count(struct frame *frame)
{
	if (frame->vector != 0x20)
		return false;
	ticks++;
	outb(0x20, 0x20);
	return true;
}

/* 24 bits, which run over every 4.7 seconds: it is read more often than that. */
static uint32_t pm_timer(void)
{
	uint32_t value;
	__asm__ volatile("inl %w1, %0" : "=a"(value) : "d"(PM_TIMER));
	return value & 0xffffff;
}

void guest_main(void)
{
	uint64_t elapsed = 0;

	pic_start();
	trap_hook = count;
	outb(0x43, 0x34);
	outb(0x40, TICK & 0xff);
	outb(0x40, TICK >> 8);
	print("ready\n");
	print_flush();
	uint32_t last = pm_timer();
	outb(0x21, 0xfe);
	while (elapsed < (uint64_t)PM_HZ * SECONDS) {
		__asm__ volatile("sti; hlt; cli");
		uint32_t now = pm_timer();
		elapsed += (now - last) & 0xffffff;
		last = now;
	}
	outb(0x21, 0xff);
	fact("counted", ticks);
	fact("expected", elapsed * CLK_HZ / PM_HZ / TICK);
}
