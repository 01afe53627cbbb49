/* SPDX-License-Identifier: MIT */
/*
 * The Bochs VBE display interface: an index at 1CEh, a word of data at 1CFh. A mode is written while it is disabled and
 * takes effect with the enable bit, which also sets the virtual width to the visible one and the offsets to zero; a
 * mode that does not exist or does not fit the video memory stays disabled. Offsets beyond the memory wrap around.
 */
#include <string.h>

#include "devices/vga-impl.h"

#define ID_FIRST 0xb0c0u
#define ID_LAST 0xb0c5u
#define XRES_MAX 2560u
#define YRES_MAX 1600u
#define BPP_MAX 32u
#define BANK_SIZE 0x10000u

_Static_assert(XRES_MAX <= DISPLAY_WIDTH_MAX && YRES_MAX <= DISPLAY_HEIGHT_MAX, "the display takes every mode");

/* ---- geometry ---- */

static unsigned vbe_line_bytes(unsigned width, unsigned bpp)
{
	return bpp == 4 ? (width + 7) / 8 * VGA_PLANES : width * ((bpp + 7) / 8);
}

static uint64_t vbe_memory_size(const struct vga *vga)
{
	return (uint64_t)vga->memory_mask + 1;
}

/* The lines that fit the memory at a virtual width, as far as a register can say. */
static unsigned vbe_lines(const struct vga *vga, unsigned width)
{
	uint64_t lines = vbe_memory_size(vga) / vbe_line_bytes(width, vga->vbe[VBE_BPP]);
	return lines > UINT16_MAX ? UINT16_MAX : (unsigned)lines;
}

static bool vbe_bpp_exists(unsigned bpp)
{
	return bpp == 4 || bpp == 8 || bpp == 15 || bpp == 16 || bpp == 24 || bpp == 32;
}

static bool vbe_mode_fits(const struct vga *vga)
{
	unsigned width = vga->vbe[VBE_XRES], height = vga->vbe[VBE_YRES];
	return width != 0 && height != 0 && vbe_bpp_exists(vga->vbe[VBE_BPP]) && vbe_lines(vga, width) >= height;
}

static void vbe_set_virtual_width(struct vga *vga, unsigned width)
{
	vga->vbe[VBE_VIRTUAL_WIDTH] = (uint16_t)width;
	vga->vbe[VBE_VIRTUAL_HEIGHT] = (uint16_t)vbe_lines(vga, width);
}

/* ---- registers ---- */

static void vbe_start_mode(struct vga *vga)
{
	vbe_set_virtual_width(vga, vga->vbe[VBE_XRES]);
	vga->vbe[VBE_X_OFFSET] = vga->vbe[VBE_Y_OFFSET] = 0;
	if (!(vga->vbe[VBE_ENABLE] & VBE_NO_CLEAR))
		memset(vga->memory, 0, vbe_memory_size(vga));
}

static void vbe_write_enable(struct vga *vga, uint16_t value)
{
	bool was_on = vga_vbe_on(vga);
	vga->vbe[VBE_ENABLE] = value & (VBE_ENABLED | VBE_GET_CAPS | VBE_8_BIT_DAC | VBE_LFB | VBE_NO_CLEAR);
	if (!vga_vbe_on(vga)) {
		vga->vbe[VBE_BANK] = 0;
		return;
	}
	if (was_on)
		return;
	if (vbe_mode_fits(vga))
		vbe_start_mode(vga);
	else
		vga->vbe[VBE_ENABLE] &= (uint16_t)~VBE_ENABLED;
}

static void vbe_write_mode(struct vga *vga, unsigned index, uint16_t value, unsigned limit)
{
	if (!vga_vbe_on(vga) && value <= limit)
		vga->vbe[index] = value;
}

static void vbe_write_virtual_width(struct vga *vga, uint16_t width)
{
	if (vga_vbe_on(vga) && width >= vga->vbe[VBE_XRES] && vbe_lines(vga, width) >= vga->vbe[VBE_YRES])
		vbe_set_virtual_width(vga, width);
}

static void vbe_write_bank(struct vga *vga, uint16_t bank)
{
	uint64_t window = vga->vbe[VBE_BPP] == 4 ? BANK_SIZE * VGA_PLANES : BANK_SIZE;
	if (vga_vbe_on(vga) && bank < vbe_memory_size(vga) / window)
		vga->vbe[VBE_BANK] = bank;
}

static void vbe_write(struct vga *vga, unsigned index, uint16_t value)
{
	switch (index) {
	case VBE_ID:
		if (value >= ID_FIRST && value <= ID_LAST)
			vga->vbe[VBE_ID] = value;
		break;
	case VBE_XRES:
		vbe_write_mode(vga, index, value, XRES_MAX);
		break;
	case VBE_YRES:
		vbe_write_mode(vga, index, value, YRES_MAX);
		break;
	case VBE_BPP:
		vbe_write_mode(vga, index, value == 0 ? 8 : value, BPP_MAX);
		break;
	case VBE_ENABLE:
		vbe_write_enable(vga, value);
		break;
	case VBE_BANK:
		vbe_write_bank(vga, value);
		break;
	case VBE_VIRTUAL_WIDTH:
		vbe_write_virtual_width(vga, value);
		break;
	case VBE_X_OFFSET:
	case VBE_Y_OFFSET:
		if (vga_vbe_on(vga))
			vga->vbe[index] = value;
		break;
	default: /* the rest is read-only or absent */
		break;
	}
}

