/* SPDX-License-Identifier: MIT */
/*
 * The DSDT: soft-off, the PCI root bridge with its windows and interrupt routing, and the ISA devices.
 *
 * There are no interrupt link devices. With the IOAPIC in use, PIRQ A to D are inputs of their own; with
 * the 8259s, they are the IRQs that the machine has set the PIIX4's router to. _PIC tells which it is.
 */
#include "machine/acpi.h"
#include "machine/layout.h"

#define ARG0 0x68
#define OP_STORE 0x70
#define LAST_SLOT 31u

/* The board's wiring: the slots' pins go round the four PIRQs in turn. */
static unsigned pirq_of(unsigned slot, unsigned pin)
{
	return (slot + pin) & 3;
}

static void build_routing(struct aml *aml, const char *name, bool ioapic)
{
	aml_name(aml, name);
	aml_mark table = aml_open_package(aml, LAST_SLOT * 4);
	for (unsigned slot = 1; slot <= LAST_SLOT; slot++) {
		for (unsigned pin = 0; pin < 4; pin++) {
			unsigned pirq = pirq_of(slot, pin);
			aml_mark entry = aml_open_package(aml, 4);
			aml_integer(aml, slot << 16 | 0xffff);
			aml_integer(aml, pin);
			aml_integer(aml, 0);
			aml_integer(aml, ioapic ? LAYOUT_PCI_INPUT + pirq : LAYOUT_PCI_IRQ(pirq));
			aml_close(aml, entry);
		}
	}
	aml_close(aml, table);
}

/* Method(_PRT) { If (PICF) { Return (PRTA) } Return (PRTP) } */
static void build_routing_method(struct aml *aml)
{
	build_routing(aml, "PRTA", true);
	build_routing(aml, "PRTP", false);
	aml_mark method = aml_open_method(aml, "_PRT", 0);
	aml_mark condition = aml_open_if(aml);
	aml_name_string(aml, "PICF");
	aml_return(aml);
	aml_name_string(aml, "PRTA");
	aml_close(aml, condition);
	aml_return(aml);
	aml_name_string(aml, "PRTP");
	aml_close(aml, method);
}

static void build_windows(struct aml *aml)
{
	aml_name(aml, "_CRS");
	struct aml_resources crs = aml_open_resources(aml);
	aml_word_window(aml, AML_SPACE_BUS, 0, 0, 0xff);
	aml_io(aml, 0xcf8, 8);
	aml_word_window(aml, AML_SPACE_IO, AML_IO_ENTIRE_RANGE, 0, 0xcf7);
	aml_word_window(aml, AML_SPACE_IO, AML_IO_ENTIRE_RANGE, 0xd00, 0xffff);
	aml_dword_window(aml, AML_SPACE_MEMORY, AML_MEMORY_WRITABLE | AML_MEMORY_CACHEABLE, LAYOUT_VGA_BASE,
			 LAYOUT_VGA_END - 1);
	aml_dword_window(aml, AML_SPACE_MEMORY, AML_MEMORY_WRITABLE, LAYOUT_PCI_MEMORY_BASE, LAYOUT_PCI_MEMORY_END - 1);
	aml_close_resources(aml, crs);
}

#define NO_IRQ (-1)

struct isa_device {
	const char *name, *id;
	int irq;
	struct {
		uint16_t base;
		uint8_t size;
	} io[4]; /* a size of 0 ends them */
};

/* The ports that only motherboard resources name are those of fixed hardware that the FADT describes. */
static const struct isa_device isa_devices[] = {
    {"PIC_", "PNP0000", 2, {{0x20, 2}, {0xa0, 2}, {0x4d0, 2}}},
    {"TMR_", "PNP0100", 0, {{0x40, 4}}},
    {"RTC_", "PNP0B00", LAYOUT_RTC_IRQ, {{0x70, 2}}},
    {"COM1", "PNP0501", LAYOUT_COM1_IRQ, {{LAYOUT_COM1_PORT, 8}}},
    {"MBRD", "PNP0C02", NO_IRQ, {{0x92, 1}, {LAYOUT_SMI_PORT, 2}, {LAYOUT_PM_PORT, 0x40}}},
};

static const struct isa_device keyboard = {"KBD_", "PNP0303", 1, {{0x60, 1}, {0x64, 1}}};

static void build_isa_device(struct aml *aml, const struct isa_device *device, unsigned uid)
{
	aml_mark mark = aml_open_device(aml, device->name);
	aml_name_eisa_id(aml, "_HID", device->id);
	aml_name_integer(aml, "_UID", uid);
	aml_name(aml, "_CRS");
	struct aml_resources crs = aml_open_resources(aml);
	for (unsigned i = 0; i < 4 && device->io[i].size != 0; i++)
		aml_io(aml, device->io[i].base, device->io[i].size);
	if (device->irq != NO_IRQ)
		aml_irq(aml, (unsigned)device->irq);
	aml_close_resources(aml, crs);
	aml_close(aml, mark);
}

static void build_isa(const struct acpi_config *config, struct aml *aml)
{
	aml_mark bridge = aml_open_device(aml, "ISA_");
	aml_name_integer(aml, "_ADR", 0x00010000);
	for (unsigned i = 0; i < sizeof isa_devices / sizeof isa_devices[0]; i++)
		build_isa_device(aml, &isa_devices[i], 1);
	if (config->keyboard)
		build_isa_device(aml, &keyboard, 1);
	aml_close(aml, bridge);
}

void acpi_build_dsdt(const struct acpi_config *config, struct aml *aml)
{
	/* SLP_TYPa and SLP_TYPb of soft-off: 0 on the PIIX4. */
	aml_name(aml, "\\_S5_");
	aml_mark s5 = aml_open_package(aml, 4);
	for (unsigned i = 0; i < 4; i++)
		aml_integer(aml, 0);
	aml_close(aml, s5);

	/* Method(_PIC, 1) { Store(Arg0, PICF) } */
	aml_name_integer(aml, "\\PICF", 0);
	aml_mark pic = aml_open_method(aml, "\\_PIC", 1);
	aml_put(aml, OP_STORE, 1);
	aml_put(aml, ARG0, 1);
	aml_name_string(aml, "PICF");
	aml_close(aml, pic);

	aml_mark system = aml_open_scope(aml, "\\_SB_");
	aml_mark pci = aml_open_device(aml, "PCI0");
	aml_name_eisa_id(aml, "_HID", "PNP0A03");
	aml_name_integer(aml, "_UID", 0);
	aml_name_integer(aml, "_BBN", 0);
	build_windows(aml);
	build_routing_method(aml);
	build_isa(config, aml);
	aml_close(aml, pci);
	aml_close(aml, system);
}
