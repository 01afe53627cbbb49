/* SPDX-License-Identifier: MIT */
/*
 * The VGA: any registers, any memory accesses, and looks at the screen in between. Whatever is programmed, the screen
 * keeps to the display's limits, a frame has the size that was promised, text stays inside its cells, and
 * the framebuffer stores what it is given.
 */
#include "fuzz-rig.h"

#include <stdlib.h>

#include "devices/vga.h"

#define FRAMEBUFFER UINT64_C(0xe0000000)
#define FRAME_PIXELS_MAX 500000u /* larger ones only cost time */
#define GUARD UINT32_C(0xfeedface)

struct board {
	struct fuzz_rig rig;
	struct pci_bus *bus;
	struct display display;
	struct vga *vga;
};

/* Index and data in one go: sequencer, graphics controller, CRT controller, attribute controller, DISPI. */
static void set_register(struct fuzz_rig *rig)
{
	uint8_t choice = fuzz_byte(rig), index = fuzz_byte(rig), value = fuzz_byte(rig);
	switch (choice % 6) {
	case 0:
		io_write(&rig->ports, 0x3c4, 2, index % 5 | value << 8);
		break;
	case 1:
		io_write(&rig->ports, 0x3ce, 2, index % 9 | value << 8);
		break;
	case 2:
		io_write(&rig->ports, 0x3c2, 1, (value & 0x0e) | 1);
		io_write(&rig->ports, 0x3d4, 2, 0x11);
		io_write(&rig->ports, 0x3d4, 2, index % 25 | value << 8);
		break;
	case 3:
		(void)io_read(&rig->ports, 0x3da, 1);
		io_write(&rig->ports, 0x3c0, 1, index % 21);
		io_write(&rig->ports, 0x3c0, 1, value);
		io_write(&rig->ports, 0x3c0, 1, 0x20);
		break;
	default:
		io_write(&rig->ports, 0x1ce, 2, index % 12);
		io_write(&rig->ports, 0x1cf, 2, choice & 0x80 ? value | fuzz_byte(rig) << 8 : value);
		break;
	}
}

static void start_dispi(struct fuzz_rig *rig)
{
	static const uint8_t depths[6] = {4, 8, 15, 16, 24, 32};
	const unsigned values[4] = {fuzz_byte(rig) * 4u, fuzz_byte(rig) * 3u, depths[fuzz_byte(rig) % 6],
				    0x41u | (fuzz_byte(rig) & 0xa0u)};
	io_write(&rig->ports, 0x1ce, 2, 4);
	io_write(&rig->ports, 0x1cf, 2, 0);
	for (unsigned i = 0; i < 4; i++) {
		io_write(&rig->ports, 0x1ce, 2, i + 1);
		io_write(&rig->ports, 0x1cf, 2, values[i]);
	}
}

static void look_at_text(const struct board *board)
{
	static struct display_text text;
	if (!display_text(&board->display, &text))
		return;
	assert(text.columns > 0 && text.columns <= DISPLAY_COLUMNS_MAX);
	assert(text.rows > 0 && text.rows <= DISPLAY_ROWS_MAX);
	assert(text.cursor_column < text.columns && text.cursor_row < text.rows);
}

static void look_at_frame(const struct board *board)
{
	struct display_size size = display_size(&board->display);
	size_t count = (size_t)size.width * size.height;
	assert(count > 0 && size.width <= DISPLAY_WIDTH_MAX && size.height <= DISPLAY_HEIGHT_MAX);
	if (count > FRAME_PIXELS_MAX)
		return;
	uint32_t *pixels = malloc((count + 1) * sizeof *pixels);
	assert(pixels != NULL);
	pixels[count - 1] = pixels[count] = GUARD;
	assert(display_render(&board->display, pixels, size));
	assert(pixels[count] == GUARD && pixels[count - 1] != GUARD);
	free(pixels);
}

static void check_framebuffer(struct fuzz_rig *rig)
{
	uint64_t address = FRAMEBUFFER + fuzz_number(rig, 3) % (VGA_MEMORY_MIN - 7), value = fuzz_number(rig, 8);
	io_write(&rig->mmio, address, 8, value);
	assert(io_read(&rig->mmio, address, 8) == value);
}

static void board_create(struct board *board, const uint8_t *data, size_t size)
{
	static const uint8_t rom[3000];
	fuzz_init(&board->rig, data, size);
	display_init(&board->display);
	const struct pci_bus_config bus = {.ports = &board->rig.ports, .mmio = &board->rig.mmio};
	board->bus = pci_bus_create(&bus, NULL);
	const struct vga_config config = {.bus = board->bus,
					  .device = 2,
					  .clock = &board->rig.clock,
					  .display = &board->display,
					  .memory_size = VGA_MEMORY_MIN,
					  .rom = rom,
					  .rom_size = sizeof rom};
	board->vga = vga_create(&config, NULL);
	assert(board->vga != NULL && vga_map(board->vga, &board->rig.ports, &board->rig.mmio, NULL));
}

static void decode_framebuffer(struct board *board)
{
	pci_config_write(board->bus, PCI_DEVFN(2, 0), PCI_BAR0, 4, (uint32_t)FRAMEBUFFER);
	pci_config_write(board->bus, PCI_DEVFN(2, 0), PCI_ROM_ADDRESS, 4, 0xd0000001);
	pci_config_write(board->bus, PCI_DEVFN(2, 0), PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
}

static void act(struct board *board)
{
	static const struct fuzz_window windows[] = {{false, 0x3b0, 48},
						     {false, 0x1ce, 3},
						     {true, 0xa0000, 0x20000},
						     {true, FRAMEBUFFER, VGA_MEMORY_MIN},
						     {true, 0xd0000000, 0x1000}};
	struct fuzz_rig *rig = &board->rig;
	uint8_t action = fuzz_byte(rig);
	if (action < 0x60)
		set_register(rig);
	else if (action < 0x90)
		fuzz_access(rig, windows, 5, true);
	else if (action < 0xb0)
		fuzz_access(rig, windows, 5, false);
	else if (action < 0xc0)
		fuzz_advance(rig, 34);
	else if (action < 0xc8)
		look_at_text(board);
	else if (action < 0xcc)
		look_at_frame(board);
	else if (action < 0xe0)
		start_dispi(rig);
	else if (action < 0xfc)
		check_framebuffer(rig);
	else
		(void)display_changes(&board->display);
	if (action == 0xff) {
		vga_reset(board->vga);
		decode_framebuffer(board);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct board board;
	board_create(&board, data, size);
	decode_framebuffer(&board);
	while (board.rig.left > 0)
		act(&board);
	look_at_text(&board);
	look_at_frame(&board);
	vga_destroy(board.vga);
	pci_bus_destroy(board.bus);
	assert(board.rig.mmio.count == 1); /* the window; the BARs are gone */
	return 0;
}
