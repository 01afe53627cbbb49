/* SPDX-License-Identifier: MIT */
/*
 * Multiboot 1 kernels (Multiboot Specification version 0.6.96).
 *
 * The header is somewhere in the file's first 8 KiB. Either it says itself where the image goes (flag 16), or
 * the file is an ELF32 executable. Behind the kernel, from the next page on, come the modules, each on its own page,
 * then one block with the information structure, its tables and strings, and the GDT.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "machine/boot.h"
#include "machine/layout.h"

#define SEARCH_SIZE 8192u
#define HEADER_MAGIC 0x1badb002u
#define BOOT_MAGIC 0x2badb002u
#define HEADER_SIZE 12u
#define HEADER_ADDRESSES_END 32u
#define FLAGS_KNOWN_REQUIRED 7u /* page-aligned modules, memory map, video mode */
#define FLAG_ADDRESSES BIT32(16)
#define LOADER_NAME "nfold"

/* Offsets and flags of the information structure (3.3). */
enum {
	INFO_FLAGS = 0,
	INFO_MEM_LOWER = 4,
	INFO_MEM_UPPER = 8,
	INFO_COMMAND_LINE = 16,
	INFO_MODULE_COUNT = 20,
	INFO_MODULES = 24,
	INFO_MAP_LENGTH = 44,
	INFO_MAP = 48,
	INFO_LOADER_NAME = 64,
	INFO_SIZE = 128,
};
#define INFO_HAS_MEMORY BIT32(0)
#define INFO_HAS_COMMAND_LINE BIT32(2)
#define INFO_HAS_MODULES BIT32(3)
#define INFO_HAS_MAP BIT32(6)
#define INFO_HAS_LOADER_NAME BIT32(9)
#define MODULE_ENTRY_SIZE 16u
#define MAP_ENTRY_SIZE 24u

struct multiboot {
	const struct boot_request *request;
	const struct image *file;
	uint64_t header; /* its offset in the file */
	uint32_t flags;
	uint64_t entry;
	uint64_t end; /* one past the highest byte in use so far */
	uint64_t module_start[BOOT_MAX_MODULES];
};

static uint64_t field(const struct multiboot *kernel, unsigned offset)
{
	return load_le(kernel->file->bytes + kernel->header + offset, 4);
}

static bool find_header(const struct image *file, uint64_t *offset)
{
	uint64_t limit = file->size < SEARCH_SIZE ? file->size : SEARCH_SIZE;
	for (uint64_t at = 0; at + HEADER_SIZE <= limit; at += 4) {
		const uint8_t *header = file->bytes + at;
		uint32_t sum = (uint32_t)(load_le(header, 4) + load_le(header + 4, 4) + load_le(header + 8, 4));
		if (load_le(header, 4) == HEADER_MAGIC && sum == 0) {
			*offset = at;
			return true;
		}
	}
	return false;
}

bool multiboot_probe(const struct image *kernel)
{
	uint64_t offset;
	return find_header(kernel, &offset);
}

static bool bad_kernel(const struct multiboot *kernel, struct error *error, const char *why)
{
	return error_set(error, ERROR_INPUT, "cannot boot %s: %s", kernel->file->path, why);
}

/* Places one part of the image: `size` bytes from the file, zeros up to `room`. */
static bool place(struct multiboot *kernel, uint64_t address, uint64_t offset, uint64_t size, uint64_t room,
		  struct error *error)
{
	struct memory *memory = kernel->request->memory;
	uint64_t ram_end = boot_low_end(kernel->request->memory_size);
	if (offset > kernel->file->size || size > kernel->file->size - offset)
		return bad_kernel(kernel, error, "the file is truncated");
	if (room < size)
		room = size;
	if (address > ram_end || room > ram_end - address ||
	    !memory_load(memory, address, kernel->file->bytes + offset, size) ||
	    !memory_fill(memory, address + size, 0, room - size))
		return error_set(
		    error, ERROR_INPUT,
		    "cannot boot %s: its part at 0x%llx lies outside guest memory; give more with --memory",
		    kernel->file->path, (unsigned long long)address);
	if (kernel->end < address + room)
		kernel->end = address + room;
	return true;
}

/* The header's own addresses (3.1.3). */
static bool place_by_header(struct multiboot *kernel, struct error *error)
{
	if (kernel->file->size - kernel->header < HEADER_ADDRESSES_END)
		return bad_kernel(kernel, error, "the file is truncated in its Multiboot header");
	uint64_t header = field(kernel, 12), load = field(kernel, 16), load_end = field(kernel, 20);
	uint64_t bss_end = field(kernel, 24);
	kernel->entry = field(kernel, 28);
	if (load > header || header - load > kernel->header)
		return bad_kernel(kernel, error, "its Multiboot addresses are damaged");
	uint64_t offset = kernel->header - (header - load);
	uint64_t size = load_end == 0 ? kernel->file->size - offset : load_end - load;
	if ((load_end != 0 && load_end < load) || (bss_end != 0 && bss_end < load + size))
		return bad_kernel(kernel, error, "its Multiboot addresses are damaged");
	return place(kernel, load, offset, size, bss_end == 0 ? size : bss_end - load, error);
}

