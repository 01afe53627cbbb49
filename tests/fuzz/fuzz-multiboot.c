/* SPDX-License-Identifier: MIT */
/*
 * A valid Multiboot kernel of either kind with any header bytes changed, and any bytes as a kernel: the loader refuses
 * it or stays within guest memory. The first input byte chooses; then each three bytes are an offset into the header
 * and a value, or the rest is the file.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/boot-images.h"

#define MEMORY (UINT64_C(8) << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(const uint8_t *bytes, size_t size)
{
	char path[] = "kernel";
	uint8_t module_bytes[1000] = {0};
	struct memory memory;
	struct boot_state state;
	struct error error = {0};
	const struct boot_module module = {
	    .image = {.path = path, .fd = -1, .size = sizeof module_bytes, .bytes = module_bytes}, .text = "module a"};
	/* An exact copy on the heap: a sanitizer sees what reads beyond it. */
	struct image kernel = {.path = path, .fd = -1, .size = size, .bytes = malloc(size)};
	if (kernel.bytes == NULL || !make_memory(&memory, MEMORY))
		abort();
	memcpy(kernel.bytes, bytes, size);
	const struct boot_request request = {.memory = &memory,
					     .memory_size = MEMORY,
					     .kernel = &kernel,
					     .module = &module,
					     .module_count = 1,
					     .command_line = ""};
	if (multiboot_probe(&kernel) && !multiboot_load(&request, &state, &error))
		assert(error.text[0] != 0 && strchr(error.text, '\n') == NULL);
	memory_destroy(&memory);
	free(kernel.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t kernel[TEST_MULTIBOOT_SIZE];
	if (size < 2)
		return 0;
	if (data[0] < 32) {
		load(data + 1, size - 1);
		return 0;
	}
	bool elf = (data[0] & 8) != 0;
	if (elf)
		make_multiboot_elf(kernel);
	else
		make_multiboot(kernel);
	for (size_t i = 2; i + 2 < size && i < 2 + 3 * (data[0] % 8u); i += 3) {
		unsigned offset = data[i] | (unsigned)data[i + 1] << 8;
		kernel[elf ? offset % 84 : 0x4c + offset % 20] = data[i + 2];
	}
	load(kernel, sizeof kernel - data[1] % 64u * 128u);
	return 0;
}
