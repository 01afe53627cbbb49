/* SPDX-License-Identifier: MIT */
/*
 * A valid Linux kernel with any header bytes changed, and any bytes as a kernel: the loader refuses it or stays within
 * guest memory. The first input byte chooses; then each three bytes are an offset into the header and a value, or the
 * rest is the file.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/boot-images.h"

#define MEMORY (UINT64_C(24) << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(const uint8_t *bytes, size_t size)
{
	char path[] = "kernel";
	uint8_t initrd_bytes[1000] = {0};
	struct memory memory;
	struct boot_state state;
	struct error error = {0};
	const struct image initrd = {.path = path, .fd = -1, .size = sizeof initrd_bytes, .bytes = initrd_bytes};
	/* An exact copy on the heap: a sanitizer sees what reads beyond it. */
	struct image kernel = {.path = path, .fd = -1, .size = size, .bytes = malloc(size)};
	if (kernel.bytes == NULL || !make_memory(&memory, MEMORY))
		abort();
	memcpy(kernel.bytes, bytes, size);
	const struct boot_request request = {.memory = &memory,
					     .memory_size = MEMORY,
					     .kernel = &kernel,
					     .initrd = &initrd,
					     .command_line = "console=ttyS0",
					     .rsdp = 0xe0000};
	if (linux_probe(&kernel) && linux_load(&request, &state, &error))
		assert(memory_page(&memory, state.rip, NULL) != NULL);
	else if (linux_probe(&kernel))
		assert(error.text[0] != 0 && strchr(error.text, '\n') == NULL);
	memory_destroy(&memory);
	free(kernel.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t kernel[TEST_BZIMAGE_SIZE];
	if (size < 2)
		return 0;
	if (data[0] < 32) {
		load(data + 1, size - 1);
		return 0;
	}
	make_bzimage(kernel);
	for (size_t i = 2; i + 2 < size && i < 2 + 3 * (data[0] % 8u); i += 3)
		kernel[0x1f1 + (data[i] | data[i + 1] << 8) % 0x9f] = data[i + 2];
	load(kernel, sizeof kernel - data[1] % 64u * 32u);
	return 0;
}
