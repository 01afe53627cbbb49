/* SPDX-License-Identifier: MIT */
/*
 * The VGA BIOS's part for machines that boot without firmware: text mode 3 (80 x 25 characters of 9 x 16 dots), its
 * colours, its font, and a blank screen.
 */
#ifndef NFOLD_MACHINE_VGA_TEXT_MODE_H
#define NFOLD_MACHINE_VGA_TEXT_MODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/bus.h"

#define VGA_TEXT_COLUMNS 80u
#define VGA_TEXT_ROWS 25u
#define VGA_TEXT_POINTS 16u /* scan lines of a character */

/* The 8 x 16 font in a VGA BIOS image: 256 characters of 16 bytes. NULL: there is none. */
const uint8_t *vga_text_font(const uint8_t *rom, size_t size);

/* Does it all through the VGA's ports and its window. False, and nothing done: the ROM has no font. */
bool vga_text_mode(struct io_map *ports, struct io_map *mmio, const uint8_t *rom, size_t size);

#endif
