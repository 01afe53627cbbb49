/* SPDX-License-Identifier: MIT */
#include "machine/smbios.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "machine/boot.h"
#include "machine/layout.h"

#define NAME_MAX_LENGTH 64u /* of a string; older readers take no more */
#define PRODUCT "PC (440FX, PIIX4)"

enum structure_type {
	TYPE_BIOS = 0,
	TYPE_SYSTEM = 1,
	TYPE_CHASSIS = 3,
	TYPE_PROCESSOR = 4,
	TYPE_MEMORY_ARRAY = 16,
	TYPE_MEMORY_DEVICE = 17,
	TYPE_MEMORY_MAPPING = 19,
	TYPE_BOOT_STATUS = 32,
	TYPE_END = 127,
};

/* Handles are type and number within it. */
#define HANDLE(type, number) ((type) << 8 | (number))
#define NO_HANDLE 0xfffeu
#define NO_CACHE 0xffffu

/* ---- a structure: its fields, then its strings, then a zero byte more ---- */

struct structure {
	struct smbios_tables *tables;
	uint8_t *fields;
	uint8_t strings;
};

static struct structure begin(struct smbios_tables *tables, enum structure_type type, unsigned number, uint8_t length)
{
	struct structure structure = {.tables = tables, .fields = tables->bytes + tables->size};
	assert(tables->size + length + 2u <= SMBIOS_TABLES_MAX);
	structure.fields[0] = (uint8_t)type;
	structure.fields[1] = length;
	store_le(structure.fields + 2, HANDLE(type, number), 2);
	tables->size = (uint16_t)(tables->size + length);
	return structure;
}

static void put(struct structure *structure, unsigned offset, unsigned bytes, uint64_t value)
{
	store_le(structure->fields + offset, value, bytes);
}

/* The field becomes the string's number. An empty string has none. */
static void put_string(struct structure *structure, unsigned offset, const char *text)
{
	struct smbios_tables *tables = structure->tables;
	size_t length = strnlen(text, NAME_MAX_LENGTH);
	if (length == 0)
		return;
	assert(tables->size + length + 2 <= SMBIOS_TABLES_MAX);
	memcpy(tables->bytes + tables->size, text, length);
	tables->size = (uint16_t)(tables->size + length + 1);
	structure->fields[offset] = ++structure->strings;
}

static void end(const struct structure *structure)
{
	struct smbios_tables *tables = structure->tables;
	tables->size = (uint16_t)(tables->size + (structure->strings > 0 ? 1 : 2));
	assert(tables->size <= SMBIOS_TABLES_MAX);
	uint16_t size = (uint16_t)(tables->bytes + tables->size - structure->fields);
	if (size > tables->largest)
		tables->largest = size;
	tables->structures++;
}

/* ---- the structures (DSP0134, chapter 7) ---- */

#define BIOS_CHARACTERISTICS_UNSUPPORTED BIT32(3)
#define BIOS_VIRTUAL_MACHINE 0x10u

static void build_bios(struct smbios_tables *tables)
{
	struct structure bios = begin(tables, TYPE_BIOS, 0, 24);
	put_string(&bios, 4, "nfold");
	put_string(&bios, 5, "direct kernel boot");
	put(&bios, 6, 2, LAYOUT_ACPI_BASE >> 4);
	put(&bios, 10, 8, BIOS_CHARACTERISTICS_UNSUPPORTED);
	put(&bios, 19, 1, BIOS_VIRTUAL_MACHINE);
	put(&bios, 20, 4, 0xffffffff); /* no release numbers */
	end(&bios);
}

#define WAKE_UP_POWER_SWITCH 6u

static void build_system(struct smbios_tables *tables)
{
	struct structure system = begin(tables, TYPE_SYSTEM, 0, 27);
	put_string(&system, 4, "nfold");
	put_string(&system, 5, PRODUCT);
	put(&system, 24, 1, WAKE_UP_POWER_SWITCH);
	end(&system);
}

#define CHASSIS_OTHER 1u
#define STATE_SAFE 3u
#define SECURITY_NONE 3u

