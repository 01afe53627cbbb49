/* SPDX-License-Identifier: MIT */
/*
 * What hostile guests share. Each is a kernel that tries to reach beyond its machine. Whatever it does, the host's
 * process must live and answer; tests/isolation/hostile.py watches that from outside, and scans the guest's memory for
 * host addresses at the end.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "apic.h"

/* xorshift64*: the same sequence for the same seed. */
static uint64_t random_state = 0x9e3779b97f4a7c15;

static inline uint64_t random_64(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1d;
}

static inline unsigned random_below(unsigned limit)
{
	return (unsigned)(random_64() >> 33) % limit;
}

/* A megabyte that nothing here may touch. */
static uint64_t canary[1 << 17] __attribute__((aligned(4096), unused));

static inline void canary_plant(void)
{
	for (unsigned i = 0; i < 1 << 17; i++)
		canary[i] = i * 0x0123456789abcdefull ^ 0x5555aaaa5555aaaaull;
}

static inline void canary_check(const char *name)
{
	bool alive = true;
	for (unsigned i = 0; i < 1 << 17; i++) {
		if (canary[i] != (i * 0x0123456789abcdefull ^ 0x5555aaaa5555aaaaull))
			alive = false;
	}
	check(name, alive);
}

/*
 * CPL 3 may read the first 4 MiB of the identity map, where this program is, and write none of it; the rest is the
 * kernel's. With CR0.WP clear the kernel itself writes everywhere.
 */
static inline void ring_3_confine(void)
{
#ifndef __x86_64__
	paging_start(PAGING_PAE);
#endif
	for (uint64_t at = 0; at < 0x100000000ull; at += 0x200000) {
#ifndef __x86_64__
		if (at >= AREA && at < AREA_END)
			continue;
#endif
		void *entry = entry_of((word)at, 2);
		uint64_t flags = at < 0x400000 ? PTE_W : PTE_U | PTE_W;
		entry_write(entry, entry_read(entry) & ~flags);
	}
	write_cr3(read_cr3());
}

/* Ends a run that would never end: a timer interrupt is a trap like others. */
static bool watchdog_hook(struct frame *frame)
{
	if (frame->vector == TIMER)
		apic_write(APIC_EOI, 0);
	return false;
}

static inline void watchdog_start(void)
{
	apic_start();
	apic_write(APIC_TIMER_DIVIDE, 3); /* by 16 */
	apic_write(APIC_LVT_TIMER, APIC_PERIODIC | TIMER);
	apic_write(APIC_TIMER_INITIAL, 500000);
	run_flags = RUN_FLAGS_NONE | FLAG_IF;
	trap_hook = watchdog_hook;
}

/* Says that everything is done and waits to be looked at and killed. */
static inline void rest(void)
{
	apic_write(APIC_LVT_TIMER, APIC_MASKED);
	print("END\n");
	print_flush();
	for (;;)
		__asm__ volatile("pause");
}

#endif
