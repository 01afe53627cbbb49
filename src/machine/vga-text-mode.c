/* SPDX-License-Identifier: MIT */
/*
 * Register values of mode 3 as the IBM PS/2 Hardware Interface Technical Reference lists them ("Video Subsystem", "VGA
 * programming considerations"): 720 x 400 dots at 70 Hz.
 */
#include "machine/vga-text-mode.h"

#include <string.h>

#define MISC_WRITE 0x3c2u
#define SEQUENCER 0x3c4u
#define DAC_MASK 0x3c6u
#define DAC_WRITE_INDEX 0x3c8u
#define DAC_DATA 0x3c9u
#define GRAPHICS 0x3ceu
#define CRTC 0x3d4u
#define ATTRIBUTE 0x3c0u
#define INPUT_STATUS_1 0x3dau

#define WINDOW 0xa0000u
#define TEXT_WINDOW 0xb8000u
#define BLANK 0x0720u /* a space, light grey on black */

#define FONT_CHARACTERS 256u
#define FONT_STRIDE 32u /* bytes for each character in plane 2 */

#define MISC_MODE_3 0x67u /* colour addresses, RAM on, 28 MHz, 400 lines */
#define CRTC_V_RETRACE_END 0x11u
#define CRTC_PROTECT 0x80u
#define ATTRIBUTE_SCREEN_ON 0x20u

static const uint8_t sequencer[] = {0x03, 0x00, 0x03, 0x00, 0x02};
static const uint8_t graphics[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff};
static const uint8_t crtc[] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
			       0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
static const uint8_t attribute[] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
				    0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00};

/* Plane 2 alone, its bytes one after the other at A0000h; and back. */
static const struct {
	uint8_t sequencer_map, sequencer_memory, graphics_mode, graphics_misc;
} font_access = {0x04, 0x06, 0x00, 0x04}, text_access = {0x03, 0x02, 0x10, 0x0e};

static void put(struct io_map *ports, uint16_t port, unsigned value)
{
	io_write(ports, port, 1, value);
}

static void put_indexed(struct io_map *ports, uint16_t port, unsigned index, unsigned value)
{
	put(ports, port, index);
	put(ports, port + 1, value);
}

static void put_all(struct io_map *ports, uint16_t port, const uint8_t *values, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		put_indexed(ports, port, i, values[i]);
}

static void set_registers(struct io_map *ports)
{
	put(ports, MISC_WRITE, MISC_MODE_3);
	put_all(ports, SEQUENCER, sequencer, sizeof sequencer);
	put_indexed(ports, CRTC, CRTC_V_RETRACE_END, crtc[CRTC_V_RETRACE_END] & ~CRTC_PROTECT);
	put_all(ports, CRTC, crtc, sizeof crtc);
	put_all(ports, GRAPHICS, graphics, sizeof graphics);
	(void)io_read(ports, INPUT_STATUS_1, 1); /* the attribute controller takes an index next */
	for (unsigned i = 0; i < sizeof attribute; i++) {
		put(ports, ATTRIBUTE, i);
		put(ports, ATTRIBUTE, attribute[i]);
	}
	put(ports, ATTRIBUTE, ATTRIBUTE_SCREEN_ON);
}

/* The 64 colours of the EGA: two bits for each of red, green and blue, the strong ones in bits 2 to 0. */
static void set_colours(struct io_map *ports)
{
	enum { STRONG = 0x2a, WEAK = 0x15 };
	put(ports, DAC_MASK, 0xff);
	put(ports, DAC_WRITE_INDEX, 0);
	for (unsigned colour = 0; colour < 64; colour++)
		for (unsigned bit = 3; bit-- > 0;)
			put(ports, DAC_DATA, (colour >> bit & 1) * STRONG + (colour >> (bit + 3) & 1) * WEAK);
}

static void load_font(struct io_map *ports, struct io_map *mmio, const uint8_t *font)
{
	put_indexed(ports, SEQUENCER, 2, font_access.sequencer_map);
	put_indexed(ports, SEQUENCER, 4, font_access.sequencer_memory);
	put_indexed(ports, GRAPHICS, 5, font_access.graphics_mode);
	put_indexed(ports, GRAPHICS, 6, font_access.graphics_misc);
	for (unsigned i = 0; i < FONT_CHARACTERS * FONT_STRIDE; i++) {
		unsigned line = i % FONT_STRIDE;
		unsigned dots = line < VGA_TEXT_POINTS ? font[i / FONT_STRIDE * VGA_TEXT_POINTS + line] : 0;
		io_write(mmio, WINDOW + i, 1, dots);
	}
	put_indexed(ports, SEQUENCER, 2, text_access.sequencer_map);
	put_indexed(ports, SEQUENCER, 4, text_access.sequencer_memory);
	put_indexed(ports, GRAPHICS, 5, text_access.graphics_mode);
	put_indexed(ports, GRAPHICS, 6, text_access.graphics_misc);
}

static void clear_screen(struct io_map *mmio)
{
	for (unsigned i = 0; i < VGA_TEXT_COLUMNS * VGA_TEXT_ROWS; i++) {
		io_write(mmio, TEXT_WINDOW + 2 * i, 1, BLANK & 0xff);
		io_write(mmio, TEXT_WINDOW + 2 * i + 1, 1, BLANK >> 8);
	}
}

/* Known by its first characters: nothing, and the two faces. */
const uint8_t *vga_text_font(const uint8_t *rom, size_t size)
{
	static const uint8_t first[] = {
	    0, 0, 0,	0,    0,    0,	  0,	0,    0,    0,	  0,	0,    0, 0, 0, 0,
	    0, 0, 0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e, 0, 0, 0, 0,
	    0, 0, 0x7e, 0xff, 0xdb, 0xff, 0xff, 0xc3, 0xe7, 0xff, 0xff, 0x7e, 0, 0, 0, 0,
	};
	const uint8_t *font = rom != NULL ? memmem(rom, size, first, sizeof first) : NULL;
	size_t left = font != NULL ? size - (size_t)(font - rom) : 0;
	return left >= FONT_CHARACTERS * VGA_TEXT_POINTS ? font : NULL;
}

bool vga_text_mode(struct io_map *ports, struct io_map *mmio, const uint8_t *rom, size_t size)
{
	const uint8_t *font = vga_text_font(rom, size);
	if (font == NULL)
		return false;
	set_registers(ports);
	set_colours(ports);
	load_font(ports, mmio, font);
	clear_screen(mmio);
	return true;
}
