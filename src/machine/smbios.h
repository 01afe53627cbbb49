/* SPDX-License-Identifier: MIT */
/*
 * The SMBIOS structures of our PC (DMTF DSP0134, version 2.8): system, chassis, processors, memory, boot status.
 *
 * Firmware gets the structures and an entry point without address and checksums, which it completes when it has placed
 * them. It adds the structure that describes itself. Without firmware that one is ours.
 */
#ifndef NFOLD_MACHINE_SMBIOS_H
#define NFOLD_MACHINE_SMBIOS_H

#include <stdbool.h>
#include <stdint.h>

struct smbios_config {
	const char *name; /* the guest's: the chassis' asset tag; NULL: none */
	uint64_t memory_size;
	unsigned cpus;
	bool firmware; /* it describes itself */
};

#define SMBIOS_ANCHOR_SIZE 31u
#define SMBIOS_TABLES_MAX 0x2000u

struct smbios_tables {
	uint8_t bytes[SMBIOS_TABLES_MAX];
	uint16_t size, structures, largest; /* bytes in all, how many, bytes of the largest */
	uint8_t anchor[SMBIOS_ANCHOR_SIZE];
};

void smbios_build(const struct smbios_config *config, struct smbios_tables *tables);

/* Where the machine itself places them: fills the zeroed bytes of an area for its address `base`, the anchor first. */
#define SMBIOS_ANCHOR_OFFSET 0
#define SMBIOS_AREA_SIZE (32u + SMBIOS_TABLES_MAX)
void smbios_place(const struct smbios_config *config, uint8_t *bytes, uint32_t base);

#endif
