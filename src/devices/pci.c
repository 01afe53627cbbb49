/* SPDX-License-Identifier: MIT */
#include "devices/pci.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define PORT_BASE 0xcf8u
#define PORT_COUNT 8u
#define OFFSET_RESET_CONTROL 1u /* CF9h */
#define OFFSET_DATA 4u		/* CFCh */

#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_BITS 0x80fffffcu
#define ADDRESS_BUS 0x00ff0000u

#define BAR_IO 1u
#define BAR_64_BITS 4u
#define ROM_ENABLE 1u
#define ROM_SIZE_MIN 2048u
#define HEADER_MULTIFUNCTION 0x80u
#define STATUS_DEVSEL_MEDIUM 0x0200u

struct pci_bus {
	struct pci_bus_config config;
	struct pci_function *function[PCI_DEVICES * PCI_FUNCTIONS];
	const struct io_ops *reset_control;
	void *reset_control_opaque;
	uint32_t address;
	unsigned asserted[PCI_PINS]; /* how many functions assert each PIRQ */
};

/* ---- interrupts ---- */

static void function_update_interrupt(struct pci_function *function)
{
	uint64_t command = load_le(&function->config[PCI_COMMAND], 2);
	uint8_t pin = function->config[PCI_INTERRUPT_PIN];
	bool messages = function->msix != NULL && pci_msix_enabled(function->msix);
	bool asserted = function->interrupt && !messages && !(command & PCI_COMMAND_INTX_DISABLE);
	uint8_t *status = &function->config[PCI_STATUS];
	*status = (uint8_t)((*status & ~PCI_STATUS_INTERRUPT) | (function->interrupt ? PCI_STATUS_INTERRUPT : 0));
	if (asserted == function->asserted || pin == 0 || function->bus == NULL)
		return;
	function->asserted = asserted;
	unsigned pirq = pci_pirq(function->devfn >> 3, pin);
	unsigned *count = &function->bus->asserted[pirq];
	*count = asserted ? *count + 1 : *count - 1;
	irq_set(&function->bus->config.pirq[pirq], *count > 0);
}

void pci_set_interrupt(struct pci_function *function, bool level)
{
	function->interrupt = level;
	function_update_interrupt(function);
}

void pci_bus_send_message(const struct pci_function *function, uint64_t address, uint32_t data)
{
	const struct pci_msi_sink *sink = &function->bus->config.msi;
	if (sink->send != NULL)
		sink->send(sink->opaque, address, data);
}

bool pci_may_master(const struct pci_function *function)
{
	return function->bus != NULL && (load_le(&function->config[PCI_COMMAND], 2) & PCI_COMMAND_MASTER);
}

/* ---- base address registers ---- */

static struct io_map *bar_map(const struct pci_function *function, const struct pci_bar *bar)
{
	return bar->io ? function->bus->config.ports : function->bus->config.mmio;
}

static unsigned bar_offset(unsigned index)
{
	return index == PCI_ROM ? PCI_ROM_ADDRESS : PCI_BAR0 + 4 * index;
}

/* Where the configuration space puts the BAR. False: nowhere, being disabled or at zero. */
static bool bar_decode(const struct pci_function *function, unsigned index, uint64_t *base)
{
	const struct pci_bar *bar = &function->bar[index];
	uint64_t command = load_le(&function->config[PCI_COMMAND], 2);
	if (bar->size == 0 || !(command & (bar->io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)))
		return false;
	uint64_t value = load_le(&function->config[bar_offset(index)], bar->wide ? 8 : 4);
	if (index == PCI_ROM && !(value & ROM_ENABLE))
		return false;
	*base = value & ~(bar->size - 1);
	return *base != 0;
}

static void bar_unmap(struct pci_function *function, struct pci_bar *bar)
{
	if (!bar->mapped)
		return;
	io_map_remove(bar_map(function, bar), bar->base);
	bar->mapped = false;
	if (bar->placed != NULL)
		bar->placed(bar->opaque, false, bar->base);
}

/* Takes away what moved or went. */
static void function_unmap_stale(struct pci_function *function)
{
	for (unsigned i = 0; i <= PCI_ROM; i++) {
		struct pci_bar *bar = &function->bar[i];
		uint64_t base;
		if (bar->mapped && (!bar_decode(function, i, &base) || base != bar->base))
			bar_unmap(function, bar);
	}
}

/* A range that does not fit, because the guest put it on another or the table is full, stays away until it does. */
static void function_map(struct pci_function *function)
{
	for (unsigned i = 0; i <= PCI_ROM; i++) {
		struct pci_bar *bar = &function->bar[i];
		uint64_t base;
		if (bar->mapped || !bar_decode(function, i, &base))
			continue;
		bar->mapped =
		    io_map_add(bar_map(function, bar), base, bar->size, bar->ops, bar->opaque, bar->name, NULL);
		bar->base = base;
		if (bar->mapped && bar->placed != NULL)
			bar->placed(bar->opaque, true, base);
	}
}

