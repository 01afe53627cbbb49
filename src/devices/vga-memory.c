/* SPDX-License-Identifier: MIT */
/*
 * How the processor sees video memory.
 *
 * An access to the window becomes an offset that all four planes share and a set of planes. Without chaining, the
 * sequencer's map mask alone names the planes. With odd/even, address bit 0 chooses between even and odd planes; with
 * chain-4, bits 1:0 choose the plane. The bits taken that way are zero in the offset, as the CRT controller's word and
 * double word modes expect; only in the window of 128 KiB does address bit 16 take the place of bit 0.
 *
 * All four planes' bytes are handled at once in 32 bits: bits 8p+7:8p belong to plane p.
 */
#include <string.h>

#include "devices/vga-impl.h"

#define BANK_SIZE 0x10000u

/* Where an access goes. */
struct plane_access {
	uint32_t offset;
	unsigned plane; /* for reading without compare */
	uint8_t planes; /* for writing: those that the address allows */
};

/* A bit for each plane becomes a byte of ones for each plane. */
static uint32_t spread(unsigned planes)
{
	static const uint32_t bytes[16] = {0x00000000, 0x000000ff, 0x0000ff00, 0x0000ffff, 0x00ff0000, 0x00ff00ff,
					   0x00ffff00, 0x00ffffff, 0xff000000, 0xff0000ff, 0xff00ff00, 0xff00ffff,
					   0xffff0000, 0xffff00ff, 0xffffff00, 0xffffffff};
	return bytes[planes & 0x0f];
}

/* The same byte for each plane. */
static uint32_t replicate(uint8_t byte)
{
	return byte * UINT32_C(0x01010101);
}

/* ---- the window ---- */

/* The part of A0000h-BFFFFh that is decoded (graphics controller, miscellaneous register). False: not this address. */
static bool window_decode(const struct vga *vga, uint64_t offset, uint32_t *address)
{
	static const struct {
		uint32_t base, size;
	} maps[4] = {{0, 0x20000}, {0, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000}};
	unsigned map = vga->graphics[GFX_MISC] >> GFX_MISC_MAP_SHIFT & 3;
	*address = (uint32_t)offset - maps[map].base;
	return (vga->misc & MISC_RAM) && offset >= maps[map].base && *address < maps[map].size;
}

static struct plane_access window_access(const struct vga *vga, uint32_t address, bool odd_even)
{
	struct plane_access access = {.offset = address, .plane = vga->graphics[GFX_READ_MAP] & 3u, .planes = 0x0f};
	if (vga->sequencer[SEQ_MEMORY] & SEQ_MEMORY_CHAIN4) {
		access.offset = (address & ~UINT32_C(3)) | (address >> 16 & 1);
		access.plane = address & 3;
		access.planes = (uint8_t)BIT32(address & 3);
	} else if (odd_even) {
		access.offset = (address & ~UINT32_C(1)) | (address >> 16 & 1);
		access.plane = (access.plane & 2) | (address & 1);
		access.planes = (address & 1) ? 0x0a : 0x05;
	}
	access.offset &= VGA_PLANE_MASK;
	if (vga_vbe_on(vga)) /* 16 colours, more than 64 KiB for each plane */
		access.offset |= (uint32_t)vga->vbe[VBE_BANK] * BANK_SIZE;
	return access;
}

/* ---- reading ---- */

/* Ones where the planes that matter have the colour to compare with. */
static uint8_t read_compare(const struct vga *vga)
{
	uint32_t different =
	    (vga->latches ^ spread(vga->graphics[GFX_COMPARE])) & spread(vga->graphics[GFX_DO_NOT_CARE]);
	return (uint8_t) ~(different | different >> 8 | different >> 16 | different >> 24);
}

static uint8_t planes_read(struct vga *vga, uint32_t address)
{
	bool odd_even = (vga->graphics[GFX_MODE] & GFX_MODE_ODD_EVEN) != 0;
	const struct plane_access access = window_access(vga, address, odd_even);
	vga->latches = (uint32_t)load_le(vga_planes(vga, access.offset), 4);
	if (vga->graphics[GFX_MODE] & GFX_MODE_READ_COMPARE)
		return read_compare(vga);
	return (uint8_t)(vga->latches >> (8 * access.plane));
}

/* ---- writing ---- */

