/* SPDX-License-Identifier: MIT */
/*
 * VGA with the Bochs VBE extensions: the PC's display adapter, as a PCI function.
 *
 *   ports 3C0h-3CFh, 3B4h-3B5h/3BAh or  +-----------+
 *   3D4h-3D5h/3DAh: VGA registers   --->|           |
 *   ports 1CEh-1CFh: DISPI          --->|    VGA    |---> screen (struct display)
 *   A0000h-BFFFFh: the window       --->|  1234:1111|
 *   BAR 0: linear framebuffer       --->|           |
 *   ROM BAR: the VGA BIOS           --->|           |
 *                                       +-----------+
 *
 * Implemented: sequencer, graphics controller (write modes 0-3, read modes 0 and 1, latches, chain-4, odd/even), CRT
 * controller (protection, start address, offset, line compare, row scan and byte panning, double scan, byte, word and
 * double word addressing, CGA and Hercules row addressing), attribute controller (palette, blink, pel panning, plane
 * enable, colour select), DAC with its read and write state and mask; text with two of eight fonts in plane 2, 8 or 9
 * dots, line graphics, underline, cursor; 16-colour planar, 4-colour CGA, 256-colour chained and unchained graphics.
 * Input status 1 follows the virtual clock with the programmed timing. DISPI version B0C5h: 4, 8, 15, 16, 24 and 32
 * bits for each pixel, up to 2560 x 1600, virtual size and offsets, banks of 64 KiB at A0000h, 8-bit DAC.
 *
 * Memory. Planes are interleaved: byte `offset` of plane p is video memory byte 4 * offset + p, so that VGA modes use
 * the first 256 KiB. DISPI modes of 8 bits and more use video memory as the linear framebuffer shows it. Every address
 * that a register or an access forms is masked to the planes' 64 KiB or to the video memory.
 *
 * The screen is rendered without border, each scan line and each dot: 320 x 200 modes are 640 x 400 pixels, text of 80
 * x 25 is 720 x 400. It shows the registers at the time of asking: changes in the middle of a frame are not seen.
 *
 * The machine may give the chip memory that the processor reaches directly where BAR 0 is; then the guest's writes
 * there are not seen one by one, and a viewer is told of a change at each look. Without, each access is a device
 * access.
 *
 * Not implemented: the vertical retrace interrupt, light pen, sense switches and video feedback of input status,
 * display skew, shift registers loaded every second or fourth character, blinking in graphics modes, the palette and
 * plane enable in 256-colour modes, genlock and external video, the page bit of the miscellaneous output register. The
 * window and the VGA ports are decoded whatever the PCI command register says.
 *
 * Sources: IBM PS/2 Hardware Interface Technical Reference, video subsystem (1992); FreeVGA's register
 * descriptions; the Bochs VBE display API description.
 */
#ifndef NFOLD_DEVICES_VGA_H
#define NFOLD_DEVICES_VGA_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/display.h"
#include "devices/pci.h"
#include "io/bus.h"
#include "io/clock.h"

#define VGA_MEMORY_DEFAULT (UINT32_C(16) << 20)
#define VGA_MEMORY_MIN (UINT32_C(256) << 10)
#define VGA_MEMORY_MAX (UINT32_C(256) << 20)
#define VGA_ROM_MAX (UINT32_C(16) << 20)

struct vga;

struct vga_config {
	struct pci_bus *bus;
	unsigned device;
	struct clock *clock;
	struct display *display; /* the caller's; NULL: nobody looks */
	uint32_t memory_size;	 /* bytes of video memory, a power of two from VGA_MEMORY_MIN to VGA_MEMORY_MAX */
	uint8_t *memory;	 /* so many bytes, the caller's; NULL: the chip's own */
	void (*place)(void *opaque, bool mapped, uint64_t base); /* where the caller shows that memory */
	void *place_opaque;
	const uint8_t *rom; /* the VGA BIOS, the caller's; NULL: no ROM BAR */
	uint32_t rom_size;  /* at most VGA_ROM_MAX; the BAR is the next power of two */
};

struct vga *vga_create(const struct vga_config *config, struct error *error);
void vga_destroy(struct vga *vga);
void vga_reset(struct vga *vga); /* registers; video memory keeps its contents */

/* Claims the VGA and DISPI ports and the window A0000h-BFFFFh. */
bool vga_map(struct vga *vga, struct io_map *ports, struct io_map *mmio, struct error *error);

#endif
