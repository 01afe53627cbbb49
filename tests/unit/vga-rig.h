/* SPDX-License-Identifier: MIT */
/* What the VGA's unit tests share: the chip on a bus, its ports, and the register values that a BIOS sets modes with.
 */
#ifndef NFOLD_TESTS_UNIT_VGA_RIG_H
#define NFOLD_TESTS_UNIT_VGA_RIG_H

#include <stdlib.h>

#include "devices/vga.h"
#include "rig.h"

#define VGA_DEVICE 2
#define FRAMEBUFFER UINT64_C(0xe0000000)
#define ROM_BASE UINT64_C(0xf0000000)
#define MEMORY_SIZE (UINT32_C(4) << 20)

struct vga_rig {
	struct rig rig;
	struct pci_bus *bus;
	struct vga *vga;
	struct display display;
	struct display_text text;
	struct display_size size; /* of the last frame */
	uint32_t *pixels;
};

struct vga_mode {
	uint8_t misc, sequencer[5], crtc[25], attribute[21], graphics[9];
};

/* The IBM BIOS's parameters of modes 3, 4, 12h and 13h. */
static const struct vga_mode mode_03 = {
    0x67,
    {0x03, 0x00, 0x03, 0x00, 0x02},
    {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
     0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff},
    {0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0, 0x0f, 0x08, 0},
    {0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff}};
static const struct vga_mode mode_04 = {
    0x63,
    {0x03, 0x09, 0x03, 0x00, 0x02},
    {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff},
    {0, 0x13, 0x15, 0x17, 2, 4, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 1, 0, 3, 0, 0},
    {0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff}};
static const struct vga_mode mode_12 = {
    0xe3,
    {0x03, 0x01, 0x0f, 0x00, 0x06},
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff},
    {0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 1, 0, 0x0f, 0, 0},
    {0, 0, 0, 0, 0, 0, 0x05, 0x0f, 0xff}};
static const struct vga_mode mode_13 = {0x63,
					{0x03, 0x01, 0x0f, 0x00, 0x0e},
					{0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0x00, 0x00, 0x00,
					 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff},
					{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x41, 0, 0x0f, 0, 0},
					{0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff}};

static inline void out16(struct rig *rig, uint16_t port, unsigned value)
{
	io_write(&rig->ports, port, 2, value);
}

static inline void put_sequencer(struct vga_rig *f, unsigned index, unsigned value)
{
	out16(&f->rig, 0x3c4, index | value << 8);
}

static inline void put_graphics(struct vga_rig *f, unsigned index, unsigned value)
{
	out16(&f->rig, 0x3ce, index | value << 8);
}

static inline void put_crtc(struct vga_rig *f, unsigned index, unsigned value)
{
	out16(&f->rig, 0x3d4, index | value << 8);
}

static inline unsigned get_indexed(struct vga_rig *f, uint16_t port, unsigned index)
{
	out8(&f->rig, port, index);
	return in8(&f->rig, port + 1);
}

/* Leaves the screen on. */
static inline void put_attribute(struct vga_rig *f, unsigned index, unsigned value)
{
	(void)in8(&f->rig, 0x3da);
	out8(&f->rig, 0x3c0, index);
	out8(&f->rig, 0x3c0, value);
	out8(&f->rig, 0x3c0, 0x20);
}

static inline void put_dac(struct vga_rig *f, unsigned index, unsigned red, unsigned green, unsigned blue)
{
	out8(&f->rig, 0x3c8, index);
	out8(&f->rig, 0x3c9, red);
	out8(&f->rig, 0x3c9, green);
	out8(&f->rig, 0x3c9, blue);
}

static inline void set_mode(struct vga_rig *f, const struct vga_mode *mode)
{
	out8(&f->rig, 0x3c2, mode->misc);
	for (unsigned i = 0; i < 5; i++)
		put_sequencer(f, i, mode->sequencer[i]);
	put_crtc(f, 0x11, 0);
	for (unsigned i = 0; i < 25; i++)
		put_crtc(f, i, mode->crtc[i]);
	for (unsigned i = 0; i < 21; i++)
		put_attribute(f, i, mode->attribute[i]);
	for (unsigned i = 0; i < 9; i++)
		put_graphics(f, i, mode->graphics[i]);
	for (unsigned i = 0; i < 256; i++) /* each entry another colour */
		put_dac(f, i, i & 0x3f, i >> 2, (i * 5) & 0x3f);
}

