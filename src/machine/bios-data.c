/* SPDX-License-Identifier: MIT */
/* Fields: PS/2 and PC BIOS Interface Technical Reference (1991), section 3; those of the EGA and VGA from 484h on. */
#include "machine/bios-data.h"

#include "base/bits.h"
#include "machine/layout.h"

#define AREA 0x400u
#define AREA_SIZE 0x100u

#define EQUIPMENT_FLOPPY 0x0001u
#define EQUIPMENT_FPU 0x0002u
#define EQUIPMENT_MOUSE 0x0004u
#define EQUIPMENT_80_COLOUR 0x0020u
#define EQUIPMENT_FLOPPIES 6u /* shift: drives less one */
#define EQUIPMENT_SERIAL_PORTS 9u

#define KEYBOARD_BUFFER 0x1eu
#define KEYBOARD_BUFFER_END 0x3eu
#define EBDA_KIB 1u

struct field {
	uint8_t offset, bytes;
	uint16_t value;
};

/* Mode 3, as a VGA BIOS leaves it. */
static const struct field text_screen[] = {
    {0x49, 1, 3},      /* mode */
    {0x4a, 2, 80},     /* columns */
    {0x4c, 2, 0x1000}, /* bytes of a page */
    {0x60, 2, 0x0d0e}, /* the cursor's first line, and its last */
    {0x63, 2, 0x3d4},  /* CRT controller */
    {0x65, 1, 0x29},   /* what a CGA's mode register would hold */
    {0x66, 1, 0x30},   /* and its palette register */
    {0x84, 1, 24},     /* rows less one */
    {0x85, 2, 16},     /* scan lines of a character */
    {0x87, 1, 0x60},   /* 256 KiB, colour */
    {0x88, 1, 0xf9},   /* switches */
    {0x89, 1, 0x11},   /* VGA active, 400 lines */
};

static unsigned equipment(const struct bios_data_config *config)
{
	unsigned word = EQUIPMENT_FPU | EQUIPMENT_MOUSE | 2u << EQUIPMENT_SERIAL_PORTS;
	if (config->floppies > 0)
		word |= EQUIPMENT_FLOPPY | (config->floppies - 1) << EQUIPMENT_FLOPPIES;
	if (config->text_screen)
		word |= EQUIPMENT_80_COLOUR;
	return word;
}

static void put(uint8_t *area, const struct field *fields, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		store_le(area + fields[i].offset, fields[i].value, fields[i].bytes);
}

bool bios_data_load(struct memory *memory, const struct bios_data_config *config)
{
	const struct field common[] = {
	    {0x00, 2, LAYOUT_COM1_PORT},
	    {0x02, 2, LAYOUT_COM2_PORT},
	    {0x0e, 2, LAYOUT_EBDA_BASE >> 4},
	    {0x10, 2, (uint16_t)equipment(config)},
	    {0x13, 2, LAYOUT_EBDA_BASE >> 10},
	    {0x1a, 2, KEYBOARD_BUFFER}, /* empty: head and tail */
	    {0x1c, 2, KEYBOARD_BUFFER},
	    {0x75, 1, (uint16_t)config->disks},
	    {0x80, 2, KEYBOARD_BUFFER},
	    {0x82, 2, KEYBOARD_BUFFER_END},
	    {0x96, 1, 0x10}, /* the keyboard has 101 or 102 keys */
	};
	uint8_t area[AREA_SIZE] = {0};
	uint8_t ebda_size = EBDA_KIB;
	put(area, common, sizeof common / sizeof common[0]);
	if (config->text_screen)
		put(area, text_screen, sizeof text_screen / sizeof text_screen[0]);
	return memory_load(memory, AREA, area, sizeof area) &&
	       memory_load(memory, LAYOUT_EBDA_BASE, &ebda_size, sizeof ebda_size);
}
