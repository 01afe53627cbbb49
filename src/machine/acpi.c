/* SPDX-License-Identifier: MIT */
#include "machine/acpi.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "devices/hpet.h"
#include "machine/layout.h"

#define HPET_TABLE_SIZE 56u
#define HEADER_SIZE 36u
#define FADT_SIZE 244u
#define FACS_SIZE 64u
#define OEM_ID "NFOLD "
#define OEM_TABLE_ID "NFOLDPC "
#define CREATOR_ID "NFLD"
#define SPACE_IO 1

static uint8_t *take(struct acpi_tables *tables, uint32_t size)
{
	uint32_t at = (uint32_t)align_up(tables->size, ACPI_ALIGNMENT);
	assert(at + size <= ACPI_TABLES_MAX);
	tables->size = at + size;
	return tables->bytes + at;
}

static uint32_t offset_of(const struct acpi_tables *tables, const uint8_t *at)
{
	return (uint32_t)(at - tables->bytes);
}

static void add_pointer(struct acpi_tables *tables, enum acpi_file file, uint32_t offset, uint32_t size,
			uint32_t target)
{
	assert(tables->pointers < sizeof tables->pointer / sizeof tables->pointer[0]);
	store_le((file == ACPI_RSDP ? tables->rsdp : tables->bytes) + offset, target, size);
	tables->pointer[tables->pointers++] = (struct acpi_pointer){.file = file, .offset = offset, .size = size};
}

static void put_pointer(struct acpi_tables *tables, const uint8_t *at, uint32_t size, uint32_t target)
{
	add_pointer(tables, ACPI_TABLES, offset_of(tables, at), size, target);
}

static void add_checksum(struct acpi_tables *tables, enum acpi_file file, uint32_t offset, uint32_t start,
			 uint32_t size)
{
	assert(tables->checksums < sizeof tables->checksum / sizeof tables->checksum[0]);
	tables->checksum[tables->checksums++] =
	    (struct acpi_checksum){.file = file, .offset = offset, .start = start, .size = size};
}

/* The standard header (5.2.6). Returns the table's offset. */
static uint32_t finish(struct acpi_tables *tables, uint8_t *table, const char *signature, uint8_t revision,
		       uint32_t size)
{
	uint32_t offset = offset_of(tables, table);
	memcpy(table, signature, 4);
	store_le(table + 4, size, 4);
	table[8] = revision;
	memcpy(table + 10, OEM_ID, 6);
	memcpy(table + 16, OEM_TABLE_ID, 8);
	store_le(table + 24, 1, 4);
	memcpy(table + 28, CREATOR_ID, 4);
	store_le(table + 32, 1, 4);
	add_checksum(tables, ACPI_TABLES, offset + 9, offset, size);
	return offset;
}

static uint32_t build_dsdt(struct acpi_tables *tables, const struct acpi_config *config)
{
	uint8_t *table = take(tables, HEADER_SIZE);
	struct aml aml = {.bytes = table + HEADER_SIZE, .limit = ACPI_TABLES_MAX - tables->size};
	acpi_build_dsdt(config, &aml);
	assert(!aml.overflow);
	tables->size += (uint32_t)aml.size;
	return finish(tables, table, "DSDT", 2, HEADER_SIZE + (uint32_t)aml.size);
}

