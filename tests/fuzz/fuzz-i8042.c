/* SPDX-License-Identifier: MIT */
/* The keyboard controller with keyboard and mouse, and port 92h: any bytes. A line is high only while the output buffer
 * is full. */
#include "fuzz-rig.h"

#include "devices/i8042.h"
#include "devices/port92.h"
#include "devices/ps2keyboard.h"
#include "devices/ps2mouse.h"

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
	const struct i8042_config config = {.keyboard_irq = fuzz_line(&rig, 1),
					    .auxiliary_irq = fuzz_line(&rig, 12),
					    .reset = nothing,
					    .clock = &rig.clock};
	struct i8042 *i8042 = i8042_create(&config, NULL);
	port92_init(&port92, nothing, NULL);
	assert(i8042 != NULL && i8042_map(i8042, &rig.ports, NULL) && port92_map(&port92, &rig.ports, NULL));
	const struct ps2_port keyboard_port = i8042_port(i8042, I8042_KEYBOARD);
	const struct ps2_port mouse_port = i8042_port(i8042, I8042_AUXILIARY);
	struct ps2keyboard *keyboard = ps2keyboard_create(&rig.clock, &keyboard_port, NULL);
	struct ps2mouse *mouse = ps2mouse_create(&rig.clock, &mouse_port, NULL);
	const struct ps2_device keyboard_device = ps2keyboard_device(keyboard), mouse_device = ps2mouse_device(mouse);
	if (size > 0 && (data[0] & 3)) { /* sometimes one is missing */
		if (data[0] & 1)
			i8042_attach(i8042, I8042_KEYBOARD, &keyboard_device);
		if (data[0] & 2)
			i8042_attach(i8042, I8042_AUXILIARY, &mouse_device);
	}
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		if (action == 0xff)
			i8042_reset(i8042);
		else if (action >= 0xf0)
			fuzz_advance(&rig, 32);
		else if (action >= 0xe8)
			ps2keyboard_key(keyboard, fuzz_byte(&rig) & 0x7f, action & 1);
		else if (action >= 0xe0)
			ps2mouse_move(mouse, (int8_t)fuzz_byte(&rig), action & 7, (action & 1) - 1);
		else
			fuzz_access(&rig, windows, 3, action < 0xa0);
		uint64_t status = io_read(&rig.ports, 0x64, 1);
		assert(!fuzz_level(&rig, 1) || (status & 0x21) == 0x01);
		assert(!fuzz_level(&rig, 12) || (status & 0x21) == 0x21);
	}
	ps2keyboard_destroy(keyboard);
	ps2mouse_destroy(mouse);
	i8042_destroy(i8042);
	assert(rig.clock.timers == NULL);
	return 0;
}
