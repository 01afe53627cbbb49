/* SPDX-License-Identifier: MIT */
/* The I/O APIC: any entries, lines and EOIs. A level is sent only while its line is high, and not twice without an EOI.
 */
#include "fuzz-rig.h"

#include "devices/ioapic.h"

struct sink {
	uint32_t lines;
	bool refuse;
	unsigned in_service[256]; /* level messages taken and not ended, by vector */
};

static bool sink_send(void *opaque, const struct apic_message *message)
{
	struct sink *sink = opaque;
	assert(message->destination <= 0xff || message->destination == APIC_BROADCAST);
	if (message->level) {
		assert(sink->lines != 0);
		sink->in_service[message->vector] += !sink->refuse;
		assert(sink->in_service[message->vector] <= IOAPIC_INPUTS);
	}
	return !sink->refuse;
}

static void set_line(struct ioapic *ioapic, struct sink *sink, int input, bool level)
{
	uint32_t bit = UINT32_C(1) << input;
	sink->lines = level ? sink->lines | bit : sink->lines & ~bit;
	ioapic_input(ioapic, input, level);
}

/* Reprogramming an entry forgets what it had in service, so the count starts anew with everything masked. */
static void mask_everything(struct fuzz_rig *rig, struct sink *sink)
{
	for (unsigned i = 0; i < IOAPIC_INPUTS; i++) {
		io_write(&rig->mmio, IOAPIC_DEFAULT_BASE, 4, 0x10 + 2 * i);
		io_write(&rig->mmio, IOAPIC_DEFAULT_BASE + 0x10, 4, 0x10000);
		assert(io_read(&rig->mmio, IOAPIC_DEFAULT_BASE + 0x10, 4) == 0x10000);
	}
	*sink = (struct sink){.lines = sink->lines};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {{true, IOAPIC_DEFAULT_BASE, 0x48},
						     {true, IOAPIC_DEFAULT_BASE + 0x10, 4},
						     {true, IOAPIC_DEFAULT_BASE, 0x1000}};
	struct fuzz_rig rig;
	struct sink sink = {0};
	fuzz_init(&rig, data, size);
	const struct apic_sink apic_sink = {sink_send, &sink};
	struct ioapic *ioapic = ioapic_create(&apic_sink, fuzz_byte(&rig), NULL);
	assert(ioapic != NULL && ioapic_map(ioapic, &rig.mmio, IOAPIC_DEFAULT_BASE, NULL));
	for (unsigned count = 1; rig.left > 0; count++) {
		uint8_t action = fuzz_byte(&rig);
		if (count % 16 == 0) /* before the counts can exceed the inputs by reprogramming alone */
			mask_everything(&rig, &sink);
		if (action < 0x80)
			fuzz_access(&rig, windows, 3, true);
		else if (action < 0x90)
			fuzz_access(&rig, windows, 3, false);
		else if (action < 0xe0)
			set_line(ioapic, &sink, fuzz_byte(&rig) % IOAPIC_INPUTS, (action & 1) != 0);
		else if (action < 0xf8)
			ioapic_eoi(ioapic, fuzz_byte(&rig));
		else if (action < 0xff)
			sink.refuse = (action & 1) != 0;
		else
			ioapic_reset(ioapic);
	}
	ioapic_destroy(ioapic);
	return 0;
}
