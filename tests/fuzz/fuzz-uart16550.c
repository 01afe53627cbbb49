/* SPDX-License-Identifier: MIT */
/*
 * The 16550A between any guest and a back that fills, drains and feeds at any time. Nothing is lost without an
 * overrun, input never exceeds the room offered, and the interrupt line agrees with IIR.
 */
#include "fuzz-rig.h"

#include "backend/chardev-impl.h"
#include "devices/uart16550.h"

#define BASE 0x3f8u

struct stream {
	struct chardev base;
	unsigned room;
	unsigned waiting; /* bytes of input not yet delivered */
};

static unsigned stream_write(struct chardev *chardev, const uint8_t *bytes, unsigned count)
{
	struct stream *stream = (struct stream *)chardev;
	(void)bytes;
	unsigned taken = count < stream->room ? count : stream->room;
	stream->room -= taken;
	return taken;
}

static void stream_feed(struct chardev *chardev)
{
	struct stream *stream = (struct stream *)chardev;
	static const uint8_t bytes[16] = "0123456789abcdef";
	while (stream->waiting > 0) {
		unsigned room = chardev_input_room(chardev);
		unsigned count = room < stream->waiting ? room : stream->waiting;
		if (count == 0)
			return;
		assert(count <= sizeof bytes || chardev->front.input == NULL);
		stream->waiting -= count;
		chardev_push_input(chardev, bytes, count);
	}
}

static const struct chardev_ops stream_ops = {.write = stream_write, .input_ready = stream_feed};

static void check_interrupt(struct fuzz_rig *rig)
{
	bool level = fuzz_level(rig, 0);
	unsigned mcr = (unsigned)io_read(&rig->ports, BASE + 4, 1);
	unsigned iir = (unsigned)io_read(&rig->ports, BASE + 2, 1);
	assert(level == (!(iir & 1) && (mcr & 0x18) == 0x08));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {{false, BASE, 8}};
	struct fuzz_rig rig;
	fuzz_init(&rig, data, size);
	struct stream stream = {.base = {.ops = &stream_ops}, .room = 4};
	const struct uart16550_config config = {
	    .clock = &rig.clock, .irq = fuzz_line(&rig, 0), .chardev = &stream.base};
	struct uart16550 *uart = uart16550_create(&config, NULL);
	assert(uart != NULL && uart16550_map(uart, &rig.ports, BASE, NULL));
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		if (action < 0x60) {
			fuzz_access(&rig, windows, 1, true);
		} else if (action < 0xa0) {
			fuzz_access(&rig, windows, 1, false);
		} else if (action < 0xc0) {
			stream.waiting += action & 31;
			stream_feed(&stream.base);
		} else if (action < 0xd0) {
			stream.room += action & 15;
			chardev_push_ready(&stream.base);
		} else if (action < 0xe0) {
			fuzz_advance(&rig, 32);
		} else if (action < 0xff) {
			check_interrupt(&rig);
		} else {
			uart16550_reset(uart);
			assert(!fuzz_level(&rig, 0));
		}
	}
	uart16550_destroy(uart);
	assert(rig.clock.timers == NULL);
	return 0;
}
