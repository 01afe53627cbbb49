/* SPDX-License-Identifier: MIT */
/* The 8259s: any programming, any lines. INTR promises an interrupt that is not spurious. */
#include "devices/i8259.h"
#include "fuzz-rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {{false, 0x20, 2}, {false, 0xa0, 2}, {false, 0x4d0, 2}};
	struct fuzz_rig rig;
	fuzz_init(&rig, data, size);
	struct irq_line intr = fuzz_line(&rig, 0);
	struct i8259 *pic = i8259_create(&intr, NULL);
	assert(pic != NULL && i8259_map(pic, &rig.ports, NULL));
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		bool pending = fuzz_level(&rig, 0);
		if (action < 0x60) {
			fuzz_access(&rig, windows, 3, true);
		} else if (action < 0x90) {
			fuzz_access(&rig, windows, 3, false);
		} else if (action < 0xd0) {
			i8259_input(pic, action & 15, (action & 16) != 0);
		} else if (action < 0xff) {
			uint8_t vector = i8259_acknowledge(pic);
			/* What nobody asked for is answered as input 7. */
			assert(pending || (vector & 7) == 7);
		} else {
			i8259_reset(pic);
			assert(!fuzz_level(&rig, 0));
		}
	}
	i8259_destroy(pic);
	return 0;
}
