/* SPDX-License-Identifier: MIT */
/* The VGA's life: the PCI function with framebuffer and ROM, and the ranges that every VGA claims. */
#include <assert.h>
#include <stdlib.h>

#include "devices/vga-impl.h"

#define VBE_PORT 0x1ceu
#define VBE_PORTS 3u /* the data register is a word at 1CFh */
#define ROM_BAR_MIN 2048u

static uint64_t rom_read(void *opaque, uint64_t offset, unsigned size)
{
	const struct vga *vga = opaque;
	(void)size;
	return offset < vga->config.rom_size ? vga->config.rom[offset] : 0xff;
}

static void rom_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	(void)opaque;
	(void)offset;
	(void)size;
	(void)value;
}

static const struct io_ops rom_ops = {.read = rom_read, .write = rom_write, .max_size = 1};

static void vga_placed(void *opaque, bool mapped, uint64_t base)
{
	struct vga *vga = opaque;
	if (vga->config.place != NULL)
		vga->config.place(vga->config.place_opaque, mapped, base);
}

static void vga_set_bars(struct vga *vga)
{
	const struct pci_bar framebuffer = {.size = vga->config.memory_size,
					    .ops = &vga_framebuffer_ops,
					    .opaque = vga,
					    .name = "vga-framebuffer",
					    .placed = vga_placed};
	struct pci_bar rom = {.size = ROM_BAR_MIN, .ops = &rom_ops, .opaque = vga, .name = "vga-rom"};
	pci_function_set_bar(&vga->function, 0, &framebuffer);
	if (vga->config.rom == NULL)
		return;
	while (rom.size < vga->config.rom_size)
		rom.size *= 2;
	pci_function_set_bar(&vga->function, PCI_ROM, &rom);
}

static void vga_free(struct vga *vga)
{
	if (vga->config.memory == NULL)
		free(vga->memory);
	free(vga);
}

static bool vga_attach(struct vga *vga, struct error *error)
{
	/* Revision 0: from 2 on, drivers expect the registers in a memory BAR as well. */
	static const struct pci_identity identity = {.vendor = 0x1234,
						     .device = 0x1111,
						     .class_code = 0x030000,
						     .subsystem_vendor = 0x1234,
						     .subsystem = 0x1111};
	vga->memory = vga->config.memory != NULL ? vga->config.memory : calloc(1, vga->config.memory_size);
	if (vga->memory == NULL)
		return error_set(error, ERROR_HOST, "out of memory for %u bytes of video memory",
				 vga->config.memory_size);
	pci_function_init(&vga->function, &identity);
	vga_set_bars(vga);
	return pci_bus_attach(vga->config.bus, &vga->function, vga->config.device, 0, error);
}

struct vga *vga_create(const struct vga_config *config, struct error *error)
{
	uint32_t memory_size = config->memory_size;
	assert(memory_size >= VGA_MEMORY_MIN && memory_size <= VGA_MEMORY_MAX &&
	       (memory_size & (memory_size - 1)) == 0);
	if (config->rom != NULL && config->rom_size > VGA_ROM_MAX) {
		error_set(error, ERROR_INPUT, "the VGA BIOS has %u bytes; at most %u fit", config->rom_size,
			  VGA_ROM_MAX);
		return NULL;
	}
	struct vga *vga = calloc(1, sizeof *vga);
	if (vga == NULL) {
		error_set(error, ERROR_HOST, "out of memory for a VGA");
		return NULL;
	}
	vga->config = *config;
	vga->memory_mask = memory_size - 1;
	for (unsigned i = 0; i < 2; i++)
		vga->side[i] = (struct vga_side){.vga = vga, .colour = i == 1};
	if (!vga_attach(vga, error)) {
		vga_free(vga);
		return NULL;
	}
	vga_reset(vga);
	if (config->display != NULL)
		display_attach(config->display, &vga_display_source, vga);
	return vga;
}

void vga_destroy(struct vga *vga)
{
	if (vga == NULL)
		return;
	if (vga->config.display != NULL)
		display_attach(vga->config.display, NULL, NULL);
	pci_bus_detach(&vga->function);
	vga_free(vga);
}

void vga_reset(struct vga *vga)
{
	pci_function_reset(&vga->function);
	vga_registers_reset(vga);
	vga_vbe_reset(vga);
	vga->latches = 0;
	vga->changes++;
}

bool vga_map(struct vga *vga, struct io_map *ports, struct io_map *mmio, struct error *error)
{
	return vga_registers_map(vga, ports, error) &&
	       io_map_add(ports, VBE_PORT, VBE_PORTS, &vga_vbe_ops, vga, "vga-dispi", error) &&
	       io_map_add(mmio, VGA_WINDOW_BASE, VGA_WINDOW_SIZE, &vga_window_ops, vga, "vga-window", error);
}
