/* SPDX-License-Identifier: MIT */
/* Chapter 4 of the specification; the wiring is that of ACPI's MADT and _PRT. */
#include "machine/mptable.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "devices/pci.h"
#include "machine/layout.h"

#define POINTER_SIZE 16u
#define HEADER_SIZE 44u
#define REVISION 4u

#define PROCESSOR 0u
#define BUS 1u
#define IOAPIC 2u
#define IO_INTERRUPT 3u
#define LOCAL_INTERRUPT 4u

#define CPU_ENABLED 1u
#define CPU_BOOTS 2u
#define SIGNATURE 0x600u /* family 6 */
#define FEATURES 0x201u	 /* FPU and local APIC */
#define LAPIC_VERSION 0x14u
#define IOAPIC_VERSION 0x20u
#define IOAPIC_ENABLED 1u

#define INT 0u
#define NMI 1u
#define EXTINT 3u
#define AS_THE_BUS 0u /* polarity and trigger */

#define PCI_BUS 0u /* its number among PCI's too */
#define ISA_BUS 1u
#define ISA_IRQS 16u
#define CASCADE_IRQ 2u
#define ALL_LAPICS 0xffu
#define LAST_SLOT 31u

struct mptable {
	uint8_t *bytes; /* of the configuration table */
	uint32_t size;
	unsigned entries;
};

static void put(struct mptable *table, uint64_t value, unsigned bytes)
{
	assert(POINTER_SIZE + table->size + bytes <= MPTABLE_AREA_SIZE);
	store_le(table->bytes + table->size, value, bytes);
	table->size += bytes;
}

static void entry(struct mptable *table, unsigned type)
{
	table->entries++;
	put(table, type, 1);
}

static void put_text(struct mptable *table, const char *text, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		put(table, i < strlen(text) ? (uint8_t)text[i] : ' ', 1);
}

/* Who wants to know more asks CPUID. */
static void put_processor(struct mptable *table, unsigned index)
{
	entry(table, PROCESSOR);
	put(table, index, 1); /* local APIC ID */
	put(table, LAPIC_VERSION, 1);
	put(table, CPU_ENABLED | (index == 0 ? CPU_BOOTS : 0), 1);
	put(table, SIGNATURE, 4);
	put(table, FEATURES, 4);
	put(table, 0, 8);
}

static void put_bus(struct mptable *table, unsigned number, const char *type)
{
	entry(table, BUS);
	put(table, number, 1);
	put_text(table, type, 6);
}

/* From a bus to an IOAPIC's input, or to a local APIC's. */
static void put_interrupt(struct mptable *table, unsigned entry_type, unsigned kind, unsigned bus, unsigned source,
			  unsigned apic, unsigned input)
{
	entry(table, entry_type);
	put(table, kind, 1);
	put(table, AS_THE_BUS, 2);
	put(table, bus, 1);
	put(table, source, 1);
	put(table, apic, 1);
	put(table, input, 1);
}

static void put_wiring(struct mptable *table, unsigned ioapic)
{
	for (unsigned irq = 0; irq < ISA_IRQS; irq++)
		if (irq != CASCADE_IRQ)
			put_interrupt(table, IO_INTERRUPT, INT, ISA_BUS, irq, ioapic,
				      irq == 0 ? LAYOUT_TIMER_INPUT : irq);
	for (unsigned slot = 1; slot <= LAST_SLOT; slot++)
		for (unsigned pin = 0; pin < PCI_PINS; pin++)
			put_interrupt(table, IO_INTERRUPT, INT, PCI_BUS, slot << 2 | pin, ioapic,
				      LAYOUT_PCI_INPUT + pci_pirq(slot, pin + 1));
	put_interrupt(table, LOCAL_INTERRUPT, EXTINT, ISA_BUS, 0, ALL_LAPICS, 0);
	put_interrupt(table, LOCAL_INTERRUPT, NMI, ISA_BUS, 0, ALL_LAPICS, 1);
}

/* The byte that makes all of them add up to zero. */
static uint8_t checksum(const uint8_t *bytes, uint32_t size)
{
	uint8_t sum = 0;
	for (uint32_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return (uint8_t)-sum;
}

/* 4.2 */
static void put_header(struct mptable *table)
{
	struct mptable header = {.bytes = table->bytes};
	put_text(&header, "PCMP", 4);
	put(&header, table->size, 2);
	put(&header, REVISION, 1);
	put(&header, 0, 1); /* checksum */
	put_text(&header, "NFOLD", 8);
	put_text(&header, "PC", 12);
	put(&header, 0, 6); /* no table of the maker's */
	put(&header, table->entries, 2);
	put(&header, LAYOUT_LAPIC_BASE, 4);
	put(&header, 0, 4); /* no extended entries */
	assert(header.size == HEADER_SIZE);
	table->bytes[7] = checksum(table->bytes, table->size);
}

/* 4.1. The features' second byte: interrupts come over the local APIC as through a wire; there is no IMCR. */
static void put_pointer(uint8_t *bytes, uint32_t base)
{
	memcpy(bytes, "_MP_", 4);
	store_le(bytes + 4, base + POINTER_SIZE, 4);
	bytes[8] = POINTER_SIZE / 16;
	bytes[9] = REVISION;
	bytes[10] = checksum(bytes, POINTER_SIZE);
}

void mptable_place(unsigned cpus, uint8_t *bytes, uint32_t base)
{
	struct mptable table = {.bytes = bytes + POINTER_SIZE, .size = HEADER_SIZE};
	unsigned ioapic = cpus; /* its ID is behind the processors', as in the MADT */
	for (unsigned i = 0; i < cpus; i++)
		put_processor(&table, i);
	put_bus(&table, PCI_BUS, "PCI");
	put_bus(&table, ISA_BUS, "ISA");
	entry(&table, IOAPIC);
	put(&table, ioapic, 1);
	put(&table, IOAPIC_VERSION, 1);
	put(&table, IOAPIC_ENABLED, 1);
	put(&table, LAYOUT_IOAPIC_BASE, 4);
	put_wiring(&table, ioapic);
	put_header(&table);
	put_pointer(bytes, base);
}
