/* SPDX-License-Identifier: MIT */
/*
 * The DSDT: soft-off, the PCI root bridge with its windows, interrupt routing, the ISA bridge with the devices behind
 * it, and the IDE function.
 *
 * Interrupts. With the IOAPIC in use, PIRQ A to D are inputs of their own. With the 8259s, each is an interrupt link
 * device: whoever set up the PIIX4's router, its registers 60h to 63h say which interrupt it is, and the system may
 * choose another. _PIC tells which controllers are in use.
 */
#include "base/bits.h"
#include "base/guest_times.h"
#include "machine/acpi.h"
#include "machine/boot.h"
#include "machine/layout.h"

#define LAST_SLOT 31u
#define PIRQS 4u

/* ---- PCI interrupts ---- */

#define ROUTER "\\_SB_.PCI0.ISA_."
#define ROUTER_REGISTERS 0x60u
#define ROUTE_DISABLED 0x80u
#define ROUTE_IRQ 0x0fu
#define LINK_IRQS 0x0c20u /* 5, 10 and 11: no device of the board has these */

static const struct {
	const char *name, *route; /* the link device; the router's register */
} links[PIRQS] = {{"LNKA", ROUTER "PRQA"}, {"LNKB", ROUTER "PRQB"}, {"LNKC", ROUTER "PRQC"}, {"LNKD", ROUTER "PRQD"}};

/* The board's wiring: slot 1's pins are PIRQ A to D, and every slot begins one further. */
static unsigned pirq_of(unsigned slot, unsigned pin)
{
	return (slot - 1 + pin) % PIRQS;
}

