/* SPDX-License-Identifier: MIT */
/* Where things lie in our PC: physical addresses, ports and interrupt inputs that more than one file must agree on. */
#ifndef NFOLD_MACHINE_LAYOUT_H
#define NFOLD_MACHINE_LAYOUT_H

#include <stdint.h>

/* RAM: all but the VGA window up to 3 GiB, the rest from 4 GiB on. */
#define LAYOUT_VGA_BASE 0xa0000u
#define LAYOUT_VGA_END 0xc0000u
#define LAYOUT_LOW_LIMIT UINT64_C(0xc0000000)
#define LAYOUT_HIGH_BASE UINT64_C(0x100000000)
#define LAYOUT_MEMORY_MIN (UINT64_C(2) << 20)
#define LAYOUT_MEMORY_MAX ((UINT64_C(1) << 40) - (UINT64_C(1) << 30)) /* 40 physical address bits */

/* What firmware keeps for itself below 1 MiB: the end of conventional memory, and the ACPI tables. */
#define LAYOUT_EBDA_BASE 0x9fc00u
#define LAYOUT_ACPI_BASE 0xe0000u
#define LAYOUT_ACPI_END 0x100000u
#define LAYOUT_SMBIOS_BASE 0xf0000u /* systems look for it from here on */
#define LAYOUT_MPTABLE_BASE 0xf4000u

/* The windows for PCI BARs. */
#define LAYOUT_PCI_IO_BASE 0xc000u
#define LAYOUT_PCI_IO_END 0x10000u
#define LAYOUT_PCI_MEMORY_BASE 0xc0000000u
#define LAYOUT_PCI_MEMORY_END 0xfec00000u
#define LAYOUT_IOAPIC_BASE 0xfec00000u
#define LAYOUT_HPET_BASE 0xfed00000u
#define LAYOUT_LAPIC_BASE 0xfee00000u

/* Ports */
#define LAYOUT_COM1_PORT 0x3f8u
#define LAYOUT_COM2_PORT 0x2f8u
#define LAYOUT_SMI_PORT 0xb2u
#define LAYOUT_BOCHS_DEBUG_PORT 0xe9u
#define LAYOUT_SEABIOS_DEBUG_PORT 0x402u
#define LAYOUT_RESET_PORT 0xcf9u
#define LAYOUT_TIMES_PORT 0x780u
#define LAYOUT_PM_PORT 0x600u /* SeaBIOS moves it there when it gets ACPI tables; the FADT says so */

/* Interrupts: ISA numbers are also the IOAPIC's inputs, but that the timer sits at input 2. */
#define LAYOUT_COM1_IRQ 4
#define LAYOUT_COM2_IRQ 3
#define LAYOUT_FLOPPY_IRQ 6
#define LAYOUT_RTC_IRQ 8
#define LAYOUT_SCI_IRQ 9
#define LAYOUT_TIMER_INPUT 2
#define LAYOUT_PCI_INPUT 16 /* PIRQ A to D: inputs 16 to 19 */

/* PIRQ A and B are 8259 input 10, C and D 11: what the PIIX4's router is set to, by SeaBIOS and without it. */
#define LAYOUT_PCI_IRQ(pirq) (10u + (pirq) / 2u)

#endif
