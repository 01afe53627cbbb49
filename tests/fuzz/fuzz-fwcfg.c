/* SPDX-License-Identifier: MIT */
/* Firmware configuration: any accesses and descriptors. Read-only items never change. */
#include <string.h>

#include "devices/fwcfg.h"
#include "fuzz-rig.h"

#define RAM_SIZE 0x4000u

/* A descriptor near what makes sense, at a random place. */
static void start_dma(struct fuzz_rig *rig, struct memory *memory)
{
	uint8_t descriptor[16];
	for (unsigned i = 0; i < sizeof descriptor; i++)
		descriptor[i] = fuzz_byte(rig);
	if (descriptor[0] & 0x80) {
		descriptor[0] = 0;
		descriptor[1] &= 0x3f;
		memset(descriptor + 4, 0, 2);
		memset(descriptor + 8, 0, 6);
	}
	uint64_t address = fuzz_number(rig, 2) % (RAM_SIZE + 32);
	(void)memory_write(memory, address, descriptor, sizeof descriptor);
	io_write(&rig->ports, 0x514, 4, 0);
	io_write(&rig->ports, 0x518, 4, __builtin_bswap32((uint32_t)address));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {{false, 0x510, 2}, {false, 0x514, 8}};
	static const char *const files[] = {"a", "etc/table-loader", "w"};
	struct fuzz_rig rig;
	struct memory memory;
	fuzz_init(&rig, data, size);
	bool ready = memory_init(&memory, RAM_SIZE, NULL) && memory_add_region(&memory, 0, RAM_SIZE, 0, false, NULL);
	assert(ready);
	struct fwcfg *fwcfg = fwcfg_create(&memory, NULL);
	assert(fwcfg != NULL);
	for (unsigned i = 0; i < 3; i++) {
		bool added = fwcfg_add_file(fwcfg, files[i], "0123456789", 10, i == 2, NULL);
		assert(added);
	}
	bool mapped = fwcfg_map(fwcfg, &rig.ports, NULL);
	assert(mapped);
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		if (action == 0xff)
			fwcfg_reset(fwcfg);
		else if (action >= 0xc0)
			start_dma(&rig, &memory);
		else if (action >= 0xb0)
			io_write(&rig.ports, 0x510, 2, action & 1 ? 0x20 + (action >> 1 & 3) : 0x19);
		else
			fuzz_access(&rig, windows, 2, action < 0x40);
	}
	for (unsigned key = 0x20; key < 0x22; key++) {
		io_write(&rig.ports, 0x510, 2, key);
		for (unsigned i = 0; i < 10; i++) {
			uint64_t byte = io_read(&rig.ports, 0x511, 1);
			assert(byte == '0' + i);
		}
	}
	fwcfg_destroy(fwcfg);
	memory_destroy(&memory);
	return 0;
}