/* The colour that set_mode() gives a DAC entry, as a pixel. */
static inline uint32_t mode_colour(unsigned index)
{
	unsigned component[3] = {index & 0x3f, index >> 2, (index * 5) & 0x3f};
	uint32_t colour = 0;
	for (unsigned i = 0; i < 3; i++)
		colour = colour << 8 | component[i] << 2 | component[i] >> 4;
	return colour;
}

static inline void put_vbe(struct vga_rig *f, unsigned index, unsigned value)
{
	out16(&f->rig, 0x1ce, index);
	out16(&f->rig, 0x1cf, value);
}

static inline unsigned get_vbe(struct vga_rig *f, unsigned index)
{
	out16(&f->rig, 0x1ce, index);
	return (unsigned)io_read(&f->rig.ports, 0x1cf, 2);
}

static inline void set_vbe_mode(struct vga_rig *f, unsigned width, unsigned height, unsigned bpp, unsigned flags)
{
	put_vbe(f, 4, 0);
	put_vbe(f, 1, width);
	put_vbe(f, 2, height);
	put_vbe(f, 3, bpp);
	put_vbe(f, 4, 0x41 | flags);
}

static inline void put_memory(struct vga_rig *f, uint64_t address, unsigned size, uint64_t value)
{
	io_write(&f->rig.mmio, address, size, value);
}

static inline uint64_t get_memory(struct vga_rig *f, uint64_t address, unsigned size)
{
	return io_read(&f->rig.mmio, address, size);
}

static inline void take_frame(struct vga_rig *f)
{
	free(f->pixels); /* lives from test function to teardown, which test_malloc's blocks may not */
	f->size = display_size(&f->display);
	f->pixels = malloc((size_t)f->size.width * f->size.height * sizeof *f->pixels);
	assert_non_null(f->pixels);
	assert_true(display_render(&f->display, f->pixels, f->size));
}

static inline uint32_t pixel(const struct vga_rig *f, unsigned x, unsigned y)
{
	assert_true(x < f->size.width && y < f->size.height);
	return f->pixels[(size_t)y * f->size.width + x];
}

static inline int vga_setup(void **state)
{
	static const uint8_t rom[5000] = {0x55, 0xaa, 10, [4999] = 0x5a};
	struct vga_rig *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	display_init(&f->display);
	const struct pci_bus_config bus = {.ports = &f->rig.ports, .mmio = &f->rig.mmio};
	f->bus = pci_bus_create(&bus, NULL);
	const struct vga_config config = {.bus = f->bus,
					  .device = VGA_DEVICE,
					  .clock = &f->rig.clock,
					  .display = &f->display,
					  .memory_size = MEMORY_SIZE,
					  .rom = rom,
					  .rom_size = sizeof rom};
	f->vga = vga_create(&config, NULL);
	assert_non_null(f->vga);
	assert_true(vga_map(f->vga, &f->rig.ports, &f->rig.mmio, NULL));
	pci_config_write(f->bus, PCI_DEVFN(VGA_DEVICE, 0), PCI_BAR0, 4, (uint32_t)FRAMEBUFFER);
	pci_config_write(f->bus, PCI_DEVFN(VGA_DEVICE, 0), PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	*state = f;
	return 0;
}

static inline int vga_teardown(void **state)
{
	struct vga_rig *f = *state;
	vga_destroy(f->vga);
	pci_bus_destroy(f->bus);
	assert_int_equal(display_size(&f->display).width, 0); /* the screen went with the chip */
	free(f->pixels);
	test_free(f);
	return 0;
}

#define VGA_TEST(name) cmocka_unit_test_setup_teardown(name, vga_setup, vga_teardown)

#endif
