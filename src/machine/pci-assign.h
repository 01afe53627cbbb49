/* SPDX-License-Identifier: MIT */
/* Firmware's part in PCI, for machines that boot without any: addresses for BARs, interrupt lines, decoding on. */
#ifndef NFOLD_MACHINE_PCI_ASSIGN_H
#define NFOLD_MACHINE_PCI_ASSIGN_H

#include "devices/pci.h"

/* Functions whose BARs find no room are left undecoded: the guest's kernel sees them so. */
void pci_assign(struct pci_bus *bus);

#endif