static void build_routing(struct aml *aml, const char *name, bool ioapic)
{
	aml_name(aml, name);
	aml_mark table = aml_open_package(aml, LAST_SLOT * PIRQS);
	for (unsigned slot = 1; slot <= LAST_SLOT; slot++) {
		for (unsigned pin = 0; pin < PIRQS; pin++) {
			unsigned pirq = pirq_of(slot, pin);
			aml_mark entry = aml_open_package(aml, 4);
			aml_integer(aml, slot << 16 | 0xffff);
			aml_integer(aml, pin);
			if (ioapic) {
				aml_integer(aml, 0);
				aml_integer(aml, LAYOUT_PCI_INPUT + pirq);
			} else {
				aml_name_string(aml, links[pirq].name);
				aml_integer(aml, 0);
			}
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

/* If (And (PRQx, 80h)) */
static aml_mark open_if_disabled(struct aml *aml, const char *route)
{
	aml_mark mark = aml_open_if(aml);
	aml_term(aml, AML_AND);
	aml_name_string(aml, route);
	aml_integer(aml, ROUTE_DISABLED);
	aml_integer(aml, AML_NO_TARGET);
	return mark;
}

/* Method(_STA) { If (disabled) { Return (9) } Return (0Bh) }: present and functioning, and decoding or not. */
static void build_link_status(struct aml *aml, const char *route)
{
	aml_mark method = aml_open_method(aml, "_STA", 0);
	aml_mark disabled = open_if_disabled(aml, route);
	aml_return(aml);
	aml_integer(aml, 0x09);
	aml_close(aml, disabled);
	aml_return(aml);
	aml_integer(aml, 0x0b);
	aml_close(aml, method);
}

/* Method(_DIS) { Or (PRQx, 80h, PRQx) } */
static void build_link_disable(struct aml *aml, const char *route)
{
	aml_mark method = aml_open_method(aml, "_DIS", 0);
	aml_term(aml, AML_OR);
	aml_name_string(aml, route);
	aml_integer(aml, ROUTE_DISABLED);
	aml_name_string(aml, route);
	aml_close(aml, method);
}

/*
 * Name(BUFF, an interrupt)
 * Method(_CRS) { CreateWordField(BUFF, 1, MASK) If (disabled) { Store (0, MASK) } Else { ShiftLeft (1, And (PRQx, 0Fh),
 * MASK) } Return (BUFF) }
 */
static void build_link_current(struct aml *aml, const char *route)
{
	aml_name(aml, "BUFF");
	struct aml_resources buffer = aml_open_resources(aml);
	aml_shared_irqs(aml, 0);
	aml_close_resources(aml, buffer);

	aml_mark method = aml_open_method(aml, "_CRS", AML_SERIALIZED);
	aml_term(aml, AML_CREATE_WORD_FIELD);
	aml_name_string(aml, "BUFF");
	aml_integer(aml, 1);
	aml_name_string(aml, "MASK");
	aml_mark disabled = open_if_disabled(aml, route);
	aml_term(aml, AML_STORE);
	aml_integer(aml, 0);
	aml_name_string(aml, "MASK");
	aml_close(aml, disabled);
	aml_mark enabled = aml_open_else(aml);
	aml_term(aml, AML_SHIFT_LEFT);
	aml_integer(aml, 1);
	aml_term(aml, AML_AND);
	aml_name_string(aml, route);
	aml_integer(aml, ROUTE_IRQ);
	aml_integer(aml, AML_NO_TARGET);
	aml_name_string(aml, "MASK");
	aml_close(aml, enabled);
	aml_return(aml);
	aml_name_string(aml, "BUFF");
	aml_close(aml, method);
}

/* Method(_SRS, 1) { CreateWordField(Arg0, 1, WISH) FindSetRightBit(WISH, Local0) Decrement(Local0)
 * Store(Local0, PRQx) } */
static void build_link_choice(struct aml *aml, const char *route)
{
	aml_mark method = aml_open_method(aml, "_SRS", 1 | AML_SERIALIZED);
	aml_term(aml, AML_CREATE_WORD_FIELD);
	aml_term(aml, AML_ARG0);
	aml_integer(aml, 1);
	aml_name_string(aml, "WISH");
	aml_term(aml, AML_FIND_SET_RIGHT_BIT);
	aml_name_string(aml, "WISH");
	aml_term(aml, AML_LOCAL0);
	aml_term(aml, AML_DECREMENT);
	aml_term(aml, AML_LOCAL0);
	aml_term(aml, AML_STORE);
	aml_term(aml, AML_LOCAL0);
	aml_name_string(aml, route);
	aml_close(aml, method);
}

static void build_links(struct aml *aml)
{
	for (unsigned i = 0; i < PIRQS; i++) {
		aml_mark link = aml_open_device(aml, links[i].name);
		aml_name_eisa_id(aml, "_HID", "PNP0C0F");
		aml_name_integer(aml, "_UID", 1 + i);
		aml_name(aml, "_PRS");
		struct aml_resources possible = aml_open_resources(aml);
		aml_shared_irqs(aml, LINK_IRQS);
		aml_close_resources(aml, possible);
		build_link_current(aml, links[i].route);
		build_link_status(aml, links[i].route);
		build_link_disable(aml, links[i].route);
		build_link_choice(aml, links[i].route);
		aml_close(aml, link);
	}
}

/* ---- the root bridge ---- */

/* BARs may be anywhere between RAM and the IOAPIC: firmware places them as it likes. */
static void build_windows(const struct acpi_config *config, struct aml *aml)
{
	aml_name(aml, "_CRS");
	struct aml_resources crs = aml_open_resources(aml);
	aml_word_window(aml, AML_SPACE_BUS, 0, 0, 0xff);
	aml_io(aml, 0xcf8, 8);
	aml_word_window(aml, AML_SPACE_IO, AML_IO_ENTIRE_RANGE, 0, 0xcf7);
	aml_word_window(aml, AML_SPACE_IO, AML_IO_ENTIRE_RANGE, 0xd00, 0xffff);
	aml_dword_window(aml, AML_SPACE_MEMORY, AML_MEMORY_WRITABLE | AML_MEMORY_CACHEABLE, LAYOUT_VGA_BASE,
			 LAYOUT_VGA_END - 1);
	aml_dword_window(aml, AML_SPACE_MEMORY, AML_MEMORY_WRITABLE, (uint32_t)boot_low_end(config->memory_size),
			 LAYOUT_PCI_MEMORY_END - 1);
	aml_close_resources(aml, crs);
}

/* ---- ISA ---- */

#define NONE (-1)

struct isa_device {
	const char *name, *id;
	unsigned uid;
	int irq, dma;
	struct {
		uint16_t base;
		uint8_t size;
	} io[8]; /* a size of 0 ends them */
};

/* The ports that only motherboard resources name are those of fixed hardware that the FADT describes, of the SMBus
 * controller, which systems probe, of fw_cfg, and of the processor times. */
static const struct isa_device isa_devices[] = {
    {"PIC_", "PNP0000", 0, 2, NONE, {{0x20, 2}, {0xa0, 2}, {0x4d0, 2}}},
    {"DMA_", "PNP0200", 0, NONE, 4, {{0x00, 16}, {0x81, 15}, {0xc0, 32}}},
    {"TMR_", "PNP0100", 0, 0, NONE, {{0x40, 4}}},
    {"RTC_", "PNP0B00", 0, LAYOUT_RTC_IRQ, NONE, {{0x70, 2}}},
    {"SPKR", "PNP0800", 0, NONE, NONE, {{0x61, 1}}},
    {"FPU_", "PNP0C04", 0, 13, NONE, {{0xf0, 1}}},
    {"KBD_", "PNP0303", 0, 1, NONE, {{0x60, 1}, {0x64, 1}}},
    {"MOU_", "PNP0F13", 0, 12, NONE, {{0}}},
    {"FDC_", "PNP0700", 0, LAYOUT_FLOPPY_IRQ, 2, {{0x3f2, 4}, {0x3f7, 1}}},
    {"COM1", "PNP0501", 1, LAYOUT_COM1_IRQ, NONE, {{LAYOUT_COM1_PORT, 8}}},
    {"COM2", "PNP0501", 2, LAYOUT_COM2_IRQ, NONE, {{LAYOUT_COM2_PORT, 8}}},
    {"MBRD",
     "PNP0C02",
     0,
     NONE,
     NONE,
     {{0x80, 1},
      {0x92, 1},
      {LAYOUT_SMI_PORT, 2},
      {0x510, 12},
      {LAYOUT_PM_PORT, 0x40},
      {LAYOUT_PM_PORT + 0x100, 0x10},
      {LAYOUT_TIMES_PORT, GUEST_TIMES_BYTES}}},
};

static void build_isa_device(struct aml *aml, const struct isa_device *device)
{
	aml_mark mark = aml_open_device(aml, device->name);
	aml_name_eisa_id(aml, "_HID", device->id);
	aml_name_integer(aml, "_UID", device->uid);
	aml_name(aml, "_CRS");
	struct aml_resources crs = aml_open_resources(aml);
	for (unsigned i = 0; i < sizeof device->io / sizeof device->io[0] && device->io[i].size != 0; i++)
		aml_io(aml, device->io[i].base, device->io[i].size);
	if (device->irq != NONE)
		aml_irq(aml, (unsigned)device->irq);
	if (device->dma != NONE)
		aml_dma(aml, (unsigned)device->dma);
	aml_close_resources(aml, crs);
	aml_close(aml, mark);
}

static void build_isa(struct aml *aml)
{
	static const char *const registers[PIRQS] = {"PRQA", "PRQB", "PRQC", "PRQD"};
	aml_mark bridge = aml_open_device(aml, "ISA_");
	aml_name_integer(aml, "_ADR", 0x00010000);
	aml_config_region(aml, "PIRQ", ROUTER_REGISTERS, PIRQS);
	aml_mark field = aml_open_byte_field(aml, "PIRQ");
	for (unsigned i = 0; i < PIRQS; i++)
		aml_field_byte(aml, registers[i]);
	aml_close(aml, field);
	for (unsigned i = 0; i < sizeof isa_devices / sizeof isa_devices[0]; i++)
		build_isa_device(aml, &isa_devices[i]);
	aml_close(aml, bridge);
}

/* ---- IDE ---- */

static void build_ide(struct aml *aml)
{
	static const char *const channels[] = {"PRIM", "SECN"};
	aml_mark function = aml_open_device(aml, "IDE_");
	aml_name_integer(aml, "_ADR", 0x00010001);
	for (unsigned i = 0; i < 2; i++) {
		aml_mark channel = aml_open_device(aml, channels[i]);
		aml_name_integer(aml, "_ADR", i);
		aml_close(aml, channel);
	}
	aml_close(aml, function);
}

/* ---- all of it ---- */

/* SLP_TYPa and SLP_TYPb of soft-off: 0 on the PIIX4. */
static void build_soft_off(struct aml *aml)
{
	aml_name(aml, "\\_S5_");
	aml_mark s5 = aml_open_package(aml, 4);
	for (unsigned i = 0; i < 4; i++)
		aml_integer(aml, 0);
	aml_close(aml, s5);
}

/* Method(_PIC, 1) { Store(Arg0, PICF) } */
static void build_pic_method(struct aml *aml)
{
	aml_name_integer(aml, "\\PICF", 0);
	aml_mark pic = aml_open_method(aml, "\\_PIC", 1);
	aml_term(aml, AML_STORE);
	aml_term(aml, AML_ARG0);
	aml_name_string(aml, "PICF");
	aml_close(aml, pic);
}

void acpi_build_dsdt(const struct acpi_config *config, struct aml *aml)
{
	build_soft_off(aml);
	build_pic_method(aml);
	aml_mark system = aml_open_scope(aml, "\\_SB_");
	aml_mark pci = aml_open_device(aml, "PCI0");
	aml_name_eisa_id(aml, "_HID", "PNP0A03");
	aml_name_integer(aml, "_UID", 0);
	aml_name_integer(aml, "_BBN", 0);
	build_windows(config, aml);
	build_routing_method(aml);
	build_isa(aml);
	build_ide(aml);
	aml_close(aml, pci);
	build_links(aml);
	aml_close(aml, system);
}