static bool place_segment(struct multiboot *kernel, const Elf32_Phdr *segment, bool *entry_found, struct error *error)
{
	if (segment->p_type != PT_LOAD || segment->p_memsz == 0)
		return true;
	if (segment->p_filesz > segment->p_memsz)
		return bad_kernel(kernel, error, "its ELF program headers are damaged");
	/* The entry point is a virtual address; the kernel starts without paging. */
	if (!*entry_found && kernel->entry - segment->p_vaddr < segment->p_memsz) {
		kernel->entry = kernel->entry - segment->p_vaddr + segment->p_paddr;
		*entry_found = true;
	}
	return place(kernel, segment->p_paddr, segment->p_offset, segment->p_filesz, segment->p_memsz, error);
}

static bool place_elf(struct multiboot *kernel, struct error *error)
{
	const struct image *file = kernel->file;
	Elf32_Ehdr elf;
	if (file->size < sizeof elf || memcmp(file->bytes, ELFMAG, SELFMAG) != 0)
		return bad_kernel(kernel, error, "it is a Multiboot image but neither ELF nor says where it goes");
	memcpy(&elf, file->bytes, sizeof elf);
	if (elf.e_ident[EI_CLASS] != ELFCLASS32 || elf.e_ident[EI_DATA] != ELFDATA2LSB || elf.e_machine != EM_386)
		return bad_kernel(kernel, error, "a Multiboot 1 kernel must be a 32-bit x86 ELF file");
	if (elf.e_phentsize != sizeof(Elf32_Phdr) || elf.e_phnum == 0 || elf.e_phoff > file->size ||
	    (uint64_t)elf.e_phnum * sizeof(Elf32_Phdr) > file->size - elf.e_phoff)
		return bad_kernel(kernel, error, "its ELF program headers are damaged or truncated");

	bool entry_found = false;
	kernel->entry = elf.e_entry;
	for (unsigned i = 0; i < elf.e_phnum; i++) {
		Elf32_Phdr segment;
		memcpy(&segment, file->bytes + elf.e_phoff + i * sizeof segment, sizeof segment);
		if (!place_segment(kernel, &segment, &entry_found, error))
			return false;
	}
	if (!entry_found)
		return bad_kernel(kernel, error, "its ELF entry point lies in no segment");
	return true;
}

static bool place_modules(struct multiboot *kernel, struct error *error)
{
	const struct boot_request *request = kernel->request;
	uint64_t ram_end = boot_low_end(request->memory_size);
	for (unsigned i = 0; i < request->module_count; i++) {
		const struct image *image = &request->module[i].image;
		uint64_t start = align_up(kernel->end, PAGE_SIZE);
		if (start > ram_end || image->size > ram_end - start)
			return error_set(error, ERROR_INPUT,
					 "the module %s does not fit behind the kernel: give the guest more --memory",
					 image->path);
		if (!image_copy(image, request->memory, start, error))
			return false;
		kernel->module_start[i] = start;
		kernel->end = start + image->size;
	}
	return true;
}

/* The information block is made in a buffer that will lie at `base`; parts are appended to it. */
struct block {
	uint8_t *bytes;
	uint64_t base, used, size;
};

static uint64_t block_take(struct block *block, uint64_t size)
{
	uint64_t at = block->used;
	block->used = align_up(at + size, 8);
	return at;
}

static uint64_t block_string(struct block *block, const char *first, const char *rest)
{
	uint64_t at = block_take(block, strlen(first) + 1 + strlen(rest) + 1);
	char *to = stpcpy((char *)block->bytes + at, first);
	if (*rest != 0) {
		*to++ = ' ';
		(void)stpcpy(to, rest);
	}
	return block->base + at;
}

static void block_map(struct block *block, uint64_t memory_size)
{
	struct boot_range range[BOOT_MAX_RANGES];
	unsigned count = boot_memory_map(memory_size, range);
	uint64_t at = block_take(block, count * MAP_ENTRY_SIZE);
	for (unsigned i = 0; i < count; i++) {
		uint8_t *entry = block->bytes + at + i * MAP_ENTRY_SIZE;
		store_le(entry, MAP_ENTRY_SIZE - 4, 4); /* the size field does not count itself */
		store_le(entry + 4, range[i].base, 8);
		store_le(entry + 12, range[i].size, 8);
		store_le(entry + 20, range[i].type, 4);
	}
	store_le(block->bytes + INFO_MAP, block->base + at, 4);
	store_le(block->bytes + INFO_MAP_LENGTH, count * MAP_ENTRY_SIZE, 4);
}

