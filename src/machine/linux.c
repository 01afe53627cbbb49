/* SPDX-License-Identifier: MIT */
/*
 * The Linux/x86 boot protocol, version 2.06 and later (Linux: Documentation/arch/x86/boot.rst and zero-page.rst).
 *
 * A bzImage is a real-mode part of (setup_sects + 1) * 512 bytes, which we do not run, and the protected-mode kernel
 * behind it. Its setup header, at 1f1h of the file, goes to the same offset of the zero page (struct boot_params),
 *where we fill in what firmware and boot loader would: memory map, initial RAM disk, command line, ACPI root pointer.
 *
 * Where things go, in guest-physical memory:
 *
 *	1000h    GDT
 *	2000h    page tables, 6 pages: the first 4 GiB one to one in 2 MiB pages
 *	10000h   zero page
 *	20000h   command line
 *	kernel   at its preferred address if it is relocatable and has one, else at 1 MiB
 *	initrd   as high as the kernel and RAM below 3 GiB allow
 *
 * A kernel that has the 64-bit entry point is entered there, any other at the 32-bit one.
 */
#include <string.h>

#include "base/bits.h"
#include "machine/boot.h"
#include "machine/layout.h"
#include "machine/vga-text-mode.h"

#define GDT_ADDRESS 0x1000u
#define PAGE_TABLES 0x2000u
#define ZERO_PAGE 0x10000u
#define COMMAND_LINE 0x20000u
#define COMMAND_LINE_LIMIT 0xffffu
#define LOW_LOAD_ADDRESS UINT64_C(0x100000)
#define ENTRY_64_OFFSET 0x200u
#define SECTOR 512u

#define PROTOCOL_MIN 0x0206u /* cmdline_size */
#define PROTOCOL_INIT_SIZE 0x020au
#define PROTOCOL_XLOADFLAGS 0x020cu
#define LOADED_HIGH 1u
#define KASLR_FLAG 2u
#define XLF_KERNEL_64 1u
#define HEADER_MAGIC 0x53726448u /* "HdrS" */
#define BOOT_FLAG 0xaa55u
#define LOADER_UNDEFINED 0xffu

/* Offsets in the file and in the zero page alike. */
enum {
	HDR_FIRST = 0x1f1,
	HDR_SETUP_SECTS = 0x1f1,
	HDR_SYSSIZE = 0x1f4,
	HDR_BOOT_FLAG = 0x1fe,
	HDR_JUMP_LENGTH = 0x201,
	HDR_MAGIC = 0x202,
	HDR_VERSION = 0x206,
	HDR_TYPE_OF_LOADER = 0x210,
	HDR_LOADFLAGS = 0x211,
	HDR_CODE32_START = 0x214,
	HDR_RAMDISK_IMAGE = 0x218,
	HDR_RAMDISK_SIZE = 0x21c,
	HDR_CMD_LINE_PTR = 0x228,
	HDR_INITRD_ADDR_MAX = 0x22c,
	HDR_KERNEL_ALIGNMENT = 0x230,
	HDR_RELOCATABLE = 0x234,
	HDR_XLOADFLAGS = 0x236,
	HDR_CMDLINE_SIZE = 0x238,
	HDR_SETUP_DATA = 0x250,
	HDR_PREF_ADDRESS = 0x258,
	HDR_INIT_SIZE = 0x260,
	HDR_LIMIT = 0x290, /* the zero page has other things from here on */
};

/* Offsets in the zero page only. The first ones are screen_info's. */
enum {
	ZP_VIDEO_MODE = 0x006,
	ZP_VIDEO_COLUMNS = 0x007,
	ZP_VIDEO_EGA_BX = 0x00a,
	ZP_VIDEO_LINES = 0x00e,
	ZP_VIDEO_IS_VGA = 0x00f,
	ZP_VIDEO_POINTS = 0x010,
	ZP_ACPI_RSDP_ADDR = 0x070,
	ZP_ALT_MEM_K = 0x1e0,
	ZP_E820_ENTRIES = 0x1e8,
	ZP_E820_TABLE = 0x2d0,
	ZP_SIZE = 4096,
};
#define E820_ENTRY_SIZE 20u

