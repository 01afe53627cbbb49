/* SPDX-License-Identifier: MIT */
/* The ACPI tables of our PC (ACPI 5.0): RSDP, RSDT, XSDT, FADT, FACS, MADT, DSDT. */
#ifndef NFOLD_MACHINE_ACPI_H
#define NFOLD_MACHINE_ACPI_H

#include "base/error.h"
#include "machine/aml.h"

struct acpi_config {
	unsigned cpus; /* their APIC IDs are 0 to cpus - 1 */
	bool keyboard; /* the 8042 answers to a keyboard driver */
};

#define ACPI_RSDP_OFFSET 0
#define ACPI_AREA_SIZE 0x20000u

/* Fills `bytes` (ACPI_AREA_SIZE zeroed bytes) for the guest-physical address `base`. The RSDP is at ACPI_RSDP_OFFSET.
 */
void acpi_build(const struct acpi_config *config, uint8_t *bytes, uint32_t base);

/* The differentiated system description's definition block, without its table header. */
void acpi_build_dsdt(const struct acpi_config *config, struct aml *aml);

#endif
