/* SPDX-License-Identifier: MIT */
/* The keyboard: any bytes from the host, any keys, any time. What it says is bounded. */
#include "devices/ps2keyboard.h"
#include "fuzz-rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_rig rig;
	fuzz_init(&rig, data, size);
	struct ps2keyboard *keyboard = ps2keyboard_create(&rig.clock, &(const struct ps2_port){0}, NULL);
	assert(keyboard != NULL);
	struct ps2_device device = ps2keyboard_device(keyboard);
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig), byte;
		if (action == 0xff)
			ps2keyboard_reset(keyboard);
		else if (action >= 0xf0)
			fuzz_advance(&rig, 33);
		else if (action >= 0x80)
			ps2keyboard_key(keyboard, fuzz_byte(&rig), action & 1);
		else if (action >= 0x60)
			device.receive(device.opaque, fuzz_byte(&rig));
		else
			(void)device.transmit(device.opaque, &byte);
		assert(ps2keyboard_leds(keyboard) < 8);
	}
	uint8_t byte;
	unsigned left = 0;
	device.receive(device.opaque, 0xee); /* ends a command that waits */
	while (device.transmit(device.opaque, &byte))
		left++;
	assert(left >= 1 && left <= PS2_QUEUE + 2);
	assert(ps2keyboard_is_idle(keyboard));
	ps2keyboard_destroy(keyboard);
	assert(rig.clock.timers == NULL);
	return 0;
}