/* What the header says, checked. */
struct bzimage {
	const struct image *file;
	unsigned version;
	uint64_t setup_size;   /* bytes before the protected-mode kernel */
	uint64_t kernel_size;  /* bytes of it */
	uint64_t header_end;   /* offset one past the setup header */
	uint64_t load_address; /* where we put it */
	uint64_t run_end;      /* one past what it overwrites before it looks at the memory map */
	uint64_t initrd_max;   /* highest address of the initrd's last byte */
	uint64_t command_line_max;
	bool entry_64;
};

static uint64_t header(const struct bzimage *kernel, unsigned offset, unsigned bytes)
{
	return load_le(kernel->file->bytes + offset, bytes);
}

bool linux_probe(const struct image *kernel)
{
	return kernel->size >= HDR_VERSION && load_le(kernel->bytes + HDR_BOOT_FLAG, 2) == BOOT_FLAG &&
	       load_le(kernel->bytes + HDR_MAGIC, 4) == HEADER_MAGIC;
}

static bool bad_kernel(const struct bzimage *kernel, struct error *error, const char *why)
{
	return error_set(error, ERROR_INPUT, "cannot boot %s: %s", kernel->file->path, why);
}

static bool read_sizes(struct bzimage *kernel, struct error *error)
{
	uint64_t file_size = kernel->file->size;
	if (file_size < HDR_LIMIT)
		return bad_kernel(kernel, error, "the file is truncated in its header");
	kernel->version = (unsigned)header(kernel, HDR_VERSION, 2);
	if (kernel->version < PROTOCOL_MIN)
		return bad_kernel(kernel, error, "its boot protocol is older than 2.06 (Linux 2.6.22)");
	if ((header(kernel, HDR_LOADFLAGS, 1) & LOADED_HIGH) == 0)
		return bad_kernel(kernel, error, "it is a zImage; only bzImages can be booted");

	uint64_t sectors = header(kernel, HDR_SETUP_SECTS, 1);
	kernel->setup_size = ((sectors == 0 ? 4 : sectors) + 1) * SECTOR;
	/* syssize counts paragraphs, the last one perhaps not full. */
	uint64_t paragraphs = header(kernel, HDR_SYSSIZE, 4);
	if (file_size <= kernel->setup_size || paragraphs > (file_size - kernel->setup_size + 15) / 16)
		return bad_kernel(kernel, error, "the file is truncated");
	kernel->kernel_size = file_size - kernel->setup_size;

	kernel->header_end = HDR_MAGIC + header(kernel, HDR_JUMP_LENGTH, 1);
	if (kernel->header_end < HDR_CMDLINE_SIZE + 4)
		return bad_kernel(kernel, error, "its setup header is damaged");
	if (kernel->header_end > HDR_LIMIT)
		kernel->header_end = HDR_LIMIT;
	return true;
}

/* A field that the header has only from some version on. */
static uint64_t optional(const struct bzimage *kernel, unsigned offset, unsigned bytes, unsigned version)
{
	bool present = kernel->version >= version && offset + bytes <= kernel->header_end;
	return present ? header(kernel, offset, bytes) : 0;
}

/*
 * Where to load. A relocatable kernel runs where it is loaded but never below its preferred address, rounded up
 * to its alignment; any other moves itself to its preferred address.
 */
static bool choose_address(struct bzimage *kernel, uint64_t ram_end, struct error *error)
{
	uint64_t preferred = optional(kernel, HDR_PREF_ADDRESS, 8, PROTOCOL_INIT_SIZE);
	uint64_t init_size = optional(kernel, HDR_INIT_SIZE, 4, PROTOCOL_INIT_SIZE);
	uint64_t alignment = header(kernel, HDR_KERNEL_ALIGNMENT, 4);
	bool relocatable = header(kernel, HDR_RELOCATABLE, 1) != 0;

	if (alignment != 0 && (alignment & (alignment - 1)) != 0)
		return bad_kernel(kernel, error, "its setup header is damaged: the alignment is no power of two");
	if (alignment < PAGE_SIZE)
		alignment = PAGE_SIZE;
	if (preferred > ram_end)
		return error_set(error, ERROR_INPUT,
				 "cannot boot %s: it wants to be at 0x%llx; give the guest more --memory",
				 kernel->file->path, (unsigned long long)preferred);
	if (preferred < LOW_LOAD_ADDRESS)
		preferred = LOW_LOAD_ADDRESS;

	kernel->load_address = relocatable ? align_up(preferred, alignment) : LOW_LOAD_ADDRESS;
	uint64_t run_address = relocatable ? kernel->load_address : preferred;
	uint64_t load_end = kernel->load_address + kernel->kernel_size;
	kernel->run_end = run_address + init_size;
	if (kernel->run_end < load_end)
		kernel->run_end = load_end;
	if (kernel->run_end > ram_end)
		return error_set(error, ERROR_INPUT,
				 "cannot boot %s: it needs %llu MiB of memory to start; give more with --memory",
				 kernel->file->path, (unsigned long long)((kernel->run_end + 0xfffff) >> 20));
	return true;
}

