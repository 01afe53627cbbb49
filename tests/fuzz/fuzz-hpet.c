/* SPDX-License-Identifier: MIT */
/*
 * The HPET between any guest and a host that is late: register accesses, time, lines of the 8254 and the RTC. The
 * counter goes forward as time does, interrupts are not more than time allows, and all goes away at the end.
 */
#include "fuzz-rig.h"

#include "devices/hpet.h"
#include "ledger/ledger.h"

#define BASE UINT64_C(0xfed00000)

/* Time passes by so much that the host is late for several periods, and by less. */
static void check_counter(struct fuzz_rig *rig)
{
	uint64_t before = io_read(&rig->mmio, BASE + 0xf0, 8), ticks = fuzz_byte(rig) * UINT64_C(1000);
	bool counting = (io_read(&rig->mmio, BASE + 0x10, 4) & 1) != 0;
	clock_advance(&rig->clock, ticks * HPET_TICK_NS);
	assert(io_read(&rig->mmio, BASE + 0xf0, 8) - before == (counting ? ticks : 0));
}

/* The guest took an interrupt of this output, whether there was one or not. */
static void take(struct hpet *hpet, unsigned output)
{
	const struct irq_watcher watcher = hpet_watcher(hpet, output);
	watcher.taken(watcher.opaque);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {
	    {true, BASE, 0x28}, {true, BASE + 0xf0, 8}, {true, BASE + 0x100, 0x60}, {true, BASE, HPET_SIZE}};
	struct fuzz_rig rig;
	fuzz_init(&rig, data, size);
	struct ledger_ticks ticks = {{0}};
	struct hpet_config config = {
	    .clock = &rig.clock, .legacy = {fuzz_line(&rig, 4), fuzz_line(&rig, 5)}, .ticks = &ticks};
	for (unsigned i = 0; i < HPET_ROUTES; i++)
		config.route[i] = fuzz_line(&rig, (int)i);
	struct hpet *hpet = hpet_create(&config, NULL);
	assert(hpet != NULL && hpet_map(hpet, &rig.mmio, BASE, NULL));
	const struct irq_line input[] = {hpet_input(hpet, HPET_TIMER_IRQ), hpet_input(hpet, HPET_RTC_IRQ)};
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		if (action < 0xa0)
			fuzz_access(&rig, windows, 4, (action & 1) != 0);
		else if (action < 0xd0)
			check_counter(&rig);
		else if (action < 0xf0)
			take(hpet, action % (HPET_ROUTES + HPET_LEGACY));
		else if (action < 0xfe)
			irq_set(&input[action & 1], (action & 2) != 0);
		else
			hpet_reset(hpet);
	}
	irq_set(&input[0], false);
	irq_set(&input[1], false);
	hpet_reset(hpet);
	assert(rig.levels == 0);
	/* After the reset no tick waits. */
	assert(ticks.count[LEDGER_TICK_DELIVERED] + ticks.count[LEDGER_TICK_LOST] == ticks.count[LEDGER_TICK_DUE]);
	assert(ticks.count[LEDGER_TICK_BUNCHED] <= ticks.count[LEDGER_TICK_DELIVERED]);
	hpet_destroy(hpet);
	io_map_remove(&rig.mmio, BASE);
	assert(rig.clock.timers == NULL);
	return 0;
}
