/* SPDX-License-Identifier: MIT */
#include "machine/firmware-config.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "machine/boot.h"
#include "machine/layout.h"

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
	char text[512];
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

static bool add_boot_order(struct fwcfg *fwcfg, const struct firmware_config *config, struct error *error)
{
	static const enum machine_boot usual[BOOT_KINDS] = {BOOT_FROM_FLOPPY, BOOT_FROM_CDROM, BOOT_FROM_DISK};
	const enum machine_boot *boot = config->boot_count > 0 ? config->boot : usual;
	unsigned count = config->boot_count > 0 ? config->boot_count : BOOT_KINDS;
	struct boot_list list = {.length = 0};
	for (unsigned i = 0; i < count; i++) {
		if (boot[i] == BOOT_FROM_FLOPPY)
			append_floppies(&list, config->floppies);
		else
			append_drives(&list, config->drive,
				      boot[i] == BOOT_FROM_CDROM ? FIRMWARE_CDROM : FIRMWARE_DISK);
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

/* ---- */

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
	       add_boot_order(fwcfg, config, error) && add_boot_behaviour(fwcfg, error);
}