static bool parse_header(struct bzimage *kernel, uint64_t ram_end, struct error *error)
{
	if (!read_sizes(kernel, error) || !choose_address(kernel, ram_end, error))
		return false;
	uint64_t xloadflags = optional(kernel, HDR_XLOADFLAGS, 2, PROTOCOL_XLOADFLAGS);
	kernel->entry_64 = (xloadflags & XLF_KERNEL_64) != 0;
	if (kernel->entry_64 && kernel->kernel_size <= ENTRY_64_OFFSET)
		return bad_kernel(kernel, error, "the file is truncated");
	kernel->initrd_max = header(kernel, HDR_INITRD_ADDR_MAX, 4);
	kernel->command_line_max = header(kernel, HDR_CMDLINE_SIZE, 4);
	if (kernel->command_line_max == 0)
		kernel->command_line_max = 255; /* what kernels without the field take */
	if (kernel->command_line_max > COMMAND_LINE_LIMIT)
		kernel->command_line_max = COMMAND_LINE_LIMIT;
	return true;
}

static void put(uint8_t *zero_page, unsigned offset, unsigned bytes, uint64_t value)
{
	store_le(zero_page + offset, value, bytes);
}

static bool load_initrd(const struct bzimage *kernel, const struct boot_request *request, uint8_t *zero_page,
			struct error *error)
{
	const struct image *initrd = request->initrd;
	if (initrd == NULL)
		return true;
	uint64_t end = boot_low_end(request->memory_size);
	if (end > kernel->initrd_max + 1)
		end = kernel->initrd_max + 1;
	uint64_t start = initrd->size <= end ? align_down(end - initrd->size, PAGE_SIZE) : 0;
	if (start < align_up(kernel->run_end, PAGE_SIZE))
		return error_set(
		    error, ERROR_INPUT,
		    "the initrd %s (%llu MiB) does not fit beside the kernel: give the guest more --memory",
		    initrd->path, (unsigned long long)((initrd->size + 0xfffff) >> 20));
	put(zero_page, HDR_RAMDISK_IMAGE, 4, start);
	put(zero_page, HDR_RAMDISK_SIZE, 4, initrd->size);
	return image_copy(initrd, request->memory, start, error);
}

static bool load_command_line(const struct bzimage *kernel, const struct boot_request *request, uint8_t *zero_page,
			      struct error *error)
{
	size_t length = strlen(request->command_line);
	if (length > kernel->command_line_max)
		return error_set(error, ERROR_INPUT, "the kernel's command line has %zu bytes; this kernel takes %llu",
				 length, (unsigned long long)kernel->command_line_max);
	put(zero_page, HDR_CMD_LINE_PTR, 4, COMMAND_LINE);
	return memory_load(request->memory, COMMAND_LINE, request->command_line, length + 1);
}

static void put_memory_map(uint8_t *zero_page, uint64_t memory_size)
{
	struct boot_range range[BOOT_MAX_RANGES];
	unsigned count = boot_memory_map(memory_size, range);
	for (unsigned i = 0; i < count; i++) {
		unsigned entry = ZP_E820_TABLE + i * E820_ENTRY_SIZE;
		put(zero_page, entry, 8, range[i].base);
		put(zero_page, entry + 8, 8, range[i].size);
		put(zero_page, entry + 16, 4, range[i].type);
	}
	put(zero_page, ZP_E820_ENTRIES, 1, count);
	put(zero_page, ZP_ALT_MEM_K, 4, (boot_low_end(memory_size) - LAYOUT_ACPI_END) >> 10);
}

#define TEXT_MODE 3u
#define EGA_256K 3u /* what INT 10h, AH=12h, BL=10h says of a VGA */

