/* SPDX-License-Identifier: MIT */
/* The 8254: any programming at any time. No division by zero, no endless ticking, and the latches agree. */
#include "devices/i8254.h"
#include "fuzz-rig.h"

/* A latched count is what a read-back at the same moment latches. */
static void check_latches(struct fuzz_rig *rig)
{
	for (unsigned channel = 0; channel < 3; channel++) {
		io_write(&rig->ports, 0x43, 1, channel << 6 | 0x34); /* mode 2, both bytes */
		io_write(&rig->ports, 0x40 + channel, 1, fuzz_byte(rig));
		io_write(&rig->ports, 0x40 + channel, 1, fuzz_byte(rig));
		fuzz_advance(rig, 16);
		io_write(&rig->ports, 0x43, 1, channel << 6);
		uint64_t low = io_read(&rig->ports, 0x40 + channel, 1);
		uint64_t high = io_read(&rig->ports, 0x40 + channel, 1);
		io_write(&rig->ports, 0x43, 1, 0xd0u | 2u << channel);
		assert(io_read(&rig->ports, 0x40 + channel, 1) == low);
		assert(io_read(&rig->ports, 0x40 + channel, 1) == high);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {{false, 0x40, 4}, {false, 0x61, 1}};
	struct fuzz_rig rig;
	fuzz_init(&rig, data, size);
	struct irq_line irq = fuzz_line(&rig, 0);
	struct i8254 *pit = i8254_create(&rig.clock, &irq, NULL);
	assert(pit != NULL && i8254_map(pit, &rig.ports, NULL));
	const struct irq_watcher watcher = i8254_watcher(pit);
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		if (action < 0x80)
			fuzz_access(&rig, windows, 2, true);
		else if (action < 0xb0)
			fuzz_access(&rig, windows, 2, false);
		else if (action < 0xe0)
			fuzz_advance(&rig, 20);
		else if (action < 0xfc)
			watcher.taken(watcher.opaque);
		else if (action < 0xfe)
			watcher.unmasked(watcher.opaque);
		else if (action < 0xff)
			check_latches(&rig);
		else
			i8254_reset(pit);
	}
	i8254_destroy(pit);
	assert(rig.clock.timers == NULL);
	return 0;
}
