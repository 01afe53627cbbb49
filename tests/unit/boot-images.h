/* SPDX-License-Identifier: MIT */
/* The smallest valid kernels of each kind, to be damaged by tests. */
#ifndef NFOLD_TESTS_BOOT_IMAGES_H
#define NFOLD_TESTS_BOOT_IMAGES_H

#include <string.h>

#include "base/bits.h"
#include "machine/boot.h"

#define TEST_MEMORY (UINT64_C(32) << 20)
#define TEST_BZIMAGE_SIZE 5120u /* 4 setup sectors, the boot sector, 5 sectors of kernel */
#define TEST_BZIMAGE_KERNEL 2560u
#define TEST_MULTIBOOT_SIZE 8704u

/* Protocol 2.15, relocatable, 64-bit entry, preferred at 16 MiB, 1 MiB to start in. The kernel's bytes are their
 * offset. */
static inline void make_bzimage(uint8_t *bytes)
{
	memset(bytes, 0, TEST_BZIMAGE_SIZE);
	bytes[0x1f1] = 4;
	store_le(bytes + 0x1f4, (TEST_BZIMAGE_SIZE - TEST_BZIMAGE_KERNEL) / 16, 4);
	store_le(bytes + 0x1fe, 0xaa55, 2);
	store_le(bytes + 0x200, 0x6aeb, 2); /* jmp over the header: it ends at 26Ch */
	memcpy(bytes + 0x202, "HdrS", 4);
	store_le(bytes + 0x206, 0x020f, 2);
	bytes[0x211] = 0x01;
	store_le(bytes + 0x214, 0x100000, 4);
	store_le(bytes + 0x22c, 0x7fffffff, 4);
	store_le(bytes + 0x230, 0x200000, 4);
	bytes[0x234] = 1;
	store_le(bytes + 0x236, 1, 2);
	store_le(bytes + 0x238, 2047, 4);
	store_le(bytes + 0x258, 0x1000000, 8);
	store_le(bytes + 0x260, 0x100000, 4);
	for (unsigned i = TEST_BZIMAGE_KERNEL; i < TEST_BZIMAGE_SIZE; i++)
		bytes[i] = (uint8_t)(i * 7);
}

/* Says itself where it goes: to 2 MiB, 4 KiB of bss behind it, entry 16 bytes behind the start. */
static inline void make_multiboot(uint8_t *bytes)
{
	static const uint32_t header[] = {0x1badb002,
					  0x10003,
					  -(0x1badb002u + 0x10003u),
					  0x200040,
					  0x200000,
					  0x200000 + TEST_MULTIBOOT_SIZE,
					  0x201000 + TEST_MULTIBOOT_SIZE,
					  0x200010};
	for (unsigned i = 0; i < TEST_MULTIBOOT_SIZE; i++)
		bytes[i] = (uint8_t)(i * 5);
	memcpy(bytes + 0x40, header, sizeof header);
}

/* ELF32 with one segment: the whole file at 4 MiB physical, 3 GiB higher virtual, 256 bytes of bss. */
static inline void make_multiboot_elf(uint8_t *bytes)
{
	static const uint32_t header[] = {0x1badb002, 3, -(0x1badb002u + 3)};
	memset(bytes, 0, TEST_MULTIBOOT_SIZE);
	memcpy(bytes, "\177ELF\1\1\1", 7);
	store_le(bytes + 16, 2, 2);	     /* e_type: executable */
	store_le(bytes + 18, 3, 2);	     /* e_machine: 386 */
	store_le(bytes + 20, 1, 4);	     /* e_version */
	store_le(bytes + 24, 0xc0400123, 4); /* e_entry */
	store_le(bytes + 28, 52, 4);	     /* e_phoff */
	store_le(bytes + 42, 32, 2);	     /* e_phentsize */
	store_le(bytes + 44, 1, 2);	     /* e_phnum */
	store_le(bytes + 52, 1, 4);	     /* PT_LOAD */
	store_le(bytes + 56, 0, 4);	     /* p_offset */
	store_le(bytes + 60, 0xc0400000, 4); /* p_vaddr */
	store_le(bytes + 64, 0x400000, 4);   /* p_paddr */
	store_le(bytes + 68, TEST_MULTIBOOT_SIZE, 4);
	store_le(bytes + 72, TEST_MULTIBOOT_SIZE + 256, 4);
	memcpy(bytes + 0x100, header, sizeof header);
}

/* RAM with the VGA's window in it. */
static inline bool make_memory(struct memory *memory, uint64_t size)
{
	return memory_init(memory, size, NULL) && memory_add_region(memory, 0, 0xa0000, 0, false, NULL) &&
	       memory_add_region(memory, 0xc0000, size - 0xc0000, 0xc0000, false, NULL);
}

#endif