/* After one function's ranges changed another's may fit. */
static void bus_remap(struct pci_bus *bus, struct pci_function *changed)
{
	function_unmap_stale(changed);
	for (unsigned i = 0; i < PCI_DEVICES * PCI_FUNCTIONS; i++)
		if (bus->function[i] != NULL)
			function_map(bus->function[i]);
}

bool pci_bar_address(const struct pci_function *function, unsigned index, uint64_t *address)
{
	const struct pci_bar *bar = &function->bar[index];
	*address = bar->base;
	return bar->mapped;
}

void pci_function_set_bar(struct pci_function *function, unsigned index, const struct pci_bar *bar)
{
	bool rom = index == PCI_ROM;
	assert(rom ? !bar->io && !bar->wide : index + (bar->wide ? 2 : 1) <= PCI_BARS);
	assert(bar->size >= (rom ? ROM_SIZE_MIN : bar->io ? 4 : 16) && (bar->size & (bar->size - 1)) == 0);
	function->bar[index] = *bar;
	function->bar[index].mapped = false;
	unsigned offset = bar_offset(index);
	unsigned bytes = bar->wide ? 8 : 4;
	store_le(&function->config[offset], bar->io ? BAR_IO : bar->wide ? BAR_64_BITS : 0, bytes);
	store_le(&function->writable[offset], ~(bar->size - 1) | (rom ? ROM_ENABLE : 0), bytes);
}

/* ---- functions ---- */

void pci_function_init(struct pci_function *function, const struct pci_identity *identity)
{
	memset(function, 0, sizeof *function);
	uint8_t *config = function->config;
	store_le(&config[PCI_VENDOR], identity->vendor, 2);
	store_le(&config[PCI_DEVICE], identity->device, 2);
	store_le(&config[PCI_STATUS], STATUS_DEVSEL_MEDIUM, 2);
	config[PCI_REVISION] = identity->revision;
	config[PCI_CLASS] = (uint8_t)identity->class_code;
	store_le(&config[PCI_CLASS + 1], identity->class_code >> 8, 2);
	store_le(&config[PCI_SUBSYSTEM_VENDOR], identity->subsystem_vendor, 2);
	store_le(&config[PCI_SUBSYSTEM], identity->subsystem, 2);
	config[PCI_INTERRUPT_PIN] = identity->interrupt_pin;
	store_le(&function->writable[PCI_COMMAND],
		 PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE, 2);
	function->writable[PCI_INTERRUPT_LINE] = 0xff;
}

/* PCI 2.3, 6.7. */
void pci_function_add_capability(struct pci_function *function, unsigned offset, uint8_t id, unsigned size)
{
	assert(offset >= 0x40 && offset % 4 == 0 && offset + size <= PCI_CONFIG_SIZE);
	function->config[offset] = id;
	function->config[offset + 1] = function->config[PCI_CAPABILITIES];
	function->config[PCI_CAPABILITIES] = (uint8_t)offset;
	function->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
}

void pci_function_reset(struct pci_function *function)
{
	store_le(&function->config[PCI_COMMAND], 0, 2);
	function->config[PCI_INTERRUPT_LINE] = 0;
	for (unsigned i = 0; i <= PCI_ROM; i++)
		for (unsigned byte = bar_offset(i); byte < bar_offset(i) + 4; byte++)
			function->config[byte] &= (uint8_t)~function->writable[byte];
	function->interrupt = false;
	function_update_interrupt(function);
	if (function->bus != NULL)
		bus_remap(function->bus, function);
}

/* Function 0 says whether there are others. */
static void bus_mark_multifunction(struct pci_bus *bus, unsigned device)
{
	struct pci_function **functions = &bus->function[PCI_DEVFN(device, 0)];
	bool others = false;
	for (unsigned i = 1; i < PCI_FUNCTIONS; i++)
		others |= functions[i] != NULL;
	if (functions[0] != NULL)
		functions[0]->config[PCI_HEADER_TYPE] = others ? HEADER_MULTIFUNCTION : 0;
}

bool pci_bus_attach(struct pci_bus *bus, struct pci_function *function, unsigned device, unsigned number,
		    struct error *error)
{
	assert(device < PCI_DEVICES && number < PCI_FUNCTIONS);
	unsigned devfn = PCI_DEVFN(device, number);
	if (bus->function[devfn] != NULL)
		return error_set(error, ERROR_INPUT, "PCI slot %u.%u is taken", device, number);
	bus->function[devfn] = function;
	function->bus = bus;
	function->devfn = (uint8_t)devfn;
	bus_mark_multifunction(bus, device);
	return true;
}

void pci_bus_detach(struct pci_function *function)
{
	struct pci_bus *bus = function->bus;
	if (bus == NULL)
		return;
	pci_function_reset(function);
	bus->function[function->devfn] = NULL;
	bus_mark_multifunction(bus, function->devfn >> 3);
	function->bus = NULL;
}

