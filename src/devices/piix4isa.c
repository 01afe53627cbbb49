/* SPDX-License-Identifier: MIT */
#include "devices/piix4isa.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define PIRQ_ROUTE 0x60u
#define ROUTE_DISABLED 0x80u
#define ROUTE_IRQ 0x0fu
#define ROUTABLE_IRQS 0xdef8u /* 3-7, 9-12, 14, 15 */

#define RESET_SYSTEM 0x02u
#define RESET_CPU 0x04u

struct piix4isa {
	struct pci_function function;
	struct piix4isa_config config;
	uint8_t pirq_levels; /* one bit for each PIRQ */
	uint16_t driven;     /* ISA interrupts held high */
	uint8_t reset_control;
};

/* ---- interrupt routing ---- */

static uint16_t isa_routed_levels(const struct piix4isa *isa)
{
	uint16_t levels = 0;
	for (unsigned i = 0; i < PCI_PINS; i++) {
		uint8_t route = isa->function.config[PIRQ_ROUTE + i];
		if ((isa->pirq_levels & BIT32(i)) && !(route & ROUTE_DISABLED))
			levels |= (uint16_t)BIT32(route & ROUTE_IRQ);
	}
	return levels & ROUTABLE_IRQS;
}

static void isa_update_irqs(struct piix4isa *isa)
{
	uint16_t levels = isa_routed_levels(isa);
	uint16_t changed = levels ^ isa->driven;
	isa->driven = levels;
	for (unsigned i = 0; i < PIIX4ISA_IRQS; i++)
		if (changed & BIT32(i))
			irq_set(&isa->config.isa_irq[i], (levels & BIT32(i)) != 0);
}

void piix4isa_pirq(void *opaque, int input, bool level)
{
	struct piix4isa *isa = opaque;
	if (input < 0 || input >= (int)PCI_PINS)
		return;
	uint8_t bit = (uint8_t)BIT32(input);
	isa->pirq_levels = (uint8_t)(level ? isa->pirq_levels | bit : isa->pirq_levels & ~bit);
	isa_update_irqs(isa);
}

static void isa_config_written(struct pci_function *function, unsigned offset, unsigned size)
{
	(void)offset;
	(void)size;
	isa_update_irqs(container_of(function, struct piix4isa, function));
}

/* ---- CF9h ---- */

static uint64_t reset_control_read(void *opaque, uint64_t offset, unsigned size)
{
	const struct piix4isa *isa = opaque;
	(void)offset;
	(void)size;
	return isa->reset_control;
}

/* Raising bit 2 resets: the processor or, with bit 1, the system. Here both reset the machine. */
static void reset_control_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct piix4isa *isa = opaque;
	(void)offset;
	(void)size;
	bool raised = (value & RESET_CPU) && !(isa->reset_control & RESET_CPU);
	isa->reset_control = value & (RESET_SYSTEM | RESET_CPU);
	if (raised && isa->config.reset != NULL)
		isa->config.reset(isa->config.reset_opaque);
}

static const struct io_ops reset_control_ops = {
    .read = reset_control_read, .write = reset_control_write, .max_size = 1};

/* ---- life ---- */

static void isa_make_writable(struct piix4isa *isa)
{
	static const struct {
		uint8_t first, count, mask;
	} registers[] = {{0x4e, 2, 0xff}, {PIRQ_ROUTE, PCI_PINS, 0x8f}, {0x69, 2, 0xff}, {0x80, 4, 0xff}};
	for (unsigned i = 0; i < sizeof registers / sizeof registers[0]; i++)
		memset(&isa->function.writable[registers[i].first], registers[i].mask, registers[i].count);
}

void piix4isa_reset(struct piix4isa *isa)
{
	pci_function_reset(&isa->function);
	memset(&isa->function.config[PIRQ_ROUTE], ROUTE_DISABLED, PCI_PINS);
	isa->reset_control = 0;
	isa_update_irqs(isa);
}

struct piix4isa *piix4isa_create(const struct piix4isa_config *config, struct error *error)
{
	static const struct pci_identity identity = {.vendor = 0x8086, .device = 0x7110, .class_code = 0x060100};
	struct piix4isa *isa = calloc(1, sizeof *isa);
	if (isa == NULL) {
		error_set(error, ERROR_HOST, "out of memory for the ISA bridge");
		return NULL;
	}
	isa->config = *config;
	pci_function_init(&isa->function, &identity);
	isa_make_writable(isa);
	isa->function.config_written = isa_config_written;
	if (!pci_bus_attach(config->bus, &isa->function, config->device, 0, error)) {
		free(isa);
		return NULL;
	}
	pci_bus_set_reset_control(config->bus, &reset_control_ops, isa);
	piix4isa_reset(isa);
	return isa;
}

void piix4isa_destroy(struct piix4isa *isa)
{
	if (isa == NULL)
		return;
	pci_bus_set_reset_control(isa->config.bus, NULL, NULL);
	pci_bus_detach(&isa->function);
	free(isa);
}
