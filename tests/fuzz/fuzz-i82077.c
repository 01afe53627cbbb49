/* SPDX-License-Identifier: MIT */
/* The floppy controller: any registers, DMA rounds and time, with a disk and without. A reset always helps. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/i82077.h"
#include "fuzz-rig.h"

static void note_dreq(void *opaque, int channel, bool level)
{
	(void)channel;
	*(bool *)opaque = level;
}

/* A command that begins well: data commands with small parameters. */
static void send_command(struct fuzz_rig *rig)
{
	static const uint8_t codes[] = {0xe6, 0xc5, 0x4d, 0x4a, 0x0f, 0x07, 0x46, 0x45, 0x56, 0x4c, 0x42, 0x03, 0x13};
	io_write(&rig->ports, 0x3f5, 1, codes[fuzz_byte(rig) % sizeof codes]);
	for (unsigned i = 0; i < 8; i++)
		io_write(&rig->ports, 0x3f5, 1, i == 4 ? 2u : fuzz_byte(rig) & (i == 0 ? 7u : 3u));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {{false, 0x3f2, 4}, {false, 0x3f7, 1}, {false, 0x3f5, 1}};
	struct fuzz_rig rig;
	uint8_t bytes[1024];
	char path[64];
	bool dreq = false;
	fuzz_init(&rig, data, size);
	int image = memfd_create("fuzz", MFD_CLOEXEC);
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", image);
	int truncated = ftruncate(image, 1474560);
	assert(image >= 0 && truncated == 0);
	struct floppy *floppy = floppy_open(path, size % 3 == 0, NULL);
	const struct irq_line irq = fuzz_line(&rig, 6);
	struct i82077 *fdc = i82077_create(&rig.clock, &irq, NULL);
	bool mapped = floppy != NULL && fdc != NULL && i82077_map(fdc, &rig.ports, NULL);
	assert(mapped);
	const struct dma_device dma = i82077_dma_device(fdc);
	i82077_set_dma(fdc, &(const struct dma_request){note_dreq, &dreq, 2});
	i82077_insert(fdc, 0, floppy);
	io_write(&rig.ports, 0x3f2, 1, 0x1c);
	io_write(&rig.ports, 0x3f7, 1, 0);
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		unsigned count = 1 + fuzz_byte(&rig) * 4u;
		memset(bytes, (int)count, sizeof bytes);
		if (action == 0xff)
			i82077_reset(fdc);
		else if (action == 0xfe)
			i82077_insert(fdc, count >> 4 & 1, (count & 4) ? floppy : NULL);
		else if (action >= 0xf0)
			fuzz_advance(&rig, 31);
		else if (action >= 0xe0)
			dma.terminal_count(dma.opaque);
		else if (action >= 0xc0 && dreq)
			assert(dma.read(dma.opaque, bytes, count < 1024 ? count : 1024) <= 1024);
		else if (action >= 0xa0 && dreq)
			assert(dma.write(dma.opaque, bytes, count < 1024 ? count : 1024) <= 1024);
		else if (action >= 0x70)
			send_command(&rig);
		else
			fuzz_access(&rig, windows, 3, action < 0x40);
	}
	io_write(&rig.ports, 0x3f2, 1, 0);
	assert(!fuzz_level(&rig, 6) && !dreq);
	io_write(&rig.ports, 0x3f2, 1, 0x0c);
	uint64_t status = io_read(&rig.ports, 0x3f4, 1);
	assert(status == 0x80);
	i82077_destroy(fdc);
	floppy_close(floppy);
	(void)close(image);
	assert(rig.clock.timers == NULL);
	return 0;
}
