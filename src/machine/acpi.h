/* SPDX-License-Identifier: MIT */
/*
 * The ACPI tables of our PC (ACPI 5.0): RSDP, RSDT, XSDT, FADT, FACS, MADT, DSDT; HPET (IA-PC HPET 1.0a) where there is
 * one.
 *
 * They are built for no address in particular: pointers hold offsets, checksums are missing, and a list says where both
 * are. acpi_place() finishes them for a machine without firmware; firmware gets the list and does the same.
 */
#ifndef NFOLD_MACHINE_ACPI_H
#define NFOLD_MACHINE_ACPI_H

#include "base/error.h"
#include "machine/aml.h"

struct acpi_config {
	unsigned cpus;	      /* their APIC IDs are 0 to cpus - 1 */
	uint64_t memory_size; /* bytes of RAM in all */
	bool hpet;
};

#define ACPI_RSDP_SIZE 36u
#define ACPI_TABLES_MAX 0x8000u
#define ACPI_ALIGNMENT 64u /* of the tables; the RSDP's is 16 */

enum acpi_file { ACPI_TABLES, ACPI_RSDP };

/* The little-endian number at `offset` holds an offset into the tables: their address is to be added. */
struct acpi_pointer {
	enum acpi_file file;
	uint32_t offset, size;
};

/* The byte at `offset` is to make the sum of the range zero. */
struct acpi_checksum {
	enum acpi_file file;
	uint32_t offset, start, size;
};

struct acpi_tables {
	uint8_t bytes[ACPI_TABLES_MAX];
	uint32_t size;
	uint8_t rsdp[ACPI_RSDP_SIZE];
	struct acpi_pointer pointer[16];
	unsigned pointers;
	struct acpi_checksum checksum[8]; /* after the pointers, in this order */
	unsigned checksums;
};

void acpi_build(const struct acpi_config *config, struct acpi_tables *tables);

/* Where the machine itself places them: the RSDP first. Fills the zeroed bytes of an area for its address `base`. */
#define ACPI_RSDP_OFFSET 0
#define ACPI_AREA_SIZE (ACPI_ALIGNMENT + ACPI_TABLES_MAX)
void acpi_place(const struct acpi_config *config, uint8_t *bytes, uint32_t base);

/* The differentiated system description's definition block, without its table header. */
void acpi_build_dsdt(const struct acpi_config *config, struct aml *aml);

#endif