static void build_chassis(struct smbios_tables *tables, const char *name)
{
	struct structure chassis = begin(tables, TYPE_CHASSIS, 0, 22);
	put_string(&chassis, 4, "nfold");
	put(&chassis, 5, 1, CHASSIS_OTHER);
	put_string(&chassis, 8, name != NULL ? name : "");
	for (unsigned i = 9; i < 12; i++) /* boot-up, power supply, thermal */
		put(&chassis, i, 1, STATE_SAFE);
	put(&chassis, 12, 1, SECURITY_NONE);
	end(&chassis);
}

#define PROCESSOR_CENTRAL 3u
#define PROCESSOR_OTHER 1u
#define PROCESSOR_ENABLED 0x41u /* and the socket populated */
#define PROCESSOR_64_BIT 4u

static void build_processor(struct smbios_tables *tables, unsigned number)
{
	char socket[] = "CPU 000";
	socket[4] = (char)('0' + number / 100 % 10);
	socket[5] = (char)('0' + number / 10 % 10);
	socket[6] = (char)('0' + number % 10);
	struct structure processor = begin(tables, TYPE_PROCESSOR, number, 42);
	put_string(&processor, 4, socket);
	put(&processor, 5, 1, PROCESSOR_CENTRAL);
	put(&processor, 6, 1, PROCESSOR_OTHER);
	put_string(&processor, 7, "nfold");
	put(&processor, 24, 1, PROCESSOR_ENABLED);
	put(&processor, 25, 1, PROCESSOR_OTHER); /* upgrade */
	for (unsigned i = 26; i < 32; i += 2)
		put(&processor, i, 2, NO_CACHE);
	for (unsigned i = 35; i < 38; i++) /* cores, those enabled, threads */
		put(&processor, i, 1, 1);
	put(&processor, 38, 2, PROCESSOR_64_BIT);
	put(&processor, 40, 2, PROCESSOR_OTHER);
	end(&processor);
}

#define ARRAY_SYSTEM_BOARD 3u
#define ARRAY_SYSTEM_MEMORY 3u
#define ARRAY_NO_ECC 3u
#define ARRAY_CAPACITY_EXTENDED 0x80000000u

static void build_memory_array(struct smbios_tables *tables, uint64_t memory_size)
{
	bool extended = memory_size >> 10 >= ARRAY_CAPACITY_EXTENDED;
	struct structure array = begin(tables, TYPE_MEMORY_ARRAY, 0, 23);
	put(&array, 4, 1, ARRAY_SYSTEM_BOARD);
	put(&array, 5, 1, ARRAY_SYSTEM_MEMORY);
	put(&array, 6, 1, ARRAY_NO_ECC);
	put(&array, 7, 4, extended ? ARRAY_CAPACITY_EXTENDED : memory_size >> 10);
	put(&array, 11, 2, NO_HANDLE);
	put(&array, 13, 2, 1);
	put(&array, 15, 8, extended ? memory_size : 0);
	end(&array);
}

#define DEVICE_WIDTH_UNKNOWN 0xffffu
#define DEVICE_SIZE_EXTENDED 0x7fffu
#define DEVICE_DIMM 9u
#define DEVICE_RAM 7u
#define DEVICE_DETAIL_OTHER 2u

static void build_memory_device(struct smbios_tables *tables, uint64_t memory_size)
{
	uint64_t mib = memory_size >> 20;
	bool extended = mib >= DEVICE_SIZE_EXTENDED;
	struct structure device = begin(tables, TYPE_MEMORY_DEVICE, 0, 40);
	put(&device, 4, 2, HANDLE(TYPE_MEMORY_ARRAY, 0));
	put(&device, 6, 2, NO_HANDLE);
	put(&device, 8, 2, DEVICE_WIDTH_UNKNOWN);
	put(&device, 10, 2, DEVICE_WIDTH_UNKNOWN);
	put(&device, 12, 2, extended ? DEVICE_SIZE_EXTENDED : mib);
	put(&device, 14, 1, DEVICE_DIMM);
	put_string(&device, 16, "DIMM 0");
	put(&device, 18, 1, DEVICE_RAM);
	put(&device, 19, 2, DEVICE_DETAIL_OTHER);
	put_string(&device, 23, "nfold");
	put(&device, 28, 4, extended ? mib : 0);
	end(&device);
}