/* Without a text screen all of screen_info stays zero, which says that there is no display. The cursor is in the
 * corner. */
static void put_screen_info(uint8_t *zero_page, const struct boot_request *request)
{
	if (!request->text_screen)
		return;
	put(zero_page, ZP_VIDEO_MODE, 1, TEXT_MODE);
	put(zero_page, ZP_VIDEO_COLUMNS, 1, VGA_TEXT_COLUMNS);
	put(zero_page, ZP_VIDEO_EGA_BX, 2, EGA_256K);
	put(zero_page, ZP_VIDEO_LINES, 1, VGA_TEXT_ROWS);
	put(zero_page, ZP_VIDEO_IS_VGA, 1, 1);
	put(zero_page, ZP_VIDEO_POINTS, 2, VGA_TEXT_POINTS);
}

static bool load_zero_page(const struct bzimage *kernel, const struct boot_request *request, struct error *error)
{
	uint8_t zero_page[ZP_SIZE] = {0};
	memcpy(zero_page + HDR_FIRST, kernel->file->bytes + HDR_FIRST, kernel->header_end - HDR_FIRST);
	put(zero_page, HDR_TYPE_OF_LOADER, 1, LOADER_UNDEFINED);
	put(zero_page, HDR_LOADFLAGS, 1, header(kernel, HDR_LOADFLAGS, 1) & ~(uint64_t)KASLR_FLAG);
	put(zero_page, HDR_CODE32_START, 4, kernel->load_address);
	put(zero_page, HDR_RAMDISK_IMAGE, 8, 0);
	if (kernel->header_end >= HDR_SETUP_DATA + 8)
		put(zero_page, HDR_SETUP_DATA, 8, 0);
	put(zero_page, ZP_ACPI_RSDP_ADDR, 8, request->rsdp);
	put_memory_map(zero_page, request->memory_size);
	put_screen_info(zero_page, request);

	return load_initrd(kernel, request, zero_page, error) && load_command_line(kernel, request, zero_page, error) &&
	       memory_load(request->memory, ZERO_PAGE, zero_page, sizeof zero_page);
}

/* One page-map level 4 and one pointer table with one entry and four, then four directories of 2 MiB pages. */
static bool load_page_tables(struct memory *memory)
{
	enum { PRESENT_WRITABLE = 3, PRESENT_WRITABLE_LARGE = 0x83 };
	uint64_t table[PAGE_SIZE / 8] = {PAGE_TABLES + PAGE_SIZE + PRESENT_WRITABLE};
	if (!memory_load(memory, PAGE_TABLES, table, sizeof table))
		return false;
	for (unsigned i = 0; i < 4; i++)
		table[i] = PAGE_TABLES + (2 + i) * PAGE_SIZE + PRESENT_WRITABLE;
	if (!memory_load(memory, PAGE_TABLES + PAGE_SIZE, table, sizeof table))
		return false;
	for (uint64_t directory = 0; directory < 4; directory++) {
		for (uint64_t i = 0; i < 512; i++)
			table[i] = (directory << 30) + (i << 21) + PRESENT_WRITABLE_LARGE;
		if (!memory_load(memory, PAGE_TABLES + (2 + directory) * PAGE_SIZE, table, sizeof table))
			return false;
	}
	return true;
}

bool linux_load(const struct boot_request *request, struct boot_state *state, struct error *error)
{
	struct bzimage kernel = {.file = request->kernel};
	struct memory *memory = request->memory;
	if (!parse_header(&kernel, boot_low_end(request->memory_size), error) ||
	    !load_zero_page(&kernel, request, error))
		return false;

	*state = (struct boot_state){.mode = kernel.entry_64 ? BOOT_LONG : BOOT_PROTECTED,
				     .rip = kernel.load_address + (kernel.entry_64 ? ENTRY_64_OFFSET : 0),
				     .rsi = ZERO_PAGE,
				     .gdt = GDT_ADDRESS,
				     .cr3 = PAGE_TABLES};
	if (!memory_load(memory, kernel.load_address, kernel.file->bytes + kernel.setup_size, kernel.kernel_size) ||
	    !load_page_tables(memory) || !boot_write_gdt(memory, GDT_ADDRESS, state->mode))
		return bad_kernel(&kernel, error, "it does not fit into guest memory");
	return true;
}
