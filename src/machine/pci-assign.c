/* SPDX-License-Identifier: MIT */
#include "machine/pci-assign.h"

#include "machine/layout.h"

#define BAR_IO 1u
#define BAR_TYPE 6u
#define BAR_TYPE_64 4u
#define BAR_IO_MASK 0xfffffffcu
#define BAR_MEMORY_MASK 0xfffffff0u

/* The next free addresses. */
struct windows {
	uint64_t memory, io;
};

static uint64_t take(uint64_t *next, uint64_t size, uint64_t end)
{
	uint64_t base = (*next + size - 1) & ~(size - 1);
	if (size == 0 || base + size > end)
		return 0;
	*next = base + size;
	return base;
}

/* All ones written, the address bits that stay zero tell the size (PCI 2.3, 6.2.5.1). */
static uint32_t bar_probe(struct pci_bus *bus, unsigned devfn, unsigned offset)
{
	uint32_t old = pci_config_read(bus, devfn, offset, 4);
	pci_config_write(bus, devfn, offset, 4, UINT32_MAX);
	uint32_t mask = pci_config_read(bus, devfn, offset, 4);
	pci_config_write(bus, devfn, offset, 4, old);
	return mask;
}

/* Gives a BAR its place, and adds to *command what it needs. Returns how many registers it takes. */
static unsigned assign_bar(struct pci_bus *bus, struct windows *windows, unsigned devfn, unsigned offset,
			   uint32_t *command)
{
	uint32_t mask = bar_probe(bus, devfn, offset);
	bool io = (mask & BAR_IO) != 0;
	bool wide = !io && (mask & BAR_TYPE) == BAR_TYPE_64;
	uint32_t size = -(mask & (io ? BAR_IO_MASK : BAR_MEMORY_MASK));
	if (io)
		size &= 0xffff; /* functions may leave the upper half out */
	uint64_t base =
	    io ? take(&windows->io, size, LAYOUT_PCI_IO_END) : take(&windows->memory, size, LAYOUT_PCI_MEMORY_END);
	if (base != 0) {
		pci_config_write(bus, devfn, offset, 4, (uint32_t)base);
		if (wide)
			pci_config_write(bus, devfn, offset + 4, 4, 0);
		*command |= io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	}
	return wide ? 2 : 1;
}

static void assign_function(struct pci_bus *bus, struct windows *windows, unsigned devfn)
{
	uint32_t command = 0;
	for (unsigned bar = 0; bar < PCI_BARS;)
		bar += assign_bar(bus, windows, devfn, PCI_BAR0 + 4 * bar, &command);
	unsigned pin = pci_config_read(bus, devfn, PCI_INTERRUPT_PIN, 1);
	if (pin >= 1 && pin <= PCI_PINS)
		pci_config_write(bus, devfn, PCI_INTERRUPT_LINE, 1, LAYOUT_PCI_IRQ(pci_pirq(devfn >> 3, pin)));
	command |= pci_config_read(bus, devfn, PCI_COMMAND, 2);
	pci_config_write(bus, devfn, PCI_COMMAND, 2, command);
}

void pci_assign(struct pci_bus *bus)
{
	struct windows windows = {.memory = LAYOUT_PCI_MEMORY_BASE, .io = LAYOUT_PCI_IO_BASE};
	for (unsigned devfn = 0; devfn < PCI_DEVICES * PCI_FUNCTIONS; devfn++)
		if (pci_config_read(bus, devfn, PCI_VENDOR, 2) != 0xffff)
			assign_function(bus, &windows, devfn);
}