#define MAPPING_EXTENDED 0xffffffffu

/* Addresses in KiB, the last one within; in bytes where that does not fit. */
static void build_memory_mapping(struct smbios_tables *tables, unsigned number, uint64_t base, uint64_t size)
{
	uint64_t last = base + size - 1;
	bool extended = last >> 10 >= MAPPING_EXTENDED;
	struct structure mapping = begin(tables, TYPE_MEMORY_MAPPING, number, 31);
	put(&mapping, 4, 4, extended ? MAPPING_EXTENDED : base >> 10);
	put(&mapping, 8, 4, extended ? MAPPING_EXTENDED : last >> 10);
	put(&mapping, 12, 2, HANDLE(TYPE_MEMORY_ARRAY, 0));
	put(&mapping, 14, 1, 1);
	put(&mapping, 15, 8, extended ? base : 0);
	put(&mapping, 23, 8, extended ? last : 0);
	end(&mapping);
}

static void build_memory(struct smbios_tables *tables, uint64_t memory_size)
{
	uint64_t low_end = boot_low_end(memory_size);
	build_memory_array(tables, memory_size);
	build_memory_device(tables, memory_size);
	build_memory_mapping(tables, 0, 0, low_end);
	if (memory_size > low_end)
		build_memory_mapping(tables, 1, LAYOUT_HIGH_BASE, memory_size - low_end);
}

/* ---- entry point (DSP0134, 5.2.1) ---- */

#define ANCHOR_INTERMEDIATE 16u

static void build_anchor(struct smbios_tables *tables)
{
	uint8_t *anchor = tables->anchor;
	memcpy(anchor, "_SM_", 4);
	anchor[5] = SMBIOS_ANCHOR_SIZE;
	anchor[6] = 2;
	anchor[7] = 8;
	store_le(anchor + 8, tables->largest, 2);
	memcpy(anchor + ANCHOR_INTERMEDIATE, "_DMI_", 5);
	store_le(anchor + 22, tables->size, 2);
	store_le(anchor + 28, tables->structures, 2);
	anchor[30] = 0x28;
}

void smbios_build(const struct smbios_config *config, struct smbios_tables *tables)
{
	memset(tables, 0, sizeof *tables);
	if (!config->firmware)
		build_bios(tables);
	build_system(tables);
	build_chassis(tables, config->name);
	for (unsigned i = 0; i < config->cpus; i++)
		build_processor(tables, i);
	build_memory(tables, config->memory_size);
	struct structure status = begin(tables, TYPE_BOOT_STATUS, 0, 11); /* all zero: no errors */
	end(&status);
	struct structure last = begin(tables, TYPE_END, 0, 4);
	end(&last);
	build_anchor(tables);
}

static void fix_checksum(uint8_t *bytes, unsigned size, unsigned at)
{
	uint8_t sum = 0;
	for (unsigned i = 0; i < size; i++)
		sum = (uint8_t)(sum + bytes[i]);
	bytes[at] = (uint8_t)(bytes[at] - sum);
}

void smbios_place(const struct smbios_config *config, uint8_t *bytes, uint32_t base)
{
	struct smbios_tables tables;
	uint8_t *anchor = bytes + SMBIOS_ANCHOR_OFFSET;
	uint32_t offset = SMBIOS_AREA_SIZE - SMBIOS_TABLES_MAX;
	smbios_build(config, &tables);
	memcpy(bytes + offset, tables.bytes, tables.size);
	memcpy(anchor, tables.anchor, sizeof tables.anchor);
	store_le(anchor + 24, base + offset, 4);
	fix_checksum(anchor + ANCHOR_INTERMEDIATE, SMBIOS_ANCHOR_SIZE - ANCHOR_INTERMEDIATE, 5);
	fix_checksum(anchor, SMBIOS_ANCHOR_SIZE, 4);
}
