/* SPDX-License-Identifier: MIT */
#include "machine/firmware-config.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "machine/acpi.h"
#include "machine/boot.h"
#include "machine/layout.h"
#include "machine/smbios.h"

/* ---- memory ---- */

#define E820_ENTRY 20u
#define E820_USABLE 1u
#define E820_MAX 2u

static uint32_t put_e820(uint8_t *at, uint64_t base, uint64_t size)
{
	store_le(at, base, 8);
	store_le(at + 8, size, 8);
	store_le(at + 16, E820_USABLE, 4);
	return E820_ENTRY;
}

/* All RAM: what it needs of it below 1 MiB and for its tables, firmware takes away itself. */
static bool add_memory_map(struct fwcfg *fwcfg, uint64_t memory_size, struct error *error)
{
	uint8_t table[E820_MAX * E820_ENTRY];
	uint64_t low_end = boot_low_end(memory_size);
	uint32_t size = put_e820(table, 0, low_end);
	if (memory_size > low_end)
		size += put_e820(table + size, LAYOUT_HIGH_BASE, memory_size - low_end);
	return fwcfg_add_file(fwcfg, "etc/e820", table, size, false, error);
}

/* ---- boot order ---- */

/* Open Firmware device paths, a line each, in the order in which they are tried. */
struct boot_list {
	char text[1024];
	size_t length;
};

static void boot_list_append(struct boot_list *list, const char *path)
{
	size_t room = sizeof list->text - list->length;
	int length = snprintf(list->text + list->length, room, "%s%s", list->length > 0 ? "\n" : "", path);
	bug_if(length < 0 || (size_t)length >= room);
	list->length += (size_t)length;
}

static void append_floppies(struct boot_list *list, unsigned floppies)
{
	for (unsigned i = 0; i < floppies; i++) {
		char path[64];
		(void)snprintf(path, sizeof path, "/pci@i0cf8/isa@1/fdc@03f0/floppy@%u", i);
		boot_list_append(list, path);
	}
}

static void append_drives(struct boot_list *list, const enum firmware_drive *drive, enum firmware_drive kind)
{
	for (unsigned i = 0; i < FIRMWARE_DRIVES; i++) {
		char path[64];
		if (drive[i] != kind)
			continue;
		(void)snprintf(path, sizeof path, "/pci@i0cf8/ide@1,1/drive@%u/disk@%u", i / 2, i % 2);
		boot_list_append(list, path);
	}
}

static void append_virtio_disks(struct boot_list *list, const struct firmware_config *config)
{
	for (unsigned i = 0; i < config->virtio_disks; i++) {
		char path[64];
		(void)snprintf(path, sizeof path, "/pci@i0cf8/scsi@%x/disk@0,0", config->virtio_device + i);
		boot_list_append(list, path);
	}
}

static void append_disks(struct boot_list *list, const struct firmware_config *config)
{
	if (config->virtio_first)
		append_virtio_disks(list, config);
	append_drives(list, config->drive, FIRMWARE_DISK);
	if (!config->virtio_first)
		append_virtio_disks(list, config);
}

static bool add_boot_order(struct fwcfg *fwcfg, const struct firmware_config *config, struct error *error)
{
	static const enum machine_boot usual[BOOT_KINDS] = {BOOT_FROM_FLOPPY, BOOT_FROM_CDROM, BOOT_FROM_DISK};
	const enum machine_boot *boot = config->boot_count > 0 ? config->boot : usual;
	unsigned count = config->boot_count > 0 ? config->boot_count : BOOT_KINDS;
	struct boot_list list = {.length = 0};
	for (unsigned i = 0; i < count; i++) {
		if (boot[i] == BOOT_FROM_FLOPPY)
			append_floppies(&list, config->floppies);
		else if (boot[i] == BOOT_FROM_CDROM)
			append_drives(&list, config->drive, FIRMWARE_CDROM);
		else
			append_disks(&list, config);
	}
	return list.length == 0 ||
	       fwcfg_add_file(fwcfg, "bootorder", list.text, (uint32_t)list.length + 1, false, error);
}

/* A machine that finds nothing to boot says so and stays: one that restarted every minute would use a processor. */
static bool add_boot_behaviour(struct fwcfg *fwcfg, struct error *error)
{
	static const uint8_t forever[4] = {0xff, 0xff, 0xff, 0xff};
	return fwcfg_add_number(fwcfg, FWCFG_BOOT_MENU, 0, 2, error) &&
	       fwcfg_add_file(fwcfg, "etc/boot-fail-wait", forever, sizeof forever, false, error);
}

/* ---- tables ---- */

/*
 * The table loader's commands (QEMU, docs/specs: bios-linker-loader): each takes 128 bytes, number first. Files are
 * named by 56 bytes.
 */
#define LOADER_COMMAND 128u
#define LOADER_ALLOCATE 1u
#define LOADER_ADD_POINTER 2u
#define LOADER_ADD_CHECKSUM 3u
#define LOADER_ZONE_HIGH 1u
#define LOADER_ZONE_F_SEGMENT 2u
#define RSDP_ALIGNMENT 16u

static const char *const acpi_file_name[] = {[ACPI_TABLES] = "etc/acpi/tables", [ACPI_RSDP] = "etc/acpi/rsdp"};