/* With GET_CAPS the mode registers tell what is possible. */
static uint16_t vbe_read(const struct vga *vga, unsigned index)
{
	static const uint16_t caps[] = {[VBE_XRES] = XRES_MAX, [VBE_YRES] = YRES_MAX, [VBE_BPP] = BPP_MAX};
	if (index >= VBE_COUNT)
		return 0;
	if ((vga->vbe[VBE_ENABLE] & VBE_GET_CAPS) && index >= VBE_XRES && index <= VBE_BPP)
		return caps[index];
	return vga->vbe[index];
}

/* Offset 0 is the index, 1 the data, both words. Bytes are halves of neither. */
static uint64_t vbe_port_read(void *opaque, uint64_t offset, unsigned size)
{
	const struct vga *vga = opaque;
	if (size != 2)
		return UINT64_MAX;
	return offset == 0 ? vga->vbe_index : vbe_read(vga, vga->vbe_index);
}

static void vbe_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct vga *vga = opaque;
	if (size != 2)
		return;
	if (offset == 0) {
		vga->vbe_index = (uint16_t)value;
	} else {
		vbe_write(vga, vga->vbe_index, (uint16_t)value);
		vga->changes++;
	}
}

const struct io_ops vga_vbe_ops = {.read = vbe_port_read, .write = vbe_port_write, .max_size = 2};

void vga_vbe_reset(struct vga *vga)
{
	vga->vbe_index = 0;
	memset(vga->vbe, 0, sizeof vga->vbe);
	vga->vbe[VBE_ID] = ID_LAST;
	vga->vbe[VBE_BPP] = 8;
	vga->vbe[VBE_MEMORY_64K] = (uint16_t)(vbe_memory_size(vga) / BANK_SIZE);
}

/* ---- rendering ---- */

/* A field of `bits` bits as 8 bits, full scale to full scale. */
static uint32_t widen(uint32_t value, unsigned shift, unsigned bits)
{
	uint32_t field = (value >> shift & (BIT32(bits) - 1)) << (8 - bits);
	return field | field >> bits;
}

static uint32_t pixel_555(uint32_t value)
{
	return widen(value, 10, 5) << 16 | widen(value, 5, 5) << 8 | widen(value, 0, 5);
}

static uint32_t pixel_565(uint32_t value)
{
	return widen(value, 11, 5) << 16 | widen(value, 5, 6) << 8 | widen(value, 0, 5);
}

/* The bytes of a pixel may lie on both sides of the memory's end. */
static uint32_t packed_value(const struct vga *vga, uint32_t address, unsigned bytes)
{
	uint32_t value = 0;
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint32_t)vga->memory[(address + i) & vga->memory_mask] << (8 * i);
	return value;
}

static uint32_t packed_pixel(const struct vga *vga, const struct vga_frame *frame, uint32_t address)
{
	switch (vga->vbe[VBE_BPP]) {
	case 8:
		return frame->colour[packed_value(vga, address, 1)];
	case 15:
		return pixel_555(packed_value(vga, address, 2));
	case 16:
		return pixel_565(packed_value(vga, address, 2));
	default: /* blue, green, red, and nothing in the fourth byte */
		return packed_value(vga, address, 3);
	}
}

static void packed_line(const struct vga *vga, const struct vga_frame *frame, unsigned y, uint32_t *pixels,
			unsigned width)
{
	unsigned bytes = (vga->vbe[VBE_BPP] + 7u) / 8;
	uint32_t address = y * vbe_line_bytes(vga->vbe[VBE_VIRTUAL_WIDTH], vga->vbe[VBE_BPP]);
	address += vga->vbe[VBE_X_OFFSET] * bytes;
	for (unsigned x = 0; x < width; x++)
		pixels[x] = packed_pixel(vga, frame, address + x * bytes);
}

static void planar_line(const struct vga *vga, const struct vga_frame *frame, unsigned y, uint32_t *pixels,
			unsigned width)
{
	uint32_t offset = y * (vbe_line_bytes(vga->vbe[VBE_VIRTUAL_WIDTH], 4) / VGA_PLANES);
	unsigned first = vga->vbe[VBE_X_OFFSET];
	for (unsigned x = 0; x < width; x++) {
		uint32_t planes = (uint32_t)load_le(vga_planes(vga, offset + (first + x) / 8), 4);
		uint8_t dot = vga_planar_dot(planes, 7 - (first + x) % 8) & vga->attribute[ATT_PLANES];
		pixels[x] = frame->colour[frame->palette[dot]];
	}
}

void vga_vbe_render(const struct vga *vga, uint32_t *pixels, struct display_size size)
{
	struct vga_frame frame;
	vga_frame_init(vga, &frame);
	for (unsigned i = 0; i < size.height; i++, pixels += size.width) {
		unsigned y = vga->vbe[VBE_Y_OFFSET] + i;
		if (vga_vbe_packed(vga))
			packed_line(vga, &frame, y, pixels, size.width);
		else
			planar_line(vga, &frame, y, pixels, size.width);
	}
}