static void block_modules(struct block *block, const struct multiboot *kernel)
{
	const struct boot_request *request = kernel->request;
	uint64_t at = block_take(block, request->module_count * MODULE_ENTRY_SIZE);
	for (unsigned i = 0; i < request->module_count; i++) {
		const struct boot_module *module = &request->module[i];
		uint8_t *entry = block->bytes + at + i * MODULE_ENTRY_SIZE;
		store_le(entry, kernel->module_start[i], 4);
		store_le(entry + 4, kernel->module_start[i] + module->image.size, 4);
		store_le(entry + 8, block_string(block, module->text, ""), 4);
	}
	store_le(block->bytes + INFO_MODULE_COUNT, request->module_count, 4);
	store_le(block->bytes + INFO_MODULES, block->base + at, 4);
}

static uint64_t block_bound(const struct multiboot *kernel)
{
	const struct boot_request *request = kernel->request;
	uint64_t size = INFO_SIZE + BOOT_MAX_RANGES * MAP_ENTRY_SIZE + sizeof LOADER_NAME + 64;
	size += strlen(kernel->file->path) + strlen(request->command_line);
	for (unsigned i = 0; i < request->module_count; i++)
		size += MODULE_ENTRY_SIZE + strlen(request->module[i].text) + 16;
	return size;
}

static void fill_block(struct block *block, const struct multiboot *kernel)
{
	const struct boot_request *request = kernel->request;
	uint64_t upper = boot_low_end(request->memory_size) - LAYOUT_ACPI_END;
	(void)block_take(block, INFO_SIZE);
	store_le(block->bytes + INFO_FLAGS,
		 INFO_HAS_MEMORY | INFO_HAS_COMMAND_LINE | INFO_HAS_MODULES | INFO_HAS_MAP | INFO_HAS_LOADER_NAME, 4);
	store_le(block->bytes + INFO_MEM_LOWER, LAYOUT_EBDA_BASE >> 10, 4);
	store_le(block->bytes + INFO_MEM_UPPER, upper >> 10, 4);
	store_le(block->bytes + INFO_COMMAND_LINE, block_string(block, kernel->file->path, request->command_line), 4);
	store_le(block->bytes + INFO_LOADER_NAME, block_string(block, LOADER_NAME, ""), 4);
	block_map(block, request->memory_size);
	block_modules(block, kernel);
}

static bool place_information(struct multiboot *kernel, struct boot_state *state, struct error *error)
{
	struct memory *memory = kernel->request->memory;
	struct block block = {.base = align_up(kernel->end, PAGE_SIZE), .size = block_bound(kernel)};
	block.bytes = calloc(1, block.size);
	if (block.bytes == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	fill_block(&block, kernel);
	state->rbx = block.base;
	state->gdt = block.base + block.used;
	bool fits = state->gdt + BOOT_GDT_SIZE <= boot_low_end(kernel->request->memory_size) &&
		    memory_load(memory, block.base, block.bytes, block.used) &&
		    boot_write_gdt(memory, state->gdt, BOOT_PROTECTED);
	free(block.bytes);
	return fits || bad_kernel(kernel, error, "no memory is left behind it; give the guest more --memory");
}

bool multiboot_load(const struct boot_request *request, struct boot_state *state, struct error *error)
{
	/* Kernels may lie wholly below 1 MiB; what comes behind must not meet the VGA window or the ACPI tables. */
	struct multiboot kernel = {.request = request, .file = request->kernel, .end = LAYOUT_ACPI_END};
	if (!find_header(kernel.file, &kernel.header))
		return bad_kernel(&kernel, error, "it has no Multiboot header");
	kernel.flags = (uint32_t)field(&kernel, 4);
	if ((kernel.flags & 0xffff & ~FLAGS_KNOWN_REQUIRED) != 0)
		return bad_kernel(&kernel, error, "it requires Multiboot features that do not exist in version 1");

	*state = (struct boot_state){.mode = BOOT_PROTECTED, .rax = BOOT_MAGIC};
	bool by_header = (kernel.flags & FLAG_ADDRESSES) != 0;
	if (!(by_header ? place_by_header(&kernel, error) : place_elf(&kernel, error)) ||
	    !place_modules(&kernel, error) || !place_information(&kernel, state, error))
		return false;
	state->rip = kernel.entry;
	return true;
}
