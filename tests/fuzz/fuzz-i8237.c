/* SPDX-License-Identifier: MIT */
/* The DMA controllers: any registers, with devices that always want to move something. */
#include <string.h>

#include "devices/i8237.h"
#include "fuzz-rig.h"

#define RAM_SIZE 0x20000u

struct fuzz_device {
	unsigned moved, ends;
};

static unsigned device_read(void *opaque, uint8_t *bytes, unsigned count)
{
	struct fuzz_device *device = opaque;
	assert(count > 0);
	memset(bytes, 0x5a, count);
	device->moved += count;
	return device->moved % 3 == 0 ? count / 2 : count;
}

static unsigned device_write(void *opaque, const uint8_t *bytes, unsigned count)
{
	struct fuzz_device *device = opaque;
	assert(count > 0);
	device->moved += bytes[0] + bytes[count - 1];
	return device->moved % 3 == 0 ? count / 2 : count;
}

static void device_end(void *opaque)
{
	((struct fuzz_device *)opaque)->ends++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {{false, 0, 16}, {false, 0x80, 16}, {false, 0xc0, 32}};
	struct fuzz_rig rig;
	struct memory memory;
	struct fuzz_device device[I8237_CHANNELS] = {0};
	struct dma_request request[I8237_CHANNELS] = {0};
	fuzz_init(&rig, data, size);
	bool ready = memory_init(&memory, RAM_SIZE, NULL) && memory_add_region(&memory, 0, RAM_SIZE, 0, false, NULL);
	assert(ready);
	struct i8237 *dma = i8237_create(&memory, NULL);
	bool mapped = dma != NULL && i8237_map(dma, &rig.ports, NULL);
	assert(mapped);
	for (int i = 0; i < I8237_CHANNELS; i++) {
		const struct dma_device wired = {device_read, device_write, device_end, &device[i]};
		if (i != I8237_CASCADE)
			request[i] = i8237_attach(dma, i, &wired);
	}
	io_write(&rig.ports, 0xd6, 1, 0xc0);
	io_write(&rig.ports, 0xd4, 1, 0);
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		if (action == 0xff)
			i8237_reset(dma);
		else if (action >= 0xe0)
			dma_request_set(&request[action & 7], (action & 8) != 0);
		else
			fuzz_access(&rig, windows, 3, action < 0xb0);
	}
	for (unsigned channel = 0; channel < 4; channel++) { /* each flip-flop read leaves the other chip's alone */
		io_write(&rig.ports, 0x0c, 1, 0);
		io_write(&rig.ports, 0x0a, 1, 4 | channel);
		(void)io_read(&rig.ports, 0xc0, 1);
		uint64_t first = io_read(&rig.ports, 2 * channel, 2), second = io_read(&rig.ports, 2 * channel, 1);
		(void)io_read(&rig.ports, 2 * channel, 1);
		assert((first & 0xff) == second);
	}
	i8237_destroy(dma);
	memory_destroy(&memory);
	return 0;
}
