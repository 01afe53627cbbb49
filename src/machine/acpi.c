/* SPDX-License-Identifier: MIT */
#include "machine/acpi.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "machine/layout.h"

#define HEADER_SIZE 36u
#define FADT_SIZE 244u
#define FACS_SIZE 64u
#define OEM_ID "NFOLD "
#define OEM_TABLE_ID "NFOLDPC "
#define CREATOR_ID "NFLD"
#define SPACE_IO 1

/* Tables are laid one after the other into the area. */
struct area {
	uint8_t *bytes;
	uint32_t base; /* guest-physical */
	uint32_t used;
};

static void fix_checksum(uint8_t *bytes, size_t size, size_t at)
{
	uint8_t sum = 0;
	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + bytes[i]);
	bytes[at] = (uint8_t)(bytes[at] - sum);
}

static uint8_t *area_take(struct area *area, uint32_t size)
{
	uint32_t at = (uint32_t)align_up(area->used, 64);
	assert(at + size <= ACPI_AREA_SIZE);
	area->used = at + size;
	return area->bytes + at;
}

static uint32_t area_address(const struct area *area, const uint8_t *table)
{
	return area->base + (uint32_t)(table - area->bytes);
}

/* The standard header (5.2.6), with the checksum of the finished table. Returns the table's address. */
static uint32_t finish(const struct area *area, uint8_t *table, const char *signature, uint8_t revision, uint32_t size)
{
	memcpy(table, signature, 4);
	store_le(table + 4, size, 4);
	table[8] = revision;
	memcpy(table + 10, OEM_ID, 6);
	memcpy(table + 16, OEM_TABLE_ID, 8);
	store_le(table + 24, 1, 4);
	memcpy(table + 28, CREATOR_ID, 4);
	store_le(table + 32, 1, 4);
	fix_checksum(table, size, 9);
	return area_address(area, table);
}

static uint32_t build_dsdt(struct area *area, const struct acpi_config *config)
{
	uint8_t *table = area_take(area, HEADER_SIZE);
	struct aml aml = {.bytes = table + HEADER_SIZE, .limit = ACPI_AREA_SIZE - area->used};
	acpi_build_dsdt(config, &aml);
	assert(!aml.overflow);
	area->used += (uint32_t)aml.size;
	return finish(area, table, "DSDT", 2, HEADER_SIZE + (uint32_t)aml.size);
}

static uint32_t build_facs(struct area *area)
{
	uint8_t *table = area_take(area, FACS_SIZE);
	memcpy(table, "FACS", 4);
	store_le(table + 4, FACS_SIZE, 4);
	table[32] = 1; /* version; the FACS has no checksum */
	return area_address(area, table);
}

/* Access sizes: 1 byte, 2 word, 3 double word. */
static void put_gas(uint8_t *at, uint32_t port, unsigned bytes, uint8_t access)
{
	at[0] = SPACE_IO;
	at[1] = (uint8_t)(bytes * 8);
	at[3] = access;
	store_le(at + 4, port, 8);
}

/* The PIIX4's power management registers, once as old and once as new fields (5.2.9). */
static void put_pm_blocks(uint8_t *table)
{
	static const struct {
		uint8_t port_field, length_field, gas_field, port, bytes, access;
	} blocks[] = {
	    {56, 88, 148, 0, 4, 2}, /* PM1a event: two words */
	    {64, 89, 172, 4, 2, 2}, /* PM1a control */
	    {76, 91, 208, 8, 4, 3}, /* timer */
	};
	for (unsigned i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
		store_le(table + blocks[i].port_field, LAYOUT_PM_PORT + blocks[i].port, 4);
		table[blocks[i].length_field] = blocks[i].bytes;
		put_gas(table + blocks[i].gas_field, LAYOUT_PM_PORT + blocks[i].port, blocks[i].bytes,
			blocks[i].access);
	}
}

#define BOOT_LEGACY_DEVICES BIT32(0)
#define BOOT_8042 BIT32(1)
#define BOOT_NO_VGA BIT32(2)
#define FADT_WBINVD BIT32(0)
#define FADT_PROC_C1 BIT32(2)
#define FADT_NO_SLEEP_BUTTON BIT32(5)
#define FADT_NO_FIXED_RTC BIT32(6)
#define FADT_RESET_REGISTER BIT32(10)