struct loader {
	uint8_t bytes[(2 + sizeof((struct acpi_tables *)NULL)->pointer / sizeof(struct acpi_pointer) +
		       sizeof((struct acpi_tables *)NULL)->checksum / sizeof(struct acpi_checksum)) *
		      LOADER_COMMAND];
	uint32_t size;
};

static uint8_t *loader_command(struct loader *loader, unsigned number, enum acpi_file file)
{
	uint8_t *command = loader->bytes + loader->size;
	bug_if(loader->size + LOADER_COMMAND > sizeof loader->bytes);
	loader->size += LOADER_COMMAND;
	store_le(command, number, 4);
	memcpy(command + 4, acpi_file_name[file], strlen(acpi_file_name[file]));
	return command;
}

static void loader_allocate(struct loader *loader, enum acpi_file file, uint32_t alignment, uint8_t zone)
{
	uint8_t *command = loader_command(loader, LOADER_ALLOCATE, file);
	store_le(command + 4 + FWCFG_NAME, alignment, 4);
	command[8 + FWCFG_NAME] = zone;
}

static void loader_add_pointer(struct loader *loader, const struct acpi_pointer *pointer)
{
	uint8_t *command = loader_command(loader, LOADER_ADD_POINTER, pointer->file);
	memcpy(command + 4 + FWCFG_NAME, acpi_file_name[ACPI_TABLES], strlen(acpi_file_name[ACPI_TABLES]));
	store_le(command + 4 + 2 * FWCFG_NAME, pointer->offset, 4);
	command[8 + 2 * FWCFG_NAME] = (uint8_t)pointer->size;
}

static void loader_add_checksum(struct loader *loader, const struct acpi_checksum *checksum)
{
	uint8_t *command = loader_command(loader, LOADER_ADD_CHECKSUM, checksum->file);
	store_le(command + 4 + FWCFG_NAME, checksum->offset, 4);
	store_le(command + 8 + FWCFG_NAME, checksum->start, 4);
	store_le(command + 12 + FWCFG_NAME, checksum->size, 4);
}

static bool add_acpi(struct fwcfg *fwcfg, const struct firmware_config *config, struct error *error)
{
	const struct acpi_config acpi = {
	    .cpus = config->cpus, .memory_size = config->memory_size, .hpet = config->hpet};
	struct acpi_tables tables;
	struct loader loader = {.size = 0};
	acpi_build(&acpi, &tables);
	loader_allocate(&loader, ACPI_RSDP, RSDP_ALIGNMENT, LOADER_ZONE_F_SEGMENT);
	loader_allocate(&loader, ACPI_TABLES, ACPI_ALIGNMENT, LOADER_ZONE_HIGH);
	for (unsigned i = 0; i < tables.pointers; i++)
		loader_add_pointer(&loader, &tables.pointer[i]);
	for (unsigned i = 0; i < tables.checksums; i++)
		loader_add_checksum(&loader, &tables.checksum[i]);
	return fwcfg_add_file(fwcfg, acpi_file_name[ACPI_TABLES], tables.bytes, tables.size, false, error) &&
	       fwcfg_add_file(fwcfg, acpi_file_name[ACPI_RSDP], tables.rsdp, sizeof tables.rsdp, false, error) &&
	       fwcfg_add_file(fwcfg, "etc/table-loader", loader.bytes, loader.size, false, error);
}

static bool add_smbios(struct fwcfg *fwcfg, const struct firmware_config *config, struct error *error)
{
	const struct smbios_config smbios = {
	    .name = config->name, .memory_size = config->memory_size, .cpus = config->cpus, .firmware = true};
	struct smbios_tables tables;
	smbios_build(&smbios, &tables);
	return fwcfg_add_file(fwcfg, "etc/smbios/smbios-tables", tables.bytes, tables.size, false, error) &&
	       fwcfg_add_file(fwcfg, "etc/smbios/smbios-anchor", tables.anchor, sizeof tables.anchor, false, error);
}

/* ---- numbers ---- */

static bool add_numbers(struct fwcfg *fwcfg, const struct firmware_config *config, struct error *error)
{
	return fwcfg_add_number(fwcfg, FWCFG_RAM_SIZE, config->memory_size, 8, error) &&
	       fwcfg_add_number(fwcfg, FWCFG_NOGRAPHIC, 0, 2, error) &&
	       fwcfg_add_number(fwcfg, FWCFG_CPU_COUNT, config->cpus, 2, error) &&
	       fwcfg_add_number(fwcfg, FWCFG_MAX_CPU_COUNT, config->cpus, 2, error) &&
	       fwcfg_add_number(fwcfg, FWCFG_IRQ0_OVERRIDE, 1, 1, error);
}

bool firmware_config_add(struct fwcfg *fwcfg, const struct firmware_config *config, struct error *error)
{
	return add_numbers(fwcfg, config, error) && add_memory_map(fwcfg, config->memory_size, error) &&
	       add_boot_order(fwcfg, config, error) && add_boot_behaviour(fwcfg, error) &&
	       add_acpi(fwcfg, config, error) && add_smbios(fwcfg, config, error);
}
