/* SPDX-License-Identifier: MIT */
#include "machine/boot.h"

#include <string.h>

#include "machine/layout.h"

/* Flat segments of 4 GiB, accessed (SDM 3A 3.4.5). */
#define DESCRIPTOR_CODE64 UINT64_C(0x00af9b000000ffff)
#define DESCRIPTOR_CODE32 UINT64_C(0x00cf9b000000ffff)
#define DESCRIPTOR_DATA UINT64_C(0x00cf93000000ffff)

bool boot_write_gdt(struct memory *memory, uint64_t gpa, enum boot_mode mode)
{
	uint64_t table[BOOT_GDT_SIZE / 8] = {0};
	table[BOOT_CODE_SELECTOR / 8] = mode == BOOT_LONG ? DESCRIPTOR_CODE64 : DESCRIPTOR_CODE32;
	table[BOOT_DATA_SELECTOR / 8] = DESCRIPTOR_DATA;
	return memory_load(memory, gpa, table, sizeof table);
}

uint64_t boot_low_end(uint64_t memory_size)
{
	return memory_size < LAYOUT_LOW_LIMIT ? memory_size : LAYOUT_LOW_LIMIT;
}

unsigned boot_memory_map(uint64_t memory_size, struct boot_range range[BOOT_MAX_RANGES])
{
	unsigned count = 0;
	range[count++] = (struct boot_range){0, LAYOUT_EBDA_BASE, BOOT_RANGE_USABLE};
	range[count++] = (struct boot_range){LAYOUT_EBDA_BASE, LAYOUT_VGA_BASE - LAYOUT_EBDA_BASE, BOOT_RANGE_RESERVED};
	range[count++] = (struct boot_range){LAYOUT_ACPI_BASE, LAYOUT_ACPI_END - LAYOUT_ACPI_BASE, BOOT_RANGE_RESERVED};
	range[count++] =
	    (struct boot_range){LAYOUT_ACPI_END, boot_low_end(memory_size) - LAYOUT_ACPI_END, BOOT_RANGE_USABLE};
	if (memory_size > LAYOUT_LOW_LIMIT)
		range[count++] =
		    (struct boot_range){LAYOUT_HIGH_BASE, memory_size - LAYOUT_LOW_LIMIT, BOOT_RANGE_USABLE};
	return count;
}

bool boot_load(const struct boot_request *request, struct boot_state *state, struct error *error)
{
	const struct image *kernel = request->kernel;
	if (linux_probe(kernel)) {
		if (request->module_count > 0)
			return error_set(error, ERROR_INPUT, "%s is a Linux kernel: give it --initrd, not --module",
					 kernel->path);
		return linux_load(request, state, error);
	}
	if (multiboot_probe(kernel)) {
		if (request->initrd != NULL)
			return error_set(error, ERROR_INPUT, "%s is a Multiboot kernel: give it --module, not --initrd",
					 kernel->path);
		return multiboot_load(request, state, error);
	}
	if (kernel->size >= 4 && memcmp(kernel->bytes,
					"\x7f"
					"ELF",
					4) == 0)
		return error_set(error, ERROR_INPUT,
				 "%s is an ELF file without a Multiboot header: for Linux, give the bzImage (vmlinuz)",
				 kernel->path);
	return error_set(error, ERROR_INPUT, "%s is no kernel: it is neither a Linux bzImage nor a Multiboot 1 image",
			 kernel->path);
}
