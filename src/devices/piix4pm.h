/* SPDX-License-Identifier: MIT */
/*
 * Intel 82371AB (PIIX4) function 3: power management (ACPI registers).
 *
 *   PMBASE + 00h PM1a status, 02h PM1a enable     FADT PM1a_EVT_BLK, 4 bytes
 *          + 04h PM1a control                     FADT PM1a_CNT_BLK, 2 bytes
 *          + 08h PM timer, 3.579545 MHz, 24 bits  FADT PM_TMR_BLK, 4 bytes
 *          + 0Ch GPE0 status, 0Eh GPE0 enable     FADT GPE0_BLK, 4 bytes
 *   B2h command, B3h status                       FADT SMI_CMD; ACPI_ENABLE F1h, ACPI_DISABLE F0h
 *                                            ---> SCI (struct irq_line), power off
 *
 * Implemented: the identity (8086:7113), PMBASE (40h) with its enable (80h bit 0), timer overflow and power button
 * events, SCI and SCI_EN, soft off (SUS_TYP 0 with SUS_EN). There is no SMM: F1h and F0h written to B2h set and clear
 * SCI_EN directly, and APMC_EN (5Bh bit 1) is already set at reset, which tells firmware that SMM was set up before.
 *
 * Not implemented: SMBus, device monitors, throttling, thermal events, other sleep states (their SUS_TYP is ignored),
 * sources for the GPE0 bits, RTC wake-up.
 *
 * Sources: 82371AB data sheet 290562-001, chapter 7; ACPI specification 2.0, section 4.7.
 */
#ifndef NFOLD_DEVICES_PIIX4PM_H
#define NFOLD_DEVICES_PIIX4PM_H

#include "devices/pci.h"
#include "io/clock.h"

#define PIIX4PM_TIMER_HZ UINT64_C(3579545)
#define PIIX4PM_SLP_TYP_S5 0
#define PIIX4PM_ACPI_ENABLE 0xf1
#define PIIX4PM_ACPI_DISABLE 0xf0
#define PIIX4PM_COMMAND_PORT 0xb2

struct piix4pm;

struct piix4pm_config {
	struct pci_bus *bus;
	unsigned device;
	struct io_map *ports;
	struct clock *clock;
	struct irq_line sci;
	uint16_t base; /* PMBASE after reset, enabled, for machines without firmware; 0: disabled as on the chip */
	void (*power_off)(void *opaque); /* asks for the end of the machine, which happens later */
	void *power_off_opaque;
};

struct piix4pm *piix4pm_create(const struct piix4pm_config *config, struct error *error);
void piix4pm_destroy(struct piix4pm *pm);
void piix4pm_reset(struct piix4pm *pm);

/* The button is pressed. False: the guest has not enabled its event, so nothing will come of it. */
bool piix4pm_power_button(struct piix4pm *pm);

#endif
