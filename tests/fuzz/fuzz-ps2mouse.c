/* SPDX-License-Identifier: MIT */
/* The mouse: any bytes from the host, any motion, any time. Identify always works afterwards. */
#include "devices/ps2mouse.h"
#include "fuzz-rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_rig rig;
	fuzz_init(&rig, data, size);
	struct ps2mouse *mouse = ps2mouse_create(&rig.clock, &(const struct ps2_port){0}, NULL);
	assert(mouse != NULL);
	struct ps2_device device = ps2mouse_device(mouse);
	uint8_t byte;
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		if (action == 0xff)
			ps2mouse_reset(mouse);
		else if (action >= 0xe0)
			fuzz_advance(&rig, 30);
		else if (action >= 0xc0)
			ps2mouse_buttons(mouse, fuzz_byte(&rig));
		else if (action >= 0x80) {
			int x = (int)(uint32_t)fuzz_number(&rig, 4), y = (int8_t)fuzz_byte(&rig);
			ps2mouse_move(mouse, x, y, (int8_t)fuzz_byte(&rig));
		} else if (action >= 0x40)
			device.receive(device.opaque, fuzz_byte(&rig));
		else
			(void)device.transmit(device.opaque, &byte);
	}
	device.receive(device.opaque, 0xec); /* out of wrap mode */
	device.receive(device.opaque, 0xf2);
	assert(device.transmit(device.opaque, &byte) && byte == 0xfa);
	assert(device.transmit(device.opaque, &byte) && (byte == 0 || byte == 3));
	assert(!device.transmit(device.opaque, &byte));
	ps2mouse_destroy(mouse);
	assert(rig.clock.timers == NULL);
	return 0;
}
