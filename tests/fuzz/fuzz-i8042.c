/* SPDX-License-Identifier: MIT */
/* The keyboard controller and port 92h: any bytes. A line is high only while the output buffer is full. */
#include "fuzz-rig.h"

#include "devices/i8042.h"
#include "devices/port92.h"

static void nothing(void *opaque)
{
	(void)opaque;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {{false, 0x60, 1}, {false, 0x64, 1}, {false, 0x92, 1}};
	struct fuzz_rig rig;
	struct port92 port92;
	fuzz_init(&rig, data, size);
	const struct i8042_config config = {
	    .keyboard_irq = fuzz_line(&rig, 1), .auxiliary_irq = fuzz_line(&rig, 12), .reset = nothing};
	struct i8042 *i8042 = i8042_create(&config, NULL);
	port92_init(&port92, nothing, NULL);
	assert(i8042 != NULL && i8042_map(i8042, &rig.ports, NULL) && port92_map(&port92, &rig.ports, NULL));
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		if (action == 0xff)
			i8042_reset(i8042);
		else
			fuzz_access(&rig, windows, 3, action < 0xa0);
		uint64_t status = io_read(&rig.ports, 0x64, 1);
		assert(!fuzz_level(&rig, 1) || (status & 0x21) == 0x01);
		assert(!fuzz_level(&rig, 12) || (status & 0x21) == 0x21);
	}
	i8042_destroy(i8042);
	return 0;
}
