/* SPDX-License-Identifier: MIT */
/* Any bytes as a Linux kernel: the loader refuses them or stays within guest memory. */
#include <assert.h>
#include <string.h>

#include "machine/boot.h"

#define MEMORY (UINT64_C(24) << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[] = "kernel";
	uint8_t initrd_bytes[1000] = {0};
	struct memory memory;
	struct boot_state state;
	struct error error = {0};
	const struct image initrd = {.path = path, .fd = -1, .size = sizeof initrd_bytes, .bytes = initrd_bytes};
	const struct image kernel = {.path = path, .fd = -1, .size = size, .bytes = (uint8_t *)(uintptr_t)data};
	if (size == 0 || !linux_probe(&kernel))
		return 0;
	if (!memory_init(&memory, MEMORY, NULL) || !boot_add_regions(&memory, MEMORY, NULL))
		return 0;
	const struct boot_request request = {.memory = &memory,
					     .memory_size = MEMORY,
					     .kernel = &kernel,
					     .initrd = &initrd,
					     .command_line = "console=ttyS0",
					     .rsdp = 0xe0000};
	if (linux_load(&request, &state, &error))
		assert(memory_page(&memory, state.rip, NULL) != NULL);
	else
		assert(error.text[0] != 0 && strchr(error.text, '\n') == NULL);
	memory_destroy(&memory);
	return 0;
}