/* ---- configuration space ---- */

uint32_t pci_config_read(struct pci_bus *bus, unsigned devfn, unsigned offset, unsigned size)
{
	struct pci_function *function = bus->function[devfn % (PCI_DEVICES * PCI_FUNCTIONS)];
	if (function == NULL || offset + size > PCI_CONFIG_SIZE)
		return (uint32_t)size_mask(size);
	if (function->config_reading != NULL)
		function->config_reading(function, offset, size);
	return (uint32_t)load_le(&function->config[offset], size);
}

static void function_write_byte(struct pci_function *function, unsigned offset, uint8_t value)
{
	uint8_t *byte = &function->config[offset];
	uint8_t writable = function->writable[offset];
	*byte = (uint8_t)((*byte & ~writable) | (value & writable));
	*byte &= (uint8_t) ~(value & function->clears[offset]);
}

static bool touches(unsigned offset, unsigned size, unsigned first, unsigned count)
{
	return offset < first + count && first < offset + size;
}

void pci_config_write(struct pci_bus *bus, unsigned devfn, unsigned offset, unsigned size, uint32_t value)
{
	struct pci_function *function = bus->function[devfn % (PCI_DEVICES * PCI_FUNCTIONS)];
	if (function == NULL || offset + size > PCI_CONFIG_SIZE)
		return;
	for (unsigned i = 0; i < size; i++)
		function_write_byte(function, offset + i, (uint8_t)(value >> (8 * i)));
	if (touches(offset, size, PCI_COMMAND, 2) || touches(offset, size, PCI_BAR0, 4 * PCI_BARS) ||
	    touches(offset, size, PCI_ROM_ADDRESS, 4))
		bus_remap(bus, function);
	bool messages = function->msix != NULL && touches(offset, size, function->msix->capability + 2, 2);
	if (touches(offset, size, PCI_COMMAND, 2) || messages)
		function_update_interrupt(function);
	if (function->msix != NULL && (touches(offset, size, PCI_COMMAND, 2) || messages))
		pci_msix_update(function->msix);
	if (function->config_written != NULL)
		function->config_written(function, offset, size);
}

/* ---- mechanism #1 ---- */

/* The address register selects only when enabled, and only bus 0 exists. */
static bool bus_selected(const struct pci_bus *bus)
{
	return (bus->address & ADDRESS_ENABLE) && !(bus->address & ADDRESS_BUS);
}

static uint64_t pci_port_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pci_bus *bus = opaque;
	if (offset == 0 && size == 4)
		return bus->address;
	if (offset == OFFSET_RESET_CONTROL && size == 1 && bus->reset_control != NULL)
		return bus->reset_control->read(bus->reset_control_opaque, 0, 1);
	if (offset < OFFSET_DATA || !bus_selected(bus))
		return UINT64_MAX;
	unsigned reg = (bus->address & 0xfc) + (unsigned)(offset - OFFSET_DATA);
	return pci_config_read(bus, bus->address >> 8 & 0xff, reg, size);
}

static void pci_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_bus *bus = opaque;
	if (offset == 0 && size == 4) {
		bus->address = (uint32_t)value & ADDRESS_BITS;
	} else if (offset == OFFSET_RESET_CONTROL && size == 1 && bus->reset_control != NULL) {
		bus->reset_control->write(bus->reset_control_opaque, 0, 1, value);
	} else if (offset >= OFFSET_DATA && bus_selected(bus)) {
		unsigned reg = (bus->address & 0xfc) + (unsigned)(offset - OFFSET_DATA);
		pci_config_write(bus, bus->address >> 8 & 0xff, reg, size, (uint32_t)value);
	}
}

static const struct io_ops pci_port_ops = {.read = pci_port_read, .write = pci_port_write, .max_size = 4};

/* ---- life ---- */

struct pci_bus *pci_bus_create(const struct pci_bus_config *config, struct error *error)
{
	struct pci_bus *bus = calloc(1, sizeof *bus);
	if (bus == NULL) {
		error_set(error, ERROR_HOST, "out of memory for the PCI bus");
		return NULL;
	}
	bus->config = *config;
	if (!io_map_add(config->ports, PORT_BASE, PORT_COUNT, &pci_port_ops, bus, "pci-config", error)) {
		free(bus);
		return NULL;
	}
	return bus;
}

void pci_bus_destroy(struct pci_bus *bus)
{
	if (bus == NULL)
		return;
	io_map_remove(bus->config.ports, PORT_BASE);
	free(bus);
}

void pci_bus_reset(struct pci_bus *bus)
{
	bus->address = 0;
}

void pci_bus_set_reset_control(struct pci_bus *bus, const struct io_ops *ops, void *opaque)
{
	bus->reset_control = ops;
	bus->reset_control_opaque = opaque;
}
