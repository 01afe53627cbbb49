/* SPDX-License-Identifier: MIT */
/*
 * Random bytes at CPL 0 with everything in reach: tables, ports, MSRs, its own memory. The guest soon destroys itself;
 * each start has another seed, and after each death it is started again by its driver. Only the host's side is watched.
 */
#include "hostile.h"

static uint8_t text[256] __attribute__((aligned(256)));

static bool go_on(struct frame *frame)
{
	if (frame->vector == TIMER)
		apic_write(APIC_EOI, 0);
	return false;
}

void guest_main(void)
{
	random_state ^= read_tsc() << 1;
	apic_start();
	apic_write(APIC_LVT_TIMER, APIC_PERIODIC | TIMER);
	apic_write(APIC_TIMER_DIVIDE, 0xb);
	apic_write(APIC_TIMER_INITIAL, 1000000);
	trap_hook = go_on;
	for (;;) {
		for (unsigned i = 0; i < sizeof(text); i += 8)
			*(uint64_t *)(void *)(text + i) = random_64();
		for (unsigned i = 0; i < sizeof(regs) / sizeof(word); i++)
			((word *)&regs)[i] = random_below(2) ? (word)random_64() : random_below(32 << 20);
		run((code_function *)(word)text);
	}
}