static uint32_t build_fadt(struct area *area, const struct acpi_config *config, uint32_t facs, uint32_t dsdt)
{
	uint8_t *table = area_take(area, FADT_SIZE);
	store_le(table + 36, facs, 4);
	store_le(table + 40, dsdt, 4);
	store_le(table + 46, LAYOUT_SCI_IRQ, 2);
	store_le(table + 48, LAYOUT_SMI_PORT, 4);
	table[52] = 0xf1; /* ACPI_ENABLE */
	table[53] = 0xf0; /* ACPI_DISABLE */
	put_pm_blocks(table);
	store_le(table + 96, 0xfff, 2); /* no C2 */
	store_le(table + 98, 0xfff, 2); /* no C3 */
	table[108] = 0x32;		/* the RTC's century byte */
	store_le(table + 109, BOOT_LEGACY_DEVICES | BOOT_NO_VGA | (config->keyboard ? BOOT_8042 : 0), 2);
	store_le(table + 112,
		 FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON | FADT_NO_FIXED_RTC | FADT_RESET_REGISTER, 4);
	put_gas(table + 116, LAYOUT_RESET_PORT, 1, 1);
	table[128] = 0x06; /* hard reset, reset the processor */
	store_le(table + 140, dsdt, 8);
	return finish(area, table, "FACP", 3, FADT_SIZE);
}

struct madt {
	uint8_t *bytes;
	uint32_t size;
};

static void madt_put(struct madt *madt, uint64_t value, unsigned bytes)
{
	store_le(madt->bytes + madt->size, value, bytes);
	madt->size += bytes;
}

static void madt_entry(struct madt *madt, uint8_t type, uint8_t length)
{
	madt_put(madt, type, 1);
	madt_put(madt, length, 1);
}

static void madt_override(struct madt *madt, unsigned irq, unsigned input, unsigned flags)
{
	madt_entry(madt, 2, 10);
	madt_put(madt, 0, 1); /* ISA */
	madt_put(madt, irq, 1);
	madt_put(madt, input, 4);
	madt_put(madt, flags, 2);
}

#define MADT_HIGH_LEVEL 0x0d /* active high, level triggered */
#define MADT_MAX_SIZE 256u

static uint32_t build_madt(struct area *area, const struct acpi_config *config)
{
	struct madt madt = {.bytes = area_take(area, MADT_MAX_SIZE), .size = HEADER_SIZE};
	madt_put(&madt, LAYOUT_LAPIC_BASE, 4);
	madt_put(&madt, 1, 4); /* there are 8259s too */
	for (unsigned i = 0; i < config->cpus; i++) {
		madt_entry(&madt, 0, 8);
		madt_put(&madt, i, 1);
		madt_put(&madt, i, 1);
		madt_put(&madt, 1, 4); /* enabled */
	}
	madt_entry(&madt, 1, 12); /* IOAPIC, its ID behind the processors' */
	madt_put(&madt, config->cpus, 1);
	madt_put(&madt, 0, 1);
	madt_put(&madt, LAYOUT_IOAPIC_BASE, 4);
	madt_put(&madt, 0, 4); /* its inputs begin at 0 */
	madt_override(&madt, 0, LAYOUT_TIMER_INPUT, 0);
	madt_override(&madt, LAYOUT_SCI_IRQ, LAYOUT_SCI_IRQ, MADT_HIGH_LEVEL);
	madt_entry(&madt, 4, 6); /* NMI: LINT1 of every local APIC */
	madt_put(&madt, 0xff, 1);
	madt_put(&madt, 0, 2);
	madt_put(&madt, 1, 1);
	assert(madt.size <= MADT_MAX_SIZE);
	return finish(area, madt.bytes, "APIC", 3, madt.size);
}

static uint32_t build_root(struct area *area, const char *signature, unsigned pointer_size, const uint32_t *tables,
			   unsigned count)
{
	uint32_t size = HEADER_SIZE + count * pointer_size;
	uint8_t *root = area_take(area, size);
	for (unsigned i = 0; i < count; i++)
		store_le(root + HEADER_SIZE + i * pointer_size, tables[i], pointer_size);
	return finish(area, root, signature, 1, size);
}

/* The root pointer (5.2.5.3) has one checksum over its first 20 bytes and one over all 36. */
static void build_rsdp(uint8_t *rsdp, uint32_t rsdt, uint32_t xsdt)
{
	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, OEM_ID, 6);
	rsdp[15] = 2;
	store_le(rsdp + 16, rsdt, 4);
	store_le(rsdp + 20, 36, 4);
	store_le(rsdp + 24, xsdt, 8);
	fix_checksum(rsdp, 20, 8);
	fix_checksum(rsdp, 36, 32);
}

void acpi_build(const struct acpi_config *config, uint8_t *bytes, uint32_t base)
{
	struct area area = {.bytes = bytes, .base = base, .used = ACPI_RSDP_OFFSET + 36};
	uint32_t dsdt = build_dsdt(&area, config);
	uint32_t facs = build_facs(&area);
	uint32_t tables[2];
	tables[0] = build_fadt(&area, config, facs, dsdt);
	tables[1] = build_madt(&area, config);
	uint32_t rsdt = build_root(&area, "RSDT", 4, tables, 2);
	uint32_t xsdt = build_root(&area, "XSDT", 8, tables, 2);
	build_rsdp(bytes + ACPI_RSDP_OFFSET, rsdt, xsdt);
}