static uint32_t build_facs(struct acpi_tables *tables)
{
	uint8_t *table = take(tables, FACS_SIZE);
	memcpy(table, "FACS", 4);
	store_le(table + 4, FACS_SIZE, 4);
	table[32] = 1; /* version; the FACS has no checksum */
	return offset_of(tables, table);
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
#define FADT_WBINVD BIT32(0)
#define FADT_PROC_C1 BIT32(2)
#define FADT_NO_SLEEP_BUTTON BIT32(5)
#define FADT_NO_FIXED_RTC BIT32(6)
#define FADT_RESET_REGISTER BIT32(10)

static uint32_t build_fadt(struct acpi_tables *tables, uint32_t facs, uint32_t dsdt)
{
	uint8_t *table = take(tables, FADT_SIZE);
	put_pointer(tables, table + 36, 4, facs);
	put_pointer(tables, table + 40, 4, dsdt);
	store_le(table + 46, LAYOUT_SCI_IRQ, 2);
	store_le(table + 48, LAYOUT_SMI_PORT, 4);
	table[52] = 0xf1; /* ACPI_ENABLE */
	table[53] = 0xf0; /* ACPI_DISABLE */
	put_pm_blocks(table);
	store_le(table + 96, 0xfff, 2); /* no C2 */
	store_le(table + 98, 0xfff, 2); /* no C3 */
	table[108] = 0x32;		/* the RTC's century byte */
	store_le(table + 109, BOOT_LEGACY_DEVICES | BOOT_8042, 2);
	store_le(table + 112,
		 FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON | FADT_NO_FIXED_RTC | FADT_RESET_REGISTER, 4);
	put_gas(table + 116, LAYOUT_RESET_PORT, 1, 1);
	table[128] = 0x06; /* hard reset, reset the processor */
	put_pointer(tables, table + 140, 8, dsdt);
	return finish(tables, table, "FACP", 3, FADT_SIZE);
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

static uint32_t build_madt(struct acpi_tables *tables, const struct acpi_config *config)
{
	struct madt madt = {.bytes = take(tables, MADT_MAX_SIZE), .size = HEADER_SIZE};
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
	return finish(tables, madt.bytes, "APIC", 3, madt.size);
}

/* HPET 1.0a, 3.2.4: the first one, 64 bits of memory, at most 20 us between two interrupts of a periodic timer. */
static uint32_t build_hpet(struct acpi_tables *tables)
{
	uint8_t *table = take(tables, HPET_TABLE_SIZE);
	store_le(table + 36, HPET_ID, 4);
	table[41] = 64;
	store_le(table + 44, LAYOUT_HPET_BASE, 8);
	store_le(table + 53, HPET_MINIMUM_NS / HPET_TICK_NS, 2);
	return finish(tables, table, "HPET", 1, HPET_TABLE_SIZE);
}

static uint32_t build_root(struct acpi_tables *tables, const char *signature, unsigned pointer_size,
			   const uint32_t *table, unsigned count)
{
	uint32_t size = HEADER_SIZE + count * pointer_size;
	uint8_t *root = take(tables, size);
	for (unsigned i = 0; i < count; i++)
		put_pointer(tables, root + HEADER_SIZE + i * pointer_size, pointer_size, table[i]);
	return finish(tables, root, signature, 1, size);
}

/* The root pointer (5.2.5.3) has one checksum over its first 20 bytes and one over all 36. */
static void build_rsdp(struct acpi_tables *tables, uint32_t rsdt, uint32_t xsdt)
{
	uint8_t *rsdp = tables->rsdp;
	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, OEM_ID, 6);
	rsdp[15] = 2;
	store_le(rsdp + 20, ACPI_RSDP_SIZE, 4);
	add_pointer(tables, ACPI_RSDP, 16, 4, rsdt);
	add_pointer(tables, ACPI_RSDP, 24, 8, xsdt);
	add_checksum(tables, ACPI_RSDP, 8, 0, 20);
	add_checksum(tables, ACPI_RSDP, 32, 0, ACPI_RSDP_SIZE);
}

void acpi_build(const struct acpi_config *config, struct acpi_tables *tables)
{
	memset(tables, 0, sizeof *tables);
	uint32_t dsdt = build_dsdt(tables, config);
	uint32_t facs = build_facs(tables);
	uint32_t table[3] = {build_fadt(tables, facs, dsdt), build_madt(tables, config)};
	unsigned count = 2;
	if (config->hpet)
		table[count++] = build_hpet(tables);
	uint32_t rsdt = build_root(tables, "RSDT", 4, table, count);
	uint32_t xsdt = build_root(tables, "XSDT", 8, table, count);
	build_rsdp(tables, rsdt, xsdt);
}

static void fix_pointer(const struct acpi_pointer *pointer, uint8_t *bytes, uint32_t base)
{
	uint8_t *at = bytes + pointer->offset;
	store_le(at, load_le(at, pointer->size) + base, pointer->size);
}

static void fix_checksum(const struct acpi_checksum *checksum, uint8_t *bytes)
{
	uint8_t sum = 0;
	for (uint32_t i = 0; i < checksum->size; i++)
		sum = (uint8_t)(sum + bytes[checksum->start + i]);
	bytes[checksum->offset] = (uint8_t)(bytes[checksum->offset] - sum);
}

void acpi_place(const struct acpi_config *config, uint8_t *bytes, uint32_t base)
{
	struct acpi_tables tables;
	uint8_t *file[] = {[ACPI_TABLES] = bytes + ACPI_ALIGNMENT, [ACPI_RSDP] = bytes + ACPI_RSDP_OFFSET};
	acpi_build(config, &tables);
	memcpy(file[ACPI_TABLES], tables.bytes, tables.size);
	memcpy(file[ACPI_RSDP], tables.rsdp, sizeof tables.rsdp);
	for (unsigned i = 0; i < tables.pointers; i++)
		fix_pointer(&tables.pointer[i], file[tables.pointer[i].file], base + ACPI_ALIGNMENT);
	for (unsigned i = 0; i < tables.checksums; i++)
		fix_checksum(&tables.checksum[i], file[tables.checksum[i].file]);
}