static uint8_t rotate_right(uint8_t byte, unsigned count)
{
	return (uint8_t)(byte >> count | byte << (8 - count));
}

static uint32_t combine(const struct vga *vga, uint32_t data)
{
	switch (vga->graphics[GFX_ROTATE] >> 3 & 3) {
	case 1:
		return data & vga->latches;
	case 2:
		return data | vga->latches;
	case 3:
		return data ^ vga->latches;
	default:
		return data;
	}
}

static uint32_t set_or_reset(const struct vga *vga, uint32_t data)
{
	uint32_t enabled = spread(vga->graphics[GFX_ENABLE_SET_RESET]);
	return (data & ~enabled) | (spread(vga->graphics[GFX_SET_RESET]) & enabled);
}

/* What the graphics controller makes of a byte from the processor. */
static uint32_t write_data(const struct vga *vga, uint8_t value)
{
	uint8_t rotated = rotate_right(value, vga->graphics[GFX_ROTATE] & 7);
	uint32_t mask = replicate(vga->graphics[GFX_BIT_MASK]);
	uint32_t data;
	switch (vga->graphics[GFX_MODE] & GFX_MODE_WRITE) {
	case 0:
		data = combine(vga, set_or_reset(vga, replicate(rotated)));
		break;
	case 1:
		return vga->latches;
	case 2:
		data = combine(vga, spread(value));
		break;
	default:
		mask &= replicate(rotated);
		data = combine(vga, spread(vga->graphics[GFX_SET_RESET]));
		break;
	}
	return (data & mask) | (vga->latches & ~mask);
}

static void planes_write(struct vga *vga, uint32_t address, uint8_t value)
{
	bool odd_even = !(vga->sequencer[SEQ_MEMORY] & SEQ_MEMORY_SEQUENTIAL);
	const struct plane_access access = window_access(vga, address, odd_even);
	uint32_t planes = spread(vga->sequencer[SEQ_MAP_MASK] & access.planes);
	uint8_t *bytes = vga_planes(vga, access.offset);
	uint32_t old = (uint32_t)load_le(bytes, 4);
	store_le(bytes, (old & ~planes) | (write_data(vga, value) & planes), 4);
}

/* ---- the ranges ---- */

/* Packed DISPI modes show one bank at A0000h, whatever the VGA registers say. */
static uint8_t *bank_byte(const struct vga *vga, uint64_t offset)
{
	return &vga->memory[(vga->vbe[VBE_BANK] * BANK_SIZE + (uint32_t)offset) & vga->memory_mask];
}

static uint8_t window_read_byte(struct vga *vga, uint64_t offset)
{
	uint32_t address;
	if (vga_vbe_packed(vga))
		return offset < BANK_SIZE ? *bank_byte(vga, offset) : 0xff;
	return window_decode(vga, offset, &address) ? planes_read(vga, address) : 0xff;
}

static void window_write_byte(struct vga *vga, uint64_t offset, uint8_t value)
{
	uint32_t address;
	if (vga_vbe_packed(vga)) {
		if (offset < BANK_SIZE)
			*bank_byte(vga, offset) = value;
	} else if (window_decode(vga, offset, &address)) {
		planes_write(vga, address, value);
	}
}

static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)window_read_byte(opaque, offset + i) << (8 * i);
	return value;
}

static void window_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct vga *vga = opaque;
	for (unsigned i = 0; i < size; i++)
		window_write_byte(vga, offset + i, (uint8_t)(value >> (8 * i)));
	vga->changes++;
}

const struct io_ops vga_window_ops = {.read = window_read, .write = window_write, .max_size = 8};

/* The map hands out offsets inside the BAR, which is as large as the memory; an access never crosses its end. */
static uint64_t framebuffer_read(void *opaque, uint64_t offset, unsigned size)
{
	const struct vga *vga = opaque;
	bug_if(offset + size > (uint64_t)vga->memory_mask + 1);
	return load_le(&vga->memory[offset], size);
}

static void framebuffer_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct vga *vga = opaque;
	bug_if(offset + size > (uint64_t)vga->memory_mask + 1);
	store_le(&vga->memory[offset], value, size);
	vga->changes++;
}

const struct io_ops vga_framebuffer_ops = {.read = framebuffer_read, .write = framebuffer_write, .max_size = 8};
